package signals

import (
	"errors"
	"slices"
	"strings"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
)

// responseClass is the type of a response as expectedResponseTypes names it (contract runtime.md 6.4).
type responseClass string

const (
	responseOrdinary responseClass = "response"
	responseError    responseClass = "error"
	responseNack     responseClass = "nack"
)

// replyError answers the sender of s with an error.
func (s *Signal) replyError(err *messages.Error) {
	env := protocol.NewError(err, &s.Envelope.Topic, replyHeaders(s.sender.headers, s.sender.correlation))
	s.sender.send(env, responseError, s.Subjects)
}

// replyHeaders are the request's headers as an answer that we make carries them: not what only makes sense in a request.
func replyHeaders(h messages.Headers, correlation string) messages.Headers {
	c := h.Clone()
	delete(c, messages.HeaderRequestedAcks)
	delete(c, messages.HeaderResponseRequired)
	delete(c, messages.HeaderTimeout)
	delete(c, messages.HeaderContentType)
	if correlation != "" {
		c[messages.HeaderCorrelationID] = correlation
	}
	return c
}

// send publishes a response to the reply target of the source that the request came from (contract runtime.md 6.4). It does not
// block: where scripts are run the response gets in line.
func (to *sender) send(env *protocol.Envelope, class responseClass, subjects []string) {
	e := to.endpoint
	if e.scripts == nil || to.source.reply == nil {
		to.publish(env, class, subjects)
	} else if !e.lineOf(env.Topic.EntityID()).offer(func() { to.publish(env, class, subjects) }) {
		tr := traceOf(env)
		tr.note(e.responses, monitor.Dropped, false, "Too many responses wait for the scripts of the connection.")
	}
}

// publish is send's work. While the requester's link is down, or when its source has no reply target, the response is dropped
// without a trace.
func (to *sender) publish(env *protocol.Envelope, class responseClass, subjects []string) {
	e, reply := to.endpoint, to.source.reply
	publisher := e.publisher.Load()
	if reply == nil || publisher == nil {
		return
	}
	tr := traceOf(env)
	tr.note(e.responses, monitor.Dispatched, env.Status < 400, "")
	if !slices.Contains(reply.expected, string(class)) {
		tr.note(e.responses, monitor.Dropped, true, "The reply target does not expect responses of the type "+string(class)+".")
		return
	}
	now := time.Now()
	values := &replyValues{request: to.headers, response: mapping.Values{
		Envelope: env, Subjects: subjects, ConnectionID: e.id, Now: now,
	}}
	var mappers []string
	if to.mapper != "" {
		mappers = []string{to.mapper}
	}
	ctx := mapping.Context{ConnectionID: e.id, Subjects: subjects, Now: now}
	if e.scripts != nil {
		ctx.Done = e.stopped()
	}
	for _, result := range e.mapOutbound(mappers, ctx, env) {
		switch {
		case result.Err != nil:
			tr.note(e.responses, monitor.Other, false, result.Err.Error())
		case len(result.Messages) == 0:
			tr.note(e.responses, monitor.Dropped, true, "")
		}
		for _, m := range result.Messages {
			tr.note(e.responses, monitor.Mapped, true, "")
			address, ok := "", false
			if reply.address != nil {
				address, ok = reply.address.Resolve(values)
			}
			if !ok || address == "" {
				tr.note(e.responses, monitor.Dropped, true, "The address of the reply target has no value: "+reply.text)
				continue
			}
			if m.Headers == nil {
				m.Headers = messages.Headers{}
			}
			reply.headers.over(m.Headers, values)
			(*publisher)(outbound(m, address, 0, ""), func(o client.Outcome) {
				text := ""
				if o.Err != nil {
					text = "Could not publish the response: " + o.Err.Error()
				}
				tr.note(e.responses, monitor.Published, o.Err == nil, text)
			})
		}
	}
}

// unsuitable notes that a response came which does not fit its request.
func (to *sender) unsuitable(response *Signal) {
	response.trace.note(to.endpoint.responses, monitor.Other, false,
		"A response was ignored that does not suit its command: it differs in type, feature or path.")
}

// replyValues are the placeholders of a reply target. A header that the response does not carry is looked up in the request:
// a responder need not repeat reply-to for the answer to find its way.
type replyValues struct {
	response mapping.Values
	request  messages.Headers
}

// Values implements placeholder.Source.
func (v *replyValues) Values(prefix, name string) ([]string, bool) {
	if found, ok := v.response.Values(prefix, name); ok || prefix != "header" {
		return found, ok
	}
	if text, ok := v.request[strings.ToLower(name)]; ok {
		return []string{text}, true
	}
	return nil, false
}

// outbound is a mapped message as the transport takes it.
func outbound(m *mapping.External, address string, qos int, targetAddress string) client.Outbound {
	return client.Outbound{
		Address: address, QoS: qos, Headers: m.Headers, Text: m.Text, HasText: m.HasText, Bytes: m.Bytes, TargetAddress: targetAddress,
	}
}

// asError is err as the Ditto error that it is, or an internal one.
func asError(err error) *messages.Error {
	var e *messages.Error
	if errors.As(err, &e) {
		return e
	}
	return messages.NewInternalError()
}
