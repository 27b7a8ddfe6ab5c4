package javascript

import (
	"errors"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"

	"hawser/messages"
)

// object is an object of a script that Go keeps: one that JSON.parse, Ditto.buildDittoProtocolMsg or the arguments of an
// entry point made. What a script does not look at stays JSON text, and is written again as it was.
type object struct {
	m          *member
	raw        string // the JSON text until somebody looks at a property
	properties []property
	places     map[string]int // of keys in properties; nil when these are few or one was deleted
}

// few properties are searched one by one.
const few = 16

// property is one of an object. At least one of raw and value is set; what raw says holds as long as value is none or
// cannot change.
type property struct {
	key   string
	raw   string
	value goja.Value
}

// needsPlainObjects finds scripts that do what objects kept by Go cannot: for them all objects are goja's own.
var needsPlainObjects = regexp.MustCompile(`freeze|seal|preventExtensions|defineProp|__define|Symbol|Reflect|Proxy`)

func (o *object) open() []property {
	if o.raw != "" {
		o.properties, o.places = properties(o.raw)
		o.raw = ""
	}
	return o.properties
}

func (o *object) find(key string) int {
	if len(o.open()) > few {
		if o.places == nil {
			o.places = places(o.properties)
		}
		if i, ok := o.places[key]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(o.properties, func(p property) bool { return p.key == key })
}

func places(properties []property) map[string]int {
	all := make(map[string]int, len(properties))
	for i := range properties {
		all[properties[i].key] = i
	}
	return all
}

// Get implements goja.DynamicObject.
func (o *object) Get(key string) goja.Value {
	i := o.find(key)
	if i < 0 {
		return nil
	}
	p := &o.properties[i]
	if p.value == nil {
		p.value = o.m.value(p.raw)
	}
	return p.value
}

// Set implements goja.DynamicObject.
func (o *object) Set(key string, value goja.Value) bool {
	p := property{key: key, value: value}
	if i := o.find(key); i >= 0 {
		o.properties[i] = p
	} else {
		o.properties = append(o.properties, p)
		if o.places != nil {
			o.places[key] = len(o.properties) - 1
		}
	}
	return true
}

// Has implements goja.DynamicObject.
func (o *object) Has(key string) bool { return o.find(key) >= 0 }

// Delete implements goja.DynamicObject.
func (o *object) Delete(key string) bool {
	if i := o.find(key); i >= 0 {
		o.properties, o.places = slices.Delete(o.properties, i, i+1), nil
	}
	return true
}

// Keys implements goja.DynamicObject: keys that are indices come first, in their order.
func (o *object) Keys() []string {
	keys := make([]string, 0, len(o.open()))
	var indices []uint32
	for i := range o.properties {
		if n, ok := index(o.properties[i].key); ok {
			indices = append(indices, n)
		} else {
			keys = append(keys, o.properties[i].key)
		}
	}
	if indices == nil {
		return keys
	}
	slices.Sort(indices)
	all := make([]string, 0, len(o.properties))
	for _, n := range indices {
		all = append(all, strconv.FormatUint(uint64(n), 10))
	}
	return append(all, keys...)
}

// index returns the number that a key stands for when it is one of an array.
func index(key string) (uint32, bool) {
	if key == "" || key[0] < '0' || key[0] > '9' || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(key, 10, 32)
	return uint32(n), err == nil && n < math.MaxUint32
}

// object makes an object of a script.
func (m *member) object(o object) *goja.Object {
	if !m.plain {
		o.m = m
		return m.vm.NewDynamicObject(&o)
	}
	made := m.vm.NewObject()
	for _, p := range o.open() {
		if p.value == nil {
			p.value = m.value(p.raw)
		}
		_ = made.DefineDataProperty(p.key, p.value, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
	}
	return made
}

var objectType = reflect.TypeFor[*object]()

// kept returns what Go keeps of an object.
func kept(o *goja.Object) (*object, bool) {
	if o.ExportType() != objectType {
		return nil, false
	}
	k, ok := o.Export().(*object)
	return k, ok
}

// maxDepth is how deep JSON may be nested; the protocol reads no more either.
const maxDepth = 512

// parseJSON is JSON.parse.
func (m *member) parseJSON(call goja.FunctionCall) goja.Value {
	text := call.Argument(0).ToString().String()
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	s := scanner{text: text}
	begin := s.space(0)
	end := s.value(begin, 0)
	if end < 0 || s.space(end) != len(text) {
		m.throw(m.syntaxError, "This is no JSON, or it is nested too deep; the first "+strconv.Itoa(max(s.seen, 0))+" characters are.")
	}
	if len(call.Arguments) > 1 {
		if _, ok := goja.AssertFunction(call.Arguments[1]); ok {
			result, err := m.parse(m.json, call.Arguments...)
			m.rethrow(err)
			return result
		}
	}
	return m.value(text[begin:end])
}

// value makes the value that a JSON text stands for.
func (m *member) value(raw string) goja.Value {
	switch raw[0] {
	case '{':
		return m.object(object{raw: raw})
	case '[':
		var elements []any
		for _, e := range (&scanner{text: raw}).elements() {
			elements = append(elements, m.value(e))
		}
		return m.vm.NewArray(elements...)
	case '"':
		return m.text(raw)
	case 't':
		return m.vm.ToValue(true)
	case 'f':
		return m.vm.ToValue(false)
	case 'n':
		return goja.Null()
	}
	if len(raw) < 16 && raw != "-0" && !strings.ContainsAny(raw, ".eE") {
		n, _ := strconv.ParseInt(raw, 10, 64)
		return m.vm.ToValue(n)
	}
	f, _ := strconv.ParseFloat(raw, 64) // one that is too large is infinite, as in any JavaScript
	return m.vm.ToValue(f)
}

func (m *member) text(raw string) goja.Value {
	inner := raw[1 : len(raw)-1]
	if strings.IndexByte(inner, '\\') < 0 {
		return m.vm.ToValue(inner)
	}
	return goja.StringFromUTF16(unescape(inner))
}

// stringifyJSON is JSON.stringify.
func (m *member) stringifyJSON(call goja.FunctionCall) goja.Value {
	if !goja.IsUndefined(call.Argument(1)) || !goja.IsUndefined(call.Argument(2)) {
		result, err := m.stringify(m.json, call.Arguments...)
		m.rethrow(err)
		return result
	}
	b, ok := m.appendJSON(nil, call.Argument(0), "", 0)
	if !ok {
		return goja.Undefined()
	}
	return m.vm.ToValue(string(b))
}

// appendJSON appends the JSON text of a value as JSON.stringify does; false: the value has none. It throws.
func (m *member) appendJSON(b []byte, v goja.Value, key string, depth int) ([]byte, bool) {
	o, ok := v.(*goja.Object)
	if !ok {
		return m.appendScalar(b, v)
	}
	if depth > maxDepth {
		m.throw(m.typeError, "An object that contains itself, or is nested too deep, has no JSON.")
	}
	if m.over.Load() {
		m.throw(m.typeError, errTime.Error()+".")
	}
	k, isKept := kept(o)
	if isKept && k.raw != "" {
		return append(b, k.raw...), true
	}
	if f, ok := goja.AssertFunction(o.Get("toJSON")); ok {
		result, err := f(o, m.vm.ToValue(key))
		m.rethrow(err)
		if o, ok = result.(*goja.Object); !ok {
			return m.appendScalar(b, result)
		}
		k, isKept = kept(o)
	}
	switch class := o.ClassName(); {
	case isKept:
		return m.appendKept(b, k, depth), true
	case class == "Array":
		return m.appendArray(b, o, depth), true
	case class == "Object":
		b = append(b, '{')
		first := len(b)
		for _, name := range o.Keys() {
			b = m.appendProperty(b, first, name, "", o.Get(name), depth)
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

func (m *member) appendKept(b []byte, k *object, depth int) []byte {
	if k.raw != "" {
		return append(b, k.raw...)
	}
	b = append(b, '{')
	first := len(b)
	for i := 0; i < len(k.properties); i++ { // the code of a value may delete some
		p := k.properties[i]
		raw := p.raw
		if _, ok := p.value.(*goja.Object); ok {
			raw = "" // the script may have changed it
		}
		b = m.appendProperty(b, first, p.key, raw, p.value, depth)
	}
	return append(b, '}')
}

// appendProperty appends a property whose value is raw, or v when raw is empty.
func (m *member) appendProperty(b []byte, first int, name, raw string, v goja.Value, depth int) []byte {
	begin := len(b)
	if begin > first {
		b = append(b, ',')
	}
	b = append(messages.AppendJSONString(b, name), ':')
	if raw != "" {
		return append(b, raw...)
	}
	b, ok := m.appendJSON(b, v, name, depth+1)
	if !ok {
		return b[:begin]
	}
	return b
}

func (m *member) appendArray(b []byte, o *goja.Object, depth int) []byte {
	b = append(b, '[')
	for i := range o.Get("length").ToInteger() {
		if i > 0 {
			b = append(b, ',')
		}
		name := strconv.FormatInt(i, 10)
		var ok bool
		if b, ok = m.appendJSON(b, o.Get(name), name, depth+1); !ok {
			b = append(b, "null"...)
		}
	}
	return append(b, ']')
}

func (m *member) appendScalar(b []byte, v goja.Value) ([]byte, bool) {
	switch {
	case v == nil || goja.IsUndefined(v):
		return b, false
	case goja.IsNull(v):
		return append(b, "null"...), true
	case goja.IsString(v):
		return messages.AppendJSONString(b, v.String()), true
	case goja.IsNumber(v):
		if f := v.ToFloat(); math.IsNaN(f) || math.IsInf(f, 0) {
			return append(b, "null"...), true
		}
		return append(b, v.String()...), true
	case goja.IsBigInt(v):
		m.throw(m.typeError, "A BigInt has no JSON.")
	}
	if _, ok := v.(*goja.Symbol); ok {
		return b, false
	}
	return append(b, v.String()...), true // true or false
}

// throw throws an error of the script's language.
func (m *member) throw(constructor *goja.Object, why string) {
	e, err := m.vm.New(constructor, m.vm.ToValue(why))
	m.rethrow(err)
	panic(e)
}

// rethrow goes on with what a function of the script threw.
func (m *member) rethrow(err error) {
	if err == nil {
		return
	}
	var exception *goja.Exception
	if errors.As(err, &exception) {
		panic(exception)
	}
	panic(err)
}
