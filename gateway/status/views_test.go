package status

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

const here, there = "10.1.0.4:2551", "10.1.0.5:2551"

func member(node, instance string) Member {
	return Member{Node: node, Instance: instance, Status: "Up", Roles: []string{"connectivity"}}
}

// TestViews is http-api.md 10.1 to 10.3: what is UP and DOWN, with which status, and who is listed.
func TestViews(t *testing.T) {
	two := Cluster{SelfNode: here, Leader: there, OldestPerRole: map[string]string{"connectivity": there}, Members: []Member{member(there, "b"), member(here, "a")}}
	lost := two
	lost.Members, lost.Unreachable = []Member{member(here, "a")}, []Member{member(there, "b")}
	info := Info{Service: "connectivity", LocalAddress: here, Instance: "a", Processors: 2, Memory: "512 MB"}
	const static = `{"service":"connectivity","local-address":"10.1.0.4:2551","instance":"a","processor-count":2,"total-memory":"512 MB"`
	const store = `{"label":"persistence","status":"UP"}`
	const broken = `{"label":"persistence","status":"DOWN","details":[{"ERROR":"The database cannot be read."}]}`
	const roles = `{"label":"expected-roles","status":"UP","details":[{"INFO":{"extra-roles":[],"missing-roles":[]}}]}`
	for _, row := range []struct {
		name, method, path string
		cluster            Cluster
		store              error
		status             int
		body               string
	}{
		{"static", "GET", "/status", two, nil, 200, static + `}`},
		{"process", "GET", "/status/health", two, nil, 200, `{"status":"UP","children":[` + store + `]}`},
		{"process, store away", "GET", "/status/health", two, errors.New("s3cret"), 503,
			`{"status":"DOWN","details":[{"ERROR":"See detailed messages for: persistence."}],"children":[` + broken + `]}`},
		{"cluster", "GET", "/status/cluster", two, nil, 200, `{"reachable":["10.1.0.5:2551","10.1.0.4:2551"],"unreachable":[],"leader":"10.1.0.5:2551",` +
			`"seen-by":["10.1.0.5:2551","10.1.0.4:2551"],"own-roles":["connectivity"],"roles":{"connectivity":{"reachable":["10.1.0.5:2551","10.1.0.4:2551"],"unreachable":[],"leader":"10.1.0.5:2551"}}}`},
		{"cluster, nobody", "GET", "/status/cluster", Cluster{}, nil, 200, `{"reachable":[],"unreachable":[],"seen-by":[],"own-roles":["connectivity"],"roles":{}}`},
		{"health", "GET", "/health", two, nil, 200, `{"status":"UP"}`},
		{"health, store away", "GET", "/health", two, errors.New("x"), 503, `{"status":"DOWN"}`},
		{"health, nobody", "GET", "/health", Cluster{}, nil, 503, `{"status":"DOWN"}`},
		{"overall", "GET", "/overall/status", two, nil, 200,
			static + `,"roles":{"connectivity":{"a":` + static + `},"b":{"service":"connectivity","local-address":"10.1.0.5:2551","instance":"b"}}}}`},
		{"overall health", "GET", "/overall/status/health", two, nil, 200, `{"label":"roles","status":"UP","children":[` + roles +
			`,{"label":"connectivity","status":"UP","children":[{"label":"10.1.0.5:2551","status":"UP","children":[` + store + `]},{"label":"10.1.0.4:2551","status":"UP","children":[` + store + `]}]}]}`},
		{"overall health, a member lost", "GET", "/overall/status/health", lost, nil, 503, `{"label":"roles","status":"DOWN","details":[{"ERROR":"See detailed messages for: connectivity."}],"children":[` + roles +
			`,{"label":"connectivity","status":"DOWN","details":[{"ERROR":"See detailed messages for: 10.1.0.5:2551."}],"children":[{"label":"10.1.0.4:2551","status":"UP","children":[` + store +
			`]},{"label":"10.1.0.5:2551","status":"DOWN","details":[{"ERROR":"The member does not answer."}]}]}]}`},
		{"overall health, nobody", "GET", "/overall/status/health", Cluster{}, nil, 503, `{"label":"roles","status":"DOWN","details":[{"ERROR":"See detailed messages for: expected-roles."}],"children":[` +
			`{"label":"expected-roles","status":"DOWN","details":[{"ERROR":{"extra-roles":[],"missing-roles":["connectivity"]}}]}]}`},
		{"wrong method", "POST", "/status", two, nil, 405, "HTTP method not allowed, supported methods: GET"},
		{"unknown below status", "GET", "/status/x", two, nil, 405, "HTTP method not allowed, supported methods: GET"},
		{"health, wrong method", "HEAD", "/health", two, nil, 405, "HTTP method not allowed, supported methods: GET"},
		{"unknown below health", "GET", "/health/x", two, nil, 404, "The requested resource could not be found."},
		{"unknown below overall", "GET", "/overall/x", two, nil, 404, "The requested resource could not be found."},
		{"overall, wrong method", "PUT", "/overall/status", two, nil, 405, "HTTP method not allowed, supported methods: GET"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := NewViews(Options{Info: info, Probe: probe{cluster: row.cluster}, Persistence: func(context.Context) error { return row.store }})
			handler := v.Status()
			switch row.path[:4] {
			case "/hea":
				handler = v.Health()
			case "/ove":
				handler = v.Overall()
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(row.method, row.path, nil))
			if w.Code != row.status || w.Body.String() != row.body {
				t.Fatalf("%d %s\nwant %d %s", w.Code, w.Body, row.status, row.body)
			}
		})
	}
}

// TestKeptHealth: /health keeps its answer for its time, and nobody makes the database work by asking often.
func TestKeptHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var failure error
		v := NewViews(Options{Probe: probe{cluster: Cluster{SelfNode: here, Members: []Member{member(here, "a")}}}, Persistence: func(context.Context) error { asked++; return failure }})
		get := func(path string) int {
			w := httptest.NewRecorder()
			handler := v.Health()
			if path != "/health" {
				handler = v.Status()
			}
			handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			return w.Code
		}
		for range 100 {
			if got := get("/health") + get("/status/health"); got != 400 || asked != 1 {
				t.Fatalf("%d, asked %d times", got, asked)
			}
		}
		failure = errors.New("away")
		time.Sleep(2 * time.Second)
		if health, process := get("/health"), get("/status/health"); health != 200 || process != 503 || asked != 2 {
			t.Fatalf("%d %d, asked %d times", health, process, asked)
		}
		time.Sleep(19 * time.Second)
		if health := get("/health"); health != 503 {
			t.Fatalf("%d after 21 s", health)
		}
	})
}

// TestSlowStore: a store that does not answer is down.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewViews(Options{Probe: probe{}, Timeout: 3 * time.Second, Persistence: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		began := time.Now()
		w := httptest.NewRecorder()
		v.Status().ServeHTTP(w, httptest.NewRequest("GET", "/status/health", nil))
		if w.Code != 503 || time.Since(began) != 3*time.Second {
			t.Fatalf("%d after %v", w.Code, time.Since(began))
		}
	})
}

// TestComposite is the merge of http-api.md 10.1.
func TestComposite(t *testing.T) {
	for want, statuses := range map[string][][]string{
		up: {{}, {up}, {up, unknown}, {unknown, up}}, down: {{down}, {up, down}, {unknown, down}}, unknown: {{unknown}, {unknown, unknown}},
	} {
		for _, row := range statuses {
			var children []StatusInfo
			for _, s := range row {
				children = append(children, StatusInfo{Status: s})
			}
			if got := composite("x", children...); got.Status != want || got.Healthy() != (want != down) {
				t.Errorf("%v: %s", row, got.Status)
			}
		}
	}
}
