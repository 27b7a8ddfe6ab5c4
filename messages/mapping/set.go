package mapping

import (
	"hawser/messages"
	"hawser/messages/protocol"
)

// Set holds the mappers of one connection. It is immutable and safe for concurrent use.
type Set struct{}

// NewSet makes the mappers of c. An id that cannot be loaded acts as Ditto (contract runtime.md 8.1).
func NewSet(c *messages.Connection, limits Limits) (*Set, error) { return &Set{}, nil }

// Check applies rules V30a and V30b of contract connection-model.md 14.2. The error is *messages.Error
// connectivity:connection.configuration.invalid, 400.
func Check(c *messages.Connection, limits Limits) error { return nil }

// Inbound is what one mapper made of a broker message: exactly one of Envelopes, Dropped and Err.
type Inbound struct {
	Mapper    string // id as payloadMapping names it
	Envelopes []*protocol.Envelope
	Kinds     []protocol.Kind // of Envelopes, same order
	Dropped   bool
	Err       *messages.Error
	// Partial is what could be read of the envelope that failed, nil if nothing could.
	Partial *protocol.Envelope
}

// ErrorEnvelope builds the error response to a failed outcome (contract runtime.md I-7): the entity comes from the
// envelope's topic if that was readable, else from the broker header device_id.
func (in *Inbound) ErrorEnvelope(m *External) *protocol.Envelope { return nil }

// Outbound is what one mapper made of a signal: exactly one of Messages, Dropped and Err.
type Outbound struct {
	Mapper   string
	Messages []*External
	Dropped  bool
	Err      *messages.Error
}

// Inbound maps m with each mapper of ids, in order and independently; none: with Ditto (contract runtime.md I-5).
// The envelopes are ready to become signals: their kind is known, headers that may not enter are gone, ditto-entity-id,
// channel and ditto-inbound-payload-mapper are set. m must not be changed afterwards.
func (s *Set) Inbound(ids []string, ctx Context, m *External) []Inbound { return nil }

// Outbound maps e with each mapper of ids, in order and independently; none: with Ditto (contract runtime.md O-6).
func (s *Set) Outbound(ids []string, ctx Context, e *protocol.Envelope) []Outbound { return nil }
