package signals

import (
	"encoding/json"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/protocol"
)

// Router takes over each signal that came in (contract runtime.md 14.4). It is called in the order of the source and may
// block: that is the back-pressure. An error means that the signal is refused; the caller counts, answers and settles.
// Whatever the router starts for a signal that succeeds ends in the signal's collector or reply.
type Router interface {
	Route(s *Signal) *messages.Error
}

// standalone is the router without things and policies services behind it (contract runtime.md 14).
type standalone struct{ hub *Hub }

// Route implements Router.
func (r standalone) Route(s *Signal) *messages.Error {
	switch s.Kind {
	case protocol.LiveMessage, protocol.LiveCommand, protocol.LiveEvent:
		return r.live(s)
	case protocol.LiveMessageResponse, protocol.LiveResponse, protocol.ErrorResponse:
		r.hub.requests.respond(s)
		return nil
	case protocol.Acknowledgement, protocol.Acknowledgements:
		return r.acknowledge(s)
	case protocol.TwinRetrieveMany:
		if s.wantsReply() {
			s.sender.send(emptyList(s), responseOrdinary, s.Subjects)
		}
		return nil
	}
	if ignored[s.Kind] {
		r.hub.log.Debug("a signal that nobody here waits for was ignored", "connection_id", s.Origin, "correlation_id", s.sender.correlation)
		return nil
	}
	if refuse, ok := refusals[s.Kind]; ok {
		return refuse(s)
	}
	return unsupported(s)
}

// emptyList answers a retrieve of several things: those that may not be accessed are left out, so none is left.
func emptyList(s *Signal) *protocol.Envelope {
	return &protocol.Envelope{
		Topic: s.Envelope.Topic, Path: s.Envelope.Path, Status: 200, Value: json.RawMessage("[]"),
		Headers: replyHeaders(s.sender.headers, s.sender.correlation).With(messages.HeaderContentType, messages.ContentTypeJSON),
	}
}

// live relays a signal to all who may receive it.
func (r standalone) live(s *Signal) *messages.Error {
	switch {
	case s.Envelope.Headers.Has(messages.HeaderCondition): // nothing to evaluate it against: never fail open
		return newThingNotFound(s.EntityID)
	case !r.hub.opts.Authorizer.MayWrite(s):
		return notAllowed[s.Kind](s)
	}
	if s.Kind != protocol.LiveEvent {
		s.sender.headers = s.Envelope.Headers.Clone() // as the requester wrote them
		if s.acks.Respond {
			s.Envelope.Headers[messages.HeaderResponseRequired] = "true"
		} else {
			s.Envelope.Headers[messages.HeaderResponseRequired] = "false"
		}
		s.Envelope.Headers[messages.HeaderRequestedAcks] = renderLabels(s.acks.Labels)
		if s.acks.Respond || len(s.acks.Labels) > 0 {
			r.hub.requests.openFor(s)
		}
	}
	s.readers, s.everyone = r.hub.opts.Authorizer.Readers(s)
	relayedTo := r.hub.relay(s)
	if s.request != nil {
		r.weaklyAcknowledge(s, relayedTo)
	}
	return nil
}

// weaklyAcknowledge answers for the labels of connections that did not get the signal at all: nobody there will (4.4).
func (r standalone) weaklyAcknowledge(s *Signal, relayedTo []*receiver) {
	for _, label := range s.acks.Labels {
		owner, declared := r.hub.declaredBy(label)
		if declared && !containsID(relayedTo, owner) {
			s.request.weak(label)
		}
	}
}

func containsID(receivers []*receiver, id string) bool {
	for _, r := range receivers {
		if r.connection == id {
			return true
		}
	}
	return false
}

// acknowledge hands acknowledgements to the request that waits for them.
func (r standalone) acknowledge(s *Signal) *messages.Error {
	acks, err := s.Envelope.Acks()
	if err != nil {
		return asError(err)
	}
	for _, a := range acks {
		if !contains(s.sender.source.declared, a.Label) {
			return newLabelNotDeclared(a.Label)
		}
	}
	r.hub.requests.acknowledge(s, acks)
	return nil
}

// relay sends s to every receiver that it may concern, in the order in which this source's signals come (O16), and returns
// those that took it or refused it. It waits for room where the source waits for settlement (O17).
func (h *Hub) relay(s *Signal) []*receiver {
	readers := s.readers
	if s.everyone {
		readers = everyoneReads
	}
	var reached []*receiver
	for _, subject := range readers {
		for _, a := range h.subscribers(subscription{s.topic, subject}) {
			reached = h.relayTo(a, s, reached)
		}
	}
	return reached
}

// everyoneReads is the key under which all receivers of a topic are found.
var everyoneReads = []string{""}

func (h *Hub) relayTo(a *audience, s *Signal, reached []*receiver) []*receiver {
	if a.connection == s.Origin || containsID(reached, a.connection) { // a connection never sees what it caused (O-2)
		return reached
	}
	r := a.pick(s.EntityID)
	if r == nil { // it took it until now
		return reached
	}
	if s.collector != nil {
		s.collector.expect()
	}
	rl := newRelay(s, r)
	verdict, e := r.admit(rl)
	for verdict == superseded {
		if r = a.pick(s.EntityID); r == nil {
			verdict = unconcerned
			break
		}
		rl.receiver = r
		verdict, e = r.admit(rl)
	}
	switch verdict {
	case admitted:
		e.deliver(rl)
		rl.wait()
		return append(reached, r)
	case waits:
		rl.wait()
		return append(reached, r)
	case overflown: // O17: dropped for this target, which is its failure
		if e != nil {
			e.missed(rl, monitor.Dropped, "The target has too many signals without outcome; a message of a QoS 0 source was dropped.")
		}
	case timedOut:
		if e != nil {
			e.missed(rl, monitor.Published, "The target had no room for the signal within the hold time.")
		}
	}
	if s.collector == nil {
		return reached
	}
	switch verdict {
	case timedOut:
		s.collector.part(client.RejectRedeliver)
	case abandoned:
		s.collector.abandon()
	case unconcerned:
		s.collector.part(client.Settle)
		return reached
	default:
		s.collector.part(client.Settle)
	}
	return append(reached, r)
}
