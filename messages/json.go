package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
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

// ValidJSON reports whether text is JSON in UTF-8. encoding/json decides that, and bounds the nesting.
func ValidJSON(text []byte) bool { return utf8.Valid(text) && json.Valid(text) }

// parseJSON reads a complete JSON text.
func parseJSON(text []byte) (jsonValue, error) {
	if !ValidJSON(text) {
		return jsonValue{}, errNotJSON
	}
	return walkJSON(text), nil
}

// walkJSON reads a text that ValidJSON has accepted. The walk is ours, so that each part of a connection is read once,
// straight into its place.
func walkJSON(text []byte) jsonValue {
	var room [32]jsonMember // on the stack
	w := jsonWalk{text: text}
	w.space()
	v, _ := w.value(room[:0])
	return v
}

// jsonWalk walks over a text that is known to be JSON.
type jsonWalk struct {
	text []byte
	at   int
}

// collect copies the members of one object or array to a slice of their own.
func collect(members []jsonMember) []jsonMember {
	if len(members) == 0 {
		return nil
	}
	inner := make([]jsonMember, len(members))
	copy(inner, members)
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

// value reads the value at this place. open is what the objects and arrays around it hold so far, and room behind that; it is
// returned because it may have grown.
func (w *jsonWalk) value(open []jsonMember) (jsonValue, []jsonMember) {
	start, mark := w.at, len(open)
	v := jsonValue{kind: jsonKind(w.text[start])}
	switch v.kind {
	case jsonObject:
		w.at++
		for w.space(); w.text[w.at] != '}'; w.separator() {
			name := w.string()
			w.space()
			w.at++ // colon
			w.space()
			value, grown := w.value(open)
			open = append(grown, jsonMember{unquoteBytes(name), value})
		}
		v.inner = collect(open[mark:])
		w.at++
	case jsonArray:
		w.at++
		for w.space(); w.text[w.at] != ']'; w.separator() {
			value, grown := w.value(open)
			open = append(grown, jsonMember{value: value})
		}
		v.inner = collect(open[mark:])
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
	return v, open[:mark]
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
		return AppendJSONString(dst, v.text())
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
			dst = AppendJSONString(dst, string(m.name))
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
	if len(v.inner) > 100 {
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

// AppendJSONString appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	return append(AppendJSONEscaped(append(dst, '"'), s), '"')
}

// AppendJSONEscaped is AppendJSONString without the quotes.
func AppendJSONEscaped(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if !escaped[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
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
	return append(dst, s[start:]...)
}

// escaped are the bytes that AppendJSONEscaped looks at: what JSON escapes, and the bytes of longer characters.
var escaped = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf
	}
	return t
}()
