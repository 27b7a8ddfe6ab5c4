package migration

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"hawser/persistence"
)

// What ends a run beside an abort and the end of its context.
var (
	errOverwritten = errors.New("migration: another node has written the progress")
	errKeysChanged = errors.New("migration: the encryption keys of this node were exchanged")
)

// name is under which the progress is stored.
const name = "encryption"

// attempts is how often a batch is tried while the store answers but does not take it.
const attempts = 5

// after is the progress with a batch, of which landed changed documents were written. Position says whether the walk has
// come as far as the batch: the verification leaves the position where it is.
func (x *run) after(p Progress, b batch, landed int64, position bool) Progress {
	counts := b.counts(landed)
	if !position {
		counts.Skipped, counts.Failed = 0, 0
		return p.Count(b.table, counts, 0, "", x.opts.Now())
	}
	last := b.items[len(b.items)-1]
	return p.Count(b.table, counts, last.id, last.pid, x.opts.Now())
}

// apply commits a batch and its progress in one transaction (decision D25). What may have happened without an answer is
// looked up, so that no document is counted twice; a document that the store refuses is found and counted as failed; a batch
// that it does not take for another reason is failed as a whole (encryption.md 6.9). While the store does not answer at all,
// apply waits.
func (x *run) apply(ctx context.Context, b batch, position bool) error {
	updates, items := b.updates()
	if len(updates) == 0 {
		return x.save(ctx, x.after(x.now(), b, 0, position))
	}
	for attempt, pause := 1, firstPause; ; attempt, pause = attempt+1, min(2*pause, longestPause) {
		before := x.now()
		next, err := x.applyOnce(ctx, b, updates, before, position)
		var refused *persistence.RejectedError
		switch {
		case err == nil:
			x.set(next)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, persistence.ErrFenced):
			return err
		case errors.As(err, &refused) && len(updates) == 1:
			it := &b.items[items[0]]
			it.outcome, it.old, it.new = failed, nil, nil
			x.reportFailed(b.table, *it, err)
			return x.save(ctx, x.after(before, b, 0, position))
		case errors.As(err, &refused):
			middle := items[len(items)/2]
			if err := x.apply(ctx, batch{b.table, b.items[:middle]}, position); err != nil {
				return err
			}
			return x.apply(ctx, batch{b.table, b.items[middle:]}, position)
		}
		x.log.Warn("a batch was not committed", "table", b.table, "attempt", attempt, "error", err)
		stored, err := x.stored(ctx)
		switch {
		case err != nil:
			return err
		case next.Phase != "" && stored.same(next): // it was
			x.set(next)
			return nil
		case !stored.same(before):
			return errOverwritten
		case attempt == attempts:
			for _, i := range items {
				b.items[i].outcome, b.items[i].old, b.items[i].new = failed, nil, nil
			}
			x.log.Error("a batch was given up, its documents count as failed", "table", b.table, "documents", len(items), "first_id", b.items[items[0]].id)
			return x.save(ctx, x.after(before, b, 0, position))
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// applyOnce is one transaction. next is what it tried to store, the zero Progress if it did not come so far.
func (x *run) applyOnce(ctx context.Context, b batch, updates []persistence.RowUpdate, before Progress, position bool) (next Progress, err error) {
	lease, held := x.opts.Lease()
	if !held {
		return next, persistence.ErrFenced
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = x.opts.Store.ApplyBatch(ctx, lease, name, b.table, updates, func(landed []bool) (json.RawMessage, error) {
		n := int64(0)
		for _, one := range landed {
			if one {
				n++
			}
		}
		next = x.after(before, b, n, position)
		return next.encode()
	})
	return next, err
}

// stored reads the progress, waiting for the store to answer.
func (x *run) stored(ctx context.Context) (p Progress, err error) {
	if !x.insist(ctx, "the stored progress could not be read", func(ctx context.Context) (err error) {
		p, err = load(ctx, x.opts.Store)
		return err
	}) {
		return p, ctx.Err()
	}
	return p, nil
}

// save stores a progress alone. To repeat it does no harm.
func (x *run) save(ctx context.Context, next Progress) error {
	if next.DryRun {
		x.set(next)
		return nil
	}
	fenced := false
	if !x.insist(ctx, "the progress could not be saved", func(ctx context.Context) error {
		err := store(ctx, x.opts, next)
		if fenced = errors.Is(err, persistence.ErrFenced); fenced {
			return nil // for good
		}
		return err
	}) {
		return ctx.Err()
	}
	if fenced {
		return persistence.ErrFenced
	}
	x.set(next)
	return nil
}

func load(ctx context.Context, s persistence.Migrations) (Progress, error) {
	text, err := s.MigrationProgress(ctx, name)
	if err != nil {
		return Progress{}, err
	}
	return decode(text)
}

// store saves a progress under the lease of the moment; without one it is persistence.ErrFenced.
func store(ctx context.Context, o Options, p Progress) error {
	text, err := p.encode()
	if err != nil {
		return err
	}
	lease, held := o.Lease()
	if !held {
		return persistence.ErrFenced
	}
	return o.Store.SaveProgress(ctx, lease, name, text)
}

// insist repeats what is safe to repeat until it works or ctx ends. It says so in the log when the trouble begins and ends.
func insist(ctx context.Context, log *slog.Logger, trouble string, do func(context.Context) error) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		attempt, cancel := context.WithTimeout(ctx, storeTimeout)
		err := do(attempt)
		cancel()
		switch {
		case err == nil && pause > firstPause:
			log.Info("the store answers again")
			return true
		case err == nil:
			return true
		case ctx.Err() != nil:
			return false
		case pause == firstPause:
			log.Warn(trouble, "error", err)
		}
		if sleep(ctx, pause) != nil {
			return false
		}
	}
}
