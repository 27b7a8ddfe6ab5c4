package signals

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hawser/actors/monitor"
)

// The times of links (design.md 6.1).
const (
	linkTick      = 100 * time.Millisecond // how often deadlines are looked at
	linkSilence   = 5 * time.Second        // a frame without outcome for so long is asked for
	longestProbe  = 2 * time.Second        // between questions after the way to a node broke
	linkForgotten = 5 * time.Minute        // of an address that is no member's: what came from there
	longestRetry  = 1600 * time.Millisecond
	// longestDeferral is how long a connection at a new place waits for what is still at the one before.
	longestDeferral = 2 * time.Second
	// linkBytes is the most that a link has without outcome before sources wait.
	linkBytes = 64 << 20
	// linksFrom bounds the links of one address that are remembered: those of nodes that died are never closed.
	linksFrom = 4
)

// links are the ways to and from the other nodes.
type links struct {
	hub *Hub

	// placing is held while it is decided where a connection is and while what was held goes there.
	placing sync.Mutex

	mu      sync.Mutex
	out     map[uint64]*link // by link id
	to      map[string]*link // by member
	in      map[string][]*arrivals
	dirty   []*arrivals // have outcomes to send
	retries map[*receiver]time.Time
	changed bool     // members or owners have changed
	broken  []string // addresses whose way broke

	wake chan struct{} // capacity 1
	quit chan struct{}
	done chan struct{}
	once sync.Once

	counts linkCounts
}

// linkCounts are counters for the collector.
type linkCounts struct{ sent, arrived, resent, returned, dropped atomic.Int64 }

func newLinks(h *Hub) *links {
	return &links{
		hub: h, out: map[uint64]*link{}, to: map[string]*link{}, in: map[string][]*arrivals{}, retries: map[*receiver]time.Time{},
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// link is the way to one peer, with what is on it. It carries relays like the endpoint of a connection that is here.
type link struct {
	hub   *Hub
	id    uint64
	peer  Peer
	bytes atomic.Int64 // without outcome

	mu     sync.Mutex
	out    outbox
	closed bool
	probe  time.Time // when to ask because the way broke; zero: it did not
	pause  time.Duration
}

// deliver implements carrier: it sends the relay on its way. It does not block.
func (l *link) deliver(rl *relay) {
	if rl.arrival != nil { // what another node sent here is not passed on: that node looks again
		rl.finish(outcomeMoved)
		return
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		rl.receiver.takeBack(rl, l)
		l.hub.links.retry(rl.receiver, 0)
		return
	}
	rl.receiver.onWay.Add(1)
	seq := l.out.push(rl, rl.signal.size(), time.Now())
	l.bytes.Store(int64(l.out.bytes))
	l.hub.cluster.Send(l.peer.Address, relayFrame(rl, l.id, seq, l.out.base))
	l.mu.Unlock()
	l.hub.links.counts.sent.Add(1)
}

// missed implements carrier. The connection's own counters are at its node.
func (l *link) missed(_ *relay, m monitor.Metric, _ string) {
	if m == monitor.Dropped {
		l.hub.links.counts.dropped.Add(1)
	}
}

func (l *link) full() bool { return l.bytes.Load() >= int64(l.hub.opts.LinkBytes) }

// outcomes takes what became of frames.
func (l *link) outcomes(list []FrameOutcome) {
	type settled struct {
		relay *relay
		FrameOutcome
	}
	relays := make([]settled, 0, len(list))
	l.mu.Lock()
	l.probe = time.Time{}
	for _, o := range list {
		if rl := l.out.settle(o.Seq); rl != nil {
			rl.receiver.onWay.Add(-1)
			relays = append(relays, settled{rl, o})
		}
	}
	wasFull := l.full()
	l.bytes.Store(int64(l.out.bytes))
	l.mu.Unlock()
	if wasFull && !l.full() {
		l.hub.wakeSources(l)
	}
	var moved []*receiver
	for _, s := range relays {
		if s.Fate != FateMoved {
			s.relay.answered(s.FrameOutcome)
			continue
		}
		r := s.relay.receiver
		if r.takeBack(s.relay, l) {
			l.hub.links.counts.returned.Add(1)
			if !slices.Contains(moved, r) {
				moved = append(moved, r)
			}
		}
	}
	for _, r := range moved {
		l.hub.lookAgain(r, l.peer)
	}
}

// again sends what the peer lacks.
func (l *link) again(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probe = time.Time{}
	first, relays := l.out.from(seq)
	for i, rl := range relays {
		n := first + uint64(i)
		f := &Frame{Kind: FrameVoid, Link: l.id, Seq: n, Base: l.out.base}
		if rl != nil {
			f = relayFrame(rl, l.id, n, l.out.base)
		}
		l.hub.cluster.Send(l.peer.Address, f)
	}
	l.hub.links.counts.resent.Add(int64(len(relays)))
}

// broken says that the way to the peer broke: frames may be lost.
func (l *link) broken(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probe, l.pause = now, linkTick
}

// tick asks what became of frames when that is due.
func (l *link) tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := l.out.ask(now, linkSilence)
	if !l.probe.IsZero() && !now.Before(l.probe) {
		l.probe = now.Add(l.pause)
		l.pause = min(2*l.pause, longestProbe)
		due = len(l.out.slots) > 0
		if !due {
			l.probe = time.Time{}
		}
	}
	if due {
		l.hub.cluster.Send(l.peer.Address, &Frame{Kind: FrameAsk, Link: l.id, Base: l.out.base, Seq: l.out.last()})
	}
}

// close ends the link and returns what was on it, in order.
func (l *link) close() []*relay {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.bytes.Store(0)
	left := l.out.close()
	for _, rl := range left {
		rl.receiver.onWay.Add(-1)
	}
	return left
}

// linkTo is the link to a peer.
func (ls *links) linkTo(p Peer) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.to[p.ID]
	if l == nil {
		l = &link{hub: ls.hub, id: rand.Uint64(), peer: p, out: newOutbox()}
		ls.to[p.ID], ls.out[l.id] = l, l
	}
	return l
}

func (ls *links) link(id uint64) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.out[id]
}

// retry looks for the place of a receiver after a while.
func (ls *links) retry(r *receiver, after time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.retries[r] = time.Now().Add(after)
}

// outcomesAtOnce bounds the outcomes in one frame.
const outcomesAtOnce = 1000

func (ls *links) flush() {
	ls.mu.Lock()
	dirty, changed, broken := ls.dirty, ls.changed, ls.broken
	ls.dirty, ls.changed, ls.broken = nil, false, nil
	ls.mu.Unlock()
	for _, address := range broken {
		ls.broke(address)
	}
	if changed {
		ls.hub.changed()
	}
	for _, a := range dirty {
		a.mu.Lock()
		pending := a.pending
		a.pending, a.queued = nil, false
		a.mu.Unlock()
		for len(pending) > 0 {
			n := min(len(pending), outcomesAtOnce)
			ls.hub.cluster.Send(a.from, &Frame{Kind: FrameFates, Link: a.box.link, Outcomes: pending[:n:n]})
			pending = pending[n:]
		}
	}
}

// run sends outcomes in batches and looks at deadlines, until close.
func (ls *links) run() {
	defer close(ls.done)
	ticker := time.NewTicker(linkTick)
	defer ticker.Stop()
	for {
		select {
		case <-ls.quit:
			return
		case <-ls.wake:
			ls.flush()
		case now := <-ticker.C:
			ls.tick(now)
		}
	}
}

func (ls *links) tick(now time.Time) {
	var due []*receiver
	ls.mu.Lock()
	open := make([]*link, 0, len(ls.to))
	for _, l := range ls.to {
		open = append(open, l)
	}
	for r, at := range ls.retries {
		if !now.Before(at) {
			due = append(due, r)
			delete(ls.retries, r)
		}
	}
	ls.mu.Unlock()
	for _, l := range open {
		l.tick(now)
	}
	for _, r := range due {
		ls.hub.place(r)
	}
}

// leave forgets all links, for the caller to close.
func (ls *links) leave() []*link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	left := make([]*link, 0, len(ls.to))
	for _, l := range ls.to {
		left = append(left, l)
	}
	clear(ls.to)
	clear(ls.out)
	clear(ls.retries)
	return left
}

func (ls *links) close() {
	ls.once.Do(func() {
		close(ls.quit)
		<-ls.done
	})
}

// Receive takes a frame of the node at an address; frames of one node come in the order in which they were sent. It does not
// block.
func (h *Hub) Receive(from string, f *Frame) {
	defer func() {
		if p := recover(); p != nil { // a frame of another version must not take the node down
			h.panicked(p, "receive", f.Target, "")
		}
	}()
	switch f.Kind {
	case FrameRelay, FrameVoid:
		h.links.arrivalsOf(from, f).take(f)
	case FrameAsk:
		h.links.arrivalsOf(from, f).asked(f)
	case FrameFates:
		if l := h.links.link(f.Link); l != nil {
			l.outcomes(f.Outcomes)
		}
	case FrameAgain:
		if l := h.links.link(f.Link); l != nil {
			l.again(f.Seq)
		}
	case FrameAnswer:
		h.requests.answered(f)
	}
}

// Disconnected says that the way to an address broke: what was on it may be lost. It is opened again by the next frame.
func (h *Hub) Disconnected(address string) {
	h.links.mu.Lock()
	h.links.broken = append(h.links.broken, address)
	h.links.mu.Unlock()
	h.links.poke()
}

// broke asks what became of what was on the way to an address, and sends again what was on the way back.
func (ls *links) broke(address string) {
	now := time.Now()
	ls.mu.Lock()
	var broken []*link
	for _, l := range ls.to {
		if l.peer.Address == address {
			broken = append(broken, l)
		}
	}
	from := ls.in[address]
	ls.mu.Unlock()
	for _, l := range broken {
		l.broken(now)
	}
	for _, a := range from {
		a.mu.Lock()
		a.send(a.box.known()...)
		a.mu.Unlock()
	}
}

// Changed says that members or owners of shards have changed: what is on its way to who is gone is taken back, and what is
// held goes to who is there now. It does not wait for that.
func (h *Hub) Changed() {
	h.links.mu.Lock()
	h.links.changed = true
	h.links.mu.Unlock()
	h.links.poke()
}

func (h *Hub) changed() {
	live, addresses := map[string]bool{}, map[string]bool{}
	for _, p := range h.cluster.Peers() {
		live[p.ID], addresses[p.Address] = true, true
	}
	var lost []*link
	h.links.placing.Lock() // else who has looked before the change could make such a link anew
	h.links.mu.Lock()
	for id, l := range h.links.to {
		if !live[id] {
			lost = append(lost, l)
			delete(h.links.to, id)
			delete(h.links.out, l.id)
		}
	}
	for address, list := range h.links.in {
		if !addresses[address] && list[len(list)-1].silent(linkForgotten) {
			delete(h.links.in, address)
		}
	}
	h.links.mu.Unlock()
	h.links.placing.Unlock()
	for _, l := range lost {
		h.lost(l)
	}
	h.mu.Lock()
	all := make([]*receiver, 0, len(h.receivers))
	for _, r := range h.receivers {
		all = append(all, r)
	}
	h.mu.Unlock()
	for _, r := range all {
		h.place(r)
	}
}

// lost takes back what was on its way to a member that is gone.
func (h *Hub) lost(l *link) {
	relays := l.close()
	for _, rl := range relays {
		if rl.receiver.takeBack(rl, l) {
			h.links.counts.returned.Add(1)
		}
	}
	h.wakeSources(l)
}

// wakeSources lets sources look again that wait for room on a link.
func (h *Hub) wakeSources(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.receivers {
		r.mu.Lock()
		if r.link == l {
			r.wakeNext()
		}
		r.mu.Unlock()
	}
}

// place makes the receiver relay to where its connection is now; what it holds goes there.
func (h *Hub) place(r *receiver) {
	if held, over := r.surrender(); over {
		inherit(held)
		return
	}
	h.links.placing.Lock()
	defer h.links.placing.Unlock()
	peer, where := h.cluster.Owner(r.id)
	if where == Elsewhere {
		if !r.place(h.links.linkTo(peer)) {
			h.links.retry(r, 0)
		}
	} else {
		r.place(nil)
	}
}

// lookAgain finds the new place of a receiver whose connection is not at the peer. When nobody knows better, the owner has
// just claimed it and is asked again after a while.
func (h *Hub) lookAgain(r *receiver, at Peer) {
	if peer, where := h.cluster.Owner(r.id); where != Elsewhere || peer != at {
		h.place(r)
		return
	}
	h.links.retry(r, r.backOff())
}
