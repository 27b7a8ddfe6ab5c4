package placeholder

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// function is one pipeline function.
type function struct {
	minArgs, maxArgs int
	placeholders     bool   // arguments may be placeholders and functions, not only quoted texts
	takes            string // for error texts
	apply            func(c *call, s Source, in element) element
}

// functions are the functions of contract runtime.md 9.2, by the name after "fn:". It is filled in init because default
// and filter evaluate pipelines, which refer to it.
var functions map[string]*function

var functionNames string

func init() {
	const oneText = "one quoted text"
	functions = map[string]*function{
		"filter":           {minArgs: 2, maxArgs: 3, placeholders: true, takes: "a value, a relation and a value to compare with; value or compared value may be left out", apply: applyFilter},
		"default":          {minArgs: 1, maxArgs: 1, placeholders: true, takes: "one quoted text or placeholder", apply: applyDefault},
		"delete":           {takes: "no argument", apply: func(*call, Source, element) element { return element{outcome: Deleted} }},
		"substring-before": {minArgs: 1, maxArgs: 1, takes: oneText, apply: each(substringBefore)},
		"substring-after":  {minArgs: 1, maxArgs: 1, takes: oneText, apply: each(substringAfter)},
		"lower":            {takes: "no argument", apply: each(always(strings.ToLower))},
		"upper":            {takes: "no argument", apply: each(always(strings.ToUpper))},
		"trim":             {takes: "no argument", apply: each(always(trim))},
		"url-encode":       {takes: "no argument", apply: each(always(urlEncode))},
		"url-decode":       {takes: "no argument", apply: each(urlDecode)},
		"base64-encode":    {takes: "no argument", apply: each(always(base64Encode))},
		"base64-decode":    {takes: "no argument", apply: each(base64Decode)},
		"replace":          {minArgs: 2, maxArgs: 2, takes: "two quoted texts", apply: each(replace)},
		"split":            {minArgs: 1, maxArgs: 1, takes: oneText, apply: applySplit},
		"join":             {minArgs: 1, maxArgs: 1, takes: oneText, apply: applyJoin},
		"format":           {minArgs: 1, maxArgs: 1, takes: oneText, apply: applyFormat},
	}
	functionNames = "fn:" + strings.Join(slices.Sorted(maps.Keys(functions)), "(), fn:") + "()"
}

// each applies f to every value; values for which it is false are left out.
func each(f func(c *call, value string) (string, bool)) func(*call, Source, element) element {
	return func(c *call, _ Source, in element) element {
		if in.outcome != Resolved {
			return in
		}
		values := make([]string, 0, len(in.values))
		for _, v := range in.values {
			if r, ok := f(c, v); ok {
				values = append(values, r)
			}
		}
		return element{values: values, outcome: Resolved}
	}
}

func always(f func(string) string) func(*call, string) (string, bool) {
	return func(_ *call, value string) (string, bool) { return f(value), true }
}

func substringBefore(c *call, value string) (string, bool) {
	before, _, ok := strings.Cut(value, c.args[0].constant)
	return before, ok
}

func substringAfter(c *call, value string) (string, bool) {
	_, after, ok := strings.Cut(value, c.args[0].constant)
	return after, ok
}

func trim(s string) string { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) }

// urlEncode is the form encoding of the web: of the marks only - _ . * stay.
func urlEncode(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "%2A", "*"), "~", "%7E")
}

func urlDecode(_ *call, value string) (string, bool) {
	s, err := url.QueryUnescape(value)
	return s, err == nil
}

func base64Encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func base64Decode(_ *call, value string) (string, bool) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		b, err = base64.RawStdEncoding.DecodeString(value)
	}
	return string(b), err == nil
}

// replace leaves the value alone when the text to replace is empty.
func replace(c *call, value string) (string, bool) {
	if c.args[0].constant == "" {
		return value, true
	}
	return strings.ReplaceAll(value, c.args[0].constant, c.args[1].constant), true
}

// applyDefault keeps what is resolved or deleted.
func applyDefault(c *call, s Source, in element) element {
	if in.outcome != Unresolved {
		return in
	}
	return c.args[0].resolve(s)
}

// applySplit drops empty values at the end, as upstream's language does.
func applySplit(c *call, _ Source, in element) element {
	if in.outcome != Resolved || c.args[0].constant == "" {
		return in
	}
	var values []string
	for _, v := range in.values {
		if !strings.Contains(v, c.args[0].constant) {
			values = append(values, v)
			continue
		}
		parts := strings.SplitN(v, c.args[0].constant, maxValues+2)
		for len(parts) > 0 && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1]
		}
		values = append(values, parts...)
		if len(values) > maxValues {
			break // Resolve makes that unresolved
		}
	}
	return element{values: values, outcome: Resolved}
}

func applyJoin(c *call, _ Source, in element) element {
	if in.outcome != Resolved {
		return in
	}
	return element{values: []string{strings.Join(in.values, c.args[0].constant)}, outcome: Resolved}
}

// relations are those of fn:filter but for exists. An unresolved value counts as "".
var relations = map[string]func(value, compared string) bool{
	"eq":   func(v, c string) bool { return v == c },
	"ne":   func(v, c string) bool { return v != c },
	"like": like,
}

const relationExists = "exists"

// applyFilter has four forms: (value, rel, compared), (value, 'exists'), (rel, compared) and, for (value, 'exists', flag),
// a compared text that is true or false. The form with a value keeps all previous values or none, the one without decides
// on each of them.
func applyFilter(c *call, s Source, in element) element {
	if in.outcome != Resolved {
		return in
	}
	first, second := c.args[0].resolve(s), c.args[1].resolve(s)
	switch {
	case len(c.args) == 3:
		if holds(first, firstValue(second), c.args[2].resolve(s)) {
			return in
		}
		return element{}
	case firstValue(second) == relationExists:
		if first.outcome == Resolved {
			return in
		}
		return element{}
	}
	var kept []string
	for _, v := range in.values {
		if holds(element{values: []string{v}, outcome: Resolved}, firstValue(first), second) {
			kept = append(kept, v)
		}
	}
	return element{values: kept, outcome: Resolved}
}

func firstValue(e element) string {
	if e.outcome != Resolved {
		return ""
	}
	return e.values[0]
}

var unresolvedValue = []string{""}

// holds reports whether the relation holds between any of the values and any of the compared ones.
func holds(value element, relation string, compared element) bool {
	values, others := value.values, compared.values
	if value.outcome != Resolved {
		values = unresolvedValue
	}
	if compared.outcome != Resolved {
		others = unresolvedValue
	}
	if relation == relationExists {
		return slices.Contains(others, "true") && value.outcome == Resolved ||
			slices.ContainsFunc(others, func(s string) bool { return s != "true" }) && value.outcome != Resolved
	}
	rel, ok := relations[relation]
	if !ok {
		return false
	}
	for _, v := range values {
		for _, o := range others {
			if rel(v, o) {
				return true
			}
		}
	}
	return false
}

// like matches value against the alternatives of pattern, separated by "|": "*" stands for any text, "?" for any
// character.
func like(value, pattern string) bool {
	for alternative := range strings.SplitSeq(pattern, "|") {
		if Wildcard(value, alternative) {
			return true
		}
	}
	return false
}

// Wildcard reports whether the whole value matches pattern, in which "*" stands for any text and "?" for any character.
// Its time is bounded by the product of both lengths.
func Wildcard(value, pattern string) bool {
	v, p := 0, 0
	star, mark := -1, 0 // where to go back to: behind the last star, one character later in value
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, v
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, size := utf8.DecodeRuneInString(value[v:])
			v += size
			p++
		case p < len(pattern) && pattern[p] == value[v]:
			v++
			p++
		case star >= 0:
			_, size := utf8.DecodeRuneInString(value[mark:])
			mark += size
			v, p = mark, star+1
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
