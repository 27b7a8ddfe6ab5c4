package signals

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestLinkSeries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFabric(t, "a", "b")
		from, to := f.openAt("a", connection("from", withSource())), f.openAt("b", connection("to", withTarget()))
		to.broker.set(func(b *broker) { b.slow = true })
		from.consume(liveEvent(1))
		from.consume(liveEvent(2))
		pass(time.Millisecond)
		to.broker.answer(1, nil)
		pass(time.Millisecond)
		for _, test := range []struct{ at, want string }{
			{"a", "# HELP relay_link_frames_open Relayed signals on their way to another node that have no outcome yet.\n# TYPE relay_link_frames_open gauge\nrelay_link_frames_open 1\n" +
				"# HELP relay_link_sent_total Signals relayed to other nodes, repetitions not counted.\n# TYPE relay_link_sent_total counter\nrelay_link_sent_total 2\n"},
			{"b", "# HELP relay_link_arrived_total Signals relayed here by other nodes, repetitions not counted.\n# TYPE relay_link_arrived_total counter\nrelay_link_arrived_total 2\n"},
		} {
			var names []string
			for line := range strings.Lines(test.want) {
				if !strings.HasPrefix(line, "#") {
					names = append(names, strings.Fields(line)[0])
				}
			}
			if err := testutil.CollectAndCompare(f.nodes[test.at].hub, strings.NewReader(test.want), names...); err != nil {
				t.Error(err)
			}
		}
		if problems, err := testutil.CollectAndLint(f.nodes["a"].hub); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
}
