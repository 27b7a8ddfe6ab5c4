package mqtt

import (
	"errors"
	"sync"

	"hawser/actors/client"
	"hawser/messages"
)

// publication is a publish on its way to the broker.
type publication struct {
	topic  string
	qos    byte
	retain bool
	text   string // the payload, or else
	bytes  []byte
	done   func(client.Outcome)
}

var (
	errFull   = errors.New("the publish queue is full")
	errHeader = errors.New("a header mqtt.qos or mqtt.retain has no valid value")
	errSize   = errors.New("the message is larger than MQTT allows")
)

// newPublication applies the headers that override topic and QoS of the target (bindings.md 4.5).
func newPublication(m *client.Outbound, done func(client.Outcome)) (*publication, error) {
	p := &publication{topic: m.Address, qos: byte(m.QoS), bytes: m.Bytes, done: done}
	if m.HasText {
		p.text, p.bytes = m.Text, nil
	}
	if len(m.Headers) > 0 {
		if err := p.configure(m.Headers); err != nil {
			return p, err
		}
	}
	if p.size()+len(p.topic)+4 > maxLength {
		return p, errSize
	}
	return p, checkTopic(p.topic)
}

func (p *publication) configure(h messages.Headers) error {
	if topic, ok := h["mqtt.topic"]; ok {
		p.topic = topic
	}
	if qos, ok := h["mqtt.qos"]; ok {
		if len(qos) != 1 || qos < "0" || qos > "2" {
			return errHeader
		}
		p.qos = qos[0] - '0'
	}
	switch retain, ok := h["mqtt.retain"]; {
	case !ok, retain == "false":
	case retain == "true":
		p.retain = true
	default:
		return errHeader
	}
	return nil
}

func (p *publication) size() int { return len(p.text) + len(p.bytes) }

// append renders the PUBLISH packet.
func (p *publication) append(dst []byte, id uint16) []byte {
	first := byte(typePublish<<4) | p.qos<<1
	if p.retain {
		first |= 1
	}
	length := 2 + len(p.topic) + p.size()
	if p.qos > 0 {
		length += 2
	}
	dst = append(dst, first)
	for ; length >= 0x80; length >>= 7 {
		dst = append(dst, byte(length)|0x80)
	}
	dst = append(dst, byte(length), byte(len(p.topic)>>8), byte(len(p.topic)))
	dst = append(dst, p.topic...)
	if p.qos > 0 {
		dst = append(dst, byte(id>>8), byte(id))
	}
	dst = append(dst, p.text...)
	return append(dst, p.bytes...)
}

// flight are the publishes of QoS 1 and 2 that the broker has not acknowledged. Packet ids are given out again as soon as
// they are free; those below firstID are left to paho.
type flight struct {
	mu     sync.Mutex
	slots  []*publication // by packet id − firstID
	free   []uint16
	landed bool // nothing takes off any more
}

const (
	firstID   = 1024
	maxFlight = 60_000
)

// takeOff gives p a packet id; false: no longer.
func (f *flight) takeOff(p *publication) (id uint16, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.landed {
		return 0, false
	}
	if n := len(f.free); n > 0 {
		id, f.free = f.free[n-1], f.free[:n-1]
		f.slots[id] = p
		return id + firstID, true
	}
	f.slots = append(f.slots, p)
	return uint16(len(f.slots)-1) + firstID, true
}

// land ends the publish with this id, if it waits for such an acknowledgement.
func (f *flight) land(id uint16, qos byte) *publication {
	f.mu.Lock()
	defer f.mu.Unlock()
	slot := int(id) - firstID
	if slot < 0 || slot >= len(f.slots) || f.slots[slot] == nil || f.slots[slot].qos != qos {
		return nil
	}
	p := f.slots[slot]
	f.slots[slot] = nil
	f.free = append(f.free, uint16(slot))
	return p
}

// abandon returns what is left and lets nothing more take off.
func (f *flight) abandon() []*publication {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landed = true
	var left []*publication
	for _, p := range f.slots {
		if p != nil {
			left = append(left, p)
		}
	}
	f.slots, f.free = nil, nil
	return left
}
