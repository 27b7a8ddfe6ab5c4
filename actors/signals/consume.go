package signals

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
)

// intake is one broker message while Consume has it in hand (contract runtime.md 3).
type intake struct {
	endpoint  *Endpoint
	source    *source
	scope     *monitor.Scope
	in        *client.Inbound
	external  mapping.External
	values    mapping.Values // placeholders: broker headers, and the envelope that is being looked at
	collector *collector
	waits     *collector // collector, nil for a source at most once: it does not wait for others
	stop      <-chan struct{}
	now       time.Time
	input     string // of the enforcement
	wire      trace  // before anything is mapped
}

// Consume implements client.Sink. It returns when the message is on its way to all its receivers or held for them; in is
// settled then or later, exactly once. It waits when a receiver has no room (O17), at most the hold time, or a mapper is
// busy, and not beyond Disconnected or Detach. A message whose fate is open when the endpoint or the node leaves, or whose
// node's lease has run out, is never settled: its broker delivers it again.
func (e *Endpoint) Consume(in *client.Inbound) {
	stop := e.stopped() // before detached: Detach sets detached, then closes stop
	if e.detached.Load() || !e.hub.cluster.Holds() {
		return
	}
	if in.Headers == nil {
		in.Headers = messages.Headers{}
	}
	i := &intake{endpoint: e, source: e.source(in.SourceIndex), in: in, stop: stop, now: time.Now()}
	if i.scope = i.source.scopes[in.Address]; i.scope == nil {
		i.scope = e.record.Source(in.Address)
	}
	i.collector = newCollector(in, i.scope, i.now)
	if !in.AtMostOnce {
		i.waits = i.collector
	}
	i.external = mapping.External{Headers: in.Headers, Text: in.Text, HasText: in.HasText, Bytes: in.Bytes, HasBytes: in.HasBytes}
	i.values = mapping.Values{Headers: in.Headers, ConnectionID: e.id, SourceAddress: in.Topic, Now: i.now}
	i.wire = trace{correlation: in.Headers[messages.HeaderCorrelationID], headers: in.Headers}
	i.collector.trace = i.wire
	defer func() {
		if p := recover(); p != nil { // a bug must not take the node down; parts that were counted may never come (4.3)
			e.hub.panicked(p, "consume", e.id, i.collector.trace.correlation)
			i.collector.broken()
		}
	}()
	i.process()
	if e.detached.Load() { // routed, perhaps, while the targets were going
		i.collector.abandon()
		return
	}
	i.collector.part(client.Settle)
}

// noSource stands for a source index that the transport made up.
var noSource = &source{}

func (e *Endpoint) source(index int) *source {
	if index < 0 || index >= len(e.sources) {
		return noSource
	}
	return e.sources[index]
}

func (i *intake) process() {
	if f := i.source.enforcement; f != nil {
		input, ok := f.input.Resolve(&i.values)
		if !ok {
			i.wire.note(i.scope, monitor.Consumed, false, "The enforcement input of the source has no value for this message.")
			i.answerUnreadable(newUnresolved(f.input.String()))
			i.collector.fail(client.Reject) // ours: a bad message must not block the window (I-2)
			return
		}
		i.input = input
	}
	i.wire.note(i.scope, monitor.Consumed, true, "")
	subjects, subjectErr := i.source.resolveSubjects(&i.values)
	i.values.Subjects = subjects
	ctx := mapping.Context{ConnectionID: i.endpoint.id, Subjects: subjects, Now: i.now, Done: i.stop}
	results := i.endpoint.mapInbound(i.source.payload, ctx, &i.external)
	if i.untried(results) {
		return
	}
	for k := range results {
		switch r := &results[k]; {
		case r.Err != nil:
			i.mappingFailed(r)
		case len(r.Envelopes) == 0:
			i.wire.note(i.scope, monitor.Dropped, true, "")
		default:
			for n, env := range r.Envelopes {
				if subjectErr != nil {
					i.failed(env, r.Mapper, subjectErr)
					continue
				}
				i.mapped(env, r.Kinds[n], r.Mapper)
			}
		}
	}
}

// untried reports whether a mapper did not look at the message. Then nothing that the others made of it is routed: the broker
// delivers it again. A message that is delivered at most once has failed.
func (i *intake) untried(results []mapping.Inbound) bool {
	for k := range results {
		switch r := &results[k]; {
		case errors.Is(r.Untried, mapping.ErrAbandoned):
			i.collector.expect()
			i.collector.abandon()
			return true
		case errors.Is(r.Untried, mapping.ErrBusy) && !i.in.AtMostOnce:
			i.wire.note(i.scope, monitor.Mapped, false, r.Err.Error())
			i.collector.fail(client.RejectRedeliver)
			return true
		}
	}
	return false
}

// mapped turns one envelope into a signal and routes it (contract runtime.md I-6).
func (i *intake) mapped(env *protocol.Envelope, kind protocol.Kind, mapper string) {
	if env.Headers == nil {
		env.Headers = messages.Headers{}
	}
	i.values.Envelope = env
	i.source.headers.under(env.Headers, &i.values)
	correlation := env.Headers[messages.HeaderCorrelationID]
	if correlation == "" {
		correlation = uuid.NewString()
		env.Headers[messages.HeaderCorrelationID] = correlation
	}
	class := ackClassOf(kind)
	if class != ackNone && (len(i.source.includes) > 0 || i.source.ackFilter != nil || i.source.filterError != nil) {
		err := i.source.filterError
		if err == nil {
			err = requestAcks(env.Headers, i.source.includes, i.source.ackFilter, &i.values)
		}
		if err != nil {
			i.failed(env, mapper, err)
			return
		}
	}
	s := &Signal{
		Envelope: env, Kind: kind, Origin: i.endpoint.id, Subjects: i.values.Subjects,
		topic: streamingTypes[kind], trace: traceOf(env), collector: i.waits, now: i.now, stop: i.stop,
		sender: sender{
			endpoint: i.endpoint, source: i.source, scope: i.scope, mapper: mapper,
			correlation: correlation, headers: env.Headers,
		},
	}
	s.EntityID = s.trace.entityID
	if i.collector.trace.entityID == "" {
		i.collector.trace = s.trace
	}
	if f := i.source.enforcement; f != nil && !f.matches(i.input, enforced{env}) {
		err := newEnforcementFailed(i.endpoint.id, i.input)
		s.trace.note(i.scope, monitor.Enforced, false, err.Message)
		i.failed(env, mapper, err)
		return
	}
	s.trace.note(i.scope, monitor.Enforced, true, "")
	var err *messages.Error
	if s.acks, err = ackRequestOf(class, env.Headers); err != nil {
		i.failed(env, mapper, err)
		return
	}
	s.trace.note(i.scope, monitor.Mapped, true, "")
	if answered[kind] && s.acks.zeroTimeout() { // I-9
		err := messages.NewTimeoutZero()
		s.replyError(err)
		i.collector.fail(gradeError(err.Status))
		return
	}
	i.endpoint.hub.deadlines(s)
	if err := i.endpoint.hub.router.Route(s); err != nil {
		// Refused: visible even when nobody wants a reply; it ends what the sender may have asked to be acknowledged (14.3).
		s.trace.note(i.scope, monitor.Other, false, err.Code+": "+err.Message)
		if s.wantsReply() {
			s.replyError(err)
		}
		if s.acknowledgeable() {
			i.collector.fail(gradeError(err.Status))
		}
	}
}

// enforced is an envelope as enforcement filters see it.
type enforced struct{ *protocol.Envelope }

func (e enforced) Values(prefix, name string) ([]string, bool) {
	return e.EnforcementPlaceholder(prefix, name)
}

// mappingFailed is an error outcome of a mapper: counted, answered, and of no influence on the settlement (I-7).
func (i *intake) mappingFailed(r *mapping.Inbound) {
	tr := i.wire
	if r.Partial != nil && r.Partial.Headers != nil {
		if id := r.Partial.Headers[messages.HeaderCorrelationID]; id != "" {
			tr.correlation = id
		}
	}
	tr.note(i.scope, monitor.Mapped, false, r.Err.Error())
	if env := r.ErrorEnvelope(&i.external); env != nil {
		i.answer(env, r.Mapper)
	}
}

// failed is an error outcome of a mapped envelope.
func (i *intake) failed(env *protocol.Envelope, mapper string, err *messages.Error) {
	tr := traceOf(env)
	tr.note(i.scope, monitor.Mapped, false, err.Error())
	i.answer(protocol.NewError(err, &env.Topic, replyHeaders(env.Headers, env.Headers[messages.HeaderCorrelationID])), mapper)
}

// answerUnreadable answers a message that was not looked into.
func (i *intake) answerUnreadable(err *messages.Error) {
	r := mapping.Inbound{Err: err}
	if env := r.ErrorEnvelope(&i.external); env != nil {
		i.answer(env, "")
	}
}

// answer sends an error envelope, with the header mapping of the source, to the reply target.
func (i *intake) answer(env *protocol.Envelope, mapper string) {
	if i.source.reply == nil {
		return
	}
	if env.Headers == nil {
		env.Headers = messages.Headers{}
	}
	i.values.Envelope = env
	i.source.headers.under(env.Headers, &i.values)
	to := sender{endpoint: i.endpoint, source: i.source, scope: i.scope, mapper: mapper, correlation: env.Headers[messages.HeaderCorrelationID], headers: env.Headers}
	to.send(env, responseError, i.values.Subjects)
}

// sourceAddresses are the addresses under which a source is counted: each one, for mqtt all joined (piggyback.md 4.11).
func sourceAddresses(typ messages.ConnectionType, s messages.Source) []string {
	if typ == messages.TypeMQTT || typ == messages.TypeMQTT5 {
		return []string{strings.Join(s.Addresses, ";")}
	}
	return s.Addresses
}
