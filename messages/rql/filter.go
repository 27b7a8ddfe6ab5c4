package rql

// Filter is a parsed expression. It is immutable and safe for concurrent use.
type Filter struct {
	text string
}

// Verdict is the result of an evaluation that may lack data.
type Verdict uint8

// The verdicts. Unknown means that the answer depends on fields which the caller does not know yet.
const (
	False Verdict = iota
	True
	Unknown
)

// Parse reads an expression. The error is *messages.Error rql.expression.invalid, 400.
func Parse(text string) (*Filter, error) { return &Filter{text: text}, nil }

// String returns the expression as it was parsed.
func (f *Filter) String() string { return f.text }

// Fields returns every field that the expression reads, in the order of the text: JSON pointers as they are written
// ("attributes/color") and placeholders ("topic:action").
func (f *Filter) Fields() []string { return nil }

// Evaluate asks get for each field it needs. Get returns the values at that field (none: absent; several where the
// pointer crosses an array) and whether the field is known. Values are what encoding/json makes of JSON: string, bool,
// nil, float64, json.Number, []any, map[string]any; int and int64 are taken, too.
func (f *Filter) Evaluate(get func(field string) (values []any, known bool)) Verdict { return Unknown }

// Matches is Evaluate for a caller who knows everything: unknown fields count as absent.
func (f *Filter) Matches(get func(field string) (values []any, known bool)) bool { return false }
