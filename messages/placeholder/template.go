package placeholder

import "strings"

// maxValues bounds what a template or a function may produce: beyond it the expression counts as unresolved, so that
// fn:split on long headers cannot fill the memory by multiplication.
const maxValues = 1000

// Source says what placeholders stand for while one message is handled.
type Source interface {
	// Values returns the values of prefix:name, for instance ("header", "device_id"); several for a placeholder that has
	// several. False: it cannot be resolved for this message. The slice is not changed.
	Values(prefix, name string) ([]string, bool)
}

// SourceFunc is a function as a Source.
type SourceFunc func(prefix, name string) ([]string, bool)

// Values calls f.
func (f SourceFunc) Values(prefix, name string) ([]string, bool) { return f(prefix, name) }

// Outcome says what became of an expression.
type Outcome uint8

// The outcomes of contract runtime.md 9. Deleted is the effect of fn:delete(): like Unresolved, but no fn:default rescues it.
const (
	Unresolved Outcome = iota
	Resolved
	Deleted
)

// Template is a compiled text with any number of expressions. It is immutable and safe for concurrent use.
type Template struct {
	text  string
	parts []part // nil when the text holds no expression
}

// part is a piece of text, or an expression when pipeline is set.
type part struct {
	text     string
	pipeline *Pipeline
}

// Compile reads a text with {{ … }} and ${…} expressions; an expression ends at the first closing brackets, and text
// without closing ones is literal. Errors are *messages.Error, status 400: placeholder:function.unknown,
// placeholder:function.signature.invalid, placeholder:function.too.complex, placeholder:unresolved for an expression that
// is no placeholder at all. Whether prefix and name exist is the question of Check.
func Compile(text string) (*Template, error) {
	t := &Template{text: text}
	rest := text
	for {
		start, inner, after, ok := nextExpression(rest)
		if !ok {
			break
		}
		p, err := CompilePipeline(inner)
		if err != nil {
			return nil, err
		}
		if start > 0 {
			t.parts = append(t.parts, part{text: rest[:start]})
		}
		t.parts = append(t.parts, part{pipeline: p})
		rest = rest[after:]
	}
	if t.parts != nil && rest != "" {
		t.parts = append(t.parts, part{text: rest})
	}
	return t, nil
}

// nextExpression finds the first expression in s: where it starts, what is between its brackets and where the text after
// it starts.
func nextExpression(s string) (start int, inner string, after int, ok bool) {
	for i := 0; i+1 < len(s); i++ {
		var end string
		switch s[i : i+2] {
		case "{{":
			end = "}}"
		case "${":
			end = "}"
		default:
			continue
		}
		if n := strings.Index(s[i+2:], end); n >= 0 {
			return i, s[i+2 : i+2+n], i + 2 + n + len(end), true
		}
	}
	return 0, "", 0, false
}

// Constant returns the text and true when it holds no expression.
func (t *Template) Constant() (string, bool) { return t.text, t.parts == nil }

// String returns the text as it was compiled.
func (t *Template) String() string { return t.text }

// Resolve returns the first value. False: an expression is unresolved, or nothing is left but deleted ones.
func (t *Template) Resolve(s Source) (string, bool) {
	if t.parts == nil {
		return t.text, true
	}
	if len(t.parts) == 1 {
		values, outcome := t.parts[0].pipeline.Resolve(s, nil, false)
		if outcome != Resolved {
			return "", false
		}
		return values[0], true
	}
	var b strings.Builder
	anything := false
	for _, p := range t.parts {
		if p.pipeline == nil {
			b.WriteString(p.text)
			anything = true
			continue
		}
		switch values, outcome := p.pipeline.Resolve(s, nil, false); outcome {
		case Unresolved:
			return "", false
		case Resolved:
			b.WriteString(values[0])
			anything = true
		}
	}
	return b.String(), anything
}

// ResolveAll returns all values, the cartesian product of its expressions' values, the last expression varying fastest.
// More than a thousand values count as unresolved.
func (t *Template) ResolveAll(s Source) ([]string, bool) {
	values, outcome := t.Evaluate(s)
	return values, outcome == Resolved
}

// Evaluate is ResolveAll that tells unresolved from deleted. A deleted expression beside others leaves nothing in its
// place; a template of deleted expressions only is deleted.
func (t *Template) Evaluate(s Source) ([]string, Outcome) {
	if t.parts == nil {
		return []string{t.text}, Resolved
	}
	results := []string{""}
	outcome := Deleted
	for _, p := range t.parts {
		if p.pipeline == nil {
			outcome = Resolved
			for i := range results {
				results[i] += p.text
			}
			continue
		}
		values, o := p.pipeline.Resolve(s, nil, false)
		switch o {
		case Unresolved:
			return nil, Unresolved
		case Deleted:
			continue
		}
		outcome = Resolved
		if results = multiply(results, values); results == nil {
			return nil, Unresolved
		}
	}
	if outcome != Resolved {
		return nil, outcome
	}
	return results, Resolved
}

// multiply appends each of values to each of prefixes; nil when that gives too many.
func multiply(prefixes, values []string) []string {
	if len(prefixes)*len(values) > maxValues {
		return nil
	}
	all := make([]string, 0, len(prefixes)*len(values))
	for _, p := range prefixes {
		for _, v := range values {
			all = append(all, p+v)
		}
	}
	return all
}

// Placeholders returns every placeholder used, those in function arguments included, in the order of the text.
func (t *Template) Placeholders() []Name {
	var names []Name
	for _, p := range t.parts {
		if p.pipeline != nil {
			names = append(names, p.pipeline.Placeholders()...)
		}
	}
	return names
}

// Check returns placeholder:unresolved (400) for the first placeholder whose prefix is not among prefixes or whose name
// that prefix does not know (contract connection-model.md 13.2).
func (t *Template) Check(prefixes ...string) error { return check(t.Placeholders(), prefixes) }
