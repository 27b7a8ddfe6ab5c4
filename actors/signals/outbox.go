package signals

import "time"

// outbox is the sending side of a link without its I/O: it numbers relays, knows which have no outcome, and says what to
// send again. Frames may be lost, never reordered, so the receiver takes them in order and asks for the rest from a gap on.
type outbox struct {
	base  uint64 // number of entries[0]: the first without outcome
	slots []slot
	bytes int       // of what has no outcome
	asked time.Time // when it was asked last
}

type slot struct {
	relay *relay // nil: has its outcome
	size  int
	at    time.Time // when it was pushed
}

func newOutbox() outbox { return outbox{base: 1} }

// last is the number of the newest frame.
func (o *outbox) last() uint64 { return o.base + uint64(len(o.slots)) - 1 }

// open is the number of frames without outcome.
func (o *outbox) open() (n int) {
	for _, s := range o.slots {
		if s.relay != nil {
			n++
		}
	}
	return n
}

// push numbers a relay.
func (o *outbox) push(rl *relay, size int, now time.Time) (seq uint64) {
	o.slots = append(o.slots, slot{relay: rl, size: size, at: now})
	o.bytes += size
	return o.last()
}

// settle takes the outcome of a frame and returns its relay; nil when it has one already.
func (o *outbox) settle(seq uint64) *relay {
	if seq < o.base || seq > o.last() {
		return nil
	}
	s := &o.slots[seq-o.base]
	rl := s.relay
	if rl == nil {
		return nil
	}
	o.bytes -= s.size
	*s = slot{}
	n := 0
	for n < len(o.slots) && o.slots[n].relay == nil {
		n++
	}
	o.base += uint64(n)
	if n == len(o.slots) {
		o.slots = o.slots[:0]
	} else {
		o.slots = o.slots[n:]
	}
	return rl
}

// from lists what is to be sent again when the receiver lacks everything from seq on; a nil relay is sent as a void frame.
// Before base nothing is missed: the frames say so by their base.
func (o *outbox) from(seq uint64) (first uint64, relays []*relay) {
	first = max(seq, o.base)
	if first > o.last() {
		return first, nil
	}
	for _, s := range o.slots[first-o.base:] {
		relays = append(relays, s.relay)
	}
	return first, relays
}

// ask reports whether it is time to ask: a frame has waited for its outcome since silence, and so long was not asked.
func (o *outbox) ask(now time.Time, silence time.Duration) bool {
	if len(o.slots) == 0 || now.Sub(o.slots[0].at) < silence || now.Sub(o.asked) < silence {
		return false
	}
	o.asked = now
	return true
}

// close ends the link and returns what has no outcome, in order.
func (o *outbox) close() []*relay {
	var left []*relay
	for _, s := range o.slots {
		if s.relay != nil {
			left = append(left, s.relay)
		}
	}
	o.base = o.last() + 1
	o.slots, o.bytes = nil, 0
	return left
}
