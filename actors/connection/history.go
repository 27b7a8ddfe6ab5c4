package connection

import (
	"context"
	"errors"
	"time"

	"hawser/messages"
	"hawser/persistence"
)

// errNoHistory says that the journal does not reach back that far.
var errNoHistory = errors.New("connection: no such history")

// history reads a past state: the newest snapshot at or before the wanted point and the events from there up to it
// (operations.md 4). revision 0: the point is the instant at; events count whose time is strictly before it. The headers are
// those that the last of the events has kept, empty when the snapshot alone is the state.
func (c Codec) history(ctx context.Context, store persistence.Journal, id string, revision int64, at time.Time) (State, messages.Headers, error) {
	var snapshot *persistence.Snapshot
	var from int64 = 1
	switch s, ok, err := store.SnapshotAt(ctx, PID(id), revision, at); {
	case err != nil:
		return State{}, nil, err
	case ok:
		snapshot, from = &s, s.SeqNr+1
	}
	var rows []persistence.Event
	if revision == 0 || from <= revision {
		for row, err := range store.Events(ctx, PID(id), from, revision) {
			if err != nil {
				return State{}, nil, err
			}
			if revision == 0 {
				before, err := c.before(row, at)
				if err != nil {
					return State{}, nil, err
				}
				if !before {
					break
				}
			}
			rows = append(rows, row)
		}
	}
	if snapshot == nil && len(rows) == 0 {
		return State{}, nil, errNoHistory
	}
	if len(rows) > 0 && rows[0].SeqNr != from { // cleaned away in between
		if snapshot == nil {
			return State{}, nil, errNoHistory
		}
		rows = nil
	}
	state, err := c.Replay(id, snapshot, rows)
	if err != nil || len(rows) == 0 {
		return state, messages.Headers{}, err
	}
	last, err := c.event(rows[len(rows)-1])
	return state, last.HistoricalHeaders, err
}

// before reports whether an event happened strictly before at; an empty event has no time of its own but its row's.
func (c Codec) before(row persistence.Event, at time.Time) (bool, error) {
	e, err := c.event(row)
	if err != nil {
		return false, &DecodeError{PID: row.PID, SeqNr: row.SeqNr, Cause: err}
	}
	when := e.Timestamp
	if when.IsZero() {
		when = row.CreatedAt
	}
	return when.Before(at), nil
}

// readHistory answers a command from a past state.
func (e *entity) readHistory(r *run, x ReadHistory) verdict {
	var effects []Effect
	codec, store, id := e.deps.Codec, e.deps.Store, e.id
	return e.await(r, e.timings.ClientAsk, func(ctx context.Context) error {
		state, headers, err := codec.history(ctx, store, id, x.Revision, x.At)
		switch {
		case errors.Is(err, errNoHistory) && x.Revision > 0:
			return messages.NewHistoryNotFoundAtRevision(id, x.Revision)
		case errors.Is(err, errNoHistory):
			return messages.NewHistoryNotFoundAtTimestamp(id, x.Command.Headers.Get(messages.HeaderAtTimestamp))
		case err != nil:
			e.log.Error("reading history failed", "connection_id", id, "error", err)
			return messages.NewConnectionUnavailable(id)
		case state.Phase != Active:
			return messages.NewConnectionNotFound(id)
		}
		effects = answerPast(state, headers, x.Command)
		return nil
	}, func() { r.effects = append(effects, r.effects...) })
}
