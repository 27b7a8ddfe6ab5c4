package blackbox

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// configFile writes a configuration file.
func configFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hawser.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// backlog says, by nil, that a connection to the API is established and not accepted: /proc/net/tcp lists it without an inode.
func (n *node) backlog() error {
	_, port, err := net.SplitHostPort(n.http)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) && f[3] == "01" && f[9] == "0" {
			return nil
		}
	}
	return errors.New("every connection is accepted")
}

// TestRESTSwitches are the rows of http-api.md 13 that need a configuration of their own.
func TestRESTSwitches(t *testing.T) {
	t.Run("59 more than the limit", func(t *testing.T) {
		t.Parallel()
		onBothStores(t, func(t *testing.T, env []string) {
			n := startNode(t, env)
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					if a, err := n.try("PUT", fmt.Sprintf("%s/c-%03d", api, i), show(minimal("tcp://h:1"))); err != nil || a.status != 201 {
						t.Errorf("%v %d %s", err, a.status, a.body)
					}
				})
			}
			wg.Wait()
			if all := n.rest("GET", api, nil).list(t); len(all) != 100 {
				t.Fatalf("%d connections", len(all))
			}
			n.made("c-100", minimal("tcp://h:1"))
			n.rest("GET", api, nil).refused(t, 400, "connectivity:connections.amount.illegal", "100")
			n.rest("GET", api+"?fields=id,name", nil).refused(t, 400, "connectivity:connections.amount.illegal")
			if ids := n.rest("GET", api+"?ids-only=true", nil).list(t); len(ids) != 101 {
				t.Fatalf("%d ids", len(ids))
			}
		})
	})
	for name, row := range map[string]struct {
		env []string
		do  func(t *testing.T, n *node)
	}{
		"68, 69 CORS": {[]string{"ENABLE_CORS=true"}, func(t *testing.T, n *node) {
			origin := header("Origin", "https://page.example")
			a := n.rest("OPTIONS", "/anything", nil, nobody, origin, header("Access-Control-Request-Headers", "authorization")).empty(t, 200)
			if a.header.Get("Access-Control-Allow-Origin") != "https://page.example" || a.header.Get("Access-Control-Allow-Headers") != "authorization" {
				t.Fatal(a.header)
			}
			for _, path := range []string{api, "/nowhere", api + "?timeout=x", "/api/1/x"} {
				a := n.rest("GET", path, nil, nobody, origin)
				if a.status < 400 || a.header.Get("Access-Control-Allow-Origin") != "https://page.example" || a.header.Get("Access-Control-Allow-Methods") != "OPTIONS, GET, PUT, PATCH, POST, HEAD, DELETE" {
					t.Fatalf("%s: %d %v", path, a.status, a.header)
				}
			}
			n.rest("GET", api, nil, nobody, origin).text(t, 401)
		}},
		"70, 71 HTTPS": {[]string{"FORCE_HTTPS=true", "REDIRECT_TO_HTTPS=true"}, func(t *testing.T, n *node) {
			n.rest("GET", api, nil).text(t, 404)
			n.rest("GET", api, nil, header("X-Forwarded-Proto", "https")).want(t, 200)
			n.rest("GET", api, nil, nobody, header("X-Forwarded-Proto", "https")).text(t, 401)
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			resp, err := client.Get("http://" + n.http + "/health?a=b")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 301 || resp.Header.Get("Location") != "https://"+n.http+"/health?a=b" {
				t.Fatalf("%d %v", resp.StatusCode, resp.Header)
			}
		}},
		"72 not secured": {[]string{"DEVOPS_SECURED=false"}, func(t *testing.T, n *node) {
			n.rest("GET", api, nil, nobody).want(t, 200)
			n.rest("GET", api, nil, asUser("devops", "wrong")).want(t, 200)
			n.rest("GET", "/overall/status", nil, nobody).want(t, 200)
		}},
		"past states switched off": {[]string{"DITTO_DEVOPS_FEATURE_HISTORICAL_APIS_ENABLED=false"}, func(t *testing.T, n *node) {
			n.made("a", minimal("tcp://h:1"))
			for _, query := range []string{"at-historical-revision=1", "at-historical-timestamp=2020-01-01T00:00:00Z"} {
				name, _, _ := strings.Cut(query, "=")
				n.rest("GET", api+"/a?"+query, nil).refused(t, 400, "signal.unsupported", name)
			}
			wantError(t, n.command(on("retrieveConnection", "a"), object{"at-historical-revision": 1}), 400, "signal.unsupported")
			n.rest("GET", api+"/a", nil).want(t, 200)
			n.rest("DELETE", api+"/a", nil, header("at-historical-revision", "1")).want(t, 204) // no query
			n.rest("GET", api+"/a?at-historical-revision=1", nil).refused(t, 404, "connectivity:connection.notfound")
		}},
		"kept headers of past states": {[]string{"CONNECTION_EVENT_HISTORICAL_HEADERS_TO_PERSIST=correlation-id,x-why"}, func(t *testing.T, n *node) {
			n.rest("PUT", api+"/a", minimal("tcp://h:1"), header("Correlation-Id", "first"), header("X-Why", "because")).want(t, 201)
			n.rest("PUT", api+"/a", minimal("tcp://h:1"), header("Correlation-Id", "second")).want(t, 204)
			a := n.rest("GET", api+"/a?at-historical-revision=1", nil).want(t, 200)
			if got := a.header.Get("Historical-Headers"); got != `{"correlation-id":"first","x-why":"because"}` {
				t.Errorf("%q", got)
			}
			if got := n.rest("GET", api+"/a", nil).want(t, 200).header.Get("Historical-Headers"); got != "" {
				t.Errorf("of the present state: %q", got)
			}
		}},
		"query parameters that are headers": {[]string{"HAWSER_CONFIG=" + configFile(t, "http.query-params-as-headers: [x-mine, correlation-id]\n")}, func(t *testing.T, n *node) {
			n.rest("GET", api+"?x-mine=1", nil, header("X-Mine", "2")).refused(t, 400, "gateway:duplicate.header.field", "x-mine")
			n.rest("GET", api+"?timeout=abc", nil).want(t, 200) // not among them any more
			n.rest("GET", api, nil, header("timeout", "abc")).refused(t, 400, "timeout.invalid")
			n.rest("GET", api+"?correlation-id=", nil).refused(t, 400, "header.invalid")
			n.request("POST", piggyback+"?timeout=abc", envelope(idsActor, nil, object{"type": "connectivity.commands:retrieveAllConnectionIds"})).want(t, 200)
			n.request("POST", piggyback+"?correlation-id=", envelope(idsActor, nil, object{"type": "connectivity.commands:retrieveAllConnectionIds"})).refused(t, 400, "header.invalid")
		}},
		"connections at one time": {[]string{"HAWSER_HTTP_MAX_CONNECTIONS=2"}, func(t *testing.T, n *node) {
			var held []net.Conn
			for range 2 {
				c, err := net.Dial("tcp", n.http)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				held = append(held, c)
				// It is accepted: it is answered.
				if _, err := fmt.Fprintf(c, "GET /status HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			answered := make(chan answer, 1)
			go func() {
				a, err := n.try("GET", api, "")
				if err != nil {
					t.Error(err)
				}
				answered <- a
			}()
			eventually(t, 10*time.Second, "the third connection waits to be accepted", func() error { return n.backlog() })
			select {
			case a := <-answered:
				t.Fatalf("a third connection was answered: %d", a.status)
			default:
			}
			_ = held[0].Close()
			if a := <-answered; a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}},
		"health without checks": {[]string{"HEALTH_CHECK_ENABLED=false", "HEALTH_CHECK_ROLES_ENABLED=false"}, func(t *testing.T, n *node) {
			if a := n.rest("GET", "/status/health", nil, nobody).want(t, 200); string(a.body) != `{"status":"UP"}` {
				t.Errorf("%s", a.body)
			}
			if a := n.rest("GET", "/overall/status/health", nil).want(t, 200); strings.Contains(string(a.body), "expected-roles") || strings.Contains(string(a.body), "persistence") {
				t.Errorf("%s", a.body)
			}
		}},
		"media types": {[]string{"ADDITIONAL_ACCEPTED_MEDIA_TYPES=application/x-mine"}, func(t *testing.T, n *node) {
			n.rest("POST", api, minimal("tcp://h:1"), header("Content-Type", "application/x-mine")).want(t, 201)
			n.rest("POST", api, minimal("tcp://h:1"), without("Content-Type")).refused(t, 415, "mediatype.unsupported")
		}},
		"connection-model 55 blocked hosts": {[]string{"CONNECTIVITY_CONNECTION_BLOCKED_HOSTNAMES=localhost"}, func(t *testing.T, n *node) {
			n.rest("POST", api, minimal("tcp://127.0.0.1:1883")).refused(t, 400, "connectivity:connection.configuration.invalid", "/uri", "127.0.0.1")
		}},
		"connection-model 56 blocked subnets alone, O7": {[]string{"CONNECTIVITY_CONNECTION_BLOCKED_SUBNETS=127.0.0.0/8"}, func(t *testing.T, n *node) {
			n.rest("POST", api, minimal("tcp://127.0.0.1:1883")).refused(t, 400, "connectivity:connection.configuration.invalid", "/uri", "127.0.0.1")
		}},
		"connection-model 15 limits of the validation": {[]string{"CONNECTIVITY_HTTP_PUSH_REQUEST_TIMEOUT=5s", "CONNECTIVITY_HTTP_OAUTH2_ENFORCE_HTTPS=false",
			"CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_SCRIPT_SIZE_BYTES=10", "HAWSER_CONFIG=" + configFile(t, "connection.http-push.hmac-algorithms: [az-sasl]\n")}, func(t *testing.T, n *node) {
			push := func(members object) object {
				c := object{"connectionType": "http-push", "connectionStatus": "closed", "uri": "https://h:443", "targets": []any{object{"address": "POST:/", "authorizationContext": []any{"s"}}}}
				maps.Copy(c, members)
				return c
			}
			const cfg = "connectivity:connection.configuration.invalid"
			n.rest("POST", api, push(object{"specificConfig": object{"idleTimeout": "5s"}})).want(t, 201)
			n.rest("POST", api, push(object{"specificConfig": object{"idleTimeout": "6s"}})).refused(t, 400, cfg, "/specificConfig/idleTimeout")
			n.rest("POST", api, push(object{"credentials": object{"type": "oauth-client-credentials", "tokenEndpoint": "http://h/t", "clientId": "c", "clientSecret": "s", "requestedScopes": "a"}})).want(t, 201)
			n.rest("POST", api, push(object{"credentials": object{"type": "hmac", "algorithm": "az-sasl", "parameters": object{}}})).want(t, 201)
			n.rest("POST", api, push(object{"credentials": object{"type": "hmac", "algorithm": "az-monitor-2016-04-01", "parameters": object{}}})).refused(t, 400, cfg, "/credentials/algorithm", "az-sasl")
			n.rest("POST", api, push(object{"mappingDefinitions": object{"m": object{"mappingEngine": "JavaScript", "options": object{"outgoingScript": "01234567890"}}}})).refused(t, 400, cfg, "/mappingDefinitions/m", "10")
		}},
		"connection-model 55 default": {nil, func(t *testing.T, n *node) {
			n.rest("POST", api, minimal("tcp://127.0.0.1:1883")).want(t, 201)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, append(sqliteStore(t), row.env...))
			if slices.Contains(row.env, "DEVOPS_SECURED=false") {
				n.env = slices.DeleteFunc(n.env, func(v string) bool { return strings.HasPrefix(v, "DEVOPS_PASSWORD=") })
			}
			n.start()
			row.do(t, n)
		})
	}
}
