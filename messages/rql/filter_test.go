package rql

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hawser/messages"
)

// fields is a Getter; a field that it does not hold is unknown when it begins with "?", else absent.
func fields(values map[string]any) Getter {
	return func(field string) ([]any, bool) {
		if strings.HasPrefix(field, "?") {
			return nil, false
		}
		if v, ok := values[field]; ok {
			return []any{v}, true
		}
		return nil, true
	}
}

func TestUnknownFields(t *testing.T) {
	get := fields(map[string]any{"a": "x", "topic:action": "created"})
	tests := []struct {
		filter  string
		verdict Verdict
		matches bool // when unknown counts as absent
	}{
		{"eq(?b,1)", Unknown, false}, {"exists(?b)", Unknown, false}, {"empty(?b)", Unknown, true}, {"ne(?b,1)", Unknown, true},
		{"not(eq(?b,1))", Unknown, true}, {"in(?b,1,2)", Unknown, false}, {"like(?b,'*')", Unknown, false},
		{"and(eq(a,'x'),eq(?b,1))", Unknown, false}, {"and(eq(a,'y'),eq(?b,1))", False, false}, {"and(eq(?b,1),eq(a,'y'))", False, false},
		{"or(eq(a,'x'),eq(?b,1))", True, true}, {"or(eq(?b,1),eq(a,'x'))", True, true}, {"or(eq(a,'y'),eq(?b,1))", Unknown, false},
		{"not(and(eq(a,'y'),eq(?b,1)))", True, true},
		{"eq(topic:action,'created')", True, true}, {"eq(topic:action,'modified')", False, false}, // R37
		{"exists(attributes/site)", False, false}, {"not(exists(attributes/site))", True, true}, // runtime.md 14.2 D
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			f := mustParse(t, tt.filter)
			if got := f.Evaluate(get); got != tt.verdict {
				t.Errorf("verdict %v, want %v", got, tt.verdict)
			}
			if got := f.Matches(get); got != tt.matches {
				t.Errorf("matches %v, want %v", got, tt.matches)
			}
		})
	}
}

func TestTimeIsAskedForAsAField(t *testing.T) {
	get := fields(map[string]any{"_modified": "2026-01-01T12:00:00Z", "time:now-1h": "2026-01-01T11:00:00Z"})
	for filter, want := range map[string]Verdict{
		"gt(_modified,time:now-1h)": True, "lt(_modified,time:now-1h)": False, "gt(_modified, time:now-1h )": True,
		"in(_modified,time:now-1h,'2026-01-01T12:00:00Z')": True, "eq(_modified,time:tomorrow)": False,
	} {
		f := mustParse(t, filter)
		if got := f.Evaluate(get); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	if got, want := mustParse(t, "and(gt(_modified,time:now-1h),exists(a/b))").Fields(), []string{"_modified", "time:now-1h", "a/b"}; !slices.Equal(got, want) {
		t.Errorf("fields %v", got)
	}
	unknown := func(string) ([]any, bool) { return []any{"x"}, false }
	if got := mustParse(t, "gt(a,time:now)").Evaluate(unknown); got != Unknown {
		t.Errorf("verdict %v", got)
	}
}

func mustParse(t testing.TB, filter string) *Filter {
	t.Helper()
	f, err := Parse(filter)
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return f
}

func TestBlanksMayStandBetween(t *testing.T) {
	get := fields(map[string]any{"a": int64(5), "b": "x"})
	for _, filter := range []string{" and( eq( a , 5 ) , eq (b,'x' ) ) ", "and(eq(a, 5), eq(b, 'x'))", "in(a , 1 , 5 )", "\nnot ( exists( c ) )\t"} {
		if !mustParse(t, filter).Matches(get) {
			t.Errorf("%q does not match", filter)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("not(", 150) + "exists(a)" + strings.Repeat(")", 150)
	for _, filter := range []string{"eq(,1)", "eq( ,1)", "exists()", "and()", "eq(a)", "eq(a,)", "eq(a,1", `eq(a,"x)`, `eq(a,'\x')`, `eq(a,'\u12')`, `eq(a,'\u+123')`,
		"eq(a,1)eq(b,2)", "EQ(a,1)", "eq(a,truth)", "eq(a,1e5)", "eq(a,- 1)", "eq", "\xff", "eq(a,'\xff')", deep} {
		_, err := Parse(filter)
		var e *messages.Error
		if !errors.As(err, &e) || e.Code != CodeInvalid || e.Status != 400 {
			t.Errorf("%q: %v", filter, err)
		}
	}
	if _, err := Parse(strings.Repeat("not(", 99) + "exists(a)" + strings.Repeat(")", 99)); err != nil {
		t.Errorf("a hundred levels: %v", err)
	}
}

func TestCompareAcrossTypes(t *testing.T) {
	tests := []struct {
		filter string
		value  any
		want   bool
	}{
		{"eq(a,'42')", int64(42), true}, {"eq(a,42)", "42.0", true}, {"eq(a,'x')", int64(42), false}, {"eq(a,0.1)", 0.1, true},
		{"eq(a,'true')", true, true}, {"eq(a,true)", "true", true}, {"lt(a,true)", false, true}, {"eq(a,null)", "", false},
		{"gt(a,5)", "1/0x", false}, {"eq(a,1000)", "1e3", true}, {"eq(a,5)", "1e999999999", false}, {"lt(a,5)", map[string]any{}, false},
		{"like(a,'4*')", int64(42), false}, {"ilike(a,'Ä?*')", "äx", true}, {"like(a,'a?c')", "aöc", true}, {"like(a,'a|b')", "a", false},
		{"ne(a,'x')", []any{"x", "y"}, false}, {"in(a,null)", nil, true},
	}
	for _, tt := range tests {
		f := mustParse(t, tt.filter)
		if got := f.Matches(fields(map[string]any{"a": tt.value})); got != tt.want {
			t.Errorf("%s on %v: %v", tt.filter, tt.value, got)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{`and(eq(a/b,"x\u0041"),or(gt(c,-1.5),in(d,1,'y',null)),not(exists(topic:action)))`, "lt(_modified,time:now-1d)",
		"ilike(a,'*X?')", "empty(features/a~1b)", `eq(a\,b,1)`} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		filter, err := Parse(text)
		if err != nil {
			var e *messages.Error
			if !errors.As(err, &e) || e.Code != CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		asked := map[string]bool{}
		known := func(field string) ([]any, bool) {
			asked[field] = true
			return []any{value, []any{nil, 1.5, true}}, true
		}
		verdict := filter.Evaluate(known)
		if verdict == Unknown || (verdict == True) != filter.Matches(known) {
			t.Fatalf("verdict %v", verdict)
		}
		for field := range asked {
			if !slices.Contains(filter.Fields(), field) {
				t.Fatalf("asked for %q, fields are %q", field, filter.Fields())
			}
		}
		if v := filter.Evaluate(func(string) ([]any, bool) { return nil, false }); v != Unknown {
			t.Fatalf("knowing nothing: %v", v)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	f := mustParse(b, `and(eq(topic:action,"created"),gt(attributes/speed,1000),like(thingId,"acme:*"))`)
	created, speed, id := []any{"created"}, []any{int64(1480)}, []any{"acme:pump-7"}
	get := func(field string) ([]any, bool) {
		switch field {
		case "topic:action":
			return created, true
		case "attributes/speed":
			return speed, true
		}
		return id, true
	}
	b.ReportAllocs()
	for b.Loop() {
		if f.Evaluate(get) != True {
			b.Fatal("no match")
		}
	}
}
