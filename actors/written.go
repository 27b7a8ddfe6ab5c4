package actors

import (
	"context"
	"hash/maphash"
	"sync"

	"hawser/persistence"
)

// written remembers which connections of the node's shards have rows in the database, so that the first command for an id that
// has none, as every create is, need not ask the journal. While the node owns a shard nobody else writes its rows: what the
// index held after the claim and what was activated since is all there can be. It keeps 64 bits of hash an id; an id that
// is taken for another is looked up for nothing, which is never wrong.
type written struct {
	index persistence.Index
	seed  maphash.Seed

	mu     sync.Mutex
	shards map[int]*writtenShard // by number
}

// writtenShard is what is known of a shard under one epoch.
type writtenShard struct {
	epoch     persistence.Epoch
	activated map[uint64]struct{} // since the claim
	written   map[uint64]struct{} // in the index after the claim; shards that were claimed together share it
	complete  bool                // written is there
}

func newWritten(index persistence.Index) *written {
	return &written{index: index, seed: maphash.MakeSeed(), shards: map[int]*writtenShard{}}
}

// begin forgets what was known of shards of connections that were claimed; before anything of them is activated.
func (w *written) begin(shards map[int]persistence.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for number, epoch := range shards {
		w.shards[number] = &writtenShard{epoch: epoch, activated: map[uint64]struct{}{}}
	}
}

// load reads the index after begin; what is activated meanwhile is noted beside.
func (w *written) load(ctx context.Context, shards map[int]persistence.Epoch) error {
	if len(shards) == 0 {
		return nil
	}
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
