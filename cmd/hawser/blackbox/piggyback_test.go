package blackbox

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPiggybackEnvelope is rows 1–27 of piggyback.md 12: what the gateway answers before or around a target.
func TestPiggybackEnvelope(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		hanging := hangingEndpoint(t)
		valid := envelope(shardRegion, nil, on("retrieveConnection", "nobody"))
		const path = "/devops/piggyback/connectivity"

		for _, row := range []struct {
			row    string
			method string
			path   string
			body   string
			change func(*http.Request)
			check  func(t *testing.T, a answer)
		}{
			{row: "1 no credentials", body: valid, change: func(r *http.Request) { r.Header.Del("Authorization") },
				check: plain(401, "The resource requires authentication, which was not supplied with the request")},
			{row: "2 wrong password", body: valid, change: func(r *http.Request) { r.SetBasicAuth("devops", "wrong") },
				check: plain(401, "The supplied authentication is invalid")},
			{row: "3 wrong user", body: valid, change: func(r *http.Request) { r.SetBasicAuth("admin", password) },
				check: plain(401, "The supplied authentication is invalid")},
			{row: "4 GET", method: http.MethodGet, check: func(t *testing.T, a answer) {
				if a.status != 405 || a.header.Get("Allow") != "POST" {
					t.Fatalf("%d, Allow %q", a.status, a.header.Get("Allow"))
				}
			}},
			{row: "5 empty object", body: `{}`, check: e1(400, "json.field.missing", "</targetActorSelection>")},
			{row: "6 no headers", body: `{"targetActorSelection":"` + shardRegion + `","piggybackCommand":{"type":"connectivity.commands:retrieveConnection","connectionId":"nobody"}}`,
				check: aggregated(n, func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "7 no command", body: `{"targetActorSelection":"x","headers":{}}`, check: e1(400, "json.field.missing", "</piggybackCommand>")},
			{row: "8 array", body: `[]`, check: e1(400, "json.format.invalid", "")},
			{row: "9 not JSON", body: `x`, check: e1(400, "json.invalid", "")},
			{row: "9a empty", body: ``, check: e1(400, "json.invalid", "")},
			{row: "10 number as target", body: `{"targetActorSelection":5,"headers":{},"piggybackCommand":{}}`, check: e1(400, "json.invalid", "</targetActorSelection>")},
			{row: "11 sudo header", body: envelope(shardRegion, object{"ditto-sudo": "yes"}, on("retrieveConnection", "x")),
				check: func(t *testing.T, a answer) {
					e1(400, "header.invalid", "")(t, a)
					if key := a.object(t)["invalidHeaderKey"]; key != "ditto-sudo" {
						t.Fatalf("invalidHeaderKey %v", key)
					}
				}},
			{row: "12 timeout above the limit", path: path + "?timeout=61s", body: valid, check: e1(400, "gateway:timeout.invalid", "<61,000ms>")},
			{row: "13 timeout unreadable", path: path + "?timeout=abc", body: valid, check: e1(400, "timeout.invalid", "")},
			{row: "14 timeout zero", path: path + "?timeout=0", body: valid, check: e1(400, "header.invalid", "timeout")},
			{row: "15 content type", body: valid, change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
				check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "16 unknown type", body: envelope(shardRegion, nil, object{"type": "no.such:thing"}),
				check: direct(func(t *testing.T, reply object) { wantE2(t, reply, 400, "json.type.notparsable") })},
			{row: "17 no type", body: envelope(shardRegion, nil, object{"connectionId": "x"}),
				check: direct(func(t *testing.T, reply object) {
					mention(t, wantE2(t, reply, 400, "json.type.notparsable"), "<null>")
				})},
			{row: "18 no connection id", body: envelope(shardRegion, nil, object{"type": "connectivity.commands:retrieveConnection"}),
				check: direct(func(t *testing.T, reply object) {
					mention(t, wantE2(t, reply, 400, "json.field.missing"), "</connectionId>")
				})},
			{row: "19 unknown id", body: valid, check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "20 unknown id, aggregate absent", body: envelope(shardRegion, object{"aggregate": nil}, on("retrieveConnection", "nobody")),
				check: aggregated(n, func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "21 unknown target", body: envelope("/user/nobody", object{"timeout": "2s"}, on("retrieveConnection", "x")),
				check: direct(func(t *testing.T, reply object) {
					mention(t, wantE2(t, reply, 404, "devops:target.notfound"), shardRegion, idsActor)
				})},
			{row: "23 unknown service", path: "/devops/piggyback/nosuch", body: valid, check: e1(404, "devops:service.notfound", "nosuch")},
			{row: "24 right instance", path: path + "/" + n.instance, body: valid,
				check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "25 wrong instance", path: path + "/nosuch", body: valid, check: e1(404, "devops:instance.notfound", "nosuch")},
			{row: "26 group topic", body: envelope(shardRegion, object{"is-group-topic": true}, on("retrieveConnection", "nobody")),
				check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "27 group topic, no service", path: "/devops/piggyback", body: envelope(shardRegion, object{"is-group-topic": true}, on("retrieveConnection", "nobody")),
				check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
			{row: "58 ids at the shard target", body: envelope(shardRegion, nil, object{"type": "connectivity.commands:retrieveAllConnectionIds"}),
				check: direct(func(t *testing.T, reply object) { wantE2(t, reply, 400, "json.type.notparsable") })},
			{row: "61 ids by tag without tag", body: envelope(idsActor, nil, object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag"}),
				check: direct(func(t *testing.T, reply object) { mention(t, wantE2(t, reply, 400, "json.field.missing"), "</tag>") })},
			{row: "72 loggingExpired", body: envelope(shardRegion, nil, on("loggingExpired", "x")),
				check: direct(func(t *testing.T, reply object) { wantE2(t, reply, 400, "json.type.notparsable") })},
			{row: "84 no response required", body: envelope(shardRegion, object{"response-required": false}, on("closeConnection", "nobody")),
				check: func(t *testing.T, a answer) {
					if a.status != http.StatusAccepted || len(a.body) != 0 {
						t.Fatalf("%d %q, want 202 and nothing", a.status, a.body)
					}
				}},
		} {
			t.Run(row.row, func(t *testing.T) {
				method, p := row.method, row.path
				if method == "" {
					method = http.MethodPost
				}
				if p == "" {
					p = path
				}
				change := row.change
				if change == nil {
					change = func(*http.Request) {}
				}
				row.check(t, n.as(t).request(method, p, row.body, change))
			})
		}

		t.Run("22 slow endpoint", func(t *testing.T) {
			wantStatus(t, n.command(with("createConnection", mqttConnection("slow", "tcp://"+hanging, "closed"))), 201)
			for _, c := range []struct {
				timeout string
				check   func(t *testing.T, a answer)
			}{
				{"2s", direct(func(t *testing.T, reply object) { wantE2(t, reply, 503, "ask.error") })},
				{"20s", func(t *testing.T, a answer) {
					if a.status != 408 || string(a.body) != "null" {
						t.Fatalf("%d %q, want 408 null", a.status, a.body)
					}
				}},
			} {
				t.Run(c.timeout, func(t *testing.T) {
					began := time.Now()
					a := n.as(t).request(http.MethodPost, path, envelope(shardRegion, object{"ditto-sudo": true, "timeout": c.timeout}, on("openConnection", "slow")))
					c.check(t, a)
					want, _ := time.ParseDuration(c.timeout)
					if took := time.Since(began); took < want-100*time.Millisecond {
						t.Fatalf("answered after %v, before its timeout", took)
					}
				})
			}
		})
	})
}

// TestConnectionLifecycle is rows 30–64 and 73–76: what an operator does to connections.
func TestConnectionLifecycle(t *testing.T) {
	broker := mosquitto(t)
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		dead := freePorts(t, 1)[0]
		rows := map[string]func(t *testing.T, n *node, id string){
			"30 create closed": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				s := n.command(on("retrieveConnectionStatus", id))
				wantStatus(t, s, 200)
				if s["connectionStatus"] != "closed" || s["liveStatus"] != "closed" {
					t.Fatal(show(s))
				}
			},
			"31 create open at a dead endpoint": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, "tcp://"+dead, "open"))), 201)
				n.awaitLive(id, "misconfigured")
			},
			"32 ids": func(t *testing.T, n *node, id string) {
				c := mqttConnection(id, broker, "closed")
				delete(c, "id")
				reply := n.command(with("createConnection", c))
				wantStatus(t, reply, 201)
				made, _ := reply["connection"].(object)["id"].(string)
				if len(made) != 36 {
					t.Fatalf("id %q is no UUID", made)
				}
				wantStatus(t, n.command(on("retrieveConnection", made)), 200)
				for _, name := range []string{"testConnection", "modifyConnection"} {
					mention(t, wantE2(t, n.command(with(name, c)), 400, "json.field.missing"), "</id>")
				}
			},
			"33 malformed id": func(t *testing.T, n *node, id string) {
				wantE2(t, n.command(with("createConnection", mqttConnection("a b", broker, "closed"))), 400, "connectivity:connection.id.invalid")
			},
			"34 create twice": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				wantError(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 409, "connectivity:connection.conflict")
			},
			"35 neither sources nor targets": func(t *testing.T, n *node, id string) {
				wantE2(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) { c["sources"], c["targets"] = []any{}, []any{} }))),
					400, "connectivity:connection.configuration.invalid")
			},
			"36 create response": func(t *testing.T, n *node, id string) {
				c := n.command(with("createConnection", mqttConnection(id, broker, "closed")))["connection"].(object)
				if name, there := c["name"]; !there || name != nil {
					t.Errorf("name: %v, want null", show(c))
				}
				if tags, ok := c["tags"].([]any); !ok || len(tags) != 0 {
					t.Errorf("tags: %v, want []", c["tags"])
				}
				for _, hidden := range []string{"_revision", "_modified", "_created", "__lifecycle"} {
					if _, there := c[hidden]; there {
						t.Errorf("%s is shown", hidden)
					}
				}
			},
			"37 modify what is not there": func(t *testing.T, n *node, id string) {
				wantError(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed"))), 404, "connectivity:connection.notfound")
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				wantStatus(t, n.command(on("deleteConnection", id)), 204)
				wantError(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed"))), 404, "connectivity:connection.notfound")
			},
			"38 modify closed": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed", func(c object) { c["name"] = "renamed" }))), 204)
				if c := n.command(on("retrieveConnection", id))["connection"].(object); c["name"] != "renamed" {
					t.Fatal(show(c))
				}
			},
			"39 modify the type": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				other := with("modifyConnection", mqttConnection(id, broker, "closed", func(c object) { c["connectionType"] = "mqtt-5" }))
				wantError(t, n.command(other, object{"ditto-sudo": false}), 400, "connectivity:connection.configuration.invalid")
				wantStatus(t, n.command(other), 204)
			},
			"40 modify to open at a dead endpoint": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				wantError(t, n.command(with("modifyConnection", mqttConnection(id, "tcp://"+dead, "open"))), 504, "connectivity:connection.failed")
				c := n.command(on("retrieveConnection", id))["connection"].(object)
				if c["connectionStatus"] != "open" || c["uri"] != "tcp://"+dead {
					t.Fatal(show(c))
				}
			},
			"41 modify while open": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "open"))), 201)
				n.awaitLive(id, "open")
				wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, broker, "open", func(c object) {
					c["targets"].([]any)[0].(object)["address"] = id + "/elsewhere"
				}))), 204)
				s := n.command(on("retrieveConnectionStatus", id))
				if s["liveStatus"] != "open" || !strings.Contains(show(s["targetStatus"]), id+"/elsewhere") {
					t.Fatal(show(s))
				}
			},
			"42 selected fields": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				get := on("retrieveConnection", id)
				get["selectedFields"] = "id,_revision"
				c := n.command(get)["connection"].(object)
				if len(c) != 2 || c["id"] != id || number(c["_revision"]) != 1 {
					t.Fatal(show(c))
				}
			},
			"43, 44 history": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed", func(c object) { c["name"] = "second" }))), 204)
				first := n.command(on("retrieveConnection", id), object{"at-historical-revision": 1})
				wantStatus(t, first, 200)
				if first["connection"].(object)["name"] != nil {
					t.Fatal(show(first))
				}
				wantError(t, n.command(on("retrieveConnection", id), object{"at-historical-revision": 999}), 404, "connectivity:connection.history.notfound")
			},
			"45 tags": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) { c["tags"] = []any{"eu", "a"} }))), 201)
				reply := n.command(object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionTags", "connectionId": id})
				if show(reply["connectionTags"]) != `["eu","a"]` {
					t.Fatal(show(reply))
				}
			},
			"46, 48, 49, 50 open and close twice": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				for range 2 {
					wantStatus(t, n.command(on("openConnection", id)), 200)
					if s := n.command(on("retrieveConnectionStatus", id)); s["liveStatus"] != "open" {
						t.Fatal(show(s))
					}
				}
				for range 2 {
					wantStatus(t, n.command(on("closeConnection", id)), 200)
					s := n.command(on("retrieveConnectionStatus", id))
					if s["liveStatus"] != "closed" || !strings.Contains(show(s["clientStatus"]), "[DISCONNECTED] connection is closed") {
						t.Fatal(show(s))
					}
				}
			},
			"47 open at a dead endpoint": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, "tcp://"+dead, "closed"))), 201)
				wantError(t, n.command(on("openConnection", id)), 504, "connectivity:connection.failed")
				if s := n.command(on("retrieveConnectionStatus", id)); s["connectionStatus"] != "open" {
					t.Fatal(show(s))
				}
			},
			"51, 52, 53 delete": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "open"))), 201)
				n.awaitLive(id, "open")
				wantStatus(t, n.command(on("deleteConnection", id)), 204)
				for _, name := range []string{"openConnection", "retrieveConnection", "closeConnection", "deleteConnection", "retrieveConnectionStatus"} {
					wantError(t, n.command(on(name, id)), 404, "connectivity:connection.notfound")
				}
				if slices.Contains(n.ids(), id) {
					t.Fatal("still listed")
				}
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				get := on("retrieveConnection", id)
				get["selectedFields"] = "_revision"
				if c := n.command(get)["connection"].(object); number(c["_revision"]) <= 1 {
					t.Fatal(show(c))
				}
			},
			"54, 55, 56 test": func(t *testing.T, n *node, id string) {
				good := n.command(with("testConnection", mqttConnection(id, broker, "open")))
				wantStatus(t, good, 200)
				if good["testResult"] != "successfully connected + initialized mapper" {
					t.Fatal(show(good))
				}
				if slices.Contains(n.ids(), id) {
					t.Fatal("a tested connection is listed")
				}
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
				existing := n.command(with("testConnection", mqttConnection(id, broker, "open")))
				wantStatus(t, existing, 409)
				if existing["type"] != "connectivity.responses:testConnection" {
					t.Fatal(show(existing))
				}
				wantError(t, n.command(with("testConnection", mqttConnection(id+"-dead", "tcp://"+dead, "open"))), 504, "connectivity:connection.failed")
			},
			"57, 59, 60 ids": func(t *testing.T, n *node, id string) {
				tag := "tag-" + id
				make := func(suffix, status string) {
					wantStatus(t, n.command(with("createConnection", mqttConnection(id+suffix, broker, status, func(c object) { c["tags"] = []any{tag} }))), 201)
				}
				make("-b", "closed")
				make("-a", "open")
				all := n.ids()
				if !slices.IsSorted(all) || !slices.Contains(all, id+"-a") || !slices.Contains(all, id+"-b") {
					t.Fatal(all)
				}
				if got := n.idsByTag(tag); !slices.Equal(slices.Sorted(slices.Values(got)), []string{id + "-a", id + "-b"}) {
					t.Fatal(got)
				}
				alive := n.idsByTag("always-alive")
				if !slices.Contains(alive, id+"-a") || slices.Contains(alive, id+"-b") {
					t.Fatal(alive)
				}
				wantStatus(t, n.command(with("modifyConnection", mqttConnection(id+"-b", broker, "closed"))), 204)
				if got := n.idsByTag(tag); !slices.Equal(got, []string{id + "-a"}) {
					t.Fatal(got)
				}
			},
			"63 status without sources": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) { c["sources"] = []any{} }))), 201)
				wantStatus(t, n.command(on("openConnection", id)), 200)
				s := n.command(on("retrieveConnectionStatus", id))
				if _, there := s["sourceStatus"]; there || s["liveStatus"] != "open" {
					t.Fatal(show(s))
				}
			},
			"64 placeholder target": func(t *testing.T, n *node, id string) {
				wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) {
					c["targets"].([]any)[0].(object)["address"] = id + "/{{ thing:name }}"
				}))), 201)
				wantStatus(t, n.command(on("openConnection", id)), 200)
				s := n.command(on("retrieveConnectionStatus", id))
				if s["liveStatus"] != "open" || !strings.Contains(show(s["targetStatus"]), `"status":"unknown"`) {
					t.Fatal(show(s))
				}
			},
			"76 announcements with two clients": func(t *testing.T, n *node, id string) {
				wantE2(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) {
					c["connectionType"], c["clientCount"] = "mqtt-5", 2
					c["targets"].([]any)[0].(object)["topics"] = []any{"_/_/connections/announcements"}
				}))), 400, "connectivity:connection.configuration.invalid")
			},
		}
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				row(t, n.as(t), "row-"+strings.SplitN(strings.SplitN(name, " ", 2)[0], ",", 2)[0])
			})
		}
	})
}

// TestRestart is rows 73 and 74: what was open is open again without a command, what was closed stays closed.
func TestRestart(t *testing.T) {
	broker := mosquitto(t)
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		wantStatus(t, n.command(with("createConnection", mqttConnection("is-open", broker, "closed"))), 201)
		wantStatus(t, n.command(on("openConnection", "is-open")), 200)
		wantStatus(t, n.command(with("createConnection", mqttConnection("is-closed", broker, "closed"))), 201)
		for _, end := range []struct {
			name string
			do   func()
		}{{"SIGTERM", n.stop}, {"kill -9", n.kill}} {
			end.do()
			n.start()
			n.awaitLive("is-open", "open")
			if s := n.command(on("retrieveConnectionStatus", "is-closed")); s["liveStatus"] != "closed" {
				t.Fatalf("after %s: %s", end.name, show(s))
			}
			// No new event: a modification afterwards is the next revision.
			get := on("retrieveConnection", "is-open")
			if last := n.command(get, object{"at-historical-revision": 2}); number(last["status"]) != 200 {
				t.Fatal(show(last))
			}
			wantError(t, n.command(get, object{"at-historical-revision": 3}), 404, "connectivity:connection.history.notfound")
		}
	})
}

func (n *node) awaitLive(id, live string) {
	n.t.Helper()
	eventually(n.t, 15*time.Second, id+" is "+live, func() error {
		if s := n.command(on("retrieveConnectionStatus", id)); s["liveStatus"] != live {
			return fmt.Errorf("%s", show(s))
		}
		return nil
	})
}

func (n *node) ids() []string {
	n.t.Helper()
	return texts(n.commandAt(idsActor, object{"type": "connectivity.commands:retrieveAllConnectionIds"})["connectionIds"])
}

func (n *node) idsByTag(tag string) []string {
	n.t.Helper()
	return texts(n.commandAt(idsActor, object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag", "tag": tag})["connectionIds"])
}

func texts(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

// plain expects an answer of the HTTP layer, shape E4, with its challenge.
func plain(status int, text string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.status != status || string(a.body) != text || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Fatalf("%d %q %q", a.status, a.header.Get("Content-Type"), a.body)
		}
		if got := a.header.Get("WWW-Authenticate"); got != `Basic realm="DITTO-DEVOPS",charset=UTF-8` {
			t.Fatalf("WWW-Authenticate: %s", got)
		}
	}
}

// e1 expects an error of the gateway itself: HTTP status and body agree; the message names what is given.
func e1(status int, code, names string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.status != status {
			t.Fatalf("HTTP %d, want %d: %s", a.status, status, a.body)
		}
		reply := a.object(t)
		wantError(t, reply, status, code)
		mention(t, reply, names)
	}
}

// direct expects HTTP 200 and one bare reply.
func direct(check func(*testing.T, object)) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("HTTP %d: %s", a.status, a.body)
		}
		check(t, a.object(t))
	}
}

// aggregated expects HTTP 200 and the nested map with exactly the node's own entry.
func aggregated(n *node, check func(*testing.T, object)) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("HTTP %d: %s", a.status, a.body)
		}
		services := a.object(t)
		instances, _ := services["connectivity"].(object)
		reply, ok := instances[n.instance].(object)
		if !ok || len(services) != 1 || len(instances) != 1 {
			t.Fatalf("not {connectivity:{%s:…}}: %s", n.instance, a.body)
		}
		check(t, reply)
	}
}

// mention expects that message or description of an error names each of names.
func mention(t *testing.T, e object, names ...string) {
	t.Helper()
	for _, name := range names {
		if !strings.Contains(fmt.Sprint(e["message"], " ", e["description"]), name) {
			t.Fatalf("%s is not named in %s", name, show(e))
		}
	}
}

// hangingEndpoint accepts connections and never says a word.
func hangingEndpoint(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	})
	return l.Addr().String()
}
