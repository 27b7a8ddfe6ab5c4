package signals

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hawser/actors/monitor"
)

// receiver is the target side of one client of a connection: it takes relays for the client that is there, or passes them to
// the node where it is, holds them for one that is expected, and bounds how many are without outcome.
type receiver struct {
	id         string // client.Identity of connection and index
	audience   *audience
	connection string
	index      int
	hub        *Hub
	// onWay counts relays that are on a link, without outcome.
	onWay atomic.Int32

	mu       sync.Mutex
	endpoint *Endpoint // nil while the client is only expected, and when it is at another node
	link     *link     // to that node
	left     bool      // gone because the node lets go of everything
	state    receiverState
	used     int    // relays without outcome (O17)
	seq      uint64 // of the newest relay
	held     []*relay
	waiting  []*waiter // sources that wait for room, first come first served
	pause    time.Duration
	paused   time.Time // when the owner was last found not to have the connection
	deferred time.Time // since when place waits for what is on the way to the place before
}

// carrier takes relays to where the client is: its Endpoint, or the link to its node.
type carrier interface {
	deliver(rl *relay)
	// missed counts a signal that did not get to the filters.
	missed(rl *relay, m monitor.Metric, text string)
}

// carrier is where relays go; nil while the client is only expected. r.mu is held.
func (r *receiver) carrier() carrier {
	switch {
	case r.link != nil:
		return r.link
	case r.endpoint != nil:
		return r.endpoint
	default:
		return nil
	}
}

// receiverState says what happens to a relay that comes now.
type receiverState uint8

const (
	holding   receiverState = iota // the client is expected, or its first connect attempt runs (O13)
	flushing                       // connected; what was held goes out first, who comes waits for that (O16)
	connected                      // passed on
	down                           // refused: the broker is away (O-1, O13)
	gone                           // refused: closed or forgotten
)

// waiter is a source that waits for room. ready has capacity 1.
type waiter struct{ ready chan struct{} }

// admission says what to do with a relay after admit.
type admission uint8

const (
	admitted    admission = iota // deliver it now
	waits                        // held; it goes on by itself
	refused                      // the part of this receiver is done
	overflown                    // no room, and the source does not wait
	timedOut                     // no room within the hold time
	abandoned                    // the source left while it waited
	unconcerned                  // not for this connection
	superseded                   // the client is no more: another one gets the signal
)

// admit takes a relay in, in the order of calls from one source. With settlement it waits for room until the relay's
// deadline, the source leaves or the hub closes.
func (r *receiver) admit(rl *relay) (admission, carrier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := rl.signal
	switch {
	case r.over():
		return superseded, nil
	case (r.state == holding || r.link != nil) && !r.audience.interest.Load().takes(s.topic, s.Envelope.Topic.Namespace, s.readers, s.everyone):
		return unconcerned, nil
	}
	if r.state < down && (len(r.waiting) > 0 || !r.room()) {
		if s.collector == nil && r.state != flushing {
			return overflown, r.carrier()
		}
		if verdict := r.waitForRoom(rl); verdict != admitted {
			return verdict, r.carrier()
		}
	}
	switch {
	case r.over(): // it waited meanwhile
		return superseded, nil
	case r.state >= down:
		return refused, nil
	}
	r.used++
	r.seq++
	rl.seq = r.seq
	if r.state == holding {
		r.held = append(r.held, rl)
		return waits, nil
	}
	return admitted, r.carrier()
}

// arrive takes in a relay that another node sent, in the order of its link; the window is at that node. unconcerned: the
// connection is not here.
func (r *receiver) arrive(rl *relay) (admission, *Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.link != nil, r.state == gone:
		return unconcerned, nil
	case r.state == down:
		return refused, nil
	case r.over():
		return unconcerned, nil
	case r.endpoint == nil:
		if _, where := r.hub.cluster.Owner(r.id); where != Here {
			return unconcerned, nil
		}
	}
	r.seq++
	rl.seq = r.seq
	if r.state != connected {
		r.held = append(r.held, rl)
		return waits, nil
	}
	return admitted, r.endpoint
}

func (r *receiver) room() bool {
	return r.state != flushing && r.used < r.hub.opts.Window && (r.link == nil || !r.link.full())
}

// waitForRoom returns admitted when it is the caller's turn. r.mu is held, but not while it waits.
func (r *receiver) waitForRoom(rl *relay) admission {
	w := &waiter{ready: make(chan struct{}, 1)}
	r.waiting = append(r.waiting, w)
	defer func() {
		r.waiting = slices.DeleteFunc(r.waiting, func(x *waiter) bool { return x == w })
		r.wakeNext()
	}()
	limit := time.NewTimer(time.Until(r.hub.timers.start.Add(time.Duration(rl.deadline))))
	defer limit.Stop()
	for {
		r.mu.Unlock()
		verdict := admitted
		select {
		case <-w.ready:
		case <-rl.signal.stop:
			verdict = abandoned
		case <-limit.C:
			verdict = timedOut
		}
		r.mu.Lock()
		if verdict != admitted || r.state >= down || r.over() || r.waiting[0] == w && r.room() {
			return verdict
		}
	}
}

// wakeNext wakes the first waiter if it can go on. r.mu is held.
func (r *receiver) wakeNext() {
	if len(r.waiting) > 0 && (r.room() || r.state >= down || r.over()) {
		select {
		case r.waiting[0].ready <- struct{}{}:
		default:
		}
	}
}

// release gives a relay's slot back.
func (r *receiver) release() {
	r.mu.Lock()
	r.used--
	r.wakeNext()
	r.mu.Unlock()
}

// hold takes back a relay whose client moves, at its old place in the order.
func (r *receiver) hold(rl *relay) {
	r.mu.Lock()
	switch {
	case r.left, r.state == gone && rl.endpoint.left():
		r.mu.Unlock()
		rl.finish(outcomeMoved)
	case r.over():
		r.mu.Unlock()
		inherit([]*relay{rl})
	case r.state >= down:
		r.mu.Unlock()
		rl.finish(outcomeDone)
	case r.state == connected && (r.link != nil || r.endpoint != rl.endpoint): // the next client is up already
		c := r.carrier()
		r.mu.Unlock()
		c.deliver(rl)
	default:
		r.insert(rl)
	}
}

// insert holds a relay at its place in the order. r.mu is held, and released.
func (r *receiver) insert(rl *relay) {
	if rl.finished.Load() { // expired meanwhile
		r.mu.Unlock()
		return
	}
	i, _ := slices.BinarySearchFunc(r.held, rl.seq, func(h *relay, seq uint64) int {
		if h.seq < seq {
			return -1
		}
		return 1
	})
	r.held = slices.Insert(r.held, i, rl)
	r.mu.Unlock()
	rl.wait()
	if rl.finished.Load() {
		r.drop(rl)
	}
}

// takeBack takes a relay back from a link whose peer does not have the connection: false if nobody wants it any more.
func (r *receiver) takeBack(rl *relay, l *link) bool {
	r.mu.Lock()
	switch {
	case r.left:
		r.mu.Unlock()
		rl.finish(outcomeMoved)
	case r.over():
		r.mu.Unlock()
		inherit([]*relay{rl})
	case r.state >= down:
		r.mu.Unlock()
		rl.finish(outcomeDone)
	case r.state == connected && r.link != l: // it has moved on already
		c := r.carrier()
		r.mu.Unlock()
		c.deliver(rl)
		return true
	default:
		if r.link == l {
			r.link, r.state = nil, holding
		}
		r.insert(rl)
		return true
	}
	return false
}

// backOff is how long to wait before the owner is tried again that did not have the connection.
func (r *receiver) backOff() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.paused) > 4*longestRetry {
		r.pause = linkTick
	}
	r.paused = now
	pause := r.pause
	r.pause = min(2*pause, longestRetry)
	return pause
}

// place passes what is held, and what comes, to the node at the other end of a link; nil: it is held for a client that is
// to be attached here, or as long as nobody knows where that will be. A client that is here stays. So that the order is kept
// (O16), what was sent to the place before comes back first, unless that takes too long: false, call it again.
func (r *receiver) place(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoint != nil || r.state == gone || l != nil && l == r.link {
		return true
	}
	now := time.Now()
	if l != nil && r.onWay.Load() > 0 && (r.deferred.IsZero() || now.Sub(r.deferred) < longestDeferral) {
		if r.deferred.IsZero() {
			r.deferred = now
		}
		r.link, r.state = nil, holding
		return false
	}
	r.link, r.deferred = l, time.Time{}
	if l == nil {
		r.state = holding
		return true
	}
	r.flush(l)
	return true
}

// drop removes a held relay and returns the endpoint for which it was held, if that is there.
func (r *receiver) drop(rl *relay) *Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.held, rl)
	if i < 0 {
		return nil
	}
	r.held = slices.Delete(r.held, i, i+1)
	return r.endpoint
}

// connect lets out what was held, in order, then passes on.
func (r *receiver) connect(e *Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoint != e || e.moves() {
		return
	}
	r.flush(e)
}

// flush lets out what is held until nothing is left. r.mu is held, but not while it delivers.
func (r *receiver) flush(to carrier) {
	r.state = flushing
	for r.state == flushing && r.carrier() == to {
		batch := r.held
		r.held = nil
		if len(batch) == 0 {
			r.state = connected
			r.wakeNext()
			return
		}
		r.mu.Unlock()
		for _, rl := range batch {
			if !rl.finished.Load() {
				to.deliver(rl)
			}
		}
		r.mu.Lock()
	}
}

// disconnect turns away what is held and what comes, until the client connects again.
func (r *receiver) disconnect(e *Endpoint) {
	r.mu.Lock()
	if r.endpoint != e || r.state == gone || e.moves() {
		r.mu.Unlock()
		return
	}
	held := r.end(down)
	r.mu.Unlock()
	finish(held, outcomeDone)
}

// close turns everything away for good and returns what was held, for finish. leaving: the node lets go of everything.
func (r *receiver) close(leaving bool) []*relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = leaving
	return r.end(gone)
}

// end goes to a state that refuses and returns what was held. r.mu is held.
func (r *receiver) end(state receiverState) []*relay {
	r.state = state
	held := r.held
	r.held = nil
	r.wakeNext()
	return held
}

// finish ends relays; no lock may be held, because messages are settled.
func finish(held []*relay, o outcome) {
	for _, rl := range held {
		rl.finish(o)
	}
}

// attach makes e the client that relays are held for.
func (r *receiver) attach(e *Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoint, r.link, r.state = e, nil, holding
}

// belongsTo reports whether e is the client that is there; nil: none is.
func (r *receiver) belongsTo(e *Endpoint) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoint == e
}

// expect holds what comes for the client after e; e itself may still be there. detached: it is not.
func (r *receiver) expect(e *Endpoint, detached bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoint != e || r.state == gone {
		return
	}
	r.state = holding
	if detached {
		r.endpoint = nil
	}
	r.wakeNext()
}
