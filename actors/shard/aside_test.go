package shard

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hawser/persistence"
)

// graph makes members a, b, c, … of which some do not reach others: "ab" says that a does not reach b.
func graph(n int, bad ...string) []persistence.Member {
	members := make([]persistence.Member, n)
	for i := range members {
		members[i].ID = persistence.MemberID(rune('a' + i))
		for _, edge := range bad {
			if edge[:1] == string(members[i].ID) {
				members[i].Unreachable = append(members[i].Unreachable, persistence.MemberID(edge[1:]))
			}
		}
	}
	return members
}

func TestAside(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []persistence.Member
		want    string
	}{
		{"all reach all", graph(3), ""},
		{"of two cut from each other the one that joined first stays", graph(2, "ab", "ba"), "b"},
		{"one direction is enough", graph(2, "ab"), "b"},
		{"one direction is enough, the other", graph(2, "ba"), "b"},
		{"of three the one that is cut off", graph(3, "ab", "ac", "ba", "ca"), "a"},
		{"of three the one that only the others miss", graph(3, "ba", "ca"), "a"},
		{"of three the one that misses the others", graph(3, "bc", "ba"), "b"},
		{"one bad way among three", graph(3, "ab"), "b"},
		{"the smaller part of five", graph(5, "ac", "ad", "ae", "bc", "bd", "be"), "ab"},
		{"one half of four, the first", graph(4, "ac", "ad", "bc", "bd", "ca", "cb", "da", "db"), "cd"},
		{"nobody reaches anybody", graph(4, "ab", "ac", "ad", "bc", "bd", "cd"), "bcd"},
		{"two bad ways that share nobody", graph(4, "ab", "cd"), "bd"},
		{"who left does not count", graph(2, "az", "ay"), ""},
		{"nor does a word about oneself", graph(2, "aa"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			for _, id := range slices.Sorted(maps.Keys(Aside(tt.members))) {
				got.WriteString(string(id))
			}
			if got.String() != tt.want {
				t.Errorf("%q step aside, want %q", got.String(), tt.want)
			}
		})
	}
	leaving := graph(2, "ab", "ba")
	leaving[0].Draining = true
	if aside := Aside(leaving); len(aside) != 0 {
		t.Errorf("%v step aside for one that leaves", aside)
	}
}

// Whatever is said, those that stay reach each other, somebody stays, nobody steps aside who has no bad edge, and the order
// of the rows does not matter.
func TestAsideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "members")
		members := make([]persistence.Member, n)
		for i := range members {
			members[i].ID = persistence.MemberID(fmt.Sprint("m", i))
			members[i].Draining = rapid.IntRange(0, 9).Draw(t, "draining") == 0
			for other := range n + 1 { // also one that is gone
				if rapid.Bool().Draw(t, "unreachable") {
					members[i].Unreachable = append(members[i].Unreachable, persistence.MemberID(fmt.Sprint("m", other)))
				}
			}
		}
		aside := Aside(members)
		if again := Aside(rapid.Permutation(members).Draw(t, "order")); !maps.Equal(aside, again) {
			t.Fatalf("%v, in another order %v", aside, again)
		}
		edges, candidates, stay := badEdges(members), 0, 0
		for _, m := range members {
			if !m.Draining {
				candidates++
				if !aside[m.ID] {
					stay++
				}
			}
			if aside[m.ID] && len(edges[m.ID]) == 0 {
				t.Fatalf("%s steps aside without need", m.ID)
			}
			for other := range edges[m.ID] {
				if !aside[m.ID] && !aside[other] {
					t.Fatalf("%s and %s stay and do not reach each other", m.ID, other)
				}
			}
		}
		if candidates > 0 && stay == 0 {
			t.Fatal("nobody stays")
		}
	})
}
