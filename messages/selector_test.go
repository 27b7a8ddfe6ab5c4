package messages

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestFieldSelectors(t *testing.T) {
	document := `{"__lifecycle":"ACTIVE","id":"x","name":null,"_revision":3,"sources":[{"addresses":["a"],"qos":1,"enforcement":{"input":"i","filters":[]}},` +
		`{"addresses":["b"]},5],"targets":[],"specificConfig":{"a b":"1","c/d":"2","e~f":"3"},"tags":["t"]}`
	for _, tt := range []struct {
		selector string
		pointers []string
		want     string
	}{
		{"", nil, `{}`},
		{"id", []string{"/id"}, `{"id":"x"}`},
		{"/id", []string{"/id"}, `{"id":"x"}`},
		{"_revision,id", []string{"/_revision", "/id"}, `{"id":"x","_revision":3}`},
		{"id,id", []string{"/id", "/id"}, `{"id":"x"}`},
		{"name", []string{"/name"}, `{"name":null}`},
		{"nope,id,id/x", []string{"/nope", "/id", "/id/x"}, `{"id":"x"}`},
		{" id", []string{"/ id"}, `{}`},
		{"specificConfig/a b", []string{"/specificConfig/a b"}, `{"specificConfig":{"a b":"1"}}`},
		{"specificConfig/c~1d", []string{"/specificConfig/c~1d"}, `{"specificConfig":{"c/d":"2"}}`},
		{"specificConfig/e~0f", []string{"/specificConfig/e~0f"}, `{"specificConfig":{"e~f":"3"}}`},
		{"specificConfig/nope", []string{"/specificConfig/nope"}, `{}`},
		{"sources/addresses", []string{"/sources/addresses"}, `{"sources":[{"addresses":["a"]},{"addresses":["b"]}]}`},
		{"sources(addresses,qos)", []string{"/sources/addresses", "/sources/qos"}, `{"sources":[{"addresses":["a"],"qos":1},{"addresses":["b"]}]}`},
		{"sources/qos,sources/enforcement(input)", []string{"/sources/qos", "/sources/enforcement/input"}, `{"sources":[{"qos":1,"enforcement":{"input":"i"}},{}]}`},
		{"sources,sources/qos", []string{"/sources", "/sources/qos"}, document[strings.Index(document, `"sources"`)-1 : strings.Index(document, `,"targets"`)]},
		{"sources(enforcement(input,filters)),id", []string{"/sources/enforcement/input", "/sources/enforcement/filters", "/id"}, `{"id":"x","sources":[{"enforcement":{"input":"i","filters":[]}},{}]}`},
		{"targets/address", []string{"/targets/address"}, `{"targets":[]}`},
		{"tags/x", []string{"/tags/x"}, `{"tags":[]}`},
		{"id,", []string{"/id"}, `{"id":"x"}`},
	} {
		t.Run(tt.selector, func(t *testing.T) {
			s, err := ParseFieldSelector(tt.selector)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.Pointers, tt.pointers) {
				t.Errorf("pointers %q, want %q", s.Pointers, tt.pointers)
			}
			want := tt.want
			if strings.HasPrefix(want, ",") {
				want = "{" + want[1:] + "}"
			}
			if got, err := s.Select(json.RawMessage(document)); err != nil || string(got) != want {
				t.Errorf("selected %s (%v), want %s", got, err, want)
			}
		})
	}
	for _, bad := range []string{"a(b", "a)b", "a(b))", "(a)", "a(b)c", "a//b", ")", "(", "a((b))", strings.Repeat("a(", 1000)} {
		_, err := ParseFieldSelector(bad)
		wantError(t, err, "json.fieldselector.invalid", 400)
	}
	s, _ := ParseFieldSelector("id")
	for _, text := range []string{``, `[]`, `5`} {
		if _, err := s.Select(json.RawMessage(text)); err == nil {
			t.Errorf("%q is no object", text)
		}
	}
}

func FuzzFieldSelector(f *testing.F) {
	for _, seed := range []string{"id,sources(addresses,qos),_revision", "a(b(c,d),e)/f", "/a~1b", "a(b", ",,", ""} {
		f.Add(seed)
	}
	document := json.RawMessage(`{"a":{"b":[{"c":1},2]},"id":"x","sources":[{"addresses":["a"]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseFieldSelector(text)
		if err != nil {
			return
		}
		got, err := s.Select(document)
		if err != nil || !json.Valid(got) {
			t.Fatalf("%q selects %s, %v", text, got, err)
		}
		again, err := ParseFieldSelector(strings.Join(s.Pointers, ","))
		if err != nil || !slices.Equal(again.Pointers, s.Pointers) {
			t.Fatalf("%q: pointers %q read again: %v", text, s.Pointers, err)
		}
		twice, err := s.Select(got)
		if err != nil || string(twice) != string(got) {
			t.Fatalf("%q selects %s of %s", text, twice, got)
		}
	})
}
