package devops

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"hawser/gateway"
	"hawser/messages"
)

// service is the one service there is (decision D5), in paths and in replies.
const service = "connectivity"

// defaultAsk is how long a target may take without a timeout header, and the least time for which the gateway waits
// (contract piggyback.md 1.3).
const defaultAsk = 10 * time.Second

// Target is a selection that exists. PerNode: every node has one and is-group-topic counts (piggyback.md 1.6); otherwise a
// command runs once, wherever its target lives (decision D2).
type Target struct {
	Selection string
	PerNode   bool
}

// Options of a Handler; all are required.
type Options struct {
	Asker    gateway.Asker
	Instance string   // instance id of this node
	Targets  []Target // what exists, for the answer to an unknown selection
	// RequestTimeout is when the gateway gives up whatever the envelope says, MaxTimeout the largest timeout of a query.
	RequestTimeout, MaxTimeout time.Duration
	Log                        *slog.Logger
}

// Handler serves the paths below /devops; who may call it is the API's business.
type Handler struct {
	opts       Options
	targets    map[string]Target
	selections []string
	prefix     []byte // {"connectivity":{"<instance>":
}

// NewHandler makes a Handler.
func NewHandler(opts Options) *Handler {
	h := &Handler{opts: opts, targets: map[string]Target{}}
	for _, t := range opts.Targets {
		h.targets[t.Selection] = t
		h.selections = append(h.selections, t.Selection)
	}
	name, _ := json.Marshal(opts.Instance) // a string always marshals
	h.prefix = append(append([]byte(`{"`+service+`":{`), name...), ':')
	return h
}

// ServeHTTP implements http.Handler. What follows the instance in a path is ignored (piggyback.md 1.1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var segments [5]string
	copy(segments[:], strings.SplitN(req.URL.Path, "/", len(segments)+1)) // "", devops, piggyback, service, instance
	switch {
	case segments[2] != "piggyback":
		gateway.WriteNotFound(w)
	case req.Method != http.MethodPost:
		gateway.WriteMethodNotAllowed(w, http.MethodPost)
	default:
		h.piggyback(w, req, segments[3], segments[4])
	}
}

// piggyback is the journey of one request: query, body, envelope, headers, then execute.
func (h *Handler) piggyback(w http.ResponseWriter, req *http.Request, pathService, pathInstance string) {
	headers := make(messages.Headers, 8)
	if req.URL.RawQuery != "" {
		query, err := url.ParseQuery(req.URL.RawQuery)
		if err != nil {
			gateway.WriteText(w, http.StatusBadRequest, "The query of "+req.URL.RequestURI()+" cannot be decoded.")
			return
		}
		if err := queryHeaders(query, h.opts.MaxTimeout, headers); err != nil {
			gateway.WriteError(w, err)
			return
		}
	}
	text, err := gateway.ReadBody(req)
	if err != nil {
		var answer *messages.Error
		if errors.As(err, &answer) {
			w.Header().Set("Connection", "close") // the rest of the body is not read
			gateway.WriteError(w, answer)
		}
		return
	}
	e, failure := parseEnvelope(text)
	if failure == nil {
		failure = envelopeHeaders(e.headers, headers)
	}
	if failure != nil {
		gateway.WriteError(w, failure)
		return
	}
	requestID := uuid.NewString()
	if !headers.Has(messages.HeaderCorrelationID) {
		headers[messages.HeaderCorrelationID] = requestID
	}
	if pathService != "" {
		e.service = pathService
	}
	if pathInstance != "" {
		e.instance = pathInstance
	}
	o, answered := h.execute(req.Context(), e, headers, requestID)
	if answered {
		h.send(w, headers, o)
	}
}

// execute finds out who has to run the command and has it run. False: the client went away.
func (h *Handler) execute(ctx context.Context, e envelope, headers messages.Headers, requestID string) (outcome, bool) {
	wait := defaultAsk
	if text, ok := headers[messages.HeaderTimeout]; ok {
		wait, _ = messages.ParseDuration(text) // checked with the headers
	}
	wanted := headers[messages.HeaderResponseRequired] != "false"
	if wait == 0 {
		if wanted {
			return refused(messages.NewTimeoutZero()), true
		}
		wait = defaultAsk // nobody asks how it went, but it still has to be done
	}
	switch {
	case e.service != "" && e.service != service:
		return refused(messages.NewServiceNotFound(e.service)), true
	case e.instance != "" && e.instance != h.opts.Instance:
		return refused(messages.NewInstanceNotFound(e.instance)), true
	case e.target == messages.TargetPubSub:
		return h.publish(e, headers), true
	}
	target, ok := h.targets[e.target]
	if !ok {
		return h.around(messages.NewTargetNotFound(e.target, h.selections)), true
	}
	if target.PerNode && grouped(headers) && (e.service == "" || e.instance != "") {
		return h.void(ctx, wait)
	}
	command, err := messages.ParseCommand(e.command, headers)
	if err != nil {
		return h.around(asError(err)), true
	}
	command.RequestID, command.Received = requestID, time.Now()
	if command.Type == messages.CreateConnection && command.ConnectionID == "" { // decision D8
		command.ConnectionID = uuid.NewString()
		command.Connection.ID = command.ConnectionID
		command.Members = withConnectionID(command.Members, command.ConnectionID)
	}
	return h.ask(ctx, e.target, command, wait)
}

// ask has the command executed and says what became of it.
func (h *Handler) ask(ctx context.Context, target string, command messages.Command, wait time.Duration) (outcome, bool) {
	asking, cancel := context.WithTimeout(ctx, min(wait, h.opts.RequestTimeout))
	defer cancel()
	reply, err := h.opts.Asker.Ask(asking, target, command)
	if h.opts.Log.Enabled(ctx, slog.LevelDebug) {
		h.opts.Log.Debug("piggyback command", "correlation_id", command.Headers[messages.HeaderCorrelationID], "connection_id", command.ConnectionID,
			"type", command.Type, "status", reply.Status, "error", err, "took", time.Since(command.Received).String())
	}
	var failure *messages.Error
	switch {
	case err == nil:
		return replied(reply.Body), true
	case ctx.Err() != nil:
		return outcome{}, false
	case errors.Is(err, context.DeadlineExceeded):
		return h.late(target, wait), true
	case errors.Is(err, messages.ErrNoLease):
		return refused(messages.NewServiceUnavailable()), true
	case errors.Is(err, messages.ErrTargetNotFound):
		return h.around(messages.NewTargetNotFound(target, h.selections)), true
	case errors.Is(err, messages.ErrNotTaken):
		return h.around(messages.NewNotParsable(command.Type)), true
	case errors.As(err, &failure):
		return h.around(failure), true
	}
	h.opts.Log.Error("a command failed at its target", "correlation_id", command.Headers[messages.HeaderCorrelationID],
		"connection_id", command.ConnectionID, "type", command.Type, "error", err)
	return h.around(&messages.Error{
		Status: http.StatusServiceUnavailable, Code: "ask.error", Message: "Asking [" + target + "] failed.", Description: "Try again.",
	}), true
}

// late is the answer after a target did not answer within wait (piggyback.md 1.3, 1.7). Below the gateway's own wait it is
// the target's failure; from there on both end together, and the gateway's end wins.
func (h *Handler) late(target string, wait time.Duration) outcome {
	switch {
	case wait < defaultAsk:
		return h.around(messages.NewAskError(target, wait))
	case wait > h.opts.RequestTimeout:
		return refused(messages.NewCommandTimeout(h.opts.RequestTimeout))
	}
	return silence
}

// void waits for an answer that cannot come: a group is only reached by the path of its service (piggyback.md 1.6).
func (h *Handler) void(ctx context.Context, wait time.Duration) (outcome, bool) {
	wait = max(wait, defaultAsk)
	nobody := time.NewTimer(min(wait, h.opts.RequestTimeout))
	defer nobody.Stop()
	select {
	case <-nobody.C:
		return h.late("", wait), true
	case <-ctx.Done():
		return outcome{}, false
	}
}

// publish answers for the pub/sub mediator, whose topics are subscribed by nobody yet (decision D15). What cannot be parsed
// is answered with its own HTTP status there (piggyback.md 1.7).
func (h *Handler) publish(e envelope, headers messages.Headers) outcome {
	topic := headers[messages.HeaderTopic]
	if topic == "" {
		members(e.command, func(name string, value json.RawMessage) {
			if name == "type" && value[0] == '"' {
				topic = unquote(value)
			}
		})
	}
	_, err := messages.ParseCommand(e.command, headers)
	if err != nil && (topic == "" || !errors.Is(err, messages.NewNotParsable(""))) {
		return refused(asError(err))
	}
	failure := messages.NewTargetNotFound("topic "+topic+" at "+e.target, h.selections)
	failure.Description = "No topic has a subscriber here. " + failure.Description
	return h.around(failure)
}

// aggregates reports whether the answer is the map of all replies (piggyback.md 1.5).
func aggregates(headers messages.Headers) bool {
	value, ok := headers[messages.HeaderAggregate]
	return !ok || strings.EqualFold(value, "true")
}

// grouped reports whether one instance per group is addressed instead of all.
func grouped(headers messages.Headers) bool {
	value, ok := headers[messages.HeaderIsGroupTopic]
	return ok && !strings.EqualFold(value, "false")
}

// asError is err as what goes into an E2.
func asError(err error) *messages.Error {
	var e *messages.Error
	if errors.As(err, &e) {
		return e
	}
	return messages.NewInternalError()
}
