package shard

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"hawser/persistence"
)

func host(id string) persistence.Member {
	return persistence.Member{ID: persistence.MemberID(id), Kinds: []string{kind, persistence.KindClient}}
}

func clientShard(connections, number, index int) persistence.ShardRef {
	return persistence.ShardRef{Kind: persistence.KindClient, Number: (index-1)*connections + number}
}

func TestClientsGoToOtherMembers(t *testing.T) {
	const n = 16
	a, b, c := host("a"), host("b"), host("c")
	all := []persistence.Member{a, b, c}
	homes := owned(Assign(kind, n, nil, all))
	wish := AssignClients(n, 8, homes, all)
	if len(wish) != 2*n {
		t.Fatalf("three members get %d shards of clients, want two for each shard of connections", len(wish))
	}
	if one := AssignClients(n, 8, homes, all[:1]); len(one) != 0 {
		t.Errorf("a member that is alone gets %d", len(one))
	}
	present := append(homes, owned(wish)...)
	if k := moved(wish, AssignClients(n, 8, present, all)); k != 0 {
		t.Errorf("a wish that came true moves %d shards again", k)
	}
	four := AssignClients(n, 8, present, append(all, host("d")))
	if k := moved(wish, four); k != 0 {
		t.Errorf("a join moved %d clients that were well where they are", k)
	}
	if len(four) != 3*n {
		t.Errorf("four members run %d clients, want %d", len(four), 3*n)
	}
	c.Draining = true
	for ref, to := range AssignClients(n, 8, present, []persistence.Member{a, b, c}) {
		if to == "c" {
			t.Errorf("%v is wished to a draining member", ref)
		}
	}
}

// Whatever the rows say: no member has two clients of one connection, nobody but a member gets one, client i only runs when
// all before it do, and a wish that came true stays.
func TestClientsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, sets := rapid.IntRange(1, 40).Draw(t, "shards"), rapid.IntRange(1, 8).Draw(t, "sets")
		members := rapid.IntRange(1, 9).Draw(t, "members")
		var live []persistence.Member
		for i := range members {
			live = append(live, host(fmt.Sprint("m", i)))
		}
		var leases []persistence.Lease
		owner := func() persistence.MemberID { // also nobody, and such that are gone
			return persistence.MemberID(rapid.SampledFrom([]string{"", "m0", "m1", "m2", "m3", "m8", "m9"}).Draw(t, "owner"))
		}
		first := map[int]persistence.MemberID{}
		for number := range n {
			first[number] = owner()
			leases = append(leases, persistence.Lease{Shard: persistence.ShardRef{Kind: kind, Number: number}, Owner: first[number]})
			for index := 1; index <= sets; index++ {
				leases = append(leases, persistence.Lease{Shard: clientShard(n, number, index), Owner: owner()})
			}
		}
		wish := AssignClients(n, sets, leases, live)
		for number := range n {
			at := map[persistence.MemberID]bool{first[number]: true}
			missing := false
			for index := 1; index <= sets; index++ {
				to, ok := wish[clientShard(n, number, index)]
				switch {
				case ok && missing:
					t.Fatalf("shard %d: client %d has a place, one before it has none", number, index)
				case ok && at[to]:
					t.Fatalf("shard %d: %s has two clients", number, to)
				case ok && first[number] == "":
					t.Fatalf("shard %d has no owner, but its clients have", number)
				}
				at[to], missing = true, missing || !ok
			}
		}
		var next []persistence.Lease
		for _, l := range leases {
			if l.Shard.Kind == kind {
				next = append(next, l)
			}
		}
		if k := moved(wish, AssignClients(n, sets, append(next, owned(wish)...), live)); k != 0 {
			t.Fatalf("a wish that came true moves %d shards again", k)
		}
	})
}

// A member that steps aside runs what it has until it has given it away: its shards are not free, though nobody is sent there.
func TestWhoStepsAsideStillOwns(t *testing.T) {
	a, b, c := host("a"), host("b"), host("c")
	a.Unreachable = []persistence.MemberID{"c"}
	held, free := clientShard(4, 1, 1), clientShard(4, 1, 2)
	v := NewView("a", []persistence.Member{a, b, c}, []persistence.Lease{{Shard: held, Owner: "c"}, {Shard: free}})
	if !v.Aside("c") {
		t.Fatal("c does not step aside")
	}
	if _, owned := v.Owner(held); owned || v.Free(held) {
		t.Errorf("the shard of c: owned %v, free %v", owned, v.Free(held))
	}
	if !v.Free(free) {
		t.Error("a shard without owner is not free")
	}
}
