package blackbox

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// overMQTT5 makes a connection one of type mqtt-5.
func overMQTT5(c object) { c["connectionType"] = "mqtt-5" }

// dialMQTT5 connects a client that is not Hawser's; what it receives goes to the channel.
func dialMQTT5(t testing.TB, broker, id string) (*paho.Client, chan *paho.Publish) {
	t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan *paho.Publish, 1000)
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { received <- p.Packet; return true, nil },
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return c, received
}

// nextOver is what a client of dialMQTT5 receives next.
func nextOver(t testing.TB, received chan *paho.Publish) *paho.Publish {
	t.Helper()
	select {
	case p := <-received:
		return p
	case <-time.After(20 * time.Second):
		t.Fatal("no message")
		return nil
	}
}

// TestRelayOverMQTT5 relays QoS 1 from a source to a target of type mqtt-5: properties become headers and headers become
// properties (bindings.md 4.3, 4.5, rows B33 and B34), and an error goes to the response topic.
func TestRelayOverMQTT5(t *testing.T) {
	broker := mosquitto(t)
	n := startNode(t, sqliteStore(t))
	bridge(n, broker, overMQTT5, func(c object) {
		for _, s := range c["sources"].([]any) {
			s.(object)["headerMapping"] = object{"device": "{{ header:device }}", "wanted": "{{ header:mqtt.qos }}", "life": "{{ header:mqtt.message-expiry-interval }}", "correlation-id": "{{ header:correlation-id }}", "content-type": "{{ header:content-type }}"}
		}
		for _, s := range c["targets"].([]any) {
			s.(object)["headerMapping"] = object{
				"device": "{{ header:device }}", "came-with": "{{ header:wanted }}", "lived": "{{ header:life }}", "correlation-id": "{{ header:correlation-id }}",
				"reply-to": "answers/of/target", "content-type": "application/vnd.hawser", "mqtt.message-expiry-interval": "70",
			}
		}
	})
	c, received := dialMQTT5(t, broker, "outsider")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "b", QoS: 1}, {Topic: "answers/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	send := func(payload, correlation string) {
		t.Helper()
		properties := &paho.PublishProperties{
			ContentType: "application/vnd.eclipse.ditto+json", ResponseTopic: "answers/of/source", CorrelationData: []byte(correlation),
			MessageExpiry: paho.Uint32(50), User: paho.UserProperties{{Key: "device", Value: "old"}, {Key: "Device", Value: "pump 7"}, {Key: "mqtt.topic", Value: "ignored"}},
		}
		if _, err := c.Publish(ctx, &paho.Publish{Topic: "a/7", QoS: 1, Payload: []byte(payload), Properties: properties}); err != nil {
			t.Fatal(err)
		}
	}

	send(strings.Replace(liveEvent(7), `"correlation-id":"k-7"`, "", 1), "c-7") // that of an envelope would win
	p := nextOver(t, received)
	if p.Topic != "b" || p.QoS != 1 || benchValue(p.Payload) != 7 {
		t.Errorf("%v", p)
	}
	m := p.Properties
	if m.ContentType != "application/vnd.hawser" || m.ResponseTopic != "answers/of/target" || string(m.CorrelationData) != "c-7" || m.MessageExpiry == nil || *m.MessageExpiry < 60 || *m.MessageExpiry > 70 {
		t.Errorf("properties %+v", m)
	}
	for name, want := range map[string]string{"device": "pump 7", "came-with": "1", "mqtt.topic": "b", "mqtt.qos": "1", "mqtt.retain": "false", "reply-to": "", "content-type": "", "correlation-id": ""} {
		if got := m.User.Get(name); got != want {
			t.Errorf("user property %s is %q, want %q", name, got, want)
		}
	}
	if lived := m.User.Get("lived"); lived != "50" && lived != "49" {
		t.Errorf("the message expiry arrived as %q", lived)
	}

	send(`{"no": "envelope"}`, "c-8") // the default reply target answers over the response topic
	if p := nextOver(t, received); p.Topic != "answers/of/source" || string(p.Properties.CorrelationData) != "c-8" || p.Properties.ContentType == "" {
		t.Errorf("%v", p)
	}
}

// TestMQTT5OverRestart: the session outlives kill -9 (session expiry), so nothing is lost (O11–O15).
func TestMQTT5OverRestart(t *testing.T) {
	const events = 2000
	broker := mosquitto(t)
	n := startNode(t, sqliteStore(t))
	bridge(n, broker, overMQTT5)
	arrived := subscribe(t, broker, "b")
	half := make(chan struct{})
	published := make(chan error, 1)
	publisher := dial(t, broker, "publisher")
	go func() { published <- publish(publisher, events, half) }()
	<-half
	n.kill()
	n.start()
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "all messages arrived", func() error {
		if m := arrived.missing(events); m > 0 {
			return fmt.Errorf("%d of %d missing, %d arrived", m, events, arrived.total.Load())
		}
		return nil
	})
}

// TestMQTT5Validation is bindings.md 4.1 where mqtt-5 differs from mqtt and where it does not (row B24).
func TestMQTT5Validation(t *testing.T) {
	n := startNode(t, sqliteStore(t))
	source := func(key string, value any) func(object) {
		return func(c object) { c["sources"].([]any)[0].(object)[key] = value }
	}
	target := func(key string, value any) func(object) {
		return func(c object) { c["targets"].([]any)[0].(object)[key] = value }
	}
	specific := func(key, value string) func(object) {
		return func(c object) { c["specificConfig"] = object{key: value} }
	}
	for i, row := range []struct {
		name       string
		change     func(object)
		mqtt, five int
	}{
		{"source without qos", func(c object) { delete(c["sources"].([]any)[0].(object), "qos") }, 400, 400},
		{"target without qos", func(c object) { delete(c["targets"].([]any)[0].(object), "qos") }, 400, 400},
		{"qos 3", source("qos", 3), 400, 400},
		{"wildcard in a target", target("address", "a/#"), 400, 400},
		{"source filters", source("addresses", []any{"a/+/b/#", "$share/g/c"}), 201, 201},
		{"two clients", func(c object) { c["clientCount"] = 2 }, 400, 201},
		{"two consumers", source("consumerCount", 2), 400, 201},
		{"source header mapping", source("headerMapping", object{"x": "{{ header:x }}"}), 400, 201},
		{"target header mapping", target("headerMapping", object{"x": "{{ header:x }}"}), 400, 201},
		{"enforcement by header", source("enforcement", object{"input": "{{ header:device }}", "filters": []any{"{{ thing:id }}"}}), 400, 201},
		{"keep alive too long", specific("keepAlive", "65536s"), 400, 400},
		{"last will with wildcard", specific("lastWillTopic", "a/#"), 400, 400},
		{"scheme", func(c object) { c["uri"] = "mqtt://broker.example:1883" }, 400, 400},
	} {
		for typ, want := range map[string]int{"mqtt": row.mqtt, "mqtt-5": row.five} {
			t.Run(row.name+"/"+typ, func(t *testing.T) {
				reply := n.as(t).command(with("createConnection", mqttConnection(fmt.Sprintf("%s-%d", typ, i), "tcp://broker.example:1883", "closed", row.change, func(c object) { c["connectionType"] = typ })))
				if payload, ok := reply["payload"].(object); ok { // an error around the target
					reply = payload
				}
				wantStatus(t, reply, want)
			})
		}
	}
}
