package signals

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/persistence"
)

// values are the values of the events that a peer published, in order.
func (p *peer) values() []string {
	p.t.Helper()
	var v []string
	for _, e := range p.envelopes() {
		v = append(v, string(e.Value))
	}
	return v
}

func (p *peer) wantValues(want ...string) {
	p.t.Helper()
	if got := p.values(); !slices.Equal(got, want) {
		p.t.Fatalf("%s published %v, want %v", p.conn.ID, got, want)
	}
}

// TestSettledAfterTargets is O11: positively, and only after each target has accepted or refused.
func TestSettledAfterTargets(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	a, b := n.open(connection("a", withTarget())), n.open(connection("b", withTarget(), withTarget()))
	for _, p := range []*peer{a, b} {
		p.broker.set(func(b *broker) { b.slow = true })
	}
	m := from.consume(liveEvent(1))
	m.unsettled()
	a.broker.answer(-1, nil)
	m.unsettled()
	b.broker.answer(1, errBroker)
	m.unsettled()
	b.broker.answer(1, nil)
	m.want(client.Settle)
	b.counted(map[string]int{"target out published success": 1, "target out published failure": 1})
	from.counted(map[string]int{"source in acknowledged success": 1})
	if a.receiver.used != 0 || b.receiver.used != 0 {
		t.Errorf("%d and %d slots are still taken", a.receiver.used, b.receiver.used)
	}

	q0 := from.consume(liveEvent(2), atMostOnce) // at once
	q0.want(client.Settle)
	a.broker.answer(-1, nil)
	b.broker.answer(-1, nil)
	q0.want(client.Settle)
}

// TestNoTarget is O12: nothing is kept for who opens later.
func TestNoTarget(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	from.consume(liveEvent(1)).want(client.Settle)
	to := n.open(connection("to", withTarget()))
	to.nothing()
	to.Detach(true)
	from.consume(liveEvent(2)).want(client.Settle)
	to.nothing()
	if size := mapSize(n.hub); size != 0 {
		t.Errorf("%d keys are left in the routing table", size)
	}
}

func mapSize(h *Hub) (n int) {
	h.table.Range(func(any, any) bool { n++; return true })
	return n
}

// TestHeldUntilFirstAttempt is O13: what comes for an expected connection, or one whose first attempt runs, waits; then it
// goes out in order, or is refused if the attempt failed.
func TestHeldUntilFirstAttempt(t *testing.T) {
	to := connection("to", withTarget(func(t *messages.Target) {
		t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveEvents, Namespaces: []string{"acme"}, Filter: "ne(attributes/k,2)"}}
	}))
	row := persistence.IndexRow{ID: "to", Interest: Interest(to)}
	for name, end := range map[string]func(n *node, p *peer) []string{
		"connected":      func(_ *node, p *peer) []string { p.Connected(p.broker.publish); return []string{"1", "3"} },
		"attempt failed": func(_ *node, p *peer) []string { p.AttemptEnded(); return nil },
		"disconnected":   func(_ *node, p *peer) []string { p.Disconnected(); return nil },
		"closed":         func(_ *node, p *peer) []string { p.Detach(true); return nil },
		"forgotten": func(n *node, p *peer) []string {
			p.Detach(false)
			n.hub.Forget("to")
			return nil
		},
		"moved on": func(n *node, p *peer) []string {
			p.Detach(false)
			again := n.attach(p.conn)
			again.broker = p.broker
			again.Connected(again.broker.publish)
			return []string{"1", "3"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, Options{})
				defer n.hub.Close()
				n.hub.Expect(0, []persistence.IndexRow{row, {ID: "nothing"}, {ID: "broken", Interest: []byte("7")}})
				from := n.open(connection("from", withSource()))
				var held []*message
				held = append(held, from.consume(liveEvent(1)), from.consume(liveEvent(2)))
				from.consume(envelope("other/x/things/live/events/modified", "/", "{}")).want(client.Settle) // another namespace
				from.consume(liveMessage("response-required", "false")).want(client.Settle)                  // another kind
				p := n.attach(to)
				n.hub.Expect(0, []persistence.IndexRow{row}) // too late: no effect
				n.hub.Forget("to")                           // likewise
				held = append(held, from.consume(liveEvent(3)))
				pass(30 * time.Second)
				for _, m := range held {
					m.unsettled()
				}
				want := end(n, p)
				for _, m := range held {
					m.want(client.Settle)
				}
				p.wantValues(want...)
				if used := p.receiver.used; used != 0 {
					t.Errorf("%d slots are still taken", used)
				}
			})
		})
	}
}

// TestHoldTime is O14: over means rejected with redelivery and a failure of the target, whether it was held or published.
func TestHoldTime(t *testing.T) {
	for _, row := range []struct {
		name    string
		state   string
		headers []string
		after   time.Duration
	}{
		{"expected", "expected", nil, 65 * time.Second},
		{"first attempt runs", "attached", nil, 65 * time.Second},
		{"published without outcome", "slow", nil, 65 * time.Second},
		{"timeout header is shorter", "slow", []string{"timeout", "3s"}, 3 * time.Second},
		{"timeout header is longer", "slow", []string{"timeout", "3m"}, 65 * time.Second},
		{"timeout 0 is no hold time", "slow", []string{"timeout", "0"}, 65 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, Options{})
				defer n.hub.Close()
				c := connection("to", withTarget())
				var to *peer
				switch row.state {
				case "expected":
					n.hub.Expect(0, []persistence.IndexRow{{ID: "to", Interest: Interest(c)}})
				case "attached":
					to = n.attach(c)
				case "slow":
					to = n.open(c)
					to.broker.set(func(b *broker) { b.slow = true })
				}
				from := n.open(connection("from", withSource()))
				m := from.consume(liveEvent(1, row.headers...))
				pass(row.after - time.Millisecond)
				m.unsettled()
				pass(time.Millisecond)
				m.want(client.RejectRedeliver)
				if to != nil {
					to.counted(map[string]int{"target out published failure": 1, "target out published success": 0})
					to.broker.answer(-1, nil) // too late
					m.want(client.RejectRedeliver)
					to.counted(map[string]int{"target out published failure": 1, "target out published success": 0})
				}
				r := n.hub.receivers["to"]
				if r.used != 0 || len(r.held) != 0 {
					t.Errorf("%d slots, %d held", r.used, len(r.held))
				}
				if to == nil { // what expired does not come out later
					to = n.open(c)
					to.nothing()
				}
				to.broker.set(func(b *broker) { b.slow = false })
				to.Connected(to.broker.publish)
				from.consume(liveEvent(2)).want(client.Settle)
			})
		})
	}
}

// TestWindow is O17: a source with settlement stops at 256 relays without outcome, QoS 0 drops and counts.
func TestWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from, second := n.open(connection("from", withSource())), n.open(connection("second", withSource()))
		to := n.open(connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		for k := range 256 {
			[]*peer{from, second}[k%2].consume(liveEvent(k)).unsettled()
		}
		from.consume(liveEvent(999), atMostOnce).want(client.Settle)
		to.counted(map[string]int{"target out dropped failure": 1})

		blocked := from.message(liveEvent(256))
		returned := make(chan struct{})
		go func() {
			from.Consume(blocked.in)
			close(returned)
		}()
		synctest.Wait()
		select {
		case <-returned:
			t.Fatal("Consume does not wait for room")
		default:
		}
		blocked.unsettled()
		to.broker.answer(1, nil)
		<-returned
		blocked.unsettled()
		to.broker.answer(-1, nil)
		blocked.want(client.Settle)
		if got := to.values(); len(got) != 257 || got[256] != "256" {
			t.Fatalf("%d arrived, the last is %s", len(got), got[len(got)-1])
		}
	})
}

// TestWaitForRoomEnds: no room within the hold time, source gone, target gone, node gone.
func TestWaitForRoomEnds(t *testing.T) {
	for _, row := range []struct {
		name   string
		end    func(n *node, from, to *peer)
		settle []client.Settlement
	}{
		{"hold time", func(*node, *peer, *peer) { pass(5 * time.Second) }, []client.Settlement{client.RejectRedeliver}},
		{"source disconnects", func(_ *node, from, _ *peer) { from.Disconnected() }, nil},
		{"source is detached", func(_ *node, from, _ *peer) { from.Detach(true) }, nil},
		{"target disconnects", func(_ *node, _, to *peer) { to.Disconnected() }, []client.Settlement{client.Settle}},
		{"target is closed", func(_ *node, _, to *peer) { to.Detach(true) }, []client.Settlement{client.Settle}},
		{"node leaves", func(n *node, _, _ *peer) { n.hub.Leave() }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, Options{Window: 1})
				defer n.hub.Close()
				from, other := n.open(connection("from", withSource())), n.open(connection("other", withSource()))
				to := n.open(connection("to", withTarget()))
				to.broker.set(func(b *broker) { b.slow = true })
				other.consume(liveEvent(1))
				waiting := from.message(liveEvent(2, "timeout", "5s"))
				returned := make(chan struct{})
				go func() {
					from.Consume(waiting.in)
					close(returned)
				}()
				synctest.Wait()
				row.end(n, from, to)
				<-returned
				if got := waiting.settlements(); !slices.Equal(got, row.settle) {
					t.Errorf("settled %v, want %v", got, row.settle)
				}
				if len(to.receiver.waiting) != 0 {
					t.Error("somebody still waits")
				}
				to.wantValues("1")
			})
		})
	}
}

// TestOrder is O16 across every transition that does not move: while held, while flushed, while direct.
func TestOrder(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.attach(connection("to", withTarget()))
	const total = 2000
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for k := range total {
			from.Consume(from.message(liveEvent(k)).in)
		}
	}()
	for { // connect while held messages are there and more are coming
		to.receiver.mu.Lock()
		held := len(to.receiver.held)
		to.receiver.mu.Unlock()
		if held > 100 {
			break
		}
		runtime.Gosched()
	}
	to.Connected(to.broker.publish)
	<-stop
	got := to.values()
	if len(got) != total {
		t.Fatalf("%d arrived", len(got))
	}
	for k, v := range got {
		if v != fmt.Sprint(k) {
			t.Fatalf("value %s at place %d", v, k)
		}
	}
}

// TestModify: across Moving, close, Detach and Attach nothing is lost, and what the old client could not bring out is
// published again by the new one, in order.
func TestModify(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from := n.open(connection("from", withSource()))
		to := n.open(connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		var all []*message
		send := func(k int) { all = append(all, from.consume(liveEvent(k))) }
		send(1)
		send(2)
		send(3)
		to.broker.answer(1, nil)
		all[0].want(client.Settle)
		to.Moving()
		send(4)
		to.Disconnected()
		to.broker.answer(-1, errBroker)
		send(5)
		to.Detach(true)
		send(6)
		again := n.attach(connection("to", withTarget(func(t *messages.Target) { t.Address = "elsewhere" })))
		send(7)
		for _, m := range all[1:] {
			m.unsettled()
		}
		again.Connected(again.broker.publish)
		send(8)
		again.wantValues("2", "3", "4", "5", "6", "7", "8")
		for _, m := range all {
			m.want(client.Settle)
		}
		to.counted(map[string]int{"target out published failure": 0})
		if again.broker.messages()[0].Address != "elsewhere" {
			t.Error("the old connection was used")
		}
	})
}

// TestLeave: nothing is settled by what happens to the targets of a node that goes.
func TestLeave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from := n.open(connection("from", withSource()))
		n.hub.Expect(0, []persistence.IndexRow{{ID: "expected", Interest: Interest(connection("expected", withTarget()))}})
		held := from.consume(liveEvent(0))
		to := n.open(connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		relayed, request := from.consume(liveEvent(1)), from.consume(liveMessage("correlation-id", "c1"))
		n.hub.Leave()
		late := from.consume(liveEvent(2))
		to.broker.answer(-1, errBroker)
		to.Disconnected()
		to.Detach(false)
		from.Detach(false)
		pass(2 * time.Minute)
		for _, m := range []*message{held, relayed, request, late} {
			m.unsettled()
		}
		// Who is started now by somebody who does not know yet takes nothing: its targets are forgotten.
		newcomer := n.open(connection("newcomer", withSource()))
		n.hub.Expect(0, []persistence.IndexRow{{ID: "expected", Interest: Interest(connection("expected", withTarget()))}})
		left := newcomer.consume(liveEvent(2))
		newcomer.Disconnected()
		newcomer.Connected(newcomer.broker.publish)
		leftAgain := newcomer.consume(liveEvent(2))
		newcomer.Detach(false)
		pass(2 * time.Minute)
		left.unsettled()
		leftAgain.unsettled()
		if len(n.hub.receivers)+len(n.hub.audiences)+len(n.hub.endpoints) > 0 {
			t.Errorf("%d receivers, %d audiences, %d endpoints", len(n.hub.receivers), len(n.hub.audiences), len(n.hub.endpoints))
		}
		// The hub still works: the node came back.
		n.hub.Return()
		from, to = n.open(connection("from", withSource())), n.open(connection("to", withTarget()))
		from.consume(liveEvent(3)).want(client.Settle)
		to.wantValues("3")
	})
}

// TestDetachedSource: a message that comes after Detach is left to the broker, requests that wait stay unsettled.
func TestDetachedSource(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from, to := n.open(connection("from", withSource())), n.open(connection("to", withTarget()))
		request := from.consume(liveMessage("correlation-id", "c1"))
		from.Detach(true)
		from.Detach(true)
		late := from.consume(liveEvent(2))
		pass(2 * time.Minute)
		request.unsettled()
		late.unsettled()
		if len(to.broker.messages()) != 1 || len(n.hub.requests.open) != 0 || len(n.hub.timers.heap) != 0 {
			t.Errorf("%d published, %d requests, %d timers", len(to.broker.messages()), len(n.hub.requests.open), len(n.hub.timers.heap))
		}
	})
}

// TestInterest: what the index keeps is enough to know whether a signal concerns a connection.
func TestInterest(t *testing.T) {
	if got := Interest(connection("x", withSource(), withTarget(func(t *messages.Target) {
		t.Topics = []messages.FilteredTopic{{Name: messages.TopicTwinEvents}, {Name: messages.TopicConnectionAnnouncements}}
	}))); got != nil {
		t.Errorf("nothing is relayed to it, but its interest is %s", got)
	}
	i := interestOf(connection("x", withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"{{connection:id}}:app"} }),
		withTarget(func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "x:stored"
			t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveEvents, Namespaces: []string{"a"}}, {Name: messages.TopicLiveMessages, Namespaces: []string{"b"}}}
		}),
		withTarget(func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "live-response"
			t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveCommands, Namespaces: []string{"a"}}, {Name: messages.TopicLiveCommands}}
		})))
	if !slices.Equal(i.Labels, []string{"x:app", "x:stored"}) {
		t.Errorf("labels %v", i.Labels)
	}
	for _, row := range []struct {
		topic     messages.TopicName
		namespace string
		readers   []string
		everyone  bool
		want      bool
	}{
		{messages.TopicLiveEvents, "a", []string{"box:shared"}, false, true},
		{messages.TopicLiveEvents, "c", []string{"box:shared"}, false, false},
		{messages.TopicLiveMessages, "b", []string{"x", "box:shared"}, false, true},
		{messages.TopicLiveCommands, "anything", []string{"box:shared"}, false, true},
		{messages.TopicLiveCommands, "anything", []string{"box:other"}, false, false},
		{messages.TopicLiveCommands, "anything", nil, true, true},
		{messages.TopicLiveCommands, "anything", nil, false, false},
	} {
		if got := i.takes(row.topic, row.namespace, row.readers, row.everyone); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}
