package shard

import (
	"context"

	"hawser/persistence"
)

// Lock is the hold of the node's data folder, which names the member that held it last. The kernel gives it to one process of
// this machine at a time, so whoever has it knows that nothing of that member runs (design.md 3.2 rule 4b).
type Lock interface {
	Member() string
	SetMember(id string) error
}

// buryPredecessor removes the member that the data folder names: a process before this one, or an incarnation of this one that
// is over. Until that is done nobody else may be named.
func (m *Membership) buryPredecessor(ctx context.Context) error {
	if m.opts.Lock == nil || m.opts.Lock.Member() == "" {
		return nil
	}
	return m.bury(ctx, persistence.MemberID(m.opts.Lock.Member()), 0, true)
}

// nameIn writes a new incarnation into the data folder, before it joins: a successor must find it there whatever happens next. A
// folder that cannot be written costs the successor the proof, not this node its place.
func (m *Membership) nameIn(id persistence.MemberID) {
	if m.opts.Lock == nil {
		return
	}
	if err := m.opts.Lock.SetMember(string(id)); err != nil {
		m.log.Warn("the member is not named in the data folder: if this process dies, its successor has to wait", "member", id, "error", err)
	}
}
