package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
	"hawser/messages/protocol"
)

// javaScript is the Set of a connection whose mapper m has these options.
func javaScript(t testing.TB, options map[string]any) *Set {
	t.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	return set(t, "JavaScript", string(raw))
}

func TestJavaScriptInbound(t *testing.T) {
	const to = "function mapToDittoProtocolMsg(headers, textPayload, bytePayload, contentType) {"
	for _, tt := range []struct {
		name, script string
		m            *External
		want         []string // as they leave again
		code         string
		mention      string
	}{
		{"the example of the contract", to + `const v = new DataView(bytePayload);
			return Ditto.buildDittoProtocolMsg('acme', headers['device'], 'things', 'twin', 'commands', 'modify', '/features/thermo/properties/t', headers, v.getInt16(0) / 10); }`,
			&External{Bytes: []byte{0, 215}, HasBytes: true, Headers: messages.Headers{"device": "d1", "ditto-origin": "x"}},
			[]string{`{"topic":"acme/d1/things/twin/commands/modify","headers":{"device":"d1"},"path":"/features/thermo/properties/t","value":21.5}`}, "", ""},
		{"a text stays as it was sent", to + `return {topic: 'a/b/things/live/messages/x', path: 'inbox/messages/x', value: JSON.parse(textPayload)} }`, text(`{"n":12345678901234567890,"e":1.50}`),
			[]string{`{"topic":"a/b/things/live/messages/x","headers":{"channel":"live"},"path":"/inbox/messages/x","value":{"n":12345678901234567890,"e":1.50}}`}, "", ""},
		{"several", to + `return ['x', 'y'].map(s => ({topic: 'a/' + s + '/things/twin/commands/delete', path: '/', headers: {'response-required': false, n: 1, o: {p: []}}})) }`, text(""),
			[]string{`{"topic":"a/x/things/twin/commands/delete","headers":{"n":"1","o":"{\"p\":[]}","response-required":false},"path":"/"}`,
				`{"topic":"a/y/things/twin/commands/delete","headers":{"n":"1","o":"{\"p\":[]}","response-required":false},"path":"/"}`}, "", ""},
		{"R15 null", to + "return null }", text(""), nil, "", ""},
		{"R15 empty", to + "return [] }", text(""), nil, "", ""},
		{"undefined", to + "}", text(""), nil, CodeMappingFailed, "undefined"},
		{"R14 too many", to + "return Array(11).fill({topic: 'a/b/things/twin/commands/delete', path: '/'}) }", text(""), nil, CodeMappingFailed, "11"},
		{"one of several is no envelope", to + "return [{topic: 'a/b/things/twin/commands/delete', path: '/'}, {path: '/'}] }", text(""), nil, "json.field.missing", "/topic"},
		{"unknown topic", to + "return {topic: 'a/b/things/twin/wishes/x', path: '/'} }", text(""), nil, "protocoladapter:unknown.topicpath", "wishes"},
		{"headers too large", to + "return {topic: 'a/b/things/twin/commands/delete', path: '/', headers: {h: 'x'.repeat(6000)}} }", text(""), nil, "headers.too.large", ""},
		{"exception", to + "\n  throw new Error('no such device') }", text("secret", "content-type", "text/x"), nil, CodeMappingFailed, "Error: no such device - in line/column #2/9"},
		{"missing script", "", text(liveMessage), []string{`{"topic":"acme/pump-7/things/live/messages/restart","headers":{"channel":"live","content-type":"application/json",` +
			`"correlation-id":"m1","foo":"bar"},"path":"/inbox/messages/restart","value":{"graceful":true}}`}, "", ""},
		{"missing script, no envelope", "", text("hello"), nil, "json.invalid", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := inbound(javaScript(t, map[string]any{"incomingScript": tt.script}), tt.m)
			if errorCode(in.Err) != tt.code || in.Dropped != (tt.code == "" && tt.want == nil) {
				t.Fatalf("got %+v", in)
			}
			if in.Err != nil && (in.Err.Status/100 != 4 || !strings.Contains(in.Err.Message+in.Err.Description, tt.mention) || strings.Contains(in.Err.Description, "secret")) {
				t.Errorf("got %+v", in.Err)
			}
			var got []string
			for _, e := range in.Envelopes {
				got = append(got, string(e.AppendOutbound(nil)))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJavaScriptOutbound(t *testing.T) {
	const from = "function mapFromDittoProtocolMsg(namespace, name, group, channel, criterion, action, path, dittoHeaders, value, status, extra) {"
	const event = `{"topic":"acme/d/things/twin/events/modified","headers":{"correlation-id":"c","response-required":false,"foo":"bar","ditto-origin":"x","if-match":"y"},"path":"/attributes/a","value":5,"extra":{"e":1},"revision":2}`
	for _, tt := range []struct {
		name, script string
		want         []*External
		code         string
	}{
		{"text", from + "return Ditto.buildExternalMsg(dittoHeaders, [namespace, name, channel, action, path, value, extra.e, status].join(), null, 'text/csv') }",
			[]*External{{Headers: messages.Headers{"correlation-id": "c", "response-required": "false", "foo": "bar", "content-type": "text/csv"},
				Text: "acme,d,twin,modified,/attributes/a,5,1,", HasText: true}}, ""},
		{"contentType lies over a header", from + "return Ditto.buildExternalMsg({'Content-Type': 'a'}, 't', null, 'b') }",
			[]*External{{Headers: messages.Headers{"content-type": "b"}, Text: "t", HasText: true}}, ""},
		{"bytes", from + "return Ditto.buildExternalMsg({'content-type': 'a'}, null, Ditto.stringToArrayBuffer('\\u0001b')) }",
			[]*External{{Headers: messages.Headers{"content-type": "a"}, Bytes: []byte{1, 'b'}, HasBytes: true}}, ""},
		{"null", from + "return null }", nil, ""},
		{"no payload", from + "return {} }", nil, CodeMappingFailed},
		{"too many", from + "return Array(11).fill({textPayload: ''}) }", nil, CodeMappingFailed},
		{"missing script", "", []*External{{Headers: messages.Headers{"correlation-id": "c", "response-required": "false", "foo": "bar", "content-type": "application/vnd.eclipse.ditto+json"},
			Text: `{"topic":"acme/d/things/twin/events/modified","headers":{"correlation-id":"c","foo":"bar","response-required":false},"path":"/attributes/a","value":5,"extra":{"e":1},"revision":2}`, HasText: true}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := outbound(t, javaScript(t, map[string]any{"outgoingScript": tt.script}), envelope(t, event))
			if errorCode(out.Err) != tt.code || out.Dropped != (tt.code == "" && tt.want == nil) {
				t.Fatalf("got %+v", out)
			}
			if diff := cmp.Diff(tt.want, out.Messages); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJavaScriptOptions(t *testing.T) {
	script := "function mapToDittoProtocolMsg(headers) { return {topic: 'a/b/things/live/messages/x', path: '/inbox/messages/x', value: [typeof Long, typeof dcodeIO] } }"
	for _, tt := range []struct {
		options map[string]any
		want    string
	}{
		{map[string]any{}, `["undefined","undefined"]`},
		{map[string]any{"loadLongJS": false, "loadBytebufferJS": "false"}, `["undefined","undefined"]`},
		{map[string]any{"loadLongJS": true}, `["function","object"]`},
		{map[string]any{"loadLongJS": "true", "loadBytebufferJS": "true"}, `["function","object"]`},
		{map[string]any{"loadBytebufferJS": true}, `["undefined","object"]`},
	} {
		tt.options["incomingScript"] = script
		in := inbound(javaScript(t, tt.options), text(""))
		if in.Err != nil || string(in.Envelopes[0].Value) != tt.want {
			t.Errorf("%v: %+v", tt.options, in)
		}
	}
	blocked := javaScript(t, map[string]any{"incomingScript": "function mapToDittoProtocolMsg() { throw 'called' }", "content-type-blocklist": "a/b"})
	if in := inbound(blocked, text("", "content-type", "a/b")); !in.Dropped {
		t.Errorf("got %+v", in)
	}
}

// The pool of a mapper has min(processorPoolSize, mapping.max-pool-size) members, each with state of its own (contract
// runtime.md 2).
func TestJavaScriptPool(t *testing.T) {
	// Each member counts its calls, and is busy long enough that all six messages need one at the same time.
	options := json.RawMessage(`{"incomingScript":"let n = 0; function mapToDittoProtocolMsg() { n++; const until = Date.now() + 100; while (Date.now() < until); ` +
		`return {topic: 'a/b/things/live/messages/x', path: '/inbox/messages/x', value: n} }"}`)
	for _, tt := range []struct{ configured, most, want int }{{1, 5, 1}, {2, 5, 2}, {7, 3, 3}, {0, 5, 1}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			limits := DefaultLimits
			limits.MaxMembers, limits.Script.Time = tt.most, limits.Script.Time*20
			s, err := NewSet(&messages.Connection{ID: "c", ProcessorPoolSize: tt.configured,
				MappingDefinitions: map[string]messages.MappingDefinition{"m": {Engine: "JavaScript", Options: options}}}, limits)
			if err != nil {
				t.Fatal(err)
			}
			var (
				all  sync.WaitGroup
				mu   sync.Mutex
				ones int
			)
			for range 6 {
				all.Go(func() {
					in := inbound(s, text(""))
					mu.Lock()
					defer mu.Unlock()
					if in.Err != nil {
						t.Error(in.Err)
					} else if string(in.Envelopes[0].Value) == "1" {
						ones++
					}
				})
			}
			all.Wait()
			if ones != tt.want { // one first call per member
				t.Errorf("%d members, want %d", ones, tt.want)
			}
		})
	}
}

// busy is a mapper that did not look at its message.
type busy struct{ err error }

func (b busy) Inbound(Context, *External) ([]*protocol.Envelope, error) {
	return nil, fmt.Errorf("not now: %w", b.err)
}

func (b busy) Outbound(Context, *protocol.Envelope) ([]*External, error) {
	return nil, fmt.Errorf("not now: %w", b.err)
}

// Callers can tell a mapper that did not look at the message from one that could not map it.
func TestUntried(t *testing.T) {
	for _, tt := range []struct{ err, want error }{{ErrBusy, ErrBusy}, {ErrAbandoned, ErrAbandoned}, {fmt.Errorf("a bad message"), nil}} {
		s := &Set{limits: DefaultLimits, mappers: map[string]*definition{"m": {mapper: busy{tt.err}}}}
		in := inbound(s, text(""))
		out := outbound(t, s, envelope(t, liveMessage))
		if in.Untried != tt.want || out.Untried != tt.want || errorCode(in.Err) != CodeMappingFailed || errorCode(out.Err) != CodeMappingFailed {
			t.Errorf("%v: got %+v and %+v", tt.err, in, out)
		}
	}
}

func TestJavaScriptNesting(t *testing.T) {
	options, err := json.Marshal(map[string]string{"outgoingScript": strings.Repeat("{a:", 16_000)})
	if err != nil {
		t.Fatal(err)
	}
	err = Check(&messages.Connection{ID: "c", MappingDefinitions: map[string]messages.MappingDefinition{"m": {Engine: "JavaScript", Options: options}}}, DefaultLimits)
	var invalid *messages.Error
	if !errors.As(err, &invalid) || invalid.Code != CodeConfigurationInvalid || invalid.Status != 400 || !strings.Contains(invalid.Message, "outgoingScript") {
		t.Errorf("got %v", err)
	}
}
