package monitor

import (
	"sync"
	"sync/atomic"
	"time"
)

// Options are the limits of operations.md 8.3 monitoring.logger.*.
type Options struct {
	SuccessCapacity int              // entries per ring, default 10
	FailureCapacity int              // entries per ring, default 10
	MaxLogSizeBytes int              // characters of entry JSON in one answer, default 250000
	LogDuration     time.Duration    // default 24h (D9)
	Publisher       *Publisher       // gets every entry, too; nil: nobody does
	Now             func() time.Time // nil: time.Now
}

// Registry holds the counters and logs of all connections of a node. They survive close, open and modify, not a restart.
// It is a prometheus.Collector.
type Registry struct {
	opts  Options
	mu    sync.Mutex
	conns map[string]*Connection
}

// NewRegistry makes an empty registry; zero Options take their defaults.
func NewRegistry(opts Options) *Registry {
	if opts.SuccessCapacity <= 0 {
		opts.SuccessCapacity = 10
	}
	if opts.FailureCapacity <= 0 {
		opts.FailureCapacity = 10
	}
	if opts.MaxLogSizeBytes <= 0 {
		opts.MaxLogSizeBytes = 250_000
	}
	if opts.LogDuration <= 0 {
		opts.LogDuration = 24 * time.Hour
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Registry{opts: opts, conns: map[string]*Connection{}}
}

func (r *Registry) nanos() int64 { return r.opts.Now().UnixNano() }

// Connection returns the connection's record, made when it is new. typ is the connection type, a label of the metrics; a
// record that exists takes the new one (a modify may change it).
func (r *Registry) Connection(id, typ string) *Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil {
		c = &Connection{registry: r, id: id}
		r.conns[id] = c
	}
	if old := c.typ.Load(); old == nil || *old != typ {
		c.typ.Store(&typ)
	}
	return c
}

// Remove forgets a deleted connection.
func (r *Registry) Remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, id)
}

func (r *Registry) connections() []*Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Connection, 0, len(r.conns))
	for _, c := range r.conns {
		all = append(all, c)
	}
	return all
}

// Connection is the record of one connection on this node.
type Connection struct {
	registry *Registry
	id       string
	typ      atomic.Pointer[string]

	unsettled atomic.Int32
	timers    atomic.Pointer[map[timed]*timer] // replaced, under mu, when one is added

	mu        sync.Mutex
	clients   map[int]gauges // of those that run on this node, by number; while they move there may be two
	sources   map[string]*Scope
	targets   map[string]*Scope
	responses *Scope
	self      *Scope

	logs logs
}

// Source returns the scope of one source address (as configured; mqtt: addresses joined by ";").
func (c *Connection) Source(address string) *Scope {
	return c.scope(&c.sources, categorySource, address)
}

// Target returns the scope of one configured target address.
func (c *Connection) Target(address string) *Scope {
	return c.scope(&c.targets, categoryTarget, address)
}

func (c *Connection) scope(m *map[string]*Scope, cat category, address string) *Scope {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := (*m)[address]
	if s == nil {
		s = &Scope{conn: c, category: cat, address: address}
		if *m == nil {
			*m = map[string]*Scope{}
		}
		(*m)[address] = s
	}
	return s
}

// Responses returns the scope of responses and errors, address "_responses".
func (c *Connection) Responses() *Scope {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.responses == nil {
		c.responses = &Scope{conn: c, category: categoryResponse, address: ResponsesAddress}
	}
	return c.responses
}

// Self returns the scope of the connection itself: log category connection, no counters.
func (c *Connection) Self() *Scope {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.self == nil {
		c.self = &Scope{conn: c, category: categoryConnection}
	}
	return c.self
}

// gauges are the values of connection_client and connecting_client.
type gauges struct{ connected, connecting int }

// SetRunning says that client number index of the connection was started or stopped. The Prometheus series of the connection
// exist only while one runs (operations.md 9).
func (c *Connection) SetRunning(index int, running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if running {
		if c.clients == nil {
			c.clients = map[int]gauges{}
		}
		c.clients[index] = gauges{}
		return
	}
	delete(c.clients, index)
	if len(c.clients) == 0 {
		c.timers.Store(nil)
	}
}

// SetClient says whether client number index, which runs, is connected or connecting: the gauges connection_client and
// connecting_client count those of this node.
func (c *Connection) SetClient(index int, connected, connecting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, runs := c.clients[index]; !runs {
		return
	}
	var g gauges
	if connected {
		g.connected = 1
	}
	if connecting {
		g.connecting = 1
	}
	c.clients[index] = g
}

// gauges adds up the clients; runs is false when there is none.
func (c *Connection) gauges() (sum gauges, runs bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.clients {
		sum.connected, sum.connecting = sum.connected+g.connected, sum.connecting+g.connecting
	}
	return sum, len(c.clients) > 0
}

// all returns the scopes that count, in two groups.
func (c *Connection) all() (inbound, outbound []*Scope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sources {
		inbound = append(inbound, s)
	}
	for _, s := range c.targets {
		outbound = append(outbound, s)
	}
	if c.responses != nil {
		outbound = append(outbound, c.responses)
	}
	return inbound, outbound
}
