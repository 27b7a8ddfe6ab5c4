package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// outcome is what the caller knows of a command.
type outcome uint8

const (
	done    outcome = iota // answered with success
	absent                 // 404 connectivity:connection.notfound: not executed, the connection does not exist
	exists                 // 409 connectivity:connection.conflict: not executed, the connection exists
	refused                // certainly not executed
	unknown                // may have been executed, may be later
)

func (o outcome) String() string {
	return [...]string{"done", "absent", "exists", "refused", "unknown"}[o]
}

// reply is the answer to one command.
type reply struct {
	outcome    outcome
	name       string   // of a retrieved connection
	open       bool     // likewise
	connection bool     // whether there was one
	clients    []string // of a retrieved status: the status of each client
	detail     string   // of a failure: what came back
}

// api sends piggyback commands.
type api struct{ client *http.Client }

func newAPI() *api {
	return &api{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 20 * time.Second,
		DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}}}
}

func (a *api) close() { a.client.CloseIdleConnections() }

// command sends one command to a node and waits up to timeout for its execution. Each HTTP request is sent once.
func (a *api) command(ctx context.Context, n *node, correlation string, command object, timeout time.Duration) reply {
	body, err := json.Marshal(object{
		"targetActorSelection": "/system/sharding/connection",
		"headers":              object{"aggregate": false, "is-group-topic": false, "timeout": fmt.Sprintf("%dms", timeout.Milliseconds()), "correlation-id": correlation},
		"piggybackCommand":     command,
	})
	if err != nil {
		return reply{outcome: refused, detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.place.http+"/devops/piggyback/connectivity", bytes.NewReader(body))
	if err != nil {
		return reply{outcome: refused, detail: err.Error()}
	}
	req.GetBody = nil // never sent twice
	req.SetBasicAuth("devops", password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return reply{outcome: refused, detail: "not connected: " + op.Err.Error()}
		}
		return reply{outcome: unknown, detail: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return reply{outcome: unknown, detail: err.Error()}
	}
	return classify(resp.StatusCode, answer)
}

// classify says what an answer means. Everything that is not certain is unknown, 5xx above all: a node that has lost its
// lease may have done its work before.
func classify(status int, answer []byte) reply {
	var r struct {
		Type    string `json:"type"`
		Status  int    `json:"status"`
		Error   string `json:"error"`
		Payload struct {
			Status int    `json:"status"`
			Error  string `json:"error"`
		} `json:"payload"`
		Connection *struct {
			Name   *string `json:"name"`
			Status string  `json:"connectionStatus"`
		} `json:"connection"`
		Clients []struct {
			Status string `json:"status"`
		} `json:"clientStatus"`
	}
	detail := fmt.Sprintf("HTTP %d %.300s", status, answer)
	if err := json.Unmarshal(answer, &r); err != nil {
		if status >= 400 && status < 500 && status != http.StatusRequestTimeout {
			return reply{outcome: refused, detail: detail}
		}
		return reply{outcome: unknown, detail: detail}
	}
	if r.Type == "devops.responses:errorResponse" {
		r.Status, r.Error = r.Payload.Status, r.Payload.Error
	}
	switch {
	case status == http.StatusOK && r.Error == "" && r.Status >= 200 && r.Status < 300:
		out := reply{outcome: done}
		if r.Connection != nil {
			out.connection, out.open = true, r.Connection.Status == "open"
			if r.Connection.Name != nil {
				out.name = *r.Connection.Name
			}
		}
		for _, c := range r.Clients {
			out.clients = append(out.clients, c.Status)
		}
		return out
	case r.Error == "connectivity:connection.notfound":
		return reply{outcome: absent}
	case r.Error == "connectivity:connection.conflict":
		return reply{outcome: exists}
	case r.Status == http.StatusBadRequest:
		return reply{outcome: refused, detail: detail}
	}
	return reply{outcome: unknown, detail: detail}
}

// on is a command with an id.
func on(name, id string) object {
	return object{"type": "connectivity.commands:" + name, "connectionId": id}
}

// with is a command with a connection.
func with(name string, connection object) object {
	return object{"type": "connectivity.commands:" + name, "connection": connection}
}

// retrieve is the query that shows what the model of history.go knows.
func retrieve(id string) object {
	c := on("retrieveConnection", id)
	c["selectedFields"] = "id,name,connectionStatus"
	return c
}
