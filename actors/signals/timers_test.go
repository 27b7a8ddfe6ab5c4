package signals

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// alarm notes when it expired.
type alarm struct {
	timer
	ts      *timers
	expired []int64
}

func (a *alarm) expire() { a.expired = append(a.expired, int64(time.Since(a.ts.start))) }

// TestTimers compares random settings and stops with what should happen: each timer that is not stopped in time expires
// once, at its deadline.
func TestTimers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			after, wait int
			stop        bool
		}
		steps := make([]step, rapid.IntRange(1, 60).Draw(rt, "n"))
		for i := range steps {
			steps[i] = step{rapid.IntRange(1, 100).Draw(rt, "after"), rapid.IntRange(0, 5).Draw(rt, "wait"), rapid.Bool().Draw(rt, "stop")}
		}
		inBubble(t, func(*testing.T) {
			ts := newTimers()
			defer ts.close()
			alarms := make([]*alarm, len(steps))
			want := make([]int64, len(steps))
			for i, s := range steps {
				a := &alarm{ts: ts}
				a.owner = a
				alarms[i] = a
				want[i] = ts.deadline(time.Now().Add(time.Duration(s.after) * time.Millisecond))
				ts.set(&a.timer, want[i])
				if s.wait > 0 {
					pass(time.Duration(s.wait) * time.Millisecond)
				}
				if s.stop {
					victim := alarms[(i*7)%(i+1)]
					ts.stop(&victim.timer)
					if len(victim.expired) == 0 {
						want[(i*7)%(i+1)] = 0
					}
				}
			}
			pass(time.Second)
			for i, a := range alarms {
				if want[i] == 0 && len(a.expired) != 0 || want[i] != 0 && (len(a.expired) != 1 || a.expired[0] != want[i]) {
					rt.Errorf("timer %d expired at %v, want %d", i, a.expired, want[i])
				}
			}
			if len(ts.heap) != 0 {
				rt.Errorf("%d timers are left", len(ts.heap))
			}
		})
	})
}

func TestTimerStoppedBeforeSet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ts := newTimers()
		defer ts.close()
		a := &alarm{ts: ts}
		a.owner = a
		ts.stop(&a.timer)
		ts.set(&a.timer, 1)
		pass(time.Second)
		if len(a.expired) != 0 {
			t.Fatal("it expired")
		}
	})
}
