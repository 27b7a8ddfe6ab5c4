package encryption

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzUnseal: whatever is stored, unsealing ends in a document without the ciphertext it opened or in an error that shows
// nothing, and what was sealed comes back.
func FuzzUnseal(f *testing.F) {
	for _, doc := range documents() {
		f.Add([]byte(doc))
	}
	for _, doc := range []string{`{"uri":"` + k1Secret + `"}`, `{"connection":{"uri":"tcp://u:` + k2Secret + `@h:1"}}`, `{"uri":"encrypted_AAAA"}`,
		`{"ur\u0069":"\u0065ncrypted_x"}`, `{"uri":"a","uri":"b"}`, `{"a":[{"uri":"\\"}],"uri":"\"\\"}`, `{`, `[]`, "{\"uri\":\"\xff\"}"} {
		f.Add([]byte(doc))
	}
	reader, writer := ring(f, false, k1, k2), ring(f, true, k1, "")
	f.Fuzz(func(t *testing.T, doc []byte) {
		before := bytes.Clone(doc)
		got, err := reader.Unseal(doc)
		var field *FieldError
		switch {
		case err == nil:
		case errors.As(err, &field):
			if got != nil {
				t.Fatalf("%s returned with %v", got, err)
			}
		case !errors.Is(err, ErrDocument):
			t.Fatalf("unknown error %v", err)
		case json.Valid(doc) && bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")):
			t.Fatalf("%q is an object, but %v", doc, err)
		}
		sealed, err := writer.Seal(doc)
		if !bytes.Equal(doc, before) {
			t.Fatalf("%q was changed in place to %q", before, doc)
		}
		if !json.Valid(doc) || err != nil {
			return
		}
		back, err := writer.Unseal(sealed)
		if err != nil {
			t.Fatalf("%q sealed as %q: %v", doc, sealed, err)
		}
		var want, have any
		if json.Unmarshal(doc, &want) != nil {
			return // too deep for the library
		}
		if err := json.Unmarshal(back, &have); err != nil || !reflect.DeepEqual(want, have) {
			t.Fatalf("%q came back as %q: %v", doc, back, err)
		}
	})
}

// FuzzValue: any text comes back from being sealed, and from a rotation, and its secret part is not in what is stored.
func FuzzValue(f *testing.F) {
	for _, v := range []string{"", "s3cr3t", "tcp://user:pw@host:1", "tcp://user:p/w@h", "tcp://user:p/w@x@h", "tcp://us@er:pw@h", "tcp://user:123/w@h", "tcp://[::1]:1/a@b",
		k1Secret, "tcp://u:" + k1Secret + "@h", "tcp://u:encrypted_/x@h", "a://b:c#@@", "A://encrypted_", "encrypted_://a:b@c"} {
		f.Add(v)
	}
	first, next := ring(f, true, k1, ""), ring(f, true, k2, k1)
	only := ring(f, true, k2, "")
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) {
			return // cannot be in JSON
		}
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		doc := fmt.Appendf(nil, `{"uri":%s}`, quoted)
		sealed, err := first.Seal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if part, ok := secretPart(value); ok && part.end-part.start > 12 && strings.Contains(at(t, sealed, "/uri"), value[part.start:part.end]) {
			t.Fatalf("%q stored as %s", value, sealed)
		}
		back, err := first.Unseal(sealed)
		if err != nil || at(t, back, "/uri") != value {
			t.Fatalf("%q sealed as %s came back as %s %v", value, sealed, back, err)
		}
		_, secret := secretPart(value)
		rotated, outcome, err := next.Rewrite(sealed)
		if err != nil || (outcome == Changed) != secret {
			t.Fatalf("%q rotated: %d %v", value, outcome, err)
		}
		if outcome == Changed {
			if back, err := only.Unseal(rotated); err != nil || at(t, back, "/uri") != value {
				t.Fatalf("%q rotated to %s came back as %s %v", value, rotated, back, err)
			}
		}
	})
}

// FuzzPointers: a list of pointers is refused or makes a ring that seals.
func FuzzPointers(f *testing.F) {
	f.Add("/uri,/credentials/key")
	f.Add(`["/a~1b"]`)
	f.Fuzz(func(t *testing.T, text string) {
		pointers, err := ParsePointers(text)
		if err != nil {
			return
		}
		k, err := NewKeyring(true, NewSecret(k1), Secret{}, pointers)
		if err != nil {
			return
		}
		if _, err := k.Seal(json.RawMessage(connectionBody)); err != nil {
			t.Fatal(err)
		}
	})
}

// typical is a connection of usual size with three secrets.
func typical(b *testing.B) json.RawMessage {
	text, err := os.ReadFile("testdata/connection.json")
	if err != nil {
		b.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		b.Fatal(err)
	}
	return json.RawMessage(`{"type":"connectivity.events:connectionModified","_timestamp":"2026-08-04T09:12:31.120Z","revision":7,"connectionId":"plant-7","connection":` + compact.String() + `,"__hh":{}}`)
}

func BenchmarkSeal(b *testing.B) {
	doc, k := typical(b), ring(b, true, k1, "")
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := k.Seal(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnseal(b *testing.B) {
	doc, err := ring(b, true, k1, "").Seal(typical(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		ring *Keyring
	}{{"current key", ring(b, true, k1, "")}, {"old key", ring(b, true, k2, k1)}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.ring.Unseal(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRotate(b *testing.B) {
	doc, err := ring(b, true, k1, "").Seal(typical(b))
	if err != nil {
		b.Fatal(err)
	}
	k := ring(b, true, k2, k1)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := k.Rewrite(doc); err != nil {
			b.Fatal(err)
		}
	}
}
