package sqlite

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzHoldsNUL compares the search for an escaped NUL with what a decoder finds.
func FuzzHoldsNUL(f *testing.F) {
	for _, seed := range []string{`"\u0000"`, `"\\u0000"`, `"\\\u0000"`, `{"a\u0000":1}`, `"\""`, `"\u00000"`, `"u0000"`, `[1,"\\\\","\u0001"]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		if !json.Valid([]byte(document)) {
			return
		}
		dec := json.NewDecoder(strings.NewReader(document))
		found := false
		for {
			token, err := dec.Token()
			if err != nil {
				break
			}
			if s, ok := token.(string); ok && strings.Contains(s, "\x00") {
				found = true
			}
		}
		if got := holdsNUL([]byte(document)); got != found {
			t.Fatalf("%q: %v, the decoder says %v", document, got, found)
		}
	})
}
