package migration

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"hawser/persistence"
	"hawser/persistence/encryption"
)

// tables in the order of the phases.
var tables = []persistence.Table{persistence.TableSnapshots, persistence.TableJournal}

// run is one migration at work, from acceptance to its end. Its owner is an activation.
type run struct {
	opts        Options
	ring        *encryption.Keyring
	fingerprint string
	log         *slog.Logger
	stopped     chan struct{} // closed by stop
	done        chan struct{} // closed when nothing of it runs any more
	live        atomic.Bool   // somebody else writes to the journal
	verifying   atomic.Bool
	reported    atomic.Int64

	mu        sync.Mutex
	progress  Progress
	stopping  sync.Once
	abortedBy string    // request id of the abort
	abortedAt time.Time // when it came
	extents   map[persistence.Table]extent
	position  map[persistence.Table]int64 // of this walk
	looked    int64                       // documents of all walks
	meter     meter
	percent   int // last one logged
}

func newRun(o Options, ring *encryption.Keyring, p Progress) *run {
	return &run{
		opts: o, ring: ring, fingerprint: ring.Fingerprint(), progress: p, log: o.Log.With("mode", string(p.Keys.Mode), "dry_run", p.DryRun),
		stopped: make(chan struct{}), done: make(chan struct{}), extents: map[persistence.Table]extent{}, position: map[persistence.Table]int64{},
	}
}

// stop makes the run end after the batch that is being committed.
func (x *run) stop(requestID string, at time.Time) {
	x.stopping.Do(func() {
		x.mu.Lock()
		x.abortedBy, x.abortedAt = requestID, at
		x.mu.Unlock()
		close(x.stopped)
	})
}

func (x *run) isStopped() bool {
	select {
	case <-x.stopped:
		return true
	default:
		return false
	}
}

// now is the progress after the last batch.
func (x *run) now() Progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.progress
}

func (x *run) set(p Progress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.progress = p
}

// execute does all of it and returns when nothing runs any more.
func (x *run) execute(ctx context.Context) {
	defer close(x.done)
	began := x.opts.Now()
	p := x.now()
	x.log.Info("encryption migration begins", "phase", string(p.Phase), "keys", x.ring, "batch_size", x.opts.BatchSize, "max_documents_per_minute", x.opts.PerMinute)
	err := x.phases(ctx)
	switch {
	case err == nil:
	case errors.Is(err, errAborted), errors.Is(err, errKeysChanged):
		x.mu.Lock()
		by, at := x.abortedBy, x.abortedAt
		x.mu.Unlock()
		if at.IsZero() {
			at = x.opts.Now()
		}
		cause := err
		if err = x.save(ctx, x.now().Abort(by, at)); err == nil {
			x.log.Warn("encryption migration was aborted", x.counters("cause", cause)...)
			return
		}
	}
	switch {
	case err == nil:
		x.log.Info("encryption migration has ended", x.counters("took", x.opts.Now().Sub(began).Round(time.Millisecond).String())...)
	case ctx.Err() != nil, errors.Is(err, persistence.ErrFenced):
		x.log.Info("encryption migration is left to the next owner", x.counters()...)
	default:
		x.log.Error("encryption migration has stopped", x.counters("error", err)...)
	}
}

// counters are log attributes.
func (x *run) counters(more ...any) []any {
	p := x.now()
	return append([]any{
		"phase", string(p.Phase), "processed", p.Snapshots.Processed + p.Journal.Processed,
		"skipped", p.Snapshots.Skipped + p.Journal.Skipped, "failed", p.failed(),
	}, more...)
}

// phases does what is left to do: snapshots, journal, verification.
func (x *run) phases(ctx context.Context) error {
	for _, t := range tables {
		if _, err := x.measure(ctx, t); err != nil {
			return err
		}
	}
	x.live.Store(true) // until the first look says otherwise
	listening, end := context.WithCancel(ctx)
	var ear sync.WaitGroup
	written := x.extents[persistence.TableJournal].last
	ear.Go(func() { x.listen(listening, written) })
	defer func() { end(); ear.Wait() }()
	for _, step := range []struct {
		phase, next Phase
		table       persistence.Table
	}{{Snapshots, Journal, persistence.TableSnapshots}, {Journal, Verification, persistence.TableJournal}} {
		if x.now().Phase != step.phase {
			continue
		}
		x.reported.Store(0)
		if err := x.walk(ctx, step.table, x.now().table(step.table).LastID, newPace(x.opts.PerMinute), x.commit); err != nil {
			return err
		}
		x.moved(step.table, math.MaxInt64, 0)
		next := step.next
		if next == Verification && x.now().DryRun {
			next = Completed
		}
		if err := x.save(ctx, x.now().Enter(next, x.opts.Now())); err != nil {
			return err
		}
	}
	switch p := x.now(); {
	case p.Phase != Verification:
		return nil
	case p.DryRun: // resumed where nothing is left to count
		return x.save(ctx, p.Enter(Completed, x.opts.Now()))
	}
	x.restartMeter()
	return x.verify(ctx)
}

// measure finds out how long the way through a table is, and returns its newest id.
func (x *run) measure(ctx context.Context, t persistence.Table) (int64, error) {
	var e extent
	if !x.insist(ctx, "the tables could not be measured", func(ctx context.Context) (err error) {
		e, err = measure(ctx, x.opts.Store, t)
		return err
	}) {
		return 0, ctx.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, again := x.extents[t]; !again {
		x.position[t] = x.progress.table(t).LastID
		if t == persistence.TableSnapshots && x.progress.Phase != Snapshots {
			x.position[t] = e.last
		}
	}
	x.extents[t] = e
	return e.last, nil
}

// commit takes one batch of the walk.
func (x *run) commit(ctx context.Context, b batch) error { return x.inParts(ctx, b, x.commitPart) }

func (x *run) commitPart(ctx context.Context, b batch) error {
	if err := x.check(); err != nil {
		return err
	}
	if x.now().DryRun {
		updates, _ := b.updates()
		x.set(x.after(x.now(), b, int64(len(updates)), true))
	} else if err := x.apply(ctx, b, true); err != nil {
		return err
	}
	x.moved(b.table, b.items[len(b.items)-1].id, len(b.items))
	return nil
}

// check ends a run whose keys are no longer those of the node (decision D24).
func (x *run) check() error {
	if now := x.opts.Ring(); now != x.ring && now.Fingerprint() != x.fingerprint {
		return errKeysChanged
	}
	return nil
}

// restartMeter begins to measure anew, for the verification.
func (x *run) restartMeter() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.meter, x.percent = meter{}, 0
	clear(x.position)
}

// moved takes note of how far the walk is and of n more documents, and logs each tenth of the way.
func (x *run) moved(t persistence.Table, id int64, n int) {
	now := x.opts.Now()
	x.mu.Lock()
	x.position[t] = id
	passed, length := 0.0, 0.0
	for _, t := range tables {
		passed += x.extents[t].passed(x.position[t])
		length += x.extents[t].length()
	}
	share := 1.0
	if length > 0 {
		share = passed / length
	}
	x.looked += int64(n)
	x.meter.move(mark{at: now, rows: x.looked, share: share})
	tenth := int(share*10) * 10
	logs := tenth > x.percent
	if logs {
		x.percent = tenth
	}
	rate := x.meter.rate()
	end, known := x.meter.end()
	x.mu.Unlock()
	if !logs {
		return
	}
	attributes := x.counters("percent", tenth, "rate", math.Round(rate))
	if known {
		attributes = append(attributes, "estimated_end", end.UTC().Format(time.RFC3339))
	}
	x.log.Info("encryption migration goes on", attributes...)
}
