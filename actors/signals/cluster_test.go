package signals

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/persistence"
)

// fabric connects hubs: frames between two nodes keep their order, until they are lost.
type fabric struct {
	t     testing.TB
	mu    sync.Mutex
	nodes map[string]*member
	owner map[string]string // connection → address, absent: nobody
	wires map[[2]string]*pipe
	work  sync.WaitGroup
	done  chan struct{}
}

// member is one node on the fabric.
type member struct {
	*node
	fabric  *fabric
	address string
	serving map[string]bool // connections that Expect was told about
	dead    bool
	lapsed  atomic.Bool // the lease
	// asked, if set, happens right before the next answer of Serves.
	asked func()
}

// pipe carries the frames from one node to another.
type pipe struct {
	queue chan *Frame
	lose  func(*Frame) bool // under fabric.mu
	down  bool
}

func newFabric(t testing.TB, addresses ...string) *fabric {
	f := &fabric{t: t, nodes: map[string]*member{}, owner: map[string]string{}, wires: map[[2]string]*pipe{}, done: make(chan struct{})}
	for _, a := range addresses {
		f.add(a, Options{})
	}
	t.Cleanup(func() {
		close(f.done)
		f.work.Wait()
	})
	return f
}

func (f *fabric) add(address string, o Options) *member {
	m := &member{fabric: f, address: address, serving: map[string]bool{}}
	o.Cluster = m
	m.node = newNode(f.t, o)
	f.mu.Lock()
	defer f.mu.Unlock()
	for other := range f.nodes {
		f.wire(address, other)
		f.wire(other, address)
	}
	f.nodes[address] = m
	return m
}

func (f *fabric) wire(from, to string) {
	p := &pipe{queue: make(chan *Frame, 100000)}
	f.wires[[2]string{from, to}] = p
	f.work.Go(func() {
		for {
			select {
			case <-f.done:
				return
			case frame := <-p.queue:
				f.mu.Lock()
				m := f.nodes[to]
				lost := p.down || m.dead || p.lose != nil && p.lose(frame)
				f.mu.Unlock()
				if !lost {
					m.hub.Receive(from, frame)
				}
			}
		}
	})
}

// lose sets which frames from one node to another get lost; nil: none.
func (f *fabric) lose(from, to string, which func(*Frame) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wires[[2]string{from, to}].lose = which
}

// cut loses what is on its way between two nodes, and tells both or not.
func (f *fabric) cut(a, b string, tell bool) {
	f.mu.Lock()
	for _, way := range [][2]string{{a, b}, {b, a}} {
		p := f.wires[way]
		for empty := false; !empty; {
			select {
			case <-p.queue:
			default:
				empty = true
			}
		}
	}
	na, nb := f.nodes[a], f.nodes[b]
	f.mu.Unlock()
	if tell {
		na.hub.Disconnected(b)
		nb.hub.Disconnected(a)
	}
}

// settle makes a node own a connection; its open connections are expected there.
func (f *fabric) own(address string, c *messages.Connection) {
	f.mu.Lock()
	if address == "" {
		delete(f.owner, c.ID)
	} else {
		f.owner[c.ID] = address
	}
	m := f.nodes[address]
	f.mu.Unlock()
	if m != nil && Interest(c) != nil {
		m.hub.Expect(0, []persistence.IndexRow{{ID: c.ID, Interest: Interest(c)}})
	}
	f.mu.Lock()
	if m != nil {
		m.serving[c.ID] = true
	}
	var all []*member
	for _, n := range f.nodes {
		if n != m {
			delete(n.serving, c.ID)
		}
		all = append(all, n)
	}
	f.mu.Unlock()
	for _, n := range all {
		n.hub.Changed()
	}
}

// learn tells all nodes what a connection takes.
func (f *fabric) learn(c *messages.Connection) {
	for _, n := range f.members() {
		n.hub.Learn(c.ID, Interest(c))
	}
}

func (f *fabric) members() (all []*member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		all = append(all, n)
	}
	return all
}

// openAt runs a connection at a node.
func (f *fabric) openAt(address string, c *messages.Connection) *peer {
	f.own(address, c)
	f.learn(c)
	f.mu.Lock()
	m := f.nodes[address]
	f.mu.Unlock()
	return m.open(c)
}

// kill takes a node away: it does nothing any more, and its connections belong to nobody.
func (f *fabric) kill(address string) {
	f.mu.Lock()
	f.nodes[address].dead = true
	for id, owner := range f.owner {
		if owner == address {
			delete(f.owner, id)
		}
	}
	f.mu.Unlock()
	for _, n := range f.members() {
		if !n.dead {
			n.hub.Disconnected(address)
			n.hub.Changed()
		}
	}
}

func (m *member) Owner(id string) (Peer, Place) {
	m.fabric.mu.Lock()
	defer m.fabric.mu.Unlock()
	owner, ok := m.fabric.owner[id]
	switch {
	case !ok:
		return Peer{}, Nowhere
	case owner == m.address:
		return Peer{}, Here
	default:
		return Peer{ID: owner, Address: owner}, Elsewhere
	}
}

func (m *member) Holds() bool { return !m.lapsed.Load() }

func (m *member) Serves(id string) bool {
	m.fabric.mu.Lock()
	if asked := m.asked; asked != nil {
		m.asked = nil
		m.fabric.mu.Unlock()
		asked()
		m.fabric.mu.Lock()
	}
	defer m.fabric.mu.Unlock()
	return m.serving[id] && m.fabric.owner[id] == m.address && !m.lapsed.Load()
}

func (m *member) Nodes() (n int) {
	m.fabric.mu.Lock()
	defer m.fabric.mu.Unlock()
	for _, other := range m.fabric.nodes {
		if !other.dead {
			n++
		}
	}
	return n
}

func (m *member) Peers() (peers []Peer) {
	m.fabric.mu.Lock()
	defer m.fabric.mu.Unlock()
	for address, n := range m.fabric.nodes {
		if address != m.address && !n.dead {
			peers = append(peers, Peer{ID: address, Address: address})
		}
	}
	return peers
}

func (m *member) Send(address string, frame *Frame) {
	m.fabric.mu.Lock()
	p, dead := m.fabric.wires[[2]string{m.address, address}], m.dead
	m.fabric.mu.Unlock()
	if p != nil && !dead {
		p.queue <- frame
	}
}

// numbers are the values of the events that a peer published, in order.
func (p *peer) numbers() (values []int) {
	p.t.Helper()
	for _, e := range p.envelopes() {
		var k int
		if _, err := fmt.Sscan(string(e.Value), &k); err != nil {
			p.t.Fatalf("value %s", e.Value)
		}
		values = append(values, k)
	}
	return values
}

func TestRelayToAnotherNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		m := from.consume(liveEvent(7, "x-kept", "yes", "correlation-id", "c-1"))
		pass(time.Millisecond)
		m.unsettled()
		if e := to.sole(); e.Headers["correlation-id"] != "c-1" || string(e.Value) != "7" {
			t.Errorf("published %v", e)
		}
		to.broker.answer(-1, nil)
		pass(time.Millisecond)
		m.want(client.Settle)
		to.counted(map[string]int{"target out dispatched success": 1, "target out published success": 1})
	})
}

// TestRefusedAtAnotherNode: filters, a broker that refuses or is away, and a connection that is not open are no reason to
// deliver again (O11, O13).
func TestRefusedAtAnotherNode(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*fabric, *peer)
	}{
		{"publish failed", func(_ *fabric, to *peer) { to.broker.set(func(b *broker) { b.failure = errBroker }) }},
		{"not connected", func(_ *fabric, to *peer) { to.Disconnected() }},
		{"closed", func(_ *fabric, to *peer) { to.Detach(true) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFabric(t, "a", "b")
				from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
				test.change(f, to)
				m := from.consume(liveEvent(1))
				pass(time.Millisecond)
				m.want(client.Settle)
				again := from.consume(liveEvent(2)) // the link goes on
				pass(time.Millisecond)
				again.want(client.Settle)
			})
		})
	}
}

// TestUnconcernedNode: what a connection elsewhere does not take is not sent there.
func TestUnconcernedNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		f.openAt("b", connection("to", withTarget(func(t *messages.Target) {
			for i := range t.Topics {
				t.Topics[i].Namespaces = []string{"other"}
			}
		})))
		from.consume(liveEvent(1)).want(client.Settle)
		if n := f.nodes["a"].hub.links.counts.sent.Load(); n != 0 {
			t.Errorf("%d frames sent", n)
		}
	})
}

// TestLostFrames: whatever gets lost without an event is found by the question after 5 s, taken once, and in order.
func TestLostFrames(t *testing.T) {
	var start time.Time
	for _, test := range []struct {
		name     string
		from, to string
		which    func(n int, f *Frame) bool
		within   time.Duration
	}{
		{"the only relay", "a", "b", func(n int, f *Frame) bool { return n == 5 }, 6 * time.Second},
		{"a relay in between", "a", "b", func(n int, f *Frame) bool { return n == 2 }, 10 * time.Millisecond},
		{"all relays", "a", "b", func(n int, f *Frame) bool { return n <= 5 }, 6 * time.Second},
		{"all outcomes", "b", "a", func(n int, f *Frame) bool { return time.Since(start) < time.Second }, 6 * time.Second},
		{"the first question, too", "a", "b", func(n int, f *Frame) bool { return n >= 5 && n <= 6 }, 11 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFabric(t, "a", "b")
				from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
				n := 0
				start = time.Now()
				f.lose(test.from, test.to, func(frame *Frame) bool { n++; return test.which(n, frame) })
				var all []*message
				for k := range 5 {
					all = append(all, from.consume(liveEvent(k)))
				}
				pass(test.within)
				for _, m := range all {
					m.want(client.Settle)
				}
				if got := fmt.Sprint(to.numbers()); got != "[0 1 2 3 4]" {
					t.Errorf("published %s", got)
				}
			})
		})
	}
}

// TestBrokenWay: when the way breaks and both nodes hear of it, what was lost comes again at once.
func TestBrokenWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		f.lose("a", "b", func(*Frame) bool { return true })
		m := from.consume(liveEvent(1))
		pass(time.Millisecond)
		f.cut("a", "b", true)
		pass(350 * time.Millisecond)
		m.unsettled()
		f.lose("a", "b", nil)
		pass(500 * time.Millisecond)
		m.want(client.Settle)
		if got := fmt.Sprint(to.numbers()); got != "[1]" {
			t.Errorf("published %s", got)
		}
	})
}

// TestExpiredAtAnotherNode is O14 over a link.
func TestExpiredAtAnotherNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		m := from.consume(liveEvent(1))
		pass(64 * time.Second)
		m.unsettled()
		pass(2 * time.Second)
		m.want(client.RejectRedeliver)
		if got := to.rec.Metrics(time.Now()).Targets["out"]["published"].Failure.PT24H; got != 1 {
			t.Errorf("%d failures", got)
		}
	})
}

// TestHandoverBetweenNodes: a connection that moves in an orderly way while messages are in flight loses nothing, whoever
// brought them in, and what was not accepted is published in order at its new place.
func TestHandoverBetweenNodes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b", "c")
		fromA, fromB := f.openAt("a", connection("from-a", withSource())), f.openAt("b", connection("from-b", withSource()))
		c := connection("to", withTarget())
		to := f.openAt("b", c)
		to.broker.set(func(b *broker) { b.slow = true })
		var all []*message
		for k := range 3 {
			all = append(all, fromA.consume(liveEvent(k)), fromB.consume(liveEvent(100+k)))
		}
		pass(time.Millisecond)
		to.broker.answer(2, nil) // 0 and 100, or both of one
		f.own("", c)
		to.Moving()
		for k := 3; k < 6; k++ {
			all = append(all, fromA.consume(liveEvent(k)), fromB.consume(liveEvent(100+k)))
		}
		to.broker.answer(-1, client.ErrClosed)
		to.Detach(false)
		pass(time.Second)
		f.own("c", c)
		pass(time.Second)
		to2 := f.nodes["c"].attach(c)
		for k := 6; k < 8; k++ {
			all = append(all, fromA.consume(liveEvent(k)), fromB.consume(liveEvent(100+k)))
		}
		pass(time.Second)
		to2.nothing()
		to2.Connected(to2.broker.publish)
		pass(3 * time.Second)
		for _, m := range all {
			m.want(client.Settle)
		}
		for name, least := range map[string]int{"from a": 0, "from b": 100} {
			var got []int
			for _, k := range to2.numbers() {
				if k/100 == least/100 {
					got = append(got, k)
				}
			}
			for i := 1; i < len(got); i++ {
				if got[i] != got[i-1]+1 {
					t.Errorf("%s: %v", name, got)
				}
			}
			if len(got) == 0 || got[len(got)-1] != least+7 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// TestTargetNodeDies: what was not answered is relayed again where the connection opens next, here or elsewhere.
func TestTargetNodeDies(t *testing.T) {
	for _, next := range []string{"a", "c"} {
		t.Run("then at "+next, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFabric(t, "a", "b", "c")
				from := f.openAt("a", connection("from", withSource()))
				c := connection("to", withTarget())
				to := f.openAt("b", c)
				to.broker.set(func(b *broker) { b.slow = true })
				var all []*message
				for k := range 4 {
					all = append(all, from.consume(liveEvent(k)))
				}
				pass(time.Millisecond)
				f.kill("b")
				pass(time.Second)
				all = append(all, from.consume(liveEvent(4)))
				for _, m := range all {
					m.unsettled()
				}
				to2 := f.openAt(next, c)
				pass(time.Second)
				for _, m := range all {
					m.want(client.Settle)
				}
				if got := fmt.Sprint(to2.numbers()); got != "[0 1 2 3 4]" {
					t.Errorf("published %s", got)
				}
			})
		})
	}
}

// TestOwnerNotReady: a node that has claimed a connection but does not serve it yet says so, and is asked again.
func TestOwnerNotReady(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("to", withTarget())
		f.mu.Lock()
		f.owner[c.ID] = "b"
		f.mu.Unlock()
		f.nodes["a"].hub.Learn(c.ID, Interest(c))
		m := from.consume(liveEvent(1))
		pass(10 * time.Second)
		m.unsettled()
		to := f.openAt("b", c)
		pass(2 * time.Second)
		m.want(client.Settle)
		to.sole()
	})
}

// TestWindowToAnotherNode is O17 over a link: a source with settlement stops, one without drops.
func TestWindowToAnotherNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		for k := range 256 {
			from.consume(liveEvent(k))
		}
		from.consume(liveEvent(256), atMostOnce)
		consumed := make(chan struct{})
		go func() {
			defer close(consumed)
			from.consume(liveEvent(257))
		}()
		pass(time.Millisecond)
		select {
		case <-consumed:
			t.Fatal("a source with settlement goes on beyond the window")
		default:
		}
		to.broker.answer(1, nil)
		pass(time.Millisecond)
		<-consumed
		to.broker.answer(-1, nil)
		pass(time.Millisecond)
		if got := to.numbers(); len(got) != 257 || got[256] != 257 {
			t.Errorf("published %d, last %v", len(got), got[len(got)-1])
		}
		if n := f.nodes["a"].hub.links.counts.dropped.Load(); n != 1 {
			t.Errorf("%d dropped", n)
		}
	})
}

// TestLinkFull: sources wait when a link has too many bytes on it.
func TestLinkFull(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "b")
		f.add("a", Options{LinkBytes: 10000})
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		var passed []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for k := range 100 {
				from.consume(liveEvent(k))
				passed = append(passed, k)
			}
		}()
		pass(time.Millisecond)
		if n := len(to.numbers()); n < 5 || n > 25 {
			t.Fatalf("%d messages of at least 512 bytes on a link of 10000", n)
		}
		for range 100 {
			to.broker.answer(1, nil)
			pass(time.Millisecond)
		}
		<-done
		if got := to.numbers(); len(got) != 100 {
			t.Errorf("published %d", len(got))
		}
	})
}

// TestLeaveWithFramesOnTheWay: a node that leaves settles nothing, whatever is answered afterwards.
func TestLeaveWithFramesOnTheWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		m := from.consume(liveEvent(1))
		pass(time.Millisecond)
		f.nodes["a"].hub.Leave()
		to.broker.answer(-1, nil)
		pass(time.Minute * 3)
		m.unsettled()
	})
}

// TestTargetNodeLeaves: a node that lets go of its connections while their shards are still its own refuses nothing.
func TestTargetNodeLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("to", withTarget())
		to := f.openAt("b", c)
		to.broker.set(func(b *broker) { b.slow = true })
		first := from.consume(liveEvent(1))
		pass(time.Millisecond)
		f.mu.Lock()
		delete(f.nodes["b"].serving, c.ID)
		f.mu.Unlock()
		f.nodes["b"].hub.Leave()
		to.broker.answer(-1, client.ErrClosed)
		second := from.consume(liveEvent(2))
		pass(5 * time.Second)
		first.unsettled()
		second.unsettled()
		to2 := f.openAt("a", c)
		pass(time.Second)
		first.want(client.Settle)
		second.want(client.Settle)
		if got := fmt.Sprint(to2.numbers()); got != "[1 2]" {
			t.Errorf("published %s", got)
		}
	})
}

// TestRequestAcrossNodes: acknowledgements and responses find the request, wherever they come in (contract runtime.md 4, 14.3).
func TestRequestAcrossNodes(t *testing.T) {
	for _, test := range []struct {
		name    string
		labels  string
		issued  string
		decl    string // declared by the responder's source
		matters bool   // the message passes the target's namespace
		answer  string // the node where a responder's source brings it in
		status  int
	}{
		{name: "response at the target's node", labels: `["live-response"]`, matters: true, answer: "b", status: 204},
		{name: "response at a third node", labels: `["live-response"]`, matters: true, answer: "c", status: 204},
		{name: "issued label", labels: `["to:stored","live-response"]`, issued: "to:stored", matters: true, answer: "c", status: 200},
		{name: "issued live-response", labels: `["live-response"]`, issued: "live-response", matters: true, status: 200},
		{name: "weak for a target that the message does not reach", labels: `["to:stored","live-response"]`, issued: "to:stored", answer: "c", status: 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFabric(t, "a", "b", "c")
				from := f.openAt("a", connection("from", withSource()))
				f.openAt("b", connection("to", withTarget(func(x *messages.Target) {
					x.IssuedAcknowledgementLabel = test.issued
					if !test.matters {
						for i := range x.Topics {
							x.Topics[i].Namespaces = []string{"other"}
						}
					}
				})))
				m := from.consume(liveMessage("correlation-id", "c-9", "requested-acks", test.labels, "response-required", "true"))
				pass(time.Millisecond)
				if test.answer != "" {
					m.unsettled()
					responder := f.openAt(test.answer, connection("responder", withSource()))
					responder.consume(withStatus(liveMessage("correlation-id", "c-9"), 204)).want(client.Settle)
					pass(time.Millisecond)
				}
				m.want(client.Settle)
				if e := from.sole(); e.Status != test.status || e.Headers["correlation-id"] != "c-9" {
					t.Errorf("answered %d %v %s", e.Status, e.Headers, e.Value)
				}
			})
		})
	}
}

// TestDeclaredElsewhere: an acknowledgement by a source at another node; a label of a connection that is not concerned is
// acknowledged weakly although that connection is elsewhere.
func TestDeclaredElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b", "c")
		from := f.openAt("a", connection("from", withSource()))
		to := f.openAt("b", connection("to", withTarget(), withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"to:seen"} })))
		f.openAt("c", connection("idle", withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"idle:seen"} })))
		m := from.consume(liveMessage("correlation-id", "c-1", "requested-acks", `["to:seen","idle:seen"]`, "response-required", "false"))
		pass(time.Millisecond)
		m.unsettled()
		if got := to.sole().Headers["requested-acks"]; got != `["to:seen"]` {
			t.Errorf("asked for %s", got)
		}
		to.consume(withStatus(envelope("acme/pump-7/things/live/acks/to:seen", "/", "", "correlation-id", "c-1"), 200)).want(client.Settle)
		pass(time.Millisecond)
		m.want(client.Settle)
	})
}

// TestLearn: interest comes, changes and goes.
func TestLearn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("to", withTarget())
		hub := f.nodes["a"].hub
		f.own("b", c)
		from.consume(liveEvent(1)).want(client.Settle)
		hub.Learn(c.ID, Interest(c))
		to := f.nodes["b"].attach(c)
		held := from.consume(liveEvent(2))
		pass(time.Second)
		held.unsettled()
		to.Connected(to.broker.publish)
		pass(time.Second)
		held.want(client.Settle)
		hub.Forget(c.ID)
		from.consume(liveEvent(3)).want(client.Settle)
		if got := fmt.Sprint(to.numbers()); got != "[2]" {
			t.Errorf("published %s", got)
		}
	})
}

// TestClusterAtRandom lets three nodes relay to each other while the ways between them break, and then lets a connection
// wander and a node die. Nothing is lost, each message is settled exactly once, and without moves the order is kept and
// nothing comes twice.
func TestClusterAtRandom(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { clusterAtRandom(t, rand.New(rand.NewPCG(seed, 5)), seed%2 == 1) })
		})
	}
}

func clusterAtRandom(t *testing.T, rng *rand.Rand, moves bool) {
	const sources, targets, perSource = 3, 3, 300
	names := []string{"a", "b", "c"}
	f := newFabric(t, names...)
	var froms []*peer
	for i := range sources {
		froms = append(froms, f.openAt(names[i], connection(fmt.Sprintf("from-%d", i), withSource())))
	}
	type place struct {
		conn  *messages.Connection
		at    string
		peers []*peer
	}
	places := make([]*place, targets)
	for i := range places {
		c := connection(fmt.Sprintf("to-%d", i), withTarget())
		places[i] = &place{conn: c, at: names[i], peers: []*peer{f.openAt(names[i], c)}}
	}
	var mu sync.Mutex // of all
	var all []*message
	var senders sync.WaitGroup
	for i, from := range froms {
		seed := rng.Uint64()
		senders.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for k := range perSource {
				m := from.message(liveEvent(i*1000 + k))
				mu.Lock()
				all = append(all, m)
				mu.Unlock()
				from.Consume(m.in)
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
		})
	}
	finished := make(chan struct{})
	go func() { senders.Wait(); close(finished) }()
	for going := true; going; {
		select {
		case <-finished:
			going = false
		case <-time.After(time.Duration(rng.IntN(100)) * time.Millisecond):
		}
		x, y := rng.IntN(3), rng.IntN(2)
		if y >= x {
			y++
		}
		f.cut(names[x], names[y], rng.IntN(2) == 0)
		if moves && rng.IntN(4) == 0 {
			p := places[rng.IntN(targets)]
			old := p.peers[len(p.peers)-1]
			f.own("", p.conn)
			old.Moving()
			old.Detach(false)
			time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
			p.at = names[rng.IntN(3)]
			p.peers = append(p.peers, f.openAt(p.at, p.conn))
		}
	}
	pass(30 * time.Second)
	for k, m := range all {
		if got := m.settlements(); len(got) != 1 || got[0] != client.Settle {
			t.Errorf("message %d: %v", k, got)
		}
	}
	for _, p := range places {
		seen := map[int]int{}
		var order []int
		for _, x := range p.peers {
			for _, k := range x.numbers() {
				seen[k]++
				order = append(order, k)
			}
		}
		last := map[int]int{}
		for i := range sources {
			for k := range perSource {
				if n := seen[i*1000+k]; n == 0 || n > 1 && !moves {
					t.Fatalf("%s: event %d came %d times", p.conn.ID, i*1000+k, n)
				}
			}
			last[i] = -1
		}
		if !moves {
			for _, k := range order {
				if k%1000 <= last[k/1000] {
					t.Fatalf("%s: event %d after %d", p.conn.ID, k, last[k/1000])
				}
				last[k/1000] = k % 1000
			}
		}
	}
	for _, n := range f.members() {
		for _, l := range n.hub.links.to {
			if l.out.open() != 0 || l.bytes.Load() != 0 {
				t.Errorf("%s to %s: %d frames, %d bytes are left", n.address, l.peer.Address, l.out.open(), l.bytes.Load())
			}
		}
		for id, r := range n.hub.receivers {
			if r.used != 0 || len(r.held) != 0 {
				t.Errorf("%s at %s: %d slots, %d held", id, n.address, r.used, len(r.held))
			}
		}
	}
}
