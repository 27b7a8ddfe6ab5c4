package placeholder

import "strings"

// maxFunctions is how many functions may follow one another, and how deep they may stand inside one another.
const maxFunctions = 10

// Pipeline is a compiled expression without braces: a placeholder or function followed by further functions. It is
// immutable and safe for concurrent use.
type Pipeline struct {
	text  string
	first Name // the placeholder it starts with; zero when it starts with a function
	calls []call
}

// call is one function with its arguments.
type call struct {
	function *function
	args     []argument
	format   *format // fn:format only: its argument, compiled
}

// argument is a constant or, when pipeline is set, a placeholder or function without input.
type argument struct {
	constant string
	pipeline *Pipeline
}

// CompilePipeline reads an expression such as "header:x | fn:lower()" or "fn:filter('like','a*')". Errors as in Compile.
func CompilePipeline(text string) (*Pipeline, error) { return compilePipeline(text, 0) }

func compilePipeline(text string, depth int) (*Pipeline, error) {
	if depth > maxFunctions {
		return nil, tooComplex()
	}
	p := &Pipeline{text: strings.TrimSpace(text)}
	stages, ok := splitUnquoted(text, '|')
	if !ok {
		return nil, NewUnresolved(p.text)
	}
	if !strings.HasPrefix(stages[0], "fn:") {
		if p.first, ok = parseName(stages[0]); !ok {
			return nil, NewUnresolved(stages[0])
		}
		stages = stages[1:]
	}
	if len(stages) > maxFunctions {
		return nil, tooComplex()
	}
	for _, stage := range stages {
		c, err := compileCall(stage, depth)
		if err != nil {
			return nil, err
		}
		p.calls = append(p.calls, c)
	}
	return p, nil
}

// splitUnquoted splits s at separators that stand outside of quotes and parentheses and trims the parts. A backslash
// before a quote keeps it from ending the string. False: a part is empty, a quote or a parenthesis is not closed.
func splitUnquoted(s string, separator byte) ([]string, bool) {
	var parts []string
	start, level := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'', '"':
			end := closingQuote(s, i)
			if end < 0 {
				return nil, false
			}
			i = end
		case '(':
			level++
		case ')':
			level--
		case separator:
			if level == 0 {
				parts = append(parts, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	parts = append(parts, strings.TrimSpace(s[start:]))
	for _, p := range parts {
		if p == "" {
			return nil, false
		}
	}
	return parts, level == 0
}

// closingQuote returns the index of the quote that ends the string beginning at i, -1 when there is none.
func closingQuote(s string, i int) int {
	quote := s[i]
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			if j+1 < len(s) && s[j+1] == quote {
				j++
			}
		case quote:
			return j
		}
	}
	return -1
}

// parseName reads prefix:name; the name may hold colons.
func parseName(s string) (Name, bool) {
	prefix, name, ok := strings.Cut(s, ":")
	prefix = strings.TrimSpace(prefix)
	return Name{Prefix: prefix, Name: name}, ok && prefix != "" && name != ""
}

func compileCall(stage string, depth int) (call, error) {
	name, rest, ok := strings.Cut(strings.TrimPrefix(stage, "fn:"), "(")
	name = strings.TrimSpace(name)
	f, known := functions[name]
	if !strings.HasPrefix(stage, "fn:") || !ok || !strings.HasSuffix(rest, ")") || !known {
		return call{}, unknownFunction(stage)
	}
	inner := strings.TrimSuffix(rest, ")")
	c := call{function: f}
	if strings.TrimSpace(inner) != "" {
		texts, ok := splitUnquoted(inner, ',')
		if !ok {
			return call{}, invalidSignature(name, inner, f.takes)
		}
		for _, text := range texts {
			arg, ok, err := compileArgument(text, depth)
			if err != nil {
				return call{}, err
			}
			if !ok || arg.pipeline != nil && !f.placeholders {
				return call{}, invalidSignature(name, inner, f.takes)
			}
			c.args = append(c.args, arg)
		}
	}
	if len(c.args) < f.minArgs || len(c.args) > f.maxArgs {
		return call{}, invalidSignature(name, inner, f.takes)
	}
	if name == "format" {
		var err error
		if c.format, err = compileFormat(c.args[0].constant); err != nil {
			return call{}, err
		}
	}
	return c, nil
}

// compileArgument reads one argument: a quoted text, a placeholder or a function. False: it is none of these.
func compileArgument(text string, depth int) (argument, bool, error) {
	if text[0] == '\'' || text[0] == '"' {
		end := closingQuote(text, 0)
		return argument{constant: text[1:end]}, end == len(text)-1, nil
	}
	if _, ok := parseName(text); !ok || strings.ContainsAny(text, " \t\r\n") && !strings.HasPrefix(text, "fn:") {
		return argument{}, false, nil
	}
	p, err := compilePipeline(text, depth+1)
	return argument{pipeline: p}, true, err
}

// String returns the expression as it was compiled, without blanks around it.
func (p *Pipeline) String() string { return p.text }

// Resolve runs the pipeline. One that starts with a function gets previous as its input, unresolved when resolved is
// false; one that starts with a placeholder ignores both. With Resolved there is at least one value. The slice returned
// must not be changed.
func (p *Pipeline) Resolve(s Source, previous []string, resolved bool) ([]string, Outcome) {
	in := element{}
	if p.first != (Name{}) {
		previous, resolved = s.Values(p.first.Prefix, p.first.Name)
	}
	if resolved && len(previous) > 0 {
		in = element{values: previous, outcome: Resolved}
	}
	for i := range p.calls {
		c := &p.calls[i]
		in = c.function.apply(c, s, in)
		if in.outcome == Resolved && (len(in.values) == 0 || len(in.values) > maxValues) {
			in = element{}
		}
	}
	return in.values, in.outcome
}

// element is what goes from one function to the next.
type element struct {
	values  []string
	outcome Outcome
}

// resolve evaluates an argument.
func (a *argument) resolve(s Source) element {
	if a.pipeline == nil {
		return element{values: []string{a.constant}, outcome: Resolved}
	}
	values, outcome := a.pipeline.Resolve(s, nil, false)
	return element{values: values, outcome: outcome}
}

// Placeholders returns every placeholder used, those in function arguments included, in the order of the text.
func (p *Pipeline) Placeholders() []Name {
	var names []Name
	if p.first != (Name{}) {
		names = append(names, p.first)
	}
	for _, c := range p.calls {
		for _, a := range c.args {
			if a.pipeline != nil {
				names = append(names, a.pipeline.Placeholders()...)
			}
		}
	}
	return names
}

// Check is Template.Check for a pipeline.
func (p *Pipeline) Check(prefixes ...string) error { return check(p.Placeholders(), prefixes) }
