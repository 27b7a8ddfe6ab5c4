package connections

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"hawser/gateway"
	"hawser/messages"
)

// Options of a Handler; Asker, Reader and Log are required.
type Options struct {
	Asker  gateway.Asker
	Reader gateway.Reader // of the connections of a list
	Realm  *gateway.Realm // who may use the connections; nil: everybody
	// MediaTypes are accepted for request bodies beside a route's own; a request without Content-Type counts as
	// application/octet-stream (http.additional-accepted-media-types).
	MediaTypes []string
	// QueryHeaders are the query parameters that are headers, too; gateway.QueryHeaders.
	QueryHeaders []string
	// RequestTimeout is the wait for an answer without a header timeout, MaxTimeout the largest one that may be asked for;
	// 60s each.
	RequestTimeout, MaxTimeout time.Duration
	// ErrorWindow is how long a command with response-required false is watched for an error, 3s.
	ErrorWindow time.Duration
	// RetrieveLimit is the largest number of connections that are listed in full, 100.
	RetrieveLimit int
	Log           *slog.Logger
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		d *time.Duration
		v time.Duration
	}{{&o.RequestTimeout, time.Minute}, {&o.MaxTimeout, time.Minute}, {&o.ErrorWindow, 3 * time.Second}} {
		if *f.d <= 0 {
			*f.d = f.v
		}
	}
	if o.QueryHeaders == nil {
		o.QueryHeaders = gateway.QueryHeaders
	}
	if o.RetrieveLimit <= 0 {
		o.RetrieveLimit = 100
	}
	return o
}

// Handler serves everything below /api. It authenticates by itself: some answers come before that (http-api.md 1).
type Handler struct {
	Options
	unwatched sync.WaitGroup // commands that go on after their request was answered 202
}

// NewHandler makes a Handler.
func NewHandler(o Options) *Handler { return &Handler{Options: o.withDefaults()} }

// Wait returns when no command is in work any more whose request has been answered already; each ends with its own timeout.
func (h *Handler) Wait() { h.unwatched.Wait() }

// exchange is one request on its way.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	id      string // of the path, "" for the collection
	query   url.Values
	headers messages.Headers // of the command
	wait    time.Duration
}

// ServeHTTP implements http.Handler. The order of the checks is that of http-api.md 1, from step 7 on: the first that fails
// is the answer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments := split(r.URL) // api, 2, connections, …
	if len(segments) < 2 || !isNumber(segments[1]) {
		gateway.WriteNotFound(w)
		return
	}
	if strings.TrimLeft(segments[1], "0") != "2" {
		gateway.WriteError(w, messages.NewVersionNotSupported(segments[1]))
		return
	}
	x := &exchange{w: w, r: r, query: r.URL.Query()}
	var failure *messages.Error
	if x.headers, failure = commandHeaders(r, x.query, h.QueryHeaders); failure != nil {
		gateway.WriteError(w, failure)
		return
	}
	switch segments = segments[2:]; {
	case len(segments) == 1 && segments[0] == documentName:
		serveDocument(w, r)
		return
	case len(segments) == 0 || segments[0] != "connections":
		gateway.WriteNotFound(w)
		return
	case !h.Realm.Admit(w, r):
		return
	}
	p, id, failure := find(segments[1:])
	if failure != nil {
		x.fail(failure)
		return
	}
	if p == nil {
		gateway.WriteNotFound(w)
		return
	}
	m, ok := p.method(r.Method)
	if !ok {
		gateway.WriteMethodNotAllowed(w, p.verbs()...)
		return
	}
	x.id = id
	if m.media != "" {
		if failure := checkMediaType(r.Header.Get("Content-Type"), m.media, h.MediaTypes); failure != nil {
			x.fail(failure)
			return
		}
	}
	x.wait = h.RequestTimeout
	if text, ok := x.headers[messages.HeaderTimeout]; ok {
		x.wait, _ = messages.ParseDuration(text) // checked with the headers
		if x.wait > h.MaxTimeout {
			x.fail(messages.NewTimeoutOutOfBounds(x.wait, h.MaxTimeout))
			return
		}
	}
	m.serve(h, x)
}

// split cuts a path at its slashes and decodes the segments, so that an encoded slash stays part of one.
func split(u *url.URL) []string {
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, s := range segments {
		if decoded, err := url.PathUnescape(s); err == nil {
			segments[i] = decoded
		}
	}
	return segments
}
