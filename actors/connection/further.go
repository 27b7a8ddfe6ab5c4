package connection

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
)

// A connection with clientCount n has n clients: client 0 is the entity's own, each further one runs at another node under an
// actor of its own (further_actor.go, design.md 3.3). The entity tells them what it has written to the journal and gathers
// what they report; they read the journal for themselves, so that no configuration crosses between nodes.

// Further reaches the further clients of the connections of a node.
type Further interface {
	// Hosts is the number of nodes that run clients: a connection has no more clients than that.
	Hosts() int
	// Ask puts a request to the client with an identity (client.Identity) and returns its report; ErrNotRun: no node runs it.
	Ask(ctx context.Context, identity string, r ClientRequest) (Report, error)
}

// ErrNotRun is the answer of Further for a client that no node runs: there are too few.
var ErrNotRun = errors.New("connection: no node runs this client")

// ClientTask is what a further client is asked for.
type ClientTask string

// The tasks.
const (
	// ClientOpen: run what the journal says at Revision or later, and answer when it is connected or one attempt failed.
	ClientOpen ClientTask = "open"
	// ClientClose: end what was started before Revision, in an orderly way, and answer when that is done.
	ClientClose ClientTask = "close"
	// ClientSync: do what the journal says at Revision or later; the answer does not wait for a connect.
	ClientSync ClientTask = "sync"
	// ClientStatus, ClientMetrics, ClientLogs: report.
	ClientStatus  ClientTask = "status"
	ClientMetrics ClientTask = "metrics"
	ClientLogs    ClientTask = "logs"
	// ClientEnableLogs, ClientResetLogs, ClientResetMetrics: as the effects of these names.
	ClientEnableLogs   ClientTask = "enableLogs"
	ClientResetLogs    ClientTask = "resetLogs"
	ClientResetMetrics ClientTask = "resetMetrics"
)

// furtherRequest is the command type under which a ClientRequest is put to its actor; no envelope from outside can carry it.
const furtherRequest = "hawser:further"

// ClientRequest is a task for one further client.
type ClientRequest struct {
	Type          string     `json:"type"`
	Client        string     `json:"client"` // its identity
	Task          ClientTask `json:"task"`
	Revision      int64      `json:"revision,omitempty"`
	LogsUntil     time.Time  `json:"logsUntil,omitzero"` // of open: until when connection logs are kept
	CorrelationID string     `json:"correlationId,omitempty"`
}

// Command makes the command that carries r to the client with an identity.
func (r ClientRequest) Command(identity string) messages.Command {
	r.Type, r.Client = furtherRequest, identity
	members, _ := json.Marshal(r) // texts, numbers and instants always marshal
	c := messages.NodeCommand(furtherRequest, members, messages.Headers{})
	c.ConnectionID = identity
	return c
}

// ReadClientRequest reads the request that a command of another node carries.
func ReadClientRequest(c messages.Command) (r ClientRequest, err error) {
	err = json.Unmarshal(c.Members, &r)
	return r, err
}

// Report is what a further client answers: its error, or what it was asked for.
type Report struct {
	Error   *plainError   `json:"error,omitempty"`
	Status  []plainStatus `json:"status,omitempty"`
	Metrics *plainMetrics `json:"metrics,omitempty"`
	Logs    *monitor.Logs `json:"logs,omitempty"`
}

// The parts of a report cross between nodes with all their members, not as answers render them.
type (
	plainError   messages.Error
	plainStatus  messages.ResourceStatus
	plainMetrics monitor.Metrics
)

// Reply makes the answer of the actor.
func (r Report) Reply() messages.Reply {
	body, err := json.Marshal(r)
	if err != nil {
		body, _ = json.Marshal(Report{Error: (*plainError)(messages.NewInternalError())})
	}
	return messages.Reply{Status: 200, Body: body}
}

// ReadReport reads an answer.
func ReadReport(reply messages.Reply) (r Report, err error) {
	err = json.Unmarshal(reply.Body, &r)
	return r, err
}

// eachFurther puts a request to every further client of a connection with count clients, all at the same time, and returns
// the reports of those that answered and the first error by number.
func (e *entity) eachFurther(ctx context.Context, count int, r ClientRequest) ([]Report, error) {
	if e.deps.Further == nil || count <= 1 {
		return nil, nil
	}
	count = min(count, client.MaxClients)
	reports, failures := make([]Report, count), make([]error, count)
	var work sync.WaitGroup
	for index := 1; index < count; index++ {
		work.Go(func() {
			report, err := e.deps.Further.Ask(ctx, client.Identity(e.id, index), r)
			if err == nil && report.Error != nil {
				err = (*messages.Error)(report.Error)
			}
			reports[index], failures[index] = report, err
		})
	}
	work.Wait()
	var answered []Report
	var first error
	for index := 1; index < count; index++ {
		switch err := failures[index]; {
		case err == nil:
			answered = append(answered, reports[index])
		case first == nil && !errors.Is(err, ErrNotRun):
			first = err
		}
	}
	return answered, first
}

// withFurther does f for the client that is here while the further ones get r, and returns the first error by number.
func (e *entity) withFurther(ctx context.Context, count int, r ClientRequest, f func(context.Context) error) error {
	others := make(chan error, 1)
	go func() {
		_, err := e.eachFurther(ctx, count, r)
		others <- err
	}()
	err := f(ctx)
	if err2 := <-others; err == nil {
		err = err2
	}
	return err
}

// settleFurther has each client that may run, whatever this entity knows of them, agree with the journal.
func (e *entity) settleFurther(r *run) verdict {
	if e.deps.Further == nil {
		return proceed
	}
	request := ClientRequest{Task: ClientSync, Revision: e.state.Seq}
	return e.await(r, e.timings.ClientAsk, func(ctx context.Context) error {
		_, err := e.eachFurther(ctx, client.MaxClients, request)
		return err
	}, nil)
}

// tellFurther puts a request to the further clients, if there are any, and goes on with r when they have answered, or soon: the
// command is not theirs to hold up. One that does not answer is logged.
func (e *entity) tellFurther(r *run, request ClientRequest) verdict {
	count := e.clients
	if e.deps.Further == nil || count <= 1 {
		return proceed
	}
	ctx, cancel := context.WithTimeout(e.lifetime(), e.timings.ClientAsk)
	told := make(chan struct{})
	e.work.Go(func() {
		defer cancel()
		defer close(told)
		if _, err := e.eachFurther(ctx, count, request); err != nil {
			e.log.Warn("a further client of the connection did not answer", "connection_id", e.id, "task", string(request.Task), "error", err)
		}
	})
	return e.await(r, statusWait, func(ctx context.Context) error {
		select {
		case <-told:
		case <-ctx.Done():
		}
		return nil
	}, nil)
}

// gather asks the further clients for their part of an answer; those that do not answer until ctx ends are missing.
func (e *entity) gather(ctx context.Context, count int, task ClientTask) []Report {
	reports, err := e.eachFurther(ctx, count, ClientRequest{Task: task})
	if err != nil && ctx.Err() == nil {
		e.log.Warn("a further client of the connection did not answer", "connection_id", e.id, "task", string(task), "error", err)
	}
	return reports
}
