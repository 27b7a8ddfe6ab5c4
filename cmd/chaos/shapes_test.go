package main

import (
	"strings"
	"testing"
)

// TestShapes: which connections have two clients, and that relays with two at either end, at both and at none are among those of -short.
func TestShapes(t *testing.T) {
	s := shapes{two: true}
	for id, want := range map[string]int{"target-0005": 2, "target-0006": 1, "source-0008": 2, "source-0005": 1, "c3-08": 2, "c3-09": 1, "other": 1} {
		if got := s.count(id); got != want {
			t.Errorf("%s: %d clients, want %d", id, got, want)
		}
		if got := (shapes{}).count(id); got != 1 {
			t.Errorf("%s: %d clients without two, want 1", id, got)
		}
	}
	short := relays{n: 30, shapes: s}
	seen := map[[2]int]bool{}
	for i := range short.n {
		seen[[2]int{s.count(short.source(i)), s.count(short.target(i))}] = true
		for _, c := range short.connections(i, "tcp://h:1") {
			id := c["id"].(string)
			want := "mqtt"
			if s.count(id) > 1 {
				want = "mqtt-5"
			}
			if c["connectionType"] != want || c["clientCount"] != s.count(id) {
				t.Errorf("%s: %v with clientCount %v", id, c["connectionType"], c["clientCount"])
			}
			sources, _ := c["sources"].([]object) // a target has none
			for _, source := range sources {
				if address := source["addresses"].([]string)[0]; strings.HasPrefix(address, "$share/") != (s.count(id) > 1) {
					t.Errorf("%s with %d clients subscribes to %s", id, s.count(id), address)
				}
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("source and target have these numbers of clients: %v", seen)
	}
}
