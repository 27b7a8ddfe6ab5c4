package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"

	"hawser/messages"
)

// Route serves all paths with one first segment.
type Route struct {
	Segment string // "devops"
	Realm   *Realm // who may; nil: everybody
	Handler http.Handler
}

// API is the handler of the service's own HTTP address: it finds the route, authenticates, bounds the body, and answers
// for a handler that panics.
type API struct {
	routes  map[string]Route
	maxBody int64
	log     *slog.Logger
}

// NewAPI makes an API; maxBody is the largest request body in bytes (ReadBody).
func NewAPI(maxBody int64, log *slog.Logger, routes ...Route) *API {
	a := &API{routes: map[string]Route{}, maxBody: maxBody, log: log}
	for _, r := range routes {
		a.routes[r.Segment] = r
	}
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	answer := &guard{ResponseWriter: w}
	defer a.recover(answer, req)
	first, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	route, ok := a.routes[first]
	switch {
	case !ok:
		WriteNotFound(answer)
	case route.Realm.Admit(answer, req):
		req.Body = &body{ReadCloser: http.MaxBytesReader(w, req.Body, a.maxBody), rest: req.Body, limit: a.maxBody}
		route.Handler.ServeHTTP(answer, req)
	}
}

// recover answers for a handler that panicked. What it panicked with may hold anything, a secret too, so only its type and
// the texts of the runtime's own errors are logged (decision O6).
func (a *API) recover(w *guard, req *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { // a handler that cuts its own answer short has said why itself
		panic(p)
	}
	cause := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		cause = e.Error()
	}
	a.log.Error("panic while answering a request", "method", req.Method, "path", req.URL.Path, "panic", cause, "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler) // half an answer is out: cut the connection, so that nobody takes it for a whole one
	}
	WriteError(w, messages.NewInternalError())
}

// guard remembers whether an answer has begun.
type guard struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (g *guard) WriteHeader(status int) {
	g.begun = true
	g.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// body is a request body that knows its bound.
type body struct {
	io.ReadCloser
	rest  io.Reader // what lies behind the bound
	limit int64
}

// mostDiscarded is how much of a body that is too large is read and thrown away, so that a client which sends all of it
// before it reads gets the answer and not a reset connection.
const mostDiscarded = 16 << 20

// tooLarge reads on for the client's sake.
func (b *body) tooLarge() *messages.Error {
	_, _ = io.CopyN(io.Discard, b.rest, mostDiscarded)
	return NewPayloadTooLarge(b.limit)
}

// ReadBody reads the whole body of a request that came through an API. A *messages.Error is to be answered; with any other
// error the client went away.
func ReadBody(req *http.Request) ([]byte, error) {
	b, ok := req.Body.(*body)
	if !ok {
		return io.ReadAll(req.Body)
	}
	if req.ContentLength > b.limit {
		return nil, b.tooLarge()
	}
	var content []byte
	var err error
	if req.ContentLength >= 0 {
		content = make([]byte, req.ContentLength)
		_, err = io.ReadFull(b, content)
	} else {
		content, err = io.ReadAll(b)
	}
	if _, tooLarge := err.(*http.MaxBytesError); tooLarge {
		return nil, b.tooLarge()
	}
	return content, err
}
