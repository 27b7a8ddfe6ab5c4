package actors

import (
	"context"
	"iter"
	"sync"
	"time"

	"hawser/persistence"
)

// recoveries reads the journals of entities that are activated one by one, but at the same time, in one query: as appends
// share commits, activations share reads. It is the journal that entities see.
type recoveries struct {
	persistence.Journal
	// unwritten reports whether a persistence id certainly has no rows.
	unwritten func(pid string) bool
	queue     chan recovery
	ctx       context.Context
	stop      context.CancelFunc
	work      sync.WaitGroup
}

type recovery struct {
	pid  string
	done chan recovered // of capacity 1
}

type recovered struct {
	recovery persistence.Recovery
	err      error
}

const (
	// recoveryReaders read at the same time: one waits for the database while the next collects.
	recoveryReaders = 2
	// mostRecoveries go into one query, as many wait in the queue; an activation beyond waits for room.
	mostRecoveries = 256
	// recoveryTimeout bounds one query.
	recoveryTimeout = 30 * time.Second
)

// newRecoveries starts the readers; close ends them.
func newRecoveries(journal persistence.Journal, unwritten func(pid string) bool) *recoveries {
	r := &recoveries{Journal: journal, unwritten: unwritten, queue: make(chan recovery, mostRecoveries)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for range recoveryReaders {
		r.work.Go(r.read)
	}
	return r
}

func (r *recoveries) close() {
	r.stop()
	r.work.Wait()
}

// Unwritten implements connection.Knowing.
func (r *recoveries) Unwritten(pid string) bool { return r.unwritten(pid) }

// Recover implements persistence.Journal. One entity waits for a shared query; many are a query of their own.
func (r *recoveries) Recover(ctx context.Context, pids []string) iter.Seq2[persistence.Recovery, error] {
	if len(pids) != 1 {
		return r.Journal.Recover(ctx, pids)
	}
	return func(yield func(persistence.Recovery, error) bool) {
		request := recovery{pid: pids[0], done: make(chan recovered, 1)}
		select {
		case r.queue <- request:
		case <-ctx.Done():
			yield(persistence.Recovery{}, ctx.Err())
			return
		case <-r.ctx.Done():
			yield(persistence.Recovery{}, context.Cause(r.ctx))
			return
		}
		select {
		case got := <-request.done:
			yield(got.recovery, got.err)
		case <-ctx.Done():
			yield(persistence.Recovery{}, ctx.Err())
		case <-r.ctx.Done():
			yield(persistence.Recovery{}, context.Cause(r.ctx))
		}
	}
}

func (r *recoveries) read() {
	for {
		select {
		case first := <-r.queue:
			r.readBatch(r.collect(first))
		case <-r.ctx.Done():
			return
		}
	}
}

// collect takes what has queued meanwhile.
func (r *recoveries) collect(first recovery) []recovery {
	batch := []recovery{first}
	for len(batch) < mostRecoveries {
		select {
		case next := <-r.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

func (r *recoveries) readBatch(batch []recovery) {
	ctx, cancel := context.WithTimeout(r.ctx, recoveryTimeout)
	defer cancel()
	pids := make([]string, 0, len(batch))
	waiting := make(map[string][]recovery, len(batch)) // one id can be activated twice: here and, after a failure, again
	for _, b := range batch {
		if waiting[b.pid] == nil {
			pids = append(pids, b.pid)
		}
		waiting[b.pid] = append(waiting[b.pid], b)
	}
	var failure error
	for got, err := range r.Journal.Recover(ctx, pids) {
		if err != nil {
			failure = err
			break
		}
		for _, b := range waiting[got.PID] {
			b.done <- recovered{recovery: got}
		}
		delete(waiting, got.PID)
	}
	if failure == nil {
		failure = persistence.ErrUnavailable // a store answers for each pid
	}
	for _, rest := range waiting {
		for _, b := range rest {
			b.done <- recovered{err: failure}
		}
	}
}
