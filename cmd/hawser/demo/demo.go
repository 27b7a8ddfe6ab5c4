package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Options is what a demo needs. All are required.
type Options struct {
	URL            string // of the API
	User, Password string
	Broker         *Broker
	DataDir        string
	Out            io.Writer
}

// The topics of the demo: what arrives on plant/<thing>/up leaves, mapped, on erp/<thing>.
const (
	sourceFilter  = "plant/+/up"
	targetAddress = "erp/{{ thing:name }}"
	targetFilter  = "erp/#"
)

// pace is the time between two messages.
const pace = time.Second

type demo struct {
	Options
	client *http.Client
	step   int
}

// Run makes the two connections and relays until ctx ends, which is no error.
func Run(ctx context.Context, o Options) error {
	d := &demo{Options: o, client: &http.Client{Timeout: 70 * time.Second, Transport: &http.Transport{}}}
	defer d.client.CloseIdleConnections()
	d.say("Hawser demo\n  API     %s (user %s, password %s)\n  broker  tcp://%s (in this process)\n  data    %s (removed at the end)\n\nEach step is a real HTTP request; the curl does the same.\n",
		o.URL, o.User, o.Password, o.Broker.Address(), o.DataDir)
	for _, s := range []struct{ title, command string }{
		{"Create a connection that consumes " + sourceFilter + ".", create("demo-plant", o.Broker.Address(), `
      "sources": [ {
        "addresses": [ "`+sourceFilter+`" ], "qos": 1, "authorizationContext": [ "demo:acme" ]
      } ]`)},
		{"Create a connection that publishes live events to " + targetAddress + ", mapped to plain JSON.", create("demo-erp", o.Broker.Address(), `
      "targets": [ {
        "address": "`+targetAddress+`", "qos": 1, "authorizationContext": [ "demo:acme" ],
        "topics": [ "_/_/things/live/events" ], "payloadMapping": [ "plain" ]
      } ],
      "mappingDefinitions": {
        "plain": { "mappingEngine": "Normalized", "options": { "fields": "thingId,attributes" } }
      }`)},
		{"Open both.", on("openConnection", "demo-erp")},
		{"", on("openConnection", "demo-plant")},
	} {
		if err := d.command(ctx, s.title, s.command); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	d.say("\nRelaying: a live event each second, published on %s and arriving on %s. Ctrl-C ends it.", sourceFilter, targetFilter)
	d.say("Meanwhile in another terminal:\n\n%s\n\nmosquitto_pub -h 127.0.0.1 -p %s -q 1 -t plant/pump-9/up -m '%s'\n",
		d.curl(on("retrieveConnectionStatus", "demo-plant")), o.Broker.Address()[strings.LastIndexByte(o.Broker.Address(), ':')+1:], event("pump-9", 1480))
	return d.relay(ctx)
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.Out, format+"\n", args...) }

// relay publishes and prints what arrives.
func (d *demo) relay(ctx context.Context) error {
	type message struct{ topic, payload string }
	arrived := make(chan message, 64)
	err := d.Broker.Subscribe(targetFilter, func(topic, payload string) {
		select {
		case arrived <- message{topic, payload}:
		default: // a terminal that is slower than the relay misses lines, not the relay a message
		}
	})
	if err != nil {
		return fmt.Errorf("demo: subscribe: %w", err)
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			d.say("\nStopping.")
			return nil
		case <-tick.C:
			thing := fmt.Sprintf("pump-%d", n%3+1)
			topic := "plant/" + thing + "/up"
			payload := event(thing, 1480+n%20)
			d.say("%s  published %-16s %s", time.Now().Format(time.TimeOnly), topic, payload)
			if err := d.Broker.Publish(topic, payload); err != nil {
				return fmt.Errorf("demo: publish: %w", err)
			}
			n++
		case m := <-arrived:
			d.say("%s  arrived   %-16s %s", time.Now().Format(time.TimeOnly), m.topic, m.payload)
		}
	}
}

// event is a live event of one thing, as Ditto's protocol writes it.
func event(thing string, speed int) string {
	return fmt.Sprintf(`{"topic":"acme/%s/things/live/events/modified","headers":{},"path":"/attributes/speed","value":%d}`, thing, speed)
}

// create is the command that creates a closed connection with the given sources or targets.
func create(id, broker, resources string) string {
	return fmt.Sprintf(`{
    "type": "connectivity.commands:createConnection",
    "connection": {
      "id": "%s", "connectionType": "mqtt", "connectionStatus": "closed", "uri": "tcp://%s",%s
    }
  }`, id, broker, resources)
}

// on is a command on an existing connection.
func on(name, id string) string {
	return fmt.Sprintf(`{ "type": "connectivity.commands:%s", "connectionId": "%s" }`, name, id)
}

// envelope is the body of the request.
func envelope(command string) string {
	return fmt.Sprintf(`{
  "targetActorSelection": "/system/sharding/connection",
  "headers": { "aggregate": false, "is-group-topic": false, "timeout": "60s" },
  "piggybackCommand": %s
}`, command)
}

func (d *demo) endpoint() string { return d.URL + "/devops/piggyback/connectivity" }

// curl is the command line that sends a command; nothing in it needs escaping between single quotes.
func (d *demo) curl(command string) string {
	return fmt.Sprintf("curl -sS -u %s:%s %s -d '%s'", d.User, d.Password, d.endpoint(), envelope(command))
}

// command sends a command and says what came back.
func (d *demo) command(ctx context.Context, title, command string) error {
	if title != "" {
		d.step++
		d.say("\n%d. %s", d.step, title)
	}
	d.say("\n%s", d.curl(command))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.endpoint(), strings.NewReader(envelope(command)))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	req.SetBasicAuth(d.User, d.Password)
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	var reply struct {
		Type   string `json:"type"`
		Status int    `json:"status"`
	}
	if err := json.Unmarshal(body, &reply); err != nil || resp.StatusCode != http.StatusOK || reply.Status >= 300 {
		return fmt.Errorf("demo: the command was answered HTTP %d: %.500s", resp.StatusCode, body)
	}
	d.say("→ %s, status %d", reply.Type, reply.Status)
	return nil
}
