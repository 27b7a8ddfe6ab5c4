package actors

import (
	"context"
	"hash/maphash"
	"log/slog"
	"maps"
	"sync"
	"time"

	"hawser/persistence"
)

// written remembers which connections of the node's shards have rows in the database, so that the first command for an id that
// has none, as every create is, need not ask the journal. While the node owns a shard nobody else writes its rows: what the
// index held after the claim and what was activated since is all there can be. It keeps 64 bits of hash an id; an id that
// is taken for another is looked up for nothing, which is never wrong.
type written struct {
	index persistence.Index
	log   *slog.Logger
	seed  maphash.Seed
	work  sync.WaitGroup
	stop  context.CancelFunc
	wake  chan struct{} // capacity 1: shards are to be read

	mu     sync.Mutex
	shards map[int]*writtenShard // by number
	unread map[int]persistence.Epoch
}

const (
	// listEvery is how often the ids are listed at most: each time the whole index is read, and shards come one by one when
	// they are handed over.
	listEvery = time.Second
	// listTimeout bounds one list.
	listTimeout = time.Minute
)

// writtenShard is what is known of a shard under one epoch.
type writtenShard struct {
	epoch     persistence.Epoch
	activated map[uint64]struct{} // since the claim
	written   map[uint64]struct{} // in the index after the claim; shards that were claimed together share it
	complete  bool                // written is there
}

// newWritten starts to list what is claimed; close ends it.
func newWritten(index persistence.Index, log *slog.Logger) *written {
	w := &written{index: index, log: log, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1), shards: map[int]*writtenShard{}, unread: map[int]persistence.Epoch{}}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.work.Go(func() { w.run(ctx) })
	return w
}

func (w *written) close() {
	w.stop()
	w.work.Wait()
}

func (w *written) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		if err := w.load(ctx, w.take()); err != nil && ctx.Err() == nil {
			w.log.Warn("the ids of the connections could not be listed", "error", err, "retry_after", listEvery.String())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listEvery):
		}
	}
}

// take returns the shards that are to be read.
func (w *written) take() map[int]persistence.Epoch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.unread)
}

func (w *written) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// begin forgets what was known of shards of connections that were claimed; before anything of them is activated.
func (w *written) begin(shards map[int]persistence.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for number, epoch := range shards {
		w.shards[number] = &writtenShard{epoch: epoch, activated: map[uint64]struct{}{}}
		w.unread[number] = epoch
		w.poke()
	}
}

// load reads the index after begin; what is activated meanwhile is noted beside.
func (w *written) load(ctx context.Context, shards map[int]persistence.Epoch) (err error) {
	if len(shards) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			w.poke()
		}
	}()
	numbers := make([]int, 0, len(shards))
	for number := range shards {
		numbers = append(numbers, number)
	}
	ids := map[uint64]struct{}{}
	for id, err := range w.index.Written(ctx, numbers) {
		if err != nil {
			return err
		}
		ids[w.hash(id)] = struct{}{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for number, epoch := range shards {
		if s := w.shards[number]; s != nil && s.epoch == epoch { // else it was claimed again meanwhile
			s.written, s.complete = ids, true
			delete(w.unread, number)
		}
	}
	return nil
}

// unwritten reports whether id, which is about to be activated under a lease of its shard, certainly has no rows. From now
// on it may have.
func (w *written) unwritten(id string, lease persistence.Lease) bool {
	h := w.hash(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.shards[lease.Shard.Number]
	if s == nil || s.epoch != lease.Epoch {
		return false
	}
	_, activated := s.activated[h]
	_, written := s.written[h]
	s.activated[h] = struct{}{}
	return s.complete && !activated && !written
}

func (w *written) hash(id string) uint64 { return maphash.String(w.seed, id) }
