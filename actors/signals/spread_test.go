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

// consumeOfEach consumes event number k of so many things and returns the messages with the values that are to be published.
func (p *peer) consumeOfEach(things, k int) (sent []*message, want []int) {
	for n := range things {
		sent, want = append(sent, p.consume(of(n, k))), append(want, 1000*n+k)
	}
	return sent, want
}

// wantPublished fails the test unless all messages are settled and the peers have published these values, each once.
func wantPublished(t *testing.T, sent []*message, want []int, peers ...*peer) {
	t.Helper()
	for _, m := range sent {
		m.want(client.Settle)
	}
	slices.Sort(want)
	if got := all(peers...); !slices.Equal(got, want) {
		t.Errorf("published %v\nwant %v", got, want)
	}
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
		sent, want := from.consumeOfEach(things, 0)
		pass(time.Millisecond)
		lost := clients[2].numbers()
		if len(lost) == 0 {
			t.Fatal("client 2 got nothing")
		}
		f.kill("c")
		later, more := from.consumeOfEach(things, 1)
		sent, want = append(sent, later...), append(want, more...)
		pass(3 * time.Second)
		wantPublished(t, sent, want, clients[:2]...)
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
		sent, want := from.consumeOfEach(things, 0)
		pass(time.Millisecond)
		clients[1].Moving()
		f.ownClient("", c, 1)
		clients[1].broker.answer(-1, client.ErrClosed)
		clients[1].Detach(false)
		pass(time.Second)
		f.ownClient("d", c, 1)
		next := f.nodes["d"].openClient(c, 1)
		pass(5 * time.Second)
		wantPublished(t, sent, want, clients[0], next)
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
		sent, want := from.consumeOfEach(things, 0)
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
		wantPublished(t, sent, want, clients[0], only)
		if n := len(f.nodes["a"].hub.receivers); n != 1 {
			t.Errorf("%d receivers are left", n)
		}
	})
}

// goingTo is the number of the first thing whose signals go to client index of n.
func goingTo(index, n int) int {
	for thing := 0; ; thing++ {
		if choice(fmt.Sprintf("acme:pump-%d", thing), n) == index {
			return thing
		}
	}
}

// spread is a connection with a target and so many clients.
func spread(n int) *messages.Connection { return connection("to", withTarget(), withClients(n)) }

// A modify to more clients: from the moment that a node knows of a client on, its signals wait for it, on the node that is going
// to run it as well as on that of the entity and on any other.
func TestMoreClients(t *testing.T) {
	learn := func(at string) func(*fabric, *peer) {
		return func(f *fabric, _ *peer) { f.nodes[at].hub.Learn("to", Interest(spread(2))) }
	}
	for name, learn := range map[string]func(*fabric, *peer){
		"the node of the new client learns of it": learn("b"),
		"another node learns of it":               learn("c"),
		"the entity attaches client 0 again": func(f *fabric, before *peer) {
			before.Moving()
			before.Detach(false)
			f.nodes["a"].attach(spread(2)).Connected(before.broker.publish)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFabric(t, "a", "b", "c")
				var sources []*peer
				for _, at := range []string{"a", "b", "c"} {
					sources = append(sources, f.openAt(at, connection("from-"+at, withSource())))
				}
				one := f.openSpread(spread(1), "a")
				f.mu.Lock()
				f.owner["to#1"] = "b"
				f.mu.Unlock()
				learn(f, one[0])
				thing := goingTo(1, 2)
				var sent []*message
				var want []int
				for k, from := range sources {
					sent, want = append(sent, from.consume(of(thing, k))), append(want, 1000*thing+k)
				}
				pass(time.Millisecond)
				f.ownClient("b", spread(2), 1)
				f.learn(spread(2))
				f.nodes["a"].attach(spread(2)).Connected(one[0].broker.publish)
				second := f.nodes["b"].openClient(spread(2), 1)
				pass(3 * time.Second)
				wantPublished(t, sent, want, one[0], second)
			})
		})
	}
}

// A node expects a client that the connection has no more when its entity comes to read the journal: nothing waits for it.
func TestExpectedInVain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("b", connection("from", withSource()))
		f.own("a", spread(2))
		f.ownClient("b", spread(2), 1)
		f.learn(spread(2))
		thing := goingTo(1, 2)
		held := from.consume(of(thing, 0))
		f.learn(spread(1))
		only := f.nodes["a"].open(spread(1))
		later := from.consume(of(thing, 1))
		pass(3 * time.Second)
		held.want(client.Settle)
		later.want(client.Settle)
		if got := all(only); !slices.Equal(got, []int{1000 * thing, 1000*thing + 1}) {
			t.Errorf("published %v", got)
		}
		if n := len(f.nodes["b"].hub.receivers); n != 1 {
			t.Errorf("%d receivers are left", n)
		}
	})
}

// Signals that are on their way to a client, or wait for room there, when the connection has fewer clients: they go to one
// that is left.
func TestFewerClientsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "b", "c")
		f.add("a", Options{Window: 2})
		from := f.openAt("a", connection("from", withSource()))
		clients := f.openSpread(spread(2), "c", "b")
		clients[1].broker.set(func(b *broker) { b.slow = true })
		thing := goingTo(1, 2)
		var sent []*message
		var want []int
		for k := range 3 {
			m := from.message(of(thing, k))
			sent, want = append(sent, m), append(want, 1000*thing+k)
			go from.Consume(m.in) // the third waits for room
			pass(time.Millisecond)
		}
		f.learn(spread(1))
		clients[1].Moving()
		clients[1].broker.answer(-1, client.ErrClosed)
		clients[1].Detach(false)
		f.ownClient("", spread(2), 1)
		pass(3 * time.Second)
		for _, m := range sent {
			m.want(client.Settle)
		}
		if got := all(clients[0]); !slices.Equal(got, want) {
			t.Errorf("client 0 published %v, want %v", got, want)
		}
		for _, address := range []string{"a", "b"} {
			if _, left := f.nodes[address].hub.receivers["to#1"]; left {
				t.Errorf("%s: client 1 is left", address)
			}
		}
	})
}

// A node is lost while a source waits for room at its client: what it brings then goes to another client, at once.
func TestFewerNodesWhileASourceWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "b", "c")
		f.add("a", Options{Window: 2})
		from := f.openAt("a", connection("from", withSource()))
		clients := f.openSpread(spread(3), "a", "b", "c")
		clients[2].broker.set(func(b *broker) { b.slow = true })
		thing := goingTo(2, 3)
		var sent []*message
		var want []int
		for k := range 4 {
			sent, want = append(sent, from.message(of(thing, k))), append(want, 1000*thing+k)
		}
		go func() {
			for _, m := range sent {
				from.Consume(m.in)
			}
		}()
		pass(time.Millisecond)
		f.kill("c")
		pass(3 * time.Second)
		for _, m := range sent {
			m.want(client.Settle)
		}
		if got := all(clients[:2]...); !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
	})
}

// A publish that fails only after its client has gone, because it moves or because a node less runs clients, finds the next one.
func TestLateFailureOfAClientThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("b", connection("from", withSource()))
		clients := f.openSpread(spread(2), "a", "b")
		clients[1].broker.set(func(b *broker) { b.slow = true })
		thing := goingTo(1, 2)
		m := from.consume(of(thing, 0))
		clients[1].Moving()
		f.learn(spread(1))
		clients[1].Detach(false)
		pass(time.Millisecond)
		clients[1].broker.answer(-1, client.ErrClosed)
		pass(3 * time.Second)
		m.want(client.Settle)
		if got := all(clients[0]); !slices.Equal(got, []int{1000 * thing}) {
			t.Errorf("client 0 published %v", got)
		}
	})
}
