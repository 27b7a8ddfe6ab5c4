package devops

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
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

// purgeTopic is the one topic of the pub/sub mediator that has a subscriber (decision D15).
const purgeTopic = messages.PurgeEntities + ":connection"

// Target is a selection that exists. PerNode: every node has one and is-group-topic counts (piggyback.md 1.6); otherwise a
// command runs once, wherever its target lives (decision D2).
type Target struct {
	Selection string
	PerNode   bool
}

// Options of a Handler; all but QueryHeaders are required.
type Options struct {
	Asker   gateway.Asker
	Nodes   gateway.Nodes
	Targets []Target // what exists, for the answer to an unknown selection
	// RequestTimeout is when the gateway gives up whatever the envelope says, MaxTimeout the largest timeout of a query.
	RequestTimeout, MaxTimeout time.Duration
	QueryHeaders               []string // the query parameters that are headers, too; gateway.QueryHeaders
	Log                        *slog.Logger
}

// Handler serves the paths below /devops; who may call it is the API's business.
type Handler struct {
	opts       Options
	targets    map[string]Target
	selections []string
	asks       sync.WaitGroup // of instances, which outlive their request
}

// NewHandler makes a Handler.
func NewHandler(opts Options) *Handler {
	if opts.QueryHeaders == nil {
		opts.QueryHeaders = gateway.QueryHeaders
	}
	h := &Handler{opts: opts, targets: map[string]Target{}}
	for _, t := range opts.Targets {
		h.targets[t.Selection] = t
		h.selections = append(h.selections, t.Selection)
	}
	h.selections = append(h.selections, messages.TargetPubSub+" with topic "+purgeTopic)
	return h
}

// ServeHTTP implements http.Handler. What follows the instance in a path is ignored (piggyback.md 1.1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var segments [5]string
	copy(segments[:], strings.SplitN(req.URL.Path, "/", len(segments)+1)) // "", devops, piggyback, service, instance
	route, ok := routes[segments[2]]
	switch {
	case !ok:
		gateway.WriteNotFound(w)
	case !slices.Contains(route.methods, req.Method):
		gateway.WriteMethodNotAllowed(w, route.methods...)
	default:
		route.serve(h, w, req, segments[3], segments[4])
	}
}

// routes are the paths of piggyback.md 1.1 by what follows /devops/.
var routes = map[string]struct {
	methods []string
	serve   func(h *Handler, w http.ResponseWriter, req *http.Request, service, instance string)
}{
	"piggyback": {[]string{http.MethodPost}, (*Handler).piggyback},
	"logging":   {[]string{http.MethodGet, http.MethodPut}, (*Handler).logging},
	"config":    {[]string{http.MethodGet}, (*Handler).config},
}

// query reads the query parameters of a request: all of them, and those that become headers. False: it was refused.
func (h *Handler) query(w http.ResponseWriter, req *http.Request) (url.Values, messages.Headers, bool) {
	headers := make(messages.Headers, 8)
	if req.URL.RawQuery == "" {
		return nil, headers, true
	}
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		gateway.WriteText(w, http.StatusBadRequest, "The query of "+req.URL.RequestURI()+" cannot be decoded.")
		return nil, nil, false
	}
	if err := queryHeaders(query, h.opts.QueryHeaders, h.opts.MaxTimeout, headers); err != nil {
		gateway.WriteError(w, err)
		return nil, nil, false
	}
	return query, headers, true
}

// readBody reads the body of a request. False: it was refused.
func readBody(w http.ResponseWriter, req *http.Request) ([]byte, bool) {
	text, err := gateway.ReadBody(req)
	var answer *messages.Error
	if errors.As(err, &answer) {
		w.Header().Set("Connection", "close") // the rest of the body is not read
		gateway.WriteError(w, answer)
	}
	return text, err == nil
}

// identify gives a request its id, which is also its correlation id if it brings none.
func identify(headers messages.Headers) (requestID string) {
	requestID = uuid.NewString()
	if !headers.Has(messages.HeaderCorrelationID) {
		headers[messages.HeaderCorrelationID] = requestID
	}
	return requestID
}

// piggyback is the journey of one request: query, body, envelope, headers, then execute.
func (h *Handler) piggyback(w http.ResponseWriter, req *http.Request, pathService, pathInstance string) {
	_, headers, ok := h.query(w, req)
	if !ok {
		return
	}
	text, ok := readBody(w, req)
	if !ok {
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
	requestID := identify(headers)
	e.service = cmp.Or(pathService, e.service)
	e.instance = cmp.Or(pathInstance, e.instance)
	o, answered := h.execute(req.Context(), e, headers, requestID)
	if !answered {
		return
	}
	f := formBare
	if aggregates(headers) {
		f = formMap
	}
	h.send(w, headers, o, f)
}

// timeout is how long a target may take; zero is refused where somebody waits for the answer (piggyback.md 1.3).
func timeout(headers messages.Headers) (time.Duration, *messages.Error) {
	wait := defaultAsk
	if text, ok := headers[messages.HeaderTimeout]; ok {
		wait, _ = messages.ParseDuration(text) // checked with the headers
	}
	switch {
	case wait > 0:
		return wait, nil
	case headers[messages.HeaderResponseRequired] != "false":
		return 0, messages.NewTimeoutZero()
	}
	return defaultAsk, nil // nobody asks how it went, but it still has to be done
}

// place checks service and instance of a request (decision D5).
func (h *Handler) place(serviceName, instance string) *messages.Error {
	switch {
	case serviceName != "" && serviceName != service:
		return messages.NewServiceNotFound(serviceName)
	case instance == "" || instance == h.opts.Nodes.Instance():
		return nil
	}
	instances, member := h.opts.Nodes.Instances()
	switch {
	case slices.Contains(instances, instance):
		return nil
	case !member: // it may well be there
		return messages.NewServiceUnavailable()
	}
	return messages.NewInstanceNotFound(instance)
}

// execute finds out who has to run the command and has it run. False: the client went away.
func (h *Handler) execute(ctx context.Context, e envelope, headers messages.Headers, requestID string) (outcome, bool) {
	wait, failure := timeout(headers)
	if failure != nil {
		return refused(failure), true
	}
	failure = h.place(e.service, e.instance)
	switch {
	case failure != nil:
		return refused(failure), true
	case e.target == messages.TargetPubSub:
		return h.publish(ctx, e, headers, requestID, wait)
	}
	target, ok := h.targets[e.target]
	if !ok {
		return h.around(e.instance, messages.NewTargetNotFound(e.target, h.selections)), true
	}
	command, err := messages.ParseValidCommand(e.command, headers)
	switch {
	case target.PerNode && grouped(headers) && (e.service == "" || e.instance != ""):
		return h.void(ctx, wait)
	case err != nil:
		return h.around(e.instance, asError(err)), true
	}
	command.RequestID, command.Received = requestID, time.Now()
	if target.PerNode {
		instances, member := h.opts.Nodes.Instances()
		switch {
		case !messages.Spec(command.Type).TakenBy(e.target):
			return h.around(e.instance, messages.NewNotParsable(command.Type)), true
		case !member:
			return refused(messages.NewServiceUnavailable()), true
		}
		return h.collect(ctx, h.round(e, headers, command, wait, instances))
	}
	if command.Type == messages.CreateConnection && command.ConnectionID == "" { // decision D8
		command.ConnectionID = uuid.NewString()
		command.Connection.ID = command.ConnectionID
		command.Members = withConnectionID(command.Members, command.ConnectionID)
	}
	return h.ask(ctx, e, command, wait)
}

// round says who answers for a target that every node has, and how many replies are waited for (piggyback.md 1.6).
func (h *Handler) round(e envelope, headers messages.Headers, command messages.Command, wait time.Duration, instances []string) round {
	r := round{target: e.target, command: command, wait: wait, instances: instances, expected: len(instances)}
	switch {
	case e.instance != "":
		r.instances, r.expected = []string{e.instance}, 1
	case grouped(headers):
		r.instances = []string{h.opts.Nodes.Instance()}
	}
	if !aggregates(headers) {
		r.expected = 1
	}
	return r
}

// ask has the command executed once and says what became of it.
func (h *Handler) ask(ctx context.Context, e envelope, command messages.Command, wait time.Duration) (outcome, bool) {
	asking, cancel := context.WithTimeout(ctx, min(wait, h.opts.RequestTimeout))
	defer cancel()
	target := e.target
	reply, err := h.opts.Asker.Ask(asking, target, command)
	if h.opts.Log.Enabled(ctx, slog.LevelDebug) {
		h.opts.Log.Debug("piggyback command", "correlation_id", command.Headers[messages.HeaderCorrelationID], "connection_id", command.ConnectionID,
			"type", command.Type, "status", reply.Status, "error", err, "took", time.Since(command.Received).String())
	}
	var failure *messages.Error
	switch {
	case err == nil:
		return replied(cmp.Or(e.instance, h.opts.Nodes.Instance()), reply.Body), true
	case ctx.Err() != nil:
		return outcome{}, false
	case errors.Is(err, context.DeadlineExceeded):
		return h.late(e.instance, target, wait), true
	case errors.Is(err, messages.ErrNoLease):
		return refused(messages.NewServiceUnavailable()), true
	case errors.Is(err, messages.ErrTargetNotFound):
		return h.around(e.instance, messages.NewTargetNotFound(target, h.selections)), true
	case errors.Is(err, messages.ErrNotTaken):
		return h.around(e.instance, messages.NewNotParsable(command.Type)), true
	case errors.As(err, &failure):
		return h.around(e.instance, failure), true
	}
	h.opts.Log.Error("a command failed at its target", "correlation_id", command.Headers[messages.HeaderCorrelationID],
		"connection_id", command.ConnectionID, "type", command.Type, "error", err)
	return h.around(e.instance, askFailed(target)), true
}

// late is the answer after a target did not answer within wait (piggyback.md 1.3, 1.7). Below the gateway's own wait it is
// the target's failure; from there on both end together, and the gateway's end wins.
func (h *Handler) late(instance, target string, wait time.Duration) outcome {
	switch {
	case wait < defaultAsk:
		return h.around(instance, messages.NewAskError(target, wait))
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
		return h.late("", "", wait), true
	case <-ctx.Done():
		return outcome{}, false
	}
}

// publish answers for the pub/sub mediator. What cannot be parsed is answered with its own HTTP status there, replies name
// neither service nor instance (piggyback.md 1.7), and one topic has a subscriber (decision D15).
func (h *Handler) publish(ctx context.Context, e envelope, headers messages.Headers, requestID string, wait time.Duration) (outcome, bool) {
	topic := headers[messages.HeaderTopic]
	if topic == "" {
		members(e.command, func(name string, value json.RawMessage) {
			if name == "type" && value[0] == '"' {
				topic = unquote(value)
			}
		})
	}
	command, err := messages.ParseValidCommand(e.command, headers)
	if err != nil && (topic == "" || !errors.Is(err, messages.NewNotParsable(""))) {
		return refused(asError(err)), true
	}
	if err != nil || topic != purgeTopic || command.Type != messages.PurgeEntities || command.EntityType != "connection" {
		return h.around(e.instance, messages.NewTargetNotFound("topic "+topic+" at "+e.target, h.selections)), true
	}
	if _, failure := command.PurgeIDs(); failure != nil {
		return refused(failure), true
	}
	command.RequestID, command.Received = requestID, time.Now()
	o, answered := h.ask(ctx, e, command, wait)
	for i := range o.replies {
		o.replies[i].service, o.replies[i].instance = "?", "?"
	}
	return o, answered
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
