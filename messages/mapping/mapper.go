package mapping

import (
	"time"

	"hawser/messages"
	"hawser/messages/protocol"
)

// External is a broker message, in either direction. Header names are lower case. Which of text and bytes there is:
// contract bindings.md 1.6.
type External struct {
	Headers  messages.Headers
	Text     string
	HasText  bool
	Bytes    []byte
	HasBytes bool
}

// Context is what a mapper knows besides the message.
type Context struct {
	ConnectionID string
	// Subjects are the authorization subjects of the source or target: request:subjectId.
	Subjects []string
	// Now is the time of the message: time:now.
	Now time.Time
}

// Mapper is one payload mapper of one connection. Implementations are safe for concurrent use.
type Mapper interface {
	// Inbound maps a broker message. No envelope: dropped. An error that is no *messages.Error becomes
	// connectivity:message.mapping.failed. m must not be changed; its bytes may be kept.
	Inbound(ctx Context, m *External) ([]*protocol.Envelope, error)
	// Outbound maps a signal. No message: dropped. e must not be changed.
	Outbound(ctx Context, e *protocol.Envelope) ([]*External, error)
}

// Limits bound what mappers produce (contract runtime.md 5, 1.4, 1.5).
type Limits struct {
	MaxInbound      int // results of one mapper for one broker message
	MaxOutbound     int // results of one mapper for one signal
	MaxHeaderBytes  int // names and values of all headers of one envelope together
	MaxMessageBytes int // payload of a live message
}

// DefaultLimits are the defaults of the configuration.
var DefaultLimits = Limits{MaxInbound: 10, MaxOutbound: 10, MaxHeaderBytes: 5000, MaxMessageBytes: 250 << 10}
