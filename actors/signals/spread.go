package signals

import "hawser/actors/client"

// A connection with clientCount n has up to n clients, one on a node, and a receiver for each. Every signal goes to exactly
// one of them: by hash of the entity id, so that the signals of one entity stay in order (contract runtime.md 6.2).

// chosen reports whether the signals of an entity are this receiver's.
func (r *receiver) chosen(entityID string) bool {
	of := r.of.Load()
	return of <= 1 && r.index == 0 || of > 1 && choice(entityID, r.hub.running(of)) == r.index
}

// running is how many of a connection's clients run: no node runs two.
func (h *Hub) running(of int32) int { return max(min(int(of), h.cluster.Nodes()), 1) }

// choice is the number of the client, of n, that gets the signals of an entity: FNV-1a of its id.
func choice(entityID string, n int) int {
	hash := uint32(2166136261)
	for i := range len(entityID) {
		hash = (hash ^ uint32(entityID[i])) * 16777619
	}
	return int(hash % uint32(n))
}

// passOn gives what is held for a client that does not run any more to those that do: there are fewer nodes, or the
// connection has fewer clients. What came from another node goes back there, to be passed on. links.placing is held.
func (h *Hub) passOn(r *receiver) {
	for _, rl := range r.surrender() {
		if rl.finished.Load() {
			continue
		}
		if rl.arrival != nil {
			rl.finish(outcomeMoved)
			continue
		}
		heir := h.heir(r.connection, rl.signal.EntityID)
		if heir == nil {
			rl.finish(outcomeDone) // the connection has no targets any more
			continue
		}
		next := newRelay(rl.signal, heir)
		next.parent = rl
		heir.adopt(next)
	}
}

// heir is the receiver of a connection that gets the signals of an entity now; nil if there is none.
func (h *Hub) heir(connection, entityID string) *receiver {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.receivers[connection]
	if first == nil {
		return nil
	}
	return h.receivers[client.Identity(connection, choice(entityID, h.running(first.of.Load())))]
}
