package shard

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"hawser/persistence"
	"hawser/persistence/postgres"
)

// named is a member that wants an instance id.
type named struct {
	*Membership
	store *postgres.Store
	gate  *gate
	names chan string // as joined, one per incarnation
}

// prepare makes a member that joins when it is started.
func (c *cluster) prepare(instance, address string) *named {
	c.t.Helper()
	store, err := postgres.Open(c.t.Context(), postgres.Options{URL: c.url, TTL: ttl, Log: quiet()})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := store.Init(c.t.Context(), kind, numShards); err != nil {
		c.t.Fatal(err)
	}
	n := &named{store: store, gate: &gate{Leases: store}, names: make(chan string, 10)}
	n.Membership = New(Options{
		Leases: n.gate, Kinds: map[string]int{kind: numShards}, TTL: ttl, Log: quiet(), Spare: instance + "-spare@" + address,
		Member:  persistence.Member{Address: address, Instance: instance, Kinds: []string{kind}},
		NewID:   func() persistence.MemberID { return persistence.MemberID(uuid.NewString()) },
		Joined:  func(name string) { n.names <- name },
		Claimed: func([]persistence.Lease) {}, Dropped: func([]persistence.ShardRef, bool) bool { return true }, Cut: func() {}, Fenced: func() {},
	})
	c.t.Cleanup(func() {
		n.gate.closed.Store(false)
		n.Stop()
		if err := store.Close(); err != nil {
			c.t.Errorf("close: %v", err)
		}
	})
	return n
}

func (c *cluster) name(n *named, within time.Duration) string {
	c.t.Helper()
	select {
	case name := <-n.names:
		return name
	case <-time.After(within):
		c.t.Fatalf("not joined within %v", within)
		return ""
	}
}

// Decision O8: a node keeps its instance id unless a live member has it.
func TestInstanceID(t *testing.T) {
	const mine, other = "127.0.0.1:1", "127.0.0.1:2"
	// A row of a node of another machine that does not beat.
	silent := func(c *cluster, n *named, address string) {
		row := persistence.Member{ID: persistence.MemberID(uuid.NewString()), Address: address, Instance: "a", Kinds: []string{kind}}
		if err := n.store.Join(c.t.Context(), row); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		before func(c *cluster, n *named)
		want   string
		slow   bool // it takes a TTL to see that nobody lives
	}{
		{name: "nobody has it", before: func(*cluster, *named) {}, want: "a"},
		{name: "another id is there", before: func(c *cluster, _ *named) { b := c.prepare("b", other); b.Start(); c.name(b, ttl) }, want: "a"},
		{name: "a live member has it", before: func(c *cluster, _ *named) { b := c.prepare("a", other); b.Start(); c.name(b, ttl) }, want: "a-spare@" + mine},
		{name: "a silent member has it", before: func(c *cluster, n *named) { silent(c, n, "203.0.113.9:1") }, want: "a", slow: true},
		{name: "a predecessor at this address has it", before: func(c *cluster, n *named) { silent(c, n, mine) }, want: "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			n := c.prepare("a", mine)
			tt.before(c, n)
			began := time.Now()
			n.Start()
			if got := c.name(n, 2*ttl); got != tt.want {
				t.Errorf("joined as %q, want %q", got, tt.want)
			}
			if took := time.Since(began); (took >= ttl) != tt.slow {
				t.Errorf("joined after %v", took)
			}
			members, _, err := n.store.Members(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range members {
				if m.ID == n.ID() && m.Instance != tt.want {
					t.Errorf("the row says %q", m.Instance)
				}
			}
		})
	}
}

func TestInstanceIDOfTwoThatStartTogether(t *testing.T) {
	c := newCluster(t)
	a, b := c.prepare("a", "127.0.0.1:1"), c.prepare("a", "127.0.0.1:2")
	a.Start()
	b.Start()
	if x, y := c.name(a, 2*ttl), c.name(b, 2*ttl); x == y {
		t.Errorf("both are %q", x)
	}
}

// A node that lost its lease finds its name taken when it comes back, and gives way for good.
func TestInstanceIDTakenDuringAnAbsence(t *testing.T) {
	c := newCluster(t)
	a := c.prepare("a", "127.0.0.1:1")
	a.Start()
	if got := c.name(a, ttl); got != "a" {
		t.Fatal(got)
	}
	first := a.ID()
	a.gate.closed.Store(true)
	b := c.prepare("a", "127.0.0.1:2")
	c.eventually(3*ttl, "the absent one is fenced", func() bool { return a.ID() != first })
	b.Start()
	if got := c.name(b, 3*ttl); got != "a" {
		t.Errorf("the newcomer is %q", got)
	}
	a.gate.closed.Store(false)
	for range 2 { // and stays so when it loses the next lease, too
		if got := c.name(a, 5*ttl); got != "a-spare@127.0.0.1:1" {
			t.Fatalf("back as %q", got)
		}
		if _, err := a.store.Bury(t.Context(), a.ID(), 0, true); err != nil {
			t.Fatal(err)
		}
	}
}
