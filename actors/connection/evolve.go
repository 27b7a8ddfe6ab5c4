package connection

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/persistence"
)

// Evolve is the state after an event (piggyback.md 6.1).
func Evolve(s State, e messages.Event) State {
	s.Seq = e.Revision
	switch e.Type {
	case messages.EventConnectionCreated, messages.EventConnectionModified:
		s.Phase, s.Connection = Active, withHidden(e.Connection, e.Revision)
	case messages.EventConnectionOpened:
		s.Connection = withStatus(s.Connection, messages.StatusOpen)
	case messages.EventConnectionClosed:
		s.Connection = withStatus(s.Connection, messages.StatusClosed)
	case messages.EventConnectionDeleted:
		s.Phase, s.Connection = Deleted, nil
	}
	return s
}

// withHidden is a connection as the state holds it: with a lifecycle, and with the number of the row, whatever the payload says
// (operations.md 1.2). Events that Decide makes are like that.
func withHidden(c *messages.Connection, revision int64) *messages.Connection {
	if c.Revision == revision && c.Lifecycle != "" {
		return c
	}
	changed := *c // what it points to is never changed in place
	changed.Revision = revision
	if changed.Lifecycle == "" {
		changed.Lifecycle = messages.LifecycleActive
	}
	return &changed
}

func withStatus(c *messages.Connection, status messages.ConnectivityStatus) *messages.Connection {
	if c == nil {
		return nil // opened or closed without a connection: the row before was lost; replay reports it
	}
	changed := *c
	changed.Status = status
	return &changed
}

// Codec turns what is stored into what is known and back. The zero value stores secrets in clear text.
type Codec struct {
	// Seal and Unseal encrypt and decrypt the secrets inside the payload of an event or a snapshot (encryption.md 4); nil: as is.
	Seal, Unseal func(json.RawMessage) (json.RawMessage, error)
}

func (c Codec) seal(payload json.RawMessage) (json.RawMessage, error) {
	if c.Seal == nil {
		return payload, nil
	}
	return c.Seal(payload)
}

func (c Codec) unseal(payload json.RawMessage) (json.RawMessage, error) {
	if c.Unseal == nil {
		return payload, nil
	}
	return c.Unseal(payload)
}

// DecodeError says that something stored cannot be read: the connection is unavailable until it can (decision O5).
type DecodeError struct {
	PID   string
	SeqNr int64
	Cause error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("%s, sequence number %d: stored data cannot be read: %v", e.PID, e.SeqNr, e.Cause)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Cause }

// Replay is the state after a snapshot (nil: none) and the events that follow it.
func (c Codec) Replay(id string, snapshot *persistence.Snapshot, events []persistence.Event) (State, error) {
	s := State{ID: id}
	if snapshot != nil {
		var err error
		if s, err = c.snapshotState(id, *snapshot); err != nil {
			return State{}, &DecodeError{PID: snapshot.PID, SeqNr: snapshot.SeqNr, Cause: err}
		}
	}
	for _, row := range events {
		e, err := c.event(row)
		if err == nil {
			err = follows(s, row.SeqNr, e)
		}
		if err != nil {
			return State{}, &DecodeError{PID: row.PID, SeqNr: row.SeqNr, Cause: err}
		}
		s = Evolve(s, e)
		s.Priority = priority(row.Tags, s.Priority)
	}
	return s, nil
}

// follows reports why e cannot be the event after s, nil if it can.
func follows(s State, seq int64, e messages.Event) error {
	selfContained := e.Type == messages.EventConnectionCreated || e.Type == messages.EventConnectionModified || e.Type == messages.EventConnectionDeleted
	switch {
	case seq != s.Seq+1 && (s.Seq != 0 || !selfContained): // cleanup may leave the newest event alone (operations.md 2.1)
		return fmt.Errorf("follows sequence number %d", s.Seq)
	case s.Phase != Active && (e.Type == messages.EventConnectionOpened || e.Type == messages.EventConnectionClosed):
		return fmt.Errorf("%s without a connection", e.Type)
	}
	return nil
}

func (c Codec) snapshotState(id string, row persistence.Snapshot) (State, error) {
	s := State{ID: id, Seq: row.SeqNr, SnapshotSeq: row.SeqNr}
	payload, err := c.unseal(row.Payload)
	if err != nil {
		return s, err
	}
	conn, err := messages.ParseSnapshot(payload)
	if err != nil {
		return s, err
	}
	if conn != nil {
		s.Phase, s.Connection = Active, conn
	}
	return s, nil
}

func (c Codec) event(row persistence.Event) (messages.Event, error) {
	payload, err := c.unseal(row.Payload)
	if err != nil {
		return messages.Event{}, err
	}
	e, err := messages.ParseEvent(payload)
	e.Revision = row.SeqNr
	return e, err
}

func (c Codec) encodeEvent(e messages.Event) (json.RawMessage, error) {
	return c.seal(e.AppendJSON(nil))
}

// encodeSnapshot renders the snapshot of s: the connection with hidden members, or the mark of a deleted one (6.4).
func (c Codec) encodeSnapshot(s State) (json.RawMessage, error) {
	payload, err := messages.MarshalSnapshot(s.Connection)
	if err != nil {
		return nil, err
	}
	return c.seal(payload)
}

// priority reads n of the internal tag priority-<n>, which follows always-alive at the end; without it, it stays what it was.
func priority(tags []string, n int) int {
	if len(tags) < 2 || tags[len(tags)-2] != AlwaysAlive {
		return n
	}
	text, ok := strings.CutPrefix(tags[len(tags)-1], "priority-")
	v, err := strconv.Atoi(text)
	if !ok || err != nil {
		return n
	}
	return v
}
