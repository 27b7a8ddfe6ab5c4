package signals

import (
	"time"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/protocol"
)

// Signal is one envelope on its way, with what the service knows about its sender. Once routed it is immutable.
type Signal struct {
	Envelope *protocol.Envelope
	Kind     protocol.Kind
	EntityID string   // "ns:name"
	Origin   string   // id of the connection that brought it in
	Subjects []string // authorization subjects of the source, placeholders resolved

	acks     ackRequest
	topic    messages.TopicName // streaming type, "" when the signal is not relayed
	readers  []string           // subjects that may receive it
	everyone bool               // all may
	trace    trace

	sender    sender
	collector *collector // nil when the broker wants no acknowledgement
	request   answers    // nil when nobody waits for responses or acknowledgements
	now       time.Time
	hold      int64           // deadline of its relays
	until     int64           // end of the collector's life: no deadline is later
	stop      <-chan struct{} // closed when the client that brought it in is gone
}

// sender is where responses to a signal go.
type sender struct {
	endpoint    *Endpoint
	source      *source
	scope       *monitor.Scope // of the source address
	mapper      string         // that mapped the request; its response takes the same way back
	correlation string         // the requester's own correlation-id
	headers     messages.Headers
}

// answers takes what a target says to a signal: the request that waits here, or the way back to the node where it waits.
type answers interface {
	acknowledge(a protocol.Ack)
	// weak acknowledges for somebody to whom the signal does not matter (contract runtime.md 4.4).
	weak(label string)
	// issued takes the outcome of a publish to a target that issues label.
	issued(label string, status int, failure error)
}

// streamingTypes are the signals that are relayed, with the topic under which targets subscribe to them.
var streamingTypes = map[protocol.Kind]messages.TopicName{
	protocol.LiveMessage: messages.TopicLiveMessages,
	protocol.LiveCommand: messages.TopicLiveCommands,
	protocol.LiveEvent:   messages.TopicLiveEvents,
}

// outboundEnvelope is the envelope as the receiver with these declared labels gets it: of the requested acknowledgements only
// those that it can issue are asked of it (contract runtime.md O-4).
func (s *Signal) outboundEnvelope(declared []string) *protocol.Envelope {
	if _, present := s.Envelope.Headers[messages.HeaderRequestedAcks]; !present {
		return s.Envelope
	}
	var labels []string
	for _, l := range s.acks.Labels {
		if l == protocol.LabelLiveResponse || contains(declared, l) {
			labels = append(labels, l)
		}
	}
	e := s.Envelope.Clone()
	e.Headers[messages.HeaderRequestedAcks] = renderLabels(labels)
	return e
}

// wants reports whether the acknowledgement label is requested.
func (s *Signal) wants(label string) bool {
	return label != "" && s.request != nil && contains(s.acks.Labels, label)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
