package signals

import (
	"sync"
	"sync/atomic"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/protocol"
)

// arrivals is one link of another node, at this end.
type arrivals struct {
	links *links
	from  string
	heard atomic.Int64 // when a frame came last, nanoseconds

	mu      sync.Mutex
	box     *inbox
	pending []FrameOutcome // to be sent
	queued  bool           // in links.dirty
}

// arrivalsOf finds or makes the state of a link that f belongs to.
func (ls *links) arrivalsOf(from string, f *Frame) *arrivals {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	list := ls.in[from]
	for _, a := range list {
		if a.box.link == f.Link {
			return a
		}
	}
	a := &arrivals{links: ls, from: from, box: newInbox(f.Link, f.Base)}
	if len(list) >= linksFrom {
		list = append(list[:0:0], list[1:]...)
	}
	ls.in[from] = append(list, a)
	return a
}

// take takes a relay or void frame.
func (a *arrivals) take(f *Frame) {
	a.mu.Lock()
	a.heard.Store(time.Now().UnixNano())
	verdict, known := a.box.take(f.Seq, f.Base)
	expected := a.box.expected
	if verdict == arrivalKnown {
		a.send(known)
	}
	a.mu.Unlock()
	switch {
	case verdict == arrivalGap:
		a.links.hub.cluster.Send(a.from, &Frame{Kind: FrameAgain, Link: f.Link, Seq: expected})
	case verdict != arrivalFresh:
	case f.Kind == FrameVoid:
		a.finish(FrameOutcome{Seq: f.Seq, Fate: FateDone})
	default:
		a.links.counts.arrived.Add(1)
		a.links.hub.arrived(a, f)
	}
}

// silent reports whether nothing came for so long.
func (a *arrivals) silent(d time.Duration) bool {
	return time.Since(time.Unix(0, a.heard.Load())) > d
}

// asked answers what became of frames.
func (a *arrivals) asked(f *Frame) {
	a.mu.Lock()
	a.heard.Store(time.Now().UnixNano())
	known, again := a.box.ask(f.Base, f.Seq)
	expected := a.box.expected
	a.send(known...)
	a.mu.Unlock()
	if again {
		a.links.hub.cluster.Send(a.from, &Frame{Kind: FrameAgain, Link: f.Link, Seq: expected})
	}
}

// finish takes the outcome of a frame.
func (a *arrivals) finish(o FrameOutcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.box.finish(o) {
		a.send(o)
	}
}

// send lets outcomes go out soon. a.mu is held.
func (a *arrivals) send(outcomes ...FrameOutcome) {
	a.pending = append(a.pending, outcomes...)
	if a.queued || len(a.pending) == 0 {
		return
	}
	a.queued = true
	ls := a.links
	ls.mu.Lock()
	ls.dirty = append(ls.dirty, a)
	ls.mu.Unlock()
	ls.poke()
}

// poke wakes run.
func (ls *links) poke() {
	select {
	case ls.wake <- struct{}{}:
	default:
	}
}

// arrived relays a frame to the client that is here, or says that it is not.
func (h *Hub) arrived(a *arrivals, f *Frame) {
	answer := func(fate FrameFate) { a.finish(FrameOutcome{Seq: f.Seq, Fate: fate}) }
	kind, err := f.Envelope.Kind()
	if err != nil || streamingTypes[kind] == "" {
		h.log.Error("another node relayed what cannot be relayed", "connection_id", f.Target, "error", err)
		answer(FateDone)
		return
	}
	now := time.Now()
	s := &Signal{
		Envelope: f.Envelope, Kind: kind, Origin: f.Origin, Subjects: f.Subjects, topic: streamingTypes[kind],
		readers: f.Readers, everyone: f.Everyone, trace: traceOf(f.Envelope), now: now, acks: ackRequest{Labels: f.Labels},
	}
	s.EntityID, s.sender.correlation = s.trace.entityID, s.trace.correlation
	s.hold = h.timers.deadline(now.Add(max(f.Wait, time.Millisecond)))
	s.until = s.hold
	switch {
	case h.arrive(a, f, s):
	case !h.serves(f.Target):
		answer(FateMoved)
	case !h.arrive(a, f, s): // looked for once more: it was perhaps claimed since the first look
		answer(FateDone)
	}
}

// arrive takes a frame in if the client is here; false: it is not known here.
func (h *Hub) arrive(a *arrivals, f *Frame, s *Signal) bool {
	h.mu.Lock()
	r := h.receivers[f.Target]
	h.mu.Unlock()
	if r == nil {
		return false
	}
	rl := newRelay(s, r)
	rl.arrival = &arrival{from: a, seq: f.Seq}
	if f.Asked {
		s.request = rl.arrival
	}
	switch verdict, e := r.arrive(rl); verdict {
	case admitted:
		e.deliver(rl)
		rl.wait()
	case waits:
		rl.wait()
	case refused:
		rl.finish(outcomeDone)
	default:
		return false
	}
	return true
}

// serves reports whether a client that the hub does not know is none because its connection is not open, not because it is not
// here. That a client with a number is not here may only say that the connection has fewer by now.
func (h *Hub) serves(identity string) bool {
	id, index := client.ParseIdentity(identity)
	return index == 0 && h.cluster.Serves(id)
}

// arrival is where the outcome of a relay from another node goes; it gathers acknowledgements for it.
type arrival struct {
	from *arrivals
	seq  uint64

	mu   sync.Mutex
	acks []protocol.Ack
}

// finish answers the frame.
func (a *arrival) finish(o outcome) {
	a.mu.Lock()
	acks := a.acks
	a.mu.Unlock()
	fate := FateDone
	switch o {
	case outcomeExpired:
		fate = FateExpired
	case outcomeMoved:
		fate, acks = FateMoved, nil
	}
	a.from.finish(FrameOutcome{Seq: a.seq, Fate: fate, Acks: acks})
}

// acknowledge implements answers.
func (a *arrival) acknowledge(ack protocol.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acks = append(a.acks, ack)
}

// weak implements answers.
func (a *arrival) weak(label string) { a.acknowledge(weakAck(label)) }

// issued implements answers.
func (a *arrival) issued(label string, status int, failure error) {
	a.acknowledge(issuedAck(label, status, failure))
}

// broadcast hands a response or acknowledgement that nobody here waits for to the other nodes: one of them may.
func (h *Hub) broadcast(s *Signal) {
	peers := h.cluster.Peers()
	if len(peers) == 0 {
		return
	}
	f := &Frame{Kind: FrameAnswer, Origin: s.Origin, Envelope: s.Envelope}
	for _, p := range peers {
		h.cluster.Send(p.Address, f)
	}
}

// answered hands an answer that came in at another node to the request that waits for it here.
func (rs *requests) answered(f *Frame) {
	kind, err := f.Envelope.Kind()
	if err != nil {
		return
	}
	s := &Signal{Envelope: f.Envelope, Kind: kind, Origin: f.Origin, trace: traceOf(f.Envelope), now: time.Now()}
	s.EntityID, s.sender.correlation = s.trace.entityID, f.Envelope.Headers[messages.HeaderCorrelationID]
	r := rs.find(s.EntityID, s.sender.correlation)
	if r == nil {
		return
	}
	if kind == protocol.Acknowledgement || kind == protocol.Acknowledgements {
		acks, err := f.Envelope.Acks()
		if err != nil {
			return
		}
		for _, a := range acks {
			r.acknowledge(a)
		}
		return
	}
	r.answer(s)
}
