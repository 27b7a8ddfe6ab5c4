package signals

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/protocol"
)

// requests are the commands and messages that wait for a response or acknowledgements, by entity and outgoing
// correlation-id (contract runtime.md 4.2, 14.3). They are in memory only: after the node's death a requester gets nothing,
// and its broker delivers the request again.
type requests struct {
	hub *Hub

	mu   sync.Mutex
	open map[requestKey]*request
}

type requestKey struct{ entity, correlation string }

// request aggregates what is answered to one signal.
type request struct {
	requests *requests
	key      requestKey
	signal   *Signal
	timeout  time.Duration
	counted  bool // in the collector
	timer    timer

	mu         sync.Mutex
	done       bool
	acks       []protocol.Ack // one for each requested label, in their order
	missing    int
	unsuitable bool // a response came that does not match
}

// open registers s under its correlation-id; when another request waits under it, s leaves with a suffix that is taken off
// its response again. It sets s.request.
func (rs *requests) openFor(s *Signal) {
	r := &request{requests: rs, signal: s, missing: len(s.acks.Labels)}
	r.timer.owner = r
	limits := &rs.hub.opts
	r.timeout = limits.AcknowledgementTimeout
	if s.acks.Respond {
		r.timeout = min(r.timeout, limits.ResponseTimeout)
	}
	if s.acks.HasTimeout {
		r.timeout = min(s.acks.Timeout, limits.AcknowledgementTimeout)
	}
	r.acks = make([]protocol.Ack, len(s.acks.Labels))
	for i, label := range s.acks.Labels {
		r.acks[i].Label = label
	}
	if s.collector != nil && len(s.acks.Labels) > 0 {
		r.counted = true
		s.collector.expect()
	}
	s.request = r

	r.key = requestKey{s.EntityID, s.sender.correlation}
	rs.mu.Lock()
	for rs.open[r.key] != nil {
		r.key.correlation = s.sender.correlation + "_" + uuid.NewString()
	}
	rs.open[r.key] = r
	rs.mu.Unlock()
	s.Envelope.Headers[messages.HeaderCorrelationID] = r.key.correlation
	rs.hub.timers.set(&r.timer, min(rs.hub.timers.deadline(s.now.Add(r.timeout)), s.until))
}

func (rs *requests) find(entity, correlation string) *request {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.open[requestKey{entity, correlation}]
}

func (rs *requests) remove(r *request) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.open, r.key)
}

// abandon drops the requests of an endpoint, or of all when e is nil: their messages stay unsettled.
func (rs *requests) abandon(e *Endpoint) {
	var dropped []*request
	rs.mu.Lock()
	for _, r := range rs.open {
		if e == nil || r.signal.sender.endpoint == e {
			dropped = append(dropped, r)
		}
	}
	rs.mu.Unlock()
	for _, r := range dropped {
		r.mu.Lock()
		first := r.end()
		r.mu.Unlock()
		if first {
			r.close()
			if r.counted {
				r.signal.collector.abandon()
			}
		}
	}
}

// respond hands a response, wherever it came in, to the request that waits for it.
func (rs *requests) respond(s *Signal) {
	r := rs.find(s.EntityID, s.sender.correlation)
	if r == nil {
		rs.hub.log.Debug("a response came that nobody here waits for", "connection_id", s.Origin, "correlation_id", s.sender.correlation)
		rs.hub.broadcast(s)
		return
	}
	r.answer(s)
}

// answer takes a response that came under the request's correlation-id.
func (r *request) answer(s *Signal) {
	if !suits(r.signal, s) {
		r.mu.Lock()
		r.unsuitable = true
		r.mu.Unlock()
		r.signal.sender.unsuitable(s)
		return
	}
	r.respond(s.Envelope, s.Kind == protocol.ErrorResponse)
}

// suits reports whether a response fits its request (contract runtime.md 4.2): type, entity and resource.
func suits(request, response *Signal) bool {
	a, b := &request.Envelope.Topic, &response.Envelope.Topic
	switch response.Kind {
	case protocol.ErrorResponse:
		return true
	case protocol.LiveMessageResponse:
		return request.Kind == protocol.LiveMessage && a.Subject == b.Subject && request.Envelope.Path == response.Envelope.Path
	case protocol.LiveResponse:
		return request.Kind == protocol.LiveCommand && a.Action == b.Action && request.Envelope.Path == response.Envelope.Path
	default:
		return false
	}
}

// acknowledge hands acknowledgements to the request that waits for them.
func (rs *requests) acknowledge(s *Signal, acks []protocol.Ack) {
	r := rs.find(s.EntityID, s.sender.correlation)
	if r == nil {
		rs.hub.log.Debug("an acknowledgement came that nobody here waits for", "connection_id", s.Origin, "correlation_id", s.sender.correlation)
		rs.hub.broadcast(s)
		return
	}
	for _, a := range acks {
		r.acknowledge(a)
	}
}

// respond takes the response: the result if nothing else is waited for, else the acknowledgement live-response.
func (r *request) respond(env *protocol.Envelope, isError bool) {
	r.mu.Lock()
	if r.done || !r.signal.acks.Respond && !contains(r.signal.acks.Labels, protocol.LabelLiveResponse) {
		r.mu.Unlock()
		return
	}
	if len(r.acks) > 1 && !isError {
		r.set(protocol.Ack{Label: protocol.LabelLiveResponse, Status: env.Status, Payload: env.Value, Headers: env.Headers})
		r.unlock()
		return
	}
	r.end()
	r.mu.Unlock()
	r.close()
	grade, class := gradeAck(protocol.LabelLiveResponse, env.Status), responseOrdinary
	if isError {
		grade, class = gradeError(env.Status), responseError
	}
	answer := env.Clone()
	answer.Headers[messages.HeaderCorrelationID] = r.signal.sender.correlation
	r.result(answer, class, grade)
}

// acknowledge takes one acknowledgement; only the first of a requested label counts.
func (r *request) acknowledge(a protocol.Ack) {
	r.mu.Lock()
	r.set(a)
	r.unlock()
}

// weak implements answers.
func (r *request) weak(label string) { r.acknowledge(weakAck(label)) }

func weakAck(label string) protocol.Ack {
	return protocol.Ack{
		Label: label, Status: http.StatusOK,
		Payload: json.RawMessage(`"Acknowledged without a look: the signal is not relevant for the issuer of this label."`),
		Headers: messages.Headers{messages.HeaderWeakAck: "true"},
	}
}

// issued implements answers.
func (r *request) issued(label string, status int, failure error) {
	if label == protocol.LabelLiveResponse {
		s := r.signal
		r.respond(&protocol.Envelope{Topic: s.Envelope.Topic, Path: s.Envelope.Path, Status: status, Headers: messages.Headers{}}, false)
		return
	}
	r.acknowledge(issuedAck(label, status, failure))
}

func issuedAck(label string, status int, failure error) protocol.Ack {
	a := protocol.Ack{Label: label, Status: status}
	if failure != nil {
		a.Payload = describe("The signal could not be published.", failure.Error())
	}
	return a
}

// describe is the payload of a failed acknowledgement (contract bindings.md 1.7).
func describe(message, description string) json.RawMessage {
	b, err := json.Marshal(map[string]string{"message": message, "description": description})
	if err != nil { // strings always marshal
		return nil
	}
	return b
}

// set notes an acknowledgement. r.mu is held.
func (r *request) set(a protocol.Ack) {
	if r.done {
		return
	}
	for i := range r.acks {
		if r.acks[i].Label == a.Label && r.acks[i].Status == 0 {
			r.acks[i] = a
			r.missing--
		}
	}
}

// unlock ends the aggregation when nothing is missing. r.mu is held, and released.
func (r *request) unlock() {
	complete := !r.done && r.missing == 0 && len(r.acks) > 0
	if complete {
		r.end()
	}
	r.mu.Unlock()
	if complete {
		r.close()
		r.aggregate()
	}
}

// end marks the request as answered and reports whether it was not. r.mu is held.
func (r *request) end() bool {
	first := !r.done
	r.done = true
	return first
}

// close takes an ended request out of the table.
func (r *request) close() {
	r.requests.remove(r)
	r.requests.hub.timers.stop(&r.timer)
}

// expire is the timeout.
func (r *request) expire() {
	r.mu.Lock()
	first, unsuitable := r.end(), r.unsuitable
	r.mu.Unlock()
	if !first {
		return
	}
	r.close()
	labels := r.signal.acks.Labels
	if len(labels) == 0 || len(labels) == 1 && labels[0] == protocol.LabelLiveResponse {
		err := newCommandTimeout(r.timeout, unsuitable)
		r.result(protocol.NewError(err, &r.signal.Envelope.Topic, r.headers()), responseError, gradeError(err.Status))
		return
	}
	for i := range r.acks {
		if r.acks[i].Status == 0 {
			err := newAckTimeout(r.acks[i].Label, r.timeout)
			payload, _ := err.MarshalJSON()
			r.acks[i].Status, r.acks[i].Payload = err.Status, payload
		}
	}
	r.aggregate()
}

// aggregate is the result when several labels, or one that is not live-response, were requested.
func (r *request) aggregate() {
	grade := client.Settle
	for _, a := range r.acks {
		grade = max(grade, gradeAck(a.Label, a.Status))
	}
	env := protocol.NewAcknowledgements(r.signal.Envelope.Topic, r.acks, r.headers())
	class := responseOrdinary
	if env.Status >= 400 {
		class = responseNack
	}
	r.result(env, class, grade)
}

func (r *request) headers() messages.Headers {
	return replyHeaders(r.signal.sender.headers, r.signal.sender.correlation)
}

// result answers the requester, if it wants that, and the collector.
func (r *request) result(env *protocol.Envelope, class responseClass, grade client.Settlement) {
	s := r.signal
	if s.acks.Respond {
		s.sender.send(env, class, s.Subjects)
	}
	if r.counted {
		s.collector.part(grade)
	}
}
