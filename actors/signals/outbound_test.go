package signals

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

// TestErrorResponse: a responder may answer with an error envelope; it is published as an error and ends the request (4.2).
func TestErrorResponse(t *testing.T) {
	for status, want := range map[int]client.Settlement{404: client.Reject, 412: client.Settle, 503: client.RejectRedeliver} {
		n := newNode(t, Options{})
		from := n.open(connection("from", withSource(func(s *messages.Source) { s.ReplyTarget.ExpectedResponseTypes = []string{"error"} })))
		to := n.open(connection("to", withSource(), withTarget()))
		m := from.consume(liveMessage("correlation-id", "c1", "requested-acks", `["none:x"]`))
		to.consume(withStatus(envelope("acme/pump-7/things/live/errors", "/", fmt.Sprintf(`{"status":%d,"error":"device:broken"}`, status), "correlation-id", "c1"), status)).want(client.Settle)
		m.want(want)
		if e := from.sole(); errorCode(t, e) != "device:broken" || e.Status != status {
			t.Errorf("%d %s", e.Status, e.Value)
		}
	}
}

// TestIssuedLiveResponse is 4.4: the outcome of the publish is the response.
func TestIssuedLiveResponse(t *testing.T) {
	for _, failure := range []error{nil, errBroker} {
		n := newNode(t, Options{})
		from := n.open(connection("from", withSource()))
		to := n.open(connection("to", withTarget(func(t *messages.Target) { t.IssuedAcknowledgementLabel = "live-response" })))
		to.broker.set(func(b *broker) { b.failure = failure })
		from.consume(liveMessage("correlation-id", "c1")).want(client.Settle)
		want := 200
		if failure != nil {
			want = 503
		}
		if e := from.sole(); e.Status != want || e.Headers["correlation-id"] != "c1" || e.Topic.String() != "acme/pump-7/things/live/messages/restart" {
			t.Errorf("%d %v %s, want %d", e.Status, e.Headers, e.Topic, want)
		}
	}
}

// TestSelection is R33, R36, R37, R38, R40, R62, R63, and what is counted on the way.
func TestSelection(t *testing.T) {
	topics := func(all ...messages.FilteredTopic) func(*messages.Target) {
		return func(t *messages.Target) { t.Topics = all }
	}
	events := func(filter string, namespaces ...string) func(*messages.Target) {
		return topics(messages.FilteredTopic{Name: messages.TopicLiveEvents, Filter: filter, Namespaces: namespaces})
	}
	for _, row := range []struct {
		name      string
		target    func(*messages.Target)
		text      string
		delivered bool
		counts    map[string]int
	}{
		{"plain", events(""), liveEvent(1), true, map[string]int{"target out dispatched success": 1, "target out filtered success": 1, "target out mapped success": 1, "target out published success": 1}},
		{"namespace of another (R36)", events("", "a"), liveEvent(1), false, map[string]int{"target out filtered success": 0, "target out filtered failure": 0, "target out published success": 0}},
		{"namespace", events("", "a", "acme"), liveEvent(1), true, nil},
		{"action (R37)", events(`eq(topic:action,"created")`), liveEvent(1), false, map[string]int{"target out dispatched success": 1, "target out filtered success": 0}},
		{"action of the event", events(`eq(topic:action,"modified")`), liveEvent(1), true, nil},
		{"value of the event", events(`gt(attributes/k,5)`), liveEvent(6), true, nil},
		{"value of the event below", events(`gt(attributes/k,5)`), liveEvent(5), false, nil},
		{"payload of a message (R38)", topics(messages.FilteredTopic{Name: messages.TopicLiveMessages, Filter: `eq(now,true)`}), liveMessage("response-required", "false"), false, nil},
		{"absent field (14.2 D)", events(`not(exists(attributes/site))`), liveEvent(1), true, nil},
		{"second topic matches", topics(messages.FilteredTopic{Name: messages.TopicLiveEvents, Filter: `eq(attributes/k,0)`}, messages.FilteredTopic{Name: messages.TopicLiveEvents, Namespaces: []string{"acme"}}), liveEvent(1), true, map[string]int{"target out filtered success": 1, "target out published success": 1}},
		{"address without value (R40)", func(t *messages.Target) { t.Address = "x/{{header:absent}}" }, liveEvent(1), false, map[string]int{"target x/{{header:absent}} mapped success": 1, "target x/{{header:absent}} dropped success": 1, "target x/{{header:absent}} published success": 0}},
		{"other kind of signal", topics(messages.FilteredTopic{Name: messages.TopicLiveMessages}), liveEvent(1), false, map[string]int{"target out dispatched success": 0}},
		{"twin events (R62)", topics(messages.FilteredTopic{Name: messages.TopicTwinEvents}), liveEvent(1), false, nil},
		{"extraFields (R63)", topics(messages.FilteredTopic{Name: messages.TopicLiveEvents, ExtraFields: "attributes/site"}), liveEvent(1), true, nil},
		{"other subject", func(t *messages.Target) { t.AuthorizationContext = []string{"box:other"} }, liveEvent(1), false, map[string]int{"target out dispatched success": 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, Options{})
			from := n.open(connection("from", withSource(), withTarget()))
			to := n.open(connection("to", withTarget(row.target)))
			from.consume(row.text).want(client.Settle)
			from.nothing() // R33
			if row.delivered {
				if e := to.sole(); e.Extra != nil {
					t.Errorf("extra %s", e.Extra)
				}
			} else {
				to.nothing()
			}
			to.counted(row.counts)
		})
	}
}

// TestTargetHeaders is O-7: the mapping of a target on top of what the mapper gives, and its address and qos.
func TestTargetHeaders(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to",
		withTarget(func(t *messages.Target) {
			t.Address = "{{thing:namespace}}/{{thing:name}}"
			t.HeaderMapping = map[string]string{"mqtt.retain": "{{header:keep}}", "none": "{{header:absent}}", "content-type": "{{ fn:delete() }}"}
		}),
		withTarget(func(t *messages.Target) { t.Address = "second"; *t.QoS = 2 })))
	from.consume(liveEvent(1, "keep", "true", "correlation-id", "c1")).want(client.Settle)
	sent := to.broker.messages()
	if len(sent) != 2 {
		t.Fatal(sent)
	}
	a, b := sent[0], sent[1]
	if a.Address != "acme/pump-7" || a.TargetAddress != "{{thing:namespace}}/{{thing:name}}" || a.QoS != 1 || b.Address != "second" || b.QoS != 2 {
		t.Errorf("%+v\n%+v", a, b)
	}
	if fmt.Sprint(a.Headers) != "map[correlation-id:c1 mqtt.retain:true]" {
		t.Errorf("headers %v", a.Headers)
	}
	if fmt.Sprint(b.Headers) != "map[content-type:application/vnd.eclipse.ditto+json correlation-id:c1]" {
		t.Errorf("headers %v: the first target's mapping shows", b.Headers)
	}
}

// TestMapperDrops is O-6: a target whose mapper makes nothing of the signal drops it, and acknowledges weakly.
func TestMapperDrops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from := n.open(connection("from", withSource()))
		dropping := func(c *messages.Connection) {
			c.MappingDefinitions = map[string]messages.MappingDefinition{
				"never": {Engine: "Ditto", OutgoingConditions: map[string]string{"never": "fn:filter('a','eq','b')"}},
			}
		}
		to := n.open(connection("to", dropping, withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"to:app"} }),
			withTarget(func(t *messages.Target) {
				t.PayloadMapping, t.IssuedAcknowledgementLabel = []string{"never"}, "to:stored"
			})))
		m := from.consume(liveMessage("correlation-id", "c1", "requested-acks", `["to:stored","to:app"]`, "response-required", "false", "timeout", "2s"))
		to.nothing()
		m.want(client.Settle) // both came, at once
		to.counted(map[string]int{"target out filtered success": 1, "target out dropped success": 1, "target out mapped success": 0})
		if len(n.hub.timers.heap) != 0 {
			t.Errorf("%d timers are left", len(n.hub.timers.heap))
		}
	})
}

// TestSharedMapping: targets with equal mappers get the same message, those with more mappers get more.
func TestSharedMapping(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	twice := func(t *messages.Target) { t.Address, t.PayloadMapping = "twice", []string{"Ditto", "Ditto"} }
	to := n.open(connection("to", withTarget(), withTarget(twice), withTarget()))
	from.consume(liveEvent(1)).want(client.Settle)
	to.wantValues("1", "1", "1", "1")
	to.counted(map[string]int{"target out published success": 2, "target twice published success": 2, "target twice mapped success": 2, "target twice filtered success": 1})
}

// enriching knows one attribute of every thing.
type enriching struct{}

func (enriching) Retrieve(_, selector string, subjects []string) (json.RawMessage, bool) {
	if selector != "attributes/site" || len(subjects) != 1 {
		return nil, false
	}
	return json.RawMessage(`{"attributes":{"site":"B"}}`), true
}

// TestEnrichment is the seam of 14.4: extra comes from the enricher, filters see it, and only that target gets it.
func TestEnrichment(t *testing.T) {
	n := newNode(t, Options{Enricher: enriching{}})
	from := n.open(connection("from", withSource()))
	extra := func(site string) func(*messages.Target) {
		return func(t *messages.Target) {
			t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveEvents, ExtraFields: "attributes/site", Filter: `eq(attributes/site,"` + site + `")`}}
		}
	}
	a, b, c := n.open(connection("a", withTarget(extra("B")))), n.open(connection("b", withTarget(extra("C")))), n.open(connection("c", withTarget()))
	from.consume(liveEvent(1)).want(client.Settle)
	if e := a.sole(); string(e.Extra) != `{"attributes":{"site":"B"}}` {
		t.Errorf("extra %s", e.Extra)
	}
	b.nothing()
	if e := c.sole(); e.Extra != nil {
		t.Errorf("extra %s", e.Extra)
	}
}

// TestMQTTAddresses: the addresses of an MQTT source are counted as one (piggyback.md 4.11).
func TestMQTTAddresses(t *testing.T) {
	n := newNode(t, Options{})
	p := n.open(connection("from", func(c *messages.Connection) { c.Type = messages.TypeMQTT },
		withSource(func(s *messages.Source) { s.Addresses = []string{"a/#", "b/#"} })))
	p.consume(liveEvent(1), func(in *client.Inbound) { in.Address = "a/#;b/#" }).want(client.Settle)
	p.counted(map[string]int{"source a/#;b/# consumed success": 1})
	if len(p.rec.Metrics(time.Now()).Sources) != 1 {
		t.Error("there is more than one address")
	}
}

// TestResponseLosesItsRequester: the requester's link is down when the answer comes; the message is settled all the same.
func TestResponseLosesItsRequester(t *testing.T) {
	n := newNode(t, Options{})
	from, to := n.open(connection("from", withSource())), n.open(connection("to", withSource(), withTarget()))
	m := from.consume(liveMessage("correlation-id", "c1"))
	from.Disconnected()
	to.respond(to, 200).want(client.Settle)
	m.want(client.Settle)
	from.nothing()
	from.Connected(from.broker.publish)
	m = from.consume(liveMessage("correlation-id", "c2"))
	to.respond(to, 200)
	m.want(client.Settle)
	from.sole()
}
