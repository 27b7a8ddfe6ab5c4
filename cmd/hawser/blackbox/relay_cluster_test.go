package blackbox

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// startNodes starts several nodes on one Postgres, as one cluster.
func startNodes(t testing.TB, count int) []*node {
	t.Helper()
	env := postgresStore(t)
	nodes := make([]*node, count)
	for i := range nodes {
		own := append([]string(nil), env...)
		own = append(own, fmt.Sprintf("INSTANCE_INDEX=box-%d", i+1), "HAWSER_DATA_DIR="+t.TempDir())
		nodes[i] = newNode(t, own)
		nodes[i].launch()
	}
	for _, n := range nodes {
		n.awaitReady()
	}
	eventually(t, 20*time.Second, "the shards are spread", func() error {
		for _, n := range nodes {
			if got := strings.Count(n.log.String(), "claimed shards"); got == 0 {
				return fmt.Errorf("%s owns nothing", n.http)
			}
		}
		return nil
	})
	return nodes
}

// awaitReady waits until a launched node is ready.
func (n *node) awaitReady() {
	n.t.Helper()
	eventually(n.t, 30*time.Second, "the node is ready", func() error {
		select {
		case <-n.exited:
			n.t.Fatalf("the node exited: %s", tail(n.log.String(), 20))
		default:
		}
		a, err := httpClient.Get("http://" + n.mgmt + "/ready")
		if err != nil {
			return err
		}
		defer a.Body.Close()
		if a.StatusCode != 200 {
			return fmt.Errorf("/ready: %d", a.StatusCode)
		}
		return nil
	})
}

// mesh opens sources s-0 … and targets t-0 … that share a subject: what comes in on "in/<i>/…" goes out on "out/<k>" for each k.
func mesh(n *node, broker string, sources, targets int) {
	n.t.Helper()
	subject := []any{"box:shared"}
	var all []object
	for k := range targets {
		all = append(all, mqttConnection(fmt.Sprintf("t-%d", k), broker, "open", func(c object) {
			c["sources"] = []any{}
			c["targets"] = []any{object{"address": fmt.Sprintf("out/%d", k), "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": subject}}
		}))
	}
	for i := range sources {
		all = append(all, mqttConnection(fmt.Sprintf("s-%d", i), broker, "open", func(c object) {
			c["targets"] = []any{}
			c["sources"] = []any{object{"addresses": []any{fmt.Sprintf("in/%d/#", i)}, "qos": 1, "authorizationContext": subject}}
		}))
	}
	for _, c := range all {
		wantStatus(n.t, n.command(with("createConnection", c)), 201)
		n.awaitLive(c["id"].(string), "open")
	}
}

// TestNothingIsLostBetweenNodes relays 5 000 live events with QoS 1 from six sources to six targets that are spread over three
// nodes; meanwhile one node is killed and another one drained. Each event arrives at each target (O11–O15).
func TestNothingIsLostBetweenNodes(t *testing.T) {
	const messages, ends = 5_000, 6
	broker := mosquitto(t)
	nodes := startNodes(t, 3)
	mesh(nodes[0], broker, ends, ends)
	arrived := make([]*subscriber, ends)
	for k := range arrived {
		arrived[k] = subscribe(t, broker, fmt.Sprintf("out/%d", k))
	}
	publisher := dial(t, broker, "publisher")
	began := time.Now()
	slots := make(chan struct{}, 100)
	var failed atomic.Int64
	var open sync.WaitGroup
	for k := range messages {
		switch k {
		case messages / 3:
			nodes[2].kill()
			t.Logf("killed after %v", time.Since(began).Round(time.Millisecond))
		case 2 * messages / 3:
			open.Go(func() { nodes[1].stop() })
		}
		slots <- struct{}{}
		token := publisher.Publish(fmt.Sprintf("in/%d/x", k%ends), 1, false, liveEvent(k))
		open.Go(func() {
			if !token.WaitTimeout(60*time.Second) || token.Error() != nil {
				failed.Add(1)
			}
			<-slots
		})
	}
	open.Wait()
	if n := failed.Load(); n > 0 {
		t.Fatalf("%d publishes were not acknowledged by the broker", n)
	}
	t.Logf("published after %v", time.Since(began).Round(time.Millisecond))
	eventually(t, 120*time.Second, "all messages arrived at all targets", func() error {
		for k, s := range arrived {
			if m := s.missing(messages); m > 0 {
				return fmt.Errorf("target %d: %d of %d missing, %d arrived", k, m, messages, s.total.Load())
			}
		}
		return nil
	})
	total := int64(0)
	for _, s := range arrived {
		total += s.total.Load()
	}
	t.Logf("%d events at %d targets after %v, %d deliveries for %d", messages, ends, time.Since(began).Round(time.Millisecond), total, messages*ends)
}

// TestRequestsBetweenNodes: messages of six askers reach a worker, and its responses, which come in at yet another
// connection, find the asker wherever it is.
func TestRequestsBetweenNodes(t *testing.T) {
	const askers = 6
	broker := mosquitto(t)
	nodes := startNodes(t, 3)
	subject := []any{"box:shared"}
	all := []object{
		mqttConnection("worker", broker, "open", func(c object) {
			c["sources"] = []any{}
			c["targets"] = []any{object{"address": "work", "qos": 1, "topics": []any{"_/_/things/live/messages"}, "authorizationContext": subject}}
		}),
		mqttConnection("answers", broker, "open", func(c object) {
			c["targets"] = []any{}
			c["sources"] = []any{object{"addresses": []any{"answers"}, "qos": 1, "authorizationContext": subject}}
		}),
	}
	for i := range askers {
		all = append(all, mqttConnection(fmt.Sprintf("asker-%d", i), broker, "open", func(c object) {
			c["targets"] = []any{}
			c["sources"] = []any{object{
				"addresses": []any{fmt.Sprintf("ask/%d", i)}, "qos": 1, "authorizationContext": subject,
				"replyTarget": object{"enabled": true, "address": fmt.Sprintf("reply/%d", i), "expectedResponseTypes": []any{"response", "error"}},
			}}
		}))
	}
	for i, c := range all {
		n := nodes[i%len(nodes)]
		wantStatus(t, n.command(with("createConnection", c)), 201)
		n.awaitLive(c["id"].(string), "open")
	}
	device := dial(t, broker, "device")
	token := device.Subscribe("work", 1, func(c mqtt.Client, m mqtt.Message) {
		answer := strings.Replace(string(m.Payload()), `"path":`, `"status":200,"path":`, 1)
		go c.Publish("answers", 1, false, answer)
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	var mu sync.Mutex
	replies := map[string]string{}
	client := dial(t, broker, "client")
	token = client.Subscribe("reply/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		replies[m.Topic()] = string(m.Payload())
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	for i := range askers {
		client.Publish(fmt.Sprintf("ask/%d", i), 1, false, fmt.Sprintf(
			`{"topic":"acme/pump-%d/things/live/messages/restart","headers":{"correlation-id":"q-%d","content-type":"application/json","timeout":"20s"},"path":"/inbox/messages/restart","value":%d}`, i, i, i))
	}
	eventually(t, 30*time.Second, "every asker is answered", func() error {
		mu.Lock()
		defer mu.Unlock()
		for i := range askers {
			reply := replies[fmt.Sprintf("reply/%d", i)]
			if !strings.Contains(reply, `"status":200`) || !strings.Contains(reply, fmt.Sprintf(`q-%d`, i)) {
				return fmt.Errorf("asker %d: %q", i, reply)
			}
		}
		return nil
	})
}

// BenchmarkRelayBetweenNodes relays QoS 1 live events on one node, and between two nodes of a cluster on the same machine.
func BenchmarkRelayBetweenNodes(b *testing.B) {
	broker := mosquitto(b)
	nodes := startNodes(b, 2)
	// Pairs are made until one is on one node and another one is not.
	subject := func(k int) []any { return []any{fmt.Sprintf("box:%d", k)} }
	owner := func(id string) string {
		clients, _ := nodes[0].command(on("retrieveConnectionStatus", id))["clientStatus"].([]any)
		if len(clients) == 0 {
			b.Fatalf("%s has no client", id)
		}
		return fmt.Sprint(clients[0].(object)["client"])
	}
	same, apart := -1, -1
	for k := 0; k < 24 && (same < 0 || apart < 0); k++ {
		from := mqttConnection(fmt.Sprintf("bf-%d", k), broker, "open", func(c object) {
			c["targets"] = []any{}
			c["sources"] = []any{object{"addresses": []any{fmt.Sprintf("bin/%d", k)}, "qos": 1, "authorizationContext": subject(k)}}
		})
		to := mqttConnection(fmt.Sprintf("bt-%d", k), broker, "open", func(c object) {
			c["sources"] = []any{}
			c["targets"] = []any{object{"address": fmt.Sprintf("bout/%d", k), "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": subject(k)}}
		})
		for _, c := range []object{to, from} {
			wantStatus(b, nodes[0].command(with("createConnection", c)), 201)
			nodes[0].awaitLive(c["id"].(string), "open")
		}
		if x, y := owner(fmt.Sprintf("bf-%d", k)), owner(fmt.Sprintf("bt-%d", k)); x == y {
			same = k
		} else {
			apart = k
		}
	}
	for _, way := range []struct {
		name string
		k    int
	}{{"same-node", same}, {"two-nodes", apart}} {
		for _, window := range []int{1, 200} {
			b.Run(fmt.Sprintf("%s/window=%d", way.name, window), func(b *testing.B) {
				benchmarkPump(b, broker, fmt.Sprintf("bin/%d", way.k), fmt.Sprintf("bout/%d", way.k), window)
			})
		}
	}
}
