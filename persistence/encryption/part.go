package encryption

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// span is a part of a text: [start, end).
type span struct{ start, end int }

// secretPart says what of a clear value is encrypted (encryption.md 3.1): the password of a URI that has one, nothing of a URI
// without, and all of any other text. Upstream takes some texts for URIs without password that are none to us (opaque ones,
// hosts with "_", passwords with an unescaped delimiter) and leaves their secrets in clear; here they are sealed.
func secretPart(text string) (part span, ok bool) {
	authority, isURI := authorityOf(text)
	if !isURI || !wellFormed(text) {
		return span{0, len(text)}, true
	}
	if part, ok := passwordIn(text, authority); ok {
		return part, true
	}
	return unescapedPassword(text, authority)
}

// sealedPart says what of a stored value is a ciphertext. Reading goes by the prefix alone. A ciphertext holds no "@", so in a
// URI it ends at the next one, whatever else stands in the user info.
func sealedPart(text string) (part span, ok bool) {
	if strings.HasPrefix(text, Prefix) {
		return span{0, len(text)}, true
	}
	authority, isURI := authorityOf(text)
	if !isURI {
		return span{}, false
	}
	part, ok = passwordIn(text, authority)
	if !ok || !strings.HasPrefix(text[part.start:], Prefix) {
		return span{}, false
	}
	part.end = part.start + strings.IndexByte(text[part.start:], '@')
	return part, true
}

// authorityOf finds the authority of "scheme://authority…"; false when the text has another form.
func authorityOf(text string) (authority span, ok bool) {
	i := strings.Index(text, "://")
	if i < 0 || !validScheme(text[:i]) {
		return span{}, false
	}
	start := i + len("://")
	end := len(text)
	if n := strings.IndexAny(text[start:], "/?#"); n >= 0 {
		end = start + n
	}
	return span{start, end}, true
}

// passwordIn finds what follows the first ":" of the user info, which ends at the last "@" of the authority.
func passwordIn(text string, authority span) (span, bool) {
	inside := text[authority.start:authority.end]
	at := strings.LastIndexByte(inside, '@')
	if at < 0 {
		return span{}, false
	}
	colon := strings.IndexByte(inside[:at], ':')
	if colon < 0 {
		return span{}, false
	}
	return span{authority.start + colon + 1, authority.start + at}, true
}

// unescapedPassword finds a password with a "/", "?" or "#" in it, such as tcp://user:p/w@host: what would be a port is no
// number, and an "@" follows.
func unescapedPassword(text string, authority span) (span, bool) {
	inside := text[authority.start:authority.end]
	colon := strings.IndexByte(inside, ':')
	if colon < 0 || inside[0] == '[' || strings.Trim(inside[colon+1:], "0123456789") == "" {
		return span{}, false
	}
	at := strings.IndexByte(text[authority.end:], '@')
	if at < 0 {
		return span{}, false
	}
	return span{authority.start + colon + 1, authority.end + at}, true
}

func validScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// wellFormed reports whether a text holds only characters that a URI may hold (RFC 2396 as Java reads it, non-ASCII allowed).
// A text of the form of a URI with others in it is a secret as a whole, for upstream and for us.
func wellFormed(text string) bool {
	for i, r := range text {
		switch {
		case r == utf8.RuneError, r < 0x21, r == 0x7f, strings.ContainsRune("\"<>\\^`{|}", r):
			return false
		case r == '%' && (i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2])):
			return false
		case r >= 0x80 && (unicode.IsControl(r) || unicode.In(r, unicode.Z)):
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }
