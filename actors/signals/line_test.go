package signals

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

// withScript maps everything of the connection by a script that changes nothing.
func withScript(c *messages.Connection) {
	c.MappingDefinitions = map[string]messages.MappingDefinition{"js": {Engine: "JavaScript", Options: json.RawMessage(
		`{"outgoingScript":"function mapFromDittoProtocolMsgWrapper(m) { return Ditto.buildExternalMsg({}, JSON.stringify(m), null, 'text/plain') }"}`)}}
	for i := range c.Sources {
		c.Sources[i].PayloadMapping = []string{"js"}
	}
	for i := range c.Targets {
		c.Targets[i].PayloadMapping = []string{"js"}
	}
}

// TestScriptsHoldUpNobodyElse: while the scripts of a connection take long, what the same nodes relay to others goes on; afterwards
// everything is there, in order.
func TestScriptsHoldUpNobodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		slow, fast := f.openAt("b", connection("slow", withTarget(), withScript)), f.openAt("b", connection("fast", withTarget()))
		ready := make(chan struct{})
		slow.scripts.do(func() { <-ready })
		var all []*message
		for k := range 20 {
			all = append(all, from.consume(liveEvent(k)))
		}
		pass(time.Second)
		if got := fast.numbers(); len(got) != len(all) {
			t.Errorf("%d of %d were published elsewhere while the scripts of another connection ran", len(got), len(all))
		}
		if got := slow.numbers(); len(got) != 0 {
			t.Fatalf("published %v past those scripts", got)
		}
		for _, m := range all {
			m.unsettled()
		}
		close(ready)
		pass(time.Second)
		want := make([]int, len(all))
		for k := range want {
			want[k] = k
		}
		if got := fmt.Sprint(slow.numbers()); got != fmt.Sprint(want) {
			t.Errorf("published %s, want %v", got, want)
		}
		for _, m := range all {
			m.want(client.Settle)
		}
	})
}

// What is in line when the connection moves goes to its next place; what has expired there is not published.
func TestWhatIsInLineMoves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from := f.openAt("a", connection("from", withSource()))
		c := connection("slow", withTarget(), withScript)
		slow := f.openAt("a", c)
		ready := make(chan struct{})
		slow.scripts.do(func() { <-ready })
		expired, moved := from.consume(liveEvent(1, "timeout", "1s")), from.consume(liveEvent(2))
		pass(2 * time.Second)
		expired.want(client.RejectRedeliver)
		moved.unsettled()
		slow.Detach(false)
		close(ready)
		pass(time.Second)
		moved.unsettled()
		next := f.openAt("a", c)
		pass(time.Second)
		moved.want(client.Settle)
		if got := fmt.Sprint(slow.numbers(), next.numbers()); got != "[] [2]" {
			t.Errorf("published %s", got)
		}
	})
}

// Responses get in line as well, up to a bound; a bug in one of them takes nothing down.
func TestLine(t *testing.T) {
	panics := make(chan any, 1)
	l := &line{panicked: func(p any) { panics <- p }}
	ready := make(chan struct{})
	l.do(func() { <-ready })
	done := make(chan int, longestLine+1)
	l.do(func() { panic("a bug") })
	taken := 0
	for l.offer(func() { done <- taken }) {
		taken++
	}
	if taken < longestLine-2 || taken > longestLine {
		t.Errorf("%d were taken", taken)
	}
	close(ready)
	if p := <-panics; p != "a bug" {
		t.Errorf("panic %v", p)
	}
	for range taken {
		<-done
	}
	l.do(func() { done <- -1 })
	if got := <-done; got != -1 {
		t.Errorf("after the line was empty: %d", got)
	}
}
