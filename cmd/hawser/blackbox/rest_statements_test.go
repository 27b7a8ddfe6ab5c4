package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestRESTStatements are statements of http-api.md that no row of its checklist asks for, on one node: what is sent and what
// must come back.
func TestRESTStatements(t *testing.T) {
	t.Parallel()
	n := startNode(t, sqliteStore(t))
	n.made("p", minimal("tcp://h:1", field("name", "pump")))
	if a := n.rest("POST", api+"/p/command", "connectivity.commands:closeConnection", header("Content-Type", textBody)).want(t, 200); a.header.Get("Entity-Revision") != "2" {
		t.Fatal(a.header)
	}
	type change = func(*http.Request)
	match := func(tag string) change { return header("If-Match", tag) }
	none := func(tag string) change { return header("If-None-Match", tag) }
	text := header("Content-Type", textBody)
	const rev1, rev2 = `"rev:1"`, `"rev:2"`
	type row struct {
		about, method, path string
		body                any
		change              []change
		status              int
		code                string            // of the error
		header              map[string]string // "" must not be there
	}
	rows := []row{
		{"8.1 off", "OPTIONS", api, nil, []change{header("Origin", "https://a.example")}, 405, "", map[string]string{"Allow": "GET, POST", "Access-Control-Allow-Origin": ""}},
		{"10.2", "GET", "/stats/things/", nil, []change{nobody}, 200, "", nil},
		{"10.2", "GET", "/stats/search/", nil, []change{nobody}, 404, "", nil},
		{"10.2", "GET", "/stats", nil, []change{nobody}, 404, "", nil},
		{"10.2", "POST", "/stats/search", nil, []change{nobody}, 405, "", map[string]string{"Allow": "GET"}},
		{"2", "GET", "/stats/things/details", nil, []change{nobody}, 401, "", map[string]string{"WWW-Authenticate": `Basic realm="DITTO-DEVOPS",charset=UTF-8`}},
		{"2", "GET", "/stats/things/details", nil, []change{asUser("devops", "status")}, 401, "", nil},
		{"2", "GET", "/stats/things/details?entity=x&namespace=a&namespace=b", nil, nil, 200, "", nil},
		{"1, step 6", "GET", "/ws/2", nil, nil, 404, "", nil},
		{"1, step 6", "GET", "/.well-known/wot", nil, nil, 404, "", nil},
		{"3.1", "GET", api + "?timeout=", nil, nil, 400, "timeout.invalid", nil},
		{"3.1", "GET", api + "?timeout=-1", nil, nil, 400, "timeout.invalid", nil},
		{"3.1", "GET", api + "?timeout=500ms", nil, nil, 200, "", map[string]string{"Timeout": "500ms"}},
		{"3.1", "GET", api + "?timeout=1w", nil, nil, 400, "gateway:timeout.invalid", nil},
		{"3.1", "GET", api, nil, []change{header("Timeout", "61")}, 400, "gateway:timeout.invalid", nil},
		{"3.1", "GET", api, nil, []change{func(r *http.Request) { r.Header["X-Foo"] = []string{"a", "a"} }}, 400, "gateway:duplicate.header.field", nil},
		{"3.1", "GET", api + "/p?at-historical-timestamp=2020-01-01T00:00:00Z", nil, nil, 404, "connectivity:connection.history.notfound", nil},
		{"3.1", "GET", api + "/p?at-historical-revision=0", nil, nil, 404, "connectivity:connection.history.notfound", nil},
		{"3.2", "GET", api + "/p", nil, nil, 200, "", map[string]string{"ETag": rev1, "Entity-Revision": "2", "Server": "", "Historical-Headers": ""}},
		{"3.2", "GET", "/nowhere", nil, nil, 404, "", map[string]string{"Correlation-Id": "", "Server": ""}},
		{"4", "PUT", api + "/p", minimal("tcp://h:1", field("name", "pump")), []change{header("If-Equal", "skip")}, 412, "connectivity:precondition.failed", map[string]string{"ETag": rev1}},
		{"4", "GET", api, nil, []change{match(rev2), none("*")}, 200, "", nil},
		{"4", "DELETE", api + "/p", "ignored", []change{match(rev2)}, 412, "connectivity:precondition.failed", nil},
		{"4", "DELETE", api + "/nobody", nil, []change{match(rev2)}, 404, "connectivity:connection.notfound", nil},
		{"5", "GET", api + "/%70/", nil, nil, 200, "", nil},
		{"5", "GET", api + "/a%2Fb", nil, nil, 400, "connectivity:connection.id.invalid", nil},
		{"5", "GET", api + "/" + strings.Repeat("x", 101), nil, nil, 400, "connectivity:connection.id.invalid", nil},
		{"5", "POST", api + "/p/command/", "connectivity.commands:openConnection", []change{text}, 404, "", nil},
		{"7.2", "PUT", api + "/p", minimal("tcp://h:1"), []change{header("Content-Type", "application/merge-patch+json")}, 415, "mediatype.unsupported", nil},
		{"7.2", "PUT", api + "/p", minimal("tcp://h:1"), []change{header("Content-Type", "application/vnd.api+json")}, 415, "mediatype.unsupported", nil},
		{"7.2", "PUT", api + "/p", minimal("tcp://h:1"), []change{header("Content-Type", "non sense;;")}, 415, "mediatype.unsupported", nil},
		{"8.3", "GET", api + "/" + strings.Repeat("x", 9000), nil, nil, 414, "", nil},
		{"8.3", "GET", api, nil, []change{header("X-Long", strings.Repeat("x", 17<<10))}, 431, "", nil},
		{"8.3", "GET", api, nil, []change{header(strings.Repeat("x", 65), "1")}, 431, "", nil},
		{"8.3", "GET", api, nil, []change{func(r *http.Request) {
			for i := range 65 {
				r.Header.Set(fmt.Sprint("x-", i), "1")
			}
		}}, 400, "", nil},
	}
	for _, path := range []string{"/status", "/metrics", "/logs"} {
		rows = append(rows,
			row{"4", "GET", api + "/p" + path, nil, []change{none(rev1)}, 304, "", map[string]string{"ETag": rev1}},
			row{"4", "GET", api + "/p" + path, nil, []change{none("*")}, 304, "", nil},
			row{"4", "GET", api + "/p" + path, nil, []change{match(rev2)}, 412, "connectivity:precondition.failed", map[string]string{"ETag": rev1}},
			row{"4", "GET", api + "/nobody" + path, nil, []change{match(rev2)}, 404, "connectivity:connection.notfound", nil},
			row{"3.2", "GET", api + "/p" + path, nil, []change{match(rev1)}, 200, "", map[string]string{"ETag": "", "Entity-Revision": "2"}})
	}
	for _, name := range []string{"resetConnectionMetrics", "enableConnectionLogs", "resetConnectionLogs", "openConnection", "closeConnection"} {
		rows = append(rows,
			row{"4", "POST", api + "/p/command", "connectivity.commands:" + name, []change{text, match(rev2)}, 412, "connectivity:precondition.failed", nil},
			row{"4", "POST", api + "/p/command", "connectivity.commands:" + name, []change{text, none(rev1)}, 412, "connectivity:precondition.failed", nil},
			row{"4", "POST", api + "/nobody/command", "connectivity.commands:" + name, []change{text, match(rev2)}, 404, "connectivity:connection.notfound", nil})
	}
	for _, r := range rows {
		t.Run(fmt.Sprintf("%s: %s %.60s %d", r.about, r.method, r.path, r.status), func(t *testing.T) {
			a := n.as(t).rest(r.method, r.path, r.body, r.change...).want(t, r.status)
			if r.code != "" {
				a.refused(t, r.status, r.code)
			}
			for name, value := range r.header {
				if got := a.header.Get(name); got != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
		})
	}
	for query, want := range map[string]string{
		"?fields=/id": `["p"]`, "?fields=id&fields=name": `[{"id":"p","name":"pump"}]`, "?ids-only=&fields=id": `[{"id":"p"}]`,
		"?fields=name": `[{"name":"pump"}]`, "?fields=sources(addresses)": `[{"sources":[{"addresses":["x/in/#"]}]}]`,
	} {
		if a := n.rest("GET", api+query, nil).want(t, 200); string(a.body) != want {
			t.Errorf("5.1 %s: %s, want %s", query, a.body, want)
		}
	}
}

// TestRESTChecklistIsWhole: every row of the checklist of http-api.md 13 has a test that bears its number.
func TestRESTChecklistIsWhole(t *testing.T) {
	shown := []int{7, 59, 68, 69, 70, 71, 72} // TestREST and TestRESTSwitches
	for _, rows := range [][]restRow{refusedBeforehand, creating("", ""), entry("", ""), below("", ""), listing(""), headersAndTimeouts(""), operators} {
		for _, r := range rows {
			shown = append(shown, numbers(r.name)...)
		}
	}
	for row := 1; row <= 78; row++ {
		if !slices.Contains(shown, row) {
			t.Errorf("row %d has no test", row)
		}
	}
}
