package encryption

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The keys and ciphertexts of encryption.md 2; k3 is a third key.
const (
	k1 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	k2 = "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA="
	k3 = "vJFSTPE9PO2BtZlcMAwNjs8jdFvQCk0Ya9MVdYjRJUU="

	k1Secret = "encrypted_oKGio6SlpqeoqaqrlSsfX3a_fMcHQM2BATXtG3SAGth5NQ=="
	k2Secret = "encrypted_oKGio6SlpqeoqaqrobgDkCHjjP7_5s3Nq7VE1FSkWz5hrQ=="
)

func ring(t testing.TB, enabled bool, key, old string, pointers ...string) *Keyring {
	t.Helper()
	k, err := NewKeyring(enabled, NewSecret(key), NewSecret(old), pointers)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestContractVectors(t *testing.T) { // encryption.md 2, E5
	iv := [ivSize]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab}
	for _, v := range []struct{ key, plaintext, ciphertext string }{
		{k1, "s3cr3t", k1Secret},
		{k1, "", "encrypted_oKGio6SlpqeoqaqrXGmWJa9Lk6D4IgoqYRnF0A=="},
		{k1, "pä$$/wörd", "encrypted_oKGio6SlpqeoqaqrltvYCWHkdXzUF-NiZncnzOfCIPWouOEh9tfd"},
		{k1, "p%40w", "encrypted_oKGio6Slpqeoqaqrlj1IHTLw5-G-OgrIAgVUhlQZ2pXV"},
		{k2, "s3cr3t", k2Secret},
	} {
		key := mustKey(t, v.key)
		if got := string(key.appendSealedWith(nil, iv, v.plaintext)); got != v.ciphertext {
			t.Errorf("%q is sealed as %s, want %s", v.plaintext, got, v.ciphertext)
		}
		for _, c := range []string{v.ciphertext, strings.TrimRight(v.ciphertext, "=")} {
			if got, ok := key.open(c); !ok || got != v.plaintext {
				t.Errorf("%s opens as %q %t, want %q", c, got, ok, v.plaintext)
			}
		}
	}
}

func TestCiphertextsThatAreNone(t *testing.T) {
	key := mustKey(t, k1)
	for _, c := range []string{
		"", Prefix, "s3cr3t", Prefix + "AAAA", "Encrypted_" + k1Secret[len(Prefix):], k1Secret + "=", strings.TrimSuffix(k1Secret, "="),
		k1Secret[:20] + "\n" + k1Secret[20:], k1Secret + "\n", " " + k1Secret, strings.Replace(k1Secret, "_fMc", "/fMc", 1), k2Secret,
	} {
		if got, ok := key.open(c); ok {
			t.Errorf("%q opens as %q", c, got)
		}
	}
}

func TestKeyText(t *testing.T) { // encryption.md 1.2
	for _, test := range []struct {
		text string
		good bool
	}{
		{k1, true}, {strings.TrimSuffix(k1, "="), true},
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", true}, // trailing bits are tolerated
		{k2, true}, {strings.NewReplacer("_", "/", "-", "+").Replace(k2), false},
		{k1 + "=", false}, {" " + k1, false}, {k1 + "\n", false}, {k1[:20] + "\n" + k1[20:], false},
		{"AAECAwQFBgcICQoLDA0ODw==", false}, {k1[:43] + "A", false}, {strings.Repeat("A", 44), false}, {"secret", false}, {"", false},
	} {
		_, err := ParseKey(NewSecret(test.text))
		if (err == nil) != test.good {
			t.Errorf("%q: %v, want good: %t", test.text, err, test.good)
		}
		if err != nil && len(test.text) > 5 && strings.Contains(err.Error(), test.text) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func TestConfiguration(t *testing.T) { // encryption.md 1.1, E1 to E3
	for _, test := range []struct {
		name     string
		enabled  bool
		key, old string
		pointers []string
		want     string // part of the error, "" for none
	}{
		{"enabled without key", true, "", "", nil, KeyVariable + ": Missing 'symmetrical-key'"},
		{"enabled with a blank key", true, "  ", "", nil, "Missing 'symmetrical-key'"},
		{"enabled with an old key only", true, "", k1, nil, "Missing 'symmetrical-key'"},
		{"equal keys", true, k1, k1, nil, "must be different"},
		{"equal keys while disabled", false, k1, k1, nil, "must be different"},
		{"equal keys, one padded", false, k1, strings.TrimSuffix(k1, "="), nil, "must be different"},
		{"short key", true, "AAECAwQFBgcICQoLDA0ODw==", "", nil, KeyVariable + ": is a key of 128 bits"},
		{"short old key while disabled", false, "", "AAECAwQFBgcICQoLDA0ODw==", nil, OldKeyVariable + ": is a key of 128 bits"},
		{"key with a line break", true, k1 + "\n", "", nil, KeyVariable},
		{"pointer without slash", true, k1, "", []string{"uri"}, `"uri"`},
		{"pointer to everything", true, k1, "", []string{"/"}, `"/"`},
		{"pointer with a bad escape", true, k1, "", []string{"/a~2"}, `"/a~2"`},
		{"nothing", false, "", "", nil, ""},
		{"key while disabled", false, k1, "", nil, ""},
		{"both keys while disabled", false, k1, k2, nil, ""},
		{"rotation", true, k1, k2, nil, ""},
		{"own pointers", true, k1, "", []string{"/a/b", "/c~1d"}, ""},
		{"no pointers", true, k1, "", []string{}, ""},
	} {
		_, err := NewKeyring(test.enabled, NewSecret(test.key), NewSecret(test.old), test.pointers)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		for _, key := range []string{test.key, test.old} {
			if err != nil && len(key) > 5 && strings.Contains(err.Error(), strings.TrimSpace(key)) {
				t.Errorf("%s: the error repeats the key: %v", test.name, err)
			}
		}
	}
}

func TestPointerLists(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"/uri,/credentials/key", "[/uri /credentials/key]"},
		{" /uri , /credentials/key ,", "[/uri /credentials/key]"},
		{`["/uri", "/a,b"]`, "[/uri /a,b]"},
		{"", "[]"},
		{"[1]", "error"}, {`["/uri"`, "error"},
	} {
		got, err := ParsePointers(test.text)
		text := fmt.Sprint(got)
		if err != nil {
			text = "error"
		}
		if text != test.want {
			t.Errorf("%q: %s, want %s", test.text, text, test.want)
		}
	}
}

func TestSecretParts(t *testing.T) { // encryption.md 3.1, table and P rules
	for _, test := range []struct{ value, want string }{ // want: the encrypted part; "-" nothing, "*" all
		{"amqps://user:secret@host:5671", "secret"},
		{"tcp://user:p:w@host", "p:w"},
		{"tcp://user:p%40w@host:1883", "p%40w"},
		{"tcp://user:@host:1883", ""},
		{"tcp://:pw@host:1883", "pw"},
		{"tcp://user:pw@[::1]:1883", "pw"},
		{"tcp://user:pw@host:", "pw"},
		{"tcp://user:pw@host:99999", "pw"},
		{"tcp://user:pw@host:1883/a@b?c=d:e@f", "pw"},
		{"tcp://host:1883", "-"},
		{"tcp://user@host:1883", "-"},
		{"https://x.y/z", "-"},
		{"https://x.y:8080/path@z", "-"},
		{"https://[::1]:8080/path@z", "-"},
		{"tcp://user:pw@my_broker:1883", "pw"},
		{"tcp://user:pw@10.0.0.300:1883", "pw"},
		{"tcp://user:pw@-bad-:1", "pw"},
		{"tcp://user:p@w@host:1883", "p@w"},
		{"tcp://user:p/w@h", "p/w"},
		{"tcp://user:p#w@h", "p#w"},
		{"tcp://user:p w@host:1883", "*"},
		{"s3cret:pass", "*"}, {"abc:def", "*"}, {"mongodb:user:pw@x", "*"},
		{"1abc:def", "*"}, {"p@ss:word", "*"}, {"abc:", "*"},
		{"someKey", "*"}, {"p@ss", "*"}, {"a/b+c==", "*"}, {"", "*"},
		{"-----BEGIN KEY-----\nAAA\n-----END KEY-----\n", "*"}, {"pa%zz", "*"}, {"with space", "*"},
		{"encrypted_AAAA==", "*"}, {"://user:pw@host", "*"}, {"1a://user:pw@host", "*"},
	} {
		got := "-"
		if part, ok := secretPart(test.value); ok {
			if got = test.value[part.start:part.end]; part == (span{0, len(test.value)}) {
				got = "*"
			}
		}
		if got != test.want {
			t.Errorf("%q: encrypts %q, want %q", test.value, got, test.want)
		}
	}
}

// connectionBody has a secret at each default pointer.
const connectionBody = `{"id":"plant-7","uri":"tcp://user:s3cr3t-uri@host:1883","credentials":{"key":"s3cr3t-key","password":"s3cr3t-password",` +
	`"clientSecret":"s3cr3t-client","parameters":{"accessKey":"s3cr3t-access","secretKey":"s3cr3t-secret","sharedKey":"s3cr3t-shared"}},` +
	`"sshTunnel":{"uri":"ssh://host:22","credentials":{"username":"u","password":"s3cr3t-tunnel","privateKey":"-----BEGIN\ns3cr3t-pem\n"}}}`

func documents() map[string]json.RawMessage {
	return map[string]json.RawMessage{
		"snapshot": json.RawMessage(connectionBody),
		"event":    json.RawMessage(`{"type":"connectivity.events:connectionModified","revision":7,"connection":` + connectionBody + `,"__hh":{"uri":"tcp://a:b@c"}}`),
	}
}

func TestSealHidesEverySecret(t *testing.T) { // E6, E7, E9
	k := ring(t, true, k1, "")
	for name, doc := range documents() {
		first, err := k.Seal(doc)
		if err != nil {
			t.Fatal(err)
		}
		second, err := k.Seal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(first, []byte("s3cr3t")) || bytes.Count(first, []byte(Prefix)) != 9 || !json.Valid(first) {
			t.Errorf("%s is sealed as %s", name, first)
		}
		if bytes.Equal(first, second) {
			t.Errorf("%s is sealed twice in the same way", name)
		}
		if name == "event" && !bytes.Contains(first, []byte(`"__hh":{"uri":"tcp://a:b@c"}`)) {
			t.Errorf("historical headers are sealed: %s", first)
		}
		if unsealed, err := k.Unseal(first); err != nil || !bytes.Equal(unsealed, doc) {
			t.Errorf("%s comes back as %s %v", name, unsealed, err)
		}
	}
}

func TestDocumentsWithoutSecrets(t *testing.T) { // E8, E10, E37
	k := ring(t, true, k1, k2)
	for _, doc := range []string{
		`{"__lifecycle":"DELETED"}`,
		`{"type":"connectivity.events:connectionOpened","connectionId":"a","__hh":{}}`,
		`{"type":"persistence-actor-internal:empty-event","effect":"priorityUpdate"}`,
		`{"uri":"tcp://host:1883","credentials":null}`,
		`{"uri":7,"credentials":{"key":null,"password":["s"],"clientSecret":{"a":"b"},"parameters":false},"sshTunnel":[{"credentials":{"password":"x"}}]}`,
		`{"sources":[{"uri":"tcp://a:b@c"}],"deep":{"uri":"x","credentials":{"password":"y"}}}`,
		` {"connection" : { } } `, `{}`,
	} {
		for what, f := range map[string]func(json.RawMessage) (json.RawMessage, error){"seal": k.Seal, "unseal": k.Unseal} {
			if got, err := f(json.RawMessage(doc)); err != nil || string(got) != doc {
				t.Errorf("%s %s: %s %v, want it unchanged", what, doc, got, err)
			}
		}
	}
}

func TestOddDocuments(t *testing.T) {
	k := ring(t, true, k1, "", "/a~1b/c~0d", "/*/x", "/list/0", "/uri")
	for _, test := range []struct {
		doc    string
		sealed int // values
	}{
		{`{"a/b":{"c~d":"s"}}`, 1}, {`{"*":{"x":"s"},"y":{"x":"s"}}`, 1}, {`{"list":["s"]}`, 0},
		{`{"ur\u0069":"s"}`, 1}, {`{"uri":"s","uri":"t"}`, 2}, {`{"uri":"say \"hi\"\\ \u00e4\n"}`, 1}, {"{\n\t\"uri\" :\r\n \"s\"\n}", 1},
		{`{"x":{"uri":"s"},"z":[{"uri":"s"},[[["}"]]]],"w":"}\\\"","uri":"s"}`, 1},
	} {
		sealed, err := k.Seal(json.RawMessage(test.doc))
		if err != nil || bytes.Count(sealed, []byte(Prefix)) != test.sealed {
			t.Errorf("%s: sealed as %s %v, want %d ciphertexts", test.doc, sealed, err, test.sealed)
			continue
		}
		unsealed, err := k.Unseal(sealed)
		if err != nil {
			t.Errorf("%s: %v", test.doc, err)
			continue
		}
		sameJSON(t, unsealed, []byte(test.doc))
	}
	for _, doc := range []string{``, ` `, `null`, `"uri"`, `[]`, `{`, `{"uri"`, `{"uri":`, `{"uri":"s`, `{"uri":"s"`, `{"uri":"s"}}`, `{"uri":"s",}`, `{,}`, `{"uri" "s"}`, `{"uri":"\x"}`, `{"uri":"s"} {}`, "{\"a\":\x00}"} {
		if got, err := k.Seal(json.RawMessage(doc)); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %s %v, want ErrDocument", doc, got, err)
		}
	}
}

func TestMatrix(t *testing.T) { // encryption.md 4; E11 to E14
	const clear, under1, under2 = `{"uri":"s3cr3t"}`, `{"uri":"` + k1Secret + `"}`, `{"uri":"` + k2Secret + `"}`
	for _, test := range []struct {
		name     string
		enabled  bool
		key, old string
		seals    bool
		reads    map[string]bool
	}{
		{"- - -", false, "", "", false, map[string]bool{clear: true}},
		{"E C -", true, k1, "", true, map[string]bool{clear: true, under1: true, under2: false}},
		{"E C O", true, k1, k2, true, map[string]bool{clear: true, under1: true, under2: true}},
		{"- C -", false, k1, "", false, map[string]bool{clear: true, under1: true, under2: false}},
		{"- C O", false, k1, k2, false, map[string]bool{clear: true, under1: true, under2: true}},
		{"- - O", false, "", k2, false, map[string]bool{clear: true, under1: false, under2: true}},
		{"other keys", true, k3, "", true, map[string]bool{clear: true, under1: false, under2: false}},
	} {
		k := ring(t, test.enabled, test.key, test.old)
		sealed, err := k.Seal(json.RawMessage(clear))
		if err != nil || (string(sealed) != clear) != test.seals {
			t.Errorf("%s: sealed as %s %v, want sealed: %t", test.name, sealed, err, test.seals)
		}
		for _, event := range []bool{false, true} {
			wrap := func(doc string) string {
				if event {
					return `{"connection":` + doc + `}`
				}
				return doc
			}
			for doc, readable := range test.reads {
				got, err := k.Unseal(json.RawMessage(wrap(doc)))
				var field *FieldError
				switch {
				case readable && (err != nil || string(got) != wrap(clear)):
					t.Errorf("%s: %s read as %s %v", test.name, wrap(doc), got, err)
				case !readable && (got != nil || !errors.As(err, &field)):
					t.Errorf("%s: %s read as %s %v, want a FieldError", test.name, wrap(doc), got, err)
				}
			}
		}
	}
	if got, err := ring(t, false, "", "").Unseal(json.RawMessage(under1)); err != nil || string(got) != under1 {
		t.Errorf("without keys %s %v, want it as stored", got, err)
	}
}

func TestFallbackIsPerValue(t *testing.T) {
	doc := `{"uri":"tcp://user:` + k1Secret + `@host:1","credentials":{"password":"` + k2Secret + `","key":"clear"}}`
	got, err := ring(t, true, k1, k2).Unseal(json.RawMessage(doc))
	if err != nil || string(got) != `{"uri":"tcp://user:s3cr3t@host:1","credentials":{"password":"s3cr3t","key":"clear"}}` {
		t.Errorf("%s %v", got, err)
	}
	got, err = ring(t, true, k1, "").Unseal(json.RawMessage(doc))
	var field *FieldError
	if got != nil || !errors.As(err, &field) || field.Pointer != "/credentials/password" {
		t.Errorf("%s %v, want a FieldError at /credentials/password", got, err)
	}
}

func TestSecretThatLooksEncrypted(t *testing.T) { // encryption.md 4: round-trips while E is on
	k := ring(t, true, k1, "")
	for _, doc := range []string{`{"uri":"encrypted_x"}`, `{"uri":"` + k1Secret + `"}`, `{"uri":"tcp://u:encrypted_x@h:1"}`} {
		sealed, err := k.Seal(json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Unseal(sealed); err != nil || string(got) != doc {
			t.Errorf("%s comes back as %s %v", doc, got, err)
		}
	}
}

func TestRewrite(t *testing.T) { // encryption.md 6.8 with its P rules
	pass := func(secret string) string { return `{"credentials":{"password":"` + secret + `"}}` }
	pair := func(a, b string) string { return `{"uri":"` + a + `","credentials":{"password":"` + b + `"}}` }
	k3Secret := string(mustKey(t, k3).appendSealed(nil, "s3cr3t"))
	for _, test := range []struct {
		name    string
		ring    *Keyring
		doc     string
		outcome Outcome
		fails   bool
		clear   string // what only the current key reads afterwards; of disable: what is stored afterwards
	}{
		{"initial, clear", ring(t, true, k1, ""), pass("s3cr3t"), Changed, false, pass("s3cr3t")},
		{"initial, sealed", ring(t, true, k1, ""), pass(k1Secret), Skipped, false, ""},
		{"initial, half sealed", ring(t, true, k1, ""), pair("s3cr3t", k1Secret), Skipped, false, ""},
		{"initial, password of a URI sealed", ring(t, true, k1, ""), pair("tcp://u:"+k1Secret+"@h:1", "s3cr3t"), Skipped, false, ""},
		{"initial, unknown key", ring(t, true, k1, ""), pass(k2Secret), Skipped, false, ""},
		{"initial, URI without password", ring(t, true, k1, ""), `{"uri":"tcp://h:1"}`, Skipped, false, ""},
		{"initial, value is no string", ring(t, true, k1, ""), `{"credentials":{"key":null}}`, Skipped, false, ""},
		{"initial, no pointer", ring(t, true, k1, ""), `{"__lifecycle":"DELETED"}`, Absent, false, ""},
		{"rotation, old", ring(t, true, k1, k2), pass(k2Secret), Changed, false, pass("s3cr3t")},
		{"rotation, old in an event", ring(t, true, k1, k2), `{"type":"x","connection":` + pass(k2Secret) + `}`, Changed, false, `{"type":"x","connection":` + pass("s3cr3t") + `}`},
		{"rotation, clear", ring(t, true, k1, k2), pass("s3cr3t"), Changed, false, pass("s3cr3t")},
		{"rotation, current", ring(t, true, k1, k2), pass(k1Secret), Skipped, false, ""},
		{"rotation, both", ring(t, true, k1, k2), pair("tcp://u:"+k2Secret+"@h:1", k1Secret), Changed, false, pair("tcp://u:s3cr3t@h:1", "s3cr3t")},
		{"rotation, unknown", ring(t, true, k1, k2), pass(k3Secret), Skipped, true, ""},
		{"rotation, one unknown", ring(t, true, k1, k2), pair(k2Secret, k3Secret), Skipped, true, ""},
		{"rotation, no JSON", ring(t, true, k1, k2), `{"uri"`, Skipped, true, ""},
		{"disable, old", ring(t, false, "", k2), pass(k2Secret), Changed, false, pass("s3cr3t")},
		{"disable, clear", ring(t, false, "", k2), pass("s3cr3t"), Skipped, false, ""},
		{"disable, unknown", ring(t, false, "", k2), pass(k1Secret), Skipped, true, ""},
		{"disable, no pointer", ring(t, false, "", k2), `{"type":"connectivity.events:connectionOpened"}`, Absent, false, ""},
	} {
		got, outcome, err := test.ring.Rewrite(json.RawMessage(test.doc))
		if (err != nil) != test.fails || outcome != test.outcome {
			t.Errorf("%s: outcome %d, error %v", test.name, outcome, err)
			continue
		}
		if outcome != Changed {
			if got != nil {
				t.Errorf("%s: %s, want nothing", test.name, got)
			}
			continue
		}
		if mode, _ := test.ring.Mode(); mode != ModeDisable {
			if got, err = ring(t, true, k1, "").Unseal(got); err != nil {
				t.Errorf("%s: not under the current key: %v", test.name, err)
			}
		}
		if string(got) != test.clear {
			t.Errorf("%s: %s, want %s", test.name, got, test.clear)
		}
	}
}

func TestModes(t *testing.T) { // encryption.md 6.8, decisions D22, D23
	for _, test := range []struct {
		enabled  bool
		key, old string
		mode     Mode
		err      error
	}{
		{true, k1, "", ModeInitial, nil}, {true, k1, k2, ModeRotation, nil}, {false, "", k2, ModeDisable, nil},
		{false, k1, k2, "", ErrMisconfigured}, {false, k1, "", "", ErrNotConfigured}, {false, "", "", "", ErrNotConfigured},
	} {
		k := ring(t, test.enabled, test.key, test.old)
		mode, err := k.Mode()
		if mode != test.mode || !errors.Is(err, test.err) {
			t.Errorf("%v: %q %v, want %q %v", k, mode, err, test.mode, test.err)
		}
		if _, _, err := k.Rewrite(json.RawMessage(`{"uri":"x"}`)); (err != nil) != (test.err != nil) {
			t.Errorf("%v rewrites: %v", k, err)
		}
	}
}

func TestFingerprints(t *testing.T) {
	all := map[string]string{}
	for name, k := range map[string]*Keyring{
		"nothing": ring(t, false, "", ""), "C1": ring(t, false, k1, ""), "E C1": ring(t, true, k1, ""), "E C2": ring(t, true, k2, ""),
		"E C1 O2": ring(t, true, k1, k2), "E C2 O1": ring(t, true, k2, k1), "O1": ring(t, false, "", k1), "pointers": ring(t, true, k1, "", "/uri"),
	} {
		f := k.Fingerprint()
		if other, taken := all[f]; taken {
			t.Errorf("%s and %s have the same fingerprint %s", name, other, f)
		}
		all[f] = name
	}
	a, b := ring(t, true, k1, "", "/uri", "/name"), ring(t, true, strings.TrimSuffix(k1, "="), "", "/name", "/uri", "/uri")
	if a.Fingerprint() != b.Fingerprint() {
		t.Errorf("%s and %s mean the same", a.Fingerprint(), b.Fingerprint())
	}
	shown, err := json.Marshal(ring(t, true, k1, k2).Fingerprints())
	if err != nil || !bytes.Contains(shown, []byte(mustKey(t, k1).Fingerprint())) || len(mustKey(t, k1).Fingerprint()) != 16 {
		t.Errorf("%s %v", shown, err)
	}
}

func TestNothingPrintsAKey(t *testing.T) { // decision O6
	raw, err := base64.URLEncoding.DecodeString(k1)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys(Settings{Enabled: true, Key: NewSecret(k1), OldKey: NewSecret(k2)})
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		secret   Secret
		key      *Key
		ring     *Keyring
		keys     *Keys
		settings Settings
	}
	h := holder{NewSecret(k1), mustKey(t, k1), ring(t, true, k1, k2), keys, keys.settings}
	forbidden := []string{k1[:20], "AAECAw", "00010203", "000102", fmt.Sprint(raw)[1:20], fmt.Sprintf("%x", k1)[:20], k2[:20], "0x0, 0x1, 0x2"}
	check := func(how, text string) {
		for _, f := range forbidden {
			if strings.Contains(strings.ToLower(text), strings.ToLower(f)) {
				t.Errorf("%s shows %q: %s", how, f, text)
			}
		}
	}
	for _, v := range []any{h, &h, h.secret, &h.secret, h.key, *h.key, h.ring, *h.ring, h.keys, h.settings, []any{h.secret, h.key}, map[string]Secret{"a": h.secret}, errors.Join(errKeyText)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			check(verb+fmt.Sprintf(" of %T", v), fmt.Sprintf(verb, v))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		check(fmt.Sprintf("slog of %T", v), log.String())
		if text, err := json.Marshal(v); err == nil {
			check(fmt.Sprintf("JSON of %T", v), string(text))
		}
	}
	if got := fmt.Sprint(h.secret); got != "*****" || !strings.HasPrefix(h.key.String(), "key ") {
		t.Errorf("secret shows as %q, key as %q", got, h.key)
	}
}

func TestErrorsShowNoValue(t *testing.T) {
	const value = "encrypted_c2VjcmV0LXZhbHVl"
	for _, doc := range []string{`{"uri":"` + value + `"}`, `{"uri":"\q` + value + `"}`, `{"uri":"` + value} {
		_, err := ring(t, true, k1, k2).Unseal(json.RawMessage(doc))
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
