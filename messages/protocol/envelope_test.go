package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
)

// The examples of contract runtime.md 1.4, with the kind that 1.6 gives them.
var examples = []struct {
	name, text string
	kind       Kind
	signalType string
}{
	{"modify attribute", `{"topic":"acme.floor/pump-7/things/twin/commands/modify","headers":{"correlation-id":"c1","response-required":true},
 "path":"/attributes/speed","value":1480}`, TwinModify, "things.commands:modifyAttribute"},
	{"modify response", `{"topic":"acme.floor/pump-7/things/twin/commands/modify","headers":{"correlation-id":"c1"},"path":"/attributes/speed","status":204}`,
		TwinResponse, "things.responses:modifyAttribute"},
	{"modified event", `{"topic":"acme.floor/pump-7/things/twin/events/modified","headers":{"correlation-id":"c1"},"path":"/attributes/speed",
 "value":1480,"revision":42,"timestamp":"2026-02-03T04:05:06Z","extra":{"attributes":{"site":"B"}}}`, TwinEvent, "things.events:attributeModified"},
	{"live message", `{"topic":"acme.floor/pump-7/things/live/messages/restart","headers":{"correlation-id":"m1","content-type":"application/json",
 "timeout":"10s"},"path":"/inbox/messages/restart","value":{"graceful":true}}`, LiveMessage, "messages.commands:thingMessage"},
	{"message response", `{"topic":"acme.floor/pump-7/things/live/messages/restart","headers":{"correlation-id":"m1","content-type":"text/plain"},
 "path":"/inbox/messages/restart","status":200,"value":"done"}`, LiveMessageResponse, "messages.responses:thingResponseMessage"},
	{"acknowledgement", `{"topic":"acme.floor/pump-7/things/twin/acks/acme:stored","headers":{"correlation-id":"c1"},"path":"/","status":200,"value":{"row":9}}`,
		Acknowledgement, "acknowledgement:acme:stored"},
	{"aggregated", `{"topic":"acme.floor/pump-7/things/twin/acks","headers":{"correlation-id":"c1","content-type":"application/json"},"path":"/","status":424,
 "value":{"twin-persisted":{"status":204,"headers":{}},"acme:stored":{"status":408,"payload":{"status":408,"error":"acknowledgement:request.timeout"},"headers":{}}}}`,
		Acknowledgements, "acknowledgements"},
	{"error", `{"topic":"acme.floor/pump-7/things/twin/errors","headers":{"correlation-id":"c1","content-type":"application/json"},"path":"/",
 "status":404,"value":{"status":404,"error":"things:thing.notfound","message":"no such thing","description":"check the id"}}`,
		ErrorResponse, "things.responses:errorResponse"},
	{"announcement", `{"topic":"_/conn-1/connections/announcements/opened","headers":{"content-type":"application/json"},"path":"/","value":{"openedAt":"2026-02-03T04:05:06Z"}}`,
		ConnectionSignal, "connectivity.announcements:opened"},
}

func TestExamplesOfTheContractComeBackAsTheyWere(t *testing.T) {
	for _, tt := range examples {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if kind, err := e.Kind(); kind != tt.kind || err != nil {
				t.Errorf("kind %v (%v), want %v", kind, err, tt.kind)
			}
			if got := e.SignalType(); got != tt.signalType {
				t.Errorf("signal type %q, want %q", got, tt.signalType)
			}
			for _, written := range [][]byte{e.AppendJSON(nil), e.AppendOutbound(nil)} {
				if diff := cmp.Diff(generic(t, tt.text), generic(t, string(written))); diff != "" {
					t.Errorf("written %s\n%s", written, diff)
				}
			}
		})
	}
}

func generic(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestMembersAreWrittenInTheOrderOfTheContract(t *testing.T) {
	e, err := Parse([]byte(`{"fields":"a","metadata":{"m":1},"timestamp":"T","revision":5,"status":200,"extra":{"x":1},"value":null,
		"path":"attributes","headers":{"b":"2","A":1},"topic":"a/b/things/twin/events/modified"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"topic":"a/b/things/twin/events/modified","headers":{"a":"1","b":"2"},"path":"/attributes","value":null,"extra":{"x":1},` +
		`"status":200,"revision":5,"timestamp":"T","metadata":{"m":1},"fields":"a"}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParse(t *testing.T) {
	const topic = `"topic":"a/b/things/twin/commands/modify"`
	tests := []struct {
		name, text string
		code       string // "" when it is accepted
		check      func(t *testing.T, e *Envelope)
	}{
		{name: "no JSON", text: `{"topic"`, code: CodeJSONInvalid},
		{name: "no object", text: `[]`, code: CodeJSONInvalid},
		{name: "empty", text: ` `, code: CodeJSONInvalid},
		{name: "something after", text: `{` + topic + `,"path":"/"} x`, code: CodeJSONInvalid},
		{name: "comma before the end", text: `{` + topic + `,"path":"/",}`, code: CodeJSONInvalid},
		{name: "invalid UTF-8 in the value", text: "{" + topic + `,"path":"/","value":"` + "\xff" + `"}`, code: CodeJSONInvalid},
		{name: "control character in a string", text: "{" + topic + ",\"path\":\"/\n\"}", code: CodeJSONInvalid},
		{name: "number with leading zero", text: `{` + topic + `,"path":"/","value":01}`, code: CodeJSONInvalid},
		{name: "nested without end", text: `{"value":` + strings.Repeat(`[`, 100_000), code: CodeJSONInvalid},
		{name: "R1 no topic", text: `{"path":"/"}`, code: CodeFieldMissing},
		{name: "topic null", text: `{"topic":null,"path":"/"}`, code: CodeFieldMissing},
		{name: "no path", text: `{` + topic + `}`, code: CodeFieldMissing},
		{name: "topic of another case", text: `{"Topic":"a/b/things/twin/commands/modify","path":"/"}`, code: CodeFieldMissing},
		{name: "topic no string", text: `{"topic":5,"path":"/"}`, code: CodeJSONInvalid},
		{name: "headers no object", text: `{` + topic + `,"path":"/","headers":[]}`, code: CodeJSONInvalid},
		{name: "status no number", text: `{` + topic + `,"path":"/","status":"200"}`, code: CodeJSONInvalid},
		{name: "revision no integer", text: `{` + topic + `,"path":"/","revision":1.5}`, code: CodeJSONInvalid},
		{name: "extra no object", text: `{` + topic + `,"path":"/","extra":1}`, code: CodeJSONInvalid},
		{name: "R2 unknown criterion", text: `{"topic":"a/b/things/twin/wishes/modify","path":"/"}`, code: CodeUnknownTopicPath},
		{name: "path without slash", text: `{` + topic + `,"path":"attributes/x"}`, check: func(t *testing.T, e *Envelope) {
			equal(t, "path", e.Path, "/attributes/x")
		}},
		{name: "empty path", text: `{` + topic + `,"path":""}`, check: func(t *testing.T, e *Envelope) { equal(t, "path", e.Path, "/") }},
		{name: "the last of equal keys", text: `{` + topic + `,"path":"/a","path":"/b"}`, check: func(t *testing.T, e *Envelope) {
			equal(t, "path", e.Path, "/b")
		}},
		{name: "escaped key", text: `{` + topic + `,"p\u0061th":"/a\u0041"}`, check: func(t *testing.T, e *Envelope) { equal(t, "path", e.Path, "/aA") }},
		{name: "null members count as absent", text: `{` + topic + `,"path":"/","headers":null,"extra":null,"status":null,"revision":null,
			"timestamp":null,"metadata":null,"fields":null}`, check: func(t *testing.T, e *Envelope) {
			equal(t, "rest", *e, Envelope{Topic: e.Topic, Path: "/", Headers: messages.Headers{}})
		}},
		{name: "value null is a value", text: `{` + topic + `,"path":"/","value":null}`, check: func(t *testing.T, e *Envelope) {
			equal(t, "value", string(e.Value), "null")
		}},
		{name: "unknown status is absent", text: `{` + topic + `,"path":"/","status":1200}`, check: func(t *testing.T, e *Envelope) {
			equal(t, "status", e.Status, 0)
		}},
		{name: "header values of every type", text: `{` + topic + `,"path":"/","headers":{"S":"x\"y","n":1.50,"b":true,"f":false,"z":null,
			"a":[ "p q", 1 ],"o":{"k" : "v w"},"Correlation-ID":"c"}}`, check: func(t *testing.T, e *Envelope) {
			equal(t, "headers", e.Headers, messages.Headers{"s": `x"y`, "n": "1.50", "b": "true", "f": "false",
				"a": `["p q",1]`, "o": `{"k":"v w"}`, "correlation-id": "c"})
		}},
		{name: "members of others are ignored", text: `{` + topic + `,"path":"/","more":{"a":[1]}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse([]byte(tt.text))
			if got := code(err); got != tt.code {
				t.Fatalf("error %v, want code %q", err, tt.code)
			}
			if tt.check != nil {
				tt.check(t, e)
			}
		})
	}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	var e *messages.Error
	if !errors.As(err, &e) {
		return "no *messages.Error: " + err.Error()
	}
	return e.Code
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func TestAnErrorLeavesWhatCouldBeRead(t *testing.T) {
	e, err := Parse([]byte(`{"topic":"a/b/things/twin/wishes/x","headers":{"correlation-id":"c1"},"path":"/"}`))
	if err == nil || e == nil || e.Headers["correlation-id"] != "c1" {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err = Parse([]byte(`{"topic":"a/b/things/live/messages/x","headers":{"correlation-id":"c1"}}`)); err == nil || e.Topic.EntityID() != "a:b" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestKnownHeadersAreWrittenInTheirOwnType(t *testing.T) {
	e := &Envelope{Topic: Topic{Namespace: "a", Name: "b", Group: "things", Channel: "live", Criterion: "messages", Subject: `s"1`}, Path: "/inbox/messages/x",
		Headers: messages.Headers{"response-required": "false", "dry-run": "true", "requested-acks": `["a:b"]`, "timeout": "10s", "foo": "true",
			"entity-revision": "7", "ditto-weak-ack": "true", "etag": `"rev:1"`, "if-match": "*", "ditto-origin": "c", "channel": "live",
			"ditto-metadata": "{broken"}}
	want := `{"topic":"a/b/things/live/messages/s\"1","headers":{"channel":"live","ditto-metadata":"{broken","ditto-weak-ack":true,"dry-run":true,` +
		`"entity-revision":7,"etag":"\"rev:1\"","foo":"true","requested-acks":["a:b"],"response-required":false,"timeout":"10s"},"path":"/inbox/messages/x"}`
	equal(t, "outbound", string(e.AppendOutbound(nil)), want)
	all := string(e.AppendJSON(nil))
	if !strings.Contains(all, `"if-match":"*"`) || !strings.Contains(all, `"ditto-origin":"c"`) {
		t.Errorf("AppendJSON left headers out: %s", all)
	}
}

func TestHeaderDirections(t *testing.T) {
	all := messages.Headers{"foo": "custom", "ditto-pre-defined-extra-fields-object": "[]"}
	for name := range headers {
		all[name] = "v"
	}
	// One of each column of contract runtime.md 1.5, and R6, R7.
	tests := []struct {
		name       string
		enter, out bool
	}{
		{"correlation-id", true, true}, {"requested-acks", true, true}, {"timestamp", true, true}, {"status", true, true},
		{"if-match", true, false}, {"condition", true, false}, {"declared-acks", true, false}, {"policy-view", true, false},
		{"etag", false, true}, {"ditto-weak-ack", false, true}, {"entity-revision", false, true}, {"ditto-message-subject", false, true},
		{"ditto-origin", false, false}, {"ditto-auth-context", false, false}, {"ditto-entity-id", false, false},
		{"ditto-pre-defined-extra-fields-object", false, false}, {"foo", true, true},
	}
	inbound, outbound := all.Clone(), all.Clone()
	FilterInbound(inbound)
	FilterOutbound(outbound)
	for _, tt := range tests {
		if inbound.Has(tt.name) != tt.enter || outbound.Has(tt.name) != tt.out || MayEnter(tt.name) != tt.enter || MayLeave(tt.name) != tt.out {
			t.Errorf("%s: in %v out %v, want %v %v", tt.name, inbound.Has(tt.name), outbound.Has(tt.name), tt.enter, tt.out)
		}
	}
	counts := map[direction]int{}
	for _, h := range headers {
		counts[h.direction]++
	}
	// The numbers of names in the four columns; the family ditto-pre-defined-extra-fields* is not in the map.
	if want := (map[direction]int{inOut: 14, in: 19, out: 13, internal: 14}); !reflect.DeepEqual(counts, want) {
		t.Errorf("columns %v, want %v", counts, want)
	}
}

func TestCheckHeaders(t *testing.T) {
	tests := []struct {
		name, value string
		ok          bool
	}{
		{"timeout", "10", true}, {"timeout", "10s", true}, {"timeout", "0", true}, {"timeout", "3mo", true}, {"timeout", "10x", false},
		{"timeout", "-1s", false}, {"timeout", "", false}, {"response-required", "true", true}, {"response-required", "no", false},
		{"requested-acks", "[]", true}, {"requested-acks", `["a","b"]`, true}, {"requested-acks", "a", false}, {"requested-acks", "[1]", false},
		{"requested-acks", "[", false}, {"foo", "anything", true},
	}
	for _, tt := range tests {
		for _, err := range []error{CheckHeaders(messages.Headers{tt.name: tt.value}), AdmitHeaders(messages.Headers{tt.name: tt.value}, 100)} {
			if (err == nil) != tt.ok || err != nil && code(err) != CodeHeaderInvalid {
				t.Errorf("%s: %q: %v", tt.name, tt.value, err)
			}
		}
	}
}

func TestAdmittedHeadersAreCounted(t *testing.T) {
	h := messages.Headers{"foo": "123456", "ditto-origin": strings.Repeat("x", 100)} // what does not enter does not count
	if err := AdmitHeaders(h, 9); err != nil || h.Has("ditto-origin") {
		t.Errorf("%v, %v", err, h)
	}
	var e *messages.Error
	if err := AdmitHeaders(h, 8); !errors.As(err, &e) || e.Code != CodeHeadersTooLarge || e.Status != 431 {
		t.Errorf("%v", err)
	}
}

// FuzzParseEnvelope holds the scanner against encoding/json and what is written against what was read.
func FuzzParseEnvelope(f *testing.F) {
	for _, tt := range examples {
		f.Add([]byte(tt.text))
	}
	f.Add([]byte(`{"topic":"a/b/things/twin/commands/modify","path":"","headers":{"a":["x",{}],"B":1e5,"c":"\ud800\n"},"value":-0.5E+1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := Parse(payload)
		valid := json.Valid(payload) && utf8.Valid(payload) && bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{"))
		if deep := bytes.Count(payload, []byte("[")) + bytes.Count(payload, []byte("{")); deep <= maxDepth && valid != (e != nil) {
			t.Fatalf("encoding/json says %v, we say %v", valid, err)
		}
		if err != nil {
			return
		}
		written := e.AppendJSON(nil)
		if !json.Valid(written) {
			t.Fatalf("written no JSON: %s", written)
		}
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if twice := again.AppendJSON(nil); !bytes.Equal(written, twice) {
			t.Fatalf("written %s\nagain   %s", written, twice)
		}
		if _, err := e.Kind(); err == nil {
			e.SignalType()
		}
		e.Field("features/x/properties")
		e.Placeholder("feature", "id")
		if _, err := e.Acks(); err != nil && code(err) == "" {
			t.Fatal(err)
		}
	})
}

var benchmarkEnvelope = []byte(`{"topic":"acme.floor/pump-7/things/live/messages/restart","headers":{"correlation-id":"0b0a2b3e-7a55-4b17-a2ad-6f4b4f0d8f11",` +
	`"content-type":"application/json","timeout":"10s","response-required":true},"path":"/inbox/messages/restart","value":{"graceful":true,"n":12}}`)

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchmarkEnvelope)))
	for b.Loop() {
		if _, err := Parse(benchmarkEnvelope); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendOutbound(b *testing.B) {
	e, err := Parse(benchmarkEnvelope)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendOutbound(dst[:0])
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e, err := Parse(benchmarkEnvelope)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendJSON(dst[:0])
	}
}

func BenchmarkKind(b *testing.B) {
	e, err := Parse(benchmarkEnvelope)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Kind(); err != nil {
			b.Fatal(err)
		}
	}
}
