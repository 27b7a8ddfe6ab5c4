package signals

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
)

// relay carries one signal to one receiver: one expected acknowledgement of the broker message (decision O11), one slot of
// the receiver's window (O17), one frame of a link (design.md 6.1).
type relay struct {
	signal   *Signal
	receiver *receiver
	seq      uint64 // order of admission to the receiver
	deadline int64
	timer    timer
	finished atomic.Bool
	arrival  *arrival // of a relay that came from another node: where its outcome goes
	parent   *relay   // of one that took over from a client which does not run any more: whose outcome this is

	// What follows belongs to the delivery that runs; a relay that is held is not being delivered.
	endpoint *Endpoint
	open     atomic.Int32 // publishes without outcome, one more while deliver runs
	again    atomic.Bool  // a publish failed because the client moves: hold and relay again
	busy     atomic.Bool  // a mapper had no time for it

	mu           sync.Mutex
	publications []*publication
	first        publication
	firstSlot    [1]*publication
}

// outcome is what becomes of a relay.
type outcome uint8

const (
	outcomeDone    outcome = iota // accepted or refused: the part of this receiver is done (O11)
	outcomeExpired                // the hold time is over (O14)
	outcomeMoved                  // this node lets go of it; nothing is settled (O15)
)

// publication is one publish of a relay.
type publication struct {
	relay    *relay
	target   *target
	trace    trace
	finished atomic.Bool
}

func newRelay(s *Signal, r *receiver) *relay {
	rl := &relay{signal: s, receiver: r, deadline: s.hold}
	rl.timer.owner = rl
	return rl
}

// finish ends the relay once.
func (rl *relay) finish(o outcome) {
	if rl.finished.Swap(true) {
		return
	}
	rl.receiver.hub.timers.stop(&rl.timer)
	if rl.arrival != nil { // its window is at the other node
		rl.arrival.finish(o)
		return
	}
	if rl.parent != nil { // which has a slot in a window and a part in a collector
		rl.parent.finish(o)
		return
	}
	rl.receiver.release()
	c := rl.signal.collector
	if c == nil {
		return
	}
	switch o {
	case outcomeDone:
		c.part(client.Settle)
	case outcomeExpired:
		c.part(client.RejectRedeliver)
	default:
		c.abandon()
	}
}

// answered takes the outcome that the node of the target has sent.
func (rl *relay) answered(o FrameOutcome) {
	if request := rl.signal.request; request != nil && !rl.finished.Load() {
		for _, a := range o.Acks {
			if a.Label == protocol.LabelLiveResponse {
				request.issued(a.Label, a.Status, nil)
			} else {
				request.acknowledge(a)
			}
		}
	}
	if o.Fate == FateExpired {
		rl.finish(outcomeExpired)
	} else {
		rl.finish(outcomeDone)
	}
}

// wait starts the hold time of a relay that has no outcome yet.
func (rl *relay) wait() {
	if !rl.finished.Load() {
		rl.receiver.hub.timers.set(&rl.timer, rl.deadline)
	}
}

// expire is the end of the hold time: each target without outcome has failed (O14).
func (rl *relay) expire() {
	held := rl.receiver.drop(rl)
	rl.mu.Lock()
	publications := rl.publications
	rl.mu.Unlock()
	if rl.finished.Load() {
		return
	}
	for _, p := range publications {
		if !p.finished.Swap(true) {
			p.trace.note(p.target.scope, monitor.Published, false, "The target did not accept the signal within the hold time.")
		}
	}
	if held != nil {
		held.missed(rl, monitor.Published, "The target did not become ready within the hold time.")
	}
	rl.finish(outcomeExpired)
}

// begin starts a delivery by endpoint.
func (rl *relay) begin(e *Endpoint) {
	rl.endpoint = e
	rl.again.Store(false)
	rl.busy.Store(false)
	rl.open.Store(1)
	rl.mu.Lock()
	if rl.publications == nil {
		rl.publications = rl.firstSlot[:0]
	} else { // expire may still walk over those of the delivery before
		rl.publications = make([]*publication, 0, 1)
	}
	rl.mu.Unlock()
}

// sent notes a publish that is about to happen and returns what takes its outcome.
func (rl *relay) sent(t *target, tr trace) func(client.Outcome) {
	p := &rl.first
	rl.mu.Lock()
	if len(rl.publications) > 0 || p.relay != nil {
		p = &publication{}
	}
	p.relay, p.target, p.trace = rl, t, tr
	rl.publications = append(rl.publications, p)
	rl.mu.Unlock()
	rl.open.Add(1)
	return p.done
}

// end ends a publish, or the delivery itself.
func (rl *relay) end() {
	if rl.open.Add(-1) > 0 {
		return
	}
	switch {
	case rl.again.Load():
		rl.receiver.hold(rl)
	case rl.busy.Load(): // its hold time is about over
		rl.finish(outcomeExpired)
	default:
		rl.finish(outcomeDone)
	}
}

// untried implements tracker. A client that moves has the signal relayed again (O13), one that is not connected any more refuses it.
func (rl *relay) untried(err error) {
	switch {
	case rl.endpoint.moves():
		rl.again.Store(true)
	case errors.Is(err, mapping.ErrBusy):
		rl.busy.Store(true)
	}
}

// done takes the outcome of a publish. A failure of a client that moves is none: it is relayed again (O13).
func (p *publication) done(o client.Outcome) {
	if p.finished.Swap(true) {
		return
	}
	rl := p.relay
	if o.Err != nil && rl.endpoint.moves() {
		rl.again.Store(true)
		rl.end()
		return
	}
	text := ""
	if o.Err != nil {
		text = "Could not publish the signal: " + o.Err.Error()
	}
	p.trace.note(p.target.scope, monitor.Published, o.Err == nil, text)
	if label := p.target.issuedLabel; rl.signal.wants(label) {
		status := o.Status
		if status == 0 {
			status = http.StatusOK
			if o.Err != nil {
				status = http.StatusInternalServerError
			}
		}
		p.trace.note(p.target.scope, monitor.Acknowledged, status < 400, "")
		rl.signal.request.issued(label, status, o.Err)
	}
	rl.end()
}
