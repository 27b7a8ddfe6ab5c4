package shard

import (
	"maps"
	"slices"

	"hawser/persistence"
)

// View is the cluster as it was read last.
type View struct {
	Members []persistence.Member
	me      persistence.MemberID
	owners  map[persistence.ShardRef]persistence.MemberID
	epochs  map[persistence.ShardRef]persistence.Epoch
	aside   map[persistence.MemberID]bool
}

// NewView is what the member me sees in the rows.
func NewView(me persistence.MemberID, members []persistence.Member, leases []persistence.Lease) *View {
	v := &View{Members: members, me: me, owners: make(map[persistence.ShardRef]persistence.MemberID, len(leases)),
		epochs: make(map[persistence.ShardRef]persistence.Epoch, len(leases)), aside: Aside(members)}
	for _, l := range leases {
		v.owners[l.Shard], v.epochs[l.Shard] = l.Owner, l.Epoch
	}
	return v
}

// Owner is the member that owned a shard, false when nobody did or when the owner steps aside, who gives it away.
func (v *View) Owner(ref persistence.ShardRef) (persistence.Member, bool) {
	id := v.owners[ref]
	for _, m := range v.Members {
		if m.ID == id && id != "" && !v.aside[id] {
			return m, true
		}
	}
	return persistence.Member{}, false
}

// Epoch is that of the lease of a shard's owner.
func (v *View) Epoch(ref persistence.ShardRef) persistence.Epoch { return v.epochs[ref] }

// SameOwners reports whether every shard has the same owner in both views, as Owner says.
func (v *View) SameOwners(other *View) bool {
	return maps.Equal(v.owners, other.owners) && maps.Equal(v.aside, other.aside)
}

// Hosts is the number of members that run clients.
func (v *View) Hosts() int { return len(candidates(persistence.KindClient, v.staying())) }

// Aside reports whether a member must step aside because not all members reach each other.
func (v *View) Aside(id persistence.MemberID) bool { return v.aside[id] }

// Isolated reports whether this node must step aside.
func (v *View) Isolated() bool { return v.aside[v.me] }

// Unreachable are the members that this node cannot reach, as it has told with its last beat.
func (v *View) Unreachable() []persistence.MemberID {
	for _, m := range v.Members {
		if m.ID == v.me {
			return m.Unreachable
		}
	}
	return nil
}

// staying are the members that own shards.
func (v *View) staying() []persistence.Member {
	return slices.DeleteFunc(slices.Clone(v.Members), func(m persistence.Member) bool { return v.aside[m.ID] })
}
