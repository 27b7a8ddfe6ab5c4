package signals

import (
	"maps"
	"slices"
	"sync/atomic"

	"hawser/actors/client"
)

// A connection with clientCount n has up to n clients, one on a node, and a receiver for each. Every signal goes to exactly
// one of them: by hash of the entity id, so that the signals of one entity stay in order (contract runtime.md 6.2).

// audience is what a hub knows of the target side of one connection: what it takes, and a receiver for each of its clients,
// wherever they run.
type audience struct {
	hub        *Hub
	connection string
	members    map[int]*receiver // by number, under Hub.mu; also such as the connection has no more, while they are attached
	// What signals meet. It is replaced as a whole, so that each signal finds as many receivers as it counts clients.
	interest atomic.Pointer[interest]
	clients  atomic.Pointer[[]*receiver]
}

// audience finds or makes that of a connection. h.mu is held.
func (h *Hub) audience(connection string) *audience {
	a := h.audiences[connection]
	if a == nil {
		a = &audience{hub: h, connection: connection, members: map[int]*receiver{}}
		a.interest.Store(&interest{})
		a.clients.Store(&[]*receiver{})
		h.audiences[connection] = a
	}
	return a
}

// shape makes the audience what wanted says. It returns the receivers that are new, to be placed, and what was held for clients
// that are no more, for inherit. h.mu is held.
func (h *Hub) shape(a *audience, wanted interest) (fresh []*receiver, held []*relay) {
	clients := make([]*receiver, wanted.clients())
	for index := range clients {
		if clients[index] = a.members[index]; clients[index] == nil {
			clients[index] = h.addReceiver(a, index)
			fresh = append(fresh, clients[index])
		}
	}
	a.clients.Store(&clients)
	h.subscribe(a, wanted)
	for index, r := range maps.Clone(a.members) {
		if index >= len(clients) && r.belongsTo(nil) {
			held = append(held, h.removeReceiver(r, false)...)
		}
	}
	return fresh, held
}

// tidy forgets an audience of which nothing is left. h.mu is held.
func (h *Hub) tidy(a *audience) {
	if len(a.members) == 0 && h.audiences[a.connection] == a {
		delete(h.audiences, a.connection)
	}
}

// addReceiver makes a receiver that holds. h.mu is held.
func (h *Hub) addReceiver(a *audience, index int) *receiver {
	r := &receiver{id: client.Identity(a.connection, index), audience: a, connection: a.connection, index: index, hub: h}
	h.receivers[r.id], a.members[index] = r, r
	return r
}

// removeReceiver takes r out and returns what it holds, for inherit or finish. h.mu is held.
func (h *Hub) removeReceiver(r *receiver, leaving bool) []*relay {
	delete(h.receivers, r.id)
	delete(r.audience.members, r.index)
	return r.close(leaving)
}

// subscribe makes wanted the interest of a. h.mu is held.
func (h *Hub) subscribe(a *audience, wanted interest) {
	before, after := a.interest.Load().subscriptions(), wanted.subscriptions()
	a.interest.Store(&wanted)
	for sub := range after {
		if _, had := before[sub]; !had {
			h.table.Store(sub, append(slices.Clip(h.subscribers(sub)), a))
		}
	}
	for sub := range before {
		if _, has := after[sub]; has {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(h.subscribers(sub)), func(x *audience) bool { return x == a })
		if len(rest) == 0 {
			h.table.Delete(sub)
		} else {
			h.table.Store(sub, rest)
		}
	}
}

// subscribers are the audiences under one key; the slice must not be changed.
func (h *Hub) subscribers(sub subscription) []*audience {
	list, ok := h.table.Load(sub)
	if !ok {
		return nil
	}
	return list.([]*audience)
}

// lists reports whether the connection has the client of r, as far as is known.
func (a *audience) lists(r *receiver) bool { return r.index < len(*a.clients.Load()) }

// pick is the receiver that gets the signals of an entity now; nil: the connection takes nothing.
func (a *audience) pick(entityID string) *receiver {
	clients := *a.clients.Load()
	switch len(clients) {
	case 0:
		return nil
	case 1:
		return clients[0]
	default:
		return clients[choice(entityID, a.hub.running(len(clients)))]
	}
}

// running is how many of so many clients run: no node runs two.
func (h *Hub) running(clients int) int { return max(min(clients, h.cluster.Nodes()), 1) }

// choice is the number of the client, of n, that gets the signals of an entity: FNV-1a of its id.
func choice(entityID string, n int) int {
	hash := uint32(2166136261)
	for i := range len(entityID) {
		hash = (hash ^ uint32(entityID[i])) * 16777619
	}
	return int(hash % uint32(n))
}

// over reports whether the client of r is no more, so that its signals are another one's: the connection has fewer, or the
// cluster has fewer nodes than it has clients. r.mu is held.
func (r *receiver) over() bool {
	if r.state == gone {
		return !r.left
	}
	return r.index > 0 && r.endpoint == nil && r.state == holding && r.index >= r.hub.running(len(*r.audience.clients.Load()))
}

// surrender gives up what is held, if the client of r is no more.
func (r *receiver) surrender() (held []*relay, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over() {
		return nil, false
	}
	held = r.held
	r.held = nil
	r.wakeNext()
	return held, true
}

// inherit gives relays of clients that are no more to those that get the signals of their entities now. No lock may be held.
func inherit(held []*relay) {
	for _, rl := range held {
		for !rl.finished.Load() && !rl.passOn() {
		}
	}
}

// passOn is one attempt: false if the heir is no more, either. What came from another node goes back there, to be passed on; what
// nobody gets is done: the connection is closed or has no targets.
func (rl *relay) passOn() bool {
	heir := rl.receiver.audience.pick(rl.signal.EntityID)
	switch {
	case rl.arrival != nil && (heir != nil || rl.receiver.index > 0):
		rl.finish(outcomeMoved)
	case heir == nil:
		rl.finish(outcomeDone)
	default:
		next := newRelay(rl.signal, heir)
		next.parent = rl
		return heir.adopt(next)
	}
	return true
}

// adopt takes over a relay of another client of the connection, behind what is here; the window is the other one's. False: this
// client is no more either.
func (r *receiver) adopt(rl *relay) bool {
	r.mu.Lock()
	switch {
	case r.over():
		r.mu.Unlock()
		return false
	case r.left:
		r.mu.Unlock()
		rl.finish(outcomeMoved)
		return true
	case r.state >= down:
		r.mu.Unlock()
		rl.finish(outcomeDone)
		return true
	}
	r.seq++
	rl.seq = r.seq
	if r.state == connected {
		c := r.carrier()
		r.mu.Unlock()
		c.deliver(rl)
	} else {
		r.held = append(r.held, rl)
		r.mu.Unlock()
	}
	rl.wait()
	return true
}
