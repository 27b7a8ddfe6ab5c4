package signals

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/mapping"
)

// Endpoint is the signal side of one client of a connection; it implements client.Sink. All methods are safe for
// concurrent use.
type Endpoint struct {
	hub       *Hub
	id        string // of the connection
	client    string // client.Identity
	mappers   *mapping.Set
	sources   []*source
	targets   []*target
	declared  []string // labels that the connection's sources declare
	record    *monitor.Connection
	responses *monitor.Scope
	receiver  *receiver // nil when no target takes relayed signals
	scripts   []*line   // nil when no mapper runs scripts

	publisher atomic.Pointer[publish] // nil while not connected
	leaving   atomic.Int32            // stays, leavesClosed, …
	detached  atomic.Bool             // takes no message any more

	mu          sync.Mutex
	stop        chan struct{} // closed when the present link is gone: ends waits in Consume
	interrupted bool          // stop is closed; the next link makes a new one
}

// publish hands a message to the transport; client.Sink.Connected.
type publish func(m client.Outbound, done func(client.Outcome))

// Why an endpoint leaves. A publish that fails after leavesMoving was not refused by anybody.
const (
	stays int32 = iota
	leavesClosed
	leavesMoving
	leavesNode
)

// newEndpoint compiles a connection. Errors name what does not compile; a validated connection has none.
func newEndpoint(h *Hub, c *messages.Connection, index int, rec *monitor.Connection) (*Endpoint, error) {
	e := &Endpoint{hub: h, id: c.ID, client: client.Identity(c.ID, index), record: rec, responses: rec.Responses(), stop: make(chan struct{})}
	var err error
	if e.mappers, err = mapping.NewSet(c, h.opts.Limits); err != nil {
		return nil, fmt.Errorf("signals: payload mapping of connection %s: %w", c.ID, err)
	}
	for range e.mappers.Runtimes() {
		e.scripts = append(e.scripts, &line{panicked: func(p any) { h.panicked(p, "line", c.ID, "") }})
	}
	for i, s := range c.Sources {
		compiled, err := compileSource(s, c.ID)
		if err != nil {
			return nil, fmt.Errorf("signals: source %d of connection %s: %w", i, c.ID, err)
		}
		for _, address := range sourceAddresses(c.Type, s) {
			compiled.scopes[address] = rec.Source(address)
		}
		e.sources = append(e.sources, compiled)
		for _, label := range compiled.declared {
			e.declared = appendLabel(e.declared, label, c.ID)
		}
	}
	for i, t := range c.Targets {
		compiled, err := compileTarget(i, t, c.ID, rec.Target(t.Address))
		if err != nil {
			return nil, fmt.Errorf("signals: connection %s: %w", c.ID, err)
		}
		e.targets = append(e.targets, compiled)
	}
	return e, nil
}

// Connected implements client.Sink. No message is consumed between Disconnected and it. It returns when what was held is handed to publish, or in line for scripts.
func (e *Endpoint) Connected(p func(m client.Outbound, done func(client.Outcome))) {
	e.mu.Lock()
	if e.interrupted && !e.detached.Load() {
		e.stop, e.interrupted = make(chan struct{}), false
	}
	e.mu.Unlock()
	fn := publish(p)
	e.publisher.Store(&fn)
	if e.receiver != nil {
		e.receiver.connect(e)
	}
}

// AttemptEnded implements client.Sink.
func (e *Endpoint) AttemptEnded() {
	if e.receiver != nil {
		e.receiver.disconnect(e)
	}
}

// Disconnected implements client.Sink. Waits in Consume end, and those messages stay unsettled.
func (e *Endpoint) Disconnected() {
	e.publisher.Store(nil)
	e.interrupt()
	if e.receiver != nil {
		e.receiver.disconnect(e)
	}
}

// Moving says that the client will be stopped and started again, here after a modify or elsewhere: from now on what comes
// for its targets is held, and what they have not accepted is taken back and relayed again after the next Attach (O13).
// Call it before the client closes, else its failed publishes count as refusals.
func (e *Endpoint) Moving() {
	if e.leaving.CompareAndSwap(stays, leavesMoving) && e.receiver != nil {
		e.receiver.expect(e, false)
	}
}

// Detach ends the endpoint; Consume takes no message any more. closed: the connection was closed or deleted, its targets
// refuse (O12). Not closed, or after Moving: see Moving, and Hub.Forget if the connection does not come back.
// Messages of its sources that wait for responses or acknowledgements stay unsettled. Idempotent.
func (e *Endpoint) Detach(closed bool) {
	if !closed {
		e.Moving()
	}
	e.leaving.CompareAndSwap(stays, leavesClosed)
	e.detached.Store(true) // before interrupt: see Consume
	e.publisher.Store(nil)
	e.interrupt()
	for _, l := range e.scripts { // before the next client is attached, which is to get it first
		l.finish()
	}
	e.hub.detach(e)
}

// moves reports whether failures of the client are to be taken back. Past the deadline they are: the next owner may have taken over
// the client's session, and the hub is about to let go of it.
func (e *Endpoint) moves() bool { return e.leaving.Load() >= leavesMoving || !e.hub.cluster.Holds() }

// left reports whether the node let go of the endpoint.
func (e *Endpoint) left() bool { return e.leaving.Load() == leavesNode }

// leave says that the node lets go of the endpoint. Whoever calls it interrupts the endpoint when all others have left, too.
func (e *Endpoint) leave() {
	e.leaving.Store(leavesNode)
	e.detached.Store(true)
}

func (e *Endpoint) interrupt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.interrupted {
		close(e.stop)
		e.interrupted = true
	}
}

// stopped is closed when the present link is gone.
func (e *Endpoint) stopped() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stop
}

// Announce implements client.Sink. done is called exactly once in any case, before Announce returns if there is nothing to
// wait for.
func (e *Endpoint) Announce(kind string, done func()) (wanted bool) {
	var targets []*target
	for _, t := range e.targets {
		if t.subscribes(messages.TopicConnectionAnnouncements) {
			targets = append(targets, t)
		}
	}
	a := &announcement{done: done}
	a.open.Store(1)
	now := time.Now()
	switch {
	case len(targets) == 0:
		a.end()
		return false
	case e.scripts != nil:
		e.scripts[0].doNext(func() { e.announce(kind, targets, now, a) }) // "closed" has little time
	default:
		e.announce(kind, targets, now, a)
	}
	return true
}
