package mqttbinding

import "sync"

// flight are the publishes of one link on their way: those that the broker has not acknowledged, and those that wait until
// it has room for them (its receive maximum). They leave in the order of send. Packet ids are given out again as soon as
// they are free; those below firstID are the session's.
type flight struct {
	wire *Wire

	mu      sync.Mutex
	limit   int            // of publishes in the air
	air     int            // publishes of QoS 1 and 2 without acknowledgement
	slots   []*Publication // them, by packet id − firstID
	free    []uint16
	waiting []*Publication
	landed  bool // nothing takes off any more
}

const (
	firstID   = 1024
	maxFlight = 60_000
)

// admit sets how many publishes the broker takes without having acknowledged them.
func (f *flight) admit(limit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = min(limit, maxFlight)
}

// send writes p or lets it wait; false: nothing is sent any more.
func (f *flight) send(p *Publication) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.landed {
		return false
	}
	if len(f.waiting) > 0 || !f.room(p) {
		f.waiting = append(f.waiting, p)
		return true
	}
	return f.takeOff(p)
}

// room says whether p may be written now. The caller holds the lock.
func (f *flight) room(p *Publication) bool { return p.qos == 0 || f.air < f.limit }

// takeOff writes p; false: the wire is broken. The caller holds the lock, so that the order is that of send.
func (f *flight) takeOff(p *Publication) bool {
	if p.qos == 0 {
		return f.wire.writePublish(p, 0)
	}
	slot := uint16(len(f.slots))
	if n := len(f.free); n > 0 {
		slot, f.free = f.free[n-1], f.free[:n-1]
		f.slots[slot] = p
	} else {
		f.slots = append(f.slots, p)
	}
	f.air++
	if !f.wire.writePublish(p, slot+firstID) {
		f.vacate(slot)
		return false
	}
	return true
}

func (f *flight) vacate(slot uint16) {
	f.slots[slot] = nil
	f.free = append(f.free, slot)
	f.air--
}

// land ends the publish with this id, if it waits for such an acknowledgement, and sends those that waited for its place.
func (f *flight) land(id uint16, qos byte) *Publication {
	f.mu.Lock()
	defer f.mu.Unlock()
	slot := int(id) - firstID
	if slot < 0 || slot >= len(f.slots) || f.slots[slot] == nil || f.slots[slot].qos != qos {
		return nil
	}
	p := f.slots[slot]
	f.vacate(uint16(slot))
	for len(f.waiting) > 0 && f.room(f.waiting[0]) && f.takeOff(f.waiting[0]) {
		f.waiting[0] = nil
		f.waiting = f.waiting[1:]
	}
	return p
}

// abandon returns what is left and lets nothing more take off.
func (f *flight) abandon() []*Publication {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landed = true
	var left []*Publication
	for _, p := range f.slots {
		if p != nil {
			left = append(left, p)
		}
	}
	left = append(left, f.waiting...)
	f.slots, f.free, f.waiting = nil, nil, nil
	return left
}
