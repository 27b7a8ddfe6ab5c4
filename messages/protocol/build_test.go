package protocol

import (
	"encoding/json"
	"testing"
	"time"

	"hawser/messages"
)

var notFound = &messages.Error{Status: 404, Code: "things:thing.notfound", Message: "no such thing", Description: "check the id"}

func TestNewError(t *testing.T) {
	thing := &Topic{Namespace: "acme", Name: "d1", Group: GroupThings, Channel: ChannelTwin, Criterion: CriterionCommands, Action: ActionModify}
	policy := &Topic{Namespace: "acme", Name: "p1", Group: GroupPolicies, Criterion: CriterionCommands, Action: ActionModify}
	tests := []struct {
		name    string
		err     *messages.Error
		topic   *Topic
		headers messages.Headers
		want    string
	}{
		{"R4 nothing known", &messages.Error{Status: 400, Code: "json.invalid", Message: "m"}, nil, nil,
			`{"topic":"unknown/unknown/things/twin/errors","headers":{"content-type":"application/json"},"path":"/",` +
				`"value":{"error":"json.invalid","message":"m","status":400},"status":400}`},
		{"R5 entity of device_id", notFound, TopicOfEntity("acme:d1"), messages.Headers{"correlation-id": "c1"},
			`{"topic":"acme/d1/things/twin/errors","headers":{"content-type":"application/json","correlation-id":"c1"},"path":"/",` +
				`"value":{"description":"check the id","error":"things:thing.notfound","message":"no such thing","status":404},"status":404}`},
		{"channel live", notFound, thing, messages.Headers{"channel": "live", "response-required": "true", "requested-acks": "[]", "foo": "x"},
			`{"topic":"acme/d1/things/live/errors","headers":{"channel":"live","content-type":"application/json","foo":"x"},"path":"/",` +
				`"value":{"description":"check the id","error":"things:thing.notfound","message":"no such thing","status":404},"status":404}`},
		{"policies topic", &messages.Error{Status: 400, Code: "json.invalid", Message: "m"}, policy, nil,
			`{"topic":"acme/p1/policies/errors","headers":{"content-type":"application/json"},"path":"/",` +
				`"value":{"error":"json.invalid","message":"m","status":400},"status":400}`},
		{"policies code", &messages.Error{Status: 404, Code: "policies:policy.notfound", Message: "m"}, thing, nil,
			`{"topic":"acme/d1/policies/errors","headers":{"content-type":"application/json"},"path":"/",` +
				`"value":{"error":"policies:policy.notfound","message":"m","status":404},"status":404}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := NewError(tt.err, tt.topic, tt.headers)
			equal(t, "envelope", string(e.AppendOutbound(nil)), tt.want)
			if kind, err := e.Kind(); kind != ErrorResponse || err != nil {
				t.Errorf("kind %v, %v", kind, err)
			}
			back, ok := e.ParseError()
			if !ok || back.Code != tt.err.Code || back.Status != tt.err.Status || back.Message != tt.err.Message {
				t.Errorf("read again: %v, %v", back, ok)
			}
		})
	}
}

func TestAcknowledgements(t *testing.T) {
	topic := Topic{Namespace: "acme.floor", Name: "pump-7", Group: GroupThings, Channel: ChannelTwin, Criterion: CriterionCommands, Action: ActionModify}
	acks := []Ack{
		{Label: "twin-persisted", Status: 204},
		{Label: "acme:stored", Status: 408, Payload: []byte(`{"status":408,"error":"acknowledgement:request.timeout"}`)},
	}
	e := NewAcknowledgements(topic, acks, messages.Headers{"correlation-id": "c1", "requested-acks": `["acme:stored"]`})
	equal(t, "envelope", string(e.AppendOutbound(nil)), `{"topic":"acme.floor/pump-7/things/twin/acks","headers":{"content-type":"application/json",`+
		`"correlation-id":"c1"},"path":"/","value":{"twin-persisted":{"status":204,"headers":{}},"acme:stored":{"status":408,`+
		`"payload":{"status":408,"error":"acknowledgement:request.timeout"},"headers":{}}},"status":424}`)

	single := NewAcknowledgement(topic, Ack{Label: "acme:stored", Status: 200, Payload: []byte(`{"row":9}`), Headers: messages.Headers{"ditto-weak-ack": "true"}}, nil)
	equal(t, "single", string(single.AppendOutbound(nil)), `{"topic":"acme.floor/pump-7/things/twin/acks/acme:stored",`+
		`"headers":{"content-type":"application/json","ditto-weak-ack":true},"path":"/","value":{"row":9},"status":200}`)
}

func TestAggregatedStatus(t *testing.T) {
	ack := func(status int) Ack { return Ack{Label: "l", Status: status} }
	tests := []struct {
		acks []Ack
		want int
	}{
		{[]Ack{ack(500)}, 500}, {[]Ack{ack(204)}, 204}, {[]Ack{ack(200), ack(200)}, 200}, // R30
		{[]Ack{ack(201), ack(204)}, 200}, {[]Ack{ack(200), ack(408)}, 424}, {[]Ack{ack(302), ack(200)}, 424},
	}
	for _, tt := range tests {
		if got := AggregatedStatus(tt.acks); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.acks, got, tt.want)
		}
	}
}

func TestAcksFromOutside(t *testing.T) {
	aggregated := Topic{Namespace: "a", Name: "b", Group: GroupThings, Channel: ChannelTwin, Criterion: CriterionAcks}
	single := aggregated
	single.Subject = "my:label"
	tests := []struct {
		name  string
		topic Topic
		value string
		want  []Ack
		code  string
	}{
		{"single", single, `{"x":1}`, []Ack{{Label: "my:label", Status: 200, Payload: []byte(`{"x":1}`)}}, ""},
		{"several", aggregated, `{"one:x":{"status":200,"headers":{"A":"b"}},"two:x":{"status":500,"payload":[1]}}`,
			[]Ack{{Label: "one:x", Status: 200, Headers: messages.Headers{"a": "b"}}, {Label: "two:x", Status: 500, Payload: []byte(`[1]`)}}, ""},
		{"reserved among several", aggregated, `{"live-response":{"status":200}}`, nil, CodeLabelForbidden},
		{"bad label", aggregated, `{"a b":{"status":200}}`, nil, CodeLabelInvalid},
		{"no status", aggregated, `{"one:x":{}}`, nil, CodeFieldMissing},
		{"no object", aggregated, `[]`, nil, CodeJSONInvalid},
		{"ack no object", aggregated, `{"one:x":1}`, nil, CodeJSONInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &Envelope{Topic: tt.topic, Path: "/", Status: 200, Value: []byte(tt.value)}
			got, err := e.Acks()
			if code(err) != tt.code {
				t.Fatalf("error %v, want %q", err, tt.code)
			}
			if tt.code == "" {
				equal(t, "acks", got, tt.want)
			}
		})
	}
}

func TestConnectionAnnouncement(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	equal(t, "opened", string(NewConnectionAnnouncement("conn-1", "opened", at).AppendOutbound(nil)),
		`{"topic":"_/conn-1/connections/announcements/opened","headers":{"content-type":"application/json"},"path":"/","value":{"openedAt":"2026-02-03T04:05:06Z"}}`)
	equal(t, "closed", string(NewConnectionAnnouncement("c", "closed", at).Value), `{"closedAt":"2026-02-03T04:05:06Z"}`)
}

func TestField(t *testing.T) {
	event := func(action, path, value, extra string) *Envelope {
		e := &Envelope{Topic: Topic{"acme", "d1", GroupThings, ChannelTwin, CriterionEvents, action, ""}, Path: path, Revision: 3, HasRevision: true, Timestamp: "T"}
		if value != "" {
			e.Value = []byte(value)
		}
		if extra != "" {
			e.Extra = []byte(extra)
		}
		return e
	}
	modified := event("modified", "/features/f/properties/on", "true", `{"attributes":{"site":"B"},"features":{"f":{"properties":{"on":false}}}}`)
	message := &Envelope{Topic: Topic{"acme", "d1", GroupThings, ChannelLive, CriterionMessages, "", "x"}, Path: "/inbox/messages/x",
		Value: []byte(`{"attributes":{"site":"payload"}}`), Extra: []byte(`{"attributes":{"more":[1,2]}}`)}
	tests := []struct {
		name  string
		e     *Envelope
		field string
		want  []any
	}{
		{"changed value", modified, "features/f/properties/on", []any{true}},
		{"leading slash", modified, "/features/f/properties/on", []any{true}},
		{"above the changed value", modified, "features/f", []any{map[string]any{"properties": map[string]any{"on": true}}}},
		{"extra", modified, "attributes/site", []any{"B"}},
		{"absent", modified, "attributes/other", nil},
		{"thing id", modified, "thingId", []any{"acme:d1"}},
		{"topic placeholder", modified, "topic:action", []any{"modified"}},
		{"feature placeholder", modified, "feature:id", []any{"f"}},
		{"unknown placeholder name", modified, "topic:nothing", []any{}},
		{"array on the way", event("created", "/", `{"attributes":{"a":[{"b":"x"},{"b":"y"}]}}`, ""), "attributes/a/b", []any{"x", "y"}},
		{"deleted attribute", event("deleted", "/attributes/a", "", ""), "attributes/a", nil},
		{"R38 payload of a message", message, "attributes/site", nil},
		{"extra of a message", message, "attributes/more", []any{[]any{json.Number("1"), json.Number("2")}}},
		{"message subject", message, "topic:subject", []any{"x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { equal(t, "values", tt.e.Field(tt.field), tt.want) })
	}
}
