package signals

import (
	"testing"
	"time"

	"hawser/actors/client"
)

// The tests of this file are about what a node does on knowledge that it does not have yet, or has no more: none of it may settle
// a message whose target has neither accepted nor refused it (decisions O11 to O15).

// TestLearnOfWhatIsClaimed: a node that has claimed a connection, and does not serve it yet, knows from then on what it takes: sources of
// other shards, which it serves already, may get a message for it.
func TestLearnOfWhatIsClaimed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		to := connection("to", withTarget())
		f.mu.Lock()
		f.owner["to"] = "a"
		f.mu.Unlock()
		f.nodes["a"].hub.Learn("to", Interest(to))
		m := from.consume(liveEvent(1))
		pass(time.Second)
		m.unsettled()
		next := f.openAt("a", to)
		pass(time.Second)
		m.want(client.Settle)
		if got := next.numbers(); len(got) != 1 {
			t.Errorf("published %v", got)
		}
		// Served, it is not open unless it is attached or expected: what was read before it was closed must not bring it back.
		next.Detach(true)
		f.nodes["a"].hub.Learn("to", Interest(to))
		from.consume(liveEvent(2)).want(client.Settle)
	})
}

// TestFrameWhileTheShardIsClaimed: a frame that comes while a connection is claimed is not taken for one whose connection is not
// open, wherever the claim overtakes it.
func TestFrameWhileTheShardIsClaimed(t *testing.T) {
	for _, known := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			f := newFabric(t, "a", "b", "c")
			from := f.openAt("a", connection("from", withSource()))
			to := connection("to", withTarget())
			f.mu.Lock()
			f.owner["to"] = "c"
			f.mu.Unlock()
			f.nodes["a"].hub.Learn("to", Interest(to))
			if known {
				f.nodes["b"].hub.Learn("to", Interest(to)) // at c
			}
			b := f.nodes["b"]
			f.mu.Lock()
			f.owner["to"] = "b"
			b.asked = func() { f.own("b", to) }
			f.mu.Unlock()
			f.nodes["a"].hub.Changed()
			pass(10 * time.Millisecond)
			m := from.consume(liveEvent(1))
			pass(time.Second)
			m.unsettled()
			next := b.open(to)
			pass(2 * time.Second)
			m.want(client.Settle)
			if got := next.numbers(); len(got) != 1 {
				t.Errorf("published %v", got)
			}
		})
	}
}

// TestFailuresPastTheDeadline: what fails at a client when the lease has run out, because the next owner has taken over its session or
// because the node itself cuts its sockets, was not refused, although nobody has let go of the client yet.
func TestFailuresPastTheDeadline(t *testing.T) {
	for name, fails := range map[string]func(to *peer){
		"publish":   func(to *peer) { to.broker.answer(-1, errBroker) },
		"link":      func(to *peer) { to.Disconnected(); to.broker.answer(-1, errBroker) },
		"reconnect": func(to *peer) { to.Disconnected(); to.AttemptEnded(); to.broker.answer(-1, errBroker) },
	} {
		for _, at := range []string{"a", "b"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					f := newFabric(t, "a", "b", "c")
					from, to := f.openAt("a", connection("from", withSource())), f.openAt(at, connection("to", withTarget()))
					to.broker.set(func(b *broker) { b.slow = true })
					m := from.consume(liveEvent(1))
					pass(time.Millisecond)
					f.nodes[at].lapsed.Store(true)
					fails(to)
					pass(time.Millisecond)
					m.unsettled()
					f.nodes[at].hub.Leave() // what the node does next
					pass(time.Second)
					m.unsettled()
					if at == "a" {
						return // its broker delivers it again
					}
					next := f.openAt("c", connection("to", withTarget()))
					pass(5 * time.Second)
					m.want(client.Settle)
					if got := next.numbers(); len(got) != 1 {
						t.Errorf("the next owner published %v", got)
					}
				})
			})
		}
	}
}
