package shard

import (
	"slices"

	"hawser/persistence"
)

// AssignClients says who should own each shard of kind client (design.md 3.3): shard (i−1)·connections + n holds client i
// of the connections in shard n, and goes to another member than the owner of shard n and than the other clients', the present
// owner if that will do, else the next by rendezvous of shard n. With fewer members than clients the last ones are nobody's, and
// so are all while shard n is. sets is the number of clients beside the first.
func AssignClients(connections, sets int, leases []persistence.Lease, members []persistence.Member) map[persistence.ShardRef]persistence.MemberID {
	live := candidates(persistence.KindClient, members)
	if len(live) < 2 {
		return nil
	}
	owners := make(map[persistence.ShardRef]persistence.MemberID, len(leases))
	for _, l := range leases {
		owners[l.Shard] = l.Owner
	}
	wish := map[persistence.ShardRef]persistence.MemberID{}
	sets = min(sets, len(live)-1)
	for number := range connections {
		home := persistence.ShardRef{Kind: persistence.KindConnection, Number: number}
		first := owners[home]
		if first == "" {
			continue
		}
		taken := []persistence.MemberID{first}
		free := func(m persistence.MemberID) bool { return slices.Contains(live, m) && !slices.Contains(taken, m) }
		client := func(i int) persistence.ShardRef {
			return persistence.ShardRef{Kind: persistence.KindClient, Number: i*connections + number}
		}
		for i := range sets {
			if owner := owners[client(i)]; free(owner) {
				wish[client(i)] = owner
				taken = append(taken, owner)
			}
		}
		order := rendezvous(home, live)
		for i := range sets {
			if _, kept := wish[client(i)]; kept {
				continue
			}
			if next := slices.IndexFunc(order, free); next >= 0 {
				wish[client(i)] = order[next]
				taken = append(taken, order[next])
			}
		}
	}
	return wish
}

// Free reports whether a shard was nobody's, not even a member's that steps aside.
func (v *View) Free(ref persistence.ShardRef) bool { return v.owners[ref] == "" }
