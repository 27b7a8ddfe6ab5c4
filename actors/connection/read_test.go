package connection

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"testing"

	"hawser/messages"
	"hawser/persistence"
)

// rowsOf is a journal that knows what it recovers.
type rowsOf struct {
	persistence.Journal
	rows  []persistence.Recovery
	fails error // after the rows
}

func (j rowsOf) Recover(context.Context, []string) iter.Seq2[persistence.Recovery, error] {
	return func(yield func(persistence.Recovery, error) bool) {
		for _, r := range j.rows {
			if !yield(r, nil) {
				return
			}
		}
		if j.fails != nil {
			yield(persistence.Recovery{}, j.fails)
		}
	}
}

// TestRead: what is read without the entity is what the entity would recover, and whatever it could not recover from is an
// error here, too (decision O5).
func TestRead(t *testing.T) {
	const document = `{"id":"a","connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://h:1","targets":[{"address":"t","qos":0,"authorizationContext":["s"]}],"_revision":1}`
	event := func(seq int64, typ, members string) persistence.Event {
		return persistence.Event{PID: PID("a"), SeqNr: seq, Type: typ, Payload: json.RawMessage(`{"type":"` + typ + `","connectionId":"a"` + members + `}`)}
	}
	created := event(1, messages.EventConnectionCreated, `,"connection":`+document)
	opened, deleted := event(2, messages.EventConnectionOpened, ""), event(3, messages.EventConnectionDeleted, "")
	snapshot := &persistence.Snapshot{PID: PID("a"), SeqNr: 1, Payload: json.RawMessage(document)}
	for name, row := range map[string]struct {
		rows       persistence.Recovery
		phase      Phase
		status     messages.ConnectivityStatus
		unreadable bool
	}{
		"never written":              {persistence.Recovery{}, Absent, "", false},
		"created":                    {persistence.Recovery{Events: []persistence.Event{created}, LastSeq: 1}, Active, messages.StatusClosed, false},
		"opened after a snapshot":    {persistence.Recovery{Snapshot: snapshot, Events: []persistence.Event{opened}, LastSeq: 2}, Active, messages.StatusOpen, false},
		"deleted":                    {persistence.Recovery{Events: []persistence.Event{created, opened, deleted}, LastSeq: 3}, Deleted, "", false},
		"the newest event missing":   {persistence.Recovery{Events: []persistence.Event{created}, LastSeq: 2}, 0, "", true},
		"an event missing":           {persistence.Recovery{Events: []persistence.Event{created, deleted}, LastSeq: 3}, 0, "", true},
		"an event that is no event":  {persistence.Recovery{Events: []persistence.Event{event(1, "x", "")}, LastSeq: 1}, 0, "", true},
		"a snapshot that is no JSON": {persistence.Recovery{Snapshot: &persistence.Snapshot{PID: PID("a"), SeqNr: 1, Payload: json.RawMessage(`x`)}, LastSeq: 1}, 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			row.rows.PID = PID("a")
			read := 0
			for state, err := range (Codec{}).Read(t.Context(), rowsOf{rows: []persistence.Recovery{row.rows}}, []string{"a"}) {
				read++
				var unreadable *DecodeError
				if state.ID != "a" || errors.As(err, &unreadable) != row.unreadable || (err != nil) != row.unreadable {
					t.Fatalf("%+v, %v", state, err)
				}
				if row.unreadable {
					continue
				}
				if state.Phase != row.phase || state.Connection != nil && state.Connection.Status != row.status {
					t.Errorf("%v %v", state.Phase, state.Connection)
				}
			}
			if read != 1 {
				t.Errorf("%d states", read)
			}
		})
	}
	away := errors.New("away")
	for _, err := range (Codec{}).Read(t.Context(), rowsOf{fails: away}, []string{"a"}) {
		if !errors.Is(err, away) {
			t.Errorf("%v", err)
		}
	}
}
