package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errNotJSON says that a text is not JSON, or not UTF-8.
var errNotJSON = errors.New("messages: not JSON")

// jsonKind is the first character of a value's text: n, t, f, ", {, [, or 0 for a number.
type jsonKind byte

const (
	jsonNull   jsonKind = 'n'
	jsonTrue   jsonKind = 't'
	jsonFalse  jsonKind = 'f'
	jsonString jsonKind = '"'
	jsonNumber jsonKind = '0'
	jsonObject jsonKind = '{'
	jsonArray  jsonKind = '['
)

// jsonValue is a parsed value: its text and what is inside, the members of an object or the elements of an array. The zero
// value is no value at all.
type jsonValue struct {
	kind  jsonKind
	raw   []byte
	inner []jsonMember
}

type jsonMember struct {
	name  []byte // unescaped; nil for the element of an array
	value jsonValue
}

// parseJSON reads a complete JSON text. encoding/json decides what is JSON, and bounds the nesting; the walk over the text
// afterwards is ours, so that each part of a connection is read once, straight into its place.
func parseJSON(text []byte) (jsonValue, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return jsonValue{}, errNotJSON
	}
	w := jsonWalk{text: text, open: make([]jsonMember, 0, 32)}
	w.space()
	return w.value(), nil
}

// jsonWalk walks over a text that is known to be JSON.
type jsonWalk struct {
	text []byte
	at   int
	open []jsonMember // what the objects and arrays around this place hold so far
}

// collect moves what was opened since mark into a slice of its own.
func (w *jsonWalk) collect(mark int) []jsonMember {
	if len(w.open) == mark {
		return nil
	}
	inner := make([]jsonMember, len(w.open)-mark)
	copy(inner, w.open[mark:])
	w.open = w.open[:mark]
	return inner
}

func (w *jsonWalk) space() {
	for w.at < len(w.text) {
		switch w.text[w.at] {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return
		}
	}
}

func (w *jsonWalk) value() jsonValue {
	start, mark := w.at, len(w.open)
	v := jsonValue{kind: jsonKind(w.text[start])}
	switch v.kind {
	case jsonObject:
		w.at++
		for w.space(); w.text[w.at] != '}'; w.separator() {
			name := w.string()
			w.space()
			w.at++ // colon
			w.space()
			value := w.value()
			w.open = append(w.open, jsonMember{unquoteBytes(name), value})
		}
		v.inner = w.collect(mark)
		w.at++
	case jsonArray:
		w.at++
		for w.space(); w.text[w.at] != ']'; w.separator() {
			value := w.value()
			w.open = append(w.open, jsonMember{value: value})
		}
		v.inner = w.collect(mark)
		w.at++
	case jsonString:
		w.string()
	case jsonNull, jsonTrue:
		w.at += len("null")
	case jsonFalse:
		w.at += len("false")
	default:
		v.kind = jsonNumber
		for w.at < len(w.text) && strings.IndexByte("+-.0123456789eE", w.text[w.at]) >= 0 {
			w.at++
		}
	}
	v.raw = w.text[start:w.at:w.at]
	return v
}

// separator steps over the comma after a value, if there is one.
func (w *jsonWalk) separator() {
	w.space()
	if w.text[w.at] == ',' {
		w.at++
		w.space()
	}
}

// string steps over a string and returns it with its quotes.
func (w *jsonWalk) string() []byte {
	start := w.at
	w.at++
	for {
		i := bytes.IndexByte(w.text[w.at:], '"')
		w.at += i + 1
		backslashes := 0
		for w.text[w.at-2-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return w.text[start:w.at]
		}
	}
}

// unquoteBytes returns what a quoted string stands for; without escapes that is a part of its text.
func unquoteBytes(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil { // cannot happen: json.Valid accepted it
		return inner
	}
	return []byte(s)
}

// get returns the member of that name, the last one if it is there twice (G2).
func (v jsonValue) get(name string) (jsonValue, bool) {
	for i := len(v.inner) - 1; i >= 0; i-- {
		if string(v.inner[i].name) == name {
			return v.inner[i].value, true
		}
	}
	return jsonValue{}, false
}

// text is the content of a string value.
func (v jsonValue) text() string { return string(unquoteBytes(v.raw)) }

// asText is the content of a string, else the JSON text of the value as Ditto renders it (G11, G12).
func (v jsonValue) asText() string {
	if v.kind == jsonString {
		return v.text()
	}
	return string(v.appendText(nil, false))
}

// appendText renders v compactly: numbers as Java does, duplicate members once, and with mask every string as *****.
func (v jsonValue) appendText(dst []byte, mask bool) []byte {
	switch v.kind {
	case jsonNumber:
		return appendJavaNumber(dst, string(v.raw))
	case jsonString:
		if mask {
			return append(dst, `"`+masked+`"`...)
		}
		return appendString(dst, v.text())
	case jsonArray:
		dst = append(dst, '[')
		for i, e := range v.inner {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.value.appendText(dst, mask)
		}
		return append(dst, ']')
	case jsonObject:
		dst = append(dst, '{')
		first := true
		for i, m := range v.inner {
			if v.repeated(i) {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = appendString(dst, string(m.name))
			dst = append(dst, ':')
			dst = m.value.appendText(dst, mask)
		}
		return append(dst, '}')
	default:
		return append(dst, v.raw...)
	}
}

// repeated reports whether the name of member i occurs again later, so that i is not the one that counts. Objects of
// hostile size are not searched: their repetitions stay, which every reader of JSON resolves in the same way.
func (v jsonValue) repeated(i int) bool {
	if len(v.inner) > 1000 {
		return false
	}
	for _, m := range v.inner[i+1:] {
		if bytes.Equal(m.name, v.inner[i].name) {
			return true
		}
	}
	return false
}

// appendJavaNumber renders a number literal as Java does: integers as they are, others as the shortest double, in
// scientific notation below 10^-3 and from 10^7 on. What no double can hold stays as sent.
func appendJavaNumber(dst []byte, literal string) []byte {
	if !strings.ContainsAny(literal, ".eE") {
		return append(dst, literal...)
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil || math.IsInf(f, 0) {
		return append(dst, literal...)
	}
	if abs := math.Abs(f); abs == 0 || abs >= 1e-3 && abs < 1e7 {
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		if bytes.IndexByte(dst[start:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	dst = append(dst, digits...)
	if !strings.Contains(digits, ".") {
		dst = append(dst, ".0"...)
	}
	n, _ := strconv.Atoi(exponent)
	dst = append(dst, 'E')
	return strconv.AppendInt(dst, int64(n), 10)
}

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

// strict reads an array of strings into a set in order (G13); another element is an error (G9).
func (r *jsonReader) strict(name string) []string {
	var set textSet
	for _, e := range r.array(name) {
		if e.value.kind != jsonString {
			r.wrongType(name, e.value, "String")
			return nil
		}
		set.add(e.value.text())
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
	if !errors.As(err, &e) || e.Code != CodeJSONInvalid && e.Code != CodeFieldMissing {
		return err
	}
	c := *e
	if head, tail, found := strings.Cut(c.Description, " It is about <"); found {
		c.Description = head + " It is about <" + place + tail
	} else {
		c.Description += " It is about <" + place + ">."
	}
	return &c
}

// appendString renders s as a JSON string.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
