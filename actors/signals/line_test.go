package signals

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/mapping"
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
		slow.scripts[0].do(func() { <-ready })
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
		slow.scripts[0].do(func() { <-ready })
		expired, moved := from.consume(liveEvent(1, "timeout", "1s")), from.consume(liveEvent(2))
		pass(2 * time.Second)
		expired.want(client.RejectRedeliver)
		moved.unsettled()
		slow.Detach(false)
		moved.unsettled()
		next := f.openAt("a", c)
		behind := from.consume(liveEvent(3)) // while the script of the client before still runs
		pass(time.Second)
		moved.want(client.Settle)
		behind.want(client.Settle)
		if got := fmt.Sprint(slow.numbers(), next.numbers()); got != "[] [2 3]" {
			t.Errorf("published %s", got)
		}
		slow.counted(map[string]int{"target out published failure": 1}) // what has expired
		close(ready)
	})
}

// A signal at which no script looked because none had time is not refused: its source's broker delivers it again.
func TestBusyScriptsRefuseNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from, to := n.open(connection("from", withSource())), n.open(connection("to", withTarget()))
		for _, test := range []struct {
			err  error
			move bool
			want []client.Settlement
		}{
			{mapping.ErrBusy, false, []client.Settlement{client.RejectRedeliver}},
			{mapping.ErrAbandoned, false, []client.Settlement{client.Settle}}, // it is not connected any more: refused
			{mapping.ErrBusy, true, nil},                                      // held for the next client
		} {
			m := from.message(liveEvent(1))
			c := newCollector(m.in, from.record.Source("in"), time.Now())
			c.expect()
			rl := newRelay(&Signal{collector: c, hold: n.hub.timers.deadline(time.Now().Add(time.Minute))}, to.receiver)
			to.receiver.mu.Lock()
			to.receiver.used++
			to.receiver.mu.Unlock()
			rl.begin(to.Endpoint)
			if test.move {
				to.Moving()
			}
			rl.untried(test.err)
			rl.end()
			c.part(client.Settle)
			if got := m.settlements(); !slices.Equal(got, test.want) {
				t.Errorf("%v, moves %v: settled %v, want %v", test.err, test.move, got, test.want)
			}
		}
	})
}

// The last word of a connection does not wait for what is in line.
func TestAnnouncementsPassTheLine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from := n.open(connection("from", withSource()))
		slow := n.open(connection("slow", withTarget(func(x *messages.Target) {
			x.Topics = append(x.Topics, messages.FilteredTopic{Name: messages.TopicConnectionAnnouncements})
		}), withScript))
		ready := make(chan struct{})
		slow.scripts[0].do(func() { <-ready })
		from.consume(liveEvent(1))
		slow.Announce("closed", func() {})
		close(ready)
		pass(time.Second)
		published := slow.broker.messages()
		if len(published) != 2 || !strings.Contains(published[0].Text, "announcements/closed") {
			t.Errorf("published %v", published)
		}
	})
}

// As many are mapped at a time as there are runtimes, those of one entity one after the other.
func TestLinesOfRuntimes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		e := n.open(connection("slow", withTarget(), withScript, func(c *messages.Connection) { c.ProcessorPoolSize = 3 }))
		if len(e.scripts) != 3 {
			t.Fatalf("%d lines", len(e.scripts))
		}
		used := map[*line]bool{}
		for k := range 100 {
			id := fmt.Sprintf("org.acme:thing-%d", k)
			first := e.lineOf(id)
			used[first] = true
			if e.lineOf(id) != first {
				t.Errorf("%s is in two lines", id)
			}
		}
		if len(used) != 3 {
			t.Errorf("%d lines are used", len(used))
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
