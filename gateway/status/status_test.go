package status

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

type probe struct {
	ready   error
	cluster Cluster
}

func (p probe) Ready() error     { return p.ready }
func (p probe) Cluster() Cluster { return p.cluster }

// TestManagement is operations.md 7.1 with decision D19.
func TestManagement(t *testing.T) {
	down := probe{ready: errors.New("no lease")}
	for _, row := range []struct {
		name, method, path string
		probe              probe
		status             int
		body               string
	}{
		{"alive", "GET", "/alive", probe{}, 200, "OK"},
		{"alive while not ready", "GET", "/alive", down, 200, "OK"},
		{"ready", "GET", "/ready", probe{}, 200, "OK"},
		{"not ready", "GET", "/ready", down, 500, "Not Healthy: no lease"},
		{"not ready by HEAD", "HEAD", "/ready", down, 500, "Not Healthy: no lease"},
		{"wrong method", "POST", "/ready", probe{}, 405, "HTTP method not allowed, supported methods: GET"},
		{"unknown", "GET", "/health", probe{}, 404, "The requested resource could not be found."},
		{"unknown by POST", "POST", "/", probe{}, 404, "The requested resource could not be found."},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Management(row.probe).ServeHTTP(w, httptest.NewRequest(row.method, row.path, nil))
			if w.Code != row.status || w.Body.String() != row.body {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
		})
	}
}

// TestClusterMembers: the shape of operations.md 7.1; lists are never null.
func TestClusterMembers(t *testing.T) {
	one := Cluster{
		SelfNode: "10.1.0.4:2551", Leader: "10.1.0.4:2551", Oldest: "10.1.0.4:2551", OldestPerRole: map[string]string{"connectivity": "10.1.0.4:2551"},
		Members: []Member{{Node: "10.1.0.4:2551", NodeUID: "u", Status: "Up", Roles: []string{"connectivity"}}},
	}
	for name, row := range map[string]struct {
		cluster Cluster
		want    string
	}{
		"one": {one, `{"selfNode":"10.1.0.4:2551","leader":"10.1.0.4:2551","oldest":"10.1.0.4:2551","oldestPerRole":{"connectivity":"10.1.0.4:2551"},
			"members":[{"node":"10.1.0.4:2551","nodeUid":"u","status":"Up","roles":["connectivity"]}],"unreachable":[]}`},
		"nobody yet": {Cluster{SelfNode: "a:1"}, `{"selfNode":"a:1","leader":"","oldest":"","oldestPerRole":{},"members":[],"unreachable":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Management(probe{cluster: row.cluster}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/cluster/members", nil))
			var got, want any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(row.want), &want); err != nil {
				t.Fatal(err)
			}
			g, _ := json.Marshal(got)
			x, _ := json.Marshal(want)
			if string(g) != string(x) || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%s", w.Body)
			}
		})
	}
}

// failing is a collector whose metric cannot be had.
type failing struct{}

func (failing) Describe(ch chan<- *prometheus.Desc) { ch <- prometheus.NewDesc("broken", "", nil, nil) }
func (failing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("broken", "", nil, nil), errors.New("no"))
}

// TestMetrics: Prometheus text 0.0.4 on any path; a broken collector costs only itself.
func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), failing{})
	h := Metrics(r, slog.New(slog.DiscardHandler))
	for _, path := range []string{"/", "/metrics", "/any/path"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") || !strings.Contains(w.Body.String(), "\ngo_goroutines ") {
			t.Fatalf("%s: %d %v %.200s", path, w.Code, w.Header(), w.Body)
		}
	}
}
