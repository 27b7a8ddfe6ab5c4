package connections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hawser/gateway"
	"hawser/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// asker answers commands with a function and remembers them.
type asker struct {
	mu     sync.Mutex
	asked  []messages.Command
	answer func(ctx context.Context, target string, c messages.Command) (messages.Reply, error)
}

func (a *asker) Ask(ctx context.Context, target string, c messages.Command) (messages.Reply, error) {
	a.mu.Lock()
	a.asked = append(a.asked, c)
	a.mu.Unlock()
	return a.answer(ctx, target, c)
}

const document = `{"connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://h:1","targets":[{"address":"a","qos":0,"authorizationContext":["s"]}]}`

func connection(t testing.TB, id string) *messages.Connection {
	t.Helper()
	c, err := messages.ParseConnection([]byte(strings.Replace(document, "{", `{"id":"`+id+`",`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(o Options, method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	o.Log = quiet
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(path, "/command") {
		r.Header.Set("Content-Type", "text/plain")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h := NewHandler(o)
	gateway.NewAPI(1<<20, quiet, gateway.Route{Segment: "api", Handler: h}).ServeHTTP(w, r)
	h.Wait()
	return w
}

const base = "/api/2/connections"

// TestCommands: which command each route asks for, always as sudo, with a request id of its own, readable again by the node
// that executes it.
func TestCommands(t *testing.T) {
	notFound := messages.ErrorReply(messages.NewConnectionNotFound("a"))
	for _, row := range []struct {
		method, path, body string
		types              []string
		targets            string
	}{
		{"GET", base + "/a", "", []string{messages.RetrieveConnection}, ""},
		{"GET", base, "", []string{messages.RetrieveAllConnectionIDs}, ""},
		{"POST", base, document, []string{messages.CreateConnection}, ""},
		{"POST", base + "?dry-run=true", document, []string{messages.TestConnection}, ""},
		{"PUT", base + "/a", document, []string{messages.ModifyConnection, messages.CreateConnection}, ""},
		{"DELETE", base + "/a", "", []string{messages.DeleteConnection}, ""},
		{"POST", base + "/a/command", messages.OpenConnection, []string{messages.OpenConnection}, ""},
		{"POST", base + "/a/command", messages.ResetConnectionLogs, []string{messages.ResetConnectionLogs}, ""},
		{"GET", base + "/a/status", "", []string{messages.RetrieveConnectionStatus}, ""},
		{"GET", base + "/a/metrics", "", []string{messages.RetrieveConnectionMetrics}, ""},
		{"GET", base + "/a/logs", "", []string{messages.RetrieveConnectionLogs}, ""},
	} {
		t.Run(row.method+" "+row.path+" "+row.types[0], func(t *testing.T) {
			a := &asker{}
			a.answer = func(_ context.Context, target string, c messages.Command) (messages.Reply, error) {
				if target != messages.Spec(c.Type).Target {
					t.Errorf("%s at %s", c.Type, target)
				}
				return notFound, nil
			}
			w := serve(Options{Asker: a}, row.method, row.path, row.body, func(r *http.Request) {
				r.Header.Set("X-Foo", "bar")
				r.Header.Set("Authorization", "Basic s3cret")
				r.Header.Set("Ditto-Sudo", "false")
				r.Header.Set("Ditto-Originator", "me")
			})
			if w.Code != 404 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			ids := map[string]bool{}
			for i, c := range a.asked {
				again, err := messages.ParseCommand(c.Members, c.Headers)
				if err != nil || again.Type != row.types[i] || again.ConnectionID != c.ConnectionID || !c.Sudo() || ids[c.RequestID] || c.RequestID == "" || c.Received.IsZero() {
					t.Errorf("%d: %v %+v", i, err, c)
				}
				ids[c.RequestID] = true
				want := messages.Headers{"x-foo": "bar", "ditto-sudo": "true", "content-type": c.Headers["content-type"], "correlation-id": c.Headers["correlation-id"]}
				if strings.Contains(row.path, "dry-run") {
					want["dry-run"] = "true"
				}
				if fmt.Sprint(c.Headers) != fmt.Sprint(want) {
					t.Errorf("headers %v", c.Headers)
				}
			}
			if len(a.asked) != len(row.types) {
				t.Errorf("%d commands", len(a.asked))
			}
		})
	}
}

// TestAskErrors: the ways in which asking ends without a reply (http-api.md 7.3, decision D18).
func TestAskErrors(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"no lease":      {messages.ErrNoLease, 503, "gateway:service.unavailable"},
		"wrapped":       {fmt.Errorf("asking: %w", messages.ErrNoLease), 503, "gateway:service.unavailable"},
		"late":          {context.DeadlineExceeded, 408, "command.timeout"},
		"its own error": {messages.NewEnforcementTimeout(time.Second), 503, "enforcement.timeout"},
		"unknown":       {errors.New("s3cret"), 503, "ask.error"},
		"no target":     {messages.ErrTargetNotFound, 503, "ask.error"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &asker{answer: func(context.Context, string, messages.Command) (messages.Reply, error) {
				return messages.Reply{}, row.err
			}}
			for _, path := range []string{base, base + "/a", base + "/a/logs"} {
				w := serve(Options{Asker: a}, "GET", path, "")
				var e struct {
					Status int
					Error  string
				}
				if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != row.status || e.Status != row.status || e.Error != row.code || w.Header().Get("Correlation-Id") == "" {
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
				if strings.Contains(w.Body.String(), "s3cret") {
					t.Errorf("the answer repeats what failed inside: %s", w.Body)
				}
			}
		})
	}
}

// TestIDsFailed: an index that cannot be read is a bare error (P of http-api.md 5.1), not the shape E3 of the reply.
func TestIDsFailed(t *testing.T) {
	a := &asker{answer: func(context.Context, string, messages.Command) (messages.Reply, error) {
		return messages.IDsFailedReply(), nil
	}}
	w := serve(Options{Asker: a}, "GET", base, "")
	var e map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 500 || e["error"] != "connectivity:internalerror" || e["payload"] != nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

// TestWait: with response-required false the answer is there after the window, or with an error before; the command is
// executed to its end, whether the client stays or not (http-api.md 3.3).
func TestWait(t *testing.T) {
	for name, row := range map[string]struct {
		takes  time.Duration
		reply  messages.Reply
		query  string
		status int
		after  time.Duration
	}{
		"success at once":     {0, messages.AcceptedReply(messages.OpenConnection, "a"), "?response-required=false", 202, 0},
		"error at once":       {time.Second, messages.ErrorReply(messages.NewConnectionNotFound("a")), "?response-required=false", 404, time.Second},
		"error after window":  {10 * time.Second, messages.ErrorReply(messages.NewConnectionNotFound("a")), "?response-required=false", 202, 3 * time.Second},
		"longer than timeout": {2 * time.Minute, messages.Reply{}, "?response-required=false&timeout=20s", 202, 3 * time.Second},
		"timeout zero":        {0, messages.AcceptedReply(messages.OpenConnection, "a"), "?response-required=false&timeout=0", 202, 0},
		"response wanted":     {10 * time.Second, messages.AcceptedReply(messages.OpenConnection, "a"), "", 200, 10 * time.Second},
		"timeout":             {time.Minute, messages.Reply{}, "?timeout=5s", 408, 5 * time.Second},
		"default timeout":     {2 * time.Minute, messages.Reply{}, "", 408, time.Minute},
		"a lease is lost":     {time.Second, messages.ErrorReply(messages.NewServiceUnavailable()), "?response-required=false", 503, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := time.Duration(-1)
				began := time.Now()
				a := &asker{answer: func(ctx context.Context, _ string, _ messages.Command) (messages.Reply, error) {
					defer func() { ended = time.Since(began) }()
					select {
					case <-time.After(row.takes):
						return row.reply, nil
					case <-ctx.Done():
						return messages.Reply{}, ctx.Err()
					}
				}}
				h := NewHandler(Options{Asker: a, Log: quiet})
				w := httptest.NewRecorder()
				r := httptest.NewRequest("POST", base+"/a/command"+row.query, strings.NewReader(messages.OpenConnection))
				r.Header.Set("Content-Type", mediaText)
				h.ServeHTTP(w, r)
				if took := time.Since(began); w.Code != row.status || took != row.after {
					t.Errorf("%d after %v, want %d after %v: %s", w.Code, took, row.status, row.after, w.Body)
				}
				if w.Code == 202 && (w.Body.Len() != 0 || w.Header().Get("Correlation-Id") != "") {
					t.Errorf("%v %s", w.Header(), w.Body)
				}
				h.Wait()
				if ended < 0 {
					t.Error("the command was not executed to its end")
				}
			})
		})
	}
}

// TestGone: a client that goes away is not answered.
func TestGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := &asker{answer: func(ctx context.Context, _ string, _ messages.Command) (messages.Reply, error) {
		cancel()
		<-ctx.Done()
		return messages.Reply{}, ctx.Err()
	}}
	for _, path := range []string{base, base + "/a"} {
		w := serve(Options{Asker: a}, "GET", path, "", func(r *http.Request) { *r = *r.WithContext(ctx) })
		if w.Body.Len() != 0 {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

// reader has so many connections of a size. fail, if any, says what reading the i-th ends with; a connection that is not there
// is errGone.
type reader struct {
	t    testing.TB
	name string
	fail func(i int) error
	read atomic.Int64
}

var errGone = errors.New("gone")

func (r *reader) Connections(ctx context.Context, ids []string, fields *messages.FieldSelector) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for i, id := range ids {
			var err error
			if r.fail != nil {
				err = r.fail(i)
			}
			if err == nil {
				err = ctx.Err()
			}
			switch {
			case errors.Is(err, errGone):
				continue
			case err != nil:
				yield(nil, err)
				return
			}
			r.read.Add(1)
			conn := connection(r.t, id)
			conn.Name = &r.name
			if !yield(conn.Select(fields), nil) {
				return
			}
		}
	}
}

// many are the options of a handler that finds n connections of a size.
func many(t testing.TB, n, size int, fail func(i int) error) Options {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("c-%06d", i)
	}
	return Options{
		Asker: &asker{answer: func(context.Context, string, messages.Command) (messages.Reply, error) {
			return messages.IDsReply(ids), nil
		}},
		Reader: &reader{t: t, name: strings.Repeat("x", size), fail: fail}, Log: quiet,
	}
}

// TestListIsBounded: whatever the size of a list, only a little more of it is read than the client has taken.
func TestListIsBounded(t *testing.T) {
	const n, size = 2_000, 50_000 // 100 MB altogether
	o := many(t, n, size, nil)
	o.RetrieveLimit = n
	server := httptest.NewServer(NewHandler(o))
	defer server.Close()
	resp, err := http.Get(server.URL + base)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	d := json.NewDecoder(resp.Body)
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var peak uint64
	for i := range n {
		var c struct{ ID string }
		if err := d.Decode(&c); err != nil || c.ID != fmt.Sprintf("c-%06d", i) {
			t.Fatalf("%d: %v %s", i, err, c.ID)
		}
		if i == 0 && o.Reader.(*reader).read.Load() > n/2 {
			t.Error("most of the list was read before the client took any of it")
		}
		if i%200 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if bound := uint64(20 * held); peak > bound {
		t.Errorf("%d MiB in use, want at most %d", peak>>20, bound>>20)
	}
}

// TestListWithFailures: what was deleted meanwhile is left out; any other error ends the list, as the answer as long as none
// has begun, afterwards by cutting it off.
func TestListWithFailures(t *testing.T) {
	fail := func(at int, e error) func(int) error {
		return func(i int) error {
			if i != at {
				return nil
			}
			return e
		}
	}
	for name, row := range map[string]struct {
		n, size int
		fail    func(int) error
		status  int
		cut     bool
		count   int
	}{
		"none":                  {0, 1, nil, 200, false, 0},
		"deleted first":         {3, 1, fail(0, errGone), 200, false, 2},
		"deleted last":          {3, 1, fail(2, errGone), 200, false, 2},
		"all deleted":           {1, 1, fail(0, errGone), 200, false, 0},
		"unavailable":           {100, 1, fail(99, messages.NewConnectionUnavailable("c")), 503, false, 0},
		"unavailable, later":    {100, 50_000, fail(99, messages.NewConnectionUnavailable("c")), 200, true, 0},
		"lease lost":            {100, 1, fail(50, messages.ErrNoLease), 503, false, 0},
		"too slow":              {100, 1, fail(50, context.DeadlineExceeded), 408, false, 0},
		"more than the limit":   {101, 1, nil, 400, false, 0},
		"as many as the limit":  {100, 1, nil, 200, false, 100},
		"as large as one chunk": {100, 50_000, nil, 200, false, 100},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(NewHandler(many(t, row.n, row.size, row.fail)))
			defer server.Close()
			resp, err := http.Get(server.URL + base)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != row.status || (err != nil) != row.cut {
				t.Fatalf("%d %v %.200s", resp.StatusCode, err, body)
			}
			var all []any
			if row.status == 200 && !row.cut {
				if err := json.Unmarshal(body, &all); err != nil || len(all) != row.count || all == nil {
					t.Fatalf("%v, %d elements", err, len(all))
				}
			}
		})
	}
}

// TestListTooSlow: a list that is not complete in time is not taken for complete.
func TestListTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := many(t, 100, 1, func(i int) error {
			if i == 50 {
				time.Sleep(time.Minute)
			}
			return nil
		})
		w := serve(o, "GET", base+"?timeout=5s", "")
		if w.Code != 408 || !strings.Contains(w.Body.String(), "command.timeout") {
			t.Fatalf("%d %.300s", w.Code, w.Body)
		}
	})
}

// TestDocumentCoversRoutes: the OpenAPI document and the route table know the same paths and methods.
func TestDocumentCoversRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(Document, &doc); err != nil {
		t.Fatal(err)
	}
	verbs := func(path string) (out []string) {
		for name := range doc.Paths[path] {
			if regexp.MustCompile(`^(get|put|post|delete|patch|head|options|trace)$`).MatchString(name) {
				out = append(out, strings.ToUpper(name))
			}
		}
		return slices.Sorted(slices.Values(out))
	}
	routes := map[string]path{base: collection, base + "/{connectionId}": entry}
	for name, p := range below {
		routes[base+"/{connectionId}/"+name] = p
	}
	for path, p := range routes {
		if got, want := verbs(path), slices.Sorted(slices.Values(p.verbs())); !slices.Equal(got, want) {
			t.Errorf("%s: the document has %v, the routes %v", path, got, want)
		}
	}
	for path := range doc.Paths {
		if strings.HasPrefix(path, base) && routes[path] == nil {
			t.Errorf("%s is in the document only", path)
		}
	}
}

// FuzzRequest: no path, header or body makes the handler panic, and every answer has a status that the document knows.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/api/2/connections/a%2Fb?fields=a(b", "correlation-id", "x", "")
	f.Add("PUT", "/api/2/connections/a?dry-run=true&timeout=1s", "if-match", `W/"a", "b"`, document)
	f.Add("POST", "/api/2/connections//", "content-type", "text/plain;;", "null")
	f.Add("POST", "/api/2/connections?dry-run=true", "requested-acks", "[]", `{"id":5}`)
	f.Add("POST", "/api/2/connections/a/command?response-required=false", "timeout", "0", messages.OpenConnection)
	a := &asker{answer: func(_ context.Context, _ string, c messages.Command) (messages.Reply, error) {
		return messages.ErrorReply(messages.NewConnectionNotFound(c.ConnectionID)), nil
	}}
	h := NewHandler(Options{Asker: a, Log: quiet})
	f.Fuzz(func(t *testing.T, method, uri, name, value, body string) {
		r, err := http.NewRequest(method, "http://h", strings.NewReader(body))
		if err != nil {
			return
		}
		u, err := r.URL.Parse(uri)
		if err != nil || !strings.HasPrefix(u.Path, "/api") {
			return
		}
		r.URL = u
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		h.Wait()
		a.asked = nil
		if w.Code >= 500 || w.Code < 200 {
			t.Fatalf("%s %s: %d %s", method, uri, w.Code, w.Body)
		}
	})
}
