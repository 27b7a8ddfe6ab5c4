package protocol

import (
	"bytes"
	"encoding/json"
)

// maxDepth bounds the nesting of a JSON text, so that a hostile payload cannot exhaust the stack.
const maxDepth = 512

// The scan functions walk over one JSON text by index. They take the index of the first byte of what they scan and return
// the index after it, or -1 when the text is not JSON. They do not look at UTF-8: Parse does that once for the whole text.

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scanString scans a string with its quotes; escaped tells whether it holds a backslash.
func scanString(b []byte, i int) (end int, escaped bool) {
	if i >= len(b) || b[i] != '"' {
		return -1, false
	}
	for i++; i < len(b); i++ {
		c := b[i]
		if !special[c] {
			continue
		}
		switch c {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
			if i >= len(b) {
				return -1, escaped
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) {
					return -1, escaped
				}
				for _, h := range b[i+1 : i+5] {
					if !isHex(h) {
						return -1, escaped
					}
				}
				i += 4
			default:
				return -1, escaped
			}
		default: // a control character
			return -1, escaped
		}
	}
	return -1, escaped
}

// special are the bytes that are not simply part of a string.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDigit(b []byte, i int) bool { return i < len(b) && b[i] >= '0' && b[i] <= '9' }

func scanDigits(b []byte, i int) int {
	if !isDigit(b, i) {
		return -1
	}
	for isDigit(b, i) {
		i++
	}
	return i
}

func scanNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = scanDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i = scanDigits(b, i); i < 0 {
			return -1
		}
	}
	return i
}

func scanLiteral(b []byte, i int, word string) int {
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word)
	}
	return -1
}

// scanValue scans any value; depth is how many levels may still open.
func scanValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		end, _ := scanString(b, i)
		return end
	case '{':
		return scanObject(b, i, depth)
	case '[':
		return scanArray(b, i, depth)
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	}
	return scanNumber(b, i)
}

func scanObject(b []byte, i, depth int) int {
	for m := members(b, i, depth); ; {
		if !m.next() {
			return m.end
		}
	}
}

func scanArray(b []byte, i, depth int) int {
	for e := elements(b, i, depth); ; {
		if !e.next() {
			return e.end
		}
	}
}

// A walk goes over the members of an object or the elements of an array:
//
//	for m := members(b, i, depth); m.next(); { … b[m.from:m.to] … }
//
// After the last next, end is the index after the object or array, -1 when it is no valid JSON.
type walk struct {
	b          []byte
	i, depth   int
	open       byte
	first      bool
	key        []byte // between the quotes; nil for elements
	keyEscaped bool
	from, to   int // the value
	end        int
}

func members(b []byte, i, depth int) walk {
	return walk{b: b, i: i, depth: depth - 1, open: '{', first: true, end: -1}
}

func elements(b []byte, i, depth int) walk {
	return walk{b: b, i: i, depth: depth - 1, open: '[', first: true, end: -1}
}

// next goes to the next member or element and scans its value.
func (w *walk) next() bool { return w.begin() && w.scan() }

// begin goes to the next member or element and stands at its value, w.from; scan or skip must follow.
func (w *walk) begin() bool {
	b := w.b
	closing := w.open + 2 // in ASCII, '}' and ']' are two after '{' and '['
	i := w.i
	if w.first {
		if w.depth < 0 || i >= len(b) || b[i] != w.open {
			return false
		}
		w.first = false
		if i = skipSpace(b, i+1); i < len(b) && b[i] == closing {
			w.end = i + 1
			return false
		}
	} else {
		i = skipSpace(b, i)
		if i >= len(b) {
			return false
		}
		if b[i] == closing {
			w.end = i + 1
			return false
		}
		if b[i] != ',' {
			return false
		}
		i = skipSpace(b, i+1)
	}
	if w.open == '{' {
		end, escaped := scanString(b, i)
		if end < 0 {
			return false
		}
		w.key, w.keyEscaped = b[i+1:end-1], escaped
		if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
			return false
		}
		i = skipSpace(b, i+1)
	}
	w.from = i
	return i < len(b)
}

// scan scans the value at w.from.
func (w *walk) scan() bool { return w.skip(scanValue(w.b, w.from, w.depth)) }

// skip takes end for the end of the value at w.from; false when it is -1.
func (w *walk) skip(end int) bool {
	w.to, w.i = end, end
	return end >= 0
}

// name returns the key of the current member.
func (w *walk) name() string { return unquote(w.key, w.keyEscaped) }

// unquote decodes the inside of a scanned string.
func unquote(inner []byte, escaped bool) string {
	if !escaped {
		return string(inner)
	}
	quoted := make([]byte, 0, len(inner)+2)
	quoted = append(append(append(quoted, '"'), inner...), '"')
	var s string
	if json.Unmarshal(quoted, &s) != nil { // cannot happen: the string was scanned
		return string(inner)
	}
	return s
}

// text decodes a scanned JSON string; false when raw is another type.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	return unquote(raw[1:len(raw)-1], bytes.IndexByte(raw, '\\') >= 0), true
}

func isNull(raw []byte) bool { return string(raw) == "null" }

// compact returns raw as text without white space between tokens.
func compact(raw []byte) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		switch raw[i] {
		case ' ', '\n', '\r', '\t':
			i++
		case '"':
			end, _ := scanString(raw, i)
			if end < 0 { // cannot happen: raw was scanned
				return string(raw)
			}
			out = append(out, raw[i:end]...)
			i = end
		default:
			out = append(out, raw[i])
			i++
		}
	}
	return string(out)
}
