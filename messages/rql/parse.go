package rql

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"hawser/messages"
)

// CodeInvalid is the code of Parse's error, 400.
const CodeInvalid = "rql.expression.invalid"

// maxDepth is how deep operations may be nested.
const maxDepth = 100

type operator uint8

const (
	opEq operator = iota
	opNe
	opGt
	opGe
	opLt
	opLe
	opLike
	opILike
	opIn
	opExists
	opEmpty
	opAnd
	opOr
	opNot
)

// operators are the words of the grammar:
//
//	expression = comparison "(" field "," literal ")"        eq ne gt ge lt le like ilike
//	           | "in" "(" field "," literal { "," literal } ")"
//	           | ("exists" | "empty") "(" field ")"
//	           | ("and" | "or") "(" expression { "," expression } ")"
//	           | "not" "(" expression ")"
//	field      = characters but , ) " ; backslash escapes as in strings
//	literal    = number | text in " or ' | "true" | "false" | "null" | "time:" name
//	number     = [sign] digits without a leading zero [ "." digits ], whole ones within 64 bits
//
// Blanks may stand between all of them.
var operators = map[string]operator{
	"eq": opEq, "ne": opNe, "gt": opGt, "ge": opGe, "lt": opLt, "le": opLe, "like": opLike, "ilike": opILike, "in": opIn,
	"exists": opExists, "empty": opEmpty, "and": opAnd, "or": opOr, "not": opNot,
}

// Parse reads an expression. The error is *messages.Error rql.expression.invalid, 400. Whether a thing can have a field of
// that name is not checked.
func Parse(text string) (*Filter, error) {
	if !utf8.ValidString(text) {
		return nil, invalid("The expression is no UTF-8.")
	}
	p := &parser{text: text}
	root, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(text) {
		return nil, p.expected("the end")
	}
	return &Filter{text: text, root: root}, nil
}

func invalid(why string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeInvalid, Message: "The filter is not a valid RQL expression.", Description: why}
}

// parser goes over text byte by byte; at is the next one.
type parser struct {
	text string
	at   int
}

// expected says what should stand at the current position. The filter itself is not secret: the operator wrote it.
func (p *parser) expected(what string) error {
	found := "the end"
	if p.at < len(p.text) {
		_, size := utf8.DecodeRuneInString(p.text[p.at:])
		found = "'" + p.text[p.at:p.at+size] + "'"
	}
	return invalid("Expected " + what + " at position " + strconv.Itoa(p.at+1) + ", found " + found + ".")
}

func (p *parser) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \n\r\t\f", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take consumes c after blanks, and the blanks behind it.
func (p *parser) take(c byte) bool {
	p.skip()
	if p.at >= len(p.text) || p.text[p.at] != c {
		return false
	}
	p.at++
	p.skip()
	return true
}

func (p *parser) want(c byte) error {
	if !p.take(c) {
		return p.expected("'" + string(c) + "'")
	}
	return nil
}

func (p *parser) expression(depth int) (node, error) {
	if depth >= maxDepth {
		return node{}, invalid("The expression is nested deeper than " + strconv.Itoa(maxDepth) + " levels.")
	}
	p.skip()
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= 'a' && p.text[p.at] <= 'z' {
		p.at++
	}
	op, ok := operators[p.text[start:p.at]]
	if !ok {
		p.at = start
		return node{}, p.expected("an operator (eq, ne, gt, ge, lt, le, like, ilike, in, exists, empty, and, or, not)")
	}
	n := node{op: op}
	if err := p.want('('); err != nil {
		return n, err
	}
	var err error
	switch op {
	case opAnd, opOr, opNot:
		err = p.children(&n, depth)
	default:
		err = p.comparison(&n)
	}
	if err != nil {
		return n, err
	}
	return n, p.want(')')
}

func (p *parser) children(n *node, depth int) error {
	for {
		child, err := p.expression(depth + 1)
		if err != nil {
			return err
		}
		n.children = append(n.children, child)
		if n.op == opNot || !p.take(',') {
			return nil
		}
	}
}

func (p *parser) comparison(n *node) error {
	var err error
	if n.field, err = p.field(); err != nil || n.op == opExists || n.op == opEmpty {
		return err
	}
	if err := p.want(','); err != nil {
		return err
	}
	for {
		l, err := p.literal()
		if err != nil {
			return err
		}
		if n.op == opILike {
			l.folded = fold(text(l.value))
		}
		n.literals = append(n.literals, l)
		if n.op != opIn || !p.take(',') {
			return nil
		}
	}
}

// field reads the name of a field up to the comma or parenthesis behind it.
func (p *parser) field() (string, error) {
	var b strings.Builder
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ',', ')':
			if field := strings.TrimRight(b.String(), " \n\r\t\f"); field != "" {
				return field, nil
			}
			return "", p.expected("a field")
		case '"':
			return "", p.expected("a field without quotes")
		case '\\':
			if err := p.escape(&b, '"'); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	return "", p.expected("',' or ')'")
}

func (p *parser) literal() (literal, error) {
	p.skip()
	if p.at >= len(p.text) {
		return literal{}, p.expected("a value")
	}
	rest := p.text[p.at:]
	switch c := rest[0]; {
	case c == '"' || c == '\'':
		s, err := p.quoted(c)
		return literal{value: s}, err
	case c == '+' || c == '-' || c >= '0' && c <= '9':
		v, err := p.number()
		return literal{value: v}, err
	case strings.HasPrefix(rest, "time:"):
		name, err := p.field()
		return literal{placeholder: name}, err
	}
	for word, value := range words {
		if strings.HasPrefix(rest, word) {
			p.at += len(word)
			return literal{value: value}, nil
		}
	}
	return literal{}, p.expected("a number, a text in quotes, true, false, null or time:…")
}

var words = map[string]any{"true": true, "false": false, "null": nil}

// number reads an int64, or a float64 when it has a fraction.
func (p *parser) number() (any, error) {
	start := p.at
	if c := p.text[p.at]; c == '+' || c == '-' {
		p.at++
	}
	whole := p.digits()
	switch {
	case whole == "":
		return nil, p.expected("a digit")
	case len(whole) > 1 && whole[0] == '0':
		return nil, invalid("The number " + p.text[start:p.at] + " begins with 0.")
	}
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		if p.digits() == "" {
			return nil, p.expected("a digit")
		}
		f, err := strconv.ParseFloat(p.text[start:p.at], 64)
		if err != nil {
			return nil, invalid("The number " + p.text[start:p.at] + " is too large.")
		}
		return f, nil
	}
	n, err := strconv.ParseInt(p.text[start:p.at], 10, 64)
	if err != nil || p.text[start:p.at] == "-0" {
		return nil, invalid("The number " + p.text[start:p.at] + " is no whole number of 64 bits.")
	}
	return n, nil
}

func (p *parser) digits() string {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.text[start:p.at]
}

func (p *parser) quoted(quote byte) (string, error) {
	var b strings.Builder
	for p.at++; p.at < len(p.text); {
		switch c := p.text[p.at]; c {
		case quote:
			p.at++
			return b.String(), nil
		case '\\':
			if err := p.escape(&b, quote); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	return "", p.expected("the closing " + string(quote))
}

var escapes = map[byte]byte{'\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads a backslash and what follows it.
func (p *parser) escape(b *strings.Builder, quote byte) error {
	rest := p.text[p.at+1:]
	switch {
	case rest == "":
		p.at++
		return p.expected("an escaped character")
	case rest[0] == quote:
		b.WriteByte(quote)
	case escapes[rest[0]] != 0:
		b.WriteByte(escapes[rest[0]])
	case rest[0] == 'u' && len(rest) >= 5:
		n, err := strconv.ParseUint(rest[1:5], 16, 16)
		if err != nil || rest[1] == '+' || rest[1] == '-' {
			p.at++
			return p.expected("four hexadecimal digits")
		}
		b.WriteRune(rune(n))
		p.at += 4
	default:
		p.at++
		return p.expected("an escaped character")
	}
	p.at += 2
	return nil
}
