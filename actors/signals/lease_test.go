package signals

import (
	"testing"
	"time"

	"hawser/actors/client"
)

// TestNothingIsPublishedPastTheDeadline: a node whose lease has run out publishes nothing any more, although its clients are still connected, and
// settles nothing; the next owner publishes it (design.md 3.2 rule 2).
func TestNothingIsPublishedPastTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		f.nodes["b"].lapsed.Store(true)
		m := from.consume(liveEvent(1))
		pass(time.Second)
		m.unsettled()
		if got := to.numbers(); len(got) > 0 {
			t.Errorf("published %v", got)
		}
		f.nodes["b"].hub.Leave() // what the node does next
		next := f.openAt("a", connection("to", withTarget()))
		pass(5 * time.Second)
		m.want(client.Settle)
		if got := next.numbers(); len(got) != 1 || got[0] != 1 {
			t.Errorf("the next owner published %v", got)
		}
	})
}

// TestNothingIsConsumedPastTheDeadline: likewise for its sources, whoever would publish it.
func TestNothingIsConsumedPastTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		from.consume(liveEvent(1))
		f.nodes["a"].lapsed.Store(true)
		m := from.consume(liveEvent(2))
		pass(time.Second)
		m.unsettled()
		if got := to.numbers(); len(got) != 1 || got[0] != 1 {
			t.Errorf("published %v", got)
		}
	})
}
