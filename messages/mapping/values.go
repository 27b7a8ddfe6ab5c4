package mapping

import (
	"time"

	"hawser/messages"
	"hawser/messages/protocol"
)

// Values says what placeholders stand for while one message is handled; it implements placeholder.Source with the
// prefixes of contract runtime.md 9.1 (policy excepted). Members that are not known stay zero and do not resolve.
type Values struct {
	// Headers answer header:; nil: those of Envelope. Inbound these are the broker's.
	Headers messages.Headers
	// Envelope answers entity, thing, feature, topic, resource, thing-json.
	Envelope *protocol.Envelope
	// Subjects answer request:subjectId.
	Subjects     []string
	ConnectionID string
	// SourceAddress answers source:address (MQTT enforcement input only).
	SourceAddress string
	Now           time.Time
}

// Values implements placeholder.Source.
func (v *Values) Values(prefix, name string) ([]string, bool) { return nil, false }

// Field is the function that rql.Filter.Evaluate takes: the fields of v.Envelope and the placeholders. A field at, below
// or above one of the pointers in pending (the extraFields not retrieved yet, "/attributes/site") is unknown.
func (v *Values) Field(pending []string) func(field string) ([]any, bool) {
	return func(string) ([]any, bool) { return nil, true }
}
