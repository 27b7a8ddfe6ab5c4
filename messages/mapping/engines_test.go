package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
	"hawser/messages/protocol"
)

// step is one message through one mapper, in or out.
type step struct {
	name, options string
	in            *External
	out           string // an envelope
	code          string
	dropped       bool
	want          string    // the envelope that comes of in, as AppendJSON writes it
	external      *External // what comes of out
}

func run(t *testing.T, engine string, steps []step) {
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			if tt.options == "" {
				tt.options = "{}"
			}
			s := set(t, engine, tt.options)
			if tt.in != nil {
				got := inbound(s, tt.in)
				if errorCode(got.Err) != tt.code || got.Dropped != tt.dropped {
					t.Fatalf("got %+v", got)
				}
				if tt.want != "" {
					sameJSON(t, string(got.Envelopes[0].AppendJSON(nil)), tt.want)
				}
				return
			}
			got := outbound(t, s, envelope(t, tt.out))
			if errorCode(got.Err) != tt.code || got.Dropped != tt.dropped {
				t.Fatalf("got %+v", got)
			}
			if tt.external != nil {
				if diff := cmp.Diff(tt.external, got.Messages[0]); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestRawMessage(t *testing.T) {
	const message = `{"topic":"acme/d1/things/live/messages/restart","path":"/inbox/messages/restart"`
	address := []string{"ditto-message-thing-id", "acme:d1", "ditto-message-subject", "restart"}
	with := func(body string, more ...string) *External { return text(body, append(more, address...)...) }
	external := func(more messages.Headers) messages.Headers {
		h := messages.Headers{"ditto-message-direction": "TO", "ditto-message-thing-id": "acme:d1", "ditto-message-subject": "restart"}
		for k, v := range more {
			h[k] = v
		}
		return h
	}
	run(t, "RawMessage", []step{
		{name: "text", in: with("hällo \"x\"", "content-type", "text/plain"),
			want: message + `,"headers":{"channel":"live","content-type":"text/plain"},"value":"hällo \"x\""}`},
		{name: "JSON", in: with(`{"a":1}`, "content-type", "application/json; charset=utf-8"),
			want: message + `,"headers":{"channel":"live","content-type":"application/json; charset=utf-8"},"value":{"a":1}}`},
		{name: "JSON type without JSON", in: with(`{`, "content-type", "application/vnd.x+json"), code: "json.invalid"},
		{name: "binary by default", in: with("\x01\x02"), want: message + `,"headers":{"channel":"live","content-type":"application/octet-stream"},"value":"AQI="}`},
		{name: "no payload", in: with("", "content-type", "text/plain"), want: message + `,"headers":{"channel":"live","content-type":"text/plain"}}`},
		{name: "response of a feature", in: with("ok", "content-type", "text/plain", "ditto-message-direction", "FROM", "ditto-message-feature-id", "f", "status", "200"),
			want: `{"topic":"acme/d1/things/live/messages/restart","path":"/features/f/outbox/messages/restart","headers":{"channel":"live","content-type":"text/plain"},"status":200,"value":"ok"}`},
		{name: "configured headers", options: `{"incomingMessageHeaders":{"ditto-message-thing-id":"acme:{{ header:device }}","Ditto-Message-Subject":"x","content-type":"text/plain"}}`,
			in: text("ok", "device", "d9"), want: `{"topic":"acme/d9/things/live/messages/x","path":"/inbox/messages/x","headers":{"channel":"live","content-type":"text/plain"},"value":"ok"}`},
		{name: "Ditto protocol", in: text(liveMessage, "content-type", "application/vnd.eclipse.ditto+json"),
			want: `{"topic":"acme/pump-7/things/live/messages/restart","headers":{"channel":"live","content-type":"application/json","correlation-id":"m1","foo":"bar"},"path":"/inbox/messages/restart","value":{"graceful":true}}`},
		{name: "no thing id", in: text("x", "ditto-message-subject", "s"), code: CodeMappingFailed},
		{name: "no subject", in: text("x", "ditto-message-thing-id", "a:b"), code: CodeMappingFailed},
		{name: "bad direction", in: with("x", "ditto-message-direction", "UP"), code: CodeMappingFailed},
		{name: "bad status", in: with("x", "status", "fine"), code: CodeMappingFailed},
		{name: "blocked", in: text("x", "content-type", "application/vnd.eclipse-hono-empty-notification"), dropped: true},

		{name: "text out", out: message + `,"headers":{"content-type":"text/plain"},"value":"hi"}`,
			external: &External{Headers: external(messages.Headers{"content-type": "text/plain"}), Text: "hi", HasText: true}},
		{name: "default content-type", out: message + `,"value":5}`,
			external: &External{Headers: external(messages.Headers{"content-type": "text/plain; charset=UTF-8"}), Text: "5", HasText: true}},
		{name: "JSON out", out: message + `,"headers":{"content-type":"application/json"},"value":{"a":[1]}}`,
			external: &External{Headers: external(messages.Headers{"content-type": "application/json"}), Text: `{"a":[1]}`, HasText: true}},
		{name: "configured content-type, binary", options: `{"outgoingContentType":"image/png"}`, out: message + `,"value":"AQI="}`,
			external: &External{Headers: external(messages.Headers{"content-type": "image/png"}), Bytes: []byte{1, 2}, HasBytes: true}},
		{name: "no base64", out: message + `,"headers":{"content-type":"image/png"},"value":"!"}`, code: CodeMessageFormatInvalid},
		{name: "binary no text", out: message + `,"headers":{"content-type":"image/png"},"value":{"a":1}}`, code: CodeMessageFormatInvalid},
		{name: "response out", out: `{"topic":"acme/d1/things/live/messages/restart","path":"/features/f/outbox/messages/restart","headers":{"content-type":"text/plain"},"status":404}`,
			external: &External{Headers: external(messages.Headers{"content-type": "text/plain", "ditto-message-direction": "FROM", "ditto-message-feature-id": "f", "status": "404"})}},
		{name: "no message", out: `{"topic":"acme/d1/things/live/events/deleted","path":"/"}`,
			external: &External{Headers: messages.Headers{"content-type": "application/vnd.eclipse.ditto+json"}, HasText: true,
				Text: `{"topic":"acme/d1/things/live/events/deleted","headers":{},"path":"/"}`}},
	})
}

func TestConnectionStatus(t *testing.T) {
	const options = `{"thingId":"{{ header:device_id }}"}`
	const h = `"headers":{"content-type":"application/json","requested-acks":[],"response-required":false}`
	with := func(pairs ...string) *External { return text("", append(pairs, "device_id", "acme:d1")...) }
	run(t, "ConnectionStatus", []step{
		{name: "connected for a minute", options: options, in: with("creation-time", "1571214120000", "ttd", "60"),
			want: `{"topic":"acme/d1/things/twin/commands/modify","path":"/features/ConnectionStatus",` + h + `,"value":{"definition":["org.eclipse.ditto:ConnectionStatus:1.0.0"],` +
				`"properties":{"status":{"readySince":"2019-10-16T08:22:00Z","readyUntil":"2019-10-16T08:23:00Z"}}}}`},
		{name: "connected for good", options: `{"thingId":"acme:d1","featureId":"S-{{header:device_id}}"}`, in: with("creation-time", "1571214120000", "ttd", "-1"),
			want: `{"topic":"acme/d1/things/twin/commands/modify","path":"/features/S-acme:d1",` + h + `,"value":{"definition":["org.eclipse.ditto:ConnectionStatus:1.0.0"],` +
				`"properties":{"status":{"readySince":"2019-10-16T08:22:00Z","readyUntil":"9999-12-31T23:59:59Z"}}}}`},
		{name: "disconnected", options: options, in: with("creation-time", "1571214120123", "ttd", "0"),
			want: `{"topic":"acme/d1/things/twin/commands/modify","path":"/features/ConnectionStatus/properties/status/readyUntil",` + h + `,"value":"2019-10-16T08:22:00.123Z"}`},
		{name: "no ttd", options: options, in: with("creation-time", "1"), dropped: true},
		{name: "no creation time", options: options, in: with("ttd", "1"), dropped: true},
		{name: "bad ttd", options: options, in: with("creation-time", "1", "ttd", "-2"), dropped: true},
		{name: "huge ttd", options: options, in: with("creation-time", "1", "ttd", "9223372036854775807"), dropped: true},
		{name: "no number", options: options, in: with("creation-time", "now", "ttd", "1"), dropped: true},
		{name: "no device", options: options, in: text("", "creation-time", "1", "ttd", "1"), dropped: true},
		{name: "no thing id", options: options, in: text("", "creation-time", "1", "ttd", "1", "device_id", "d1"), dropped: true},
		{name: "outbound", options: options, out: liveMessage, dropped: true},
	})
}

func TestImplicitThingCreation(t *testing.T) {
	const options = `{"thing":{"thingId":"{{ header:device_id }}","_copyPolicyFrom":"a:p","attributes":{"owner":"{{ request:subjectId }}","n":1.50,"l":["{{ time:now }}"]}}}`
	const errorSignal = `{"topic":"acme/d1/things/twin/errors","path":"/","status":403,"value":{"status":403,"error":"things:thing.notcreatable","message":"no"}}`
	run(t, "ImplicitThingCreation", []step{
		{name: "thing", options: options, in: text("", "device_id", "acme:d1"),
			want: `{"topic":"acme/d1/things/twin/commands/create","path":"/","headers":{"allow-policy-lockout":true,"content-type":"application/json","if-none-match":"*"},` +
				`"value":{"thingId":"acme:d1","_copyPolicyFrom":"a:p","attributes":{"owner":"sub:1","n":1.50,"l":["2026-02-03T04:05:06Z"]}}}`},
		{name: "values cannot break out", options: `{"thing":{"thingId":"a:b","attributes":{"x":"{{ header:x }}"}},"allowPolicyLockout":false,"commandHeaders":{"Foo":"{{ header:x }}","gone":"{{ header:no }}"}}`,
			in: text("", "x", `","y":"`),
			want: `{"topic":"a/b/things/twin/commands/create","path":"/","headers":{"allow-policy-lockout":false,"content-type":"application/json","foo":"\",\"y\":\"","if-none-match":"*"},` +
				`"value":{"thingId":"a:b","attributes":{"x":"\",\"y\":\""}}}`},
		{name: "template as text", options: `{"thing":"{\"thingId\":\"a:b\"}"}`, in: text(""),
			want: `{"topic":"a/b/things/twin/commands/create","path":"/","headers":{"allow-policy-lockout":true,"content-type":"application/json","if-none-match":"*"},"value":{"thingId":"a:b"}}`},
		{name: "unresolved", options: options, in: text(""), code: "placeholder:unresolved"},
		{name: "no thing id", options: options, in: text("", "device_id", "d1"), code: CodeMappingFailed},
		{name: "error response", options: options, out: errorSignal, code: "things:thing.notcreatable"},
		{name: "anything else", options: options, out: liveMessage, dropped: true},
	})
	// Headers are resolved for each message, not once.
	s := set(t, "ImplicitThingCreation", `{"thing":{"thingId":"a:b"},"commandHeaders":{"foo":"{{ header:x }}"}}`)
	for _, x := range []string{"1", "2"} {
		if got := inbound(s, text("", "x", x)).Envelopes[0].Headers["foo"]; got != x {
			t.Errorf("header %q for message %s", got, x)
		}
	}
}

func TestUpdateTwinWithLiveResponse(t *testing.T) {
	const response = `{"topic":"acme/d1/things/live/commands/retrieve","headers":{"correlation-id":"c1"},"path":"/features/f","status":200,"value":{"properties":{"p":1}}}`
	run(t, "UpdateTwinWithLiveResponse", []step{
		{name: "retrieve response", in: text(response),
			want: `{"topic":"acme/d1/things/twin/commands/merge","headers":{"content-type":"application/merge-patch+json","correlation-id":"c1-merge-into-twin","if-match":"*","response-required":false},` +
				`"path":"/features/f","value":{"properties":{"p":1}}}`},
		{name: "configured headers", options: `{"dittoHeadersForMerge":{"Condition":"{{ header:c }}","x":"{{ header:no }}"}}`, in: text(response, "c", "exists(a)"),
			want: `{"topic":"acme/d1/things/twin/commands/merge","headers":{"condition":"exists(a)","content-type":"application/merge-patch+json","correlation-id":"c1-merge-into-twin","x":"{{ header:no }}"},` +
				`"path":"/features/f","value":{"properties":{"p":1}}}`},
		{name: "twin response", in: text(strings.Replace(response, "live", "twin", 1)), dropped: true},
		{name: "command", in: text(strings.Replace(response, `"status":200,`, "", 1)), dropped: true},
		{name: "failed", in: text(strings.Replace(response, "200", "404", 1)), dropped: true},
		{name: "modify response", in: text(strings.Replace(response, "retrieve", "modify", 1)), dropped: true},
		{name: "message", in: text(liveMessage), dropped: true},
		{name: "no JSON", in: text("x"), dropped: true},
		{name: "nothing", in: &External{}, dropped: true},
		{name: "outbound", out: response, dropped: true},
	})
	// Together with Ditto, as the contract recommends.
	s := setOf(t, nil)
	both := s.Inbound([]string{"Ditto", "UpdateTwinWithLiveResponse"}, Context{Now: now}, text(response))
	if both[0].Kinds[0] != protocol.LiveResponse || both[1].Kinds[0] != protocol.TwinModify {
		t.Errorf("kinds %v, %v", both[0].Kinds, both[1].Kinds)
	}
}

func TestCloudEvents(t *testing.T) {
	run(t, "CloudEvents", []step{
		{name: "no payload", in: text("", "content-type", "application/cloudevents+json"), code: CodeMappingFailed},
		{name: "no data", in: text(`{"specversion":"1.0","id":"1","source":"s","type":"t"}`, "content-type", "application/cloudevents+json"), code: CodeMappingFailed},
		{name: "bad base64", in: text(`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"?"}`, "content-type", "application/cloudevents+json"), code: CodeMappingFailed},
		{name: "no JSON", in: text(`x`, "content-type", "application/cloudevents+json"), code: "json.invalid"},
		{name: "binary without id", in: text(liveMessage, "content-type", "application/vnd.eclipse.ditto+json", "ce-source", "s", "ce-type", "t", "ce-specversion", "1.0"), code: CodeMappingFailed},
		{name: "content-type with parameters", in: text(liveMessage, "content-type", "application/vnd.eclipse.ditto+json; charset=utf-8"), dropped: true},
	})
	out := outbound(t, set(t, "CloudEvents", "{}"), envelope(t, liveMessage))
	sameJSON(t, out.Messages[0].Text, `{"specversion":"1.0","id":"m1","source":"urn:hawser","type":"org.eclipse.ditto.outbound:things/live/messages/restart","subject":"acme:pump-7",`+
		`"time":"2026-02-03T04:05:06Z","datacontenttype":"application/vnd.eclipse.ditto+json","data":{"topic":"acme/pump-7/things/live/messages/restart",`+
		`"headers":{"content-type":"application/json","correlation-id":"m1","foo":"bar"},"path":"/inbox/messages/restart","value":{"graceful":true}}}`)
	if got := out.Messages[0].Headers; !cmp.Equal(got, messages.Headers{"content-type": "application/cloudevents+json"}) {
		t.Errorf("headers %v", got)
	}
	anonymous := outbound(t, set(t, "CloudEvents", "{}"), envelope(t, `{"topic":"a/b/things/twin/events/deleted","path":"/","timestamp":"T"}`))
	if got := anonymous.Messages[0].Text; !strings.Contains(got, `"time":"T"`) || strings.Contains(got, `"id":""`) {
		t.Errorf("got %s", got)
	}
}

func TestNormalizedMergeWithNulls(t *testing.T) {
	const merged = `{"topic":"a/b/things/live/events/merged","headers":{"ditto-origin":"c"},"path":"/attributes","value":{"x":null,"y":{"z":null,"keep":1},"{{ ~a.*~ }}":null},"timestamp":"T","revision":3}`
	plain := outbound(t, set(t, "Normalized", "{}"), envelope(t, merged))
	sameJSON(t, plain.Messages[0].Text, `{"thingId":"a:b","attributes":{"y":{"keep":1}},"_modified":"T","_revision":3,"_context":{"topic":"a/b/things/live/events/merged","path":"/attributes",`+
		`"value":{"y":{"keep":1}},"headers":{"entity-revision":"3"}}}`)
	deleted := outbound(t, set(t, "Normalized", `{"includeDeletedFields":true,"fields":"_deletedFields"}`), envelope(t, merged))
	sameJSON(t, deleted.Messages[0].Text, `{"_deletedFields":{"attributes":{"x":"T","y":{"z":"T"}}}}`)
	for _, other := range []string{liveMessage, `{"topic":"a/b/things/twin/commands/modify","path":"/","value":{}}`, `{"topic":"a/b/policies/events/created","path":"/","value":{}}`} {
		if out := outbound(t, set(t, "Normalized", "{}"), envelope(t, other)); !out.Dropped {
			t.Errorf("%s gives %+v", other, out)
		}
	}
	if in := inbound(set(t, "Normalized", "{}"), text(liveMessage)); !in.Dropped {
		t.Errorf("inbound gives %+v", in)
	}
}

func TestCharsets(t *testing.T) {
	tests := []struct {
		contentType string
		bytes       []byte
		want        string
	}{
		{"text/plain", []byte("ü"), "ü"}, {"text/plain; charset=UTF-8", []byte("ü"), "ü"}, {"text/plain;charset=iso-8859-1", []byte{0xfc}, "ü"},
		{"text/plain; charset=utf-16", []byte{0xff, 0xfe, 0xfc, 0}, "ü"}, {"text/plain; charset=utf-16", []byte{0, 0xfc}, "ü"},
		{"text/plain; charset=utf-16le", []byte{0xfc, 0}, "ü"}, {"text/plain; charset=\"", []byte("x"), "x"}, {"text/plain; charset=unknown", []byte("x"), "x"},
	}
	for _, tt := range tests {
		m := &External{Bytes: tt.bytes, HasBytes: true, Headers: messages.Headers{"content-type": tt.contentType}}
		if got, err := m.payload(); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v", tt.contentType, got, err)
		}
	}
}

// FuzzMappers sends any payload and headers through every engine, in and, where an envelope came of it, out again.
func FuzzMappers(f *testing.F) {
	definitions := map[string]messages.MappingDefinition{
		"status": {Engine: "ConnectionStatus", Options: []byte(`{"thingId":"{{header:device_id}}"}`)},
		"create": {Engine: "ImplicitThingCreation", Options: []byte(`{"thing":{"thingId":"{{header:device_id}}","attributes":{"x":"{{header:creation-time}}"}}}`)},
		"flat":   {Engine: "Normalized", Options: []byte(`{"includeDeletedFields":true}`)},
	}
	ids := []string{"Ditto", "RawMessage", "CloudEvents", "UpdateTwinWithLiveResponse", "status", "create", "flat"}
	s := setOf(f, definitions, ids...)
	f.Add(liveMessage, "application/json", "acme:d1", "1")
	f.Add(`{"specversion":"1.0","id":"1","source":"s","type":"t","data":`+liveMessage+`}`, "application/cloudevents+json", "acme:d1", "-1")
	f.Add(`{"topic":"a/b/things/twin/events/merged","path":"/attributes","value":{"a":null},"timestamp":"T","extra":{"attributes":{"a":1}}}`, "text/plain; charset=utf-16", "x", "60")
	f.Fuzz(func(t *testing.T, payload, contentType, device, number string) {
		m := &External{Bytes: []byte(payload), HasBytes: true, Headers: messages.Headers{"content-type": contentType, "device_id": device, "creation-time": number, "ttd": number,
			"ditto-message-thing-id": device, "ditto-message-subject": number, "ce-id": number, "ce-source": device, "ce-type": "t", "ce-specversion": "1.0"}}
		ctx := Context{ConnectionID: "c", Subjects: []string{"s"}, Now: now}
		for _, in := range s.Inbound(ids, ctx, m) {
			if (in.Err != nil) == (in.Dropped || len(in.Envelopes) > 0) || in.Dropped && len(in.Envelopes) > 0 {
				t.Fatalf("%s: %+v", in.Mapper, in)
			}
			if in.Err != nil {
				envelope(t, string(in.ErrorEnvelope(m).AppendJSON(nil)))
			}
			for _, e := range in.Envelopes {
				envelope(t, string(e.AppendJSON(nil)))
				for _, out := range s.Outbound(ids, ctx, e) {
					if (out.Err != nil) == (out.Dropped || len(out.Messages) > 0) {
						t.Fatalf("%s: %+v", out.Mapper, out)
					}
				}
			}
		}
	})
}
