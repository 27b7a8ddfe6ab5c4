package connection

import (
	"context"
	"errors"
	"iter"

	"hawser/persistence"
)

// Read reads the present states of many connections, in any order, without waking their entities. A change is answered only
// after it was committed (decision O4), so each state is what its entity would answer from. What cannot be read is a
// *DecodeError (decision O5), anything else an error of the journal; either ends the sequence.
func (c Codec) Read(ctx context.Context, journal persistence.Journal, ids []string) iter.Seq2[State, error] {
	return func(yield func(State, error) bool) {
		pids, byPID := make([]string, len(ids)), make(map[string]string, len(ids))
		for i, id := range ids {
			pids[i] = PID(id)
			byPID[pids[i]] = id
		}
		for rows, err := range journal.Recover(ctx, pids) {
			if err != nil {
				yield(State{}, err)
				return
			}
			state, err := c.recovered(byPID[rows.PID], &rows)
			if !yield(state, err) || err != nil {
				return
			}
		}
	}
}

// recovered is the state that rows make: those of an entity that recovers, or of one that is only looked at.
func (c Codec) recovered(id string, rows *persistence.Recovery) (State, error) {
	if rows == nil || rows.LastSeq == 0 {
		return State{ID: id}, nil
	}
	state, err := c.Replay(id, rows.Snapshot, rows.Events)
	if err == nil && state.Seq != rows.LastSeq {
		err = &DecodeError{PID: PID(id), SeqNr: rows.LastSeq, Cause: errors.New("the newest event is missing")}
	}
	if err != nil {
		return State{ID: id}, err
	}
	return state, nil
}
