package signals

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
	"hawser/persistence"
)

var errNotConnected = errors.New("the client is not connected")

// Options of a Hub. Zero values take the defaults of the contract.
type Options struct {
	Authorizer Authorizer     // nil: SharedSubject
	Enricher   Enricher       // nil: NotAccessible
	Router     Router         // nil: live relay, all else refused (runtime.md 14)
	Cluster    Cluster        // nil: there are no other nodes
	Limits     mapping.Limits // zero: mapping.DefaultLimits
	Log        *slog.Logger   // nil: slog.Default
	// Hold is how long a broker message waits for its targets (O14), default 65 s. A shorter one loses messages when a
	// connection takes longer to move.
	Hold time.Duration
	// Window is how many relays one receiver takes without outcome (O17), default 256.
	Window int
	// LinkBytes is how much may be on its way to another node without outcome before sources wait, default 64 MiB.
	LinkBytes int
	// AcknowledgementTimeout is acknowledgement.forwarder-fallback-timeout, default 65 s: the longest wait for acknowledgements.
	AcknowledgementTimeout time.Duration
	// ResponseTimeout is how long a response is waited for when the request does not say, default 60 s.
	ResponseTimeout time.Duration
	// CollectorLifetime is connection.acknowledgement.collector-fallback-lifetime, default 100 s.
	CollectorLifetime time.Duration
}

func (o Options) withDefaults() Options {
	if o.Authorizer == nil {
		o.Authorizer = SharedSubject{}
	}
	if o.Enricher == nil {
		o.Enricher = NotAccessible{}
	}
	if o.Limits == (mapping.Limits{}) {
		o.Limits = mapping.DefaultLimits
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.LinkBytes <= 0 {
		o.LinkBytes = linkBytes
	}
	if o.Window <= 0 {
		o.Window = 256
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.Hold, 65 * time.Second}, {&o.AcknowledgementTimeout, 65 * time.Second},
		{&o.ResponseTimeout, 60 * time.Second}, {&o.CollectorLifetime, 100 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return o
}

// Hub connects the endpoints of one node: it knows which receivers a signal may concern and which requests wait for answers.
type Hub struct {
	opts     Options
	log      *slog.Logger
	router   Router
	timers   *timers
	requests *requests
	cluster  Cluster
	links    *links

	// table is read on every signal: subscription → []*audience, copied on write.
	table sync.Map

	mu        sync.Mutex
	away      bool                 // since Leave, until Return
	receivers map[string]*receiver // by client.Identity
	audiences map[string]*audience // by connection
	endpoints map[*Endpoint]struct{}
	labels    map[string]string   // acknowledgement label → connection that declares or issues it
	labelsOf  map[string][]string // connection → labels
}

// NewHub makes a hub; its goroutines, one for timers and with a Cluster one for links, run until Close.
func NewHub(o Options) *Hub {
	h := &Hub{
		opts: o.withDefaults(), timers: newTimers(), receivers: map[string]*receiver{}, audiences: map[string]*audience{}, endpoints: map[*Endpoint]struct{}{},
		labels: map[string]string{}, labelsOf: map[string][]string{},
	}
	h.log, h.router = h.opts.Log, h.opts.Router
	if h.cluster = h.opts.Cluster; h.cluster == nil {
		h.cluster = alone{}
	}
	h.links = newLinks(h)
	if h.opts.Cluster == nil {
		close(h.links.done)
	} else {
		go h.links.run()
	}
	h.requests = &requests{hub: h, open: map[requestKey]*request{}}
	if h.router == nil {
		h.router = standalone{h}
	}
	return h
}

// Attach makes the endpoint of client number index of a connection, which is about to connect. What was held for it stays held
// until its first connect attempt has ended. An endpoint of the same client that is still attached loses its targets to this
// one. Client 0 decides how many there are. Between Leave and Return the endpoint has left already: it takes no message, because
// nobody here knows for whom it may be. The error says what of the connection does not compile.
func (h *Hub) Attach(c *messages.Connection, index int, rec *monitor.Connection) (*Endpoint, error) {
	e, err := newEndpoint(h, c, index, rec)
	if err != nil {
		return nil, err
	}
	wanted := interestOf(c)
	var fresh []*receiver
	var held []*relay
	h.mu.Lock()
	if h.away {
		h.mu.Unlock()
		e.leave()
		e.interrupt()
		return e, nil
	}
	h.endpoints[e] = struct{}{}
	h.declare(c.ID, wanted.Labels)
	a := h.audience(c.ID)
	if index == 0 {
		fresh, held = h.shape(a, wanted)
	}
	r := h.receivers[e.client]
	switch {
	case index < wanted.clients():
		if r == nil {
			r = h.addReceiver(a, index)
		}
		e.receiver = r
		r.attach(e)
	case r != nil && !a.lists(r): // a modify took the targets away
		held = append(held, h.removeReceiver(r, false)...)
	}
	h.tidy(a)
	h.mu.Unlock()
	h.settle(fresh, held)
	return e, nil
}

// Expect says of which connections client number index will be attached here: signals for it are held (O13) until its first
// connect attempt after Attach has ended, Forget, or the hold time is over. Clients that are attached are not touched.
func (h *Hub) Expect(index int, rows []persistence.IndexRow) {
	for _, row := range rows {
		wanted, err := parseInterest(row.Interest)
		if err != nil {
			h.log.Error("the index holds no readable interest", "connection_id", row.ID, "error", err)
			continue
		}
		h.mu.Lock()
		r := h.receivers[client.Identity(row.ID, index)]
		attached := r != nil && !r.belongsTo(nil)
		h.mu.Unlock()
		if !attached {
			h.learn(row.ID, wanted)
		}
	}
}

// Learn says what an open connection takes, as Interest has rendered it. Attach knows better where client 0 is attached, and
// where it is served so does Expect.
func (h *Hub) Learn(id string, raw json.RawMessage) {
	wanted, err := parseInterest(raw)
	if err != nil {
		h.log.Error("the interest of a connection cannot be read", "connection_id", id, "error", err)
		return
	}
	if h.cluster.Serves(id) {
		h.mu.Lock()
		known := h.audiences[id] != nil
		h.mu.Unlock()
		if !known {
			return
		}
	}
	h.learn(id, wanted)
}

// learn takes over what is known of a connection, unless client 0 is attached here, and looks where its clients are.
func (h *Hub) learn(id string, wanted interest) {
	h.mu.Lock()
	if r := h.receivers[id]; h.away || r != nil && !r.belongsTo(nil) {
		h.mu.Unlock()
		return
	}
	a := h.audience(id)
	h.declare(id, wanted.Labels)
	_, held := h.shape(a, wanted)
	all := *a.clients.Load()
	h.tidy(a)
	h.mu.Unlock()
	h.settle(all, held)
}

// settle has receivers look where their clients are, and gives relays of clients that are no more to others.
func (h *Hub) settle(receivers []*receiver, held []*relay) {
	for _, r := range receivers {
		h.place(r)
	}
	inherit(held)
}

// Forget says that a connection will not be attached here: what was held for it is refused. If its client 0 is attached it stays as
// it is.
func (h *Hub) Forget(id string) {
	var held []*relay
	h.mu.Lock()
	if r := h.receivers[id]; r == nil || r.belongsTo(nil) {
		if a := h.audiences[id]; a != nil {
			_, held = h.shape(a, interest{})
			h.tidy(a)
		}
		h.undeclare(id)
	}
	h.mu.Unlock()
	inherit(held)
}

// Leave lets go of everything: the node drains or lost its lease. Endpoints take no message any more, and no message is
// settled by what happens to its targets from now on; announcements still go out. Call it before clients are closed or
// sockets cut, else a publish that fails for that reason would settle its message. It lasts until Return: what is attached or
// learned meanwhile, by who does not know yet, has left as well.
func (h *Hub) Leave() {
	var held []*relay
	h.mu.Lock()
	h.away = true
	endpoints := h.endpoints
	h.endpoints = map[*Endpoint]struct{}{}
	for e := range endpoints { // all of them before the first target goes
		e.leave()
	}
	for _, a := range h.audiences {
		h.subscribe(a, interest{})
	}
	for _, r := range h.receivers {
		held = append(held, h.removeReceiver(r, true)...)
	}
	clear(h.audiences)
	links := h.links.leave()
	clear(h.labels)
	clear(h.labelsOf)
	h.mu.Unlock()
	finish(held, outcomeMoved)
	for _, l := range links {
		finish(l.close(), outcomeMoved)
	}
	for e := range endpoints {
		e.interrupt()
	}
	h.requests.abandon(nil)
}

// Return ends Leave: the node has a lease again. What its sources need to know of the targets is to be learned before they are
// attached.
func (h *Hub) Return() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = false
}

// Close leaves and ends the hub's goroutines. Idempotent.
func (h *Hub) Close() {
	h.Leave()
	h.links.close()
	h.timers.close()
}

// detach takes an endpoint out. That of client 0 says whether the connection is closed; after any other one somebody follows, or
// Forget says that nobody does.
func (h *Hub) detach(e *Endpoint) {
	var held []*relay
	var moved []*receiver
	h.mu.Lock()
	if _, attached := h.endpoints[e]; attached {
		delete(h.endpoints, e)
		if r := e.receiver; r != nil && h.receivers[e.client] == r && r.belongsTo(e) {
			r.expect(e, true)
			switch {
			case r.index == 0 && !e.moves():
				_, held = h.shape(r.audience, interest{})
			case r.audience.lists(r):
				moved = append(moved, r)
			default: // the connection has fewer clients by now
				held = h.removeReceiver(r, false)
			}
			h.tidy(r.audience)
		}
		h.undeclare(e.id)
	}
	h.mu.Unlock()
	h.settle(moved, held)
	h.requests.abandon(e)
}

func (h *Hub) hasEndpoint(id string) bool {
	for e := range h.endpoints {
		if e.id == id {
			return true
		}
	}
	return false
}

// panicked logs a bug in the data plane. The value of a panic may hold part of a message, so it stays out of the log.
func (h *Hub) panicked(p any, where, connectionID, correlationID string) {
	h.log.Error("panic in the data plane", "where", where, "connection_id", connectionID, "correlation_id", correlationID,
		"panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
}

// deadlines sets how long a signal may take.
func (h *Hub) deadlines(s *Signal) {
	hold := h.opts.Hold
	if s.acks.HasTimeout && s.acks.Timeout > 0 && s.acks.Timeout < hold { // 0 means that nothing is waited for, not that nothing may take time
		hold = s.acks.Timeout
	}
	s.until = h.timers.deadline(s.now.Add(h.opts.CollectorLifetime))
	s.hold = min(h.timers.deadline(s.now.Add(hold)), s.until)
}

// declare makes labels those that connection id declares or issues. h.mu is held.
func (h *Hub) declare(id string, labels []string) {
	for _, label := range h.labelsOf[id] {
		if h.labels[label] == id {
			delete(h.labels, label)
		}
	}
	delete(h.labelsOf, id)
	if len(labels) > 0 {
		h.labelsOf[id] = labels
		for _, label := range labels {
			h.labels[label] = id
		}
	}
}

// undeclare forgets the labels of a connection of which no client is known. h.mu is held.
func (h *Hub) undeclare(id string) {
	if h.audiences[id] == nil && !h.hasEndpoint(id) {
		h.declare(id, nil)
	}
}

// declaredBy returns the connection that an acknowledgement label comes from.
func (h *Hub) declaredBy(label string) (id string, ok bool) {
	if label == protocol.LabelLiveResponse {
		return "", false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok = h.labels[label]
	return id, ok
}
