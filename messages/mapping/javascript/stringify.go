package javascript

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"

	"hawser/messages"
)

// stringifyJSON is JSON.stringify.
func (m *member) stringifyJSON(call goja.FunctionCall) goja.Value {
	if !goja.IsUndefined(call.Argument(1)) || !goja.IsUndefined(call.Argument(2)) {
		result, err := m.stringify(m.json, call.Arguments...)
		m.rethrow(err)
		return result
	}
	b, ok := encoder{m: m}.value(nil, call.Argument(0), "", 0)
	if !ok {
		return goja.Undefined()
	}
	return m.vm.ToValue(string(b))
}

// encoder writes values as JSON.stringify does. It throws.
type encoder struct {
	m *member
	// verbatim: what the script did not look at is written as the JSON text that it was, for readers that parse it.
	verbatim bool
}

// value appends the JSON text of a value; false: the value has none.
func (e encoder) value(b []byte, v goja.Value, key string, depth int) ([]byte, bool) {
	m := e.m
	o, ok := v.(*goja.Object)
	if !ok {
		return e.scalar(b, v)
	}
	if depth > maxDepth {
		m.throw(m.typeError, "An object that contains itself, or is nested too deep, has no JSON.")
	}
	m.checkTime()
	k, isKept := kept(o)
	if !isKept || k.raw == "" {
		if f, ok := goja.AssertFunction(o.Get("toJSON")); ok {
			result, err := f(o, m.vm.ToValue(key))
			m.rethrow(err)
			if o, ok = result.(*goja.Object); !ok {
				return e.scalar(b, result)
			}
			k, isKept = kept(o)
		}
	}
	switch class := o.ClassName(); {
	case isKept:
		return e.kept(b, k, depth), true
	case class == "Array":
		return e.array(b, o, depth), true
	case class == "Object":
		b = append(b, '{')
		first := len(b)
		for _, name := range o.Keys() {
			b = e.property(b, first, name, "", o.Get(name), depth)
		}
		return append(b, '}'), true
	}
	if _, ok := goja.AssertFunction(o); ok {
		return b, false
	}
	result, err := m.stringify(m.json, o) // dates, wrapped numbers and the like
	m.rethrow(err)
	if goja.IsUndefined(result) {
		return b, false
	}
	return append(b, result.String()...), true
}

func (e encoder) kept(b []byte, k *object, depth int) []byte {
	if k.raw != "" {
		return e.raw(b, k.raw)
	}
	b = append(b, '{')
	first := len(b)
	ask := func(p property) bool { // for the keys, before anything is written: their order is another one, or code may change them
		_, isIndex := index(p.key)
		_, isObject := p.value.(*goja.Object)
		return isIndex || isObject
	}
	if !e.verbatim && slices.ContainsFunc(k.properties, ask) {
		for _, key := range k.Keys() {
			if i := k.find(key); i >= 0 {
				p := &k.properties[i]
				b = e.property(b, first, p.key, p.raw, p.value, depth)
			}
		}
		return append(b, '}')
	}
	for i := 0; i < len(k.properties); i++ { // the code of a value may delete some
		if p := &k.properties[i]; !p.gone() {
			b = e.property(b, first, p.key, p.raw, p.value, depth)
		}
	}
	return append(b, '}')
}

func (e encoder) property(b []byte, first int, key, raw string, v goja.Value, depth int) []byte {
	begin := len(b)
	if begin > first {
		b = append(b, ',')
	}
	b = append(e.text(b, key), ':')
	if raw != "" {
		if _, mayHaveChanged := v.(*goja.Object); !mayHaveChanged {
			return e.raw(b, raw)
		}
	}
	b, ok := e.value(b, v, key, depth+1)
	if !ok {
		return b[:begin]
	}
	return b
}

func (e encoder) array(b []byte, o *goja.Object, depth int) []byte {
	b = append(b, '[')
	for i := range o.Get("length").ToInteger() {
		if i > 0 {
			b = append(b, ',')
		}
		e.m.checkTime()
		name := strconv.FormatInt(i, 10)
		var ok bool
		if b, ok = e.value(b, o.Get(name), name, depth+1); !ok {
			b = append(b, "null"...)
		}
	}
	return append(b, ']')
}

func (e encoder) scalar(b []byte, v goja.Value) ([]byte, bool) {
	switch {
	case v == nil || goja.IsUndefined(v):
		return b, false
	case goja.IsNull(v):
		return append(b, "null"...), true
	case goja.IsString(v):
		text := v.String()
		if !e.verbatim && strings.Contains(text, "\uFFFD") { // which also stands for half a character
			s := v.ToString().(goja.String)
			units := make([]uint16, s.Length())
			for i := range units {
				units[i] = s.CharAt(i)
			}
			return appendUnits(b, units), true
		}
		return e.text(b, text), true
	case goja.IsNumber(v):
		if f := v.ToFloat(); math.IsNaN(f) || math.IsInf(f, 0) {
			return append(b, "null"...), true
		}
		return append(b, v.String()...), true
	case goja.IsBigInt(v):
		e.m.throw(e.m.typeError, "A BigInt has no JSON.")
	}
	if _, ok := v.(*goja.Symbol); ok {
		return b, false
	}
	return append(b, v.String()...), true // true or false
}

// raw appends what JSON.stringify makes of the value that a valid JSON text stands for.
func (e encoder) raw(b []byte, raw string) []byte {
	if e.verbatim {
		return append(b, raw...)
	}
	c := compactor{m: e.m, scanner: scanner{text: raw}, spans: e.m.spans}
	b, _ = c.value(slices.Grow(b, len(raw)), 0)
	if cap(c.spans) <= maxSpans {
		clear(c.spans[:cap(c.spans)])
		e.m.spans = c.spans
	}
	return b
}

// maxSpans is how many a runtime keeps.
const maxSpans = 64

// compactor writes a valid JSON text anew without making values of it, in one pass.
type compactor struct {
	scanner
	m     *member
	spans []span // the properties of the objects that are being written
}

// span is where a property is in what was written.
type span struct {
	key        string
	begin, end int
}

// value appends the value that begins at i and returns where it ends.
func (c *compactor) value(b []byte, i int) ([]byte, int) {
	switch c.text[i] {
	case '{':
		return c.object(b, i)
	case '[':
		b = append(b, '[')
		first := len(b)
		for i = c.space(i + 1); c.text[i] != ']'; i = c.next(i) {
			if len(b) > first {
				b = append(b, ',')
			}
			b, i = c.value(b, i)
		}
		return append(b, ']'), i + 1
	case '"':
		end := c.str(i)
		return appendRawText(b, c.text[i:end]), end
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		end := c.number(i)
		raw := c.text[i:end]
		if isPlainNumber(raw) {
			return append(b, raw...), end
		}
		b, _ = encoder{m: c.m}.scalar(b, c.m.scalar(raw))
		return b, end
	}
	end := c.scanner.value(i, 0)
	return append(b, c.text[i:end]...), end
}

func (c *compactor) object(b []byte, i int) ([]byte, int) {
	b = append(b, '{')
	first, outer := len(b), len(c.spans)
	regular := true
	for i = c.space(i + 1); c.text[i] != '}'; i = c.next(i) {
		if len(b) > first {
			b = append(b, ',')
		}
		begin := len(b)
		key, end := c.key(i)
		b = append(appendRawText(b, c.text[i:end]), ':')
		b, i = c.value(b, c.space(c.space(end)+1))
		c.spans = append(c.spans, span{key, begin, len(b)})
		if _, ok := index(key); ok {
			regular = false
		}
	}
	if spans := c.spans[outer:]; !regular || repeated(spans) {
		b = arrange(b, first, spans)
	}
	c.spans = c.spans[:outer]
	return append(b, '}'), i + 1
}

// repeated reports whether two properties have the same key.
func repeated(spans []span) bool {
	if len(spans) > few {
		seen := make(map[string]struct{}, len(spans))
		for _, s := range spans {
			seen[s.key] = struct{}{}
		}
		return len(seen) < len(spans)
	}
	for i := range spans {
		for k := range i {
			if spans[i].key == spans[k].key {
				return true
			}
		}
	}
	return false
}

// arrange puts the properties of an object, which begin at first, into the order of JavaScript: indices by their number,
// then the others by when their key came first, each with its last value.
func arrange(b []byte, first int, spans []span) []byte {
	at := make(map[string]int, len(spans))
	var indices, others []span
	for _, s := range spans {
		_, isIndex := index(s.key)
		to := &others
		if isIndex {
			to = &indices
		}
		if i, ok := at[s.key]; ok {
			(*to)[i] = s
			continue
		}
		at[s.key] = len(*to)
		*to = append(*to, s)
	}
	slices.SortFunc(indices, func(a, b span) int {
		x, _ := index(a.key)
		y, _ := index(b.key)
		return cmp.Compare(x, y)
	})
	arranged := make([]byte, 0, len(b)-first)
	for i, s := range append(indices, others...) {
		if i > 0 {
			arranged = append(arranged, ',')
		}
		arranged = append(arranged, b[s.begin:s.end]...)
	}
	return append(b[:first], arranged...)
}

// isPlainNumber: any JavaScript writes the number the same way. It knows only the usual ones.
func isPlainNumber(raw string) bool {
	if len(raw) >= 16 {
		return false
	}
	for i := range len(raw) {
		switch raw[i] {
		case '.':
			return raw[len(raw)-1] != '0' && !strings.ContainsAny(raw[i:], "eE") && !strings.HasPrefix(raw[i-1:], "0.0000")
		case 'e', 'E':
			return false
		}
	}
	return raw != "-0"
}

// appendRawText appends a JSON string as JSON.stringify writes it.
func appendRawText(b []byte, raw string) []byte {
	if strings.IndexByte(raw, '\\') < 0 {
		return append(b, raw...)
	}
	return appendUnits(b, unescape(raw[1:len(raw)-1]))
}

func (e encoder) text(b []byte, text string) []byte {
	if !e.verbatim && (strings.IndexByte(text, '\b') >= 0 || strings.IndexByte(text, '\f') >= 0) { // \u0008 is the same to a parser
		return appendUnits(b, utf16.Encode([]rune(text)))
	}
	return messages.AppendJSONString(b, text)
}

// appendUnits appends the text of UTF-16 units as JSON.stringify writes it: half a character stays what it is.
func appendUnits(b []byte, units []uint16) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) && i+1 < len(units) {
			if pair := utf16.DecodeRune(r, rune(units[i+1])); pair != utf8.RuneError {
				b = utf8.AppendRune(b, pair)
				i++
				continue
			}
		}
		switch at := strings.IndexRune("\b\f\n\r\t\"\\", r); {
		case at >= 0:
			b = append(b, '\\', `bfnrt"\`[at])
		case r < ' ' || utf16.IsSurrogate(r):
			b = append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
