package mapping

import (
	"strings"
	"time"

	"hawser/messages"
	"hawser/messages/placeholder"
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
func (v *Values) Values(prefix, name string) ([]string, bool) {
	switch prefix {
	case "header":
		if v.Headers != nil {
			value, ok := v.Headers[strings.ToLower(name)]
			if !ok {
				return nil, false
			}
			return []string{value}, true
		}
	case "request":
		return v.Subjects, name == "subjectId" && len(v.Subjects) > 0
	case "connection":
		return []string{v.ConnectionID}, name == "id" && v.ConnectionID != ""
	case "source":
		return []string{v.SourceAddress}, name == "address" && v.SourceAddress != ""
	case "time":
		return placeholder.Time(v.Now, name)
	}
	if v.Envelope == nil {
		return nil, false
	}
	return v.Envelope.Placeholder(prefix, name)
}

// Field returns the function that rql.Filter.Evaluate takes: the fields of v.Envelope, its extra included, and the
// placeholders. A field that the envelope does not hold and that lies at, below or above one of the pointers in pending
// (the extraFields not retrieved yet, "/attributes/site"; "*" stands for any feature) is unknown.
func (v *Values) Field(pending []string) func(field string) ([]any, bool) {
	return func(field string) ([]any, bool) {
		if name, ok := strings.CutPrefix(field, "time:"); ok {
			values, _ := placeholder.Time(v.Now, name)
			found := make([]any, len(values))
			for i, s := range values {
				found[i] = s
			}
			return found, true
		}
		if v.Envelope == nil {
			return nil, true
		}
		values := v.Envelope.Field(field)
		if len(values) > 0 {
			return values, true
		}
		for _, pointer := range pending {
			if related(field, pointer) {
				return nil, false
			}
		}
		return nil, true
	}
}

// related reports whether one of two pointers is the other or lies below it.
func related(a, b string) bool {
	as, bs := strings.Split(strings.Trim(a, "/"), "/"), strings.Split(strings.Trim(b, "/"), "/")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] && as[i] != "*" && bs[i] != "*" {
			return false
		}
	}
	return true
}
