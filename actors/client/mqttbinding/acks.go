package mqttbinding

import "sync"

// acks are the messages of one link that wait to be acknowledged, in the order in which they arrived: acknowledgements
// must leave in that order (bindings.md 4.4), so one that is not settled holds up those behind it.
type acks struct {
	wire *Wire

	mu      sync.Mutex
	pending []*ack
	head    int
}

// ack is one message.
type ack struct {
	kind byte // PUBACK or PUBREC
	id   uint16
	left int // sources that have not settled it
}

// maxPending is the number of packet ids: a broker that sends more without an acknowledgement breaks the protocol.
const maxPending = 65535

// add appends a message that left sources must settle. nil: there are too many.
func (q *acks) add(qos byte, id uint16, left int) *ack {
	a := &ack{kind: TypePuback, id: id, left: left}
	if qos == 2 {
		a.kind = TypePubrec
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending)-q.head >= maxPending {
		return nil
	}
	if q.head > 1024 && q.head > len(q.pending)/2 {
		n := copy(q.pending, q.pending[q.head:])
		clear(q.pending[n:])
		q.pending, q.head = q.pending[:n], 0
	}
	q.pending = append(q.pending, a)
	return a
}

// settle says that one of a's sources is done with it, and acknowledges what is settled at the front.
func (q *acks) settle(a *ack) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.left--; a.left > 0 {
		return
	}
	for q.head < len(q.pending) && q.pending[q.head].left == 0 {
		first := q.pending[q.head]
		q.pending[q.head] = nil
		q.head++
		q.wire.writeAck(first.kind, first.id) // never blocks
	}
	if q.head == len(q.pending) {
		q.pending, q.head = q.pending[:0], 0
	}
}
