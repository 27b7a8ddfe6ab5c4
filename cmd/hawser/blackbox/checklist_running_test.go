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

// consume publishes the live events [from,to) to the source of a connection and waits until it has consumed to in all.
func consume(t *testing.T, n *node, broker, id string, from, to int) {
	t.Helper()
	client := dial(t, broker, fmt.Sprint("publisher-", id, from))
	for k := from; k < to; k++ {
		token := client.Publish(id+"/in/x", 1, false, liveEvent(k))
		if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	eventually(t, 15*time.Second, "all are consumed and settled", func() error {
		m := n.command(on("retrieveConnectionMetrics", id))
		for _, name := range []string{"consumed", "mapped", "acknowledged"} {
			if got := number(at(m, "connectionMetrics", "inbound", name, "success", "PT1M")); got != to {
				return fmt.Errorf("%s %d of %d", name, got, to)
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
			opened(t, n, mqttConnection(id+"-other", broker, "", func(c object) { // its target takes what the other one's source consumes
				c["targets"].([]any)[0].(object)["authorizationContext"] = []any{"box:" + id}
			}))
			opened(t, n, mqttConnection(id, broker, ""))
			consume(t, n, broker, id, 0, 3)
			check := func(m object, id string, consumed, published int) {
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
							if consumed+published == 0 && (number(counts["PT1M"])+number(counts["PT1H"])+number(counts["PT24H"]) != 0 || counts["lastMessageAt"] != nil) {
								t.Fatalf("%v %s %s after the reset: %s", part.where, name, outcome, show(counts))
							}
						}
					}
				}
				for _, counted := range []struct {
					where    []string
					messages int
				}{
					{[]string{"connectionMetrics", "inbound", "consumed"}, consumed}, {[]string{"sourceMetrics", "addressMetrics", source, "consumed"}, consumed},
					{[]string{"sourceMetrics", "addressMetrics", source, "mapped"}, consumed}, {[]string{"sourceMetrics", "addressMetrics", source, "acknowledged"}, consumed},
					{[]string{"connectionMetrics", "outbound", "published"}, published}, {[]string{"targetMetrics", "addressMetrics", target, "dispatched"}, published},
					{[]string{"targetMetrics", "addressMetrics", target, "filtered"}, published}, {[]string{"targetMetrics", "addressMetrics", target, "mapped"}, published},
					{[]string{"targetMetrics", "addressMetrics", target, "published"}, published},
				} {
					counts, _ := at(m, append(counted.where, "success")...).(object)
					for _, window := range []string{"PT1M", "PT1H", "PT24H"} {
						if number(counts[window]) != counted.messages {
							t.Fatalf("%v: %s, want %d", counted.where, show(counts), counted.messages)
						}
					}
					if counted.messages > 0 {
						wantNear(t, counts["lastMessageAt"], time.Now())
					}
				}
				if m["containsFailures"] != false {
					t.Fatal(show(m))
				}
			}
			check(n.command(on("retrieveConnectionMetrics", id)), id, 3, 0)
			check(n.command(on("retrieveConnectionMetrics", id+"-other")), id+"-other", 0, 3)
			for _, one := range []string{id, id + "-other"} {
				bare(t, n.command(on("resetConnectionMetrics", one)), "resetConnectionMetrics", one, 200)
				check(n.command(on("retrieveConnectionMetrics", one)), one, 0, 0)
			}
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
			consume(t, n, broker, id, 0, 5)
			last := time.Now() // those from here on are kept
			consume(t, n, broker, id, 5, 15)
			got := logs(n.command(on("retrieveConnectionLogs", id)), map[string]string{"category": "source", "type": "consumed", "level": "success", "address": id + "/in/#"})
			if len(got) != 10 {
				t.Fatalf("%d entries, want 10: %s", len(got), show(got))
			}
			for _, e := range got {
				at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["timestamp"]))
				if err != nil || at.Before(last) {
					t.Fatalf("not after %v: %s", last, show(got))
				}
				last = at
			}
		}},
		{name: "71 reset of the logs", check: func(t *testing.T, n *node, id string) {
			opened(t, n, mqttConnection(id, broker, ""))
			bare(t, n.command(on("resetConnectionLogs", id)), "resetConnectionLogs", id, 200)
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
			uri, tap := tapped(t, broker)
			heard := listen(t, broker, id, id+"/out")
			opened(t, n, announcing(id, uri))
			heard.wait(t, 1, 0)
			taps := 1
			if accepted, _ := tap.last(); heard.said("opened").Before(accepted) {
				t.Fatalf("opened at %v, connected at %v", heard.said("opened"), accepted)
			}
			// Each orderly end announces itself 3 s before the client leaves (section 8).
			for _, end := range []struct {
				command object
				reply   int
				again   bool // it opens another client at once
			}{
				{with("modifyConnection", mqttConnection(id, uri, "open", announcements)), 204, true},
				{on("closeConnection", id), 200, false},
				{on("deleteConnection", id), 204, false},
			} {
				if _, left := tap.seen(); left == taps {
					bare(t, n.command(on("openConnection", id)), "openConnection", id, 200)
					taps++
					heard.wait(t, taps, taps-1)
				}
				wantStatus(t, n.command(end.command), end.reply)
				ends := taps
				if end.again {
					taps++
				}
				heard.wait(t, taps, ends)
				_, left := tap.last()
				if announced := heard.said("closed"); left.Sub(announced) < 3*time.Second {
					t.Fatalf("%v: announced at %v, left at %v", end.command["type"], announced, left)
				}
				if accepted, left := tap.seen(); accepted != taps || left != ends {
					t.Fatalf("%v: %d clients connected, %d left", end.command["type"], accepted, left)
				}
			}
		}},
	}
}

// announcing is a connection whose target takes announcements.
func announcing(id, broker string) object { return mqttConnection(id, broker, "", announcements) }

func announcements(c object) {
	c["sources"] = []any{}
	c["targets"].([]any)[0].(object)["topics"] = []any{"_/_/connections/announcements"}
}

// hearing collects the announcements of a connection that arrive on a topic: the instants that they name.
type hearing struct {
	id string

	mu             sync.Mutex
	opened, closed []time.Time
	wrong          []string
}

// listen subscribes for announcements; it comes back when the broker does.
func listen(t *testing.T, broker, id, topic string) *hearing {
	t.Helper()
	h := &hearing{id: id}
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
	if err := json.Unmarshal(m.Payload(), &a); err != nil || a.Path != "/" || a.Headers["correlation-id"] != nil || a.Headers["content-type"] != "application/json" {
		h.wrong = append(h.wrong, string(m.Payload()))
		return
	}
	kind := strings.TrimPrefix(a.Topic, "_/"+h.id+"/connections/announcements/")
	said, err := time.Parse(time.RFC3339Nano, a.Value[kind+"At"])
	switch {
	case err != nil || len(a.Value) != 1:
		h.wrong = append(h.wrong, string(m.Payload()))
	case kind == "opened":
		h.opened = append(h.opened, said)
	case kind == "closed":
		h.closed = append(h.closed, said)
	default:
		h.wrong = append(h.wrong, string(m.Payload()))
	}
}

// wait waits until so many announcements have arrived.
func (h *hearing) wait(t *testing.T, opened, closed int) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%d opened, %d closed of %s", opened, closed, h.id), func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.wrong) > 0 {
			t.Fatalf("no announcement: %s", h.wrong)
		}
		if len(h.opened) != opened || len(h.closed) != closed {
			return fmt.Errorf("%d opened, %d closed", len(h.opened), len(h.closed))
		}
		return nil
	})
}

// said is the instant that the last announcement of a kind names.
func (h *hearing) said(kind string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string][]time.Time{"opened": h.opened, "closed": h.closed}[kind]
	return all[len(all)-1]
}

// TestBrokerComesBack is row 77: a second opened announcement, none that the connection closed.
func TestBrokerComesBack(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		b := startMosquitto(t)
		n := startNode(t, env)
		heard := listen(t, b.URI(), "77", "77/out")
		opened(t, n, announcing("77", b.URI()))
		heard.wait(t, 1, 0)
		b.Kill()
		b.Restart()
		heard.wait(t, 2, 0)
	})
}

// TestAnnouncedAtShutdown is row 75 for an orderly end of the service: whoever listens learns of it 3 s before the client
// leaves. A service that is killed says nothing.
func TestAnnouncedAtShutdown(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		broker := mosquitto(t)
		n := startNode(t, env)
		uri, tap := tapped(t, broker)
		heard := listen(t, broker, "75", "75/out")
		opened(t, n, announcing("75", uri))
		heard.wait(t, 1, 0)
		n.stop()
		heard.wait(t, 1, 1)
		if _, left := tap.last(); left.Sub(heard.said("closed")) < 3*time.Second {
			t.Fatalf("announced at %v, left at %v", heard.said("closed"), left)
		}
		n.start()
		heard.wait(t, 2, 1)
		n.kill()
		n.start()
		heard.wait(t, 3, 1)
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
				eventually(t, 30*time.Second, "it is open again, without a command", func() error {
					total := 0.0
					for _, one := range nodes {
						_, body := get(t, "http://"+one.metrics)
						total += sum(body, `connection_client{id="is-open",type="mqtt"}`)
					}
					if total != 1 {
						return fmt.Errorf("%v clients", total)
					}
					return nil
				})
				n.awaitLive("is-open", "open")
				reply := n.command(on("retrieveConnectionLogs", "is-open"))
				if entries, ok := reply["connectionLogs"].([]any); !ok || len(entries) != 0 || reply["enabledSince"] != nil || reply["enabledUntil"] != nil || len(reply) != 6 {
					t.Fatalf("after %s: %s", end.name, show(reply))
				}
				if s := n.command(on("retrieveConnectionStatus", "is-closed")); s["liveStatus"] != "closed" {
					t.Fatalf("after %s: %s", end.name, show(s))
				}
				if got := n.journalOf("is-open"); !slices.Equal(got, []string{"Created", "Opened"}) {
					t.Fatalf("journal after %s: %v", end.name, got)
				}
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
		n.env = append(n.env, fmt.Sprintf("INSTANCE_INDEX=three-%d", k+1), "HAWSER_DATA_DIR="+t.TempDir()) // the last one counts
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
