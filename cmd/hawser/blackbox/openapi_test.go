package blackbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// TestOpenAPI: the document at /api/2/openapi.json is valid, knows exactly the methods that the service has, and describes
// what the service really answers.
func TestOpenAPI(t *testing.T) {
	good := mosquitto(t)
	n := startNode(t, sqliteStore(t))
	served := n.rest("GET", "/api/2/openapi.json", nil, nobody).want(t, 200)
	doc, err := openapi3.NewLoader().LoadFromData(served.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := described{n: n, doc: doc, router: router, seen: map[string]bool{}}
	t.Run("methods", func(t *testing.T) { d.methods(t) })
	t.Run("answers", func(t *testing.T) { d.answers(t, good) })
	t.Run("refuses what is not described", func(t *testing.T) {
		// The check itself is checked: an answer with a member too many, of another status, of another type is found.
		for _, bad := range []answer{
			{status: 200, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(`{"id":"a","what":1}`)},
			{status: 299, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(`{}`)},
			{status: 404, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(`{"status":"404","error":"x","message":"y"}`)},
			{status: 200, header: http.Header{"Content-Type": {"text/html"}}, body: []byte(`x`)},
		} {
			if err := d.check("GET", api+"/a", nil, "", bad); err == nil {
				t.Errorf("%d %s is described", bad.status, bad.body)
			}
		}
	})
}

// described compares what the service does with the document.
type described struct {
	n      *node
	doc    *openapi3.T
	router routers.Router
	seen   map[string]bool // "GET /path 200": what was answered
}

var allMethods = []string{"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"}

// methods: a method of the document is there; one that is not in it is answered 405 with the document's methods.
func (d described) methods(t *testing.T) {
	for path, item := range d.doc.Paths.Map() {
		known := slices.Sorted(maps.Keys(item.Operations()))
		for _, method := range allMethods {
			there := strings.NewReplacer("{connectionId}", "nobody", "{service}", "connectivity", "{instance}", d.n.instance).Replace(path)
			a := d.n.as(t).rest(method, there, nil)
			if slices.Contains(known, method) {
				if a.status == 405 || a.status == 404 && method != "DELETE" && !strings.Contains(path, "{") {
					t.Errorf("%s %s: %d", method, path, a.status)
				}
				continue
			}
			allowed := strings.Split(a.header.Get("Allow"), ", ")
			slices.Sort(allowed)
			if a.status != 405 || !slices.Equal(allowed, known) {
				t.Errorf("%s %s: %d, Allow %v, the document has %v", method, path, a.status, allowed, known)
			}
		}
	}
}

// answers sends requests of each kind and compares request and answer with the document.
func (d described) answers(t *testing.T, good string) {
	dead := "tcp://" + freePorts(t, 1)[0]
	hanging := "tcp://" + hangingEndpoint(t)
	rich := func(c object) {
		c["connectionType"], c["uri"], c["name"] = "mqtt-5", "ssl://u:p@h:8883", "rich"
		c["credentials"] = object{"type": "client-cert"}
		c["sshTunnel"] = object{"enabled": true, "uri": "ssh://h:22", "validateHost": false, "credentials": object{"type": "plain", "username": "u", "password": "p"}}
		c["mappingDefinitions"] = object{"m": object{"mappingEngine": "Normalized", "options": object{"fields": "a"}, "incomingConditions": object{"c": "fn:delete()"}}}
		c["specificConfig"], c["tags"] = object{"cleanSession": true}, []any{"a"}
		s := c["sources"].([]any)[0].(object)
		s["enforcement"] = object{"input": "{{ source:address }}", "filters": []any{"a"}}
		s["acknowledgementRequests"] = object{"includes": []any{"abc"}, "filter": "fn:delete()"}
		s["declaredAcks"], s["payloadMapping"] = []any{"{{connection:id}}:ack"}, []any{"m"}
		target := c["targets"].([]any)[0].(object)
		target["issuedAcknowledgementLabel"], target["headerMapping"], target["payloadMapping"] = "live-response", object{"a": "b"}, []any{"Ditto"}
	}
	ids := envelope(idsActor, nil, object{"type": "connectivity.commands:retrieveAllConnectionIds"})
	command := func(name string) string { return "connectivity.commands:" + name }
	for _, row := range []struct {
		method, path string
		body         any
		status       int
		change       []func(*http.Request)
	}{
		{"GET", api, nil, 200, nil},
		{"PUT", api + "/a", minimal(good), 201, nil},
		{"PUT", api + "/a", minimal(good), 204, nil},
		{"PUT", api + "/rich", minimal(good, rich), 201, nil},
		{"GET", api + "/rich", nil, 200, nil},
		{"PUT", api + "/hono", object{"connectionType": "hono", "connectionStatus": "closed", "sources": []any{object{"addresses": []any{"event"}, "authorizationContext": []any{"s"}}}}, 201, nil},
		{"GET", api + "/hono", nil, 200, nil},
		{"PUT", api + "/oauth", object{"connectionType": "http-push", "connectionStatus": "closed", "uri": "https://h:443", "targets": []any{object{"address": "POST:/", "authorizationContext": []any{"s"}}},
			"credentials": object{"type": "oauth-client-credentials", "tokenEndpoint": "https://h/t", "clientId": "c", "clientSecret": "s", "requestedScopes": "a"}}, 201, nil},
		{"GET", api, nil, 200, nil},
		{"GET", api + "?ids-only=true", nil, 200, nil},
		{"GET", api + "?fields=id,_revision,sources(addresses)", nil, 200, nil},
		{"GET", api + "/rich?fields=name,_created,__lifecycle,credentials(type)", nil, 200, nil},
		{"GET", api + "?timeout=61", nil, 400, nil},
		{"GET", api, nil, 401, []func(*http.Request){nobody}},
		{"POST", api, minimal(good), 201, nil},
		{"POST", api, minimal(good), 201, []func(*http.Request){header("Content-Type", "application/octet-stream")}},
		{"POST", api + "?response-required=false", minimal(good), 202, nil},
		{"POST", api + "?dry-run=true", minimal(good), 200, nil},
		{"POST", api + "?dry-run=true", minimal(dead), 504, nil},
		{"POST", api, minimal(good, field("id", "x")), 400, nil},
		{"POST", api, minimal(good, field("clientCount", 2)), 400, nil},
		{"POST", api, minimal(good), 412, []func(*http.Request){header("If-Match", "*")}},
		{"POST", api, minimal(good, field("name", strings.Repeat("x", 1100<<10))), 413, []func(*http.Request){header("Expect", "100-continue")}},
		{"POST", api, minimal(good), 415, []func(*http.Request){header("Content-Type", "text/plain")}},
		{"POST", api, minimal(good, func(c object) {
			c["sources"].([]any)[0].(object)["acknowledgementRequests"] = object{"includes": []any{"a b"}}
		}), 422, nil},
		{"POST", api, minimal(good, func(c object) {
			target := c["targets"].([]any)[0].(object)
			target["issuedAcknowledgementLabel"] = "{{connection:id}}:ack"
			c["targets"] = []any{target, target}
		}), 409, nil},
		{"GET", api + "/a", nil, 200, nil},
		{"GET", api + "/a", nil, 304, []func(*http.Request){header("If-None-Match", `"rev:2"`)}},
		{"GET", api + "/a", nil, 412, []func(*http.Request){header("If-Match", `"rev:1"`)}},
		{"GET", api + "/a?at-historical-revision=1", nil, 200, nil},
		{"GET", api + "/a?at-historical-revision=9", nil, 404, nil},
		{"GET", api + "/a%20b", nil, 400, nil},
		{"GET", api + "/missing", nil, 404, nil},
		{"PUT", api + "/a", minimal(good), 412, []func(*http.Request){header("If-None-Match", "*")}},
		{"PUT", api + "/a", minimal(good, lacks("connectionStatus")), 400, nil},
		{"PUT", api + "/dead", minimal(dead), 201, nil},
		{"PUT", api + "/dead", minimal(dead, field("connectionStatus", "open")), 504, nil},
		{"GET", api + "/dead/status", nil, 200, nil},
		{"DELETE", api + "/dead", nil, 204, nil},
		{"GET", api + "/a/status", nil, 200, nil},
		{"GET", api + "/a/metrics", nil, 200, nil},
		{"GET", api + "/a/logs", nil, 200, nil},
		{"POST", api + "/a/command", command("openConnection"), 200, []func(*http.Request){header("Content-Type", textBody)}},
		{"GET", api + "/a/status", nil, 200, nil},
		{"GET", api + "/a/metrics", nil, 200, nil},
		{"GET", api + "/a/logs", nil, 200, nil},
		{"POST", api + "/a/command", command("closeConnection"), 200, []func(*http.Request){header("Content-Type", textBody)}},
		{"POST", api + "/a/command", "nonsense", 400, []func(*http.Request){header("Content-Type", textBody)}},
		{"POST", api + "/a/command", command("openConnection"), 415, nil},
		{"POST", api + "/missing/command", command("openConnection"), 404, []func(*http.Request){header("Content-Type", textBody)}},
		{"PUT", api + "/hanging", minimal(hanging), 201, nil},
		{"POST", api + "/hanging/command?timeout=300ms", command("openConnection"), 408, []func(*http.Request){header("Content-Type", textBody)}},
		{"DELETE", api + "/hanging", nil, 204, nil},
		{"DELETE", api + "/a?response-required=false", nil, 202, nil},
		{"DELETE", api + "/a", nil, 404, nil},
		{"GET", "/health", nil, 200, nil},
		{"GET", "/status", nil, 200, nil},
		{"GET", "/status/health", nil, 200, nil},
		{"GET", "/status/cluster", nil, 200, nil},
		{"POST", "/status", nil, 405, nil},
		{"GET", "/overall/status", nil, 200, nil},
		{"GET", "/overall/status/health", nil, 200, nil},
		{"GET", "/overall/status/cluster", nil, 200, nil},
		{"GET", "/overall/status/cluster", nil, 401, []func(*http.Request){nobody}},
		{"GET", "/api/2/openapi.json", nil, 200, nil},
		{"GET", "/stats/things", nil, 200, []func(*http.Request){nobody}},
		{"GET", "/stats/search", nil, 200, []func(*http.Request){nobody}},
		{"GET", "/stats/things/details?entity=a&entity=b&namespace=c", nil, 200, nil},
		{"GET", "/stats/things/details", nil, 401, []func(*http.Request){nobody}},
		{"POST", "/devops/piggyback", ids, 200, nil},
		{"POST", "/devops/piggyback/connectivity", ids, 200, nil},
		{"POST", "/devops/piggyback/connectivity/box-1", ids, 200, nil},
		{"POST", "/devops/piggyback", envelope(shardRegion, object{"response-required": false}, on("closeConnection", "rich")), 202, nil},
		{"POST", "/devops/piggyback", "{}", 400, nil},
		{"POST", "/devops/piggyback", ids, 401, []func(*http.Request){nobody}},
		{"POST", "/devops/piggyback/nobody", ids, 404, nil},
		{"POST", "/devops/piggyback", strings.Repeat(" ", 1100<<10), 413, []func(*http.Request){header("Expect", "100-continue")}},
		{"GET", "/devops/logging", nil, 200, nil},
		{"GET", "/devops/logging/connectivity?includeDisabledLoggers=true", nil, 200, nil},
		{"GET", "/devops/logging/gateway/box-1", nil, 200, nil},
		{"GET", "/devops/logging/connectivity/box-9", nil, 404, nil},
		{"PUT", "/devops/logging", object{"level": "info"}, 200, nil},
		{"PUT", "/devops/logging/connectivity", object{"level": "info"}, 200, nil},
		{"PUT", "/devops/logging/connectivity/box-1", object{"level": "info", "logger": "hawser"}, 200, nil},
		{"PUT", "/devops/logging", object{"level": "loud"}, 400, nil},
		{"GET", "/devops/config?path=ditto.info", nil, 200, nil},
		{"GET", "/devops/config/connectivity", nil, 200, nil},
		{"GET", "/devops/config/connectivity/box-1", nil, 200, nil},
	} {
		t.Run(fmt.Sprintf("%s %s %d", row.method, row.path, row.status), func(t *testing.T) {
			a := d.n.as(t).rest(row.method, row.path, row.body, row.change...).want(t, row.status)
			text, ok := row.body.(string)
			if row.body != nil && !ok {
				text = show(row.body)
			}
			if row.status == 405 {
				return // no operation to compare with
			}
			if err := d.check(row.method, row.path, row.change, text, a); err != nil {
				t.Errorf("%v\n%s", err, a.body)
			}
			if row.status < 300 && row.method == "GET" && !strings.Contains(row.path, "fields") {
				d.whole(t, row.path, a.body)
			}
		})
	}
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(d.seen)), func(s string) bool { return strings.HasPrefix(s, method+" "+path+" 2") }) {
				t.Errorf("%s %s was never answered with success", method, path)
			}
		}
	}
}

// check compares one request and its answer with the document.
func (d described) check(method, path string, change []func(*http.Request), body string, a answer) error {
	r, err := http.NewRequest(method, "http://"+d.n.http+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(r)
	}
	route, parameters, err := d.router.FindRoute(r)
	if err != nil {
		return err
	}
	d.seen[fmt.Sprintf("%s %s %d", method, route.Path, a.status)] = true
	request := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true, ExcludeRequestBody: a.status >= 400 || r.Header.Get("Content-Type") == "application/octet-stream",
	}}
	if a.status < 400 {
		if err := openapi3filter.ValidateRequest(context.Background(), request); err != nil {
			return fmt.Errorf("the request: %w", err)
		}
	}
	response := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: len(a.body) == 0, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
		return err
	}
	described := route.Operation.Responses.Status(a.status).Value
	if len(a.body) > 0 && len(described.Content) == 0 {
		return fmt.Errorf("%d has a body, the document says it has none", a.status)
	}
	if len(a.body) == 0 && len(described.Content) > 0 {
		return fmt.Errorf("%d has no body, the document says it has one", a.status)
	}
	return nil
}

// whole compares connections that are shown in full with the schema of one, which the operation's alternatives are wider than.
func (d described) whole(t *testing.T, path string, body []byte) {
	t.Helper()
	if !strings.HasPrefix(path, api) || strings.Contains(path, "ids-only") || strings.Count(path, "/") > 4 {
		return
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatal(err)
	}
	all, isList := value.([]any)
	if !isList {
		all = []any{value}
	}
	for _, c := range all {
		if err := d.doc.Components.Schemas["Connection"].Value.VisitJSON(c); err != nil {
			t.Errorf("%v\n%s", err, show(c))
		}
	}
}
