package shard

import (
	"maps"
	"sync/atomic"
	"time"

	"hawser/persistence"
)

// Table is what the node owns and until when it may act on it. Reading takes no lock: it is on the way of every command
// and every append.
type Table struct {
	now   func() time.Time
	state atomic.Pointer[ownership]
	until atomic.Pointer[time.Time] // the deadline of rule 1; nil: there is no incarnation
}

type ownership struct {
	member persistence.MemberID
	epochs map[persistence.ShardRef]persistence.Epoch
}

func newTable(now func() time.Time) *Table {
	t := &Table{now: now}
	t.state.Store(&ownership{})
	return t
}

// Valid reports whether the node has a lease that has not run out.
func (t *Table) Valid() bool {
	until := t.until.Load()
	return until != nil && t.now().Before(*until)
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
	t.state.Store(&ownership{member: member})
	t.until.Store(&until)
}

func (t *Table) extend(until time.Time) { t.until.Store(&until) }

// leave ends the incarnation: nothing is owned and nothing is valid from here on.
func (t *Table) leave() {
	t.until.Store(nil)
	t.state.Store(&ownership{})
}

// own adds claimed shards. Only the membership loop writes.
func (t *Table) own(leases []persistence.Lease) {
	s := t.state.Load()
	epochs := make(map[persistence.ShardRef]persistence.Epoch, len(s.epochs)+len(leases))
	maps.Copy(epochs, s.epochs)
	for _, l := range leases {
		epochs[l.Shard] = l.Epoch
	}
	t.state.Store(&ownership{member: s.member, epochs: epochs})
}

// drop removes shards that the node does not own any more.
func (t *Table) drop(refs []persistence.ShardRef) {
	s := t.state.Load()
	epochs := maps.Clone(s.epochs)
	for _, ref := range refs {
		delete(epochs, ref)
	}
	t.state.Store(&ownership{member: s.member, epochs: epochs})
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
