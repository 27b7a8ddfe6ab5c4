package blackbox

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// checkRow is one or more rows of piggyback.md 12: name begins with their numbers. Its ids begin with id.
type checkRow struct {
	name  string
	nodes int // 0: any number; else only with so many
	check func(t *testing.T, n *node, id string)
}

// checklist is everything of piggyback.md 12 that can be observed beside other rows on the same nodes.
func checklist(t *testing.T) []checkRow {
	broker, dead, hanging := startMosquitto(t), freePorts(t, 1)[0], hangingEndpoint(t)
	rows := slices.Concat(envelopeRows(hanging), connectionRows(broker.URI(), dead, hanging), runningRows(broker.URI()), nodeRows(broker.URI()))
	return rows
}

// alone are the rows that restart what others use: they are tests of their own.
var alone = []string{"69, 73, 74 restart", "77 the broker comes back"}

// TestChecklist is piggyback.md 12 on one node with each store and on three nodes. Commands of three nodes go to each in turn.
func TestChecklist(t *testing.T) {
	for name, start := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := start(t)
			n := inTurn(nodes)
			for _, row := range checklist(t) {
				if row.nodes != 0 && row.nodes != len(nodes) {
					continue
				}
				t.Run(row.name, func(t *testing.T) {
					t.Parallel()
					row.check(t, n.as(t), "row-"+strconv.Itoa(numbers(row.name)[0]))
				})
			}
		})
	}
}

// TestChecklistIsWhole: each of the 84 rows is observed somewhere.
func TestChecklistIsWhole(t *testing.T) {
	names := slices.Clone(alone)
	for _, row := range checklist(t) {
		names = append(names, row.name)
	}
	seen := map[int]bool{}
	for _, name := range names {
		for _, number := range numbers(name) {
			seen[number] = true
		}
	}
	for number := 1; number <= 84; number++ {
		if !seen[number] {
			t.Errorf("row %d is not observed", number)
		}
	}
}

// numbers are the row numbers that a name begins with.
func numbers(name string) []int {
	var all []int
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == ',' }) {
		number, err := strconv.Atoi(strings.TrimRight(word, "abc"))
		if err != nil {
			break
		}
		all = append(all, number)
	}
	return all
}

// inTurn is the first of nodes, with the others beside it for commands.
func inTurn(nodes []*node) *node {
	first := *nodes[0]
	first.peers, first.turn = nodes, &atomic.Int64{}
	return &first
}

const piggyback = "/devops/piggyback/connectivity"

// exchange is one HTTP request and what is expected of its answer.
type exchange struct {
	row    string
	method string // "": POST
	path   string // "": piggyback; <own> stands for the instance id of the node
	body   string
	change func(*http.Request)
	check  func(t *testing.T, n *node, a answer)
}

func (x exchange) asRow() checkRow {
	return checkRow{name: x.row, check: func(t *testing.T, n *node, _ string) {
		method, path := x.method, x.path
		if method == "" {
			method = http.MethodPost
		}
		if path == "" {
			path = piggyback
		}
		change := x.change
		if change == nil {
			change = func(*http.Request) {}
		}
		x.check(t, n, n.request(method, strings.ReplaceAll(path, "<own>", n.instance), x.body, change))
	}}
}

// envelopeRows are rows 1–27, 58, 61 and 72: what the gateway answers before or around a target.
func envelopeRows(hanging string) []checkRow {
	const path = piggyback
	valid := envelope(shardRegion, nil, on("retrieveConnection", "nobody"))
	rows := []checkRow{{name: "22 slow endpoint", check: func(t *testing.T, n *node, id string) { slowEndpoint(t, n, id, hanging) }}}
	for _, x := range []exchange{

		{row: "1 no credentials", body: valid, change: func(r *http.Request) { r.Header.Del("Authorization") },
			check: plain(401, "The resource requires authentication, which was not supplied with the request")},
		{row: "2 wrong password", body: valid, change: func(r *http.Request) { r.SetBasicAuth("devops", "wrong") },
			check: plain(401, "The supplied authentication is invalid")},
		{row: "3 wrong user", body: valid, change: func(r *http.Request) { r.SetBasicAuth("admin", password) },
			check: plain(401, "The supplied authentication is invalid")},
		{row: "4 GET", method: http.MethodGet, check: func(t *testing.T, n *node, a answer) {
			if a.status != 405 || a.header.Get("Allow") != "POST" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
				t.Fatalf("%d, Allow %q, %q", a.status, a.header.Get("Allow"), a.header.Get("Content-Type"))
			}
		}},
		{row: "5 empty object", body: `{}`, check: e1(400, "json.field.missing", "</targetActorSelection>")},
		{row: "6 no headers", body: `{"targetActorSelection":"` + shardRegion + `","piggybackCommand":{"type":"connectivity.commands:retrieveConnection","connectionId":"nobody"}}`,
			check: aggregated(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "7 no command", body: `{"targetActorSelection":"x","headers":{}}`, check: e1(400, "json.field.missing", "</piggybackCommand>")},
		{row: "8 array", body: `[]`, check: omits("description", e1(400, "json.format.invalid", ""))},
		{row: "9 not JSON", body: `x`, check: e1(400, "json.invalid", "")},
		{row: "9a empty", body: ``, check: e1(400, "json.invalid", "")},
		{row: "10 number as target", body: `{"targetActorSelection":5,"headers":{},"piggybackCommand":{}}`, check: e1(400, "json.invalid", "</targetActorSelection>")},
		{row: "11 sudo header", body: envelope(shardRegion, object{"ditto-sudo": "yes"}, on("retrieveConnection", "x")),
			check: names("ditto-sudo", e1(400, "header.invalid", "ditto-sudo"))},
		{row: "12 timeout above the limit", path: path + "?timeout=61s", body: valid, check: e1(400, "gateway:timeout.invalid", "<61,000ms>")},
		{row: "13 timeout unreadable", path: path + "?timeout=abc", body: valid, check: e1(400, "timeout.invalid", "")},
		{row: "14 timeout zero", path: path + "?timeout=0", body: valid, check: names("timeout", e1(400, "header.invalid", "timeout"))},
		{row: "15 content type", body: valid, change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
			check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "16 unknown type", body: envelope(shardRegion, nil, object{"type": "no.such:thing"}),
			check: own(400, "json.type.notparsable", "<no.such:thing>")},
		{row: "17 no type", body: envelope(shardRegion, nil, object{"connectionId": "x"}), check: own(400, "json.type.notparsable", "<null>")},
		{row: "18 no connection id", body: envelope(shardRegion, nil, object{"type": "connectivity.commands:retrieveConnection"}),
			check: own(400, "json.field.missing", "</connectionId>")},
		{row: "19 unknown id", body: valid, check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "20 unknown id, aggregate absent", body: envelope(shardRegion, object{"aggregate": nil}, on("retrieveConnection", "nobody")),
			check: aggregated(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "21 unknown target", body: envelope("/user/nobody", object{"timeout": "2s"}, on("retrieveConnection", "x")),
			check: own(404, "devops:target.notfound", shardRegion, idsActor, migrationActor, cleanupActor, healthActor, devopsActor)},
		{row: "21a unknown target, aggregate absent", body: envelope("/user/nobody", object{"aggregate": nil, "timeout": "20s"}, on("retrieveConnection", "x")),
			check: atOnce(aggregated(func(t *testing.T, reply object) { wantE2(t, reply, 404, "devops:target.notfound") }))},
		{row: "23 unknown service", path: "/devops/piggyback/nosuch", body: valid, check: atOnce(e1(404, "devops:service.notfound", "nosuch"))},
		{row: "23a unknown service in the body", path: "/devops/piggyback", body: strings.Replace(valid, "{", `{"serviceName":"nosuch",`, 1),
			check: atOnce(e1(404, "devops:service.notfound", "nosuch"))},
		{row: "24 right instance", path: path + "/<own>", body: valid,
			check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "25 wrong instance", path: path + "/nosuch", body: valid, check: atOnce(e1(404, "devops:instance.notfound", "nosuch"))},
		{row: "26 group topic", body: envelope(shardRegion, object{"is-group-topic": true}, on("retrieveConnection", "nobody")),
			check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "26a group topic, target of every node", body: envelope(cleanupActor, object{"is-group-topic": true}, health),
			check: direct(func(t *testing.T, reply object) {
				if at(reply, "statusInfo", "status") != "UP" {
					t.Fatal(show(reply))
				}
			})},
		{row: "26b group topic, target of every node, aggregate absent", body: envelope(cleanupActor, object{"is-group-topic": true, "aggregate": nil}, health),
			check: func(t *testing.T, n *node, a answer) {
				aggregated(func(t *testing.T, reply object) {
					if at(reply, "statusInfo", "status") != "UP" {
						t.Fatal(show(reply))
					}
				})(t, n, a)
				if others := len(n.all()) > 1; others && a.took < 9900*time.Millisecond { // one of the group replies, all are waited for (1.6)
					t.Fatalf("answered after %v", a.took)
				}
			}},
		{row: "27 group topic, no service", path: "/devops/piggyback", body: envelope(shardRegion, object{"is-group-topic": true}, on("retrieveConnection", "nobody")),
			check: direct(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })},
		{row: "58 ids at the shard target", body: envelope(shardRegion, nil, object{"type": "connectivity.commands:retrieveAllConnectionIds"}),
			check: atOnce(own(400, "json.type.notparsable", "retrieveAllConnectionIds"))},
		{row: "61 ids by tag without tag", body: envelope(idsActor, nil, object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag"}),
			check: own(400, "json.field.missing", "</tag>")},
		{row: "72 loggingExpired", body: envelope(shardRegion, nil, on("loggingExpired", "x")), check: own(400, "json.type.notparsable", "loggingExpired")},
		{row: "27 group topic, no service, target of every node", path: "/devops/piggyback",
			body: envelope(cleanupActor, object{"is-group-topic": true, "timeout": "10s"}, object{"type": "status.commands:retrieveHealth"}),
			check: func(t *testing.T, _ *node, a answer) {
				if a.status != 408 || string(a.body) != "null" {
					t.Fatalf("%d %q, want 408 null", a.status, a.body)
				}
			}},
	} {
		rows = append(rows, x.asRow())
	}
	return rows
}

// slowEndpoint is row 22.
func slowEndpoint(t *testing.T, n *node, id, hanging string) {
	wantStatus(t, n.command(with("createConnection", mqttConnection(id, "tcp://"+hanging, "closed"))), 201)
	for _, c := range []struct {
		timeout string
		check   func(t *testing.T, n *node, a answer)
	}{
		{"2s", own(503, "ask.error", shardRegion)},
		{"20s", func(t *testing.T, _ *node, a answer) {
			if a.status != 408 || string(a.body) != "null" {
				t.Fatalf("%d %q, want 408 null", a.status, a.body)
			}
		}},
	} {
		t.Run(c.timeout, func(t *testing.T) {
			n := n.as(t)
			opening := make(chan answer, 1)
			go func() {
				a, _ := n.try(http.MethodPost, piggyback, envelope(shardRegion, object{"ditto-sudo": true, "timeout": c.timeout}, on("openConnection", id)))
				opening <- a
			}()
			n.awaitStored(id, "open") // a broker that hangs holds up nothing else
			for _, name := range []string{"retrieveConnectionStatus", "retrieveConnectionMetrics", "retrieveConnectionLogs"} {
				wantStatus(t, n.command(on(name, id)), 200)
			}
			if len(opening) > 0 {
				t.Error("the open was answered before status, metrics and logs")
			}
			a := <-opening
			c.check(t, n, a)
			if want, _ := time.ParseDuration(c.timeout); a.took < want {
				t.Fatalf("answered after %v, before its timeout", a.took)
			}
		})
	}
}
