package migration

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// The bounds of what is in memory at once: three pages and three batches.
const (
	pageRows   = 200     // rows read at once
	pageBytes  = 2 << 20 // about; rows of a page are fewer when they are large
	batchBytes = 2 << 20 // a batch of fewer than BatchSize documents is committed when it reaches this
)

// item is a document that counts, with what is to be done to it.
type item struct {
	id       int64
	pid      string
	outcome  outcome
	old, new json.RawMessage // new only of changed
}

type outcome uint8

const (
	changed outcome = iota
	skipped
	failed
)

// batch is documents of a table in the order of their ids.
type batch struct {
	table persistence.Table
	items []item
}

// updates are the changed documents, with the index of the item that each belongs to.
func (b batch) updates() (updates []persistence.RowUpdate, items []int) {
	for i, it := range b.items {
		if it.outcome == changed {
			updates = append(updates, persistence.RowUpdate{ID: it.id, Old: it.old, New: it.new})
			items = append(items, i)
		}
	}
	return updates, items
}

// counts are what the batch adds; of the changed documents only landed count as processed, the others were changed or gone
// since they were read (decision D25).
func (b batch) counts(landed int64) messages.MigrationCounts {
	var c messages.MigrationCounts
	for _, it := range b.items {
		switch it.outcome {
		case changed:
			c.Skipped++
		case skipped:
			c.Skipped++
		case failed:
			c.Failed++
		}
	}
	c.Processed, c.Skipped = landed, c.Skipped-landed
	return c
}

// errAborted ends a walk that was told to stop.
var errAborted = errors.New("migration: aborted")

// walk reads a table behind an id up to what is its end now, rewrites each document and hands the batches to commit, in
// order and one at a time. What is appended meanwhile has the new form already; to follow it could take for ever. Reading,
// rewriting and committing go on beside each other. It ends with the error of commit, errAborted after a call of stop, or
// the error of ctx.
func (x *run) walk(ctx context.Context, t persistence.Table, after int64, p pace, commit func(context.Context, batch) error) error {
	end, err := x.measure(ctx, t)
	if err != nil {
		return err
	}
	stages, cancel := context.WithCancel(ctx)
	pages, batches := make(chan []persistence.Row, 1), make(chan batch, 1)
	var running sync.WaitGroup
	running.Go(func() { defer close(pages); x.read(stages, t, after, end, pages) })
	running.Go(func() { defer close(batches); x.rewrite(stages, t, pages, p, batches) })
	defer func() { cancel(); running.Wait() }()
	for {
		var b batch
		var more bool
		select {
		case <-x.stopped:
			return errAborted
		case b, more = <-batches:
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !more:
			return nil
		case x.isStopped():
			return errAborted
		}
		if err := commit(ctx, b); err != nil {
			return err
		}
	}
}

// read is the first stage. What the store does not give is asked for until ctx ends.
func (x *run) read(ctx context.Context, t persistence.Table, after, end int64, pages chan<- []persistence.Row) {
	for limit := x.page(); after < end; {
		var page []persistence.Row
		began := time.Now()
		if !x.insist(ctx, "stored documents could not be read", func(ctx context.Context) (err error) {
			page, err = x.opts.Store.RowsAfter(ctx, t, after, limit)
			return err
		}) {
			return
		}
		took := time.Since(began)
		if len(page) == 0 {
			return
		}
		select {
		case pages <- page:
		case <-ctx.Done():
			return
		}
		bytes := 0
		for _, row := range page {
			bytes += len(row.Payload)
		}
		after = page[len(page)-1].ID
		limit = min(x.page(), max(1, pageBytes*len(page)/max(1, bytes)))
		x.rest(ctx, took)
	}
}

// rewrite is the second stage.
func (x *run) rewrite(ctx context.Context, t persistence.Table, pages <-chan []persistence.Row, p pace, batches chan<- batch) {
	b, size := batch{table: t}, 0
	flush := func() bool {
		select {
		case batches <- b:
			b, size = batch{table: t}, 0
			return true
		case <-ctx.Done():
			return false
		}
	}
	for page := range pages {
		for _, row := range page {
			it, counts := x.rewriteRow(t, row)
			if !counts {
				continue
			}
			if p.wait(ctx) != nil {
				return
			}
			b.items = append(b.items, it)
			size += len(it.old) + len(it.new)
			if (len(b.items) >= x.opts.BatchSize || size >= batchBytes) && !flush() {
				return
			}
		}
	}
	if len(b.items) > 0 {
		flush()
	}
}

// rewriteRow decides about one document; false: it does not count, no pointer leads anywhere in it.
func (x *run) rewriteRow(t persistence.Table, row persistence.Row) (item, bool) {
	it := item{id: row.ID, pid: row.PID}
	rewritten, out, err := x.ring.Rewrite(row.Payload)
	switch {
	case err != nil:
		it.outcome = failed
		x.reportFailed(t, it, err)
	case out == encryption.Absent:
		return it, false
	case out == encryption.Skipped:
		it.outcome = skipped
	default:
		it.outcome, it.old, it.new = changed, row.Payload, rewritten
	}
	return it, true
}

// maxReported bounds the log lines about single documents in one phase.
const maxReported = 1000

// reportFailed logs a document that cannot be migrated; err names a pointer, never a value. The verification meets the
// same documents again and is silent about them.
func (x *run) reportFailed(t persistence.Table, it item, err error) {
	if x.verifying.Load() {
		return
	}
	switch n := x.reported.Add(1); {
	case n <= maxReported:
		x.log.Warn("a stored document cannot be migrated", "table", t, "id", it.id, "pid", it.pid, "error", err)
	case n == maxReported+1:
		x.log.Warn("more documents cannot be migrated; only the counters tell of them from here on", "table", t)
	}
}

// The waits for a store that does not answer.
const (
	storeTimeout = 30 * time.Second // of one statement or transaction
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// insist repeats what is safe to repeat until it works or ctx ends, which is when the lease is lost or the node stops.
func (x *run) insist(ctx context.Context, trouble string, do func(context.Context) error) bool {
	return insist(ctx, x.log, trouble, do)
}
