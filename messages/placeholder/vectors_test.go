package placeholder

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hawser/messages"
)

// vector is one entry of the contract's vectors/placeholders.json.
type vector struct {
	ID                string                     `json:"id"`
	Kind              string                     `json:"kind"`
	Template          string                     `json:"template"`
	Function          string                     `json:"function"`
	Input             []string                   `json:"input"`
	Sources           map[string]json.RawMessage `json:"sources"`
	ParameterSources  map[string]json.RawMessage `json:"parameterSources"`
	SupportedPrefixes []string                   `json:"supportedPrefixes"`
	Prefix            string                     `json:"prefix"`
	Name              string                     `json:"name"`
	Expect            struct {
		Values           []string `json:"values"`
		ValuesInAnyOrder []string `json:"valuesInAnyOrder"`
		Unresolved       bool     `json:"unresolved"`
		Deleted          bool     `json:"deleted"`
		Valid            bool     `json:"valid"`
		Error            string   `json:"error"`
		MessageContains  string   `json:"messageContains"`
		Time             *struct {
			OffsetFromNow string  `json:"offsetFromNow"`
			TruncatedTo   *string `json:"truncatedTo"`
			Format        string  `json:"format"`
		} `json:"time"`
	} `json:"expect"`
}

// elsewhere are the prefixes of the placeholder vectors that other packages resolve; their tests run those vectors.
var elsewhere = map[string]string{
	"topic": "messages/protocol", "resource": "messages/protocol", "thing": "messages/protocol", "policy": "messages/protocol",
	"entity": "messages/protocol", "header": "messages/protocol", "thing-json": "messages/protocol", "feature": "messages/protocol",
	"connection": "messages/mapping",
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/placeholders.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for _, v := range file.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			switch {
			case v.Kind == "template":
				v.template(t)
			case v.Kind == "applyForAll":
				v.applyForAll(t)
			case v.Kind == "validate":
				tmpl, err := Compile(v.Template)
				if err == nil {
					err = tmpl.Check(v.SupportedPrefixes...)
				}
				v.wantError(t, err)
			case v.Kind == "function":
				v.function(t)
			case v.Prefix == "time":
				v.time(t)
			case elsewhere[v.Prefix] == "":
				t.Errorf("nobody runs this vector: kind %s, prefix %s", v.Kind, v.Prefix)
			default:
				ran[elsewhere[v.Prefix]]--
			}
			ran[v.Kind]++
		})
	}
	if want := (map[string]int{"template": 42, "applyForAll": 16, "validate": 8, "function": 148, "placeholder": 76,
		"messages/protocol": -56, "messages/mapping": -2}); !cmp.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

// source answers from the vector's sources: a map of names, or the id of an entity.
func source(raw map[string]json.RawMessage) SourceFunc {
	return func(prefix, name string) ([]string, bool) {
		var id string
		if json.Unmarshal(raw[prefix], &id) == nil {
			ns, local, _ := strings.Cut(id, ":")
			v, ok := map[string]string{"id": id, "namespace": ns, "name": local}[name]
			return []string{v}, ok
		}
		var lists map[string][]string
		if json.Unmarshal(raw[prefix], &lists) == nil {
			v, ok := lists[name]
			return v, ok
		}
		var values map[string]string
		if err := json.Unmarshal(raw[prefix], &values); err != nil {
			return nil, false
		}
		v, ok := values[name]
		return []string{v}, ok
	}
}

func (v *vector) wantError(t *testing.T, err error) {
	t.Helper()
	if v.Expect.Valid && err == nil {
		return
	}
	var e *messages.Error
	if !errors.As(err, &e) || e.Code != v.Expect.Error || e.Status != 400 {
		t.Errorf("error %v, want %q", err, v.Expect.Error)
	}
}

func (v *vector) wantValues(t *testing.T, values []string, outcome Outcome) {
	t.Helper()
	want := Resolved
	switch {
	case v.Expect.Unresolved:
		want = Unresolved
	case v.Expect.Deleted:
		want = Deleted
	}
	if outcome != want {
		t.Fatalf("outcome %v with %q, want %v", outcome, values, want)
	}
	if v.Expect.Values != nil && !slices.Equal(values, v.Expect.Values) {
		t.Errorf("got %q, want %q", values, v.Expect.Values)
	}
	if v.Expect.ValuesInAnyOrder != nil && !cmp.Equal(values, v.Expect.ValuesInAnyOrder, cmpopts.SortSlices(strings.Compare)) {
		t.Errorf("got %q, want %q in any order", values, v.Expect.ValuesInAnyOrder)
	}
}

// template vectors know headers, things and topics; a name that these do not know is an error there, and in Check here.
func (v *vector) template(t *testing.T) {
	tmpl, err := Compile(v.Template)
	if err == nil {
		err = tmpl.Check("header", "thing", "topic")
	}
	if v.Expect.Error != "" || err != nil {
		v.wantError(t, err)
		return
	}
	values, outcome := tmpl.Evaluate(source(v.Sources))
	v.wantValues(t, values, outcome)
	first, ok := tmpl.Resolve(source(v.Sources))
	if ok != (outcome == Resolved) || ok && first != values[0] {
		t.Errorf("Resolve gives %q, %v", first, ok)
	}
}

// applyForAll vectors take an unresolved template for an error: what a caller of ResolveAll makes of false.
func (v *vector) applyForAll(t *testing.T) {
	tmpl, err := Compile(v.Template)
	if err == nil {
		var values []string
		var ok bool
		if values, ok = tmpl.ResolveAll(source(v.Sources)); ok && v.Expect.Error == "" {
			v.wantValues(t, values, Resolved)
			return
		}
		if !ok {
			err = NewUnresolved(v.Template)
		}
	}
	v.wantError(t, err)
}

func (v *vector) function(t *testing.T) {
	p, err := CompilePipeline(v.Function)
	if v.Expect.Error == "illegal argument" { // a plain exception upstream; with us a bad argument like any other
		var e *messages.Error
		if !errors.As(err, &e) || e.Code != CodeSignatureInvalid || !strings.Contains(err.Error(), v.Expect.MessageContains) {
			t.Errorf("error %v", err)
		}
		return
	}
	if v.Expect.Error != "" || err != nil {
		v.wantError(t, err)
		return
	}
	values, outcome := p.Resolve(source(v.ParameterSources), v.Input, v.Input != nil)
	v.wantValues(t, values, outcome)
}

func (v *vector) time(t *testing.T) {
	now := time.Date(2026, 8, 19, 13, 14, 15, 123456789, time.UTC) // a Wednesday
	offsets := map[string]time.Duration{"0": 0, "-2d": -48 * time.Hour, "+8h": 8 * time.Hour, "-45s": -45 * time.Second,
		"+4h": 4 * time.Hour, "+1d": 24 * time.Hour, "-25m": -25 * time.Minute, "+30d": 720 * time.Hour, "-30s": -30 * time.Second}
	offset, ok := offsets[v.Expect.Time.OffsetFromNow]
	if !ok {
		t.Fatalf("offset %q", v.Expect.Time.OffsetFromNow)
	}
	want := now.Add(offset)
	y, mo, d := want.Date()
	h, m, s := want.Clock()
	if unit := v.Expect.Time.TruncatedTo; unit != nil {
		cut := map[string]time.Time{
			"millisecond": time.Date(y, mo, d, h, m, s, 123000000, time.UTC),
			"minute":      time.Date(y, mo, d, h, m, 0, 0, time.UTC),
			"hour":        time.Date(y, mo, d, h, 0, 0, 0, time.UTC),
			"day":         time.Date(y, mo, d, 0, 0, 0, 0, time.UTC),
			"monday of the week in the system time zone":     time.Date(2026, 8, 17, 0, 0, 0, 0, time.UTC),
			"first day of the month in the system time zone": time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC),
			"first day of the year in the system time zone":  time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		if want, ok = cut[*unit]; !ok {
			t.Fatalf("unit %q", *unit)
		}
	}
	values, ok := Time(now, v.Name)
	if !ok || len(values) != 1 {
		t.Fatalf("%q, %v", values, ok)
	}
	text := want.Format(time.RFC3339Nano)
	if v.Expect.Time.Format == "epochMillis" {
		text = itoa(want.UnixMilli())
	}
	if values[0] != text {
		t.Errorf("got %s, want %s", values[0], text)
	}
}

func itoa(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func TestEveryFunctionOfTheContractIsThere(t *testing.T) {
	want := []string{"base64-decode", "base64-encode", "default", "delete", "filter", "format", "join", "lower", "replace", "split",
		"substring-after", "substring-before", "trim", "upper", "url-decode", "url-encode"}
	if got := slices.Sorted(maps.Keys(functions)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
