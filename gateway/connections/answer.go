package connections

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"hawser/gateway"
	"hawser/messages"
)

// fail answers with an error that no command was asked about.
func (x *exchange) fail(e *messages.Error) {
	x.echo()
	gateway.WriteError(x.w, e)
}

// failWith answers with the *messages.Error inside err, which building a command returned.
func (x *exchange) failWith(err error) {
	var e *messages.Error
	if !errors.As(err, &e) {
		e = messages.NewInternalError()
	}
	x.fail(e)
}

// echo repeats the headers that a client expects back (http-api.md 3.2).
func (x *exchange) echo() {
	for _, name := range []string{messages.HeaderCorrelationID, messages.HeaderTimeout} {
		if v, ok := x.headers[name]; ok {
			x.w.Header().Set(name, v)
		}
	}
}

// describe tells what a reply says of its connection beside the body. The entity tag goes with the connection itself, with 304
// and with 412 only.
func (x *exchange) describe(reply messages.Reply, tag bool) {
	x.echo()
	for _, name := range []string{messages.HeaderEntityRevision, messages.HeaderHistorical} {
		if v, ok := reply.Headers[name]; ok {
			x.w.Header().Set(name, v)
		}
	}
	if v, ok := reply.Headers[messages.HeaderETag]; ok && tag {
		x.w.Header().Set(messages.HeaderETag, v)
	}
}

// refuse answers with a reply that is an error: bare, whatever wraps it.
func (x *exchange) refuse(reply messages.Reply) {
	x.describe(reply, reply.Status == http.StatusNotModified || reply.Status == http.StatusPreconditionFailed)
	if reply.Status == http.StatusNotModified {
		x.w.WriteHeader(reply.Status)
		return
	}
	var wrapped struct{ Payload json.RawMessage }
	if err := json.Unmarshal(reply.Body, &wrapped); err == nil && wrapped.Payload != nil { // shape E3
		reply.Body = wrapped.Payload
	}
	gateway.WriteJSON(x.w, reply.Status, reply.Body)
}

// empty answers with a status and nothing else.
func (x *exchange) empty(reply messages.Reply, status int) {
	x.describe(reply, false)
	x.w.WriteHeader(status)
}

// json answers 200 with a body.
func (x *exchange) json(reply messages.Reply, body []byte, tag bool) {
	x.describe(reply, tag)
	gateway.WriteJSON(x.w, http.StatusOK, body)
}

// created answers 201 with the connection of a reply and where it is.
func (x *exchange) created(reply messages.Reply, location string) {
	body, ok := reply.Connection()
	if !ok {
		x.fail(messages.NewInternalError())
		return
	}
	x.describe(reply, false)
	x.w.Header().Set("Location", location)
	gateway.WriteJSON(x.w, http.StatusCreated, body)
}

// location is the absolute URI of this request without query and trailing slash, as the gateway sees it.
func (x *exchange) location() string {
	scheme := "http://"
	if x.r.TLS != nil {
		scheme = "https://"
	}
	return scheme + x.r.Host + strings.TrimSuffix(x.r.URL.EscapedPath(), "/")
}
