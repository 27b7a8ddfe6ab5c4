package shard

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"hawser/persistence"
)

// Table is what the node owns and until when it may act on it. Reading takes no lock: it is on the way of every command
// and every append.
type Table struct {
	now   func() time.Time
	mu    sync.Mutex // held while state is replaced
	state atomic.Pointer[ownership]
	until atomic.Pointer[time.Time] // the deadline of rule 1; nil: there is no incarnation, or it has passed
}

type ownership struct {
	member persistence.MemberID
	epochs map[persistence.ShardRef]persistence.Epoch
	moving map[persistence.ShardRef]bool // on their way to another member: nothing new is done for them
}

func newTable(now func() time.Time) *Table {
	t := &Table{now: now}
	t.state.Store(&ownership{})
	return t
}

// Valid reports whether the node has a lease that has not run out. Who is told that it has may rely on that: a beat whose answer
// comes later does not bring this lease back.
func (t *Table) Valid() bool {
	for {
		until := t.until.Load()
		switch {
		case until == nil:
			return false
		case t.now().Before(*until):
			return true
		case t.until.CompareAndSwap(until, nil):
			return false
		}
	}
}

// Lease returns the ownership of a shard under which something may be written now.
func (t *Table) Lease(ref persistence.ShardRef) (persistence.Lease, bool) {
	s := t.state.Load()
	epoch, ok := s.epochs[ref]
	if !ok || !t.Valid() {
		return persistence.Lease{}, false
	}
	return persistence.Lease{Shard: ref, Owner: s.member, Epoch: epoch}, true
}

// Left is how long the node may still act if no further beat reaches the database; not positive: it may not.
func (t *Table) Left() time.Duration { return t.deadline().Sub(t.now()) }

// Owned lists the shards of a kind.
func (t *Table) Owned(kind string) []int {
	var out []int
	for ref := range t.state.Load().epochs {
		if ref.Kind == kind {
			out = append(out, ref.Number)
		}
	}
	return out
}

// join starts an incarnation that owns nothing.
func (t *Table) join(member persistence.MemberID, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Store(&ownership{member: member})
	t.until.Store(&until)
}

// extend moves the deadline, unless it has passed.
func (t *Table) extend(until time.Time) {
	for at := t.until.Load(); at != nil && t.now().Before(*at); at = t.until.Load() {
		if t.until.CompareAndSwap(at, &until) {
			return
		}
	}
}

// leave ends the incarnation: nothing is owned and nothing is valid from here on.
func (t *Table) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until.Store(nil)
	t.state.Store(&ownership{})
}

// change replaces the ownership by a changed copy.
func (t *Table) change(f func(*ownership)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.state.Load()
	next := &ownership{member: old.member, epochs: map[persistence.ShardRef]persistence.Epoch{}, moving: map[persistence.ShardRef]bool{}}
	maps.Copy(next.epochs, old.epochs)
	maps.Copy(next.moving, old.moving)
	f(next)
	t.state.Store(next)
}

// own adds claimed shards.
func (t *Table) own(leases []persistence.Lease) {
	t.change(func(o *ownership) {
		for _, l := range leases {
			o.epochs[l.Shard] = l.Epoch
		}
	})
}

// drop removes shards that the node does not own any more.
func (t *Table) drop(refs []persistence.ShardRef) {
	t.change(func(o *ownership) {
		for _, ref := range refs {
			delete(o.epochs, ref)
		}
	})
}

// move takes a shard out of use while it is handed over; moved says that it is gone.
func (t *Table) move(ref persistence.ShardRef) {
	t.change(func(o *ownership) { delete(o.epochs, ref); o.moving[ref] = true })
}

func (t *Table) moved(ref persistence.ShardRef) {
	t.change(func(o *ownership) { delete(o.moving, ref) })
}

// empty reports whether nothing is owned and nothing is being handed over.
func (t *Table) empty() bool {
	s := t.state.Load()
	return len(s.epochs) == 0 && len(s.moving) == 0
}

// epoch is the epoch under which a shard is held, whether or not the lease has run out.
func (t *Table) epoch(ref persistence.ShardRef) (persistence.Epoch, bool) {
	e, ok := t.state.Load().epochs[ref]
	return e, ok
}

func (t *Table) member() persistence.MemberID { return t.state.Load().member }

// deadline is when the lease runs out.
func (t *Table) deadline() time.Time {
	if until := t.until.Load(); until != nil {
		return *until
	}
	return time.Time{}
}
