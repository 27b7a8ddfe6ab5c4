package main

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestActivationsFindTwoAtOnce(t *testing.T) {
	start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	read := func(from, to int, ids ...string) reading {
		r := reading{start.Add(time.Duration(from) * time.Millisecond), start.Add(time.Duration(to) * time.Millisecond), map[string]int{}}
		for _, id := range ids {
			r.clients[id]++
		}
		return r
	}
	const two = "target-0005" // has two clients
	type step struct {
		node   int
		r      reading
		breaks bool // the node was frozen or restarted just before
	}
	for name, row := range map[string]struct {
		steps []step
		found bool
	}{
		"one node":                      {steps: []step{{1, read(0, 5, "x"), false}, {1, read(100, 105, "x"), false}}},
		"between two readings":          {steps: []step{{1, read(0, 5, "x"), false}, {2, read(50, 55, "x"), false}, {1, read(100, 105, "x"), false}}, found: true},
		"moved":                         {steps: []step{{1, read(0, 5, "x"), false}, {2, read(50, 55, "x"), false}, {1, read(100, 105), false}}},
		"may have moved there and back": {steps: []step{{1, read(0, 60, "x"), false}, {2, read(50, 55, "x"), false}, {1, read(100, 105, "x"), false}}},
		"the other read too late":       {steps: []step{{1, read(0, 5, "x"), false}, {2, read(50, 102, "x"), false}, {1, read(100, 105, "x"), false}}},
		"frozen in between":             {steps: []step{{1, read(0, 5, "x"), false}, {2, read(50, 55, "x"), false}, {1, read(100, 105, "x"), true}}},
		"frozen, then still active":     {steps: []step{{1, read(0, 5, "x"), false}, {1, read(100, 105, "x"), true}, {2, read(150, 155, "x"), false}, {1, read(200, 205, "x"), false}}, found: true},
		"two of two clients":            {steps: []step{{1, read(0, 5, two), false}, {2, read(50, 55, two), false}, {1, read(100, 105, two), false}}},
		"three of two clients": {steps: []step{{1, read(0, 5, two), false}, {2, read(30, 35, two), false}, {3, read(60, 65, two), false},
			{1, read(100, 105, two), false}, {2, read(130, 135, two), false}}, found: true},
		"two of one node, one of another": {steps: []step{{1, read(0, 5, two, two), false}, {2, read(50, 55, two), false}, {1, read(100, 105, two, two), false}}, found: true},
		"one of two has moved": {steps: []step{{1, read(0, 5, two), false}, {2, read(30, 35, two), false}, {3, read(60, 65, two), false},
			{1, read(100, 105, two), false}, {2, read(130, 135), false}}},
		"another connection": {steps: []step{{1, read(0, 5, "x"), false}, {2, read(50, 55, "y"), false}, {1, read(100, 105, "x"), false}}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newActivations(shapes{two: true})
			for _, s := range row.steps {
				if s.breaks {
					a.interrupt(s.node, s.r.from.Add(-time.Millisecond))
				}
				a.add(s.node, s.r)
			}
			if found := a.taken(); (len(found) > 0) != row.found {
				t.Fatalf("%v, want found: %v", found, row.found)
			}
		})
	}
}

// TestReadingAskedBeforeAFreeze: a frozen node answers after SIGCONT what was asked before; that is no reading.
func TestReadingAskedBeforeAFreeze(t *testing.T) {
	a := newActivations(shapes{two: true})
	now := time.Now()
	a.interrupt(1, now)
	a.add(1, reading{now.Add(-time.Second), now.Add(time.Millisecond), map[string]int{"x": 1}})
	if ids := a.at(1); len(ids) != 0 {
		t.Fatalf("%v", ids)
	}
}

const metricsText = `# HELP connection_client Clients of the connection that are connected on this instance.
# TYPE connection_client gauge
connection_client{id="plant-7",type="mqtt"} 1
connection_client{id="a:b_c",type="mqtt-5"} 2
connection_client{id="closed",type="mqtt"} 0
connecting_client{id="other",type="mqtt"} 1
connection_client_total{id="no",type="mqtt"} 1
`

func TestParseMetrics(t *testing.T) {
	ids, err := parseMetrics(strings.NewReader(metricsText))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"a:b_c": 2, "plant-7": 1}; !maps.Equal(ids, want) {
		t.Fatalf("%v, want %v", ids, want)
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add(metricsText)
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := parseMetrics(strings.NewReader(text))
		if err == nil && len(ids) > strings.Count(text, "connection_client{") {
			t.Fatalf("%d ids out of %q", len(ids), text)
		}
	})
}
