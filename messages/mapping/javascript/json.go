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
)

// object is an object of a script that Go keeps: one that JSON.parse, Ditto.buildDittoProtocolMsg or the arguments of an
// entry point made. What a script does not look at stays JSON text, and is written again as it was.
type object struct {
	m          *member
	raw        string // the JSON text until somebody looks at a property
	properties []property
	places     map[string]int // of keys in properties; nil when these are few
	deleted    int            // of properties
}

// few properties are searched one by one.
const few = 16

// property is one of an object. One that has neither raw nor value was deleted; what raw says holds as long as value is none
// or cannot change.
type property struct {
	key   string
	raw   string
	value goja.Value
}

func (p *property) gone() bool { return p.raw == "" && p.value == nil }

// needsPlainObjects finds scripts that do what objects kept by Go cannot: for them all objects are goja's own.
var needsPlainObjects = regexp.MustCompile(`freeze|seal|preventExtensions|defineProp|__define|Symbol|Reflect|Proxy`)

func (o *object) open() []property {
	if raw := o.raw; raw != "" {
		o.raw, o.properties = "", make([]property, 0, few/2)
		s := &scanner{text: raw}
		for i := s.space(1); raw[i] != '}'; {
			key, end := s.key(i)
			begin := s.space(s.space(end) + 1)
			end = s.value(begin, 0)
			o.put(property{key: key, raw: raw[begin:end]}) // the last of equal keys wins
			i = s.next(end)
		}
	}
	return o.properties
}

// put adds a property, or replaces that of the key.
func (o *object) put(p property) {
	if i := o.find(p.key); i >= 0 {
		o.properties[i] = p
		return
	}
	o.properties = append(o.properties, p)
	if o.places != nil {
		o.places[p.key] = len(o.properties) - 1
	}
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
	return slices.IndexFunc(o.properties, func(p property) bool { return p.key == key }) // none of few is one that was deleted
}

func places(properties []property) map[string]int {
	all := make(map[string]int, len(properties))
	for i := range properties {
		if !properties[i].gone() {
			all[properties[i].key] = i
		}
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
	o.put(property{key: key, value: value})
	return true
}

// Has implements goja.DynamicObject.
func (o *object) Has(key string) bool { return o.find(key) >= 0 }

// Delete implements goja.DynamicObject. The others move up only now and then: a script may delete thousands one by one.
func (o *object) Delete(key string) bool {
	i := o.find(key)
	if i < 0 {
		return true
	}
	o.properties[i] = property{}
	delete(o.places, key)
	if o.deleted++; len(o.properties) <= few || o.deleted > len(o.properties)/2 {
		o.properties = slices.DeleteFunc(o.properties, func(p property) bool { return p.gone() })
		o.places, o.deleted = nil, 0
	}
	return true
}

// Keys implements goja.DynamicObject: keys that are indices come first, in their order.
func (o *object) Keys() []string {
	keys := make([]string, 0, len(o.open()))
	var indices []uint32
	for i := range o.properties {
		if o.properties[i].gone() {
			continue
		}
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
	if o.raw != "" {
		return m.value(o.raw).(*goja.Object)
	}
	made := m.vm.NewObject()
	for _, p := range o.properties {
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
	v, _ := m.valueAt(&scanner{text: raw}, 0)
	return v
}

// valueAt makes the value that begins at i and returns where it ends. It reads a text once, however deep arrays are nested.
func (m *member) valueAt(s *scanner, i int) (goja.Value, int) {
	switch s.text[i] {
	case '{':
		if !m.plain {
			end := s.value(i, 0)
			return m.object(object{raw: s.text[i:end]}), end
		}
		made := m.vm.NewObject()
		for i = s.space(i + 1); s.text[i] != '}'; {
			m.checkTime()
			key, end := s.key(i)
			var value goja.Value
			value, i = m.valueAt(s, s.space(s.space(end)+1))
			_ = made.DefineDataProperty(key, value, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
			i = s.next(i)
		}
		return made, i + 1
	case '[':
		var elements []any
		for i = s.space(i + 1); s.text[i] != ']'; {
			m.checkTime()
			var value goja.Value
			value, i = m.valueAt(s, i)
			elements = append(elements, value)
			i = s.next(i)
		}
		return m.vm.NewArray(elements...), i + 1
	}
	end := s.value(i, 0)
	return m.scalar(s.text[i:end]), end
}

func (m *member) scalar(raw string) goja.Value {
	switch raw[0] {
	case '"':
		return m.text(raw)
	case 't':
		return m.vm.ToValue(true)
	case 'f':
		return m.vm.ToValue(false)
	case 'n':
		return goja.Null()
	}
	if isShortInteger(raw) {
		n, _ := strconv.ParseInt(raw, 10, 64)
		return m.vm.ToValue(n)
	}
	f, _ := strconv.ParseFloat(raw, 64) // one that is too large is infinite, as in any JavaScript
	return m.vm.ToValue(f)
}

// isShortInteger: the number is one that any JavaScript writes the same way.
func isShortInteger(raw string) bool {
	return len(raw) < 16 && raw != "-0" && !strings.ContainsAny(raw, ".eE")
}

func (m *member) text(raw string) goja.Value {
	inner := raw[1 : len(raw)-1]
	if strings.IndexByte(inner, '\\') < 0 {
		return m.vm.ToValue(inner)
	}
	return goja.StringFromUTF16(unescape(inner))
}

// throw throws an error of the script's language.
func (m *member) throw(constructor *goja.Object, why string) {
	e, err := m.vm.New(constructor, m.vm.ToValue(why))
	m.rethrow(err)
	panic(e)
}

// checkTime throws when the time of the script is over: for loops of Go, which goja cannot interrupt.
func (m *member) checkTime() {
	if m.over.Load() {
		m.throw(m.typeError, errTime.Error()+".")
	}
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
