package monitor

import (
	"sync"
	"sync/atomic"
)

// category is the category of a scope's log entries (piggyback.md 4.15).
type category uint8

const (
	categorySource category = iota
	categoryTarget
	categoryResponse
	categoryConnection
)

var categoryNames = [...]string{"source", "target", "response", "connection"}

// ResponsesAddress is the address under which responses and errors are counted and logged.
const ResponsesAddress = "_responses"

// Scope records one address in one direction. Counters are allocated when they first count, log rings when they first log.
type Scope struct {
	conn     *Connection
	category category
	address  string // "" for the connection itself

	alloc    sync.Mutex
	counters [numMetrics][2]atomic.Pointer[counter] // [metric][failure, success]

	rings *[numMetrics][2]ring // guarded by conn.logs.mu
}

// Record counts without a log entry. It allocates nothing but the counter itself, once.
func (s *Scope) Record(m Metric, success bool) { s.record(m, success, s.conn.registry.nanos()) }

func (s *Scope) record(m Metric, success bool, now int64) {
	if s.category == categoryConnection {
		return
	}
	c := s.counters[m][outcome(success)].Load()
	if c == nil {
		c = s.counter(m, outcome(success))
	}
	if m == Throttled {
		c.addMinute(now)
		return
	}
	c.add(now)
}

func (s *Scope) counter(m Metric, outcome int) *counter {
	s.alloc.Lock()
	defer s.alloc.Unlock()
	c := s.counters[m][outcome].Load()
	if c == nil {
		c = &counter{}
		s.counters[m][outcome].Store(c)
	}
	return c
}

func outcome(success bool) int {
	if success {
		return 1
	}
	return 0
}

// Active reports whether log entries are kept or published now, so that a caller can skip building one.
func (s *Scope) Active() bool {
	return s.conn.logs.active.Load() || s.conn.registry.opts.Publisher != nil
}

// Success counts and, while logging is active, keeps an entry; a Publisher gets it in any case.
func (s *Scope) Success(m Metric, e Entry) { s.keep(m, true, e) }

// Failure counts and, while logging is active, keeps an entry; a Publisher gets it in any case.
func (s *Scope) Failure(m Metric, e Entry) { s.keep(m, false, e) }

func (s *Scope) keep(m Metric, success bool, e Entry) {
	now := s.conn.registry.nanos()
	s.record(m, success, now)
	if s.conn.logs.active.Load() {
		s.conn.logs.add(s, m, success, now, e)
	}
	if p := s.conn.registry.opts.Publisher; p != nil && p.wants(success) {
		p.publish(&located{kept: kept{at: now, entry: e}, scope: s, metric: m, success: success})
	}
}
