package javascript

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape returns the UTF-16 units of the inside of a JSON string.
func unescape(s string) []uint16 {
	units := make([]uint16, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			r, n := utf8.DecodeRuneInString(s[i:])
			units = utf16.AppendRune(units, r)
			i += n
			continue
		}
		c := s[i+1]
		i += 2
		if c == 'u' {
			n, _ := strconv.ParseUint(s[i:i+4], 16, 16)
			units = append(units, uint16(n))
			i += 4
			continue
		}
		if at := strings.IndexByte("bfnrt", c); at >= 0 {
			c = "\b\f\n\r\t"[at]
		}
		units = append(units, uint16(c))
	}
	return units
}

// scanner finds where the values of a JSON text end. Its functions return -1 where the text is no JSON.
type scanner struct {
	text string
	seen int // characters that were understood
}

func (s *scanner) space(i int) int {
	for i < len(s.text) && (s.text[i] == ' ' || s.text[i] == '\n' || s.text[i] == '\r' || s.text[i] == '\t') {
		i++
	}
	return i
}

func (s *scanner) at(i int, c byte) bool { return i < len(s.text) && s.text[i] == c }

func (s *scanner) value(i, depth int) int {
	s.seen = i
	if i >= len(s.text) || depth > maxDepth {
		return -1
	}
	switch c := s.text[i]; {
	case c == '{':
		return s.container(i, depth, '}')
	case c == '[':
		return s.container(i, depth, ']')
	case c == '"':
		return s.str(i)
	case c == '-' || '0' <= c && c <= '9':
		return s.number(i)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.text[i:], word) {
			return i + len(word)
		}
	}
	return -1
}

func (s *scanner) container(i, depth int, last byte) int {
	if i = s.space(i + 1); s.at(i, last) {
		return i + 1
	}
	for {
		if last == '}' {
			s.seen = i
			if !s.at(i, '"') {
				return -1
			}
			if i = s.str(i); i < 0 {
				return -1
			}
			if i = s.space(i); !s.at(i, ':') {
				return -1
			}
			i = s.space(i + 1)
		}
		if i = s.value(i, depth+1); i < 0 {
			return -1
		}
		i = s.space(i)
		s.seen = i
		switch {
		case s.at(i, last):
			return i + 1
		case !s.at(i, ','):
			return -1
		}
		i = s.space(i + 1)
	}
}

func (s *scanner) str(i int) int {
	for i++; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			i++
			if i >= len(s.text) {
				return -1
			}
			if s.text[i] == 'u' {
				if i+4 >= len(s.text) {
					return -1
				}
				if _, err := strconv.ParseUint(s.text[i+1:i+5], 16, 16); err != nil || s.text[i+1] == '+' {
					return -1
				}
				i += 4
			} else if strings.IndexByte(`"\/bfnrt`, s.text[i]) < 0 {
				return -1
			}
		}
	}
	return -1
}

func (s *scanner) number(i int) int {
	if s.at(i, '-') {
		i++
	}
	if s.at(i, '0') {
		i++
	} else if i = s.digits(i); i < 0 {
		return -1
	}
	if s.at(i, '.') {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if s.at(i, 'e') || s.at(i, 'E') {
		if i++; s.at(i, '+') || s.at(i, '-') {
			i++
		}
		i = s.digits(i)
	}
	return i
}

func (s *scanner) digits(i int) int {
	begin := i
	for i < len(s.text) && '0' <= s.text[i] && s.text[i] <= '9' {
		i++
	}
	if i == begin {
		return -1
	}
	return i
}

// key returns the key that begins at i in a valid text, and where it ends.
func (s *scanner) key(i int) (string, int) {
	end := s.str(i)
	key := s.text[i+1 : end-1]
	if strings.IndexByte(key, '\\') >= 0 {
		key = string(utf16.Decode(unescape(key)))
	}
	return key, end
}

// next returns where the next element of a container begins after one that ended at i, or the end of the container.
func (s *scanner) next(i int) int {
	if i = s.space(i); s.text[i] == ',' {
		i = s.space(i + 1)
	}
	return i
}
