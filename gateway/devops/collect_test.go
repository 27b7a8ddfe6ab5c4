package devops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hawser/gateway"
	"hawser/messages"
)

// nodes is a cluster of which i1 is the node of the handler. What an instance does is in acts; the default is to answer.
type nodes struct {
	ids    []string
	alone  bool // no lease
	acts   map[string]func(ctx context.Context) (messages.Reply, error)
	mu     sync.Mutex
	asked  []string // instance selection type
	passed []messages.Command
}

func (n *nodes) Instance() string { return "i1" }

func (n *nodes) Instances() ([]string, bool) {
	if n.alone {
		return []string{"i1"}, false
	}
	return n.ids, true
}

func (n *nodes) AskInstance(ctx context.Context, instance, selection string, c messages.Command) (messages.Reply, error) {
	n.mu.Lock()
	n.asked = append(n.asked, instance+" "+selection+" "+c.Type)
	n.passed = append(n.passed, c)
	n.mu.Unlock()
	if act := n.acts[instance]; act != nil {
		return act(ctx)
	}
	return messages.Reply{Status: 200, Body: json.RawMessage(`{"from":"` + instance + `"}`)}, nil
}

func hang(ctx context.Context) (messages.Reply, error) {
	<-ctx.Done()
	return messages.Reply{}, ctx.Err()
}

func fails(err error) func(context.Context) (messages.Reply, error) {
	return func(context.Context) (messages.Reply, error) { return messages.Reply{}, err }
}

func (n *nodes) api() (*Handler, http.Handler) {
	log := slog.New(slog.DiscardHandler)
	h := NewHandler(Options{
		Asker: &target{err: messages.ErrTargetNotFound}, Nodes: n, Targets: []Target{{shards, false}, {cleanup, true}},
		RequestTimeout: 60 * time.Second, MaxTimeout: 60 * time.Second, Log: log,
	})
	return h, gateway.NewAPI(1<<20, log, gateway.Route{Segment: "devops", Realm: gateway.NewRealm(gateway.RealmDevOps, "pw"), Handler: h})
}

// TestFanOut is piggyback.md 1.6 for targets that every node has: who is asked, for how long, and what the answer looks like.
func TestFanOut(t *testing.T) {
	three := []string{"i1", "i2", "i3"}
	all := `{"connectivity":{"i1":{"from":"i1"},"i2":{"from":"i2"},"i3":{"from":"i3"}}}`
	askError := func(instance string, more string) string {
		return `{"type":"devops.responses:errorResponse","status":503,"serviceName":"connectivity","instance":"` + instance + `","payload":{` + more
	}
	slow := func(d time.Duration) func(context.Context) (messages.Reply, error) {
		return func(context.Context) (messages.Reply, error) {
			time.Sleep(d)
			return messages.Reply{Status: 200, Body: json.RawMessage(`{"from":"slow"}`)}, nil
		}
	}
	for _, row := range []struct {
		name    string
		path    string
		headers object
		acts    map[string]func(context.Context) (messages.Reply, error)
		alone   bool
		status  int
		body    string // what it begins with
		took    time.Duration
		asked   []string
	}{
		{"every instance", "", object{}, nil, false, 200, all, 0, three},
		{"every instance of the service", "/connectivity", object{"aggregate": "TRUE"}, nil, false, 200, all, 0, three},
		{"one instance", "/connectivity/i2", object{}, nil, false, 200, `{"connectivity":{"i2":{"from":"i2"}}}`, 0, []string{"i2"}},
		{"one instance, bare", "/connectivity/i3", plain, nil, false, 200, `{"from":"i3"}`, 0, []string{"i3"}},
		{"the first reply is enough", "", plain, map[string]func(context.Context) (messages.Reply, error){"i1": slow(2 * time.Second), "i3": slow(3 * time.Second)},
			false, 200, `{"from":"i2"}`, 0, three},
		{"an unknown instance", "/connectivity/i4", object{}, nil, false, 404, `{`, 0, nil},
		{"no lease", "", object{}, nil, true, 503, `{`, 0, nil},
		{"no lease, another instance", "/connectivity/i2", object{}, nil, true, 503, `{`, 0, nil},

		{"a group without service", "", object{"is-group-topic": true}, nil, false, 408, `null`, 10 * time.Second, nil},
		{"a group at an instance", "/connectivity/i1", object{"is-group-topic": true, "timeout": "15s"}, nil, false, 408, `null`, 15 * time.Second, nil},
		{"one of the group", "/connectivity", object{"is-group-topic": true, "aggregate": false}, nil, false, 200, `{"from":"i1"}`, 0, []string{"i1"}},
		{"one of the group, all are waited for", "/connectivity", object{"is-group-topic": true}, nil, false, 200, `{"connectivity":{"i1":{"from":"i1"}}}`, 10 * time.Second, []string{"i1"}},

		{"one hangs, short timeout", "", object{"timeout": "2s"}, map[string]func(context.Context) (messages.Reply, error){"i2": hang}, false, 200,
			`{"connectivity":{"i1":{"from":"i1"},"i2":` + askError("i2", ""), 2 * time.Second, three},
		{"one hangs, default timeout", "", object{}, map[string]func(context.Context) (messages.Reply, error){"i2": hang}, false, 200,
			`{"connectivity":{"i1":{"from":"i1"},"i3":{"from":"i3"}}}`, 10 * time.Second, three},
		{"all hang", "", object{}, map[string]func(context.Context) (messages.Reply, error){"i1": hang, "i2": hang, "i3": hang}, false, 408, `null`, 10 * time.Second, three},
		{"one hangs, bare", "", plain, map[string]func(context.Context) (messages.Reply, error){"i1": hang}, false, 200, `{"from":"i`, 0, three},
		{"it hangs", "/connectivity/i2", object{"timeout": "3s", "aggregate": false}, map[string]func(context.Context) (messages.Reply, error){"i2": hang}, false, 200,
			askError("i2", ""), 3 * time.Second, []string{"i2"}},
		{"one is lost", "", object{}, map[string]func(context.Context) (messages.Reply, error){"i3": fails(errors.New("s3cret"))}, false, 200,
			`{"connectivity":{"i1":{"from":"i1"},"i2":{"from":"i2"},"i3":` + askError("i3", ""), 0, three},
		{"one has gone", "/connectivity/i2", plain, map[string]func(context.Context) (messages.Reply, error){"i2": fails(messages.ErrInstanceNotFound)}, false, 200,
			`{"type":"devops.responses:errorResponse","status":404,"serviceName":"connectivity","instance":"i2"`, 0, []string{"i2"}},
		{"one knows no such target", "/connectivity/i2", plain, map[string]func(context.Context) (messages.Reply, error){"i2": fails(messages.ErrTargetNotFound)}, false, 200,
			`{"type":"devops.responses:errorResponse","status":404,"serviceName":"connectivity","instance":"i2"`, 0, []string{"i2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &nodes{ids: three, acts: row.acts, alone: row.alone}
				h, api := n.api()
				began := time.Now()
				w := post(t, api, piggyback+row.path, build(cleanup, row.headers, object{"type": messages.RetrieveHealth}))
				took := time.Since(began)
				h.Wait() // it is asked everywhere even when the first reply was enough
				body := w.Body.String()
				if w.Code != row.status || !strings.HasPrefix(body, row.body) || strings.Contains(body, "s3cret") {
					t.Errorf("HTTP %d %s, want %d %s", w.Code, body, row.status, row.body)
				}
				if took != row.took {
					t.Errorf("answered after %v, want %v", took, row.took)
				}
				var asked []string
				for _, a := range n.asked {
					asked = append(asked, strings.Fields(a)[0])
				}
				slices.Sort(asked)
				if !slices.Equal(asked, row.asked) {
					t.Errorf("asked %v, want %v", asked, row.asked)
				}
			})
		})
	}
}

// TestOtherCommandAtANodeTarget is decision D6: refused before anybody is asked.
func TestOtherCommandAtANodeTarget(t *testing.T) {
	n := &nodes{ids: []string{"i1", "i2"}}
	_, api := n.api()
	for _, command := range []object{retrieve, {"type": messages.RetrieveAllConnectionIDs}, {"type": "common.commands:shutdown"}, {"type": messages.RetrieveLoggerConfig}} {
		o := decode(t, post(t, api, piggyback, build(cleanup, plain, command)).Body.Bytes())
		wantE2(t, o, 400, "json.type.notparsable")
		o = decode(t, post(t, api, piggyback, build(cleanup, object{}, command)).Body.Bytes())
		wantE2(t, o["connectivity"].(object)["i1"].(object), 400, "json.type.notparsable")
	}
	if len(n.asked) > 0 {
		t.Errorf("asked %v", n.asked)
	}
}

// TestLoggingRoutes is piggyback.md 1.9: who is asked what, and how far the body is peeled.
func TestLoggingRoutes(t *testing.T) {
	const read, change = messages.RetrieveLoggerConfig, messages.ChangeLogLevel
	both := []string{"i1", "i2"}
	for _, row := range []struct {
		method, path, body string
		alone              bool
		status             int
		want               string
		asked              []string
		command            string
	}{
		{"GET", "/devops/logging", "", false, 200, `{"connectivity":{"i1":{"from":"i1"},"i2":{"from":"i2"}}}`, both, `{"includeDisabledLoggers":false,"type":"` + read + `"}`},
		{"GET", "/devops/logging/connectivity?includeDisabledLoggers=true", "", false, 200, `{"i1":{"from":"i1"},"i2":{"from":"i2"}}`, both, `{"includeDisabledLoggers":true,"type":"` + read + `"}`},
		{"GET", "/devops/logging/gateway", "", false, 200, `{"i1":{"from":"i1"},"i2":{"from":"i2"}}`, both, ""},
		{"GET", "/devops/logging/connectivity/i2", "", false, 200, `{"from":"i2"}`, []string{"i2"}, ""},
		{"GET", "/devops/logging", "", true, 200, `{"connectivity":{"i1":{"from":"i1"}}}`, []string{"i1"}, ""},
		{"PUT", "/devops/logging/gateway/i1", `{"level":"Debug","logger":"a.b"}`, false, 200, `{"from":"i1"}`, []string{"i1"}, `{"level":"Debug","logger":"a.b","type":"` + change + `"}`},
		{"PUT", "/devops/logging", `{"level":"off","logger":null}`, false, 200, `{"connectivity":`, both, `{"level":"off","logger":"ROOT","type":"` + change + `"}`},
		{"PUT", "/devops/logging", ``, false, 400, `{"description"`, nil, ""},
		{"PUT", "/devops/logging", `[]`, false, 400, `{"error":"json.format.invalid"`, nil, ""},
		{"PUT", "/devops/logging", `{"level":5}`, false, 400, `{"description"`, nil, ""},
		{"PUT", "/devops/logging", `{"level":"info","logger":5}`, false, 400, `{"description"`, nil, ""},
		{"PUT", "/devops/logging", `{"level":"loud"}`, false, 400, `{"description"`, nil, ""},
		{"GET", "/devops/logging/things", "", false, 404, `{"description"`, nil, ""},
		{"GET", "/devops/logging/connectivity/i3", "", false, 404, `{"description"`, nil, ""},
		{"GET", "/devops/logging/connectivity/i3", "", true, 503, `{"description"`, nil, ""},
		{"POST", "/devops/logging", "", false, 405, "HTTP method", nil, ""},

		{"GET", "/devops/config?path=a.b", "", false, 200, `{"connectivity":{"i1":{"from":"i1"},"i2":{"from":"i2"}}}`, both, `{"path":"a.b","type":"` + messages.RetrieveConfig + `"}`},
		{"GET", "/devops/config/gateway", "", false, 200, `{"connectivity":{"i1":`, both, `{"type":"` + messages.RetrieveConfig + `"}`},
		{"GET", "/devops/config/connectivity/i2/more", "", false, 200, `{"from":"i2"}`, []string{"i2"}, ""},
		{"GET", "/devops/config?timeout=0", "", false, 400, `{"description"`, nil, ""},
		{"GET", "/devops/config?timeout=2m", "", false, 400, `{"description"`, nil, ""},
		{"PUT", "/devops/config", "", false, 405, "HTTP method", nil, ""},
	} {
		t.Run(fmt.Sprint(row.method, row.path, row.body), func(t *testing.T) {
			n := &nodes{ids: both, alone: row.alone}
			h, api := n.api()
			req := httptest.NewRequestWithContext(t.Context(), row.method, row.path, strings.NewReader(row.body))
			req.SetBasicAuth("devops", "pw")
			w := httptest.NewRecorder()
			api.ServeHTTP(w, req)
			h.Wait()
			if w.Code != row.status || !strings.HasPrefix(w.Body.String(), row.want) {
				t.Errorf("HTTP %d %s", w.Code, w.Body)
			}
			var asked []string
			for i, a := range n.asked {
				asked = append(asked, strings.Fields(a)[0])
				if row.command != "" && string(n.passed[i].Members) != row.command {
					t.Errorf("command %s, want %s", n.passed[i].Members, row.command)
				}
			}
			slices.Sort(asked)
			if !slices.Equal(asked, row.asked) {
				t.Errorf("asked %v, want %v", asked, row.asked)
			}
		})
	}
}

// TestPurge is decision D15 and operations.md 3.
func TestPurge(t *testing.T) {
	const topic = "common.commands:purgeEntities:connection"
	purge := func(entityType string, ids any) object {
		return object{"type": messages.PurgeEntities, "entityType": entityType, "entityIds": ids}
	}
	const answer = `{"type":"common.responses:purgeEntities","status":200,"entityType":"connection","successful":true}`
	for _, row := range []struct {
		name    string
		headers object
		command object
		status  int
		body    string
		asked   bool
	}{
		{"bare", object{"aggregate": false, "topic": topic}, purge("connection", []any{"a", "b"}), 200, answer, true},
		{"as a map", object{"topic": topic}, purge("connection", []any{"a"}), 200, `{"?":{"?":` + answer + `}}`, true},
		{"of things", object{"aggregate": false, "topic": topic}, purge("thing", []any{"a"}), 200, `{"type":"devops.responses:errorResponse","status":404`, false},
		{"without topic", plain, purge("connection", []any{"a"}), 200, `{"type":"devops.responses:errorResponse","status":404`, false},
		{"another command on the topic", object{"aggregate": false, "topic": topic}, retrieve, 200, `{"type":"devops.responses:errorResponse","status":404`, false},
		{"a malformed id", object{"topic": topic}, purge("connection", []any{"a b"}), 400, `{"description"`, false},
		{"ids no list", object{"topic": topic}, purge("connection", "a"), 400, `{"description"`, false},
		{"no ids", object{"topic": topic}, object{"type": messages.PurgeEntities, "entityType": "connection"}, 400, `{"description"`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &target{reply: messages.PurgedReply("connection", true)}
			w := post(t, newAPI(f), piggyback, build(messages.TargetPubSub, row.headers, row.command))
			if w.Code != row.status || !strings.HasPrefix(w.Body.String(), row.body) {
				t.Errorf("HTTP %d %s", w.Code, w.Body)
			}
			if asked := len(f.asked) == 1 && f.asked[0].selection == messages.TargetPubSub; asked != row.asked {
				t.Errorf("asked %v", f.asked)
			}
		})
	}
}
