package placeholder

import (
	"bytes"
	"encoding/json"
	"strings"
)

// format is the compiled argument of fn:format: texts, fields and sections (contract runtime.md 9.2).
type format struct{ parts []formatPart }

type formatPart struct {
	text    string
	field   string  // a name, a JSON pointer or "." of {…}; "" for a text
	section *format // {#field}…{/field}
}

// compileFormat reads a format: {name}, {/json/pointer}, {.}, {#name}…{/name}; \{ and \} are braces. A brace without its
// counterpart is a text. The error says which section is not closed.
func compileFormat(template string) (*format, error) {
	f, _, err := parseFormat(template, "", 0)
	return f, err
}

// parseFormat reads up to the tag that closes section, or to the end when section is "".
func parseFormat(s, section string, depth int) (f *format, rest string, err error) {
	if depth > maxFunctions {
		return nil, "", tooComplex()
	}
	f = &format{}
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			f.parts = append(f.parts, formatPart{text: literal.String()})
			literal.Reset()
		}
	}
	for s != "" {
		if len(s) > 1 && s[0] == '\\' && (s[1] == '{' || s[1] == '}') {
			literal.WriteByte(s[1])
			s = s[2:]
			continue
		}
		end := strings.IndexByte(s, '}')
		if s[0] != '{' || end < 2 {
			literal.WriteByte(s[0])
			s = s[1:]
			continue
		}
		tag := s[1:end]
		switch {
		case section != "" && tag == "/"+section:
			flush()
			return f, s[end+1:], nil
		case tag[0] == '#' && len(tag) > 1:
			flush()
			inner, after, err := parseFormat(s[end+1:], tag[1:], depth+1)
			if err != nil {
				return nil, "", err
			}
			f.parts = append(f.parts, formatPart{field: tag[1:], section: inner})
			s = after
			continue
		case tag[0] == '/' && strings.Count(tag, "/") == 1: // closes no section that is open
			literal.WriteString(s[:end+1])
		default:
			flush()
			f.parts = append(f.parts, formatPart{field: tag})
		}
		s = s[end+1:]
	}
	if section != "" {
		return nil, "", invalidSignature("format", "…{#"+section+"}…", "a format; Unclosed section tag {#"+section+"}")
	}
	flush()
	return f, "", nil
}

// applyFormat formats every value that is a JSON object. When none is, the result is one empty text, as upstream has it.
func applyFormat(c *call, _ Source, in element) element {
	if in.outcome != Resolved {
		return in
	}
	var results []string
	for _, v := range in.values {
		object, ok := decodeJSON(v).(map[string]any)
		if !ok {
			continue
		}
		formatted := c.format.resolve(object)
		if formatted == nil {
			return element{}
		}
		results = append(results, formatted...)
	}
	if len(results) == 0 {
		results = []string{""}
	}
	return element{values: results, outcome: Resolved}
}

func decodeJSON(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil
	}
	return v
}

// resolve returns the product of all parts' values; nil when there are too many.
func (f *format) resolve(scope any) []string {
	results := []string{""}
	for _, p := range f.parts {
		values := []string{p.text}
		switch {
		case p.section != nil:
			values = p.section.iterate(lookup(scope, p.field))
		case p.field != "":
			values = fieldValues(lookup(scope, p.field))
		}
		if values == nil {
			return nil
		}
		if results = multiply(results, values); results == nil {
			return nil
		}
	}
	return results
}

// iterate resolves the section for each element of an array, or once for another value; nil when that gives too many.
func (f *format) iterate(v any) []string {
	array, ok := v.([]any)
	if !ok {
		array = []any{v}
	}
	var results []string
	for _, el := range array {
		if el == nil {
			continue
		}
		values := f.resolve(el)
		if results = append(results, values...); values == nil || len(results) > maxValues {
			return nil
		}
	}
	if len(results) == 0 {
		return unresolvedValue
	}
	return results
}

// lookup returns a field of an object, or the scope itself for "."; nil when missing.
func lookup(scope any, field string) any {
	if field == "." {
		return scope
	}
	object, _ := scope.(map[string]any)
	if !strings.Contains(field, "/") {
		return object[field]
	}
	var v any = object
	for key := range strings.SplitSeq(strings.TrimPrefix(field, "/"), "/") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")]
	}
	return v
}

// fieldValues renders a field: an array gives one value for each element, missing and null "".
func fieldValues(v any) []string {
	array, ok := v.([]any)
	if !ok {
		return []string{plain(v)}
	}
	if len(array) == 0 {
		return unresolvedValue
	}
	values := make([]string, len(array))
	for i, el := range array {
		values[i] = plain(el)
	}
	return values
}

func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil { // cannot happen: v was decoded from JSON
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
