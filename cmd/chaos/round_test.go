package main

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestReopened: a client of the node with the fault is away since the fault, the other one of its connection while it moves, which may be later, and one
// that stays is not away. With one node less than clients the connection does not count.
func TestReopened(t *testing.T) {
	clock := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	o := newObserver(shapes{two: true}, func(netip.AddrPort, bool) (int, condition) { return 1, well })
	o.now = func() time.Time { return clock }
	begin := func(client string) *link {
		l := o.connecting(client, netip.AddrPort{}, func() bool { return true })
		o.connected(l)
		return l
	}
	move := func(l *link, away time.Duration) {
		o.ended(l)
		clock = clock.Add(away)
		begin(l.client)
	}
	at, elsewhere, stays := "target-0005_"+uuid.NewString(), "target-0005_"+uuid.NewString(), "target-0006"
	first, second := begin(at), begin(elsewhere)
	begin(stays)
	clock = clock.Add(time.Second)
	t0 := clock
	move(first, 4*time.Second)
	clock = clock.Add(8 * time.Second) // the node is back
	move(second, 200*time.Millisecond)

	times := func(nodes int, h hit) result {
		r := &round{lab: &lab{opts: options{nodes: nodes, shapes: o.shapes}, observer: o}, result: &result{}, t0: t0, affected: h}
		r.times()
		return *r.result
	}
	connections := []string{owner(at), stays}
	if got := times(3, hit{connections, map[string]bool{at: true, stays: true}}).Reopened; got.N != 2 || got.P50 != 200*time.Millisecond || got.Max != 4*time.Second {
		t.Errorf("reopened %s of %d, want 200 ms and 4 s", got, got.N)
	}
	if got := times(3, hit{connections: connections}).Reopened; got.N != 2 || got.Max != 12200*time.Millisecond {
		t.Errorf("all are concerned: reopened %s of %d, want 4 s and 12.2 s", got, got.N)
	}
	if got := times(2, hit{connections: connections}).Reopened; got.N != 0 {
		t.Errorf("reopened %s of %d clients, which no node could run", got, got.N)
	}
	if r := (&round{lab: &lab{opts: options{nodes: 2, shapes: o.shapes}, observer: o}}); !slices.Equal(r.clients(connections), []string{stays}) {
		t.Errorf("clients %v", r.clients(connections))
	}
}
