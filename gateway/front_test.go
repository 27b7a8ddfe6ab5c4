package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"hawser/gateway"
)

// TestFront is http-api.md 8.1 to 8.3: what is answered before the path is looked at, and with which headers.
func TestFront(t *testing.T) {
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { gateway.WriteNotFound(w) })
	closed := gateway.Front{}
	cors := gateway.Front{CORS: true}
	https := gateway.Front{CORS: true, ForceHTTPS: true, ProtocolHeaders: []string{"X-Forwarded-Proto", "x_forwarded_proto"}}
	redirect := https
	redirect.RedirectToHTTPS, redirect.NoRedirect = true, regexp.MustCompile(`^(?:/api.*|/ws.*|/status.*|/overall.*)$`)
	many := map[string]string{}
	for i := range 70 {
		many[fmt.Sprint("x-", i)] = "v"
	}
	for _, row := range []struct {
		name, method, uri string
		front             gateway.Front
		headers           map[string]string
		status            int
		answer            map[string]string // header to value, "" for none
	}{
		{"off: OPTIONS is the route's", "OPTIONS", "/any", closed, map[string]string{"Origin": "https://a.example"}, 404, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"preflight", "OPTIONS", "/any", cors, map[string]string{"Origin": "https://a.example", "Access-Control-Request-Headers": "authorization, x-y"}, 200, map[string]string{
			"Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Methods": "OPTIONS, GET, PUT, PATCH, POST, HEAD, DELETE",
			"Access-Control-Allow-Headers": "authorization, x-y", "Access-Control-Allow-Credentials": "", "Access-Control-Max-Age": "", "Access-Control-Expose-Headers": "",
		}},
		{"an error carries the headers", "GET", "/any", cors, map[string]string{"Origin": "https://a.example"}, 404, map[string]string{
			"Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Headers": ""}},
		{"no origin", "GET", "/any", cors, nil, 404, map[string]string{"Access-Control-Allow-Origin": "*"}},
		{"plain http", "GET", "/api/2/connections", https, nil, 404, map[string]string{"Access-Control-Allow-Origin": "", "Location": ""}},
		{"behind a TLS proxy", "GET", "/api/2/connections", https, map[string]string{"X-Forwarded-Proto": "HTTPS"}, 404, map[string]string{"Access-Control-Allow-Origin": "*"}},
		{"the first header counts", "GET", "/x", https, map[string]string{"X-Forwarded-Proto": "http", "X_forwarded_proto": "https"}, 404, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"the second, alone", "GET", "/x", https, map[string]string{"X_forwarded_proto": "https"}, 404, map[string]string{"Access-Control-Allow-Origin": "*"}},
		{"redirect", "GET", "/health?a=b", redirect, nil, 301, map[string]string{"Location": "https://example.com/health?a=b", "Access-Control-Allow-Origin": ""}},
		{"not redirected", "GET", "/api/2/connections", redirect, nil, 404, map[string]string{"Location": ""}},
		{"query", "GET", "/api/2/connections?timeout=%zz", cors, nil, 400, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"long URI", "GET", "/" + strings.Repeat("a", 8<<10), closed, nil, 414, nil},
		{"long header", "GET", "/", closed, map[string]string{"x-a": strings.Repeat("a", 16<<10+1)}, 431, nil},
		{"long name", "GET", "/", closed, map[string]string{strings.Repeat("a", 65): "v"}, 431, nil},
		{"many headers", "GET", "/", closed, many, 400, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(row.method, row.uri, nil)
			for k, v := range row.headers {
				r.Header[http.CanonicalHeaderKey(k)] = []string{v}
			}
			w := httptest.NewRecorder()
			row.front.Handler(inner).ServeHTTP(w, r)
			if w.Code != row.status {
				t.Fatalf("%d %s, want %d", w.Code, w.Body, row.status)
			}
			for k, v := range row.answer {
				if got := w.Header().Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			if row.name == "query" && !strings.Contains(w.Body.String(), row.uri) {
				t.Errorf("the raw URI is not named: %s", w.Body)
			}
		})
	}
}
