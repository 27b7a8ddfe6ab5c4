package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// link is one TCP link of an MQTT client.
type link struct {
	client string
	remote netip.AddrPort
	up     func() bool // whether the client's side is up at this instant
	began  time.Time   // CONNECT read
	acked  time.Time   // CONNACK sent; zero: never
	ended  time.Time   // zero: still there

	after    []*link       // earlier links of the client that the node has closed but that the tap still has to close
	finished chan struct{} // closed when the tap has closed both sides
}

// overlap is a CONNECT of a client whose earlier link was up.
type overlap struct {
	client   string
	at       time.Time
	old, new netip.AddrPort
	oldNode  int       // 0: not known
	newNode  int       // 0: not known
	cause    condition // of the old link's node at that instant: well, frozen or severed
	age      time.Duration
}

// observer keeps the links of all clients and finds overlaps. It is the broker's side of "one client at one time", and of "no
// more clients than clientCount".
type observer struct {
	shapes shapes
	// who tells a link's node and that node's condition now; expensive is true when a link must be identified, whatever it costs.
	who func(remote netip.AddrPort, expensive bool) (node int, c condition)
	now func() time.Time

	mu        sync.Mutex
	links     map[string][]*link  // by client, oldest first; ended ones too
	clients   map[string][]string // by connection: the client ids that it has ever had
	overlaps  []overlap
	strangers []string // client ids that no connection may have
}

func newObserver(s shapes, who func(netip.AddrPort, bool) (int, condition)) *observer {
	return &observer{shapes: s, who: who, now: time.Now, links: map[string][]*link{}, clients: map[string][]string{}}
}

// connecting notes a CONNECT. Links of the client that are up at this instant make it an overlap, one for each, unless its own
// link is over already: then it was read late, after what came later.
func (o *observer) connecting(client string, remote netip.AddrPort, up func() bool) *link {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := &link{client: client, remote: remote, up: up, began: o.now(), finished: make(chan struct{})}
	late := !up()
	for _, old := range o.links[client] {
		switch {
		case late:
		case !old.up():
			l.after = append(l.after, old)
		case old.ended.IsZero():
			oldNode, cause := o.who(old.remote, true)
			newNode, _ := o.who(remote, true)
			o.overlaps = append(o.overlaps, overlap{client: client, at: l.began, old: old.remote, new: remote,
				oldNode: oldNode, newNode: newNode, cause: cause, age: l.began.Sub(old.began)})
		}
	}
	o.links[client] = append(o.links[client], l)
	o.meet(client)
	return l
}

// meet notes the id of a client. o.mu is held.
func (o *observer) meet(client string) {
	connection := owner(client)
	known := o.clients[connection]
	if slices.Contains(known, client) {
		return
	}
	if wrong := o.shapes.stranger(client, known); wrong != "" {
		o.strangers = append(o.strangers, fmt.Sprintf("%s: CONNECT of %s: %s", connection, client, wrong))
	}
	o.clients[connection] = append(known, client)
}

func (o *observer) connected(l *link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.acked = o.now()
}

// ended notes the end of a link; the first call counts.
func (o *observer) ended(l *link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.ended.IsZero() {
		l.ended = o.now()
	}
}

// taken returns the overlaps and the strangers since the last call.
func (o *observer) taken() (overlaps []overlap, strangers []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	overlaps, strangers = o.overlaps, o.strangers
	o.overlaps, o.strangers = nil, nil
	return overlaps, strangers
}

// clientsOf are the client ids that a connection has had.
func (o *observer) clientsOf(connection string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.clients[connection])
}

// forget drops the links that ended before t.
func (o *observer) forget(t time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for client, links := range o.links {
		kept := links[:0]
		for _, l := range links {
			if l.ended.IsZero() || l.ended.After(t) {
				kept = append(kept, l)
			}
		}
		if len(kept) == 0 {
			delete(o.links, client)
			continue
		}
		o.links[client] = kept
	}
}

// incomplete returns those of connections of which fewer clients are up than so many nodes can run.
func (o *observer) incomplete(connections []string, nodes int) (missing []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, connection := range connections {
		n := 0
		for _, client := range o.clients[connection] {
			if o.isUp(client) {
				n++
			}
		}
		if n < min(o.shapes.count(connection), nodes) {
			missing = append(missing, connection)
		}
	}
	return missing
}

// from returns those of clients whose link that is up comes from a node.
func (o *observer) from(node int, clients []string) (out []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, client := range clients {
		for _, l := range o.links[client] {
			if !l.ended.IsZero() {
				continue
			}
			if index, _ := o.who(l.remote, true); index == node {
				out = append(out, client)
				break
			}
		}
	}
	return out
}

// up returns the clients with a link that is up whose connection's id begins with prefix.
func (o *observer) up(prefix string) (clients []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for client := range o.links {
		if strings.HasPrefix(client, prefix) && o.isUp(client) {
			clients = append(clients, client)
		}
	}
	slices.Sort(clients)
	return clients
}

// isUp reports whether a client has a link that is up and acknowledged. o.mu is held.
func (o *observer) isUp(client string) bool {
	return slices.ContainsFunc(o.links[client], func(l *link) bool { return !l.acked.IsZero() && l.ended.IsZero() })
}

// reopened is how long after t0 a client was up again: 0 when the link of that moment lasted or, not being up then, none
// was needed before the round ended; never is true when it was lost and nothing followed. A link that was acknowledged
// before t0 and was replaced is counted until its replacement.
func (o *observer) reopened(client string, t0 time.Time) (after time.Duration, moved, never bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var before *link
	for _, l := range o.links[client] {
		if !l.acked.IsZero() && !l.acked.After(t0) && (l.ended.IsZero() || l.ended.After(t0)) {
			before = l
		}
	}
	if before != nil && before.ended.IsZero() && before.up() {
		return 0, false, false
	}
	for _, l := range o.links[client] {
		if l != before && l.acked.After(t0) {
			return l.acked.Sub(t0), true, false
		}
	}
	return 0, true, true
}

// gaps are the times since t0 during which a client that had been up was not, and whether it is up now.
func (o *observer) gaps(client string, t0 time.Time) (gaps []time.Duration, up bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var last *link
	for _, l := range o.links[client] {
		if l.acked.IsZero() {
			continue
		}
		if last != nil && !last.ended.IsZero() && last.ended.After(t0) {
			gaps = append(gaps, max(0, l.acked.Sub(last.ended)))
		}
		last = l
	}
	return gaps, last != nil && last.ended.IsZero()
}
