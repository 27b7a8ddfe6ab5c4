package signals

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"hawser/actors/client"
	"hawser/messages"
)

// TestUnreadable is R1, R2, R4, R5, R27: an error goes to the reply target, the message is settled.
func TestUnreadable(t *testing.T) {
	for _, row := range []struct {
		name, text string
		device     string
		topic      string
		code       string
		status     int
	}{
		{"no topic (R1, R4)", `{"path":"/"}`, "", "unknown/unknown/things/twin/errors", "json.field.missing", 400},
		{"unknown criterion (R2)", envelope("a/b/things/live/rumours/x", "/", ""), "", "unknown/unknown/things/twin/errors", "protocoladapter:unknown.topicpath", 400},
		{"no JSON", `{"topic"`, "", "unknown/unknown/things/twin/errors", "json.invalid", 400},
		{"no JSON of a known device (R5)", `{"topic"`, "acme:d1", "acme/d1/things/twin/errors", "json.invalid", 400},
		{"no path", `{"topic":"acme/d2/things/live/events/modified","headers":{"correlation-id":"c9"}}`, "", "acme/d2/things/", "json.field.missing", 400},
		{"reserved label (R27)", withStatus(envelope("a/b/things/live/acks/live-response", "/", ""), 200), "", "a/b/things/live/errors", "acknowledgement:ditto.acklabel.forbidden", 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, Options{})
			p := n.open(connection("from", withSource()))
			var change []func(*client.Inbound)
			if row.device != "" {
				change = append(change, withHeader("device_id", row.device))
			}
			p.consume(row.text, change...).want(client.Settle)
			e := p.sole()
			if code := errorCode(t, e); code != row.code || e.Status != row.status {
				t.Errorf("%d %s, want %d %s", e.Status, code, row.status, row.code)
			}
			if !strings.HasPrefix(e.Topic.String(), row.topic) {
				t.Errorf("topic %s, want %s", e.Topic, row.topic)
			}
			p.counted(map[string]int{
				"source in consumed success": 1, "source in mapped failure": 1, "source in mapped success": 0, "source in enforced success": 0,
				"source in acknowledged success": 1, "response dispatched failure": 1, "response published success": 1,
			})
		})
	}
}

// TestHeaders is R3, R6, R7, R8, R9, R10: what a target gets of the headers of a source.
func TestHeaders(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource(func(s *messages.Source) {
		s.HeaderMapping = map[string]string{
			"correlation-id": "mapped-{{header:device_id}}", "nothing": "{{header:absent}}", "Mapped": "{{topic:subject}}",
			"ditto-origin": "forged", "etag": "forged", "deleted": "{{header:device_id | fn:delete() | fn:default('x')}}",
		}
	})))
	to := n.open(connection("to", withTarget()))
	const topic, path = "acme/pump-7/things/live/messages/x/y/z", "/inbox/messages/x/y/z"
	from.consume(envelope(topic, path, `"hi"`, "content-type", "text/plain", "response-required", "false", "correlation-id", "own", "foo", "bar",
		"ditto-origin", "to", "ditto-auth-context", `{"type":"x"}`), withHeader("device_id", "d1")).want(client.Settle)
	from.consume(envelope(topic, path, `"hi"`, "content-type", "text/plain", "response-required", "false"), withHeader("device_id", "d1")).want(client.Settle)
	all := to.envelopes()
	if len(all) != 2 {
		t.Fatalf("%d arrived", len(all))
	}
	first, second := all[0], all[1]
	if first.Topic.Subject != "x/y/z" || first.Topic.String() != topic || first.Path != path {
		t.Errorf("topic %s path %s (R3)", first.Topic, first.Path)
	}
	for name, want := range map[string]string{"correlation-id": "own", "foo": "bar", "mapped": "x/y/z"} {
		if got := first.Headers[name]; got != want {
			t.Errorf("%s: %q, want %q (R7, R8)", name, got, want)
		}
	}
	for _, name := range []string{"ditto-origin", "etag", "ditto-auth-context", "nothing", "deleted"} {
		if v, there := first.Headers[name]; there {
			t.Errorf("%s: %q is there (R6, R10, R41)", name, v)
		}
	}
	if got := second.Headers["correlation-id"]; got != "mapped-d1" {
		t.Errorf("correlation-id %q", got)
	}

	plain := n.open(connection("plain", withSource()))
	plain.consume(liveEvent(1)).want(client.Settle)
	third := to.envelopes()[2]
	if _, err := uuid.Parse(third.Headers["correlation-id"]); err != nil {
		t.Errorf("correlation-id %q is no UUID (R9)", third.Headers["correlation-id"])
	}
}

// TestEnforcement is R11 and R12.
func TestEnforcement(t *testing.T) {
	enforced := func(s *messages.Source) {
		s.Enforcement = &messages.Enforcement{Input: "{{header:device_id}}", Filters: []string{"{{thing:name}}", "{{entity:id}}"}}
	}
	for _, row := range []struct {
		name, device string
		settlement   client.Settlement
		code         string
		counts       map[string]int
	}{
		{"input missing (R11)", "", client.Reject, "placeholder:unresolved", map[string]int{
			"source in consumed failure": 1, "source in consumed success": 0, "source in acknowledged failure": 1}},
		{"mismatch (R12)", "acme:other", client.Settle, "connectivity:connection.id.enforcement.failed", map[string]int{
			"source in consumed success": 1, "source in enforced failure": 1, "source in enforced success": 0, "source in mapped success": 0, "source in acknowledged success": 1}},
		{"match of the second filter", "acme:pump-7", client.Settle, "", map[string]int{
			"source in enforced success": 1, "source in mapped success": 1, "source in acknowledged success": 1}},
		{"match of the first filter", "pump-7", client.Settle, "", map[string]int{"source in enforced success": 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, Options{})
			from := n.open(connection("from", withSource(enforced)))
			to := n.open(connection("to", withTarget()))
			var change []func(*client.Inbound)
			if row.device != "" {
				change = append(change, withHeader("device_id", row.device))
			}
			from.consume(liveEvent(1), change...).want(row.settlement)
			from.counted(row.counts)
			if row.code == "" {
				to.sole()
				from.nothing()
				return
			}
			to.nothing()
			if code := errorCode(t, from.sole()); code != row.code {
				t.Errorf("%s, want %s", code, row.code)
			}
		})
	}
}

// TestSubjectFromHeader: authorization subjects may come from the message; without it there is none.
func TestSubjectFromHeader(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource(func(s *messages.Source) {
		s.AuthorizationContext = []string{"box:{{ header:tenant }}"}
	})))
	to := n.open(connection("to", withTarget()))
	from.consume(liveEvent(1), withHeader("tenant", "shared")).want(client.Settle)
	to.sole()
	from.nothing()
	from.consume(liveEvent(2)).want(client.Settle)
	to.sole()
	if code := errorCode(t, from.sole()); code != "placeholder:unresolved" {
		t.Error(code)
	}
}

// TestSourceIncludesAcks is R32 and its opposite.
func TestSourceIncludesAcks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		from := n.open(connection("from", withSource(func(s *messages.Source) {
			s.AcknowledgementRequest = &messages.AcknowledgementRequests{Includes: []string{"to:stored"}}
		})))
		n.open(connection("to", withTarget(func(t *messages.Target) { t.IssuedAcknowledgementLabel = "{{connection:id}}:stored" })))
		from.consume(liveMessage("requested-acks", "[]")).want(client.Settle)
		m := from.consume(liveMessage("timeout", "2s"))
		m.unsettled()
		pass(2 * time.Second)
		m.want(client.RejectRedeliver)
		defer n.hub.Close()
	})
}

// TestMappersAreIndependent is R13.
func TestMappersAreIndependent(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource(func(s *messages.Source) { s.PayloadMapping = []string{"a", "b"} }), func(c *messages.Connection) {
		c.MappingDefinitions = map[string]messages.MappingDefinition{
			"a": {Engine: "Ditto", IncomingConditions: map[string]string{"kind": "fn:filter(header:kind,'eq','a')"}},
			"b": {Engine: "Ditto"},
		}
	}))
	to := n.open(connection("to", withTarget()))
	from.consume(liveEvent(1), withHeader("kind", "b")).want(client.Settle)
	to.sole()
	from.nothing()
	from.counted(map[string]int{"source in consumed success": 1, "source in dropped success": 1, "source in mapped success": 1, "source in mapped failure": 0})
}

// TestUnknownSource: a transport that names a source that is not there gets its message back.
func TestUnknownSource(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to", withTarget()))
	from.consume(liveEvent(1), func(in *client.Inbound) { in.SourceIndex, in.Headers = 7, nil }).want(client.Settle)
	to.nothing()
}

// TestTimeoutZero is R20.
func TestTimeoutZero(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to", withTarget()))
	from.consume(liveMessage("timeout", "0", "response-required", "true", "correlation-id", "c1")).want(client.Reject)
	to.nothing()
	e := from.sole()
	if errorCode(t, e) != "header.invalid" || e.Headers["correlation-id"] != "c1" {
		t.Errorf("%s %v", e.Value, e.Headers)
	}
	from.consume(liveMessage("timeout", "0", "response-required", "false")).want(client.Settle)
	to.sole()
}
