package encryption

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// ErrDocument says that a stored text is no JSON object.
var ErrDocument = errors.New("encryption: the document is no JSON object")

// change is what happens to the value at a protected pointer: the new text, whether it differs, and an error that ends the walk.
type change func(pointer, text string) (changed string, differs bool, err error)

// rewriteDocument walks once over a JSON text and lets change decide on each string at a pointer of the tree; everything else
// stays byte by byte. found reports whether a pointer leads anywhere, whatever is there. What is returned is doc itself when
// nothing differs.
func rewriteDocument(doc []byte, tree *node, change change) (rewritten []byte, found bool, err error) {
	w := walk{doc: doc, change: change}
	w.space()
	if w.next() != '{' {
		return nil, false, ErrDocument
	}
	if err := w.value(tree); err != nil {
		return nil, false, err
	}
	if w.space(); w.at != len(doc) {
		return nil, false, ErrDocument
	}
	if w.out == nil {
		return doc, w.found, nil
	}
	return append(w.out, doc[w.copied:]...), w.found, nil
}

// walk is a place in a text. It does not check all of JSON, which the reader of the document does; it does not leave the text.
type walk struct {
	doc    []byte
	at     int
	out    []byte // nil until something differs
	copied int    // doc up to here is in out
	change change
	found  bool
}

// next is the byte at this place, 0 at the end.
func (w *walk) next() byte {
	if w.at < len(w.doc) {
		return w.doc[w.at]
	}
	return 0
}

func (w *walk) space() {
	for w.at < len(w.doc) {
		switch w.doc[w.at] {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return
		}
	}
}

// value steps over the value here, which is n of the tree. It goes no deeper than the tree.
func (w *walk) value(n *node) error {
	if n.pointer != "" {
		w.found = true
	}
	switch c := w.next(); {
	case c == '{' && n.children != nil:
		return w.object(n)
	case c == '"' && n.pointer != "":
		return w.protected(n.pointer)
	default:
		return w.skip()
	}
}

func (w *walk) object(n *node) error {
	w.at++
	for w.space(); w.next() != '}'; {
		name, err := w.text()
		if err != nil {
			return err
		}
		if w.space(); w.next() != ':' {
			return ErrDocument
		}
		w.at++
		w.space()
		if child := n.child(name); child != nil {
			err = w.value(child)
		} else {
			err = w.skip()
		}
		if err != nil {
			return err
		}
		w.space()
		switch w.next() {
		case ',':
			w.at++
			if w.space(); w.next() == '}' {
				return ErrDocument
			}
		case '}':
		default:
			return ErrDocument
		}
	}
	w.at++
	return nil
}

// child is the place that a member's quoted name leads to, nil for none.
func (n *node) child(quoted []byte) *node {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return n.children[string(quoted[1:len(quoted)-1])]
	}
	name, err := unquote(quoted)
	if err != nil {
		return nil // no JSON; the reader of the document says so
	}
	return n.children[name]
}

func (w *walk) protected(pointer string) error {
	start := w.at
	quoted, err := w.text()
	if err != nil {
		return err
	}
	text, err := unquote(quoted)
	if err != nil {
		return err
	}
	changed, differs, err := w.change(pointer, text)
	if err != nil || !differs {
		return err
	}
	if w.out == nil {
		w.out = make([]byte, 0, len(w.doc)+256)
	}
	w.out = append(w.out, w.doc[w.copied:start]...)
	w.out = appendQuoted(w.out, changed)
	w.copied = w.at
	return nil
}

// text steps over a string and returns it with its quotes.
func (w *walk) text() ([]byte, error) {
	if w.next() != '"' {
		return nil, ErrDocument
	}
	start := w.at
	for w.at++; ; {
		i := bytes.IndexByte(w.doc[w.at:], '"')
		if i < 0 {
			return nil, ErrDocument
		}
		w.at += i + 1
		backslashes := 0
		for w.doc[w.at-2-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return w.doc[start:w.at], nil
		}
	}
}

// skip steps over any value, however deep.
func (w *walk) skip() error {
	start := w.at
	for depth := 0; ; {
		switch w.next() {
		case 0:
			if w.at < len(w.doc) || depth > 0 || w.at == start {
				return ErrDocument
			}
			return nil
		case '"':
			if _, err := w.text(); err != nil {
				return err
			}
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			if depth == 0 { // of the object around; a scalar ends here
				return w.scalar(start)
			}
			depth--
			w.at++
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return w.scalar(start)
			}
			w.at++
		default:
			w.at++
			continue // in a scalar, or a colon
		}
		if depth == 0 {
			return nil
		}
	}
}

func (w *walk) scalar(start int) error {
	if w.at == start {
		return ErrDocument
	}
	return nil
}

// unquote returns what a quoted string stands for.
func unquote(quoted []byte) (string, error) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), nil
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return "", ErrDocument // not the library's error, which may show a part of the text
	}
	return s, nil
}

// appendQuoted renders a text as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
