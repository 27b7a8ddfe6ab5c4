package javascript

import (
	"errors"
	"strings"
)

// What the parser of goja cannot bear: it keeps an error for each pair of equal labels of which one is inside the other. No
// script that somebody writes comes near these bounds.
const (
	maxNesting = 500
	maxLabels  = 500
)

var (
	errNesting = errors.New("its brackets are nested too deep")
	errLabels  = errors.New("it has too many labels")
)

// checkNesting refuses a script with more than maxNesting open brackets, or with more than maxLabels labels that may be inside
// another one without a bracket between them. It leaves texts, comments and regular expressions out. Where it takes one for
// something else, which only a parser can avoid, brackets that it counts too much are forgotten at the next one that closes.
func checkNesting(source string) error {
	n := nesting{source: source}
	for n.at < len(source) {
		n.token()
		if len(n.open) > maxNesting {
			return errNesting
		}
		if n.labels > maxLabels {
			return errLabels
		}
	}
	return nil
}

type nesting struct {
	source       string
	at           int
	open         []byte // opening brackets; '$' for one in a template
	last, before string // the last two tokens: an identifier or number, else one character
	labels       int
}

func (n *nesting) saw(token string) { n.before, n.last = n.last, token }

func (n *nesting) token() {
	rest := n.source[n.at:]
	switch c := rest[0]; {
	case strings.IndexByte(" \t\r\n\v\f", c) >= 0:
		n.at++
	case strings.HasPrefix(rest, "//"):
		n.skip("\n")
	case strings.HasPrefix(rest, "/*"):
		n.skip("*/")
	case c == '"' || c == '\'':
		n.text(c)
	case c == '`':
		n.template()
	case c == '/' && n.operandFollows() && n.regularExpression():
	case isIdentifier(c):
		begin := n.at
		for n.at < len(n.source) && isIdentifier(n.source[n.at]) {
			if strings.HasPrefix(n.source[n.at:], `\u{`) {
				if end := strings.IndexByte(n.source[n.at:], '}'); end > 0 {
					n.at += end
				}
			}
			n.at++
		}
		n.saw(n.source[begin:n.at])
	default:
		n.punctuation(c)
	}
}

// skip goes behind what ends a comment.
func (n *nesting) skip(end string) {
	if i := strings.Index(n.source[n.at+2:], end); i >= 0 {
		n.at += 2 + i + len(end)
	} else {
		n.at = len(n.source)
	}
}

// text goes behind a text, or to the end of a line where there is none.
func (n *nesting) text(quote byte) {
	n.saw(string(quote))
	for n.at++; n.at < len(n.source); n.at++ {
		switch n.source[n.at] {
		case '\\':
			n.at++
		case quote:
			n.at++
			return
		case '\n':
			return
		}
	}
}

// template goes from the first character of a template, or the bracket that ended an expression in it, behind its end or to
// the next expression.
func (n *nesting) template() {
	for n.at++; n.at < len(n.source); n.at++ {
		switch c := n.source[n.at]; {
		case c == '\\':
			n.at++
		case c == '`':
			n.at++
			n.saw("`")
			return
		case c == '$' && strings.HasPrefix(n.source[n.at+1:], "{"):
			n.at += 2
			n.open = append(n.open, '$')
			n.saw("{")
			return
		}
	}
}

// operandFollows reports whether a slash that comes now does not divide.
func (n *nesting) operandFollows() bool {
	switch n.last {
	case ")", "]", "}", `"`, "'", "`":
		return false
	case "", "return", "typeof", "case", "in", "of", "do", "else", "void", "delete", "throw", "new", "instanceof", "yield", "await":
		return true
	}
	return !isIdentifier(n.last[0])
}

// regularExpression goes behind one; false: the line has no end of it.
func (n *nesting) regularExpression() bool {
	class := false
	for i := n.at + 1; i < len(n.source) && n.source[i] != '\n'; i++ {
		switch c := n.source[i]; {
		case c == '\\':
			i++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '/' && !class:
			n.at = i + 1
			n.saw(`"`) // what may follow it may follow a text
			return true
		}
	}
	return false
}

func (n *nesting) punctuation(c byte) {
	switch c {
	case '(', '[', '{':
		n.open = append(n.open, c)
	case ')':
		n.close("(")
	case ']':
		n.close("[")
	case '}':
		if n.close("{$") == '$' {
			n.template()
			return
		}
	case ':':
		switch n.before {
		case ":", ")", "else", "do":
			if isIdentifier(n.last[0]) && n.last != "default" {
				n.labels++
			}
		}
	}
	n.at++
	n.saw(string(c))
}

// close closes the last open bracket that is one of these, and what was opened in it; 0: there is none.
func (n *nesting) close(brackets string) byte {
	i := len(n.open) - 1
	for i >= 0 && strings.IndexByte(brackets, n.open[i]) < 0 {
		i--
	}
	if i < 0 {
		return 0
	}
	c := n.open[i]
	n.open = n.open[:i]
	return c
}

func isIdentifier(c byte) bool {
	return c == '_' || c == '$' || c == '\\' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
