package javascript

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dop251/goja"
	"github.com/google/go-cmp/cmp"
)

// Objects that Go keeps must not differ from goja's own, nor JSON.parse and JSON.stringify from goja's: each expression is
// evaluated with both; p is what JSON.parse made of the text.
func TestJSON(t *testing.T) {
	const text = `{"b":1,"a":{"x":[1,{"y":null}],"e":{}},"10":"ten","2":"two","s":"q\"\u00e4\/\n\ud83d\ude00ß","f":-1.25e-2,"z":0,"t":true,"n":false,"b":2, "w" : [ ] ,"__proto__x":1}`
	expressions := []string{
		"p", "p.a", "p.a.x[1].y", "p.b", "p['10']", "p[2]", "p.s", "p.s.length", "p.f", "p.missing", "p.toString()", "Object.keys(p)", "Object.entries(p.a)", "Object.values(p)",
		"p.hasOwnProperty('b')", "'zz' in p", "'a' in p", "p.a === p.a", "p.a.x === p.a.x", "{...p}", "Object.assign({}, p, {b: 3})", "(({a, ...rest}) => rest)(p)",
		"(delete p.a, p)", "(p.b = 7, p)", "(p.q = {r: 1}, p)", "(p.a.x.push(4), p)", "(p.a.x[1].y = 'new', p)", "(p.a.e.k = p.b, p)", "(delete p.missing, p)", "(p[3] = 'three', Object.keys(p))",
		"(() => { const all = []; for (const k in p) all.push(k); return all })()", "Array.isArray(p.a.x)", "p.a.x.map(v => typeof v)", "p.a.x.concat([5])", "typeof p", "p instanceof Object",
		"Object.prototype.toString.call(p)", "Object.getPrototypeOf(p) === Object.prototype", "Object.getOwnPropertyDescriptor(p, 'b')", "p.constructor === Object", "p.a.x.constructor === Array",
		"(p.toJSON = () => 'mine', p)", "(p.self = undefined, p.f = () => 1, p)", "new Map([[p, 1]]).get(p)", "new WeakMap([[p.a, 2]]).get(p.a)", "p.__proto__ === Object.prototype",
		"JSON.parse('{\"__proto__\": {\"polluted\": 1}}').polluted", "({}).polluted", "Object.keys(JSON.parse('{\"__proto__\": 1}'))",
		"JSON.stringify(p.a)", "JSON.stringify(p, null, 2)", "JSON.stringify(p, ['a', 'x'])", "JSON.stringify(p.a, (k, v) => k === 'e' ? undefined : v)", "JSON.stringify(undefined)", "JSON.stringify(() => 1)",
		"JSON.stringify(null)", "JSON.stringify('ü\\u0001\"')", "JSON.stringify([undefined, () => 1, NaN, -0, 1e21, 1e-7, Infinity])", "JSON.stringify(new Date(0))", "JSON.stringify({d: new Date(0), u: undefined})",
		"JSON.stringify([new Number(1), new String('s'), new Boolean(false)])", "JSON.stringify(new Map([[1, 2]]))", "JSON.stringify(Object.create({inherited: 1}))", "JSON.stringify({toJSON: k => [k]})",
		"JSON.stringify({a: {toJSON: k => k}})", "JSON.stringify('x'.repeat(3))", "JSON.stringify(new Error('e'))", "JSON.stringify(/x/)", "JSON.stringify([,1])",
		"JSON.parse('5')", "JSON.parse('\"x\"')", "JSON.parse('null')", "JSON.parse('[]')", "JSON.parse(' [1 , 2] ')", "JSON.parse('-0') === 0 && 1 / JSON.parse('-0')", "JSON.parse('12345678901234567890') + 1",
		"JSON.parse('{\"a\":1}', (k, v) => k ? v + 1 : v)", "JSON.parse(5)", "JSON.parse('{\"a\":[1,2]}').a.length", "JSON.parse('\"\\\\u0041\\\\ud800\"').length",
		"JSON.parse('123456789012345')", "JSON.parse('9007199254740993')", "JSON.parse('1.50')", "Object.keys(JSON.parse('{\"01\":1,\"1\":2,\"4294967295\":3,\"0\":4}'))",
	}
	many := "JSON.parse('{"
	for i := range 40 {
		many += fmt.Sprintf(`"k%d":%d,`, i, i)
	}
	many += `"k3":"last"}')`
	expressions = append(expressions, many, many+".k39", "Object.keys("+many+").length",
		"(o => (delete o.k5, o.k41 = 1, delete o.k41, o.k5 = 2, Object.keys(o).join()))("+many+")",
		"(o => { for (const k in o) if (k !== 'k7') delete o[k]; o.k1 = 'again'; o.z = 1; o[''] = 2; return [Object.keys(o).join(), JSON.stringify(o), 'k2' in o, typeof o.k2, o.k1, o.k7] })("+many+")",
		"(o => { delete o.k0; delete o.k39; delete o.k0; o.k0 = 5; delete o.k3; return [Object.keys(o).join(), JSON.stringify(o), 'k3' in o, '' in o, o['']] })("+many+")")
	for _, expression := range expressions {
		t.Run(expression, func(t *testing.T) {
			body := "const p = JSON.parse(textPayload); let result; try { result = " + expression + "; } catch (e) { result = 'threw ' + e.name; }\n" +
				"return {result: result === undefined ? 'undefined' : result}"
			made, err := goja.New().RunString("(function (textPayload) { const wrapped = (() => {" + body + "})(); return JSON.stringify(wrapped) })")
			if err != nil {
				t.Fatal(err)
			}
			reference, _ := goja.AssertFunction(made)
			want, err := reference(goja.Undefined(), goja.New().ToValue(text))
			if err != nil {
				t.Fatal(err)
			}
			for name, prefix := range map[string]string{"kept by Go": "", "plain": "/* Symbol */"} {
				if got := one(t, mapTo(t, prefix+body), inText(text)); !cmp.Equal(decoded(t, got), decoded(t, want.String())) {
					t.Errorf("%s: %s\ngoja: %s", name, got, want)
				}
			}
		})
	}
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// JSON.stringify writes what goja's writes, character by character, also of what the script looked at only in part.
func TestStringify(t *testing.T) {
	documents := []string{
		`{"b":1,"a":2}`, " { \"b\" : [ 1 , 2 ] ,\n\t\"a\" : { } , \"c\":[ ]}", `{"a":1,"b":2,"a":3}`, `{"b":{"x":1,"x":{"y":1,"y":2}},"c":[{"z":1,"z":2}]}`,
		`{"10":1,"b":2,"2":3,"a":4,"01":5,"-1":6,"4294967294":7,"4294967295":8,"1.5":9,"0":10}`, `{"x":{"2":[{"b":0,"1":1}],"1":0}}`,
		`{"n":[1.50,1.0,10,100,-0,0.0,-0.0,0,-1,1e3,1E+2,1e-7,0.000001,0.0000012,-0.00001,0.1,21.75,1e21,123456789012345678901,12345678901234567890,9007199254740993,1.7976931348623157e308,5e-324,0.30000000000000004,100.5,123456789.123456]}`,
		`{"s":["\u0041\/\b\f\n\r\t\"\\","\ud83d\ude00","\u2028\u007f\u0001","ü😀"]}`, `{"\u0061":1,"a":2,"\b\n":3,"ü":4,"\/":5}`,
		`{"t":true,"f":false,"n":null,"":{"":[]}}`, `[1.50, {"b":1, "1":2} ,[[ ]]]`, `"\u0041"`, `1.50`, ` null `, `{"deep":[[[[{"a":[{"a":[1.0]}]}]]]]}`,
	}
	many := "{"
	for i := range 40 {
		many += fmt.Sprintf(`"k%d": %d, `, i%30, i)
	}
	documents = append(documents, many+`"7":0}`)
	for _, document := range documents {
		for _, body := range []string{
			"JSON.stringify(p)", "JSON.stringify({p})", "JSON.stringify([p, p])", "(p && p.n, JSON.stringify(p))", "(Object.keys(Object(p)), JSON.stringify(p))",
			"(function walk(v) { if (v && typeof v === 'object') for (const k in v) walk(v[k]) }(p), JSON.stringify(p))",
			"(p && typeof p === 'object' && (p.added = [1.50], p['3'] = 0), JSON.stringify(p))", "JSON.stringify(typeof p === 'string' ? p + '\\ud800' : {...p})",
		} {
			body := "const p = JSON.parse(textPayload); return {result: " + body + "}"
			made, err := goja.New().RunString("(function (textPayload) { const r = (() => {" + body + "})().result; return r })")
			if err != nil {
				t.Fatal(err)
			}
			reference, _ := goja.AssertFunction(made)
			result, err := reference(goja.Undefined(), goja.New().ToValue(document))
			if err != nil {
				t.Fatal(err)
			}
			want := result.String()
			for name, prefix := range map[string]string{"kept by Go": "", "plain": "/* Symbol */"} {
				if got := decoded(t, one(t, mapTo(t, prefix+body), inText(document))).(map[string]any)["result"]; got != want {
					t.Errorf("%s %s of %s:\n%s\ngoja: %s", name, body, document, got, want)
				}
			}
		}
	}
}

// Half a character stays what it is; goja's JSON.parse replaces it.
func TestStringifyHalfCharacters(t *testing.T) {
	const document = `{"s":["\ud800","\udc00x","x\ud800\ud83d\ude00"]}`
	const want = `{"s":["\ud800","\udc00x","x\ud80` + "0\U0001F600" + `"]}`
	for _, look := range []string{"", "p.s, "} {
		got := decoded(t, one(t, mapTo(t, "const p = JSON.parse(textPayload); return {result: ("+look+"JSON.stringify(p))}"), inText(document)))
		if got.(map[string]any)["result"] != want {
			t.Errorf("got %s", got)
		}
	}
}

// The time to read a text does not depend on how deep it is nested.
func TestDeepTexts(t *testing.T) {
	nested := func(open, end string, depth int) string {
		return strings.Repeat(open, depth) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(end, depth)
	}
	for _, tt := range []struct{ name, script, open, end string }{
		{"arrays", "", "[", "]"},
		{"plain objects", "/* Symbol */", `{"a":`, "}"},
		{"both", "/* Symbol */", `[{"a":`, "}]"},
	} {
		e := mapTo(t, tt.script+"JSON.parse(textPayload); return null")
		least := func(text string) time.Duration {
			took := time.Hour
			for range 5 {
				began := processorTime()
				if _, err := e.Inbound(nil, inText(text)); err != nil {
					t.Fatal(err)
				}
				took = min(took, processorTime()-began)
			}
			return took
		}
		flat, deep := least(nested(tt.open, tt.end, 1)), least(nested(tt.open, tt.end, 250))
		if deep > 20*max(flat, time.Millisecond) {
			t.Errorf("%s: %v of processor time, %v when nested deep", tt.name, flat, deep)
		}
	}
	e := mapTo(t, "return {}")
	err := e.with(nil, func(m *member) error {
		m.over.Store(true)
		defer m.over.Store(false)
		m.value("[1]")
		return nil
	})
	refused(t, err, "time of a script is over")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Deleting properties one by one does not make anew what finds the others.
func TestManyDeletions(t *testing.T) {
	const n = 4000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	o := &object{raw: "{" + b.String()[1:] + "}"}
	o.open()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range n - 1 {
		o.Delete(fmt.Sprintf("k%d", i))
	}
	runtime.ReadMemStats(&after)
	if keys := o.Keys(); !slices.Equal(keys, []string{fmt.Sprintf("k%d", n-1)}) || len(o.properties) > few {
		t.Errorf("%d are left: %.5v, in %d places", len(keys), keys, len(o.properties))
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 10<<20 {
		t.Errorf("it took %d bytes", made)
	}
}

// What goja's objects can and objects kept by Go cannot makes a script one with plain objects.
func TestPlainObjects(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{"const p = Object.freeze(JSON.parse(textPayload)); p.a = 2; return {p, frozen: Object.isFrozen(p)}", `{"p":{"a":1},"frozen":true}`},
		{"const p = JSON.parse(textPayload); p[Symbol.iterator] = function*() { yield 7 }; return {all: [...p]}", `{"all":[7]}`},
		{"return {p: Object.defineProperty(JSON.parse(textPayload), 'x', {get: () => 5, enumerable: true})}", `{"p":{"a":1,"x":5}}`},
		{"return Object.seal(Ditto.buildDittoProtocolMsg('a', 'b', 'c', 'none', 'd', 'e', '/', headers))", `{"topic":"a/b/c/d/e","path":"/","headers":{"a":"1"}}`},
	} {
		if got := one(t, mapTo(t, tt.body), inText(`{"a":1}`)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.body, got, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	e := mapTo(t, "return {v: JSON.parse(textPayload)}")
	for _, text := range []string{"", " ", "{", "[", "[1,]", "{,}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, "01", "1.", ".5", "-", "1e", "+1", "tru", "nulll", "1 2", `"`, `"\"`, `"\x"`, `"\u12"`,
		`"\u+123"`, "\"\n\"", `"a" "b"`, "[1}", "{]", "NaN", "'a'", "\u00a01", strings.Repeat("[", 600) + strings.Repeat("]", 600), strings.Repeat(`{"a":`, 1_000_000)} {
		_, err := e.Inbound(nil, inText(text))
		if err == nil || !strings.Contains(err.Error(), "SyntaxError") {
			t.Errorf("%.40q: got %v", text, err)
		}
	}
	for _, text := range []string{strings.Repeat("[", 500) + strings.Repeat("]", 500), "\t{ \n} ", `"\u0000\ud800"`, "0", "-0.0e+10", "\"\x7f\u2028\""} {
		if _, err := e.Inbound(nil, inText(text)); err != nil {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if got := one(t, mapTo(t, "return {infinite: JSON.parse(textPayload) === Infinity}"), inText("1e400")); got != `{"infinite":true}` {
		t.Errorf("a number that is too large: %s", got) // goja's own JSON.parse refuses it
	}
	if got := one(t, e, inText("\"a\xffb\"")); got != "{\"v\":\"a\uFFFDb\"}" {
		t.Errorf("bytes that are no UTF-8: %s", got)
	}
}

// A payload with very many keys is no attack.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, `,"%d":%d`, i, i)
	}
	e := mapTo(t, "const p = JSON.parse(textPayload); p.x = 1; return {n: Object.keys(p).length, last: p['19999']}")
	if got := one(t, e, inText("{"+b.String()[1:]+"}")); got != `{"n":20001,"last":19999}` {
		t.Errorf("got %s", got)
	}
}

// FuzzScript: no script and no message makes Go panic, or runs much longer than it may; what comes out is JSON.
func FuzzScript(f *testing.F) {
	for _, seed := range []struct{ script, payload string }{
		{"return JSON.parse(textPayload)", `{"a":[1,{"b":"\u00e4"}]}`},
		{"return {v: JSON.parse(textPayload)}", `[1e5,-0,"\ud800",null]`},
		{"const p = JSON.parse(textPayload); for (const k in p) { delete p[k]; p[k + 'x'] = [p] } return p", `{"a":1,"1":2}`},
		{"return Ditto.buildDittoProtocolMsg(headers, textPayload, bytePayload, contentType)", ""},
		{"for (;;) { throw new Error(textPayload) }", "x"},
		{"return [...textPayload].map(c => ({c}))", "äß"},
		{"return {b: Ditto.arrayBufferToString(bytePayload), c: Ditto.stringToArrayBuffer(textPayload)}", "\x00\xff"},
	} {
		f.Add(seed.script, seed.payload)
	}
	f.Fuzz(func(t *testing.T, script, payload string) {
		if len(script) > 2000 { // see the package comment: time and memory of goja's parser
			return
		}
		e, err := New(Options{Incoming: "function mapToDittoProtocolMsg(headers, textPayload, bytePayload, contentType) {\n" + script + "\n}", Runtimes: 1, MaxInbound: 10},
			Limits{Time: 50 * time.Millisecond, StackDepth: 25})
		if err != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 2 {
				out, err := e.Inbound(nil, &Message{Text: payload, HasText: true, Bytes: []byte(payload), HasBytes: true, Headers: map[string]string{"h": payload}})
				for _, text := range out {
					if err != nil || !json.Valid(text) {
						t.Errorf("got %q, %v", text, err)
					}
				}
			}
		}()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatalf("it takes too long: %q", script)
		}
	})
}
