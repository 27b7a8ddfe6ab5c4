package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"hawser/persistence"
)

// The life of a write: waiting → taken → (abandoned), or waiting → withdrawn. The caller and the lane race for the first
// step; whoever wins decides what the caller may be told.
const (
	waiting   = iota // in the queue
	taken            // in a batch: from here on the store may have it
	withdrawn        // the caller gave up while it waited: the lane drops it
	abandoned        // the caller gave up after it was taken: nobody reads the result
)

// Write is one write of one entity: an event with its index row and perhaps a snapshot, or a snapshot alone.
type Write struct {
	persistence.Append
	alone  bool // a snapshot without an event
	size   int  // bytes that count towards a batch's bound
	state  atomic.Uint32
	result chan error
}

// NewAppend makes the write of an event.
func NewAppend(a persistence.Append) *Write {
	w := &Write{Append: a, result: make(chan error, 1)}
	if string(a.Index.Interest) == "null" { // one way to say nothing, in every store
		w.Index.Interest = nil
	}
	w.size = rowOverhead + len(a.Event.Payload) + len(a.Index.Interest)
	if a.Snapshot != nil {
		w.size += len(a.Snapshot.Payload)
	}
	return w
}

// NewSnapshot makes the write of a snapshot alone.
func NewSnapshot(l persistence.Lease, s persistence.Snapshot) *Write {
	w := &Write{Append: persistence.Append{Lease: l, Snapshot: &s}, alone: true, result: make(chan error, 1)}
	w.Event.PID = s.PID
	w.size = rowOverhead + len(s.Payload)
	return w
}

// PID is the entity that is written.
func (w *Write) PID() string { return w.Event.PID }

// SnapshotOnly reports that the write has no event.
func (w *Write) SnapshotOnly() bool { return w.alone }

// Abandoned reports that the caller no longer waits: it was told that the outcome is unknown.
func (w *Write) Abandoned() bool { return w.state.Load() == abandoned }

// Settle gives the write its outcome. The Committer calls it exactly once for each write of a batch.
func (w *Write) Settle(err error) { w.result <- err }

func (w *Write) take() bool { return w.state.CompareAndSwap(waiting, taken) }

// wait is the caller's side after the write was queued.
func (w *Write) wait(ctx context.Context, ended <-chan struct{}) error {
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
	case <-ended:
	}
	if w.state.CompareAndSwap(waiting, withdrawn) {
		return unavailable(ctx.Err())
	}
	w.state.Store(abandoned)
	select { // settled in the very moment: the truth is better than "unknown"
	case err := <-w.result:
		return err
	default:
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", persistence.ErrUnknownOutcome, ctx.Err())
	}
	return persistence.ErrUnknownOutcome
}

var errClosed = errors.New("the store is closed")

func unavailable(cause error) error {
	if cause == nil {
		cause = errClosed
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnavailable, cause)
}
