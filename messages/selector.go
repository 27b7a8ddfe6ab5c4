package messages

import (
	"encoding/json"
	"strings"
)

// FieldSelector is a parsed field selector such as "id,sources(addresses),_revision" (contract piggyback.md 4.3,
// connection-model.md 11).
type FieldSelector struct {
	Pointers []string // "/id", "/sources/addresses", in order

	root selection
}

// selection is a tree of selected members; one without children selects everything below it.
type selection map[string]*selectedField

type selectedField struct {
	whole    bool
	children selection
}

// maxSelectorDepth bounds nested parentheses.
const maxSelectorDepth = 100

// ParseFieldSelector reads a comma-separated list of pointers, with or without leading slash; "a(b,c)" is "a/b,a/c".
// Blanks belong to names. The empty text selects nothing. The error is json.fieldselector.invalid.
func ParseFieldSelector(text string) (*FieldSelector, error) {
	p := selectorParser{text: text}
	if !p.list("", 0) || p.at != len(text) {
		return nil, NewFieldSelectorInvalid(text)
	}
	s := &FieldSelector{Pointers: p.pointers, root: selection{}}
	for _, pointer := range p.pointers {
		s.root.add(strings.Split(pointer[1:], "/"))
	}
	return s, nil
}

// selectorParser splits a selector into pointers.
type selectorParser struct {
	text     string
	at       int
	pointers []string
}

// list reads fields up to the end of the text or the closing parenthesis; false: malformed.
func (p *selectorParser) list(prefix string, depth int) bool {
	if depth > maxSelectorDepth {
		return false
	}
	for {
		start := p.at
		for p.at < len(p.text) && strings.IndexByte("(),", p.text[p.at]) < 0 {
			p.at++
		}
		name := strings.Trim(p.text[start:p.at], "/")
		if strings.Contains(name, "//") {
			return false
		}
		pointer := prefix
		if name != "" {
			pointer += "/" + name
		}
		if p.at < len(p.text) && p.text[p.at] == '(' {
			p.at++
			if name == "" || !p.list(pointer, depth+1) || p.at == len(p.text) || p.text[p.at] != ')' {
				return false
			}
			p.at++
			if p.at < len(p.text) && p.text[p.at] != ',' && p.text[p.at] != ')' {
				return false
			}
		} else if name != "" {
			p.pointers = append(p.pointers, pointer)
		}
		if p.at == len(p.text) {
			return depth == 0
		}
		if p.text[p.at] == ')' {
			return depth > 0
		}
		p.at++ // comma
	}
}

func (s selection) add(path []string) {
	name := unescapePointer(path[0])
	field := s[name]
	if field == nil {
		field = &selectedField{children: selection{}}
		s[name] = field
	}
	if len(path) == 1 {
		field.whole = true
		return
	}
	field.children.add(path[1:])
}

// unescapePointer decodes ~1 and ~0 of a JSON pointer.
func unescapePointer(s string) string {
	if !strings.Contains(s, "~") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
}

// Select projects a JSON object: members that are selected, in the order of the document; unknown names are skipped, arrays
// are walked. The error says that the document is no JSON object.
func (s *FieldSelector) Select(document json.RawMessage) (json.RawMessage, error) {
	v, err := parseJSON(document)
	if err != nil || v.kind != jsonObject {
		return nil, NewJSONFormatInvalid()
	}
	return s.appendSelected(nil, v), nil
}

func (s *FieldSelector) appendSelected(dst []byte, document jsonValue) []byte {
	return s.root.appendObject(dst, document)
}

func (s selection) appendObject(dst []byte, v jsonValue) []byte {
	w := objectWriter{dst: dst}
	w.open()
	for i, m := range v.inner {
		field := s[string(m.name)]
		if field == nil || !field.selects(m.value) || v.repeated(i) {
			continue
		}
		w.key(string(m.name))
		w.dst = field.append(w.dst, m.value)
	}
	return w.close()
}

// selects reports whether anything of v is selected.
func (f *selectedField) selects(v jsonValue) bool {
	switch {
	case f.whole, v.kind == jsonArray:
		return true
	case v.kind != jsonObject:
		return false
	}
	for _, m := range v.inner {
		if child := f.children[string(m.name)]; child != nil && child.selects(m.value) {
			return true
		}
	}
	return false
}

func (f *selectedField) append(dst []byte, v jsonValue) []byte {
	if f.whole {
		return append(dst, v.raw...)
	}
	if v.kind == jsonObject {
		return f.children.appendObject(dst, v)
	}
	// An array: each object is projected in its place, anything else has no members and is left out.
	dst = append(dst, '[')
	first := true
	for _, e := range v.inner {
		if e.value.kind != jsonObject {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = f.children.appendObject(dst, e.value)
	}
	return append(dst, ']')
}
