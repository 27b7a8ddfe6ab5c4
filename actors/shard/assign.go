package shard

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"

	"hawser/persistence"
)

// Assign says who should own each shard of a kind (design.md 3.2 rule 8): its live owner as long as that has at most
// ⌈N/n⌉ of them, the rest by rendezvous among the members below that number. Everybody computes the same from the same
// rows. A draining member should own nothing. Without members the result is empty.
func Assign(kind string, shards int, leases []persistence.Lease, members []persistence.Member) map[persistence.ShardRef]persistence.MemberID {
	live := candidates(kind, members)
	if len(live) == 0 {
		return nil
	}
	most := (shards + len(live) - 1) / len(live)
	owners := make(map[persistence.ShardRef]persistence.MemberID, shards)
	for _, l := range leases {
		if l.Shard.Kind == kind && slices.Contains(live, l.Owner) {
			owners[l.Shard] = l.Owner
		}
	}
	wish := make(map[persistence.ShardRef]persistence.MemberID, shards)
	count := make(map[persistence.MemberID]int, len(live))
	give := func(ref persistence.ShardRef, to persistence.MemberID) { wish[ref] = to; count[to]++ }
	for number := range shards {
		ref := persistence.ShardRef{Kind: kind, Number: number}
		if owner, ok := owners[ref]; ok && count[owner] < most {
			give(ref, owner)
		}
	}
	for number := range shards {
		ref := persistence.ShardRef{Kind: kind, Number: number}
		if _, kept := wish[ref]; kept {
			continue
		}
		for _, member := range rendezvous(ref, live) {
			if count[member] < most {
				give(ref, member)
				break
			}
		}
	}
	return wish
}

// wishes is the assignment of all kinds.
func wishes(kinds map[string]int, leases []persistence.Lease, members []persistence.Member) map[persistence.ShardRef]persistence.MemberID {
	wish := map[persistence.ShardRef]persistence.MemberID{}
	for kind, shards := range kinds {
		if connections := kinds[persistence.KindConnection]; kind == persistence.KindClient {
			maps.Copy(wish, AssignClients(connections, shards/connections, leases, members))
		} else {
			maps.Copy(wish, Assign(kind, shards, leases, members))
		}
	}
	return wish
}

// candidates are the members that may own shards of a kind, in order.
func candidates(kind string, members []persistence.Member) (live []persistence.MemberID) {
	for _, m := range members {
		if !m.Draining && slices.Contains(m.Kinds, kind) {
			live = append(live, m.ID)
		}
	}
	slices.Sort(live)
	return live
}

// rendezvous orders members by their weight for a shard, heaviest first: the order changes for one shard only by the member
// that comes or goes.
func rendezvous(ref persistence.ShardRef, members []persistence.MemberID) []persistence.MemberID {
	weights := make(map[persistence.MemberID]uint64, len(members))
	for _, m := range members {
		h := fnv.New64a()
		_, _ = h.Write([]byte(m))
		_, _ = h.Write([]byte(ref.Kind))
		_, _ = h.Write([]byte{byte(ref.Number), byte(ref.Number >> 8), byte(ref.Number >> 16)})
		weights[m] = mix(h.Sum64())
	}
	order := slices.Clone(members)
	slices.SortFunc(order, func(a, b persistence.MemberID) int {
		return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(a, b))
	})
	return order
}

// mix spreads the bits of an FNV hash, whose high bits hardly differ for inputs that end alike (splitmix64's finalizer).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
