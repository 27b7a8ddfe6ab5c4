package connection

import (
	"encoding/json"
	"net/http"
	"slices"
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
	reply answered
}

// answered is an answer that may be asked for again. It is kept small, most are never asked for: what can be rendered again
// is.
type answered struct {
	status  int
	body    json.RawMessage      // nil: that of a created connection
	created *messages.Connection // immutable
	version version              // of the state after it
}

func (a answered) reply() messages.Reply {
	if a.created != nil {
		a.body = messages.CreatedReply(a.created).Body
	}
	return messages.Reply{Status: a.status, Body: a.body, Headers: a.version.headers()}
}

// rememberedEvent is an event with the request that caused it.
type rememberedEvent struct {
	requestID string
	at        time.Time
	event     messages.Event
}

// requestMemory knows the modifying requests of the last two minutes by request id.
type requestMemory struct {
	order []*remembered          // as they came
	byID  map[string]*remembered // once there are many
}

// few are searched without an index: most entities never remember more.
const few = 8

func newRequestMemory(events []rememberedEvent) requestMemory {
	var m requestMemory
	for _, e := range events {
		m.add(&remembered{id: e.requestID, at: e.at, event: &e.event})
	}
	return m
}

func (m *requestMemory) add(r *remembered) {
	m.order = append(m.order, r)
	switch {
	case m.byID != nil:
		m.byID[r.id] = r
	case len(m.order) > few:
		m.byID = make(map[string]*remembered, 2*few)
		for _, r := range m.order {
			m.byID[r.id] = r
		}
	}
}

// known returns what is known of a request, nil when it is new.
func (m *requestMemory) known(id string) *remembered {
	if m.byID != nil {
		return m.byID[id]
	}
	for _, r := range slices.Backward(m.order) { // of two with one id the later counts
		if r.id == id {
			return r
		}
	}
	return nil
}

// find returns what is known of the command's request, nil when it is new.
func (m *requestMemory) find(c messages.Command, now time.Time) *remembered {
	m.sweep(now)
	if c.RequestID == "" {
		return nil
	}
	return m.known(c.RequestID)
}

// start notes that r executes its request; nil for a query, which may be executed again.
func (m *requestMemory) start(r *run, now time.Time) *remembered {
	if r.command.RequestID == "" || messages.Spec(r.command.Type).Category == messages.CategoryQuery {
		return nil
	}
	if known := m.known(r.command.RequestID); known != nil {
		known.run = r
		return known
	}
	known := &remembered{id: r.command.RequestID, at: now, run: r}
	m.add(known)
	return known
}

// done keeps the answer, which leaves the entity in state s.
func (m *requestMemory) done(r *run, reply messages.Reply, s State, now time.Time) {
	if r.remembered == nil {
		return
	}
	kept := answered{status: reply.Status, body: reply.Body, version: s.version()}
	if r.created != nil && reply.Status == http.StatusCreated {
		kept.body, kept.created = nil, r.created
	}
	r.remembered.run, r.remembered.reply, r.remembered.at = nil, kept, now
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
