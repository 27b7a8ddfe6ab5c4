package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hawser/messages"
	"hawser/messages/protocol"
	"hawser/messages/rql"
)

const liveMessage = `{"topic":"acme/pump-7/things/live/messages/restart","headers":{"correlation-id":"m1","content-type":"application/json","foo":"bar",` +
	`"ditto-origin":"other","ditto-auth-context":{"s":["x"]}},"path":"/inbox/messages/restart","value":{"graceful":true}}`

func text(s string, headers ...string) *External {
	m := &External{Text: s, HasText: true, Headers: messages.Headers{}}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Headers[headers[i]] = headers[i+1]
	}
	return m
}

func TestDittoInbound(t *testing.T) {
	s := setOf(t, nil)
	latin := []byte("{\"topic\":\"acme/d/things/live/messages/x\",\"path\":\"/inbox/messages/x\",\"value\":\"\xfc\"}")
	tests := []struct {
		name string
		m    *External
		code string
		want string // as it leaves again
	}{
		{"text", text(liveMessage), "", `{"topic":"acme/pump-7/things/live/messages/restart","headers":{"channel":"live","content-type":"application/json",` +
			`"correlation-id":"m1","foo":"bar"},"path":"/inbox/messages/restart","value":{"graceful":true}}`}, // R6, R7
		{"bytes", &External{Bytes: []byte(`{"topic":"a/b/things/twin/commands/delete","path":"/"}`), HasBytes: true}, "",
			`{"topic":"a/b/things/twin/commands/delete","headers":{},"path":"/"}`},
		{"bytes in Latin-1", &External{Bytes: latin, HasBytes: true, Headers: messages.Headers{"content-type": "application/json; charset=ISO-8859-1"}}, "",
			`{"topic":"acme/d/things/live/messages/x","headers":{"channel":"live"},"path":"/inbox/messages/x","value":"ü"}`},
		{"nothing", &External{}, CodeMappingFailed, ""},
		{"empty text", text(""), CodeMappingFailed, ""},
		{"invalid UTF-8", &External{Bytes: latin, HasBytes: true}, "json.invalid", ""},
		{"no JSON", text("hello"), "json.invalid", ""},
		{"no topic", text(`{"path":"/"}`), "json.field.missing", ""},
		{"unknown topic", text(`{"topic":"a/b/things/live/wishes/x","path":"/"}`), "protocoladapter:unknown.topicpath", ""},
		{"unknown path", text(`{"topic":"a/b/things/live/messages/x","path":"/x"}`), "protocoladapter:unknown.path", ""},
		{"bad header", text(`{"topic":"a/b/things/live/messages/x","path":"/inbox/messages/x","headers":{"timeout":"soon"}}`), "header.invalid", ""},
		{"headers too large", text(`{"topic":"a/b/things/live/messages/x","path":"/inbox/messages/x","headers":{"h":"` + strings.Repeat("x", 5200) + `"}}`), "headers.too.large", ""},
		{"payload too large", text(`{"topic":"a/b/things/live/messages/x","path":"/inbox/messages/x","headers":{"content-type":"text/plain"},"value":"` +
			strings.Repeat("x", 256001) + `"}`), CodePayloadTooLarge, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := s.Inbound(nil, Context{Now: now}, tt.m)
			if len(in) != 1 || in[0].Mapper != "Ditto" || errorCode(in[0].Err) != tt.code {
				t.Fatalf("got %+v", in)
			}
			if tt.want == "" {
				return
			}
			if got := string(in[0].Envelopes[0].AppendOutbound(nil)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if kind, err := in[0].Envelopes[0].Kind(); err != nil || !slices.Equal(in[0].Kinds, []protocol.Kind{kind}) {
				t.Errorf("kinds %v", in[0].Kinds)
			}
		})
	}
}

func TestErrorEnvelope(t *testing.T) {
	s := setOf(t, nil)
	tests := []struct {
		name, payload, deviceID, topic, correlation, code string
	}{
		{"R1 no topic", `{"path":"/","headers":{"correlation-id":"c1"}}`, "", "unknown/unknown/things/twin/errors", "c1", "json.field.missing"},
		{"R2 unknown criterion", `{"topic":"a/b/things/twin/wishes/x","path":"/"}`, "", "unknown/unknown/things/twin/errors", "", "protocoladapter:unknown.topicpath"},
		{"R4 unparsable", `hello`, "", "unknown/unknown/things/twin/errors", "", "json.invalid"},
		{"R5 device id", `hello`, "acme:d1", "acme/d1/things/twin/errors", "", "json.invalid"},
		{"topic before device id", `{"topic":"a/b/things/live/messages/x","path":"/x","headers":{"correlation-id":"c1","ditto-weak-ack":true}}`, "acme:d1",
			"a/b/things/live/errors", "c1", "protocoladapter:unknown.path"},
		{"readable topic without path", `{"topic":"a/b/things/live/messages/x"}`, "", "a/b/things/live/errors", "", "json.field.missing"},
		{"policies", `{"topic":"a/b/policies/commands/modify","path":"/x"}`, "", "a/b/policies/errors", "", "protocoladapter:unknown.path"},
		{"large headers are not repeated", `{"topic":"a/b/policies/commands/delete","path":"/","headers":{"correlation-id":"c","x":"` + strings.Repeat("x", 6000) + `"}}`, "",
			"a/b/policies/errors", "c", "headers.too.large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := text(tt.payload)
			if tt.deviceID != "" {
				m.Headers["device_id"] = tt.deviceID
			}
			in := s.Inbound(nil, Context{Now: now}, m)[0]
			if errorCode(in.Err) != tt.code {
				t.Fatalf("error %v", in.Err)
			}
			e := in.ErrorEnvelope(m)
			if e.Topic.String() != tt.topic || e.Path != "/" || e.Headers["correlation-id"] != tt.correlation || e.Headers.Has("ditto-weak-ack") {
				t.Errorf("got %s", e.AppendOutbound(nil))
			}
			var value struct {
				Status int
				Error  string
			}
			if err := json.Unmarshal(e.Value, &value); err != nil || value.Status != e.Status || value.Status != in.Err.Status || value.Error != tt.code {
				t.Errorf("value %s, status %d", e.Value, e.Status)
			}
			if written := e.AppendOutbound(nil); len(written) > 2000 {
				t.Errorf("%d bytes", len(written))
			}
		})
	}
}

// fake is a mapper whose results the test chooses.
type fake struct {
	in  func(m *External) ([]*protocol.Envelope, error)
	out func(e *protocol.Envelope) ([]*External, error)
}

func (f fake) Inbound(_ Context, m *External) ([]*protocol.Envelope, error) { return f.in(m) }

func (f fake) Outbound(_ Context, e *protocol.Envelope) ([]*External, error) { return f.out(e) }

func envelopes(t *testing.T, n int) []*protocol.Envelope {
	t.Helper()
	var all []*protocol.Envelope
	for range n {
		all = append(all, envelope(t, liveMessage))
	}
	return all
}

// The outcomes of contract runtime.md I-5, and that one mapper's outcome leaves the others alone (R13).
func TestInboundOutcomes(t *testing.T) {
	noTopic := &protocol.Envelope{}
	tests := []struct {
		name    string
		in      func(m *External) ([]*protocol.Envelope, error)
		code    string
		dropped bool
		results int
	}{
		{"one", func(*External) ([]*protocol.Envelope, error) { return envelopes(t, 1), nil }, "", false, 1},
		{"ten", func(*External) ([]*protocol.Envelope, error) { return envelopes(t, 10), nil }, "", false, 10},
		{"R14 eleven", func(*External) ([]*protocol.Envelope, error) { return envelopes(t, 11), nil }, CodeMappingFailed, false, 0},
		{"nothing", func(*External) ([]*protocol.Envelope, error) { return nil, nil }, "", true, 0},
		{"empty list", func(*External) ([]*protocol.Envelope, error) { return []*protocol.Envelope{}, nil }, "", true, 0},
		{"known error", func(*External) ([]*protocol.Envelope, error) { return nil, messages.NewJSONInvalid("x") }, "json.invalid", false, 0},
		{"wrapped known error", func(*External) ([]*protocol.Envelope, error) {
			return nil, fmt.Errorf("x: %w", messages.NewJSONInvalid("x"))
		}, "json.invalid", false, 0},
		{"any other error", func(*External) ([]*protocol.Envelope, error) { return nil, errors.New("x") }, CodeMappingFailed, false, 0},
		{"one result bad", func(*External) ([]*protocol.Envelope, error) { return append(envelopes(t, 2), noTopic), nil }, "protocoladapter:unknown.topicpath", false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setOf(t, nil)
			s.mappers = maps.Clone(s.mappers)
			s.mappers["fake"] = &definition{mapper: fake{in: tt.in}}
			m := text(liveMessage)
			all := s.Inbound([]string{"Ditto", "fake", "Ditto"}, Context{Now: now}, m)
			got := all[1]
			if errorCode(got.Err) != tt.code || got.Dropped != tt.dropped || len(got.Envelopes) != tt.results || len(got.Kinds) != tt.results {
				t.Errorf("got %+v", got)
			}
			for _, i := range []int{0, 2} {
				if all[i].Err != nil || len(all[i].Envelopes) != 1 || all[i].Mapper != "Ditto" {
					t.Errorf("neighbour %d: %+v", i, all[i])
				}
			}
		})
	}
}

func TestOutboundOutcomes(t *testing.T) {
	external := func(n int) []*External { return slices.Repeat([]*External{{}}, n) }
	tests := []struct {
		name    string
		out     []*External
		err     error
		code    string
		dropped bool
	}{
		{"ten", external(10), nil, "", false}, {"eleven", external(11), nil, CodeMappingFailed, false}, {"none", nil, nil, "", true},
		{"error", nil, errors.New("x"), CodeMappingFailed, false}, {"known error", nil, messages.NewJSONInvalid("x"), "json.invalid", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setOf(t, nil)
			s.mappers = maps.Clone(s.mappers)
			s.mappers["m"] = &definition{mapper: fake{out: func(*protocol.Envelope) ([]*External, error) { return tt.out, tt.err }}}
			got := outbound(t, s, envelope(t, liveMessage))
			if errorCode(got.Err) != tt.code || got.Dropped != tt.dropped || got.Err == nil && len(got.Messages) != len(tt.out) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestConditionsAndBlocklist(t *testing.T) {
	condition := func(text string) map[string]string {
		return map[string]string{"one": "fn:filter(connection:id,'eq','c')", "two": text}
	}
	tests := []struct {
		name       string
		definition messages.MappingDefinition
		headers    []string
		dropped    bool
		code       string
	}{
		{"R18 condition holds", messages.MappingDefinition{IncomingConditions: condition("fn:filter(header:kind,'eq','telemetry')")}, []string{"kind", "telemetry"}, false, ""},
		{"R18 condition does not hold", messages.MappingDefinition{IncomingConditions: condition("fn:filter(header:kind,'eq','telemetry')")}, []string{"kind", "event"}, true, ""},
		{"condition on subject", messages.MappingDefinition{IncomingConditions: condition("fn:filter(request:subjectId,'like','sub:*')")}, nil, false, ""},
		{"placeholder as condition", messages.MappingDefinition{IncomingConditions: condition("header:kind")}, nil, true, ""},
		{"bad condition", messages.MappingDefinition{IncomingConditions: condition("fn:nothing()")}, nil, false, "placeholder:function.unknown"},
		{"outgoing condition does not matter", messages.MappingDefinition{OutgoingConditions: condition("fn:filter('a','eq','b')")}, nil, false, ""},
		{"R19 default blocklist", messages.MappingDefinition{}, []string{"content-type", "application/vnd.eclipse-hono-empty-notification"}, true, ""},
		{"R19 own blocklist", messages.MappingDefinition{Options: []byte(`{"content-type-blocklist":"a/b, c/d"}`)}, []string{"content-type", "c/d"}, true, ""},
		{"own blocklist replaces the default", messages.MappingDefinition{Options: []byte(`{"content-type-blocklist":"a/b"}`)},
			[]string{"content-type", "application/vnd.eclipse-hono-empty-notification"}, false, ""},
		{"blocklist is exact", messages.MappingDefinition{Options: []byte(`{"content-type-blocklist":"a/b"}`)}, []string{"content-type", "a/b; charset=utf-8"}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.definition.Engine = "Ditto"
			s := setOf(t, map[string]messages.MappingDefinition{"m": tt.definition}, "m")
			got := inbound(s, text(liveMessage, tt.headers...))
			if got.Dropped != tt.dropped || errorCode(got.Err) != tt.code {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestOutgoingConditions(t *testing.T) {
	tests := []struct {
		condition string
		dropped   bool
	}{
		{"fn:filter(topic:subject,'eq','restart')", false}, {"fn:filter(topic:subject,'eq','stop')", true},
		{"fn:filter(header:foo,'eq','bar')", false}, {"fn:filter(thing:namespace,'ne','acme')", true},
	}
	for _, tt := range tests {
		s := setOf(t, map[string]messages.MappingDefinition{"m": {Engine: "Ditto", OutgoingConditions: map[string]string{"x": tt.condition}}}, "m")
		if got := outbound(t, s, envelope(t, liveMessage)); got.Dropped != tt.dropped || got.Err != nil {
			t.Errorf("%s: %+v", tt.condition, got)
		}
	}
}

func TestDittoOutbound(t *testing.T) {
	s := setOf(t, nil)
	e := envelope(t, liveMessage)
	got := s.Outbound(nil, Context{Now: now}, e)
	want := []Outbound{{Mapper: "Ditto", Messages: []*External{{
		Headers: messages.Headers{"content-type": "application/vnd.eclipse.ditto+json", "correlation-id": "m1"}, HasText: true,
		Text: `{"topic":"acme/pump-7/things/live/messages/restart","headers":{"content-type":"application/json","correlation-id":"m1","foo":"bar"},` +
			`"path":"/inbox/messages/restart","value":{"graceful":true}}`}}}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Outbound{}, "Took")); diff != "" {
		t.Error(diff)
	}
	if !e.Headers.Has("ditto-origin") {
		t.Error("the signal lost a header")
	}
}

func TestCheck(t *testing.T) {
	long := `{"incomingScript":"` + strings.Repeat("ä", 50001) + `"}`
	definitions := func(engine, options string) map[string]messages.MappingDefinition {
		return map[string]messages.MappingDefinition{"d": {Engine: engine, Options: json.RawMessage(options)}}
	}
	tests := []struct {
		name        string
		definitions map[string]messages.MappingDefinition
		used        string
		mention     string // "" when accepted
	}{
		{"alias", nil, "Ditto", ""}, {"all aliases", nil, "RawMessage,Normalized,CloudEvents,UpdateTwinWithLiveResponse", ""},
		{"V30a unknown id", nil, "invalid", "invalid"}, {"alias that needs options", nil, "ConnectionStatus", "ConnectionStatus"},
		{"JavaScript without definition", nil, "JavaScript", "JavaScript"},
		{"unknown engine unused", definitions("Nothing", "{}"), "", ""}, {"unknown engine used", definitions("Nothing", "{}"), "d", "Nothing"},
		{"engine of another case", definitions("ditto", "{}"), "d", "ditto"},
		{"required option missing, unused", definitions("ConnectionStatus", "{}"), "", ""},
		{"required option missing, used", definitions("ConnectionStatus", "{}"), "d", "thingId"},
		{"thing without id", definitions("ImplicitThingCreation", `{"thing":{}}`), "d", "thingId"},
		{"thing no object", definitions("ImplicitThingCreation", `{"thing":[]}`), "d", "thing"},
		{"bad template in options", definitions("ConnectionStatus", `{"thingId":"{{ header:x | fn:nothing() }}"}`), "d", "fn:nothing"},
		{"options null", definitions("Ditto", "null"), "d", ""},
		{"V30b malformed fields, unused", definitions("Normalized", `{"fields":"foo(bar"}`), "", "fields"},
		{"JavaScript unused", definitions("JavaScript", `{"incomingScript":"x"}`), "", ""},
		{"JavaScript used", definitions("JavaScript", `{"incomingScript":"x","loadLongJS":"true","loadBytebufferJS":true}`), "d", ""},
		{"JavaScript without scripts", definitions("JavaScript", "{}"), "d", ""},
		{"V30b script too long, unused", definitions("JavaScript", long), "", "50000"},
		{"V30b script too long, used", definitions("JavaScript", long), "d", "50000"},
		{"script as long as allowed", definitions("JavaScript", `{"outgoingScript":"`+strings.Repeat(" ", 50000)+`"}`), "d", ""},
		{"V30b syntax error, unused", definitions("JavaScript", `{"incomingScript":"function f() {"}`), "", "incomingScript"},
		{"V30b syntax error, used", definitions("JavaScript", `{"outgoingScript":"return 1"}`), "d", "outgoingScript"},
		{"definition hides an alias", map[string]messages.MappingDefinition{"Ditto": {Engine: "ConnectionStatus"}}, "Ditto", "thingId"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &messages.Connection{ID: "c", MappingDefinitions: tt.definitions}
			if tt.used != "" {
				c.Targets = []messages.Target{{Address: "a", PayloadMapping: strings.Split(tt.used, ",")}}
			}
			err := Check(c, DefaultLimits)
			if tt.mention == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if errorCode(err) != CodeConfigurationInvalid || err.(*messages.Error).Status != 400 || !strings.Contains(err.Error(), tt.mention) {
				t.Errorf("got %v", err)
			}
			if strings.HasPrefix(tt.name, "V30b") && !strings.Contains(err.(*messages.Error).Description, "</mappingDefinitions/d>") {
				t.Errorf("the description names no place: %v", err)
			}
		})
	}
}

// An id that is not there acts as Ditto: the mapper of a request whose connection was changed meanwhile.
func TestUnknownMapperActsAsDitto(t *testing.T) {
	if got := inbound(setOf(t, nil), text(liveMessage)); got.Err != nil || len(got.Envelopes) != 1 || got.Mapper != "m" {
		t.Errorf("got %+v", got)
	}
}

func TestValues(t *testing.T) {
	e := envelope(t, `{"topic":"acme/d1/things/twin/events/modified","headers":{"Foo":"protocol"},"path":"/features/f/properties/p","value":1}`)
	v := &Values{Envelope: e, Headers: messages.Headers{"foo": "broker"}, Subjects: []string{"s1", "s2"}, ConnectionID: "c", SourceAddress: "a/b", Now: now}
	tests := []struct {
		v            *Values
		prefix, name string
		want         []string
	}{
		{v, "header", "FOO", []string{"broker"}}, {v, "header", "bar", nil}, {&Values{Envelope: e}, "header", "foo", []string{"protocol"}},
		{v, "request", "subjectId", []string{"s1", "s2"}}, {v, "request", "other", nil}, {v, "connection", "id", []string{"c"}},
		{v, "source", "address", []string{"a/b"}}, {v, "time", "now", []string{"2026-02-03T04:05:06Z"}}, {v, "thing", "id", []string{"acme:d1"}},
		{v, "feature", "id", []string{"f"}}, {v, "policy", "id", nil}, {v, "resource", "path", []string{"/features/f/properties/p"}},
		{v, "thing-json", "features/f/properties/p", []string{"1"}},
		{&Values{}, "header", "x", nil}, {&Values{}, "thing", "id", nil}, {&Values{}, "connection", "id", nil}, {&Values{}, "request", "subjectId", nil},
	}
	for _, tt := range tests {
		got, ok := tt.v.Values(tt.prefix, tt.name)
		if ok != (tt.want != nil) || ok && !slices.Equal(got, tt.want) {
			t.Errorf("%s:%s: %q, %v", tt.prefix, tt.name, got, ok)
		}
	}
}

// Filters before enrichment are three-valued (contract runtime.md O-3), R37 and R38.
func TestFiltersOnSignals(t *testing.T) {
	event := `{"topic":"acme/d1/things/twin/events/created","headers":{},"path":"/","value":{"attributes":{"a":1}},"timestamp":"2026-02-03T04:00:00Z"}`
	tests := []struct {
		envelope, filter string
		pending          []string
		want             rql.Verdict
	}{
		{event, "eq(topic:action,'created')", nil, rql.True}, {strings.Replace(event, "created", "modified", 1), "eq(topic:action,'created')", nil, rql.False},
		{event, "eq(attributes/a,1)", []string{"/attributes"}, rql.True}, {event, "eq(attributes/b,1)", []string{"/attributes"}, rql.Unknown},
		{event, "exists(attributes/b/c)", []string{"/attributes/b"}, rql.Unknown}, {event, "exists(attributes/b)", []string{"/attributes/b/c"}, rql.Unknown},
		{event, "exists(attributes/b)", []string{"/attributes/c"}, rql.False}, {event, "exists(features/f/properties/x)", []string{"/features/*/properties"}, rql.Unknown},
		{event, "exists(attributes/b)", nil, rql.False}, {event, "gt(_modified,time:now-1h)", nil, rql.True}, {event, "lt(_modified,time:now-1h)", nil, rql.False},
		{liveMessage, "eq(graceful,true)", nil, rql.False}, {liveMessage, "eq(topic:subject,'restart')", nil, rql.True},
		{strings.Replace(liveMessage, `"value"`, `"extra":{"attributes":{"site":"B"}},"value"`, 1), "eq(attributes/site,'B')", nil, rql.True},
	}
	for _, tt := range tests {
		f, err := rql.Parse(tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		v := &Values{Envelope: envelope(t, tt.envelope), Now: now}
		if got := f.Evaluate(v.Field(tt.pending)); got != tt.want {
			t.Errorf("%s with %v: %v, want %v", tt.filter, tt.pending, got, tt.want)
		}
	}
}

// R8: what the envelope brings stays; a header mapping is applied by the caller to names that are not there.
func TestEnvelopeHeadersSurvive(t *testing.T) {
	in := inbound(setOf(t, nil), text(liveMessage, "correlation-id", "broker"))
	if got := in.Envelopes[0].Headers["correlation-id"]; got != "m1" {
		t.Errorf("correlation-id %q", got)
	}
}

func BenchmarkInboundDitto(b *testing.B) {
	s := setOf(b, nil)
	m := &External{Bytes: []byte(liveMessage), HasBytes: true, Headers: messages.Headers{}}
	ctx := Context{ConnectionID: "c", Now: now}
	b.ReportAllocs()
	for b.Loop() {
		if in := s.Inbound(nil, ctx, m); in[0].Err != nil {
			b.Fatal(in[0].Err)
		}
	}
}

func BenchmarkOutboundDitto(b *testing.B) {
	s := setOf(b, nil)
	e := envelope(b, liveMessage)
	ctx := Context{ConnectionID: "c", Now: now}
	b.ReportAllocs()
	for b.Loop() {
		if out := s.Outbound(nil, ctx, e); out[0].Err != nil {
			b.Fatal(out[0].Err)
		}
	}
}
