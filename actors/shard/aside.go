package shard

import (
	"cmp"
	"slices"

	"hawser/persistence"
)

// Aside decides who must step aside so that all others reach each other, from what the members say with their beats. Every
// node reads the same rows and comes to the same result: Postgres is the arbiter, the nodes need not agree among themselves.
//
// Two members that stay have no bad edge between them; an edge is bad if either end says so. The member with most bad edges
// goes first, so that of a node that is cut off and the others the others stay; among equals the one with the greatest id,
// which is the one that joined last, so that of two exactly one stays, and a newcomer that nobody can reach disturbs nobody.
// Somebody always stays. Members that leave are not asked: they keep nothing anyway.
func Aside(members []persistence.Member) map[persistence.MemberID]bool {
	edges := badEdges(members)
	aside := map[persistence.MemberID]bool{}
	for len(edges) > 0 {
		var worst persistence.MemberID
		for id, others := range edges {
			if c := cmp.Compare(len(others), len(edges[worst])); worst == "" || c > 0 || c == 0 && id > worst {
				worst = id
			}
		}
		aside[worst] = true
		for other := range edges[worst] {
			delete(edges[other], worst)
			if len(edges[other]) == 0 {
				delete(edges, other)
			}
		}
		delete(edges, worst)
	}
	return aside
}

// badEdges lists for each member that has one the members at the other ends of its bad edges.
func badEdges(members []persistence.Member) map[persistence.MemberID]map[persistence.MemberID]bool {
	var present []persistence.MemberID
	for _, m := range members {
		if !m.Draining {
			present = append(present, m.ID)
		}
	}
	edges := map[persistence.MemberID]map[persistence.MemberID]bool{}
	add := func(from, to persistence.MemberID) {
		if edges[from] == nil {
			edges[from] = map[persistence.MemberID]bool{}
		}
		edges[from][to] = true
	}
	for _, m := range members {
		for _, other := range m.Unreachable {
			if other != m.ID && !m.Draining && slices.Contains(present, other) {
				add(m.ID, other)
				add(other, m.ID)
			}
		}
	}
	return edges
}
