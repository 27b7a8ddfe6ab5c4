package encryption

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vector is one of contract/vectors/encryption.json.
type vector struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Input struct {
		Key, OldKey, Ciphertext, IVHex, Plaintext, URI, Password, Value string
		Enabled                                                         bool
		Pointers                                                        []string
		Object                                                          json.RawMessage
	} `json:"input"`
	Expect struct {
		Plaintext             *string
		Ciphertext            string
		Fails                 bool
		Bytes                 int
		URI                   string
		ChangedByEncryption   []string
		UnchangedByEncryption []string
		RoundTrip             bool
		Object                json.RawMessage
		Error                 string
		Encrypted             string
		Valid                 bool
	} `json:"expect"`
}

// overruled are the vectors that a rule of the contract overrules, with what holds instead (contract README).
var overruled = map[string]string{"encryption-038": "whole value"}

func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/encryption.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func(*testing.T, vector){
		"decrypt": decryptVector, "encrypt with given iv": encryptVector, "key": keyVector, "replace uri password": passwordVector,
		"encrypt fields then decrypt": roundTripVector, "decrypt fields": fieldsVector, "which part is encrypted": partVector,
		"configuration": configurationVector,
	}
	if len(file.Vectors) != 46 {
		t.Fatalf("%d vectors, want 46: the file was cut", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			test := kinds[v.Kind]
			if test == nil {
				t.Fatalf("unknown kind %q", v.Kind)
			}
			test(t, v)
		})
	}
}

func decryptVector(t *testing.T, v vector) {
	got, ok := mustKey(t, v.Input.Key).open(Prefix + v.Input.Ciphertext)
	if v.Expect.Fails {
		if ok {
			t.Fatalf("opened as %q", got)
		}
		return
	}
	if !ok || got != *v.Expect.Plaintext {
		t.Fatalf("got %q %t, want %q", got, ok, *v.Expect.Plaintext)
	}
}

func encryptVector(t *testing.T, v vector) {
	raw, err := hex.DecodeString(v.Input.IVHex)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(mustKey(t, v.Input.Key).appendSealedWith(nil, [ivSize]byte(raw), v.Input.Plaintext)); got != Prefix+v.Expect.Ciphertext {
		t.Fatalf("got %s, want %s", got, v.Expect.Ciphertext)
	}
}

func keyVector(t *testing.T, v vector) {
	_, err := ParseKey(NewSecret(v.Input.Key))
	if (err != nil) != v.Expect.Fails {
		t.Fatalf("error %v, want one: %t", err, v.Expect.Fails)
	}
	if raw, _ := base64.URLEncoding.DecodeString(v.Input.Key); !v.Expect.Fails && len(raw) != v.Expect.Bytes {
		t.Fatalf("%d bytes, want %d", len(raw), v.Expect.Bytes)
	}
}

func passwordVector(t *testing.T, v vector) {
	part, ok := secretPart(v.Input.URI)
	if got := v.Input.URI[:part.start] + v.Input.Password + v.Input.URI[part.end:]; !ok || got != v.Expect.URI {
		t.Fatalf("got %s, want %s", got, v.Expect.URI)
	}
}

func partVector(t *testing.T, v vector) {
	want := v.Expect.Encrypted
	if other, ok := overruled[v.ID]; ok {
		want = other
	}
	got := "nothing"
	if part, ok := secretPart(v.Input.Value); ok {
		if got = v.Input.Value[part.start:part.end]; got == v.Input.Value {
			got = "whole value"
		}
	}
	if got != want {
		t.Fatalf("%s: encrypts %q, want %q", v.Input.Value, got, want)
	}
}

func configurationVector(t *testing.T, v vector) {
	_, err := NewKeyring(v.Input.Enabled, NewSecret(v.Input.Key), NewSecret(v.Input.OldKey), nil)
	if (err == nil) != v.Expect.Valid {
		t.Fatalf("error %v, want valid: %t", err, v.Expect.Valid)
	}
}

func fieldsVector(t *testing.T, v vector) {
	ring, err := NewKeyring(true, NewSecret(v.Input.Key), NewSecret(v.Input.OldKey), v.Input.Pointers)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ring.Unseal(v.Input.Object)
	if v.Expect.Error != "" {
		var field *FieldError
		if !errors.As(err, &field) || field.Pointer != v.Input.Pointers[0] {
			t.Fatalf("got %s and %v, want a FieldError at %s", got, err, v.Input.Pointers[0])
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, v.Expect.Object)
}

func roundTripVector(t *testing.T, v vector) {
	ring, err := NewKeyring(true, NewSecret(v.Input.Key), Secret{}, v.Input.Pointers)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ring.Seal(v.Input.Object)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Expect.ChangedByEncryption {
		if before, after := at(t, v.Input.Object, p), at(t, sealed, p); before == after || !strings.Contains(after, Prefix) {
			t.Errorf("%s was %q and is %q, want ciphertext", p, before, after)
		}
	}
	for _, p := range v.Expect.UnchangedByEncryption {
		if before, after := at(t, v.Input.Object, p), at(t, sealed, p); before != after {
			t.Errorf("%s was %q and is %q, want it unchanged", p, before, after)
		}
	}
	unsealed, err := ring.Unseal(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if v.Expect.RoundTrip && !bytes.Equal(unsealed, v.Input.Object) {
		t.Errorf("%s came back as %s", v.Input.Object, unsealed)
	}
}

// at is the string at a pointer.
func at(t *testing.T, doc []byte, pointer string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	for segment := range strings.SplitSeq(pointer[1:], "/") {
		object, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%s is not in %s", pointer, doc)
		}
		v = object[segment]
	}
	s, ok := v.(string)
	if !ok {
		t.Fatalf("%s is no string in %s", pointer, doc)
	}
	return s
}

func mustKey(t testing.TB, text string) *Key {
	t.Helper()
	k, err := ParseKey(NewSecret(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sameJSON(t testing.TB, got, want []byte) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("no JSON: %q", got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Fatalf("got %s, want %s", got, want)
	}
}
