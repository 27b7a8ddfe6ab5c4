package signals

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/persistence"
)

// TestSettledExactlyOnce lets sources, brokers and the lives of target connections go at random and at once. Afterwards each
// message is settled exactly once, positively ones had every open target's outcome, and nothing is left behind.
func TestSettledExactlyOnce(t *testing.T) {
	const sources, targets, perSource = 3, 3, 400
	n := newNode(t, Options{Window: 8, Hold: 300 * time.Millisecond, ResponseTimeout: 50 * time.Millisecond})
	var froms []*peer
	for i := range sources {
		froms = append(froms, n.open(connection(fmt.Sprintf("from-%d", i), withSource())))
	}
	configs := make([]*messages.Connection, targets)
	for i := range configs {
		configs[i] = connection(fmt.Sprintf("to-%d", i), withSource(), withTarget(), withTarget(func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = fmt.Sprintf("to-%d:stored", i)
		}))
	}
	stop := make(chan struct{})
	var lives sync.WaitGroup
	for i, c := range configs {
		lives.Add(1)
		go func() {
			defer lives.Done()
			live(n, c, rand.New(rand.NewPCG(1, uint64(i))), stop)
		}()
	}
	all := make([][]*message, sources)
	var senders sync.WaitGroup
	for i, from := range froms {
		senders.Add(1)
		go func() {
			defer senders.Done()
			rng := rand.New(rand.NewPCG(2, uint64(i)))
			for k := range perSource {
				text, change := liveEvent(k), []func(*client.Inbound){}
				switch rng.IntN(6) {
				case 0:
					text = liveMessage("timeout", "20ms", "correlation-id", fmt.Sprint(rng.IntN(5)), "requested-acks", `["to-1:stored","live-response"]`)
				case 1:
					text = withStatus(liveMessage("correlation-id", fmt.Sprint(rng.IntN(5))), 200)
				case 2:
					text = "no envelope"
				case 3:
					change = append(change, atMostOnce)
				}
				m := from.message(text, change...)
				all[i] = append(all[i], m)
				from.Consume(m.in)
			}
		}()
	}
	senders.Wait()
	close(stop)
	lives.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for i := range all {
		for k, m := range all[i] {
			for len(m.settlements()) == 0 && time.Now().Before(deadline) {
				<-time.After(time.Millisecond)
			}
			if got := m.settlements(); len(got) != 1 {
				t.Fatalf("message %d of source %d is settled %v", k, i, got)
			}
		}
	}
	n.hub.mu.Lock()
	for id, r := range n.hub.receivers {
		r.mu.Lock()
		if r.used != 0 || len(r.held) != 0 || len(r.waiting) != 0 {
			t.Errorf("%s: %d slots, %d held, %d wait", id, r.used, len(r.held), len(r.waiting))
		}
		r.mu.Unlock()
	}
	n.hub.mu.Unlock()
	n.hub.timers.mu.Lock()
	if len(n.hub.timers.heap) != 0 {
		t.Errorf("%d timers are left", len(n.hub.timers.heap))
	}
	n.hub.timers.mu.Unlock()
	n.hub.requests.mu.Lock()
	if len(n.hub.requests.open) != 0 {
		t.Errorf("%d requests are left", len(n.hub.requests.open))
	}
	n.hub.requests.mu.Unlock()
}

// live leads a target connection through its lives at random until stop, then to its end.
func live(n *node, c *messages.Connection, rng *rand.Rand, stop chan struct{}) {
	row := persistence.IndexRow{ID: c.ID, Interest: Interest(c)}
	idle := func() bool {
		select {
		case <-stop:
			return false
		case <-time.After(time.Duration(rng.IntN(3000)) * time.Microsecond):
			return true
		}
	}
	for going := true; going; {
		if rng.IntN(2) == 0 {
			n.hub.Expect(0, []persistence.IndexRow{row})
			going = idle()
		}
		e, err := n.hub.Attach(c, 0, n.registry.Connection(c.ID, string(c.Type)))
		if err != nil {
			n.t.Error(err)
			return
		}
		going = going && idle()
		if rng.IntN(3) == 0 {
			e.AttemptEnded()
		}
		b := &broker{slow: true}
		e.Connected(b.publish)
		for range rng.IntN(8) {
			going = going && idle()
			var failure error
			if rng.IntN(5) == 0 {
				failure = errBroker
			}
			b.answer(rng.IntN(6), failure)
		}
		closed := rng.IntN(2) == 0
		if !closed {
			e.Moving()
		}
		if rng.IntN(2) == 0 {
			e.Disconnected()
		}
		b.set(func(b *broker) { b.slow, b.failure = false, errBroker })
		b.answer(-1, errBroker)
		e.Detach(closed)
		if rng.IntN(4) == 0 {
			n.hub.Forget(c.ID)
		}
	}
	n.hub.Forget(c.ID)
}
