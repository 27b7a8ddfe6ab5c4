package messages

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// jsonReader reads the members of one object in order. The first failure stays in err; whatever is read after it is zero.
type jsonReader struct {
	jsonValue
	secret bool // values of this object are never repeated in errors
	err    error
}

// fail keeps the first error.
func (r *jsonReader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

// lookup returns a member that is there and not null (G3, G4).
func (r *jsonReader) lookup(name string) (jsonValue, bool) {
	if r.err != nil {
		return jsonValue{}, false
	}
	v, ok := r.get(name)
	return v, ok && v.kind != jsonNull
}

// missing notes that a required member is absent (G6).
func (r *jsonReader) missing(name string) { r.fail(NewFieldMissing("/" + name)) }

// secretMembers are the members whose value is not repeated in an error, wherever they occur (decision O6).
var secretMembers = map[string]bool{
	"uri": true, "password": true, "key": true, "privateKey": true, "clientSecret": true, "parameters": true, "credentials": true,
}

// holdsSecrets are objects that hold such members: sent as a string, they are not repeated either.
var holdsSecrets = map[string]bool{"sshTunnel": true, "connection": true}

// wrongType notes that a member has the wrong type (G5).
func (r *jsonReader) wrongType(name string, v jsonValue, wanted string) {
	text := masked
	if !r.secret && !secretMembers[name] && !holdsSecrets[name] {
		if v.kind == jsonString {
			text = v.text()
		} else {
			text = string(v.appendText(nil, true))
		}
	}
	r.fail(NewWrongType("/"+name, shorten(text), wanted))
}

// string reads a string member; false: absent.
func (r *jsonReader) string(name string) (string, bool) {
	v, ok := r.lookup(name)
	if !ok {
		return "", false
	}
	if v.kind != jsonString {
		r.wrongType(name, v, "String")
		return "", false
	}
	return v.text(), true
}

// required reads a string member that must be there.
func (r *jsonReader) required(name string) string {
	s, ok := r.string(name)
	if !ok {
		r.missing(name)
	}
	return s
}

// optional reads a string member; nil: absent.
func (r *jsonReader) optional(name string) *string {
	if s, ok := r.string(name); ok {
		return &s
	}
	return nil
}

// boolean reads a boolean member; absent: otherwise.
func (r *jsonReader) boolean(name string, otherwise bool) bool {
	v, ok := r.lookup(name)
	switch {
	case !ok:
		return otherwise
	case v.kind == jsonTrue:
		return true
	case v.kind != jsonFalse:
		r.wrongType(name, v, "boolean")
	}
	return false
}

// integer reads an int32 member; an integral float is one, too (G7, G8). False: absent.
func (r *jsonReader) integer(name string) (int, bool) {
	v, ok := r.lookup(name)
	if !ok {
		return 0, false
	}
	if v.kind != jsonNumber {
		r.wrongType(name, v, "int")
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.raw), 10, 32)
	if err != nil {
		f, _ := strconv.ParseFloat(string(v.raw), 64)
		if f != math.Trunc(f) || f < math.MinInt32 || f > math.MaxInt32 {
			r.wrongType(name, v, "int")
			return 0, false
		}
		n = int64(f)
	}
	return int(n), true
}

// positive reads an integer member above 0, 1 when absent (Q1).
func (r *jsonReader) positive(name string) int {
	n, ok := r.integer(name)
	if !ok {
		return 1
	}
	if n <= 0 {
		r.fail(NewJSONInvalid(fmt.Sprintf("The value <%d> of </%s> is not greater than 0.", n, name)))
	}
	return n
}

// object reads an object member with read; false: absent. Errors inside it say where it is.
func (r *jsonReader) object(name string, read func(*jsonReader)) bool {
	v, ok := r.lookup(name)
	if !ok {
		return false
	}
	if v.kind != jsonObject {
		r.wrongType(name, v, "JsonObject")
		return false
	}
	r.inside("/"+name, v, read)
	return true
}

// inside reads v, which lies at a place below this object, with read.
func (r *jsonReader) inside(place string, v jsonValue, read func(*jsonReader)) {
	inner := jsonReader{jsonValue: v, secret: r.secret || secretMembers[strings.TrimPrefix(place, "/")]}
	read(&inner)
	r.fail(within(place, inner.err))
}

// array reads an array member; nil: absent or empty.
func (r *jsonReader) array(name string) []jsonMember {
	v, ok := r.lookup(name)
	if ok && v.kind != jsonArray {
		r.wrongType(name, v, "JsonArray")
		return nil
	}
	return v.inner
}

// strict reads an array of strings; another element is an error (G9).
func (r *jsonReader) strict(name string) []string {
	var out []string
	for _, e := range r.array(name) {
		if e.value.kind != jsonString {
			r.wrongType(name, e.value, "String")
			return nil
		}
		out = append(out, e.value.text())
	}
	return out
}

// strictSet is strict without repetitions, in order (G13).
func (r *jsonReader) strictSet(name string) []string {
	var set textSet
	for _, text := range r.strict(name) {
		set.add(text)
	}
	return set.items
}

// lenient reads an array of strings; other elements are dropped (G10).
func (r *jsonReader) lenient(name string) []string {
	var out []string
	for _, e := range r.array(name) {
		if e.value.kind == jsonString {
			out = append(out, e.value.text())
		}
	}
	return out
}

// lenientSet is lenient without repetitions (G13).
func (r *jsonReader) lenientSet(name string) []string {
	var set textSet
	for _, e := range r.array(name) {
		if e.value.kind == jsonString {
			set.add(e.value.text())
		}
	}
	return set.items
}

// lenientMap reads an object of strings; other values are dropped (G10).
func (r *jsonReader) lenientMap(name string) map[string]string {
	return r.stringMap(name, func(v jsonValue) (string, bool) {
		if v.kind != jsonString {
			return "", false
		}
		return v.text(), true
	})
}

// textMap reads an object whose values become text (G12).
func (r *jsonReader) textMap(name string) map[string]string {
	return r.stringMap(name, func(v jsonValue) (string, bool) { return v.asText(), true })
}

func (r *jsonReader) stringMap(name string, text func(jsonValue) (string, bool)) map[string]string {
	v, ok := r.lookup(name)
	if ok && v.kind != jsonObject {
		r.wrongType(name, v, "JsonObject")
		return nil
	}
	if len(v.inner) == 0 {
		return nil
	}
	out := make(map[string]string, len(v.inner))
	for _, m := range v.inner {
		if s, ok := text(m.value); ok {
			out[string(m.name)] = s
		} else {
			delete(out, string(m.name)) // the last one wins, and it is dropped
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// textSet is a set of strings in the order of their first occurrence.
type textSet struct {
	items []string
	seen  map[string]struct{} // once there are many
}

func (t *textSet) add(s string) {
	const many = 32
	if len(t.items) < many {
		if slices.Contains(t.items, s) {
			return
		}
	} else {
		if t.seen == nil {
			t.seen = make(map[string]struct{}, 2*many)
			for _, item := range t.items {
				t.seen[item] = struct{}{}
			}
		}
		if _, there := t.seen[s]; there {
			return
		}
		t.seen[s] = struct{}{}
	}
	t.items = append(t.items, s)
}

// within says in which object an error happened: its description names the place.
func within(place string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return e.About(place)
}
