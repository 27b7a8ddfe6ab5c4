package blackbox

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// clientStates are, for each client in the status of a connection, its instance and its status, sorted.
func (n *node) clientStates(id string) (states []string) {
	n.t.Helper()
	s := n.command(on("retrieveConnectionStatus", id), object{"timeout": "2s"}) // three quarters of it are waited for missing clients
	list, _ := s["clientStatus"].([]any)
	for _, entry := range list {
		c := entry.(map[string]any)
		states = append(states, fmt.Sprint(c["client"], " ", c["status"]))
	}
	slices.Sort(states)
	return states
}

func (n *node) awaitClients(id string, want ...string) {
	n.t.Helper()
	eventually(n.t, 20*time.Second, "clients of "+id, func() error {
		if got := n.clientStates(id); !slices.Equal(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
}

// TestClientsOnEveryNode: a connection with clientCount 3 has a client on each of three nodes. Each event that comes in
// anywhere is published by exactly one of them, and none is lost when one node is killed and another one drained; metrics and
// logs are those of all clients (piggyback.md 4.11–4.15, runtime.md R34, R35).
func TestClientsOnEveryNode(t *testing.T) {
	const messages, calm = 3_000, 500
	broker := mosquitto(t)
	nodes := startNodes(t, 3)
	mesh(nodes[0], broker, 3, 0)
	wide := mqttConnection("wide", broker, "closed", func(c object) {
		c["connectionType"], c["clientCount"] = "mqtt-5", 3
		c["sources"] = []any{}
		c["targets"] = []any{object{"address": "out/wide", "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": []any{"box:shared"}}}
	})
	wantStatus(t, nodes[1].command(with("createConnection", wide)), 201)
	wantStatus(t, nodes[2].command(on("openConnection", "wide")), 200)
	if got := nodes[0].clientStates("wide"); len(got) != 3 || slices.Contains(got, "unknown-client misconfigured") {
		t.Errorf("clients when open was answered: %v", got)
	}
	nodes[0].awaitClients("wide", "box-1 open", "box-2 open", "box-3 open")
	arrived := subscribe(t, broker, "out/wide")
	publisher := dial(t, broker, "publisher")
	publish := func(from, to int) {
		t.Helper()
		for k := from; k < to; k++ {
			token := publisher.Publish(fmt.Sprintf("in/%d/x", k%3), 1, false, liveEvent(k))
			if k%50 == 49 && (!token.WaitTimeout(60*time.Second) || token.Error() != nil) {
				t.Fatalf("publish: %v", token.Error())
			}
		}
	}
	everything := func(n int) func() error {
		return func() error {
			if m := arrived.missing(n); m > 0 {
				return fmt.Errorf("%d of %d missing", m, n)
			}
			return nil
		}
	}
	publish(0, calm)
	eventually(t, 30*time.Second, "the first events arrived", everything(calm))
	if n := arrived.total.Load(); n != calm {
		t.Errorf("%d deliveries of %d events while nothing moved", n, calm)
	}
	published := func(reply object) int {
		out := reply["connectionMetrics"].(map[string]any)["outbound"].(map[string]any)["published"].(map[string]any)
		return number(out["success"].(map[string]any)["PT24H"])
	}
	if n := published(nodes[1].command(on("retrieveConnectionMetrics", "wide"))); n != calm {
		t.Errorf("metrics of all clients: %d published, want %d", n, calm)
	}
	publish(calm, messages/2)
	nodes[2].kill()
	publish(messages/2, messages*3/4)
	nodes[1].stop()
	publish(messages*3/4, messages)
	eventually(t, 120*time.Second, "all events arrived", everything(messages))
	t.Logf("%d events, %d deliveries", messages, arrived.total.Load())
	nodes[0].awaitClients("wide", "box-1 open", "unknown-client misconfigured", "unknown-client misconfigured")
	nodes[1].launch()
	nodes[1].awaitReady()
	nodes[0].awaitClients("wide", "box-1 open", "box-2 open", "unknown-client misconfigured")
	wantStatus(t, nodes[1].command(on("closeConnection", "wide")), 200)
}
