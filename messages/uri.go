package messages

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseURI reads a connection URI: scheme://[user:password@]host:port[/path][#fragment], the port explicit and above 0, no
// query (connection-model.md 8). A blank text is the zero URI. The error is URI; it masks the password.
func ParseURI(text string) (URI, error) {
	if strings.TrimSpace(text) == "" {
		return URI{}, nil
	}
	u, ok := parseURI(text)
	if !ok {
		return URI{}, NewURIInvalid(text)
	}
	u.Raw = asciiURI(text)
	return u, nil
}

func parseURI(text string) (u URI, ok bool) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || !validScheme(scheme) {
		return u, false
	}
	u.Scheme = scheme
	rest, fragment, _ := strings.Cut(rest, "#")
	if strings.Contains(rest, "?") || !validURIChars(fragment, fragmentChars) {
		return u, false
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if !validURIChars(path, pathChars) {
		return u, false
	}
	u.Path = unescapeURI(path)
	hostPort := authority
	if userInfo, after, found := strings.Cut(authority, "@"); found {
		hostPort = after
		if !validURIChars(userInfo, userInfoChars) {
			return u, false
		}
		user, password, colon := strings.Cut(userInfo, ":")
		if colon {
			u.HasUserInfo, u.User, u.Password = true, unescapeURI(user), unescapeURI(password)
		}
	}
	colon := strings.LastIndexByte(hostPort, ':')
	if colon < 0 {
		return u, false
	}
	if u.Host, ok = parseHost(hostPort[:colon]); !ok {
		return u, false
	}
	port := hostPort[colon+1:]
	for _, c := range []byte(port) {
		if c < '0' || c > '9' {
			return u, false
		}
	}
	n, err := strconv.ParseInt(port, 10, 32)
	u.Port = int(n)
	return u, err == nil && n > 0
}

func validScheme(s string) bool {
	for i, c := range []byte(s) {
		if !isAlpha(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// parseHost checks a host name, an IPv4 address or a bracketed IPv6 address; it returns it without brackets and with its
// zone decoded.
func parseHost(s string) (string, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		address, zone, zoned := strings.Cut(inner, "%")
		if zoned {
			zone = strings.TrimPrefix(zone, "25")
			address += "%" + zone
		}
		a, err := netip.ParseAddr(address)
		if !ok || err != nil || !a.Is6() || strings.ContainsFunc(zone, func(r rune) bool { return r != '_' && r != '.' && !isAlphanumeric(byte(min(r, 127))) }) {
			return "", false
		}
		return address, true
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return s, true
	}
	// A host name: labels of letters, digits and inner hyphens; the last of several starts with a letter.
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, label := range labels {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for _, c := range []byte(label) {
			if !isAlphanumeric(c) && c != '-' {
				return "", false
			}
		}
	}
	last := labels[len(labels)-1]
	return s, len(labels) == 1 || isAlpha(last[0])
}

// The ASCII characters beside letters and digits that a part may hold unescaped (RFC 2396).
const (
	unreservedMarks = "-_.!~*'()"
	userInfoChars   = unreservedMarks + ";:&=+$,"
	pathChars       = unreservedMarks + ":@&=+$,;/"
	fragmentChars   = unreservedMarks + ";/?:@&=+$,[]"
)

// validURIChars reports whether s holds letters, digits, the marks named, %XX escapes and printable non-ASCII only.
func validURIChars(s, marks string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isAlphanumeric(c):
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			i += 2
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 || unicode.IsControl(r) || unicode.In(r, unicode.Z) {
				return false
			}
			i += size - 1
		case strings.IndexByte(marks, c) < 0:
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isAlphanumeric(c byte) bool { return isDigit(c) || isAlpha(c) }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// unescapeURI decodes the %XX escapes of a text that validURIChars accepted; octets that are no UTF-8 become U+FFFD.
func unescapeURI(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// asciiURI percent-encodes what is not ASCII.
func asciiURI(s string) string {
	const hex = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf && out == nil {
			out = append(make([]byte, 0, len(s)+16), s[:i]...)
		}
		switch {
		case out == nil:
		case c >= utf8.RuneSelf:
			out = append(out, '%', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}

// String is the URI for logs and errors: scheme://user:*****@host:port/path (decision O6).
func (u URI) String() string {
	if u.Raw == "" && u.Scheme == "" {
		return ""
	}
	user := ""
	if u.HasUserInfo {
		user = u.User + ":" + masked + "@"
	}
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + strings.Replace(host, "%", "%25", 1) + "]"
	}
	return u.Scheme + "://" + user + host + ":" + strconv.Itoa(u.Port) + u.Path
}

// GoString keeps %#v from printing the password.
func (u URI) GoString() string { return u.String() }

// LogValue keeps slog from printing the password.
func (u URI) LogValue() slog.Value { return slog.StringValue(u.String()) }

// masked stands where a secret was.
const masked = "*****"

// maskURI masks what may be a password in a text that need not be a URI: user info up to the last "@", and a query.
func MaskURI(text string) string {
	text, _, query := strings.Cut(text, "?")
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		start := 0
		if j := strings.Index(text[:i], "://"); j >= 0 {
			start = j + len("://")
		}
		user := ""
		if start > 0 {
			if name, _, found := strings.Cut(text[start:i], ":"); found {
				user = name + ":"
			}
		}
		text = text[:start] + user + masked + text[i:]
	} else if before, after, found := strings.Cut(text, "://"); found {
		// "user:password" without a host: what should be a port and is no number.
		if host, port, found := strings.Cut(after, ":"); found && strings.Trim(port, "0123456789/") != "" {
			text = before + "://" + host + ":" + masked
		}
	}
	if query {
		text += "?" + masked
	}
	return shorten(text)
}
