package signals

import (
	"hawser/messages"
	"hawser/messages/protocol"
)

// refusal is one row of contract runtime.md 14.3: what a signal that is not relayed gets. The reply goes out if the sender
// wants one; only an acknowledgement-requesting signal is rejected, all others are settled.
type refusal func(s *Signal) *messages.Error

var refusals = map[protocol.Kind]refusal{
	protocol.TwinCreate:       func(s *Signal) *messages.Error { return newThingNotCreatable(s.EntityID) },
	protocol.TwinModify:       func(s *Signal) *messages.Error { return newThingNotFound(s.EntityID) },
	protocol.TwinRetrieve:     func(s *Signal) *messages.Error { return newThingNotFound(s.EntityID) },
	protocol.PolicyCommand:    func(s *Signal) *messages.Error { return newPolicyNotFound(s.EntityID) },
	protocol.Search:           unsupported,
	protocol.Streaming:        unsupported,
	protocol.CheckPermissions: unsupported,
	protocol.ConnectionSignal: unsupported,
}

func unsupported(s *Signal) *messages.Error { return newUnsupported(s.Envelope.Topic.String()) }

// notAllowed is what a sender without write permission gets (contract runtime.md 14.2 B).
var notAllowed = map[protocol.Kind]refusal{
	protocol.LiveMessage: func(s *Signal) *messages.Error { return newMessageNotAllowed(s.EntityID) },
	protocol.LiveEvent:   func(s *Signal) *messages.Error { return newEventNotAllowed(s.EntityID) },
	protocol.LiveCommand: func(s *Signal) *messages.Error { return newThingNotFound(s.EntityID) },
}

// ignored are settled without a trace: what nobody here waits for.
var ignored = map[protocol.Kind]bool{
	protocol.TwinEvent:    true,
	protocol.TwinResponse: true,
	protocol.PolicySignal: true,
}

const headerLiveChannelCondition = "live-channel-condition"

// acknowledgeable reports whether s asks for acknowledgements, so that an error ends it with a rejection (contract
// runtime.md 4.1, 4.2). A retrieve over the smart channel always does.
func (s *Signal) acknowledgeable() bool {
	return len(s.acks.Labels) > 0 || s.Kind == protocol.TwinRetrieve && s.Envelope.Headers.Has(headerLiveChannelCondition)
}

// wantsReply reports whether the sender of a refused signal is answered. Nobody waits for the response to an event unless
// the sender says so; the issuer of an undeclared acknowledgement is always told.
func (s *Signal) wantsReply() bool {
	switch s.Kind {
	case protocol.LiveEvent:
		return s.Envelope.Headers[messages.HeaderResponseRequired] == "true"
	case protocol.Acknowledgement, protocol.Acknowledgements:
		return true
	default:
		return s.acks.Respond
	}
}
