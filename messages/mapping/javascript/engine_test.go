package javascript

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var limits = Limits{Time: 500 * time.Millisecond, StackDepth: 25}

func engine(t testing.TB, o Options) *Engine {
	t.Helper()
	o.Runtimes = max(1, o.Runtimes)
	o.MaxInbound, o.MaxOutbound = 10, 10
	e, err := New(o, limits)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// mapTo is an engine whose incoming script has this body.
func mapTo(t testing.TB, body string) *Engine {
	t.Helper()
	return engine(t, Options{Incoming: "function mapToDittoProtocolMsg(headers, textPayload, bytePayload, contentType) {\n" + body + "\n}"})
}

// mapFrom is an engine whose outgoing script has this body.
func mapFrom(t testing.TB, body string) *Engine {
	t.Helper()
	return engine(t, Options{Outgoing: "function mapFromDittoProtocolMsg(namespace, name, group, channel, criterion, action, path, dittoHeaders, value, status, extra) {\n" + body + "\n}"})
}

func inText(s string) *Message {
	return &Message{Headers: map[string]string{"a": "1"}, ContentType: "text/plain", HasContentType: true, Text: s, HasText: true}
}

// one is the text of the only envelope.
func one(t *testing.T, e *Engine, m *Message) string {
	t.Helper()
	out, err := e.Inbound(nil, m)
	if err != nil || len(out) != 1 {
		t.Fatalf("got %q, %v", out, err)
	}
	return string(out[0])
}

// refused checks that err mentions each of the texts.
func refused(t *testing.T, err error, mention ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", mention)
	}
	for _, text := range mention {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got %q, want it to mention %q", err, text)
		}
	}
}

// The arguments of mapToDittoProtocolMsg (contract runtime.md 8.2): text and bytes are null when the message has none,
// and empty when they are empty.
func TestInboundArguments(t *testing.T) {
	e := mapTo(t, `return {headers, text: textPayload, bytes: bytePayload && Array.from(new Uint8Array(bytePayload)),
		isBuffer: bytePayload instanceof ArrayBuffer, type: contentType, count: arguments.length}`)
	for _, tt := range []struct {
		name string
		m    Message
		want string
	}{
		{"nothing", Message{}, `{"headers":{},"text":null,"bytes":null,"isBuffer":false,"type":null,"count":4}`},
		{"text only", Message{Text: "ü", HasText: true, Headers: map[string]string{"content-type": "x"}, ContentType: "x", HasContentType: true},
			`{"headers":{"content-type":"x"},"text":"ü","bytes":null,"isBuffer":false,"type":"x","count":4}`},
		{"bytes only", Message{Bytes: []byte{0, 255}, HasBytes: true}, `{"headers":{},"text":null,"bytes":[0,255],"isBuffer":true,"type":null,"count":4}`},
		{"both, empty", Message{HasBytes: true, HasText: true}, `{"headers":{},"text":"","bytes":[],"isBuffer":true,"type":null,"count":4}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := one(t, e, &tt.m); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestInboundDoesNotChangeTheMessage(t *testing.T) {
	m := &Message{Bytes: []byte{1, 2}, HasBytes: true, Headers: map[string]string{"a": "1"}}
	one(t, mapTo(t, `new Uint8Array(bytePayload)[0] = 9; headers.a = '2'; headers.b = '3'; return {}`), m)
	if m.Bytes[0] != 1 || !cmp.Equal(m.Headers, map[string]string{"a": "1"}) {
		t.Errorf("got %v", m)
	}
}

func TestInboundResults(t *testing.T) {
	for _, tt := range []struct {
		body    string
		want    []string
		mention string
	}{
		{"return {topic: 't'}", []string{`{"topic":"t"}`}, ""},
		{"return [{a: 1}, {b: 2}]", []string{`{"a":1}`, `{"b":2}`}, ""},
		{"return null", nil, ""},
		{"return []", nil, ""},
		{"return", nil, "undefined"},
		{"return 'text'", nil, "a string"},
		{"return 5", nil, "a number"},
		{"return true", nil, "a boolean"},
		{"return Symbol('s')", nil, "a symbol"},
		{"return () => 1", nil, "a function"},
		{"return [{a: 1}, 'x']", nil, "element 1 is a string"},
		{"return [null]", nil, "element 0 is null"},
		{"return [[{}]]", nil, "element 0 is an array"},
		{"return [undefined]", nil, "element 0 is undefined"},
		{"return {toJSON: () => undefined}", nil, "no JSON"},
		{"return {a: 5n}", nil, "BigInt"},
	} {
		t.Run(tt.body, func(t *testing.T) {
			out, err := mapTo(t, tt.body).Inbound(nil, inText(""))
			var got []string
			for _, text := range out {
				got = append(got, string(text))
			}
			if tt.mention != "" {
				refused(t, err, tt.mention)
			} else if err != nil {
				t.Error(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestHelpers(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"buildDittoProtocolMsg", "return Ditto.buildDittoProtocolMsg('ns', 'n', 'things', 'twin', 'commands', 'modify', '/p', {h: 'x'}, 5, 200, {e: 1})",
			`{"topic":"ns/n/things/twin/commands/modify","path":"/p","headers":{"h":"x"},"value":5,"status":200,"extra":{"e":1}}`},
		{"channel none", "return Ditto.buildDittoProtocolMsg('ns', 'n', 'policies', 'none', 'commands', 'delete', '/', {})",
			`{"topic":"ns/n/policies/commands/delete","path":"/","headers":{}}`},
		{"no action", "return Ditto.buildDittoProtocolMsg('ns', 'n', 'things', 'live', 'messages', undefined, '/')", `{"topic":"ns/n/things/live/messages","path":"/"}`},
		{"its result may be changed", "const m = Ditto.buildDittoProtocolMsg('a', 'b', 'things', 'twin', 'events', 'created', '/', {}); m.revision = 3; delete m.headers; m.path = '/x'; return m",
			`{"topic":"a/b/things/twin/events/created","path":"/x","revision":3}`},
		{"buildExternalMsg", "return Ditto.buildExternalMsg({h: 'x'}, 't', null, 'c')", `{"headers":{"h":"x"},"textPayload":"t","bytePayload":null,"contentType":"c"}`},
		{"arrayBufferToString", "return {s: Ditto.arrayBufferToString(new Uint8Array([72, 228, 0xc3, 0xa4]).buffer)}", `{"s":"HäÃ¤"}`},
		{"arrayBufferToString of a view", "return {s: Ditto.arrayBufferToString(new Uint8Array([72, 105, 33]).subarray(0, 2)), t: Ditto.arrayBufferToString([65])}", `{"s":"Hi","t":"A"}`},
		{"stringToArrayBuffer", "return {b: Array.from(new Uint8Array(Ditto.stringToArrayBuffer('Hä\\u1234')))}", `{"b":[72,228,52]}`},
		{"asByteBuffer without the library", "try { Ditto.asByteBuffer(new ArrayBuffer(1)) } catch (e) { return {e: e.message} }",
			`{"e":"Ditto.asByteBuffer needs the option loadBytebufferJS."}`},
		{"nothing of a host", "return {x: ['print', 'exit', 'quit', 'require', 'console', 'setTimeout', 'process', 'java', 'Packages', 'load', 'Long', 'dcodeIO'].filter(n => n in globalThis)}", `{"x":[]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := one(t, mapTo(t, tt.body), inText("")); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A script may define an entry point or a wrapper in any way a language allows.
func TestOverrides(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"const", "const mapToDittoProtocolMsg = (h, t) => ({t})", `{"t":"x"}`},
		{"let", "let mapToDittoProtocolMsg = function (h, t) { return {t} }", `{"t":"x"}`},
		{"var", "var mapToDittoProtocolMsg = (h, t) => ({t})", `{"t":"x"}`},
		{"assigned", "mapToDittoProtocolMsg = (h, t) => ({t})", `{"t":"x"}`},
		{"wrapper", "function mapToDittoProtocolMsgWrapper(m) { return {keys: Object.keys(m), t: m.textPayload} }", `{"keys":["headers","textPayload","bytePayload","contentType"],"t":"x"}`},
		{"wrapper that calls the entry point", "function mapToDittoProtocolMsg(h, t) { return {t} }\nconst mapToDittoProtocolMsgWrapper = m => [mapToDittoProtocolMsg(m.headers, m.textPayload)]", `{"t":"x"}`},
		{"exchanged by itself", "function mapToDittoProtocolMsg(h, t) { mapToDittoProtocolMsg = null; return {t} }", `{"t":"x"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := one(t, engine(t, Options{Incoming: tt.script}), inText("x")); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	_, err := engine(t, Options{Incoming: "1"}).Inbound(nil, inText(""))
	refused(t, err, "does not define mapToDittoProtocolMsg")
	_, err = engine(t, Options{Incoming: "mapToDittoProtocolMsg = 5"}).Inbound(nil, inText(""))
	refused(t, err, "mapToDittoProtocolMsg is no function")
}

func TestOutboundArguments(t *testing.T) {
	e := mapFrom(t, `return {textPayload: JSON.stringify([namespace, name, group, channel, criterion, action, path, dittoHeaders, value, status, extra].map(v => v === undefined ? 'undefined' : v))}`)
	for _, tt := range []struct{ name, envelope, want string }{
		{"event", `{"topic":"acme/d/things/twin/events/modified","headers":{"response-required":false},"path":"/p","value":null,"extra":{"x":1},"revision":4}`,
			`["acme","d","things","twin","events","modified","/p",{"response-required":false},null,"undefined",{"x":1}]`},
		{"group without channel", `{"topic":"acme/d/policies/commands/delete","headers":{},"path":"/","status":204}`,
			`["acme","d","policies","none","commands","delete","/",{},"undefined",204,"undefined"]`},
		{"subject of several segments", `{"topic":"acme/d/things/live/messages/a/b","headers":{},"path":"/inbox/messages/a/b"}`,
			`["acme","d","things","live","messages","a","/inbox/messages/a/b",{},"undefined","undefined","undefined"]`},
		{"no action", `{"topic":"acme/d/things/twin/errors","headers":{},"path":"/","status":400}`,
			`["acme","d","things","twin","errors","undefined","/",{},"undefined",400,"undefined"]`},
		{"connection announcement", `{"topic":"_/c/connections/announcements/opened","headers":{},"path":"/"}`,
			`["_","c","connections","none","announcements","opened","/",{},"undefined","undefined","undefined"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := e.Outbound(nil, tt.envelope)
			if err != nil || len(out) != 1 || out[0].Text != tt.want {
				t.Errorf("%v\ngot  %+v\nwant %s", err, out, tt.want)
			}
		})
	}
	whole := engine(t, Options{Outgoing: "function mapFromDittoProtocolMsgWrapper(e) { return {textPayload: JSON.stringify(e)} }"})
	if out, err := whole.Outbound(nil, `{"topic":"a/b/things/live/messages/a/b","headers":{},"path":"/"}`); err != nil || !strings.Contains(out[0].Text, "messages/a/b") {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestOutboundResults(t *testing.T) {
	text := func(s string) *Message { return &Message{Headers: map[string]string{}, Text: s, HasText: true} }
	for _, tt := range []struct {
		body    string
		want    []*Message
		mention string
	}{
		{"return null", nil, ""},
		{"return []", nil, ""},
		{"return [{textPayload: 'a'}, {textPayload: ''}]", []*Message{text("a"), text("")}, ""},
		{"return {textPayload: 't', bytePayload: new Uint8Array([1, 255]).buffer}", []*Message{{Headers: map[string]string{}, Bytes: []byte{1, 255}, HasBytes: true}}, ""},
		{"return {bytePayload: new ArrayBuffer(0)}", []*Message{{Headers: map[string]string{}, Bytes: []byte{}, HasBytes: true}}, ""},
		{"return {textPayload: 't', bytePayload: null, contentType: undefined}", []*Message{text("t")}, ""},
		{"return {textPayload: 't', contentType: 'c'}", []*Message{{Headers: map[string]string{}, Text: "t", HasText: true, ContentType: "c", HasContentType: true}}, ""},
		{"return Ditto.buildExternalMsg({S: 's', n: 1.5, t: true, a: [1, 'x'], o: {p: null}, e: '', u: undefined, z: null}, 't')",
			[]*Message{{Headers: map[string]string{"s": "s", "n": "1.5", "t": "true", "a": `[1,"x"]`, "o": `{"p":null}`, "e": ""}, Text: "t", HasText: true}}, ""},
		{"return Ditto.buildExternalMsg(dittoHeaders, 't')", []*Message{{Headers: map[string]string{"correlation-id": "c", "response-required": "false", "requested-acks": `["x"]`}, Text: "t", HasText: true}}, ""},
		{"return {textPayload: 't', contentType: null}", nil, "contentType is null"},
		{"return {textPayload: 't', contentType: 5}", nil, "contentType is a number"},
		{"return {textPayload: 't', contentType: {}}", nil, "contentType is an object"},
		{"return {textPayload: 't', contentType: () => 1}", nil, "contentType is a function"},
		{"return {textPayload: 't', contentType: []}", nil, "contentType is an array"},
		{"return {}", nil, "neither bytePayload nor textPayload"},
		{"return {textPayload: 5}", nil, "neither bytePayload nor textPayload"},
		{"return {textPayload: null, bytePayload: 'x'}", nil, "neither bytePayload nor textPayload"},
		{"return", nil, "undefined"},
		{"return 'x'", nil, "a string"},
		{"return ['x']", nil, "element 0 is a string"},
	} {
		t.Run(tt.body, func(t *testing.T) {
			out, err := mapFrom(t, tt.body).Outbound(nil, `{"topic":"a/b/things/twin/events/created","headers":{"correlation-id":"c","response-required":false,"requested-acks":["x"]},"path":"/"}`)
			if tt.mention != "" {
				refused(t, err, tt.mention)
				return
			}
			if diff := cmp.Diff(tt.want, out); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// An array that is too long is refused before anything is made of it.
func TestTooManyResults(t *testing.T) {
	for _, body := range []string{"return Array(1e5).fill({textPayload: ''})", "const a = []; a.length = 4294967295; return a",
		"return Array(11).fill({get textPayload() { throw new Error('it was looked at') }, toJSON() { throw new Error('it was looked at') }})"} {
		_, in := mapTo(t, body).Inbound(nil, inText(""))
		_, out := mapFrom(t, body).Outbound(nil, `{"topic":"a/b/things/twin/events/created","headers":{},"path":"/"}`)
		for _, err := range []error{in, out} {
			var many *TooManyError
			if !errors.As(err, &many) || many.Count < 11 || many.Limit != 10 {
				t.Errorf("%s: got %v", body, err)
			}
		}
	}
	script := `function mapFromDittoProtocolMsg() {
		const headers = {};
		for (let i = 0; i < 100; i++) headers['h' + i] = i;
		return Array(2e5).fill({textPayload: '', headers});
	}`
	e, err := New(Options{Outgoing: script, Runtimes: 1, MaxOutbound: 1e9}, limits)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Outbound(nil, `{"topic":"a/b/things/twin/events/created","headers":{},"path":"/"}`)
	refused(t, err, "time of a script is over")
}

func TestHeadersAreSorted(t *testing.T) {
	headers := map[string]string{}
	for c := 'a'; c <= 'p'; c++ {
		headers[string(c)] = ""
	}
	e := mapTo(t, "let all = ''; for (const name in headers) all += name; return {all}")
	for range 5 {
		if got := one(t, e, &Message{Headers: headers}); got != `{"all":"abcdefghijklmnop"}` {
			t.Errorf("got %s", got)
		}
	}
}

// Exceptions say what was thrown, where, and the script's stack.
func TestExceptions(t *testing.T) {
	for _, tt := range []struct {
		script  string
		mention []string
	}{
		{"function f() {\n  throw new TypeError('too cold');\n}\nfunction mapToDittoProtocolMsg() {\n  f();\n}",
			[]string{"TypeError: too cold", "line/column #2/9", "incomingScript:2:9 (f)", "incomingScript:5:4 (mapToDittoProtocolMsg)"}},
		{"function mapToDittoProtocolMsg() { throw 'plain' }", []string{"plain", "line/column #1/"}},
		{"function mapToDittoProtocolMsg() { throw {code: 5, toString: () => 'mine'} }", []string{"mine"}},
		{"function mapToDittoProtocolMsg() { throw {toString() { throw 1 }} }", []string{"no text", "line/column"}},
		{"function mapToDittoProtocolMsg() { throw null }", []string{"null"}},
		{"function mapToDittoProtocolMsg() { return {get a() { throw new Error('in a getter') }} }", []string{"in a getter"}},
		{"function mapToDittoProtocolMsg() { return undeclared }", []string{"ReferenceError", "undeclared"}},
		{"function mapToDittoProtocolMsg() { print('x') }", []string{"ReferenceError", "print"}},
		{"throw new Error('at the top')", []string{"at the top", "incomingScript:1:7"}},
		{"function mapToDittoProtocolMsg(h, t) { JSON.parse(t) }", []string{"SyntaxError", "no JSON"}},
		{"function mapToDittoProtocolMsg() { throw 'x'.repeat(100000) }", []string{"xxx…"}},
	} {
		t.Run(tt.script, func(t *testing.T) {
			e := engine(t, Options{Incoming: tt.script})
			for range 2 { // and the runtime stays what it is
				_, err := e.Inbound(nil, inText("the secret payload"))
				refused(t, err, tt.mention...)
				if strings.Contains(err.Error(), "secret") || len(err.Error()) > 2<<10 {
					t.Errorf("got %.200q", err)
				}
			}
		})
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, script := range []string{"function (", "let a; let a", "return 5 +", "x = /(/", "\x00"} {
		for _, o := range []Options{{Incoming: script, Runtimes: 1}, {Outgoing: script, Runtimes: 1}} {
			_, err := New(o, limits)
			option := incomingScript
			if o.Incoming == "" {
				option = outgoingScript
			}
			refused(t, err, option)
		}
	}
}

// What a script does too long or too deep ends as an error, soon, and the runtime works on with its state.
func TestLimits(t *testing.T) {
	for _, tt := range []struct{ name, body, mention string }{
		{"endless loop", "for (;;);", "longer than 500ms"},
		{"endless loop that catches", "for (;;) try { for (;;); } catch (e) {} finally { for (;;); }", "longer than 500ms"},
		{"endless recursion", "const r = () => r(); r()", "too deep"},
		{"recursion of 30 calls", "const r = n => n ? r(n - 1) : 0; r(30); return {}", "too deep"},
		{"recursion through built-ins", "const r = () => [1].map(r); r()", "too deep"},
		{"loop in toJSON", "return {toJSON() { for (;;); }}", "longer than 500ms"},
		{"loop in a getter", "return {get a() { for (;;); }}", "longer than 500ms"},
		{"loop in the text of an exception", "throw {toString() { for (;;); }}", "longer than 500ms"},
		{"loop of promises", "Promise.resolve().then(function f() { return Promise.resolve().then(f) }); return {}", "longer than 500ms"},
		{"backtracking", "return {m: /(?=a)(a+)+$/.test('a'.repeat(60) + '!')}", "longer than 500ms"},
		{"an object that contains itself", "const a = {}; a.a = a; return a", "contains itself"},
		{"an object of endless size", "let a = {}; for (let i = 0; i < 60; i++) a = [a, a]; return {a}", "time of a script is over"},
		{"an array of endless length", "let a = []; a.length = 5e7; return {a}", "time of a script is over"},
		{"an array of endless length as text", "let a = []; a.length = 5e7; return {a: JSON.stringify(a).length}", "time of a script is over"},
		{"deep nesting", "let a = []; for (let i = 0; i < 1000; i++) a = [a]; return {a}", "nested too deep"},
		{"a text too long for eval", "eval(';'.repeat(1001))", "at most 1000 characters"},
		{"a text too long for Function", "Function(';'.repeat(1001))", "at most 1000 characters"},
		{"a text too long for a generator", "(function*(){}).constructor(';'.repeat(1001))", "at most 1000 characters"},
		{"a buffer that no machine has", "new ArrayBuffer(1e15)", "RangeError"},
		{"an array that no machine has", "new Array(-1)", "RangeError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := mapTo(t, "globalThis.calls = (globalThis.calls || 0) + 1\nif (calls === 2) return {calls};\n"+tt.body)
			began := time.Now()
			_, err := e.Inbound(nil, inText(""))
			refused(t, err, tt.mention)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := one(t, e, inText("")); got != `{"calls":2}` {
				t.Errorf("afterwards: %s", got)
			}
		})
	}
	if got := one(t, mapTo(t, "const r = n => n ? r(n - 1) : 0; r(20); return {}"), inText("")); got != "{}" {
		t.Errorf("recursion of 20 calls: %s", got)
	}
}

// The evaluation of a script is bounded as its calls are, and is tried again for the next message.
func TestEvaluation(t *testing.T) {
	e := engine(t, Options{Incoming: "for (;;);"})
	for range 2 {
		_, err := e.Inbound(nil, inText(""))
		refused(t, err, "longer than 500ms")
	}
	// Both scripts share the globals of a runtime: what one declares with let the other cannot declare again.
	e = engine(t, Options{Incoming: "let n = 0; function mapToDittoProtocolMsg() { return {n: ++n} }", Outgoing: "let n = 0;"})
	_, err := e.Inbound(nil, inText(""))
	refused(t, err, "SyntaxError", "already been declared")
}

func TestState(t *testing.T) {
	script := Options{Incoming: "let n = 0; function mapToDittoProtocolMsg() { return {n: ++n} }", Outgoing: "function mapFromDittoProtocolMsg() { return {textPayload: '' + ++n} }"}
	e := engine(t, script)
	for i := 1; i < 6; i += 2 { // both directions share the state of a runtime
		if got := one(t, e, inText("")); got != fmt.Sprintf(`{"n":%d}`, i) {
			t.Errorf("call %d: %s", i, got)
		}
		if out, err := e.Outbound(nil, `{"topic":"a/b/things/twin/events/created","headers":{},"path":"/"}`); err != nil || out[0].Text != fmt.Sprint(i+1) {
			t.Errorf("call %d: %v, %v", i+1, out, err)
		}
	}
}

// Two calls at the same time use two runtimes, each with its own state; a third waits for one of them, but not for ever.
func TestRuntimes(t *testing.T) {
	e := engine(t, Options{Runtimes: 2, Incoming: "let n = 0; function mapToDittoProtocolMsg() { return {n: ++n} }"})
	var members []*member
	for range 2 {
		m, err := e.acquire(nil)
		if err != nil || m != nil {
			t.Fatalf("got %v, %v: runtimes are made when they are needed", m, err)
		}
		if m, err = newMember(e.libraries, e.scripts, e.plain, e.limits); err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	began := time.Now()
	e.wait = 50 * time.Millisecond
	if _, err := e.Inbound(nil, inText("")); err != ErrBusy || time.Since(began) < e.wait {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
	e.wait = longestWait
	stop := make(chan struct{})
	ended := make(chan error)
	go func() {
		_, err := e.Inbound(stop, inText(""))
		ended <- err
		_, err = e.Outbound(stop, "{}")
		ended <- err
	}()
	close(stop)
	for range 2 {
		if err := <-ended; err != ErrAbandoned {
			t.Errorf("who was told to stop waiting got %v", err)
		}
	}
	done := make(chan string)
	go func() {
		out, err := e.Inbound(nil, inText(""))
		done <- fmt.Sprintf("%s %v", out, err)
	}()
	e.idle <- members[0]
	if got := <-done; got != `[{"n":1}] <nil>` {
		t.Errorf("who waited got %s", got)
	}
	if got := one(t, e, inText("")); got != `{"n":2}` {
		t.Errorf("the same runtime: %s", got)
	}
	<-e.idle
	e.idle <- members[1]
	if got := one(t, e, inText("")); got != `{"n":1}` {
		t.Errorf("the other runtime: %s", got)
	}
}

// A runtime in which goja failed is thrown away, another one takes its place.
func TestBrokenRuntime(t *testing.T) {
	e := engine(t, Options{Incoming: "let n = 0; function mapToDittoProtocolMsg() { return {n: ++n} }"})
	one(t, e, inText(""))
	for range 3 {
		if err := e.with(nil, func(*member) error { panic("a fault of goja") }); err == nil || strings.Contains(err.Error(), "fault of goja") {
			t.Errorf("got %v", err)
		}
		if got := one(t, e, inText("")); got != `{"n":1}` {
			t.Errorf("got %s", got)
		}
	}
}

func TestConcurrentCalls(t *testing.T) {
	e := engine(t, Options{Runtimes: 3,
		Incoming: "let n = 0; function mapToDittoProtocolMsg(h, t) { n++; if (t === 'throw') throw new Error(h.id); return {id: h.id, n, parsed: JSON.parse(t)} }",
		Outgoing: "function mapFromDittoProtocolMsg(ns, name) { return {textPayload: name} }"})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 100 {
				id := fmt.Sprintf("%d-%d", worker, i)
				m := &Message{Headers: map[string]string{"id": id}, Text: `{"x":[1,2]}`, HasText: true, Bytes: []byte(id), HasBytes: true}
				if i%10 == 0 {
					m.Text = "throw"
				}
				out, err := e.Inbound(nil, m)
				if i%10 == 0 && (err == nil || !strings.Contains(err.Error(), id)) || i%10 != 0 && (err != nil || !strings.Contains(string(out[0]), `"id":"`+id+`"`)) {
					t.Errorf("%s: %s, %v", id, out, err)
				}
				if out, err := e.Outbound(nil, `{"topic":"a/`+id+`/things/twin/events/created","headers":{},"path":"/"}`); err != nil || out[0].Text != id {
					t.Errorf("%s: %v, %v", id, out, err)
				}
			}
		})
	}
	all.Wait()
	if n := len(e.idle) + len(e.unmade); n != 3 {
		t.Errorf("%d runtimes are left", n)
	}
}

func TestLibraries(t *testing.T) {
	for _, tt := range []struct {
		name, body, want string
		o                Options
	}{
		{"long", "return {v: Long.fromString('9223372036854775807').toString(), same: Long === dcodeIO.Long, b: typeof dcodeIO.ByteBuffer}",
			`{"v":"9223372036854775807","same":true,"b":"undefined"}`, Options{Long: true}},
		{"bytebuffer", "const b = Ditto.asByteBuffer(bytePayload); return {i: b.readInt16(), rest: b.readUTF8String(2), l: typeof Long}",
			`{"i":258,"rest":"hi","l":"undefined"}`, Options{ByteBuffer: true}},
		{"both", "return {v: Ditto.asByteBuffer(bytePayload).readInt32().toString(), l: new dcodeIO.ByteBuffer(8).writeInt64(Long.MAX_VALUE).flip().readInt64().toString()}",
			`{"v":"16935017","l":"9223372036854775807"}`, Options{ByteBuffer: true, Long: true}},
		{"bytes of a buffer", "return {b: Ditto.arrayBufferToString(dcodeIO.ByteBuffer.fromHex('414243').toArrayBuffer())}", `{"b":"ABC"}`, Options{ByteBuffer: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Incoming = "function mapToDittoProtocolMsg(headers, textPayload, bytePayload) {" + tt.body + "}"
			if got := one(t, engine(t, tt.o), &Message{Bytes: []byte("\x01\x02hi"), HasBytes: true}); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// The files are those of the releases, by the hashes that git has for them there.
func TestLibrariesAreUnchanged(t *testing.T) {
	for name, want := range map[string]string{
		"lib/bytebuffer/bytebuffer.js": "bb3e3aa6a79e1debb443f01263cbc4907ceee012", "lib/bytebuffer/LICENSE": "d645695673349e3947e8e5ae42332d0ac3164cd7",
		"lib/long/long.js": "555485a7edd7eac89e2a49e987ba99c426e94bd2", "lib/long/LICENSE": "d645695673349e3947e8e5ae42332d0ac3164cd7",
	} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestCodeFromTexts(t *testing.T) {
	const script = `function mapToDittoProtocolMsg() {
		const made = new Function('a', 'b', 'return a + b');
		return {eval: eval('1 + 1'), made: made(2, 3), called: Function('return 7')(), instance: made instanceof Function, same: made.constructor === Function, other: eval(5)}
	}`
	const want = `{"eval":2,"made":5,"called":7,"instance":true,"same":true,"other":5}`
	if got := one(t, engine(t, Options{Incoming: script}), inText("")); got != want {
		t.Errorf("got %s", got)
	}
	unsafe := limits
	unsafe.Unsafe = true
	e, err := New(Options{Incoming: "function mapToDittoProtocolMsg() { return {e: eval(' '.repeat(2000) + '3')} }", Runtimes: 1}, unsafe)
	if err != nil {
		t.Fatal(err)
	}
	if got := one(t, e, inText("")); got != `{"e":3}` {
		t.Errorf("got %s", got)
	}
}
