package signals

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/persistence"
)

func withClients(n int) func(*messages.Connection) {
	return func(c *messages.Connection) { c.ClientCount = n }
}

// ownClient makes a node own one client of a connection; "": nobody does.
func (f *fabric) ownClient(address string, c *messages.Connection, index int) {
	identity := client.Identity(c.ID, index)
	f.mu.Lock()
	if address == "" {
		delete(f.owner, identity)
	} else {
		f.owner[identity] = address
	}
	m := f.nodes[address]
	f.mu.Unlock()
	if m != nil {
		m.hub.Expect(index, []persistence.IndexRow{{ID: c.ID, Interest: Interest(c)}})
	}
	for _, n := range f.members() {
		f.mu.Lock()
		n.serving[identity] = n == m
		f.mu.Unlock()
		n.hub.Changed()
	}
}

// openClient attaches and connects one client of a connection.
func (n *node) openClient(c *messages.Connection, index int) *peer {
	n.t.Helper()
	rec := n.registry.Connection(c.ID, string(c.Type))
	e, err := n.hub.Attach(c, index, rec)
	if err != nil {
		n.t.Fatal(err)
	}
	p := &peer{Endpoint: e, t: n.t, conn: c, rec: rec, broker: &broker{}}
	p.Connected(p.broker.publish)
	return p
}

// openSpread runs a connection with a client on each node, client 0 on the first.
func (f *fabric) openSpread(c *messages.Connection, addresses ...string) []*peer {
	for index, address := range addresses {
		f.ownClient(address, c, index)
	}
	f.learn(c)
	var peers []*peer
	for index, address := range addresses {
		peers = append(peers, f.nodes[address].openClient(c, index))
	}
	return peers
}

// of is a live event of thing number n; its value is 1000·n + k.
func of(n, k int) string {
	return envelope(fmt.Sprintf("acme/pump-%d/things/live/events/modified", n), "/attributes/k", fmt.Sprint(1000*n+k))
}

// Each signal goes to exactly one client, whichever node brought it in; those of one entity all to the same one, in order;
// and those of many entities to every client (R34, R35).
func TestSpreadOverClients(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const things, each = 30, 4
		f := newFabric(t, "a", "b", "c")
		sources := []*peer{f.openAt("a", connection("from-a", withSource())), f.openAt("b", connection("from-b", withSource())), f.openAt("c", connection("from-c", withSource()))}
		clients := f.openSpread(connection("to", withTarget(), withClients(3)), "b", "c", "a")
		for k := range each {
			for n := range things {
				m := sources[n%3].consume(of(n, k))
				pass(time.Millisecond)
				m.want(client.Settle)
			}
		}
		at := map[int]int{} // thing → client
		total := 0
		for index, p := range clients {
			last := map[int]int{}
			numbers := p.numbers()
			total += len(numbers)
			if len(numbers) == 0 {
				t.Errorf("client %d got nothing", index)
			}
			for _, v := range numbers {
				n, k := v/1000, v%1000
				if before, seen := at[n]; seen && before != index {
					t.Errorf("thing %d at clients %d and %d", n, before, index)
				}
				if at[n] = index; k != last[n] {
					t.Errorf("thing %d: %d after %d", n, k, last[n]-1)
				}
				last[n]++
			}
		}
		if total != things*each {
			t.Errorf("%d published, want %d", total, things*each)
		}
	})
}

// all are the values that peers published, sorted.
func all(peers ...*peer) (values []int) {
	for _, p := range peers {
		values = append(values, p.numbers()...)
	}
	slices.Sort(values)
	return values
}

// A node with a client dies: its clients' signals go to those that are left, what it had not answered included, and nothing
// waits for the hold time to end.
func TestSpreadAfterALoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const things = 30
		f := newFabric(t, "a", "b", "c")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("to", withTarget(), withClients(3))
		clients := f.openSpread(c, "a", "b", "c")
		clients[2].broker.set(func(b *broker) { b.slow = true }) // c answers nothing before it dies
		var sent []*message
		var want []int
		for n := range things {
			sent = append(sent, from.consume(of(n, 0)))
			want = append(want, 1000*n)
		}
		pass(time.Millisecond)
		lost := clients[2].numbers()
		if len(lost) == 0 {
			t.Fatal("client 2 got nothing")
		}
		f.kill("c")
		for n := range things {
			sent = append(sent, from.consume(of(n, 1)))
			want = append(want, 1000*n+1)
		}
		pass(3 * time.Second)
		for _, m := range sent {
			m.want(client.Settle)
		}
		slices.Sort(want)
		if got := all(clients[:2]...); !slices.Equal(got, want) {
			t.Errorf("published %v\nwant %v", got, want)
		}
	})
}

// A client that moves to another node in an orderly way: what it had not published is published at its new place.
func TestSpreadOverAHandover(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const things = 30
		f := newFabric(t, "a", "b", "c", "d")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("to", withTarget(), withClients(2))
		clients := f.openSpread(c, "a", "b")
		clients[1].broker.set(func(b *broker) { b.slow = true })
		var sent []*message
		var want []int
		for n := range things {
			sent = append(sent, from.consume(of(n, 0)))
			want = append(want, 1000*n)
		}
		pass(time.Millisecond)
		clients[1].Moving()
		f.ownClient("", c, 1)
		clients[1].broker.answer(-1, client.ErrClosed)
		clients[1].Detach(false)
		pass(time.Second)
		f.ownClient("d", c, 1)
		next := f.nodes["d"].openClient(c, 1)
		pass(5 * time.Second)
		for _, m := range sent {
			m.want(client.Settle)
		}
		if got := all(clients[0], next); !slices.Equal(got, want) {
			t.Errorf("published %v\nwant %v", got, want)
		}
	})
}

// A modify to fewer clients: what is held for one that is no more goes to the one that is left.
func TestFewerClients(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const things = 10
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("to", withTarget(), withClients(2))
		clients := f.openSpread(c, "a", "b")
		f.ownClient("", c, 1)
		clients[1].Moving()
		clients[1].Detach(false)
		var sent []*message
		var want []int
		for n := range things {
			sent = append(sent, from.consume(of(n, 0)))
			want = append(want, 1000*n)
		}
		pass(time.Millisecond)
		if got := all(clients[0]); len(got) == things {
			t.Fatal("nothing is held")
		}
		clients[0].Moving()
		clients[0].Detach(false)
		one := connection("to", withTarget(), withClients(1))
		only := f.nodes["a"].open(one)
		f.learn(one)
		pass(3 * time.Second)
		for _, m := range sent {
			m.want(client.Settle)
		}
		if got := all(clients[0], only); !slices.Equal(got, want) {
			t.Errorf("published %v\nwant %v", got, want)
		}
		if n := len(f.nodes["a"].hub.receivers); n != 1 {
			t.Errorf("%d receivers are left", n)
		}
	})
}
