package messages

import (
	"bytes"
	"strconv"
)

// unstorable finds the first string of a value that no store can keep as it is: one with the character U+0000, which
// PostgreSQL has no place for, or with half of a surrogate pair, which is no character at all. It returns the pointer to it.
func (v jsonValue) unstorable(pointer string) (string, bool) {
	if !bytes.Contains(v.raw, []byte(`\u`)) {
		return "", false
	}
	if v.kind == jsonString {
		return pointer, hasBadEscape(v.raw)
	}
	for i, m := range v.inner {
		name := string(m.name)
		if v.kind == jsonArray {
			name = strconv.Itoa(i)
		}
		if bytes.ContainsRune(m.name, 0) {
			return pointer, true
		}
		if at, bad := m.value.unstorable(pointer + "/" + name); bad {
			return at, true
		}
	}
	return "", false
}

// hasBadEscape looks at the escapes of a JSON string that is known to be well-formed.
func hasBadEscape(text []byte) bool {
	unit := func(at int) (uint64, bool) { // of the escape that begins at
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(text[at+2:at+6]), 16, 16)
		return n, err == nil
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		n, escape := unit(i)
		switch {
		case !escape:
			i++ // the character after the backslash
		case n == 0, n >= 0xdc00 && n < 0xe000:
			return true
		case n >= 0xd800 && n < 0xdc00:
			if low, ok := unit(i + 6); !ok || low < 0xdc00 || low >= 0xe000 {
				return true
			}
			i += 11
		default:
			i += 5
		}
	}
	return false
}
