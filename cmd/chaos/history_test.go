package main

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at builds an operation that ran from call to back, in milliseconds.
func at(k kind, call, back int, out outcome, change ...func(*operation)) operation {
	o := operation{ID: "x", Kind: k, Call: time.Duration(call) * time.Millisecond, Return: time.Duration(back) * time.Millisecond, Outcome: out}
	for _, f := range change {
		f(&o)
	}
	return o
}

func named(name string, open bool) func(*operation) {
	return func(o *operation) { o.Name, o.Open = name, open }
}

func TestHistoryFindsViolations(t *testing.T) {
	created := at(create, 0, 10, done, named("a", false))
	for name, row := range map[string]struct {
		history []operation
		legal   bool
	}{
		"in order": {legal: true, history: []operation{
			at(retrieveIt, 0, 1, absent), at(create, 2, 3, done, named("a", true)), at(retrieveIt, 4, 5, done, named("a", true)), at(create, 6, 7, exists, named("b", true)),
			at(closeIt, 8, 9, done), at(retrieveIt, 10, 11, done, named("a", false)), at(modify, 12, 13, done, named("c", true)), at(retrieveIt, 14, 15, done, named("c", true)),
			at(deleteIt, 16, 17, done), at(modify, 18, 19, absent, named("d", true)), at(create, 20, 21, done, named("e", false)), at(retrieveIt, 22, 23, done, named("e", false))}},
		"concurrent writers, either order": {legal: true, history: []operation{created,
			at(modify, 20, 40, done, named("b", false)), at(modify, 25, 35, done, named("c", false)), at(retrieveIt, 50, 51, done, named("b", false))}},
		"read during a write sees the old value": {legal: true, history: []operation{created,
			at(modify, 20, 40, done, named("b", false)), at(retrieveIt, 25, 30, done, named("a", false)), at(retrieveIt, 50, 51, done, named("b", false))}},
		"lost update": {history: []operation{created,
			at(modify, 20, 30, done, named("b", false)), at(retrieveIt, 40, 41, done, named("a", false))}},
		"stale read after a fresh one": {history: []operation{created,
			at(modify, 20, 60, done, named("b", false)), at(retrieveIt, 30, 31, done, named("b", false)), at(retrieveIt, 40, 41, done, named("a", false))}},
		"double execution brings an old value back": {history: []operation{created,
			at(modify, 20, 30, done, named("b", false)), at(modify, 40, 50, done, named("c", false)), at(retrieveIt, 60, 61, done, named("c", false)),
			at(retrieveIt, 80, 81, done, named("b", false))}},
		"two creates succeed": {history: []operation{created, at(create, 20, 30, done, named("b", false))}},
		"lost create":         {history: []operation{created, at(retrieveIt, 20, 21, absent)}},
		"deleted and still there": {history: []operation{created,
			at(deleteIt, 20, 30, done), at(retrieveIt, 40, 41, done, named("a", false))}},
		"conflict where nothing is": {history: []operation{at(create, 0, 10, exists, named("a", false))}},
		"open is forgotten": {history: []operation{created,
			at(openIt, 20, 30, done), at(retrieveIt, 40, 41, done, named("a", false))}},
		"unknown outcome, executed later": {legal: true, history: []operation{created,
			at(modify, 20, 30, unknown, named("b", true)), at(retrieveIt, 40, 41, done, named("a", false)), at(retrieveIt, 90, 91, done, named("b", true))}},
		"unknown outcome, never executed": {legal: true, history: []operation{created,
			at(modify, 20, 30, unknown, named("b", true)), at(retrieveIt, 40, 41, done, named("a", false))}},
		"unknown outcome, executed twice": {history: []operation{created,
			at(modify, 20, 30, unknown, named("b", false)), at(retrieveIt, 40, 41, done, named("b", false)),
			at(modify, 50, 51, done, named("c", false)), at(retrieveIt, 60, 61, done, named("c", false)), at(retrieveIt, 70, 71, done, named("b", false))}},
		"unknown delete": {legal: true, history: []operation{created,
			at(deleteIt, 20, 30, unknown), at(create, 40, 50, done, named("b", true)), at(retrieveIt, 60, 61, done, named("b", true))}},
		"refused and yet executed": {history: []operation{created,
			at(modify, 20, 30, refused, named("b", false)), at(retrieveIt, 40, 41, done, named("b", false))}},
		"a value nobody wrote": {history: []operation{created, at(retrieveIt, 20, 21, done, named("z", false))}},
	} {
		t.Run(name, func(t *testing.T) {
			violations, undecided := checkHistory(row.history, 10*time.Second)
			if len(undecided) != 0 || (len(violations) == 0) != row.legal {
				t.Fatalf("legal: %v, want %v: %v", len(violations) == 0, row.legal, violations)
			}
			if !row.legal && !strings.HasPrefix(violations[0], "x: no order explains\n") {
				t.Fatalf("no explanation: %q", violations[0])
			}
		})
	}
}

// TestHistoryKeepsConnectionsApart: one bad connection does not hide among good ones and does not make them bad.
func TestHistoryKeepsConnectionsApart(t *testing.T) {
	var history []operation
	for _, id := range []string{"x", "y", "z"} {
		own := func(o *operation) { o.ID = id }
		history = append(history, at(create, 0, 10, done, named("a", false), own), at(modify, 20, 30, done, named("b", false), own))
		seen := "b"
		if id == "y" {
			seen = "a"
		}
		history = append(history, at(retrieveIt, 40, 50, done, named(seen, false), own))
	}
	violations, _ := checkHistory(history, 10*time.Second)
	if len(violations) != 1 || !strings.HasPrefix(violations[0], "y:") {
		t.Fatalf("%v", violations)
	}
}

// TestHistoryAcceptsWhatAnAtomicConnectionDoes draws histories of a connection that executes every command at one instant
// between call and return, loses some replies, and never lies.
func TestHistoryAcceptsWhatAnAtomicConnectionDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var state record
		var history []operation
		now := 0
		for i := range rapid.IntRange(1, 60).Draw(t, "operations") {
			now += rapid.IntRange(1, 5).Draw(t, "pause")
			k := kind(rapid.IntRange(int(create), int(retrieveIt)).Draw(t, "kind"))
			// The instant of execution is now; the client's view of it is wider and overlaps its neighbours.
			o := at(k, now-rapid.IntRange(0, 8).Draw(t, "before"), now+rapid.IntRange(0, 8).Draw(t, "after"), done)
			if k == create || k == modify {
				named(string(rune('A'+i%26))+string(rune('a'+i/26)), rapid.Bool().Draw(t, "open"))(&o)
			}
			switch {
			case k == create && state.there:
				o.Outcome = exists
			case k != create && !state.there:
				o.Outcome = absent
			case k == retrieveIt:
				o.Name, o.Open = state.name, state.open
			case k == create, k == modify:
				state = record{true, o.Open, o.Name}
			case k == deleteIt:
				state = record{}
			default:
				state.open = k == openIt
			}
			if rapid.IntRange(0, 19).Draw(t, "lost") == 0 {
				o.Outcome = unknown
			}
			history = append(history, o)
		}
		if violations, _ := checkHistory(history, 10*time.Second); len(violations) > 0 {
			t.Fatal(violations[0])
		}
	})
}
