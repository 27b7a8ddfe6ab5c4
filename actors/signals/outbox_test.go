package signals

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLink drives both ends of a link by hand: what is pushed, lost, sent again, answered. Each step says what it yields.
func TestLink(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps string // one a line: step -> result
	}{
		{"in order, answered", `
			push -> 1
			push -> 2
			take 1 1 -> fresh
			take 2 1 -> fresh
			finish 2 -> wanted
			settle 2 -> relay
			settle 2 -> nothing
			finish 1 -> wanted
			settle 1 -> relay
			open -> 0`},
		{"a known number is answered again, one in work is not taken twice", `
			push -> 1
			push -> 2
			take 1 1 -> fresh
			take 1 1 -> worked
			finish 1 -> wanted
			take 1 1 -> known
			take 2 1 -> fresh`},
		{"a gap is asked for once, and all after it comes again", `
			push -> 1
			push -> 2
			push -> 3
			take 2 1 -> gap 1
			take 3 1 -> early
			from 1 -> 1 2 3
			take 1 1 -> fresh
			take 2 1 -> fresh
			take 3 1 -> fresh`},
		{"the question finds what was lost at the end", `
			push -> 1
			push -> 2
			take 1 1 -> fresh
			finish 1 -> wanted
			ask 1 2 -> known 1, again 2
			settle 1 -> relay
			from 2 -> 2
			take 2 2 -> fresh
			ask 2 2 -> `},
		{"a receiver that knows nothing starts with the first without outcome", `
			push -> 1
			push -> 2
			push -> 3
			settle 1 -> relay
			new 2
			take 3 2 -> gap 2
			from 2 -> 2 3
			take 2 2 -> fresh
			take 3 2 -> fresh`},
		{"what has its outcome is sent as nothing", `
			push -> 1
			push -> 2
			push -> 3
			settle 2 -> relay
			from 1 -> 1 void 3
			from 9 -> `},
		{"what the sender has the outcome of is forgotten", `
			push -> 1
			push -> 2
			take 1 1 -> fresh
			finish 1 -> wanted
			settle 1 -> relay
			take 2 2 -> fresh
			remembered -> 0
			finish 1 -> unwanted
			take 1 1 -> worked`},
		{"outcomes of a link that was closed are of no use", `
			push -> 1
			push -> 2
			settle 1 -> relay
			close -> 2
			settle 2 -> nothing
			open -> 0`},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, in := newOutbox(), newInbox(7, 1)
			now := time.Now()
			numbers := map[*relay]uint64{}
			for line := range strings.Lines(strings.TrimSpace(test.steps)) {
				step, want, _ := strings.Cut(strings.TrimSpace(line), "->")
				want = strings.TrimSpace(want)
				var verb string
				var a, b uint64
				_, _ = fmt.Sscan(step, &verb, &a, &b)
				got := ""
				switch verb {
				case "push":
					rl := &relay{}
					seq := out.push(rl, 10, now)
					numbers[rl] = seq
					got = fmt.Sprint(seq)
				case "new":
					in = newInbox(7, a)
				case "take":
					verdict, o := in.take(a, b)
					got = []string{"fresh", "worked", "known", "gap", "early"}[verdict]
					if verdict == arrivalGap {
						got += fmt.Sprint(" ", in.expected)
					}
					if verdict == arrivalKnown && o.Seq != a {
						t.Errorf("%s: outcome of %d", step, o.Seq)
					}
				case "finish":
					got = map[bool]string{true: "wanted", false: "unwanted"}[in.finish(FrameOutcome{Seq: a})]
				case "settle":
					got = "nothing"
					if rl := out.settle(a); rl != nil {
						got = "relay"
						if numbers[rl] != a {
							t.Errorf("%s: relay %d", step, numbers[rl])
						}
					}
				case "from":
					first, relays := out.from(a)
					var parts []string
					for i, rl := range relays {
						switch {
						case rl == nil:
							parts = append(parts, "void")
						case numbers[rl] != first+uint64(i):
							t.Errorf("%s: relay %d at %d", step, numbers[rl], first+uint64(i))
						default:
							parts = append(parts, fmt.Sprint(numbers[rl]))
						}
					}
					got = strings.Join(parts, " ")
				case "ask":
					known, again := in.ask(a, b)
					var parts []string
					for _, o := range known {
						parts = append(parts, fmt.Sprint("known ", o.Seq))
					}
					if again {
						parts = append(parts, fmt.Sprint("again ", in.expected))
					}
					got = strings.Join(parts, ", ")
				case "close":
					var parts []string
					for _, rl := range out.close() {
						parts = append(parts, fmt.Sprint(numbers[rl]))
					}
					got = strings.Join(parts, " ")
				case "open":
					got = fmt.Sprint(out.open())
				case "remembered":
					got = fmt.Sprint(len(in.outcomes))
				default:
					t.Fatalf("no step %q", verb)
				}
				if got != want {
					t.Fatalf("%s -> %s, want %s", strings.TrimSpace(step), got, want)
				}
			}
		})
	}
}

// TestOutboxAsks: a frame without outcome is asked for after the silence, and then once per silence.
func TestOutboxAsks(t *testing.T) {
	start := time.Now()
	o := newOutbox()
	for _, step := range []struct {
		at   time.Duration
		push bool
		want bool
	}{
		{0, false, false}, {0, true, false}, {4 * time.Second, true, false}, {5 * time.Second, false, true},
		{6 * time.Second, false, false}, {10 * time.Second, false, true},
	} {
		if step.push {
			o.push(&relay{}, 1, start.Add(step.at))
		}
		if got := o.ask(start.Add(step.at), 5*time.Second); got != step.want {
			t.Errorf("after %v: %v, want %v", step.at, got, step.want)
		}
	}
}
