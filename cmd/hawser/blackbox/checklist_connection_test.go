package blackbox

import (
	"slices"
	"testing"

	"github.com/google/uuid"
)

// connectionRows are rows 30–64, 76 and 84: what an operator does to connections.
func connectionRows(broker, dead, hanging string) []checkRow {
	return []checkRow{
		{name: "30 create closed", check: func(t *testing.T, n *node, id string) {
			uri, tap := tapped(t, broker)
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, uri, "closed"))), 201)
			s := n.command(on("retrieveConnectionStatus", id))
			wantStatus(t, s, 200)
			clients, _ := s["clientStatus"].([]any)
			if s["connectionStatus"] != "closed" || s["liveStatus"] != "closed" || s["recoveryStatus"] != "unknown" || len(s) != 7 || len(clients) != 1 {
				t.Fatal(show(s))
			}
			wantStatus(t, n.command(on("openConnection", id)), 200)
			if accepted, left := tap.seen(); accepted != 1 || left != 0 { // the one that was just opened, none before it
				t.Fatalf("%d clients connected, %d left", accepted, left)
			}
		}},
		{name: "31 create open at a dead endpoint", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, "tcp://"+dead, "open"))), 201)
			n.awaitLive(id, "misconfigured")
			// The reply does not wait for the connect: here that would take 50 s, and fail.
			a := n.request("POST", piggyback, envelope(shardRegion, nil, with("createConnection", mqttConnection(id+"-hangs", "tcp://"+hanging, "open"))))
			atOnce(direct(func(t *testing.T, reply object) { wantStatus(t, reply, 201) }))(t, n, a)
		}},
		{name: "32 ids", check: func(t *testing.T, n *node, id string) {
			c := mqttConnection(id, broker, "closed")
			delete(c, "id")
			reply := n.command(with("createConnection", c))
			wantStatus(t, reply, 201)
			made, _ := reply["connection"].(object)["id"].(string)
			if err := uuid.Validate(made); err != nil || len(made) != 36 {
				t.Fatalf("id %q is no UUID: %v", made, err)
			}
			wantStatus(t, n.command(on("retrieveConnection", made)), 200)
			for _, name := range []string{"testConnection", "modifyConnection"} {
				mention(t, wantE2(t, n.command(with(name, c)), 400, "json.field.missing"), "</id>")
			}
		}},
		{name: "33 malformed id", check: func(t *testing.T, n *node, id string) {
			wantE2(t, n.command(with("createConnection", mqttConnection("a b", broker, "closed"))), 400, "connectivity:connection.id.invalid")
		}},
		{name: "34 create twice", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			wantError(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 409, "connectivity:connection.conflict")
		}},
		{name: "35 neither sources nor targets", check: func(t *testing.T, n *node, id string) {
			wantE2(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) { c["sources"], c["targets"] = []any{}, []any{} }))),
				400, "connectivity:connection.configuration.invalid")
		}},
		{name: "36 create response", check: func(t *testing.T, n *node, id string) {
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
		}},
		{name: "37 modify what is not there", check: func(t *testing.T, n *node, id string) {
			wantError(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed"))), 404, "connectivity:connection.notfound")
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			wantStatus(t, n.command(on("deleteConnection", id)), 204)
			wantError(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed"))), 404, "connectivity:connection.notfound")
		}},
		{name: "38 modify closed", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			bare(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed", func(c object) { c["name"] = "renamed" }))), "modifyConnection", id, 204)
			if c := n.command(on("retrieveConnection", id))["connection"].(object); c["name"] != "renamed" {
				t.Fatal(show(c))
			}
		}},
		{name: "39 modify the type", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			other := with("modifyConnection", mqttConnection(id, broker, "closed", func(c object) { c["connectionType"] = "mqtt-5" }))
			wantError(t, n.command(other, object{"ditto-sudo": false}), 400, "connectivity:connection.configuration.invalid")
			if c := n.command(on("retrieveConnection", id))["connection"].(object); c["connectionType"] != "mqtt" {
				t.Fatal(show(c))
			}
			wantStatus(t, n.command(other), 204)
			if c := n.command(on("retrieveConnection", id))["connection"].(object); c["connectionType"] != "mqtt-5" {
				t.Fatal(show(c))
			}
		}},
		{name: "40 modify to open at a dead endpoint", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			wantError(t, n.command(with("modifyConnection", mqttConnection(id, "tcp://"+dead, "open"))), 504, "connectivity:connection.failed")
			c := n.command(on("retrieveConnection", id))["connection"].(object)
			if c["connectionStatus"] != "open" || c["uri"] != "tcp://"+dead {
				t.Fatal(show(c))
			}
		}},
		{name: "41 modify while open", check: func(t *testing.T, n *node, id string) {
			uri, tap := tapped(t, broker)
			opened(t, n, mqttConnection(id, uri, ""))
			wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, uri, "open", func(c object) {
				c["targets"].([]any)[0].(object)["address"] = id + "/elsewhere"
			}))), 204)
			s := n.command(on("retrieveConnectionStatus", id))
			targets, _ := s["targetStatus"].([]any)
			if s["liveStatus"] != "open" || len(targets) != 1 || targets[0].(object)["address"] != id+"/elsewhere" {
				t.Fatal(show(s))
			}
			if accepted, left := tap.seen(); accepted != 2 || left != 1 {
				t.Fatalf("%d clients connected, %d left", accepted, left)
			}
		}},
		{name: "42 selected fields", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			get := on("retrieveConnection", id)
			get["selectedFields"] = "id,_revision"
			c := n.command(get)["connection"].(object)
			if len(c) != 2 || c["id"] != id || number(c["_revision"]) != 1 {
				t.Fatal(show(c))
			}
		}},
		{name: "43, 44 history", check: func(t *testing.T, n *node, id string) {
			created := n.command(with("createConnection", mqttConnection(id, broker, "closed")))
			wantStatus(t, created, 201)
			wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed", func(c object) { c["name"] = "second" }))), 204)
			first := n.command(on("retrieveConnection", id), object{"at-historical-revision": 1})
			wantStatus(t, first, 200)
			if show(first["connection"]) != show(created["connection"]) {
				t.Fatalf("%s, want %s", show(first), show(created))
			}
			if second := n.command(on("retrieveConnection", id), object{"at-historical-revision": 2}); at(second, "connection", "name") != "second" {
				t.Fatal(show(second))
			}
			wantError(t, n.command(on("retrieveConnection", id), object{"at-historical-revision": 999}), 404, "connectivity:connection.history.notfound")
		}},
		{name: "45 tags", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) { c["tags"] = []any{"eu", "a"} }))), 201)
			reply := n.command(object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionTags", "connectionId": id})
			if got := show(reply); got != `{"connectionTags":["eu","a"],"status":200,"type":"connectivity.sudo.responses:sudoRetrieveConnectionTags"}` {
				t.Fatal(got)
			}
		}},
		{name: "46, 48, 49, 50 open and close twice", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			for range 2 {
				bare(t, n.command(on("openConnection", id)), "openConnection", id, 200)
				if s := n.command(on("retrieveConnectionStatus", id)); s["liveStatus"] != "open" {
					t.Fatal(show(s))
				}
			}
			if got := n.journalOf(id); !slices.Equal(got, []string{"Created", "Opened", "Opened"}) {
				t.Fatalf("journal: %v", got)
			}
			for range 2 {
				bare(t, n.command(on("closeConnection", id)), "closeConnection", id, 200)
				s := n.command(on("retrieveConnectionStatus", id))
				clients, _ := s["clientStatus"].([]any)
				if s["liveStatus"] != "closed" || s["connectionStatus"] != "closed" || len(clients) != 1 || clients[0].(object)["statusDetails"] != "[DISCONNECTED] connection is closed" {
					t.Fatal(show(s))
				}
			}
		}},
		{name: "47 open at a dead endpoint", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, "tcp://"+dead, "closed"))), 201)
			wantError(t, n.command(on("openConnection", id)), 504, "connectivity:connection.failed")
			if s := n.command(on("retrieveConnectionStatus", id)); s["connectionStatus"] != "open" {
				t.Fatal(show(s))
			}
		}},
		{name: "51, 52, 53 delete", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "open"))), 201)
			n.awaitLive(id, "open")
			bare(t, n.command(on("deleteConnection", id)), "deleteConnection", id, 204)
			for _, name := range []string{"openConnection", "closeConnection", "deleteConnection", "retrieveConnection", "retrieveConnectionStatus", "retrieveConnectionMetrics",
				"resetConnectionMetrics", "enableConnectionLogs", "retrieveConnectionLogs", "resetConnectionLogs", "retrieveResolvedHonoConnection"} {
				wantError(t, n.command(on(name, id)), 404, "connectivity:connection.notfound")
			}
			wantError(t, n.command(object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionTags", "connectionId": id}), 404, "connectivity:connection.notfound")
			wantError(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed"))), 404, "connectivity:connection.notfound")
			if slices.Contains(n.ids(), id) {
				t.Fatal("still listed")
			}
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			get := on("retrieveConnection", id)
			get["selectedFields"] = "_revision"
			if c := n.command(get)["connection"].(object); number(c["_revision"]) <= 1 {
				t.Fatal(show(c))
			}
		}},
		{name: "54, 55, 56 test", check: func(t *testing.T, n *node, id string) {
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
		}},
		{name: "57, 59, 60 ids", check: func(t *testing.T, n *node, id string) {
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
			wantStatus(t, n.command(on("closeConnection", id+"-a")), 200)
			if alive := n.idsByTag("always-alive"); slices.Contains(alive, id+"-a") {
				t.Fatal(alive)
			}
			wantStatus(t, n.command(with("modifyConnection", mqttConnection(id+"-b", broker, "closed"))), 204)
			if got := n.idsByTag(tag); !slices.Equal(got, []string{id + "-a"}) {
				t.Fatal(got)
			}
		}},
		{name: "63 status without sources", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) { c["sources"] = []any{} }))), 201)
			wantStatus(t, n.command(on("openConnection", id)), 200)
			s := n.command(on("retrieveConnectionStatus", id))
			if _, there := s["sourceStatus"]; there || s["liveStatus"] != "open" {
				t.Fatal(show(s))
			}
		}},
		{name: "64 placeholder target", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed", func(c object) {
				c["targets"].([]any)[0].(object)["address"] = id + "/{{ thing:name }}"
			}))), 201)
			wantStatus(t, n.command(on("openConnection", id)), 200)
			s := n.command(on("retrieveConnectionStatus", id))
			targets, _ := s["targetStatus"].([]any)
			if s["liveStatus"] != "open" || len(targets) != 1 || targets[0].(object)["status"] != "unknown" ||
				targets[0].(object)["statusDetails"] != "Producers for targets with placeholders are started on-demand." {
				t.Fatal(show(s))
			}
		}},
		{name: "84 no response required", check: func(t *testing.T, n *node, id string) {
			silent := func(command object) {
				t.Helper()
				a := n.next().request("POST", piggyback, envelope(shardRegion, object{"response-required": false}, command))
				if a.status != 202 || len(a.body) != 0 {
					t.Fatalf("%d %q, want 202 and nothing", a.status, a.body)
				}
			}
			silent(with("createConnection", mqttConnection(id, broker, "closed")))
			wantStatus(t, n.command(on("retrieveConnection", id)), 200)
			silent(on("deleteConnection", id))
			wantError(t, n.command(on("retrieveConnection", id)), 404, "connectivity:connection.notfound")
			silent(on("closeConnection", id))    // refused
			silent(on("retrieveConnection", id)) // refused: a query (1.5)
		}},
		{name: "76 announcements with two clients", check: func(t *testing.T, n *node, id string) {
			announcing := func(clients int) object {
				return with("createConnection", mqttConnection(id, broker, "closed", func(c object) {
					c["connectionType"], c["clientCount"] = "mqtt-5", clients
					c["targets"].([]any)[0].(object)["topics"] = []any{"_/_/connections/announcements"}
				}))
			}
			wantE2(t, n.command(announcing(2)), 400, "connectivity:connection.configuration.invalid")
			wantStatus(t, n.command(announcing(1)), 201)
		}},
	}
}
