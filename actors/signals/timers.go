package signals

import (
	"sync"
	"sync/atomic"
	"time"
)

// timers calls expire of many timers from one goroutine: a heap ordered by deadline. Nearly all deadlines lie further away
// than those before them, so that setting one usually costs no move in the heap.
type timers struct {
	start time.Time // deadlines are measured from here, on the monotonic clock

	mu     sync.Mutex
	heap   []*timer
	wakeAt int64 // what the goroutine sleeps for
	closed bool

	wake chan struct{} // capacity 1
	quit chan struct{}
	done chan struct{}
}

// expirer is what a timer belongs to. expire is called without a lock, at most once per set, from the goroutine of timers;
// it must not block.
type expirer interface{ expire() }

// timer is part of its owner, which is set once.
type timer struct {
	owner expirer
	at    int64
	place int // in the heap, from 1; 0: not in it
	armed atomic.Bool
	over  atomic.Bool
}

const never = int64(1<<63 - 1)

func newTimers() *timers {
	t := &timers{start: time.Now(), wakeAt: never, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go t.run()
	return t
}

// deadline is when to expire, for set.
func (ts *timers) deadline(at time.Time) int64 { return int64(at.Sub(ts.start)) }

// left is the time until a deadline.
func (ts *timers) left(deadline int64) time.Duration {
	return time.Duration(deadline) - time.Since(ts.start)
}

// set starts t unless it was stopped before or runs already.
func (ts *timers) set(t *timer, at int64) {
	t.armed.Store(true) // before reading over: see stop
	ts.mu.Lock()
	if t.over.Load() || t.place > 0 || ts.closed {
		ts.mu.Unlock()
		return
	}
	t.at = at
	ts.heap = append(ts.heap, t)
	t.place = len(ts.heap)
	ts.up(t.place)
	sooner := at < ts.wakeAt
	if sooner {
		ts.wakeAt = at
	}
	ts.mu.Unlock()
	if sooner {
		select {
		case ts.wake <- struct{}{}:
		default:
		}
	}
}

// stop ends t for good. A timer that was never set costs no lock: set stores armed before it reads over, stop stores over
// before it reads armed, so one of the two sees the other.
func (ts *timers) stop(t *timer) {
	t.over.Store(true)
	if !t.armed.Load() {
		return
	}
	ts.mu.Lock()
	if t.place > 0 {
		ts.remove(t.place)
	}
	ts.mu.Unlock()
}

// close ends the goroutine; nothing expires afterwards.
func (ts *timers) close() {
	ts.mu.Lock()
	if ts.closed {
		ts.mu.Unlock()
		return
	}
	ts.closed = true
	ts.heap = nil
	ts.mu.Unlock()
	close(ts.quit)
	<-ts.done
}

func (ts *timers) run() {
	defer close(ts.done)
	sleep := time.NewTimer(time.Hour)
	defer sleep.Stop()
	for {
		for _, t := range ts.due() {
			t.owner.expire()
		}
		ts.mu.Lock()
		next := ts.wakeAt
		ts.mu.Unlock()
		if next == never {
			sleep.Stop()
		} else {
			sleep.Reset(time.Duration(next) - time.Since(ts.start))
		}
		select {
		case <-sleep.C:
		case <-ts.wake:
		case <-ts.quit:
			return
		}
	}
}

// due takes out what has expired and says when to look again.
func (ts *timers) due() []*timer {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	now := int64(time.Since(ts.start))
	var due []*timer
	for len(ts.heap) > 0 && ts.heap[0].at <= now {
		due = append(due, ts.heap[0])
		ts.remove(1)
	}
	ts.wakeAt = never
	if len(ts.heap) > 0 {
		ts.wakeAt = ts.heap[0].at
	}
	return due
}

func (ts *timers) remove(place int) {
	last := len(ts.heap)
	t := ts.heap[place-1]
	ts.swap(place, last)
	ts.heap[last-1] = nil
	ts.heap = ts.heap[:last-1]
	t.place = 0
	if place < last {
		ts.down(place)
		ts.up(place)
	}
}

func (ts *timers) up(i int) {
	for i > 1 && ts.heap[i-1].at < ts.heap[i/2-1].at {
		ts.swap(i, i/2)
		i /= 2
	}
}

func (ts *timers) down(i int) {
	for {
		child := 2 * i
		if child > len(ts.heap) {
			return
		}
		if child < len(ts.heap) && ts.heap[child].at < ts.heap[child-1].at {
			child++
		}
		if ts.heap[i-1].at <= ts.heap[child-1].at {
			return
		}
		ts.swap(i, child)
		i = child
	}
}

func (ts *timers) swap(i, j int) {
	ts.heap[i-1], ts.heap[j-1] = ts.heap[j-1], ts.heap[i-1]
	ts.heap[i-1].place, ts.heap[j-1].place = i, j
}
