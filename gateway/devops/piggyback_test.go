package devops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hawser/gateway"
	"hawser/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target answers as a node does; what it was asked stays in asked.
type target struct {
	asked []asked
	reply messages.Reply
	err   error
	hang  bool
}

type asked struct {
	selection string
	command   messages.Command
	timeout   time.Duration
}

func (f *target) Ask(ctx context.Context, selection string, c messages.Command) (messages.Reply, error) {
	deadline, _ := ctx.Deadline()
	f.asked = append(f.asked, asked{selection, c, time.Until(deadline)})
	if f.hang {
		<-ctx.Done()
		return messages.Reply{}, ctx.Err()
	}
	return f.reply, f.err
}

// Instance implements gateway.Nodes.
func (f *target) Instance() string { return "i1" }

// Instances implements gateway.Nodes: the node is alone.
func (f *target) Instances() ([]string, bool) {
	return []string{"i1"}, !errors.Is(f.err, messages.ErrNoLease)
}

// AskInstance implements gateway.Nodes.
func (f *target) AskInstance(ctx context.Context, _, selection string, c messages.Command) (messages.Reply, error) {
	return f.Ask(ctx, selection, c)
}

const cleanup = messages.TargetPersistenceCleanup

// newAPI is the whole pipeline in front of f. Persistence cleanup stands for a target that every node has.
func newAPI(f *target) http.Handler {
	log := slog.New(slog.DiscardHandler)
	h := NewHandler(Options{
		Asker: f, Nodes: f, Targets: []Target{{Selection: messages.TargetConnection}, {Selection: messages.TargetConnectionIDs}, {cleanup, true}},
		RequestTimeout: 60 * time.Second, MaxTimeout: 60 * time.Second, Log: log,
	})
	return gateway.NewAPI(1<<20, log, gateway.Route{Segment: "devops", Realm: gateway.NewRealm(gateway.RealmDevOps, "pw"), Handler: h})
}

func post(t testing.TB, api http.Handler, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.SetBasicAuth("devops", "pw")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, req)
	return w
}

type object = map[string]any

// build makes an envelope; headers nil leaves the member out.
func build(target string, headers object, command any) string {
	e := object{"targetActorSelection": target, "piggybackCommand": command}
	if headers != nil {
		e["headers"] = headers
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(b)
}

var (
	retrieve = object{"type": messages.RetrieveConnection, "connectionId": "plant-7"}
	openIt   = object{"type": messages.OpenConnection, "connectionId": "plant-7"}
	plain    = object{"aggregate": false}
)

const (
	piggyback = "/devops/piggyback"
	good      = `{"type":"connectivity.responses:retrieveConnection","status":200,"connection":{}}`
	shards    = messages.TargetConnection
)

// decode reads a JSON object.
func decode(t testing.TB, body []byte) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatalf("no JSON object: %q", body)
	}
	return o
}

// wantE1 checks a bare error and returns it.
func wantE1(t testing.TB, o object, status int, code string) object {
	t.Helper()
	if o["status"] != float64(status) || o["error"] != code || o["message"] == nil {
		t.Fatalf("not %d %s: %v", status, code, o)
	}
	return o
}

// wantE2 checks an error around the target and returns its payload.
func wantE2(t testing.TB, o object, status int, code string) object {
	t.Helper()
	if o["type"] != "devops.responses:errorResponse" || o["status"] != float64(status) || o["serviceName"] != "connectivity" || o["instance"] != "i1" {
		t.Fatalf("no E2 of %d: %v", status, o)
	}
	payload, _ := o["payload"].(object)
	return wantE1(t, payload, status, code)
}

// TestEnvelopeRefused is piggyback.md 1.3 to 1.5: what is answered with an HTTP status of its own and a bare E1, before
// anybody is asked.
func TestEnvelopeRefused(t *testing.T) {
	valid := build(shards, plain, retrieve)
	header := func(name string, value any) string { return build(shards, object{name: value}, retrieve) }
	for _, row := range []struct {
		name, query, body string
		status            int
		code, names       string // names must occur in message
	}{
		{"empty", "", "", 400, "json.invalid", ""},
		{"no JSON", "", "x", 400, "json.invalid", ""},
		{"two values", "", valid + "{}", 400, "json.invalid", ""},
		{"truncated", "", valid[:len(valid)-1], 400, "json.invalid", ""},
		{"no UTF-8", "", "{\"targetActorSelection\":\"\xff\"}", 400, "json.invalid", ""},
		{"array", "", "[]", 400, "json.format.invalid", ""},
		{"null", "", "null", 400, "json.format.invalid", ""},
		{"text", "", `"x"`, 400, "json.format.invalid", ""},
		{"empty object", "", "{}", 400, "json.field.missing", "</targetActorSelection>"},
		{"target null", "", `{"targetActorSelection":null}`, 400, "json.field.missing", "</targetActorSelection>"},
		{"target a number", "", `{"targetActorSelection":5}`, 400, "json.invalid", "<5>"},
		{"target a number names it", "", `{"targetActorSelection":5}`, 400, "json.invalid", "</targetActorSelection>"},
		{"member names are case-sensitive", "", `{"TargetActorSelection":"x","piggybackCommand":{}}`, 400, "json.field.missing", "</targetActorSelection>"},
		{"headers an array", "", `{"targetActorSelection":"x","headers":[]}`, 400, "json.invalid", "</headers>"},
		{"headers a text", "", `{"targetActorSelection":"x","headers":"{}"}`, 400, "json.invalid", "<JsonObject>"},
		{"headers before the command", "", `{"targetActorSelection":"x","headers":7}`, 400, "json.invalid", "</headers>"},
		{"no command", "", `{"targetActorSelection":"x","headers":{}}`, 400, "json.field.missing", "</piggybackCommand>"},
		{"command null", "", `{"targetActorSelection":"x","piggybackCommand":null}`, 400, "json.field.missing", "</piggybackCommand>"},
		{"command a text", "", `{"targetActorSelection":"x","piggybackCommand":"s3cret"}`, 400, "json.invalid", "</piggybackCommand>"},
		{"service a number", "", `{"targetActorSelection":"x","piggybackCommand":{},"serviceName":1}`, 400, "json.invalid", "</serviceName>"},
		{"instance a list", "", `{"targetActorSelection":"x","piggybackCommand":{},"instance":[]}`, 400, "json.invalid", "</instance>"},

		{"sudo yes", "", header("ditto-sudo", "yes"), 400, "header.invalid", "ditto-sudo"},
		{"sudo TRUE", "", header("DITTO-Sudo", "TRUE"), 400, "header.invalid", "ditto-sudo"},
		{"response-required 1", "", header("response-required", 1), 400, "header.invalid", "response-required"},
		{"dry-run empty", "", header("dry-run", ""), 400, "header.invalid", "dry-run"},
		{"allow-policy-lockout object", "", header("allow-policy-lockout", object{}), 400, "header.invalid", "allow-policy-lockout"},
		{"correlation-id empty", "", header("correlation-id", ""), 400, "header.invalid", "correlation-id"},
		{"channel", "", header("channel", "both"), 400, "header.invalid", "channel"},
		{"requested-acks no array", "", header("requested-acks", "a,b"), 400, "header.invalid", "requested-acks"},
		{"declared-acks of numbers", "", header("declared-acks", []any{1}), 400, "header.invalid", "declared-acks"},
		{"auth context no object", "", header("ditto-auth-context", "me"), 400, "header.invalid", "ditto-auth-context"},
		{"if-match unquoted", "", header("if-match", "rev:1"), 400, "header.invalid", "if-match"},
		{"if-none-match half", "", header("if-none-match", `"rev:1", `), 400, "header.invalid", "if-none-match"},
		{"revision", "", header("at-historical-revision", "first"), 400, "header.invalid", "at-historical-revision"},
		{"timestamp", "", header("at-historical-timestamp", "yesterday"), 400, "header.invalid", "at-historical-timestamp"},
		{"timeout text", "", header("timeout", "abc"), 400, "timeout.invalid", ""},
		{"timeout negative", "", header("timeout", -1), 400, "timeout.invalid", ""},
		{"timeout empty", "", header("timeout", ""), 400, "timeout.invalid", ""},
		{"timeout unit", "", header("timeout", "1y1d"), 400, "timeout.invalid", ""},
		{"timeout zero", "", header("timeout", "0s"), 400, "header.invalid", "timeout"},

		{"query timeout above the maximum", "?timeout=61s", valid, 400, "gateway:timeout.invalid", "<61,000ms>"},
		{"query timeout names the bounds", "?timeout=2m", valid, 400, "gateway:timeout.invalid", "60,000ms"},
		{"query timeout text", "?timeout=abc", valid, 400, "timeout.invalid", ""},
		{"query timeout zero", "?timeout=0", valid, 400, "header.invalid", "timeout"},
		{"query response-required", "?response-required=no", valid, 400, "header.invalid", "response-required"},
		{"query before body", "?timeout=abc", "x", 400, "timeout.invalid", ""},

		{"unknown service", "/things", valid, 404, "devops:service.notfound", "things"},
		{"gateway is no service here", "/gateway", valid, 404, "devops:service.notfound", "gateway"},
		{"unknown instance", "/connectivity/i2", valid, 404, "devops:instance.notfound", "i2"},
		{"unknown service in the body", "", strings.TrimSuffix(valid, "}") + `,"serviceName":"policies"}`, 404, "devops:service.notfound", "policies"},
		{"unknown instance in the body", "", strings.TrimSuffix(valid, "}") + `,"instance":"i2"}`, 404, "devops:instance.notfound", "i2"},
		{"too large", "", build(shards, plain, object{"type": strings.Repeat("x", 1<<20)}), 413, "gateway:payload.toolarge", "1048576"},
		{"unparsable command at the mediator", "", build(messages.TargetPubSub, plain, object{"connectionId": "x"}), 400, "json.type.notparsable", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &target{reply: messages.Reply{Status: 200, Body: json.RawMessage(good)}}
			w := post(t, newAPI(f), piggyback+row.query, row.body)
			if w.Code != row.status || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("HTTP %d %q: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			e := wantE1(t, decode(t, w.Body.Bytes()), row.status, row.code)
			if !strings.Contains(fmt.Sprint(e["message"]), row.names) {
				t.Errorf("%q is not named: %v", row.names, e)
			}
			key, there := e["invalidHeaderKey"]
			if want := row.code == "header.invalid" && row.names != "correlation-id"; there != want || want && key != row.names {
				t.Errorf("invalidHeaderKey %v", key)
			}
			if strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("the answer repeats a secret: %s", w.Body)
			}
			if len(f.asked) > 0 {
				t.Errorf("somebody was asked")
			}
		})
	}
}

// TestHTTPLayer is piggyback.md 1.1 and 1.2: plain texts of the HTTP layer, in the order authentication, path, method.
func TestHTTPLayer(t *testing.T) {
	const absent, wrong = "The resource requires authentication, which was not supplied with the request", "The supplied authentication is invalid"
	as := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	header := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	devops := as("devops", "pw")
	for _, row := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
		text, allow        string
	}{
		{"no credentials", "POST", piggyback, func(*http.Request) {}, 401, absent, ""},
		{"no credentials, wrong method", "GET", piggyback, func(*http.Request) {}, 401, absent, ""},
		{"no credentials, unknown path", "GET", "/devops/x", func(*http.Request) {}, 401, absent, ""},
		{"another scheme", "POST", piggyback, header("Bearer abc"), 401, absent, ""},
		{"wrong password", "POST", piggyback, as("devops", "pwd"), 401, wrong, ""},
		{"empty password", "POST", piggyback, as("devops", ""), 401, wrong, ""},
		{"wrong user", "POST", piggyback, as("admin", "pw"), 401, wrong, ""},
		{"not base64", "POST", piggyback, header("Basic !!"), 401, wrong, ""},
		{"GET", "GET", piggyback, devops, 405, "HTTP method not allowed, supported methods: POST", "POST"},
		{"PUT with more path", "PUT", piggyback + "/connectivity/i1/more", devops, 405, "HTTP method not allowed, supported methods: POST", "POST"},
		{"OPTIONS", "OPTIONS", piggyback, devops, 405, "HTTP method not allowed, supported methods: POST", "POST"},
		{"unknown below devops", "POST", "/devops/x", devops, 404, "The requested resource could not be found.", ""},
		{"devops alone", "POST", "/devops", devops, 404, "The requested resource could not be found.", ""},
		{"not a segment", "POST", piggyback + "X", devops, 404, "The requested resource could not be found.", ""},
		{"elsewhere, no credentials", "GET", "/api/9", func(*http.Request) {}, 404, "The requested resource could not be found.", ""},
		{"root", "GET", "/", func(*http.Request) {}, 404, "The requested resource could not be found.", ""},
		{"query not decodable", "POST", piggyback + "?timeout=%zz", devops, 400, "The query of " + piggyback + "?timeout=%zz cannot be decoded.", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := httptest.NewRequest(row.method, row.path, strings.NewReader("x"))
			row.change(req)
			w := httptest.NewRecorder()
			newAPI(&target{}).ServeHTTP(w, req)
			if w.Code != row.status || w.Body.String() != row.text || w.Header().Get("Content-Type") != "text/plain; charset=UTF-8" || w.Header().Get("Allow") != row.allow {
				t.Fatalf("%d %v %q", w.Code, w.Header(), w.Body)
			}
			challenge := ""
			if row.status == 401 {
				challenge = `Basic realm="DITTO-DEVOPS",charset=UTF-8`
			}
			if got := w.Header().Get("WWW-Authenticate"); got != challenge {
				t.Errorf("WWW-Authenticate %q", got)
			}
		})
	}
}

// TestReplied is piggyback.md 1.5, 1.7, 1.8: HTTP 200 and what the target or the way to it said, plain or as a map.
func TestReplied(t *testing.T) {
	notFound := messages.ErrorReply(messages.NewConnectionNotFound("plant-7"))
	for _, row := range []struct {
		name, path, body string
		target           target
		check            func(t *testing.T, reply object)
	}{
		{"a response", "", build(shards, plain, retrieve), target{reply: messages.Reply{Status: 200, Body: json.RawMessage(good)}},
			func(t *testing.T, reply object) {
				if reply["status"] != 200. {
					t.Error(reply)
				}
			}},
		{"the entity's error is bare", "", build(shards, plain, retrieve), target{reply: notFound},
			func(t *testing.T, reply object) { wantE1(t, reply, 404, "connectivity:connection.notfound") }},
		{"unknown type", "", build(shards, plain, object{"type": "no.such:thing"}), target{},
			func(t *testing.T, reply object) { wantE2(t, reply, 400, "json.type.notparsable") }},
		{"no type", "", build(shards, plain, object{"connectionId": "x"}), target{},
			func(t *testing.T, reply object) {
				if e := wantE2(t, reply, 400, "json.type.notparsable"); !strings.Contains(fmt.Sprint(e["message"]), "<null>") {
					t.Error(e)
				}
			}},
		{"member missing", "", build(shards, plain, object{"type": messages.OpenConnection}), target{},
			func(t *testing.T, reply object) {
				if e := wantE2(t, reply, 400, "json.field.missing"); !strings.Contains(fmt.Sprint(e["message"]), "</connectionId>") {
					t.Error(e)
				}
			}},
		{"malformed id", "", build(shards, plain, object{"type": messages.OpenConnection, "connectionId": "a b"}), target{},
			func(t *testing.T, reply object) { wantE2(t, reply, 400, "connectivity:connection.id.invalid") }},
		{"type another target takes", "", build(shards, plain, object{"type": messages.RetrieveAllConnectionIDs}), target{err: messages.ErrNotTaken},
			func(t *testing.T, reply object) { wantE2(t, reply, 400, "json.type.notparsable") }},
		{"unknown target", "", build("/user/nobody", plain, retrieve), target{},
			func(t *testing.T, reply object) {
				e := wantE2(t, reply, 404, "devops:target.notfound")
				for _, name := range []string{shards, messages.TargetConnectionIDs, cleanup} {
					if !strings.Contains(fmt.Sprint(e["description"]), name) {
						t.Errorf("%s is not listed: %v", name, e)
					}
				}
			}},
		{"unknown target before unknown type", "", build("/user/nobody", plain, object{}), target{},
			func(t *testing.T, reply object) { wantE2(t, reply, 404, "devops:target.notfound") }},
		{"a target that has gone", "", build(shards, plain, retrieve), target{err: messages.ErrTargetNotFound},
			func(t *testing.T, reply object) { wantE2(t, reply, 404, "devops:target.notfound") }},
		{"topic without subscriber", "", build(messages.TargetPubSub, object{"aggregate": false, "topic": "my:topic"}, retrieve), target{},
			func(t *testing.T, reply object) {
				if e := wantE2(t, reply, 404, "devops:target.notfound"); !strings.Contains(fmt.Sprint(e["message"]), "my:topic") {
					t.Error(e)
				}
			}},
		{"type as topic without subscriber", "", build(messages.TargetPubSub, plain, object{"type": "no.such:thing"}), target{},
			func(t *testing.T, reply object) { wantE2(t, reply, 404, "devops:target.notfound") }},
		{"error on the way", "", build(shards, plain, openIt), target{err: fmt.Errorf("asking: %w", messages.NewEnforcementTimeout(time.Second))},
			func(t *testing.T, reply object) { wantE2(t, reply, 503, "enforcement.timeout") }},
		{"failure of the target", "", build(shards, plain, openIt), target{err: errors.New("s3cret")},
			func(t *testing.T, reply object) { wantE2(t, reply, 503, "ask.error") }},
		{"service in the path", "/connectivity", build(shards, plain, retrieve), target{reply: notFound},
			func(t *testing.T, reply object) { wantE1(t, reply, 404, "connectivity:connection.notfound") }},
		{"trailing slash", "/", build(shards, plain, retrieve), target{reply: notFound},
			func(t *testing.T, reply object) { wantE1(t, reply, 404, "connectivity:connection.notfound") }},
		{"more segments", "/connectivity/i1/and/more/", build(shards, plain, retrieve), target{reply: notFound},
			func(t *testing.T, reply object) { wantE1(t, reply, 404, "connectivity:connection.notfound") }},
		{"path over body", "/connectivity/i1", strings.TrimSuffix(build(shards, plain, retrieve), "}") + `,"serviceName":"x","instance":"y","type":"z","more":1}`,
			target{reply: notFound}, func(t *testing.T, reply object) { wantE1(t, reply, 404, "connectivity:connection.notfound") }},
		{"group topic on a once-only target", "", build(shards, object{"aggregate": false, "is-group-topic": true}, retrieve), target{reply: notFound},
			func(t *testing.T, reply object) { wantE1(t, reply, 404, "connectivity:connection.notfound") }},
	} {
		for form, aggregate := range map[string]any{"plain": false, "map": true, "map by default": nil, "map TRUE": "TRUE", "plain by nonsense": "nonsense"} {
			t.Run(row.name+", "+form, func(t *testing.T) {
				f := row.target
				var e object
				if err := json.Unmarshal([]byte(row.body), &e); err != nil {
					t.Fatal(err)
				}
				e["headers"].(object)["aggregate"] = aggregate
				body, _ := json.Marshal(e)
				w := post(t, newAPI(&f), piggyback+row.path, string(body))
				if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
					t.Fatalf("HTTP %d %s", w.Code, w.Body)
				}
				if strings.Contains(w.Body.String(), "s3cret") {
					t.Errorf("the answer repeats what failed inside: %s", w.Body)
				}
				reply := decode(t, w.Body.Bytes())
				if strings.HasPrefix(form, "map") {
					instances, _ := reply["connectivity"].(object)
					if len(reply) != 1 || len(instances) != 1 {
						t.Fatalf("not one entry: %s", w.Body)
					}
					reply, _ = instances["i1"].(object)
				}
				row.check(t, reply)
			})
		}
	}
}

// TestNoLease is decision D18.
func TestNoLease(t *testing.T) {
	w := post(t, newAPI(&target{err: messages.ErrNoLease}), piggyback, build(shards, nil, retrieve))
	if w.Code != 503 {
		t.Fatalf("HTTP %d", w.Code)
	}
	wantE1(t, decode(t, w.Body.Bytes()), 503, "gateway:service.unavailable")
}

// TestTimeouts is the timeout table of piggyback.md 1.3 and 1.7 against a target that never answers.
func TestTimeouts(t *testing.T) {
	for _, row := range []struct {
		name, query string
		timeout     any
		after       time.Duration
		check       func(t *testing.T, w *httptest.ResponseRecorder)
	}{
		{"2s", "", "2s", 2 * time.Second, askError},
		{"bare number is seconds", "", 3, 3 * time.Second, askError},
		{"just below the gateway's wait", "", "9999ms", 9999 * time.Millisecond, askError},
		{"query", "?timeout=4s", nil, 4 * time.Second, askError},
		{"envelope over query", "?timeout=4s", "2s", 2 * time.Second, askError},
		{"absent", "", nil, 10 * time.Second, silent},
		{"the tie", "", "10s", 10 * time.Second, silent},
		{"20s", "", "20s", 20 * time.Second, silent},
		{"query of the maximum", "?timeout=60s", nil, 60 * time.Second, silent},
		{"above what the gateway waits at all", "", "61s", 60 * time.Second, commandTimeout},
		{"far above", "", "1d", 60 * time.Second, commandTimeout},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				headers := object{"aggregate": false, "timeout": row.timeout}
				began := time.Now()
				w := post(t, newAPI(&target{hang: true}), piggyback+row.query, build(shards, headers, openIt))
				if took := time.Since(began); took != row.after {
					t.Errorf("answered after %v, want %v", took, row.after)
				}
				row.check(t, w)
			})
		})
	}
}

func askError(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != 200 {
		t.Fatalf("HTTP %d", w.Code)
	}
	wantE2(t, decode(t, w.Body.Bytes()), 503, "ask.error")
}

func silent(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != 408 || w.Body.String() != "null" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("HTTP %d %q", w.Code, w.Body)
	}
}

func commandTimeout(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != 408 {
		t.Fatalf("HTTP %d", w.Code)
	}
	if e := wantE1(t, decode(t, w.Body.Bytes()), 408, "command.timeout"); !strings.Contains(fmt.Sprint(e["message"]), "60,000ms") {
		t.Error(e)
	}
}

// TestGroupTopic is piggyback.md 1.6 for a target that every node has: a group is only reached by the path of its service.
func TestGroupTopic(t *testing.T) {
	health := object{"type": messages.RetrieveHealth}
	for _, row := range []struct {
		path    string
		group   any
		reached bool
	}{
		{"", nil, true}, {"", false, true}, {"", "FALSE", true}, {"/connectivity", false, true}, {"/connectivity/i1", false, true},
		{"/connectivity", true, true}, {"/connectivity", "yes", true},
		{"", true, false}, {"", "yes", false}, {"/connectivity/i1", true, false},
	} {
		t.Run(fmt.Sprintf("%s %v", row.path, row.group), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &target{reply: messages.Reply{Status: 200, Body: json.RawMessage(good)}}
				began := time.Now()
				w := post(t, newAPI(f), piggyback+row.path, build(cleanup, object{"is-group-topic": row.group, "aggregate": false, "timeout": "5s"}, health))
				if row.reached {
					if w.Code != 200 || len(f.asked) != 1 {
						t.Fatalf("HTTP %d, asked %d times: %s", w.Code, len(f.asked), w.Body)
					}
					return
				}
				silent(t, w)
				if took := time.Since(began); took != 10*time.Second || len(f.asked) != 0 {
					t.Fatalf("after %v, asked %d times", took, len(f.asked))
				}
			})
		})
	}
}

// TestWithoutResponse is piggyback.md 1.5: 202 and nothing, whatever a 200 would have said; a query is not executed.
func TestWithoutResponse(t *testing.T) {
	for _, row := range []struct {
		name    string
		headers object
		command object
		asks    int
	}{
		{"executed", object{"response-required": false}, openIt, 1},
		{"aggregate", object{"response-required": "false", "aggregate": true}, openIt, 1},
		{"timeout zero is allowed", object{"response-required": false, "timeout": 0}, openIt, 1},
		{"query", object{"response-required": false}, retrieve, 0},
		{"not parsable", object{"response-required": false}, object{"type": "no.such:thing"}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &target{reply: messages.ErrorReply(messages.NewConnectionNotFound("x"))}
			w := post(t, newAPI(f), piggyback, build(shards, row.headers, row.command))
			if w.Code != http.StatusAccepted || w.Body.Len() != 0 || w.Header().Get("response-required") != "false" {
				t.Fatalf("HTTP %d %v %q", w.Code, w.Header(), w.Body)
			}
			if len(f.asked) != row.asks {
				t.Errorf("asked %d times", len(f.asked))
			}
		})
	}
	if w := post(t, newAPI(&target{err: messages.ErrNoLease}), piggyback, build(shards, object{"response-required": false}, openIt)); w.Code != 503 {
		t.Errorf("without lease: HTTP %d, want 503", w.Code)
	}
}

// TestHeaders is piggyback.md 1.3 and 1.5: where headers come from, what becomes of their values, which are echoed.
func TestHeaders(t *testing.T) {
	f := &target{reply: messages.Reply{Status: 200, Body: json.RawMessage(good)}}
	api := newAPI(f)
	ask := func(query string, headers object) (messages.Headers, http.Header, messages.Command) {
		t.Helper()
		w := post(t, api, piggyback+query, build(shards, headers, openIt))
		if w.Code != 200 {
			t.Fatalf("HTTP %d %s", w.Code, w.Body)
		}
		last := f.asked[len(f.asked)-1]
		return last.command.Headers, w.Result().Header, last.command
	}

	got, echo, first := ask("?correlation-id=from-query&timeout=7s&foo=bar&Channel=twin&is-group-topic=true", object{
		"Correlation-ID": "from-envelope", "X-Number": 1.50, "x-list": []any{1, "a"}, "x-true": true, "x-null": nil, "x-text": "a\"\u00fc",
		"ditto-dry-run": true, "content-type": "text/x", "requested-acks": []any{"a:b"}, "if-match": `W/"rev:1", "rev:2"`, "at-historical-revision": 3,
		"reply-to": "r",
	})
	want := messages.Headers{
		"correlation-id": "from-envelope", "timeout": "7s", "channel": "twin", "x-number": "1.5", "x-list": `[1,"a"]`, "x-true": "true",
		"x-text": "a\"\u00fc", "content-type": "text/x", "requested-acks": `["a:b"]`, "if-match": `W/"rev:1", "rev:2"`, "at-historical-revision": "3", "reply-to": "r",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("headers\n got %v\nwant %v", got, want)
	}
	for name, value := range map[string]string{
		"correlation-id": "from-envelope", "timeout": "7s", "channel": "twin", "requested-acks": `["a:b"]`, "reply-to": "r", "x-true": "", "if-match": "",
		"content-type": "application/json",
	} {
		if echo.Get(name) != value {
			t.Errorf("echo of %s: %q, want %q", name, echo.Get(name), value)
		}
	}

	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	got, echo, second := ask("", nil) // no headers at all: decision D11
	if !uuid.MatchString(got["correlation-id"]) || echo.Get("correlation-id") != got["correlation-id"] {
		t.Errorf("correlation-id %q, echoed %q", got["correlation-id"], echo.Get("correlation-id"))
	}
	if !uuid.MatchString(first.RequestID) || !uuid.MatchString(second.RequestID) || first.RequestID == second.RequestID {
		t.Errorf("request ids %q, %q: want one fresh UUID per request (D7)", first.RequestID, second.RequestID)
	}
	if time.Since(second.Received) > time.Minute {
		t.Errorf("received %v", second.Received)
	}
	if asked := f.asked[0].timeout; asked > 7*time.Second || asked < 6*time.Second {
		t.Errorf("the target had %v", asked)
	}
}

// TestRequestHeadersStayOutside: /devops looks at the query only (piggyback.md 1.3).
func TestRequestHeadersStayOutside(t *testing.T) {
	f := &target{reply: messages.Reply{Status: 200, Body: json.RawMessage(good)}}
	req := httptest.NewRequest(http.MethodPost, piggyback, strings.NewReader(build(shards, plain, openIt)))
	req.SetBasicAuth("devops", "pw")
	for name, value := range map[string]string{"Correlation-Id": "c", "Timeout": "abc", "Ditto-Sudo": "true", "Content-Type": "no/matter"} {
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	newAPI(f).ServeHTTP(w, req)
	if w.Code != 200 || len(f.asked) != 1 {
		t.Fatalf("HTTP %d %s", w.Code, w.Body)
	}
	if h := f.asked[0].command.Headers; len(h) != 2 || h["correlation-id"] == "c" || h["aggregate"] != "false" {
		t.Fatalf("%v", h)
	}
}

// TestCreateWithoutID is decision D8: the gateway makes the id, and only for createConnection.
func TestCreateWithoutID(t *testing.T) {
	connection := object{
		"id": nil, "connectionType": "mqtt", "connectionStatus": "closed", "uri": "tcp://h:1",
		"sources": []any{object{"addresses": []any{"a"}, "qos": 1, "authorizationContext": []any{"s"}}},
	}
	f := &target{reply: messages.Reply{Status: 201, Body: json.RawMessage(`{"status":201}`)}}
	api := newAPI(f)
	for range 2 {
		if w := post(t, api, piggyback, build(shards, plain, object{"type": messages.CreateConnection, "connection": connection})); w.Code != 200 {
			t.Fatalf("HTTP %d %s", w.Code, w.Body)
		}
	}
	if len(f.asked) != 2 {
		t.Fatalf("asked %d times", len(f.asked))
	}
	a, b := f.asked[0].command, f.asked[1].command
	if len(a.ConnectionID) != 36 || a.ConnectionID == b.ConnectionID || a.Connection.ID != a.ConnectionID {
		t.Fatalf("ids %q, %q, in the connection %q", a.ConnectionID, b.ConnectionID, a.Connection.ID)
	}
	again, err := messages.ParseCommand(a.Members, a.Headers)
	if err != nil || again.ConnectionID != a.ConnectionID {
		t.Fatalf("read again it has the id %q: %v, %s", again.ConnectionID, err, a.Members)
	}
	for _, kind := range []string{messages.ModifyConnection, messages.TestConnection} {
		w := post(t, api, piggyback, build(shards, plain, object{"type": kind, "connection": connection}))
		if e := wantE2(t, decode(t, w.Body.Bytes()), 400, "json.field.missing"); !strings.Contains(fmt.Sprint(e["message"]), "</id>") {
			t.Errorf("%s: %v", kind, e)
		}
	}
	connection["id"] = "mine"
	post(t, api, piggyback, build(shards, plain, object{"type": messages.CreateConnection, "connection": connection}))
	if got := f.asked[len(f.asked)-1].command; got.ConnectionID != "mine" || got.Connection.ID != "mine" {
		t.Fatalf("id %q", got.ConnectionID)
	}
}

// TestClientGoesAway: nobody is answered, and nothing hangs.
func TestClientGoesAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, piggyback, strings.NewReader(build(shards, plain, openIt)))
	req.SetBasicAuth("devops", "pw")
	done := make(chan struct{})
	w := httptest.NewRecorder()
	go func() {
		defer close(done)
		newAPI(&target{hang: true}).ServeHTTP(w, req)
	}()
	cancel()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("still waiting")
	}
	if w.Body.Len() > 0 {
		t.Errorf("answered %s", w.Body)
	}
}

// FuzzEnvelope: whatever the body, the answer is in the contract's form, and the parts that were cut out are those that
// encoding/json finds.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(build(shards, object{"aggregate": false, "x": []any{1.5, "]}", object{"a": nil}}}, retrieve)))
	f.Add([]byte(` { "targetActorSelection" : "\u002fuser" , "piggybackCommand" : { } , "headers":{"A":"b\\\"c","a":-1e3} } `))
	f.Add([]byte(`{"targetActorSelection":"a","targetActorSelection":"b","piggybackCommand":{"type":"x"},"instance":"i1"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"piggybackCommand":{"a":[[],{},"\\"]},"targetActorSelection":"","headers":{}}`))
	answers := &target{reply: messages.Reply{Status: 200, Body: json.RawMessage(good)}}
	api := newAPI(answers)
	f.Fuzz(func(t *testing.T, body []byte) {
		answers.asked = nil
		w := post(t, api, piggyback, string(body))
		if len(w.Body.Bytes()) > 0 && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("no JSON: %q", w.Body)
		}
		e, failure := parseEnvelope(body)
		if failure != nil {
			if w.Code != failure.Status {
				t.Fatalf("HTTP %d, want %d", w.Code, failure.Status)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted what is no object: %v", err)
		}
		var selection string
		if err := json.Unmarshal(want["targetActorSelection"], &selection); err != nil || selection != e.target {
			t.Fatalf("target %q, want %q (%v)", e.target, selection, err)
		}
		if !bytes.Equal(e.command, want["piggybackCommand"]) {
			t.Fatalf("command %q, want %q", e.command, want["piggybackCommand"])
		}
		headers := messages.Headers{}
		if envelopeHeaders(e.headers, headers) != nil || e.headers == nil {
			return
		}
		var values map[string]json.RawMessage
		if err := json.Unmarshal(e.headers, &values); err != nil {
			t.Fatalf("headers %q: %v", e.headers, err)
		}
		for name := range headers {
			found := false
			for other := range values {
				found = found || strings.ToLower(other) == name
			}
			if !found {
				t.Fatalf("header %q came from nowhere: %q", name, e.headers)
			}
		}
	})
}

// BenchmarkPiggyback is the gateway's own share of a createConnection: authentication, envelope, command, answer, without
// sockets and without a node behind it.
func BenchmarkPiggyback(b *testing.B) {
	body := build(shards, object{"aggregate": false, "is-group-topic": false, "ditto-sudo": true}, object{
		"type": messages.CreateConnection, "connection": object{
			"id": "plant-7", "connectionType": "mqtt", "connectionStatus": "closed", "uri": "tcp://127.0.0.1:1883",
			"sources": []any{object{"addresses": []any{"plant/+/up"}, "qos": 1, "authorizationContext": []any{"plant:ingest"}}},
			"targets": []any{object{"address": "out", "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": []any{"plant:ingest"}}},
		}})
	log := slog.New(slog.DiscardHandler)
	h := NewHandler(Options{Asker: instant{}, Nodes: &target{}, Targets: []Target{{Selection: shards}}, RequestTimeout: time.Minute, MaxTimeout: time.Minute, Log: log})
	api := gateway.NewAPI(1<<20, log, gateway.Route{Segment: "devops", Realm: gateway.NewRealm(gateway.RealmDevOps, "pw"), Handler: h})
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		req, _ := http.NewRequest(http.MethodPost, piggyback, strings.NewReader(body))
		req.SetBasicAuth("devops", "pw")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, req)
		if w.Code != 200 {
			b.Fatalf("HTTP %d %s", w.Code, w.Body)
		}
	}
}

type instant struct{}

func (instant) Ask(context.Context, string, messages.Command) (messages.Reply, error) {
	return messages.Reply{Status: 201, Body: json.RawMessage(`{"status":201}`)}, nil
}
