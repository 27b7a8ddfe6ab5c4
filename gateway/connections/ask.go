package connections

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"hawser/messages"
)

// operation has one command executed, or several, and says what became of it. An error is one of gateway.Asker's.
type operation func(ctx context.Context) (messages.Reply, error)

// newCommand makes a command of a type and what it carries. The text is what a piggyback request would have brought, so
// that both surfaces go through the same parser. Every command has a request id of its own: an entity repeats its answer
// for one that it knows (decision D7).
func (x *exchange) newCommand(members any, headers messages.Headers) (messages.Command, error) {
	text, err := json.Marshal(members)
	if err != nil {
		return messages.Command{}, err
	}
	c, err := messages.ParseValidCommand(text, headers)
	c.RequestID, c.Received = uuid.NewString(), time.Now()
	return c, err
}

// about is the members of a command that names a connection.
type about struct {
	Type   string  `json:"type"`
	ID     string  `json:"connectionId,omitempty"`
	Fields *string `json:"selectedFields,omitempty"`
}

// carrying is the members of a command that brings a connection.
type carrying struct {
	Type       string          `json:"type"`
	Connection json.RawMessage `json:"connection"`
}

// zeroTimeout is the half of step 17 that ParseCommand does not know: who wants an answer has to wait for it.
func (x *exchange) zeroTimeout() *messages.Error {
	if x.wait == 0 && x.headers[messages.HeaderResponseRequired] != "false" {
		return messages.NewTimeoutZero()
	}
	return nil
}

// ask executes one command at a target.
func (h *Handler) ask(ctx context.Context, target string, c messages.Command) (messages.Reply, error) {
	reply, err := h.Asker.Ask(ctx, target, c)
	if h.Log.Enabled(ctx, slog.LevelDebug) {
		h.Log.Debug("rest command", "correlation_id", c.Headers[messages.HeaderCorrelationID], "connection_id", c.ConnectionID,
			"type", c.Type, "status", reply.Status, "error", err, "took", time.Since(c.Received).String())
	}
	return reply, err
}

// asking is the operation of a single command to a connection.
func (h *Handler) asking(c messages.Command) operation {
	return func(ctx context.Context) (messages.Reply, error) { return h.ask(ctx, messages.TargetConnection, c) }
}

// execute runs an operation within the exchange's wait and hands its reply, error replies included, to answer. Nothing is
// answered when the client has gone.
func (h *Handler) execute(x *exchange, c messages.Command, run operation, answer func(messages.Reply)) {
	if failure := x.zeroTimeout(); failure != nil {
		x.fail(failure)
		return
	}
	if x.headers[messages.HeaderResponseRequired] == "false" {
		h.watch(x, c, run)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.wait)
	defer cancel()
	reply, err := run(ctx)
	if x.r.Context().Err() != nil {
		return
	}
	reply = h.outcome(x, c, reply, err)
	if reply.Status >= http.StatusMultipleChoices {
		x.refuse(reply)
		return
	}
	answer(reply)
}

// watch runs an operation whose success nobody wants to hear of: an error within the window is answered, anything else is
// 202, and the operation goes on (section 3.3).
func (h *Handler) watch(x *exchange, c messages.Command, run operation) {
	if x.wait == 0 {
		x.wait = h.RequestTimeout // nobody asks how it went, but it still has to be done
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), x.wait)
	done := make(chan messages.Reply, 1)
	h.unwatched.Go(func() {
		defer cancel()
		reply, err := run(ctx)
		done <- h.outcome(x, c, reply, err)
	})
	window := time.NewTimer(h.ErrorWindow)
	defer window.Stop()
	select {
	case reply := <-done:
		if reply.Status >= http.StatusMultipleChoices {
			x.refuse(reply)
			return
		}
	case <-window.C:
	case <-x.r.Context().Done():
		return
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// outcome is the reply of a command, whatever way asking for it ended.
func (h *Handler) outcome(x *exchange, c messages.Command, reply messages.Reply, err error) messages.Reply {
	var known *messages.Error
	switch {
	case err == nil:
		return reply
	case errors.Is(err, messages.ErrNoLease): // decision D18
		return messages.ErrorReply(messages.NewServiceUnavailable())
	case errors.Is(err, context.DeadlineExceeded):
		return messages.ErrorReply(messages.NewCommandTimeout(x.wait))
	case errors.As(err, &known):
		return messages.ErrorReply(known)
	}
	h.Log.Error("a command failed at its target", "correlation_id", c.Headers[messages.HeaderCorrelationID],
		"connection_id", c.ConnectionID, "type", c.Type, "error", err)
	return messages.ErrorReply(messages.NewAskFailed(messages.Spec(c.Type).Target))
}
