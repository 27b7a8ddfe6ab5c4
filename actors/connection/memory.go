package connection

import (
	"time"

	"hawser/messages"
)

// rememberFor is how long a request is not executed again (decision D7).
const rememberFor = 2 * time.Minute

// maxRemembered bounds the memory of an entity; beyond it the oldest answer is forgotten.
const maxRemembered = 10_000

// remembered is a modifying request: in work (run), answered (reply), or known from the journal only (event).
type remembered struct {
	id    string
	at    time.Time // of the answer, or of the event
	run   *run
	event *messages.Event
	reply messages.Reply
}

// rememberedEvent is an event with the request that caused it.
type rememberedEvent struct {
	requestID string
	at        time.Time
	event     messages.Event
}

// requestMemory knows the modifying requests of the last two minutes by request id.
type requestMemory struct {
	byID  map[string]*remembered
	order []*remembered // as they came
}

func newRequestMemory(events []rememberedEvent) requestMemory {
	var m requestMemory
	for _, e := range events {
		m.add(&remembered{id: e.requestID, at: e.at, event: &e.event})
	}
	return m
}

func (m *requestMemory) add(r *remembered) {
	if m.byID == nil {
		m.byID = map[string]*remembered{}
	}
	m.byID[r.id] = r
	m.order = append(m.order, r)
}

// find returns what is known of the command's request, nil when it is new.
func (m *requestMemory) find(c messages.Command, now time.Time) *remembered {
	m.sweep(now)
	if c.RequestID == "" {
		return nil
	}
	return m.byID[c.RequestID]
}

// start notes that r executes its request; nil for a query, which may be executed again.
func (m *requestMemory) start(r *run, now time.Time) *remembered {
	if r.command.RequestID == "" || messages.Spec(r.command.Type).Category == messages.CategoryQuery {
		return nil
	}
	if known := m.byID[r.command.RequestID]; known != nil {
		known.run = r
		return known
	}
	known := &remembered{id: r.command.RequestID, at: now, run: r}
	m.add(known)
	return known
}

// done keeps the answer.
func (m *requestMemory) done(r *run, reply messages.Reply, now time.Time) {
	if r.remembered != nil {
		r.remembered.run, r.remembered.reply, r.remembered.at = nil, reply, now
	}
}

func (m *requestMemory) sweep(now time.Time) {
	n := 0
	for n < len(m.order) && m.order[n].run == nil && (now.Sub(m.order[n].at) > rememberFor || len(m.order)-n > maxRemembered) {
		delete(m.byID, m.order[n].id)
		n++
	}
	if n > 0 {
		m.order = append([]*remembered(nil), m.order[n:]...)
	}
}
