package monitor

import (
	"sync"
	"time"
)

// Options are the limits of operations.md 8.3 monitoring.logger.*.
type Options struct {
	SuccessCapacity int              // entries per ring, default 10
	FailureCapacity int              // entries per ring, default 10
	MaxLogSizeBytes int              // characters of entry JSON in one answer, default 250000
	LogDuration     time.Duration    // default 24h (D9)
	Now             func() time.Time // nil: time.Now
}

// Registry holds the counters and logs of all connections of a node. They survive close, open and modify, not a restart.
type Registry struct {
	opts  Options
	mu    sync.Mutex
	conns map[string]*Connection
}

// NewRegistry makes an empty registry; zero Options take their defaults.
func NewRegistry(opts Options) *Registry {
	return &Registry{opts: opts, conns: map[string]*Connection{}}
}

// Connection returns the connection's record, made when it is new. typ is the connection type, a label of the metrics.
func (r *Registry) Connection(id, typ string) *Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil {
		c = &Connection{}
		r.conns[id] = c
	}
	return c
}

// Remove forgets a deleted connection.
func (r *Registry) Remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, id)
}

// Connection is the record of one connection on this node.
type Connection struct{}

// Source returns the scope of one source address (as configured; mqtt: addresses joined by ";").
func (c *Connection) Source(address string) *Scope { return &Scope{} }

// Target returns the scope of one configured target address.
func (c *Connection) Target(address string) *Scope { return &Scope{} }

// Responses returns the scope of responses and errors, address "_responses".
func (c *Connection) Responses() *Scope { return &Scope{} }

// Self returns the scope of the connection itself: log category connection, no counters.
func (c *Connection) Self() *Scope { return &Scope{} }

// Scope records one address in one direction.
type Scope struct{}

// Record counts without a log entry. It allocates nothing.
func (s *Scope) Record(m Metric, success bool) {}

// Active reports whether log entries are kept now, so that a caller can skip building one.
func (s *Scope) Active() bool { return false }

// Success counts and, while logging is active, keeps an entry.
func (s *Scope) Success(m Metric, e Entry) {}

// Failure counts and, while logging is active, keeps an entry.
func (s *Scope) Failure(m Metric, e Entry) {}
