package connection

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
)

// SourceAddresses are the addresses under which the sources of a connection are counted, logged and reported: each one,
// for mqtt those of a source joined by ";" (piggyback.md 4.11).
func SourceAddresses(c *messages.Connection) []string {
	var out []string
	for _, s := range c.Sources {
		if c.Type == messages.TypeMQTT || c.Type == messages.TypeMQTT5 {
			out = append(out, strings.Join(s.Addresses, ";"))
			continue
		}
		out = append(out, s.Addresses...)
	}
	return out
}

// statusWait is how long clients that have not reported are waited for without a timeout header (piggyback.md 4.12).
const statusWait = 500 * time.Millisecond

// inspectInTime answers status, metrics and logs. A status with missing entries waits for three quarters of the timeout.
func (e *entity) inspectInTime(r *run, c messages.Command) verdict {
	if c.Type != messages.RetrieveConnectionStatus || e.status().Missing == 0 {
		e.answer(r, e.inspect(c))
		return proceed
	}
	wait := statusWait
	if d, err := messages.ParseDuration(c.Headers.Get(messages.HeaderTimeout)); err == nil {
		wait = d
	}
	wait = wait / 4 * 3
	return e.await(r, 0, func(ctx context.Context) error {
		late := time.NewTimer(wait)
		defer late.Stop()
		select {
		case <-late.C:
		case <-ctx.Done():
		}
		return nil
	}, func() {
		if e.state.Phase != Active { // deleted meanwhile
			e.answerError(r, messages.NewConnectionNotFound(e.id))
			return
		}
		e.answer(r, e.inspect(c))
	})
}

// inspect answers status, metrics and logs from what runs here; it waits for nothing.
func (e *entity) inspect(c messages.Command) messages.Reply {
	now := e.now()
	switch c.Type {
	case messages.RetrieveConnectionStatus:
		return e.inspection(c, e.status())
	case messages.RetrieveConnectionMetrics:
		var m monitor.Metrics
		if e.client != nil {
			m = e.record().Metrics(now)
		}
		return e.inspection(c, m)
	default:
		logs := monitor.NoLogs()
		if e.client != nil {
			if logs = e.record().Logs(now); logs.EnabledUntil != nil {
				e.logUntil = logs.EnabledUntil.Time()
			}
		}
		return e.inspection(c, logs)
	}
}

// inspection puts type, status and connectionId beside the members of body.
func (e *entity) inspection(c messages.Command, body any) messages.Reply {
	var members bytes.Buffer
	enc := json.NewEncoder(&members)
	enc.SetEscapeHTML(false) // "<not-provided>" is for people to read
	if err := enc.Encode(body); err != nil {
		e.log.Error("an answer could not be rendered", "connection_id", e.id, "command", c.Type, "error", err)
		return messages.ErrorReply(messages.NewInternalError())
	}
	return messages.InspectedReply(c.Type, e.id, members.Bytes())
}

// status is the aggregated status of 4.12. No client running: closed, since it was last stopped.
func (e *entity) status() client.Aggregated {
	if e.client == nil {
		return client.Aggregated{
			Stored: e.state.Connection.Status, Live: messages.StatusClosed, Recovery: messages.RecoveryUnknown,
			Clients: []messages.ResourceStatus{{
				Type: messages.ResourceClient, Client: e.deps.Instance, Status: messages.StatusClosed, Recovery: messages.RecoveryUnknown,
				Details: "[DISCONNECTED] connection is closed", Since: e.since,
			}},
		}
	}
	nodes := 1
	if e.deps.Nodes != nil {
		nodes = e.deps.Nodes()
	}
	return client.Aggregate(e.state.Connection, e.client.Status(), nodes)
}

// reportLiveStatus counts and logs the live status of an open connection (decision D16).
func (e *entity) reportLiveStatus() {
	live := string(e.status().Live)
	typ := string(e.state.Connection.Type)
	e.deps.Metrics.liveStatus(e.id, typ, live)
	level := slog.LevelInfo
	if live == string(messages.StatusFailed) {
		level = slog.LevelError
	}
	e.log.Log(context.Background(), level, "live status of the connection", "ditto-log-tag", "connection-live-status-"+live,
		"connection_id", e.id, "connection_type", typ, "status", live)
}
