package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestObserverTimes checks what is read from the links: gaps, and when a client was up again.
func TestObserverTimes(t *testing.T) {
	clock := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	up := map[*link]bool{}
	o := newObserver(shapes{two: true}, func(netip.AddrPort, bool) (int, condition) { return 1, well })
	o.now = func() time.Time { return clock }
	var last *link
	begin := func() *link {
		var l *link
		l = o.connecting("x", netip.AddrPort{}, func() bool { return up[l] })
		up[l] = true
		o.connected(l)
		last = l
		return l
	}
	end := func() { up[last] = false; o.ended(last) }
	sleep := func(d time.Duration) { clock = clock.Add(d) }

	first := begin()
	sleep(time.Second)
	t0 := clock
	if _, moved, lost := o.reopened("x", t0); moved || lost {
		t.Fatal("the link lasts")
	}
	sleep(2 * time.Second)
	end()
	if _, moved, lost := o.reopened("x", t0); !moved || !lost {
		t.Fatal("the link is gone and nothing followed")
	}
	if missing := o.incomplete([]string{"x"}, 3); len(missing) != 1 {
		t.Fatal("nobody is connected")
	}
	sleep(500 * time.Millisecond)
	begin()
	if after, moved, lost := o.reopened("x", t0); after != 2500*time.Millisecond || !moved || lost {
		t.Fatalf("%v %v %v", after, moved, lost)
	}
	gaps, now := o.gaps("x", t0)
	if len(gaps) != 1 || gaps[0] != 500*time.Millisecond || !now {
		t.Fatalf("%v %v", gaps, now)
	}
	if gaps, _ := o.gaps("x", clock); len(gaps) != 0 {
		t.Fatalf("%v lies before", gaps)
	}
	o.forget(clock)
	if n := len(o.links["x"]); n != 1 || o.links["x"][0] == first {
		t.Fatalf("%d links are remembered", n)
	}
	if missing := o.incomplete([]string{"x", "y"}, 3); len(missing) != 1 || missing[0] != "y" {
		t.Fatalf("missing %v", missing)
	}
}

// TestObserverKnowsTheClients: a connection has as many client ids as clients, for ever, and lacks those that are not up.
func TestObserverKnowsTheClients(t *testing.T) {
	first, second, third := "target-0005_"+uuid.NewString(), "target-0005_"+uuid.NewString(), "target-0005_"+uuid.NewString()
	for name, row := range map[string]struct {
		clients  []string
		stranger string // "": none
	}{
		"two of two":                  {clients: []string{first, second, first}},
		"three of two":                {clients: []string{first, second, third, third}, stranger: third},
		"no suffix":                   {clients: []string{"target-0005"}, stranger: "target-0005"},
		"no UUID":                     {clients: []string{"target-0005_1"}, stranger: "target-0005_1"},
		"one of one":                  {clients: []string{"target-0004", "target-0004", "source-0004"}},
		"a suffix with clientCount 1": {clients: []string{"target-0004_" + first}, stranger: "target-0004_" + first},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserver(shapes{two: true}, func(netip.AddrPort, bool) (int, condition) { return 1, well })
			for _, client := range row.clients {
				l := o.connecting(client, netip.AddrPort{}, func() bool { return true })
				o.ended(l)
			}
			_, strangers := o.taken()
			if row.stranger == "" && len(strangers) > 0 || row.stranger != "" && (len(strangers) != 1 || !strings.Contains(strangers[0], row.stranger)) {
				t.Fatalf("%q, want %q", strangers, row.stranger)
			}
		})
	}

	o := newObserver(shapes{two: true}, func(netip.AddrPort, bool) (int, condition) { return 1, well })
	ids := []string{"target-0005"}
	begin := func(client string) *link {
		l := o.connecting(client, netip.AddrPort{}, func() bool { return true })
		o.connected(l)
		return l
	}
	if got := o.from(1, append(ids, first)); len(got) != 0 {
		t.Fatalf("%v have no link", got)
	}
	a, incomplete := begin(first), func(nodes int) bool { return len(o.incomplete(ids, nodes)) > 0 }
	if !incomplete(3) || incomplete(1) {
		t.Fatal("one client of two: it lacks one on three nodes, none on one")
	}
	begin(second)
	if incomplete(3) || !slices.Equal(o.clientsOf("target-0005"), []string{first, second}) || len(o.up("target-0005")) != 2 || len(o.up("source-")) != 0 {
		t.Fatalf("both are up: %v", o.up("target-0005"))
	}
	both := []string{first, second}
	if got := o.from(1, both); !slices.Equal(got, both) || len(o.from(2, both)) != 0 {
		t.Fatalf("from node 1 come %v, want both, and none from node 2", got)
	}
	o.ended(a)
	if got := o.from(1, both); !incomplete(3) || len(o.up("target-0005")) != 1 || !slices.Equal(got, []string{second}) {
		t.Fatalf("one is down; from node 1 come %v", got)
	}
}
