package signals

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
)

// Enricher retrieves parts of a thing for extraFields (contract runtime.md 6.3 O-5, 14.4).
type Enricher interface {
	// Retrieve returns the selected fields as far as one of the subjects may read them; false: not accessible, then the signal
	// is published without extra (14.2 X3). It may block.
	Retrieve(thingID, selector string, subjects []string) (extra json.RawMessage, ok bool)
}

// NotAccessible is the Enricher of a service without things.
type NotAccessible struct{}

// Retrieve implements Enricher.
func (NotAccessible) Retrieve(string, string, []string) (json.RawMessage, bool) { return nil, false }

// fate is what became of a signal at one target; with several mappers the last of these that one of them came to.
type fate uint8

const (
	irrelevant fate = iota // not authorized, not subscribed, filtered, or dropped by all mappers: a weak acknowledgement is due
	silent                 // no address: nobody acknowledges
	failed                 // the mapping failed
	published              // handed to the transport, whose outcome decides
)

// selected is a target that a signal passed to, with the envelope as that target gets it.
type selected struct {
	target   *target
	envelope *protocol.Envelope
	fate     fate
	err      *messages.Error
	mapped   bool
}

// deliver takes a signal through the targets of the endpoint: filters, mapping, publish (contract runtime.md 6.3). The relay
// ends when all publishes have their outcome. It does not block: where scripts are run the signal gets in line.
func (e *Endpoint) deliver(rl *relay) {
	rl.begin(e)
	if e.scripts == nil {
		e.deliverNow(rl)
		return
	}
	e.lineOf(rl.signal.EntityID).do(func() {
		if rl.finished.Load() { // expired meanwhile
			e.missed(rl, monitor.Published, "The scripts of the connection did not come to the signal within the hold time.")
			return
		}
		e.deliverNow(rl)
	})
}

// lineOf is where the scripts get what concerns an entity.
func (e *Endpoint) lineOf(entityID string) *line { return e.scripts[choice(entityID, len(e.scripts))] }

func (e *Endpoint) deliverNow(rl *relay) {
	switch {
	case e.moves():
		rl.again.Store(true)
		rl.end()
		return
	case e.publisher.Load() == nil: // only while connected (O-1)
		rl.end()
		return
	}
	s := rl.signal
	values := &mapping.Values{Envelope: e.envelopeOf(s), Subjects: s.Subjects, ConnectionID: e.id, Now: s.now}
	defer func() {
		if p := recover(); p != nil { // a bug must not take the node down, nor the receiver with it
			e.hub.panicked(p, "deliver", e.id, s.sender.correlation)
			rl.finish(outcomeExpired)
		}
	}()
	var buf [4]selected
	targets := e.selectTargets(s, values, buf[:0])
	e.publishTo(targets, values, s.trace, rl)
	if s.request != nil {
		e.acknowledgeFor(s, targets)
	}
	rl.end()
}

// selectTargets is O-3.
func (e *Endpoint) selectTargets(s *Signal, values *mapping.Values, targets []selected) []selected {
	for _, t := range e.targets {
		if !(s.everyone || intersects(t.subjects, s.readers)) || !t.subscribes(s.topic) {
			continue
		}
		s.trace.note(t.scope, monitor.Dispatched, true, "")
		if env := e.filter(t, s, values); env != nil {
			s.trace.note(t.scope, monitor.Filtered, true, "")
			targets = append(targets, selected{target: t, envelope: env})
		}
	}
	return targets
}

// filter returns the envelope for the first topic of t that lets s pass, with extra where that topic wants fields, nil if none does.
func (e *Endpoint) filter(t *target, s *Signal, values *mapping.Values) *protocol.Envelope {
	for k := range t.topics {
		topic := &t.topics[k]
		if topic.name != s.topic || len(topic.namespaces) > 0 && !contains(topic.namespaces, s.Envelope.Topic.Namespace) {
			continue
		}
		seen := *values
		if topic.extraFields != "" {
			if extra, ok := e.hub.opts.Enricher.Retrieve(s.EntityID, topic.extraFields, t.subjects); ok {
				enriched := *values.Envelope
				enriched.Extra = extra
				seen.Envelope = &enriched
			}
		}
		if topic.filter == nil || topic.filter.Matches(seen.Field(nil)) {
			return seen.Envelope
		}
	}
	return nil
}

// tracker is told of each publish before it happens and takes its outcome.
type tracker interface {
	sent(t *target, tr trace) func(client.Outcome)
	// untried says that a mapper did not look at the signal: mapping.ErrBusy or ErrAbandoned.
	untried(err error)
}

// publishTo is O-6 and O-7: targets with the same mappers and envelope share one run of the mapping.
func (e *Endpoint) publishTo(targets []selected, values *mapping.Values, tr trace, outcomes tracker) {
	for i := range targets {
		if targets[i].mapped {
			continue
		}
		first := &targets[i]
		ctx := mapping.Context{ConnectionID: e.id, Subjects: values.Subjects, Now: values.Now}
		if e.scripts != nil {
			ctx.Done = e.stopped()
		}
		results := e.mapOutbound(first.target.payload, ctx, first.envelope)
		values.Envelope = first.envelope
		sharing := func(x *selected) bool {
			return !x.mapped && x.envelope == first.envelope && x.target.mapping == first.target.mapping
		}
		alone := true
		for k := i + 1; k < len(targets); k++ {
			alone = alone && !sharing(&targets[k])
		}
		for k := i; k < len(targets); k++ {
			if x := &targets[k]; sharing(x) {
				x.mapped = true
				e.publishResults(x, results, values, tr, outcomes, alone)
			}
		}
	}
}

// publishResults publishes what the mappers made for one target. alone: no other target takes its headers from these results.
func (e *Endpoint) publishResults(x *selected, results []mapping.Outbound, values *mapping.Values, tr trace, outcomes tracker, alone bool) {
	t := x.target
	for k := range results {
		r := &results[k]
		if r.Untried != nil {
			x.fate = max(x.fate, silent)
			outcomes.untried(r.Untried)
			continue
		}
		if r.Err != nil {
			tr.note(t.scope, monitor.Other, false, r.Err.Error())
			x.fate, x.err = max(x.fate, failed), r.Err
			continue
		}
		if len(r.Messages) == 0 {
			tr.note(t.scope, monitor.Dropped, true, "")
		}
		for _, m := range r.Messages {
			tr.note(t.scope, monitor.Mapped, true, "")
			address, ok := t.template.Resolve(values)
			if !ok || address == "" {
				tr.note(t.scope, monitor.Dropped, true, "The address of the target has no value: "+t.address)
				x.fate = max(x.fate, silent)
				continue
			}
			out := outbound(m, address, t.qos, t.address)
			if !alone || out.Headers == nil {
				out.Headers = m.Headers.Clone()
			}
			t.headers.over(out.Headers, values)
			x.fate = published
			tr.headers = out.Headers
			done := outcomes.sent(t, tr)
			if publisher := e.publisher.Load(); publisher != nil {
				(*publisher)(out, done)
			} else {
				done(client.Outcome{Status: 503, Err: errNotConnected})
			}
		}
	}
}

// acknowledgeFor issues the acknowledgements that do not depend on an outcome: failed ones, and weak ones where nobody will
// look at the signal (contract runtime.md 4.4).
func (e *Endpoint) acknowledgeFor(s *Signal, targets []selected) {
	for _, t := range e.targets {
		if !s.wants(t.issuedLabel) || t.issuedLabel == protocol.LabelLiveResponse {
			continue
		}
		x := selected{}
		for i := range targets {
			if targets[i].target == t {
				x = targets[i]
			}
		}
		switch x.fate {
		case irrelevant:
			s.request.weak(t.issuedLabel)
		case failed:
			s.trace.note(t.scope, monitor.Acknowledged, false, "")
			s.request.acknowledge(protocol.Ack{Label: t.issuedLabel, Status: x.err.Status, Payload: describe(x.err.Message, x.err.Description)})
		}
	}
	for i := range targets {
		if targets[i].fate != irrelevant { // somebody may acknowledge, or the signal did not come out though it was meant to
			return
		}
	}
	for _, label := range e.declared {
		if s.wants(label) {
			s.request.weak(label)
		}
	}
}

// missed counts a signal that did not even get to the filters at the targets that it was for.
func (e *Endpoint) missed(rl *relay, m monitor.Metric, text string) {
	s := rl.signal
	for _, t := range e.targets {
		if (s.everyone || intersects(t.subjects, s.readers)) && t.subscribes(s.topic) {
			s.trace.note(t.scope, m, false, text)
		}
	}
}

// announcement counts the publishes of one announcement (contract runtime.md 13).
type announcement struct {
	open atomic.Int32
	done func()
}

func (e *Endpoint) announce(kind string, targets []*target, now time.Time, a *announcement) {
	defer a.end()
	env := protocol.NewConnectionAnnouncement(e.id, kind, now)
	values := &mapping.Values{Envelope: env, ConnectionID: e.id, Now: now}
	tr := traceOf(env)
	chosen := make([]selected, 0, len(targets))
	for _, t := range targets {
		tr.note(t.scope, monitor.Dispatched, true, "")
		tr.note(t.scope, monitor.Filtered, true, "")
		chosen = append(chosen, selected{target: t, envelope: env})
	}
	e.publishTo(chosen, values, tr, a)
}

func (a *announcement) sent(t *target, tr trace) func(client.Outcome) {
	a.open.Add(1)
	return func(o client.Outcome) {
		text := ""
		if o.Err != nil {
			text = "Could not publish the announcement: " + o.Err.Error()
		}
		tr.note(t.scope, monitor.Published, o.Err == nil, text)
		a.end()
	}
}

func (a *announcement) untried(error) {}

func (a *announcement) end() {
	if a.open.Add(-1) == 0 {
		a.done()
	}
}
