package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"
)

// chromium finds the browser. It is installed by .ci/servers; HAWSER_TEST_CHROMIUM names another.
func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("HAWSER_TEST_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: apt-get install chromium, or set HAWSER_TEST_CHROMIUM to the path of one")
	return ""
}

// page is what a person's own page would do from another origin: sign in, create a connection, change it, look at it, list
// it, delete it. It reports what it saw to where it came from.
const page = `<!doctype html><title>another origin</title><script>
const api = %q;
const auth = {"Authorization": "Basic " + btoa("devops:" + %q)};
async function call(method, path, body, more) {
  const answer = await fetch(api + path, {method, body, headers: Object.assign({}, auth, more)});
  const text = await answer.text();
  return {status: answer.status, text, json: text && answer.headers.get("content-type") == "application/json" ? JSON.parse(text) : null};
}
(async () => {
  const seen = {origin: location.origin, steps: {}};
  try {
    const c = {connectionType: "mqtt", connectionStatus: "closed", uri: "tcp://h:1883", targets: [{address: "a", qos: 0, authorizationContext: ["s"]}]};
    const json = {"Content-Type": "application/json"};
    const made = await call("POST", "/api/2/connections", JSON.stringify(c), json);
    seen.steps.create = made.status;
    const entry = "/api/2/connections/" + made.json.id;
    seen.steps.put = (await call("PUT", entry, JSON.stringify(Object.assign({}, c, {name: "from a page"})), Object.assign({"If-Match": '"rev:1"'}, json))).status;
    seen.name = (await call("GET", entry + "?fields=name,_revision")).json;
    seen.steps.command = (await call("POST", entry + "/command", "connectivity.commands:resetConnectionLogs", {"Content-Type": "text/plain"})).status;
    seen.steps.status = (await call("GET", entry + "/status")).status;
    seen.list = (await call("GET", "/api/2/connections?ids-only=true")).json.length;
    seen.steps.missing = (await call("GET", "/api/2/connections/missing")).status;
    seen.steps.remove = (await call("DELETE", entry)).status;
    const other = await fetch(api + "/api/2/connections", {headers: {"Authorization": "Basic " + btoa("devops:wrong")}});
    seen.steps.wrong = other.status;
    seen.health = await (await fetch(api + "/health")).json();
  } catch (e) { seen.error = String(e); }
  await fetch("/seen", {method: "POST", body: JSON.stringify(seen)});
})();
</script>`

// seen is the report of the page.
type seen struct {
	Origin, Error string
	Steps         map[string]int
	Name          object
	List          int
	Health        object
}

// TestBrowser: a page of another origin uses the API with credentials, in a real browser, which asks with preflights before
// it does (http-api.md 8.1). Without CORS the same page is refused by the browser.
func TestBrowser(t *testing.T) {
	browser := chromium(t)
	for _, row := range []struct {
		name string
		env  []string
		want func(t *testing.T, s seen)
	}{
		{"CORS on", []string{"ENABLE_CORS=true"}, func(t *testing.T, s seen) {
			want := map[string]int{"create": 201, "put": 204, "command": 200, "status": 200, "missing": 404, "remove": 204, "wrong": 401}
			if s.Error != "" || show(s.Steps) != show(want) || s.List != 1 || s.Name["name"] != "from a page" || number(s.Name["_revision"]) != 2 || s.Health["status"] != "UP" {
				t.Fatalf("%+v", s)
			}
		}},
		{"CORS off", nil, func(t *testing.T, s seen) {
			if s.Error == "" || len(s.Steps) != 0 {
				t.Fatalf("the browser let the page through: %+v", s)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := startNode(t, append(sqliteStore(t), row.env...))
			row.want(t, n.browse(t, browser))
		})
	}
}

// browse shows the page to the browser and returns what it reports.
func (n *node) browse(t *testing.T, browser string) seen {
	t.Helper()
	reports := make(chan []byte, 1)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/seen":
			body, _ := io.ReadAll(r.Body)
			select {
			case reports <- body:
			default:
			}
		case r.URL.Path == "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, page, "http://"+n.http, password)
		default:
			http.NotFound(w, r)
		}
	}))
	defer origin.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", origin.URL+"/")
	cmd.WaitDelay = 5 * time.Second
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() { cancel(); <-ended }()
	var report []byte
	select {
	case report = <-reports:
	case <-ended:
		t.Fatalf("the browser ended without a report:\n%s", tail(log.String(), 20))
	case <-ctx.Done():
		t.Fatalf("no report of the page within 90 s:\n%s", tail(log.String(), 20))
	}
	var s seen
	if err := json.Unmarshal(report, &s); err != nil {
		t.Fatalf("%v: %s", err, report)
	}
	if s.Origin != origin.URL || s.Origin == "http://"+n.http {
		t.Fatalf("the page ran at %s", s.Origin)
	}
	return s
}
