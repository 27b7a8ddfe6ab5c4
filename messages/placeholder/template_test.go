package placeholder

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hawser/messages"
)

// headers is a Source of single headers.
func headers(pairs ...string) SourceFunc {
	return func(prefix, name string) ([]string, bool) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if prefix == "header" && pairs[i] == name {
				return []string{pairs[i+1]}, true
			}
		}
		return nil, false
	}
}

func TestCompileFindsTheExpressions(t *testing.T) {
	tests := []struct {
		text, want string // the first value with header a=A
	}{
		{"telemetry/{{ header:a }}/{{header:a|fn:lower()}}", "telemetry/A/a"},
		{"${header:a}-x", "A-x"},
		{"$share/group/topic", "$share/group/topic"},
		{"open {{ header:a", "open {{ header:a"},
		{"open ${header:a", "open ${header:a"},
		{"{ {header:a} }", "{ {header:a} }"},
		{"{{header:a | fn:default('}')}}", "A"},
		{`{{ header:none | fn:default("a|b") }}`, "a|b"},
		{`{{ header:none | fn:default('it''s') }}`, ""}, // refused: two texts without a comma
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			tmpl, err := Compile(tt.text)
			if tt.want == "" {
				wantCode(t, err, CodeSignatureInvalid)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := tmpl.Resolve(headers("a", "A")); !ok || got != tt.want {
				t.Errorf("got %q, %v", got, ok)
			}
			if _, constant := tmpl.Constant(); constant != (tt.want == tt.text) {
				t.Errorf("constant: %v", constant)
			}
		})
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *messages.Error
	if code == "" && err == nil {
		return
	}
	if !errors.As(err, &e) || e.Code != code || e.Status != 400 {
		t.Errorf("error %v, want %q", err, code)
	}
}

func TestCompileRefuses(t *testing.T) {
	ten := strings.Repeat("|fn:lower()", 10)
	nested := strings.Repeat("fn:default(", 12) + "'x'" + strings.Repeat(")", 12)
	tests := []struct{ text, code string }{
		{"{{ header:a" + ten + " }}", ""},
		{"{{ header:a" + ten + "|fn:lower() }}", CodeTooComplex}, // R42
		{"{{ " + nested + " }}", CodeTooComplex},
		{"{{ }}", CodeUnresolved}, {"{{ header }}", CodeUnresolved}, {"${prefix.name}", CodeUnresolved}, {"{{ header: }}", CodeUnresolved},
		{"{{ header:a | header:b }}", CodeFunctionUnknown}, {"{{ header:a | fn:upper }}", CodeFunctionUnknown},
		{"{{ header:a | fn:Upper() }}", CodeFunctionUnknown}, {"{{ header:a | fn:nothing() }}", CodeFunctionUnknown},
		{"{{ header:a | }}", CodeUnresolved}, {"{{ header:a | fn:default('x }}", CodeUnresolved},
		{"{{ header:a | fn:default(x) }}", CodeSignatureInvalid}, {"{{ header:a | fn:filter('eq') }}", CodeSignatureInvalid},
		{"{{ header:a | fn:filter('a','eq','b','c') }}", CodeSignatureInvalid}, {"{{ header:a | fn:delete('x') }}", CodeSignatureInvalid},
		{"{{ header:a | fn:split(header:b) }}", CodeSignatureInvalid}, {"{{ header:a | fn:default('x',) }}", CodeSignatureInvalid},
		{"{{ header:a | fn:format('{#x}') }}", CodeSignatureInvalid}, {"{{ header:a | fn:default(header:b c) }}", CodeSignatureInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			_, err := Compile(tt.text)
			wantCode(t, err, tt.code)
		})
	}
}

func TestCheck(t *testing.T) {
	all := []string{"header", "thing", "entity", "feature", "topic", "resource", "time", "request", "connection", "thing-json"}
	tests := []struct {
		text     string
		prefixes []string
		ok       bool
	}{
		{"a{{ header:any-name }}{{ topic:action-subject }}{{ time:now-1h[d] }}{{ thing-json:attributes/x }}", all, true},
		{"{{ thing:id }}", []string{"header"}, false},
		{"{{ policy:id }}", all, false},
		{"{{ thing:ID }}", all, false},
		{"{{ time:tomorrow }}", all, false}, {"{{ time:now+1x }}", all, false}, {"{{ time:now[q] }}", all, false},
		{"{{ header:a | fn:default(thing:id) }}", []string{"header"}, false},
		{"{{ header:a | fn:filter(header:b,'eq',thing:name) }}", []string{"header", "thing"}, true},
		{"{{ fn:default(fn:default(thing:id)) }}", []string{"header"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			tmpl, err := Compile(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if !tt.ok {
				want = CodeUnresolved
			}
			wantCode(t, tmpl.Check(tt.prefixes...), want)
		})
	}
}

func TestPlaceholdersOfArgumentsAreListed(t *testing.T) {
	tmpl, err := Compile("{{ header:a | fn:default(thing:id) | fn:filter(topic:action,'ne','x') }}/{{ fn:default(entity:id) }}")
	if err != nil {
		t.Fatal(err)
	}
	want := []Name{{"header", "a"}, {"thing", "id"}, {"topic", "action"}, {"entity", "id"}}
	if got := tmpl.Placeholders(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// R41: what fn:delete() marked is gone, also after fn:default; beside constants nothing stays in its place.
func TestDeletedIsNotRescued(t *testing.T) {
	tmpl, err := Compile("{{ header:a | fn:delete() | fn:default('x') }}")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := tmpl.Resolve(headers("a", "A")); ok {
		t.Errorf("got %q", v)
	}
	if v, outcome := tmpl.Evaluate(headers()); outcome != Deleted {
		t.Errorf("got %q, %v", v, outcome)
	}
}

func TestOneUnresolvedExpressionUnresolvesTheTemplate(t *testing.T) {
	tmpl, err := Compile("a/{{ header:a }}/{{ header:missing }}")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := tmpl.Resolve(headers("a", "A")); ok {
		t.Errorf("got %q", v)
	}
}

func TestProductsAreBounded(t *testing.T) {
	long := strings.Repeat("a,", 40) + "a"
	for _, text := range []string{"{{ header:x | fn:split(',') }}{{ header:x | fn:split(',') }}",
		"{{ header:big | fn:split(',') }}", "{{ header:json | fn:format('{a}{a}{a}') }}", "{{ header:json | fn:format('{#a}{/b/c}{.}{/a}{a}{a}') }}"} {
		tmpl, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		s := headers("x", long, "big", strings.Repeat("a,", 5000)+"a", "json", `{"a":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}`)
		if v, ok := tmpl.ResolveAll(s); ok {
			t.Errorf("%s: %d values", text, len(v))
		}
	}
}

func TestFilterForms(t *testing.T) {
	tests := []struct {
		pipeline string
		want     []string
	}{
		{"fn:filter('ne',header:missing)", []string{"in"}}, // an unresolved argument counts as ""
		{"fn:filter('eq',header:missing)", nil},
		{"fn:filter(header:empty,'exists')", []string{"in"}}, // it is there, though empty
		{"fn:filter(header:missing,'exists','FALSE')", []string{"in"}},
		{"fn:filter(header:rel,'in')", []string{"in"}}, // the relation out of a header
	}
	for _, tt := range tests {
		p, err := CompilePipeline(tt.pipeline)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Resolve(headers("empty", "", "rel", "eq"), []string{"in"}, true); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.pipeline, got, tt.want)
		}
	}
}

func TestTimeInAnotherZone(t *testing.T) {
	zone := time.FixedZone("east", 5*3600)
	now := time.Date(2026, 8, 17, 2, 30, 0, 0, zone) // Monday there, Sunday evening in UTC
	tests := []struct{ name, want string }{
		{"now", "2026-08-16T21:30:00Z"}, {"now[d]", "2026-08-16T00:00:00Z"}, {"now[w]", "2026-08-16T19:00:00Z"},
		{"now[mo]", "2026-07-31T19:00:00Z"}, {"now-1w[w]", "2026-08-09T19:00:00Z"}, {"now+1mo", "2026-09-15T21:30:00Z"},
		{"now_epoch_millis", "1786915800000"},
	}
	for _, tt := range tests {
		if got, ok := Time(now, tt.name); !ok || got[0] != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.name, got, ok, tt.want)
		}
	}
	for _, name := range []string{"", "no", "now-", "now1d", "now+1d[", "now]", "now[]", "now+999999999999y", "now_epoch", "now*1d"} {
		if got, ok := Time(now, name); ok {
			t.Errorf("%q gives %v", name, got)
		}
	}
}

func FuzzCompileTemplate(f *testing.F) {
	for _, s := range []string{"a/{{ header:x | fn:filter('like','a*|b?') | fn:upper() }}/${thing:id}", "{{ fn:default(fn:delete()) }}",
		"{{ header:x | fn:format('{#a}{.}{/b}{/a}\\{') | fn:split(',') | fn:join(';') }}", "{{ time:now-2d[d] }}", "{{ header:x | fn:replace('','y') }}"} {
		f.Add(s, `{"a":[1,{"b":null}]}`)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		tmpl, err := Compile(text)
		if err != nil {
			var e *messages.Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Code, "placeholder:") {
				t.Fatalf("%v", err)
			}
			return
		}
		s := SourceFunc(func(prefix, name string) ([]string, bool) {
			return []string{value, name, prefix}, prefix != "none"
		})
		all, outcome := tmpl.Evaluate(s)
		first, ok := tmpl.Resolve(s)
		if (outcome == Resolved) != (len(all) > 0) || len(all) > maxValues {
			t.Fatalf("%v with %d values", outcome, len(all))
		}
		if outcome == Resolved && (!ok || first != all[0]) {
			t.Fatalf("first %q %v, all %q", first, ok, all)
		}
		if constant, is := tmpl.Constant(); is && (constant != text || first != text || len(tmpl.Placeholders()) > 0) {
			t.Fatalf("constant %q", constant)
		}
		if err := tmpl.Check("header"); err == nil {
			for _, n := range tmpl.Placeholders() {
				if n.Prefix != "header" {
					t.Fatalf("Check accepts %v", n)
				}
			}
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	s := headers("device_id", "acme:pump-7", "kind", "telemetry")
	for _, bb := range []struct{ name, text string }{
		{"constant", "telemetry/out"},
		{"single", "{{ header:device_id }}"},
		{"mixed", "telemetry/{{ header:device_id }}/{{ header:kind }}"},
		{"functions", "{{ header:device_id | fn:substring-after(':') | fn:default('none') }}"},
	} {
		tmpl, err := Compile(bb.text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := tmpl.Resolve(s); !ok {
					b.Fatal("unresolved")
				}
			}
		})
	}
}
