package messages

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The types of journaled events (piggyback.md 6.1).
const (
	EventConnectionCreated  = "connectivity.events:connectionCreated"
	EventConnectionModified = "connectivity.events:connectionModified"
	EventConnectionOpened   = "connectivity.events:connectionOpened"
	EventConnectionClosed   = "connectivity.events:connectionClosed"
	EventConnectionDeleted  = "connectivity.events:connectionDeleted"
	EventEmpty              = "persistence-actor-internal:empty-event"
)

// EffectPriorityUpdate is the effect of the one kind of empty event that is written (decision D13).
const EffectPriorityUpdate = "priorityUpdate"

// Event is what a journal row holds (operations.md 1.2). Connection, with hidden members, is there in created and modified;
// an empty event has only Type, Effect and HistoricalHeaders.
type Event struct {
	Type              string
	Timestamp         time.Time
	Revision          int64 // sequence number; when read, the row's counts, not this one
	ConnectionID      string
	Connection        *Connection
	HistoricalHeaders Headers
	Effect            string
}

// MarshalJSON renders the event in the write order of operations.md 1.2. Secrets are in clear text.
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON renders.
func (e Event) AppendJSON(dst []byte) []byte {
	if e.Connection != nil {
		dst = slices.Grow(dst, usualJSON+256)
	}
	w := objectWriter{dst: dst}
	w.open()
	w.string("type", e.Type)
	if e.Type == EventEmpty {
		w.string("effect", e.Effect)
	} else {
		w.instant("_timestamp", e.Timestamp)
		w.raw("_metadata", nil)
		w.integer("revision", e.Revision)
		w.string("connectionId", e.ConnectionID)
		if e.Connection != nil {
			w.key("connection")
			w.dst = e.Connection.appendJSON(w.dst, true)
		}
	}
	w.textMap("__hh", e.HistoricalHeaders, true)
	return w.close()
}

// ParseEvent reads a journaled event. An unknown type, effect included, is an error: what cannot be understood must not be
// passed over (decision O5).
func ParseEvent(text []byte) (Event, error) {
	v, err := parseJSON(text)
	if err != nil || v.kind != jsonObject {
		return Event{}, errors.New("messages: the event is not a JSON object")
	}
	r := &jsonReader{jsonValue: v}
	e := Event{Type: r.required("type")}
	r.object("__hh", func(r *jsonReader) {
		e.HistoricalHeaders = make(Headers, len(r.inner))
		for _, m := range r.inner {
			e.HistoricalHeaders[string(m.name)] = m.value.asText()
		}
	})
	switch e.Type {
	case EventEmpty:
		e.Effect = r.required("effect")
	case EventConnectionCreated, EventConnectionModified, EventConnectionOpened, EventConnectionClosed, EventConnectionDeleted:
		readDomainEvent(r, &e)
	default:
		r.fail(fmt.Errorf("messages: unknown event type %q", shorten(e.Type)))
	}
	if r.err != nil {
		return Event{}, fmt.Errorf("reading event: %w", r.err)
	}
	return e, nil
}

func readDomainEvent(r *jsonReader, e *Event) {
	if text, ok := r.string("_timestamp"); ok {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			r.fail(NewWrongType("/_timestamp", shorten(text), "instant"))
		}
		e.Timestamp = at.UTC()
	}
	if v, ok := r.lookup("revision"); ok {
		n, err := strconv.ParseInt(string(v.raw), 10, 64)
		if err != nil {
			r.wrongType("revision", v, "long")
		}
		e.Revision = n
	}
	e.ConnectionID = r.required("connectionId")
	if e.Type != EventConnectionCreated && e.Type != EventConnectionModified {
		return
	}
	v, ok := r.lookup("connection")
	switch {
	case !ok:
		r.missing("connection")
	case v.kind != jsonObject:
		r.wrongType("connection", v, "JsonObject")
	default:
		conn, err := readConnection(v, true, stored)
		r.fail(err)
		e.Connection = conn
	}
}

// MarshalSnapshot renders a snapshot (piggyback.md 6.4): the connection with hidden members, secrets in clear text, or for
// nil the mark of a deleted one.
func MarshalSnapshot(c *Connection) ([]byte, error) {
	if c == nil {
		return []byte(`{"__lifecycle":"` + string(LifecycleDeleted) + `"}`), nil
	}
	return c.appendJSON(nil, true), nil
}

// ParseSnapshot reads a snapshot; nil without an error is a deleted connection. One without lifecycle is active.
func ParseSnapshot(text []byte) (*Connection, error) {
	v, err := parseJSON(text)
	if err != nil || v.kind != jsonObject {
		return nil, errors.New("messages: the snapshot is not a JSON object")
	}
	r := &jsonReader{jsonValue: v}
	if lifecycle, _ := r.string("__lifecycle"); lifecycle == string(LifecycleDeleted) {
		return nil, nil
	}
	c, err := readConnection(v, true, stored)
	if err != nil {
		return nil, fmt.Errorf("reading snapshot: %w", err)
	}
	if c.Lifecycle == "" {
		c.Lifecycle = LifecycleActive
	}
	return c, nil
}
