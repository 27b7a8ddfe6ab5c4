package actors

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"hawser/actors/shard"
	"hawser/persistence"
)

// A node that comes back at its address is reached at once, not when the library has slept over its absence.
func TestDialInsists(t *testing.T) {
	address := freeAddress(t)
	peers := newPeerSockets()
	defer peers.close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dialled := make(chan error, 1)
	go func() {
		conn, err := peers.dial(ctx, address)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // until it is cut
		}
		dialled <- err
	}()
	select {
	case err := <-dialled:
		t.Fatalf("nobody listens yet: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	began := time.Now()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	if took := time.Since(began); took > time.Second {
		t.Errorf("reached only after %v", took)
	}
	eventually(t, 5*time.Second, "it is registered", func() error {
		if a := peers.addresses(); len(a) != 1 || a[0] != address {
			return net.UnknownNetworkError("not yet")
		}
		return nil
	})
	peers.cut(address)
	if err := <-dialled; err == nil {
		t.Error("a cut socket can be read")
	}
	if a := peers.addresses(); len(a) != 0 {
		t.Errorf("still registered: %v", a)
	}
	// Closed, it insists no longer.
	go func() {
		_, err := peers.dial(ctx, freeAddress(t))
		dialled <- err
	}()
	peers.close()
	if err := <-dialled; err == nil {
		t.Error("dialled where nobody listens")
	}
}

func TestGone(t *testing.T) {
	view := func(addresses ...string) *shard.View {
		v := &shard.View{}
		for _, a := range addresses {
			v.Members = append(v.Members, persistence.Member{ID: persistence.MemberID("member of " + a), Address: a})
		}
		return v
	}
	// reach is what me sees of members at addresses of their names: "b-a" does not reach a.
	reach := func(me string, members ...string) *shard.View {
		var rows []persistence.Member
		for _, m := range members {
			name, other, found := strings.Cut(m, "-")
			row := persistence.Member{ID: persistence.MemberID(name), Address: name}
			if found {
				row.Unreachable = []persistence.MemberID{persistence.MemberID(other)}
			}
			rows = append(rows, row)
		}
		return shard.NewView(persistence.MemberID(me), rows, nil)
	}
	for _, tt := range []struct {
		name          string
		before, after *shard.View
		want          string
	}{
		{"nobody left", view("a", "b"), view("a", "b", "c"), ""},
		{"one left", view("a", "b"), view("a"), "b"},
		{"nobody is there any more", view("a"), view(), "a"},
		{"one steps aside", reach("a", "a", "b"), reach("a", "a", "b-a"), "b"},
		{"it has not come back", reach("a", "a", "b-a"), reach("a", "a", "b-a"), ""},
		{"it is back", reach("a", "a", "b-a"), reach("a", "a", "b"), ""},
		{"it leaves while it stands aside", reach("a", "a", "b-a"), reach("a", "a"), "b"},
		{"this node steps aside", reach("b", "a", "b", "c"), reach("b", "a-b", "b", "c-b"), "abc"},
	} {
		got := ""
		for _, address := range gone(tt.before, tt.after) {
			got += address
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
