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

// inspectInTime answers status, metrics and logs. It waits for the further clients, and with a status of which entries are
// missing for those, for three quarters of the timeout.
func (e *entity) inspectInTime(r *run, c messages.Command) verdict {
	further := e.runsFurther()
	if !further && (c.Type != messages.RetrieveConnectionStatus || e.status(nil).Missing == 0) {
		e.answer(r, e.inspect(c, nil))
		return proceed
	}
	wait := statusWait
	if d, err := messages.ParseDuration(c.Headers.Get(messages.HeaderTimeout)); err == nil {
		wait = d
	}
	if e.current == r { // it changes nothing, and whoever asks may have much time: the next command need not wait
		e.current = nil
	}
	var reports []Report
	count := e.clients
	return e.await(r, wait/4*3, func(ctx context.Context) error {
		if further {
			reports = e.gather(ctx, count, inspections[c.Type])
			if c.Type != messages.RetrieveConnectionStatus || len(reports) == min(count, client.MaxClients)-1 {
				return nil
			}
		}
		<-ctx.Done() // what is missing may still report (4.12)
		return nil
	}, func() {
		if e.state.Phase != Active { // deleted meanwhile
			e.answerError(r, messages.NewConnectionNotFound(e.id))
			return
		}
		e.answer(r, e.inspect(c, reports))
	})
}

// runsFurther reports whether the client that is here is not the only one.
func (e *entity) runsFurther() bool { return e.client != nil && e.clients > 1 && e.deps.Further != nil }

// inspections are the tasks of the further clients by command type.
var inspections = map[string]ClientTask{
	messages.RetrieveConnectionStatus: ClientStatus, messages.RetrieveConnectionMetrics: ClientMetrics, messages.RetrieveConnectionLogs: ClientLogs,
}

// inspect answers status, metrics and logs from what runs here and what the further clients have reported; it waits for
// nothing.
func (e *entity) inspect(c messages.Command, reports []Report) messages.Reply {
	now := e.now()
	switch c.Type {
	case messages.RetrieveConnectionStatus:
		return e.inspection(c, e.status(reports))
	case messages.RetrieveConnectionMetrics:
		if e.client == nil {
			return e.inspection(c, monitor.Metrics{})
		}
		return e.inspection(c, e.metrics(reports))
	default:
		logs := monitor.NoLogs()
		if e.client != nil {
			if logs = e.record().Logs(now); logs.EnabledUntil != nil {
				e.logUntil = logs.EnabledUntil.Time()
			}
		}
		for _, r := range reports {
			if r.Logs != nil {
				logs = e.record().MergeLogs(logs, *r.Logs)
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
func (e *entity) status(reports []Report) client.Aggregated {
	if e.client == nil {
		return client.Aggregated{
			Stored: e.state.Connection.Status, Live: messages.StatusClosed, Recovery: messages.RecoveryUnknown,
			Clients: []messages.ResourceStatus{{
				Type: messages.ResourceClient, Client: e.deps.Instance, Status: messages.StatusClosed, Recovery: messages.RecoveryUnknown,
				Details: "[DISCONNECTED] connection is closed", Since: e.since,
			}},
		}
	}
	nodes, parts := 1, e.client.Status()
	if e.deps.Further != nil {
		nodes = min(e.deps.Further.Hosts(), client.MaxClients)
	}
	for _, r := range reports {
		for _, s := range r.Status {
			parts = append(parts, messages.ResourceStatus(s))
		}
	}
	return client.Aggregate(e.state.Connection, parts, nodes)
}

// metrics are the counts of the client that is here and of those that have reported.
func (e *entity) metrics(reports []Report) monitor.Metrics {
	all := []monitor.Metrics{e.record().Metrics(e.now())}
	for _, r := range reports {
		if r.Metrics != nil {
			all = append(all, monitor.Metrics(*r.Metrics))
		}
	}
	return monitor.MergeMetrics(all...)
}

// withReports does a step of a timer with what the further clients report, if there are any, unless the connection is deleted
// meanwhile.
func (e *entity) withReports(r *run, task ClientTask, f func([]Report)) verdict {
	if !e.runsFurther() {
		f(nil)
		return proceed
	}
	var reports []Report
	count := e.clients
	return e.await(r, statusWait, func(ctx context.Context) error {
		reports = e.gather(ctx, count, task)
		return nil
	}, func() {
		if e.state.Phase == Active {
			f(reports)
		}
	})
}

// logLiveStatus counts and logs the live status of an open connection (decision D16).
func (e *entity) logLiveStatus(reports []Report) {
	live := string(e.status(reports).Live)
	typ := string(e.state.Connection.Type)
	e.deps.Metrics.liveStatus(e.id, typ, live)
	level := slog.LevelInfo
	if live == string(messages.StatusFailed) {
		level = slog.LevelError
	}
	e.log.Log(context.Background(), level, "live status of the connection", "ditto-log-tag", "connection-live-status-"+live,
		"connection_id", e.id, "connection_type", typ, "status", live)
}
