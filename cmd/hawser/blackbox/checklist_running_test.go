package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// The names of the metrics by direction (piggyback.md 4.13).
var (
	inboundNames  = []string{"consumed", "mapped", "other", "dropped", "enforced", "acknowledged", "throttled"}
	outboundNames = []string{"dispatched", "filtered", "mapped", "other", "dropped", "published", "acknowledged"}
)

// opened creates a connection and opens it.
func opened(t *testing.T, n *node, c object) {
	t.Helper()
	c["connectionStatus"] = "closed"
	wantStatus(t, n.command(with("createConnection", c)), 201)
	wantStatus(t, n.command(on("openConnection", c["id"].(string))), 200)
}

// consume publishes live events to the source of a connection until it has consumed them all.
func consume(t *testing.T, n *node, broker, id string, events int) {
	t.Helper()
	client := dial(t, broker, "publisher-"+id)
	for k := range events {
		token := client.Publish(id+"/in/x", 1, false, liveEvent(k))
		if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	eventually(t, 15*time.Second, "all are consumed and settled", func() error {
		m := n.command(on("retrieveConnectionMetrics", id))
		for _, name := range []string{"consumed", "mapped", "acknowledged"} {
			if got := number(at(m, "connectionMetrics", "inbound", name, "success", "PT1M")); got != events {
				return fmt.Errorf("%s %d of %d", name, got, events)
			}
		}
		return nil
	})
}

// at is the member at a path, nil if there is none.
func at(v any, path ...string) any {
	for _, name := range path {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// logs are the entries of retrieveConnectionLogs that match.
func logs(reply object, match map[string]string) (found []object) {
	entries, _ := reply["connectionLogs"].([]any)
	for _, e := range entries {
		entry := e.(object)
		ok := true
		for k, v := range match {
			ok = ok && entry[k] == v
		}
		if ok {
			found = append(found, entry)
		}
	}
	return found
}

// wantNear checks that an instant is within 30 s of a time.
func wantNear(t *testing.T, instant any, want time.Time) {
	t.Helper()
	text, _ := instant.(string)
	got, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || got.Sub(want).Abs() > 30*time.Second {
		t.Fatalf("%v, want about %v", instant, want.UTC())
	}
}

// runningRows are rows 62 and 65–75: what is seen of connections that run.
func runningRows(broker string) []checkRow {
	return []checkRow{
		{name: "62 status of a client that no node can run", nodes: 1, check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "open", func(c object) {
				c["connectionType"], c["clientCount"] = "mqtt-5", 2 // of a type that takes two clients
			}))), 201)
			began := time.Now()
			s := n.command(on("retrieveConnectionStatus", id), object{"timeout": "4s"})
			if took := time.Since(began); took < 2900*time.Millisecond || took > 4*time.Second {
				t.Errorf("answered after %v, want 3 s", took)
			}
			missing := 0
			clients, _ := s["clientStatus"].([]any)
			for _, c := range clients {
				if c := c.(object); c["client"] == "unknown-client" && c["status"] == "misconfigured" {
					missing++
				}
			}
			if len(clients) != 2 || missing != 1 || s["liveStatus"] != "misconfigured" {
				t.Fatal(show(s))
			}
		}},
		{name: "65 metrics of a closed connection", check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			want := `{"connectionId":"` + id + `","connectionMetrics":{"inbound":null,"outbound":null},"containsFailures":false,` +
				`"sourceMetrics":{"addressMetrics":null},"status":200,"targetMetrics":{"addressMetrics":null},"type":"connectivity.responses:retrieveConnectionMetrics"}`
			if got := show(n.command(on("retrieveConnectionMetrics", id))); got != want {
				t.Fatalf("%s\nwant %s", got, want)
			}
		}},
		{name: "66, 67 metrics after messages, and their reset", check: func(t *testing.T, n *node, id string) {
			opened(t, n, mqttConnection(id, broker, ""))
			consume(t, n, broker, id, 3)
			check := func(m object, consumed int) {
				t.Helper()
				source, target := id+"/in/#", id+"/out"
				for _, part := range []struct {
					where []string
					names []string
				}{
					{[]string{"connectionMetrics", "inbound"}, inboundNames}, {[]string{"connectionMetrics", "outbound"}, outboundNames},
					{[]string{"sourceMetrics", "addressMetrics", source}, inboundNames}, {[]string{"targetMetrics", "addressMetrics", target}, outboundNames},
					{[]string{"targetMetrics", "addressMetrics", "_responses"}, outboundNames},
				} {
					metrics, _ := at(m, part.where...).(object)
					if len(metrics) != len(part.names) {
						t.Fatalf("%v: %s", part.where, show(m))
					}
					for _, name := range part.names {
						for _, outcome := range []string{"success", "failure"} {
							counts, _ := at(metrics, name, outcome).(object)
							if len(counts) != 4 || counts["PT1M"] == nil || counts["PT1H"] == nil || counts["PT24H"] == nil {
								t.Fatalf("%v %s %s: %s", part.where, name, outcome, show(counts))
							}
							if consumed == 0 && (number(counts["PT24H"]) != 0 || counts["lastMessageAt"] != nil) {
								t.Fatalf("%v %s %s after the reset: %s", part.where, name, outcome, show(counts))
							}
						}
					}
				}
				counts, _ := at(m, "sourceMetrics", "addressMetrics", source, "consumed", "success").(object)
				for _, window := range []string{"PT1M", "PT1H", "PT24H"} {
					if number(counts[window]) != consumed {
						t.Fatalf("consumed %s", show(counts))
					}
				}
				if consumed > 0 {
					wantNear(t, counts["lastMessageAt"], time.Now())
				}
				if m["containsFailures"] != false {
					t.Fatal(show(m))
				}
			}
			check(n.command(on("retrieveConnectionMetrics", id)), 3)
			wantStatus(t, n.command(on("resetConnectionMetrics", id)), 200)
			check(n.command(on("retrieveConnectionMetrics", id)), 0)
		}},
		{name: "68 logs right after open", check: func(t *testing.T, n *node, id string) {
			opened(t, n, mqttConnection(id, broker, ""))
			reply := n.command(on("retrieveConnectionLogs", id))
			wantStatus(t, reply, 200)
			if got := logs(reply, map[string]string{"category": "connection", "type": "other", "level": "success", "message": "Connection successful"}); len(got) != 1 {
				t.Fatal(show(reply))
			}
			wantNear(t, reply["enabledSince"], time.Now())
			wantNear(t, reply["enabledUntil"], time.Now().Add(24*time.Hour))
		}},
		{name: "70 the newest successes are kept", check: func(t *testing.T, n *node, id string) {
			opened(t, n, mqttConnection(id, broker, ""))
			consume(t, n, broker, id, 15)
			got := logs(n.command(on("retrieveConnectionLogs", id)), map[string]string{"category": "source", "type": "consumed", "level": "success", "address": id + "/in/#"})
			if len(got) != 10 {
				t.Fatalf("%d entries, want 10: %s", len(got), show(got))
			}
			last := ""
			for _, e := range got {
				if at := fmt.Sprint(e["timestamp"]); len(at) == len(last) && at < last {
					t.Fatalf("not in the order of time: %s", show(got))
				} else {
					last = at
				}
			}
		}},
		{name: "71 reset of the logs", check: func(t *testing.T, n *node, id string) {
			opened(t, n, mqttConnection(id, broker, ""))
			wantStatus(t, n.command(on("resetConnectionLogs", id)), 200)
			reply := n.command(on("retrieveConnectionLogs", id))
			entries, _ := reply["connectionLogs"].([]any)
			if len(entries) != 1 {
				t.Fatal(show(reply))
			}
			e := entries[0].(object)
			if _, address := e["address"]; address || e["message"] != "Successfully reset the logs." || e["entityType"] != "connection" || e["entityId"] != id ||
				e["category"] != "connection" || e["type"] != "other" || e["level"] != "success" {
				t.Fatal(show(e))
			}
		}},
		{name: "75 announcements", check: func(t *testing.T, n *node, id string) {
			heard := listen(t, broker, id+"/out")
			opened(t, n, announcing(id, broker))
			heard.wait(t, id, 1, 0)
			began := time.Now()
			wantStatus(t, n.command(on("closeConnection", id)), 200)
			took := time.Since(began)
			closedAt := heard.wait(t, id, 1, 1)
			if took < 3*time.Second || time.Since(closedAt) < 2900*time.Millisecond {
				t.Fatalf("disconnected %v after the command, %v after the announcement, want 3 s", took, time.Since(closedAt))
			}
		}},
	}
}

// announcing is a connection whose target takes announcements.
func announcing(id, broker string) object {
	return mqttConnection(id, broker, "", func(c object) {
		c["sources"] = []any{}
		c["targets"].([]any)[0].(object)["topics"] = []any{"_/_/connections/announcements"}
	})
}

// hearing collects the announcements that arrive on a topic.
type hearing struct {
	mu             sync.Mutex
	opened, closed []time.Time
	wrong          []string
}

// listen subscribes for announcements; it comes back when the broker does.
func listen(t *testing.T, broker, topic string) *hearing {
	t.Helper()
	h := &hearing{}
	there := make(chan struct{}, 1)
	opts := mqtt.NewClientOptions().AddBroker(broker).SetClientID("listener-" + topic).SetConnectTimeout(5 * time.Second).
		SetAutoReconnect(true).SetMaxReconnectInterval(200 * time.Millisecond).SetOnConnectHandler(func(c mqtt.Client) {
		c.Subscribe(topic, 1, h.take)
		select {
		case there <- struct{}{}:
		default:
		}
	})
	c := mqtt.NewClient(opts)
	token := c.Connect()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	select {
	case <-there:
	case <-time.After(10 * time.Second):
		t.Fatal("the listener did not subscribe")
	}
	return h
}

func (h *hearing) take(_ mqtt.Client, m mqtt.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var a struct {
		Topic, Path string
		Headers     map[string]any
		Value       map[string]string
	}
	if err := json.Unmarshal(m.Payload(), &a); err != nil || a.Path != "/" || a.Headers["correlation-id"] != nil {
		h.wrong = append(h.wrong, string(m.Payload()))
		return
	}
	kind := a.Topic[strings.LastIndexByte(a.Topic, '/')+1:]
	if _, err := time.Parse(time.RFC3339Nano, a.Value[kind+"At"]); err != nil || !strings.HasPrefix(a.Topic, "_/") {
		h.wrong = append(h.wrong, string(m.Payload()))
	}
	switch kind {
	case "opened":
		h.opened = append(h.opened, time.Now())
	case "closed":
		h.closed = append(h.closed, time.Now())
	}
}

// wait waits until so many announcements have arrived and returns when the last came.
func (h *hearing) wait(t *testing.T, id string, opened, closed int) (last time.Time) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%d opened, %d closed of %s", opened, closed, id), func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.wrong) > 0 {
			t.Fatalf("no announcement: %s", h.wrong)
		}
		if len(h.opened) != opened || len(h.closed) != closed {
			return fmt.Errorf("%d opened, %d closed", len(h.opened), len(h.closed))
		}
		all := slices.SortedFunc(slices.Values(slices.Concat(h.opened, h.closed)), time.Time.Compare)
		last = all[len(all)-1]
		return nil
	})
	return last
}

// TestBrokerComesBack is row 77: a second opened announcement, none that the connection closed.
func TestBrokerComesBack(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		b := startMosquitto(t)
		n := startNode(t, env)
		heard := listen(t, b.URI(), "77/out")
		opened(t, n, announcing("77", b.URI()))
		heard.wait(t, "77", 1, 0)
		b.Kill()
		b.Restart()
		heard.wait(t, "77", 2, 0)
	})
}

// TestRestart is rows 69, 73 and 74: what was open is open again without a command, what was closed stays closed, and logs
// are not enabled.
func TestRestart(t *testing.T) {
	broker := mosquitto(t)
	for name, start := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := start(t)
			n := inTurn(nodes)
			wantStatus(t, n.command(with("createConnection", mqttConnection("is-open", broker, "closed"))), 201)
			wantStatus(t, n.command(on("openConnection", "is-open")), 200)
			wantStatus(t, n.command(with("createConnection", mqttConnection("is-closed", broker, "closed"))), 201)
			for _, end := range []struct {
				name string
				do   func(*node)
			}{{"SIGTERM", (*node).stop}, {"kill -9", (*node).kill}} {
				for _, one := range nodes {
					end.do(one)
				}
				for _, one := range nodes {
					one.launch()
				}
				together(t, nodes)
				n.awaitLive("is-open", "open")
				reply := n.command(on("retrieveConnectionLogs", "is-open"))
				if entries, ok := reply["connectionLogs"].([]any); !ok || len(entries) != 0 || reply["enabledSince"] != nil || reply["enabledUntil"] != nil || len(reply) != 6 {
					t.Fatalf("after %s: %s", end.name, show(reply))
				}
				if s := n.command(on("retrieveConnectionStatus", "is-closed")); s["liveStatus"] != "closed" {
					t.Fatalf("after %s: %s", end.name, show(s))
				}
				// No new event: the journal ends with revision 2.
				get := on("retrieveConnection", "is-open")
				wantStatus(t, n.command(get, object{"at-historical-revision": 2}), 200)
				wantError(t, n.command(get, object{"at-historical-revision": 3}), 404, "connectivity:connection.history.notfound")
			}
		})
	}
}

// settings are the three in which the checklist is observed.
var settings = map[string]func(t *testing.T) []*node{
	"sqlite":      func(t *testing.T) []*node { return []*node{startNode(t, sqliteStore(t))} },
	"postgres":    func(t *testing.T) []*node { return []*node{startNode(t, postgresStore(t))} },
	"three nodes": threeNodes,
}

// threeNodes starts three nodes on one database and waits until each knows the others.
func threeNodes(t *testing.T) []*node {
	t.Helper()
	env := postgresStore(t)
	var nodes []*node
	for k := range 3 {
		n := newNode(t, append([]string{fmt.Sprintf("INSTANCE_INDEX=three-%d", k+1)}, env...))
		n.env = append(n.env, fmt.Sprintf("INSTANCE_INDEX=three-%d", k+1)) // the last one counts
		n.instance = fmt.Sprintf("three-%d", k+1)
		n.launch()
		nodes = append(nodes, n)
	}
	together(t, nodes)
	return nodes
}

// together waits until launched nodes are ready and list each other.
func together(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, 40*time.Second, n.instance+" knows the others", func() error {
			select {
			case <-n.exited:
				t.Fatalf("%s exited: %s", n.instance, tail(n.log.String(), 20))
			default:
			}
			for path, want := range map[string]int{"/ready": 0, "/cluster/members": len(nodes)} {
				resp, err := http.Get("http://" + n.mgmt + path)
				if err != nil {
					return err
				}
				var body struct{ Members []object }
				err = json.NewDecoder(resp.Body).Decode(&body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || want > 0 && (err != nil || len(body.Members) != want) {
					return fmt.Errorf("%s: %d, %d members", path, resp.StatusCode, len(body.Members))
				}
			}
			return nil
		})
	}
}
