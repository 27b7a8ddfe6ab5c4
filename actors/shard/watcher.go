package shard

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"hawser/persistence"
)

// watcher is the part of an incarnation that follows the others and the shards. Its fields belong to the watch loop, but for
// what mu guards.
type watcher struct {
	*Membership
	id        persistence.MemberID
	observer  Observer
	since     time.Time                          // it takes part: joined, or last stood aside
	unwanted  map[persistence.ShardRef]time.Time // own shards that are wished elsewhere, since when
	strange   map[persistence.ShardRef]stranger  // own shards without an answered claim
	handovers sync.WaitGroup

	mu sync.Mutex
	// released are shards that this incarnation gave back, or is about to: they are not taken up again before a newer epoch
	// is seen (rule 7) and the handover has ended.
	released map[persistence.ShardRef]*handover
	// stopped are those of which nothing runs any more, to be released together by the handover that is releasing.
	stopped   []*handover
	releasing bool
}

// handover is the way of a shard from this incarnation to another.
type handover struct {
	lease    persistence.Lease
	outdated bool // a newer epoch was seen: there is nothing to release any more, and a new lease must not be
	ended    bool
}

// stranger is an ownership that this node did not expect, and since when it sees it.
type stranger struct {
	epoch persistence.Epoch
	since time.Time
}

// leaving reports whether this node gives its shards away at once and takes none: it drains, or steps aside.
func (w *watcher) leaving() bool { return w.draining() || w.View().Isolated() }

// look is one round.
func (w *watcher) look(ctx context.Context) error {
	var members []persistence.Member
	var leases []persistence.Lease
	var session int64
	err := w.ask(ctx, func(ctx context.Context) (err error) { members, session, err = w.opts.Leases.Members(ctx); return err })
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(other persistence.Member) bool { return other.ID == w.id }) {
		return errors.Join(errLost, errors.New("the member's row is gone"))
	}
	for _, s := range w.observer.Observe(w.id, members, session, w.now()) {
		_ = w.bury(ctx, s.ID, s.Beat, false) // it was logged; the next look tries again
	}
	w.buryDead(ctx, w.id, members)
	err = w.ask(ctx, func(ctx context.Context) (err error) { leases, err = w.opts.Leases.Shards(ctx); return err })
	if err != nil {
		return err
	}
	view := NewView(w.id, members, leases)
	before := w.seen.Swap(view)
	if !maps.Equal(before.aside, view.aside) {
		w.log.Warn("not all members reach each other: who steps aside has changed", "member", w.id, "aside", slices.Sorted(maps.Keys(view.aside)),
			"before", slices.Sorted(maps.Keys(before.aside)), "unreachable", view.Unreachable())
	}
	if view.Isolated() {
		w.since = w.now()
	}
	if w.opts.Seen != nil {
		w.opts.Seen(before, view)
	}
	return w.settle(ctx, view.staying(), leases)
}

// settle makes the table agree with the database: what was taken away is dropped, what is wished elsewhere is handed over,
// what nobody owns and is wished here is claimed.
func (w *watcher) settle(ctx context.Context, members []persistence.Member, leases []persistence.Lease) error {
	wish := wishes(w.opts.Kinds, leases, members)
	var gone, free []persistence.ShardRef
	var claimed []persistence.Lease
	for _, l := range leases {
		epoch, mine := w.table.epoch(l.Shard)
		if mine && (l.Owner != w.id || l.Epoch != epoch) {
			gone = append(gone, l.Shard)
			mine = false
		}
		switch {
		case l.Shard.Number >= w.opts.Kinds[l.Shard.Kind] || w.isReleased(l):
		case l.Owner == w.id && !mine:
			if w.adopt(l) {
				claimed = append(claimed, l)
			}
		case l.Owner == "" && wish[l.Shard] == w.id && !w.leaving():
			free = append(free, l.Shard)
		case mine:
			w.consider(ctx, l, wish[l.Shard])
		}
	}
	if len(gone) > 0 {
		w.log.Warn("shards were taken away", "shards", len(gone))
		w.table.drop(gone)
		w.opts.Dropped(gone, false)
	}
	var err error
	if len(free) > 0 && w.table.Valid() && w.mayClaim() {
		var taken []persistence.Lease
		err = w.ask(ctx, func(ctx context.Context) (err error) { taken, err = w.opts.Leases.Claim(ctx, w.id, free); return err })
		claimed = append(claimed, taken...)
	}
	if len(claimed) > 0 && ctx.Err() == nil {
		w.table.own(claimed)
		w.log.Info("claimed shards", "shards", len(claimed))
		w.opts.Claimed(claimed)
	}
	return err
}

// adopt reports whether a shard may be taken up that is this node's although it has no answer to a claim of it. Either that answer was
// lost, or somebody has moved the shard by hand; then the owner before may not know yet, and gets a beat to find out.
func (w *watcher) adopt(l persistence.Lease) bool {
	seen, known := w.strange[l.Shard]
	switch {
	case !known || seen.epoch != l.Epoch:
		w.strange[l.Shard] = stranger{l.Epoch, w.now()}
		return w.opts.Exclusive
	case w.now().Sub(seen.since) < w.part():
		return false
	}
	delete(w.strange, l.Shard)
	return true
}

// mayClaim: the first claim comes one beat after joining, so that nodes which start together see each other (rule 6), and one
// beat after having stood aside, so that all others have seen that this node is back.
func (w *watcher) mayClaim() bool { return w.opts.Exclusive || w.now().Sub(w.since) >= w.part() }

// consider hands an own shard over when it has been wished elsewhere for two beats, or at once when this node drains or steps
// aside.
func (w *watcher) consider(ctx context.Context, l persistence.Lease, to persistence.MemberID) {
	if to == w.id && !w.leaving() {
		delete(w.unwanted, l.Shard)
		return
	}
	if w.unwanted == nil {
		w.unwanted = map[persistence.ShardRef]time.Time{}
	}
	since, known := w.unwanted[l.Shard]
	if !known {
		since = w.now()
		w.unwanted[l.Shard] = since
	}
	if !w.leaving() && w.now().Sub(since) < 2*w.part() {
		return
	}
	delete(w.unwanted, l.Shard)
	w.handOver(ctx, l)
}

// handOver is rule 7: stop, release; the claim is the other's.
func (w *watcher) handOver(ctx context.Context, l persistence.Lease) {
	refs := []persistence.ShardRef{l.Shard}
	h := &handover{lease: l}
	w.mu.Lock()
	w.released[l.Shard] = h
	w.mu.Unlock()
	w.table.move(l.Shard)
	w.handovers.Go(func() {
		for !w.opts.Dropped(refs, true) { // what still runs keeps its shard, unless that was moved by hand
			if ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			outdated := h.outdated
			w.mu.Unlock()
			if outdated {
				w.end(h)
				return
			}
		}
		w.mu.Lock()
		w.stopped = append(w.stopped, h)
		first := !w.releasing
		w.releasing = true
		w.mu.Unlock()
		if first {
			w.release(ctx)
		}
	})
}

// end says that handovers are over.
func (w *watcher) end(handovers ...*handover) {
	for _, h := range handovers {
		w.table.moved(h.lease.Shard) // before it can be taken up, and handed over, again
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range handovers {
		h.ended = true
	}
}

// release gives back what has stopped, and what stops meanwhile: appends wait for each release, so that one by one the shards of a
// node that leaves would hold them, and each other, up.
func (w *watcher) release(ctx context.Context) {
	const firstPause = 20 * time.Millisecond
	for pause := firstPause; ; {
		w.mu.Lock()
		stopped := w.stopped
		w.stopped = nil
		w.releasing = len(stopped) > 0
		var refs []persistence.ShardRef
		for _, h := range stopped {
			if !h.outdated {
				refs = append(refs, h.lease.Shard)
			}
		}
		w.mu.Unlock()
		if len(stopped) == 0 {
			return
		}
		var err error
		if len(refs) > 0 {
			err = w.ask(ctx, func(ctx context.Context) error { return w.opts.Leases.Release(ctx, w.id, refs) })
		}
		if err == nil {
			w.end(stopped...)
			pause = firstPause
			continue
		}
		if ctx.Err() != nil {
			return // with the incarnation all is over
		}
		w.log.Warn("shards could not be released", "shards", len(refs), "error", err, "retry_after", pause.String())
		w.mu.Lock()
		w.stopped = append(stopped, w.stopped...)
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, watchEvery)
	}
}

// isReleased reports whether this incarnation gave l back and nothing newer is seen, or has not finished to do so: what stops the
// entities of the old lease would stop those of a new one, too.
func (w *watcher) isReleased(l persistence.Lease) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.released[l.Shard]
	if h == nil {
		return false
	}
	h.outdated = h.outdated || l.Epoch > h.lease.Epoch
	if h.outdated && h.ended {
		delete(w.released, l.Shard)
		return false
	}
	return true
}
