package rql

import "hawser/messages/placeholder"

// Filter is a parsed expression. It is immutable and safe for concurrent use.
type Filter struct {
	text string
	root node
}

// Verdict is the result of an evaluation that may lack data.
type Verdict uint8

// The verdicts. Unknown means that the answer depends on fields which the caller does not know yet.
const (
	False Verdict = iota
	True
	Unknown
)

// String returns false, true or unknown.
func (v Verdict) String() string { return [...]string{"false", "true", "unknown"}[v] }

// Getter says what a field holds: its values (none: absent; several where a pointer crosses an array or a placeholder has
// several) and whether the field is known. Values are what encoding/json makes of JSON: string, bool, nil, float64,
// json.Number, []any, map[string]any; int and int64 are taken, too.
type Getter func(field string) (values []any, known bool)

// node is one operation.
type node struct {
	op       operator
	field    string    // comparisons, exists, empty
	literals []literal // one, in: several
	children []node    // and, or, not
}

// literal is a value in the expression: string, bool, nil, int64, float64; or the placeholder whose value it is.
type literal struct {
	value       any
	placeholder string // "time:now-1h", "" for a value
	folded      string // ilike: the pattern in lower case
}

// String returns the expression as it was parsed.
func (f *Filter) String() string { return f.text }

// Fields returns every field that the expression reads, in the order of the text: JSON pointers as they are written
// ("attributes/color") and placeholders ("topic:action", "time:now").
func (f *Filter) Fields() []string { return f.root.fields(nil) }

func (n *node) fields(found []string) []string {
	if n.field != "" {
		found = append(found, n.field)
	}
	for _, l := range n.literals {
		if l.placeholder != "" {
			found = append(found, l.placeholder)
		}
	}
	for i := range n.children {
		found = n.children[i].fields(found)
	}
	return found
}

// Evaluate asks get for each field and placeholder it needs and stops as soon as the verdict is clear.
func (f *Filter) Evaluate(get func(field string) (values []any, known bool)) Verdict {
	return f.root.evaluate(get)
}

// Matches is Evaluate for a caller who knows everything: unknown fields count as absent.
func (f *Filter) Matches(get func(field string) (values []any, known bool)) bool {
	return f.root.evaluate(func(field string) ([]any, bool) {
		values, known := get(field)
		if !known {
			return nil, true
		}
		return values, true
	}) == True
}

func (n *node) evaluate(get Getter) Verdict {
	switch n.op {
	case opAnd:
		return n.all(get, False, True)
	case opOr:
		return n.all(get, True, False)
	case opNot:
		return negate(n.children[0].evaluate(get))
	}
	values, known := get(n.field)
	if !known {
		return Unknown
	}
	switch n.op {
	case opExists:
		return verdict(len(values) > 0)
	case opEmpty:
		return verdict(isEmpty(values))
	}
	found := False
	for _, l := range n.literals {
		if l.placeholder != "" {
			resolved, known := get(l.placeholder)
			if !known {
				found = Unknown
				continue
			}
			l.value = nil // one that does not resolve compares as null
			if len(resolved) > 0 {
				l.value = resolved[0]
			}
		}
		if anyHolds(n.op, values, &l) {
			found = True
			break
		}
	}
	if n.op == opNe {
		return negate(found)
	}
	return found
}

// all evaluates the children until one of them decides.
func (n *node) all(get Getter, decides, otherwise Verdict) Verdict {
	result := otherwise
	for i := range n.children {
		switch v := n.children[i].evaluate(get); v {
		case decides:
			return decides
		case Unknown:
			result = Unknown
		}
	}
	return result
}

func verdict(b bool) Verdict {
	if b {
		return True
	}
	return False
}

func negate(v Verdict) Verdict {
	switch v {
	case True:
		return False
	case False:
		return True
	}
	return Unknown
}

// isEmpty: absent, null, "", [] or {}; of several values all of them.
func isEmpty(values []any) bool {
	for _, v := range values {
		switch v := v.(type) {
		case nil:
		case string:
			if v != "" {
				return false
			}
		case []any:
			if len(v) > 0 {
				return false
			}
		case map[string]any:
			if len(v) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// anyHolds reports whether the operation holds for any value; an array stands for its elements. opNe is evaluated as opEq.
func anyHolds(op operator, values []any, l *literal) bool {
	for _, v := range values {
		if array, ok := v.([]any); ok {
			if anyHolds(op, array, l) {
				return true
			}
			continue
		}
		if holds(op, v, l) {
			return true
		}
	}
	return false
}

func holds(op operator, v any, l *literal) bool {
	switch op {
	case opLike:
		s, ok := v.(string)
		return ok && placeholder.Wildcard(s, text(l.value))
	case opILike:
		s, ok := v.(string)
		if l.folded == "" {
			l.folded = fold(text(l.value))
		}
		return ok && placeholder.Wildcard(fold(s), l.folded)
	}
	c, ok := compare(v, l.value)
	if !ok {
		return false
	}
	switch op {
	case opEq, opNe, opIn:
		return c == 0
	case opGt:
		return c > 0
	case opGe:
		return c >= 0
	case opLt:
		return c < 0
	case opLe:
		return c <= 0
	}
	return false
}
