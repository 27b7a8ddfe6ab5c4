package shard

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"hawser/persistence"
)

const kind = persistence.KindConnection

func member(id string) persistence.Member {
	return persistence.Member{ID: persistence.MemberID(id), Kinds: []string{kind}}
}

func owned(wish map[persistence.ShardRef]persistence.MemberID) (leases []persistence.Lease) {
	for ref, owner := range wish {
		leases = append(leases, persistence.Lease{Shard: ref, Owner: owner})
	}
	return leases
}

func moved(before, after map[persistence.ShardRef]persistence.MemberID) (n int) {
	for ref, owner := range before {
		if after[ref] != owner {
			n++
		}
	}
	return n
}

func TestAssignKeepsWhatItCan(t *testing.T) {
	a, b, c := member("a"), member("b"), member("c")
	one := Assign(kind, 64, nil, []persistence.Member{a})
	if len(one) != 64 {
		t.Fatalf("one member gets %d shards", len(one))
	}
	two := Assign(kind, 64, owned(one), []persistence.Member{a, b})
	if n := moved(one, two); n != 32 {
		t.Errorf("a join moved %d shards, want 32", n)
	}
	three := Assign(kind, 64, owned(two), []persistence.Member{a, b, c})
	if n := moved(two, three); n != 20 { // 32 and 32 become 22, 22 and 20
		t.Errorf("a second join moved %d shards, want 20", n)
	}
	b.Draining = true
	left := Assign(kind, 64, owned(three), []persistence.Member{a, b, c})
	for ref, owner := range left {
		if owner == "b" {
			t.Errorf("shard %d is wished to a draining member", ref.Number)
		}
		if before := three[ref]; before != "b" && owner != before {
			t.Errorf("shard %d moved from %s to %s although its owner stays", ref.Number, before, owner)
		}
	}
	other := persistence.Member{ID: "d", Kinds: []string{"other"}}
	if n := moved(left, Assign(kind, 64, owned(left), []persistence.Member{a, b, c, other})); n != 0 {
		t.Errorf("a member without the kind moved %d shards", n)
	}
	if wish := Assign(kind, 64, nil, []persistence.Member{other}); len(wish) != 0 {
		t.Errorf("nobody may own, yet %d are wished", len(wish))
	}
}

// Whatever the rows say, every shard is wished to a live member, none has more than ⌈N/n⌉, and a wish that has come true
// stays as it is.
func TestAssignProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.IntRange(1, 200).Draw(t, "shards")
		n := rapid.IntRange(1, 9).Draw(t, "members")
		var members []persistence.Member
		for i := range n {
			members = append(members, member(fmt.Sprint("m", i)))
		}
		var leases []persistence.Lease
		for number := range shards {
			owner := persistence.MemberID(fmt.Sprint("m", rapid.IntRange(0, n+2).Draw(t, "owner"))) // also such that are gone
			leases = append(leases, persistence.Lease{Shard: persistence.ShardRef{Kind: kind, Number: number}, Owner: owner})
		}
		wish := Assign(kind, shards, leases, members)
		count := map[persistence.MemberID]int{}
		for _, owner := range wish {
			count[owner]++
		}
		most := (shards + n - 1) / n
		for m, k := range count {
			if k > most {
				t.Fatalf("%s has %d of %d, most is %d", m, k, shards, most)
			}
		}
		if len(wish) != shards {
			t.Fatalf("%d of %d shards are wished", len(wish), shards)
		}
		if k := moved(wish, Assign(kind, shards, owned(wish), members)); k != 0 {
			t.Fatalf("a wish that came true moves %d shards again", k)
		}
	})
}
