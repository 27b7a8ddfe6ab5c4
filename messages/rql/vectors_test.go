package rql

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
)

// thing is a Getter over a whole thing: pointers go through objects, and through arrays to each element.
func thing(doc any) Getter {
	return func(field string) ([]any, bool) {
		values := []any{doc}
		for key := range strings.SplitSeq(strings.Trim(field, "/"), "/") {
			var below []any
			for len(values) > 0 {
				v := values[0]
				values = values[1:]
				switch v := v.(type) {
				case map[string]any:
					if inner, ok := v[key]; ok {
						below = append(below, inner)
					}
				case []any:
					values = append(values, v...)
				}
			}
			values = below
		}
		return values, true
	}
}

func decode(t *testing.T, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/rql.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Fields  struct{ Things map[string]json.RawMessage }
		Vectors []struct {
			ID, Kind, Filter string
			Thing            json.RawMessage
			Expect           map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for _, v := range file.Vectors {
		ran[v.Kind]++
		t.Run(v.ID, func(t *testing.T) {
			f, err := Parse(v.Filter)
			if v.Kind == "parse" {
				checkParsed(t, f, err, v.Expect)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			doc := []byte(v.Thing)
			var name string
			if json.Unmarshal(v.Thing, &name) == nil {
				doc = file.Fields.Things[name]
			}
			get := thing(decode(t, doc))
			if got, want := f.Matches(get), string(v.Expect["matches"]) == "true"; got != want {
				t.Errorf("%s on %s: %v", v.Filter, doc, got)
			}
			if got := f.Evaluate(get); got != verdict(string(v.Expect["matches"]) == "true") {
				t.Errorf("verdict %v", got)
			}
		})
	}
	if want := (map[string]int{"match": 175, "parse": 64}); !cmp.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

func checkParsed(t *testing.T, f *Filter, err error, expect map[string]json.RawMessage) {
	t.Helper()
	if string(expect["valid"]) != "true" {
		var e *messages.Error
		if !errors.As(err, &e) || `"`+e.Code+`"` != string(expect["error"]) || e.Status != 400 {
			t.Errorf("error %v, want %s", err, expect["error"])
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	literals := f.root.literals
	if want, ok := expect["placeholder"]; ok && `"`+literals[0].placeholder+`"` != string(want) {
		t.Errorf("placeholder %q, want %s", literals[0].placeholder, want)
	}
	if want, ok := expect["value"]; ok {
		expect["values"] = json.RawMessage("[" + string(want) + "]")
	}
	if want, ok := expect["values"]; ok {
		var values []any
		for _, l := range literals {
			values = append(values, l.value)
		}
		got, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, want), decode(t, got)); diff != "" {
			t.Error(diff)
		}
	}
}
