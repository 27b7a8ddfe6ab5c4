package monitor

import (
	"sync"
	"sync/atomic"
	"time"
)

// window is one sliding window of a counter. It holds one slot more than its length: the current one, which has just
// begun, and those that reach back to now − length (piggyback.md 4.13).
type window struct {
	width  int64 // seconds of a slot
	slots  int64
	offset int64 // of the first slot in counter.slots
}

const (
	windowMinute = iota
	windowHour
	windowDay
	numWindows
)

var windows = [numWindows]window{
	windowMinute: {width: 10, slots: 7, offset: 0},
	windowHour:   {width: 60, slots: 61, offset: 7},
	windowDay:    {width: 3600, slots: 25, offset: 68},
}

const numSlots = 7 + 61 + 25

// counter counts one metric with one outcome at one address. Its size (448 bytes) is what the memory of a busy node is
// made of: slots are 32 bit, which is good for a million messages per second.
//
// Adding is wait-free but for the first message of a slot, which takes rotate to clear the slots that time has passed
// over. heads[w] is the newest slot that was ever begun; slots in (heads-slots, heads] are valid.
type counter struct {
	total  atomic.Uint64 // never reset: Prometheus
	last   atomic.Int64  // Unix nanoseconds of the newest message, 0 for none
	heads  [numWindows]atomic.Int64
	rotate sync.Mutex
	slots  [numSlots]atomic.Uint32
}

// add counts one message at now (Unix nanoseconds).
func (c *counter) add(now int64) {
	c.total.Add(1)
	c.last.Store(now)
	c.addSlots(now)
}

// addMinute counts at most one per minute, as throttling is counted; total and last move with each call.
func (c *counter) addMinute(now int64) {
	c.total.Add(1)
	minute := now / int64(time.Minute)
	for {
		last := c.last.Load()
		if !c.last.CompareAndSwap(last, now) {
			continue
		}
		if last == 0 || last/int64(time.Minute) != minute {
			c.addSlots(now)
		}
		return
	}
}

func (c *counter) addSlots(now int64) {
	seconds := now / int64(time.Second)
	for i := range windows {
		w := &windows[i]
		slot := seconds / w.width
		if c.heads[i].Load() != slot {
			c.begin(i, slot)
		}
		c.slots[w.offset+slot%w.slots].Add(1)
	}
}

// begin makes slot valid. A slot a little older than the newest one is valid already (a goroutine was overtaken); one far
// older means that the wall clock was set back: the window starts anew.
func (c *counter) begin(i int, slot int64) {
	w := &windows[i]
	c.rotate.Lock()
	defer c.rotate.Unlock()
	head := c.heads[i].Load()
	if slot <= head && slot > head-w.slots {
		return
	}
	first := head + 1
	if slot-head > w.slots || slot < head {
		first = slot - w.slots + 1
	}
	for s := first; s <= slot; s++ {
		c.slots[w.offset+s%w.slots].Store(0)
	}
	c.heads[i].Store(slot)
}

// sum adds up the slots of a window as seen at now.
func (c *counter) sum(i int, now int64) int64 {
	w := &windows[i]
	slot, head := now/int64(time.Second)/w.width, c.heads[i].Load()
	var n int64
	for s := max(slot, head) - w.slots + 1; s <= min(slot, head); s++ {
		n += int64(c.slots[w.offset+s%w.slots].Load())
	}
	return n
}

// reset makes the windows and the last message forget everything (decision D10); total goes on (runtime.md 12.3).
func (c *counter) reset() {
	c.rotate.Lock()
	defer c.rotate.Unlock()
	for i := range c.slots {
		c.slots[i].Store(0)
	}
	c.last.Store(0)
}

// read renders the counter. Throttling shows in PT1M only while the newest one is less than a minute ago.
func (c *counter) read(now int64, m Metric) Windows {
	out := Windows{PT1M: c.sum(windowMinute, now), PT1H: c.sum(windowHour, now), PT24H: c.sum(windowDay, now)}
	last := c.last.Load()
	if last == 0 {
		return out
	}
	at := Instant(time.Unix(0, last).UTC())
	out.LastMessageAt = &at
	if m == Throttled {
		out.PT1M = 0
		if now-last < int64(time.Minute) {
			out.PT1M = 1
		}
	}
	return out
}
