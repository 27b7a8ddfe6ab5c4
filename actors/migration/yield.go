package migration

import (
	"context"
	"time"

	"hawser/persistence"
)

// While live entities write, a migration makes way: it commits few documents at a time, reads likewise, and rests after each as
// Options.LiveShare says. With the default a command finds the database and the processors busy with it one time in twenty,
// and then for a millisecond or two: that keeps the p99 of live commands within 20 % (one time in ten took it up by 25 to
// 70 %). With nobody writing it runs at full speed. Whether somebody writes, on whatever node, shows at the end of the journal.
const (
	liveSlice = 10                     // documents per transaction
	livePage  = 50                     // rows read at once
	restLimit = 10 * time.Second       // longest single rest
	lookEvery = 200 * time.Millisecond // how often the end of the journal is looked at
	quietFor  = 5                      // looks without a new row after which nobody writes
)

// listen follows the end of the journal until ctx ends.
func (x *run) listen(ctx context.Context, newestID int64) {
	for quiet := quietFor - 1; ; {
		if sleep(ctx, lookEvery) != nil {
			return
		}
		look, cancel := context.WithTimeout(ctx, storeTimeout)
		id, err := newest(look, x.opts.Store, persistence.TableJournal, newestID)
		cancel()
		switch {
		case err != nil: // the walk reports it
		case id > newestID:
			newestID, quiet = id, 0
			x.live.Store(true)
		default:
			quiet = min(quiet+1, quietFor)
			x.live.Store(quiet < quietFor)
		}
	}
}

// inParts does a batch in small parts while anybody is there. It ends with the error of do, or errAborted between two parts.
func (x *run) inParts(ctx context.Context, b batch, do func(context.Context, batch) error) error {
	for rest := b.items; len(rest) > 0; {
		n := len(rest)
		if x.live.Load() {
			n = min(n, liveSlice)
		}
		began := time.Now()
		if err := do(ctx, batch{b.table, rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
		x.rest(ctx, time.Since(began))
		if len(rest) > 0 && x.isStopped() {
			return errAborted
		}
	}
	return nil
}

// page is how many rows are read at once.
func (x *run) page() int {
	if x.live.Load() {
		return livePage
	}
	return pageRows
}

// rest makes way after some work, if anybody is there. An abort and the end of ctx cut it short.
func (x *run) rest(ctx context.Context, worked time.Duration) {
	if !x.live.Load() {
		return
	}
	timer := time.NewTimer(min(worked*time.Duration(100-x.opts.LiveShare)/time.Duration(x.opts.LiveShare), restLimit))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.stopped:
	case <-ctx.Done():
	}
}
