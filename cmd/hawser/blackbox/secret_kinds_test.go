package blackbox

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"hawser/actors/client/clienttest"
	"hawser/persistence/encryption"
)

// Three keys, made for the tests of encryption.
const (
	keyOne   = "b25lLW9uZS1vbmUtb25lLW9uZS1vbmUtb25lLW9uZTE="
	keyTwo   = "dHdvLXR3by10d28tdHdvLXR3by10d28tdHdvLXR3bzI="
	keyThree = "dGhyZWUtdGhyZWUtdGhyZWUtdGhyZWUtdGhyZWUtMzM="
)

// secretMark begins every secret of the tests below, except those whose form is given: keys and certificates.
const secretMark = "s3cr3t-"

// secretKinds are closed connections that hold every kind of secret: the URI's password, and credentials of every type. Each
// secret names its connection.
type secretKinds struct {
	cert, key string // of a client certificate, in PEM
	of        []func(id string) object
}

func newSecretKinds(t testing.TB) *secretKinds {
	t.Helper()
	k := &secretKinds{}
	k.cert, k.key = clienttest.Mosquitto(t, clienttest.MosquittoOptions{TLS: true}).ClientCertificate()
	secret := func(what, id string) string { return secretMark + what + "-" + id }
	connection := func(typ, uri string, more object) func(id string) object {
		return func(id string) object {
			c := mqttConnection(id, uri+"://user:"+secret("uri", id)+"@127.0.0.1:1", "closed")
			c["connectionType"] = typ
			c["sources"] = []any{}
			target := c["targets"].([]any)[0].(object)
			if typ == "http-push" {
				target["address"] = "POST:/" + id
			}
			if !strings.HasPrefix(typ, "mqtt") {
				delete(target, "qos")
			}
			if _, has := more["credentials"]; has && typ == "http-push" { // not together with a user in the URI
				c["uri"] = uri + "://127.0.0.1:1"
			}
			for name, value := range more {
				if made, ok := value.(func(id string) any); ok {
					value = made(id)
				}
				c[name] = value
			}
			return c
		}
	}
	credentials := func(typ string, members ...string) object {
		return object{"credentials": func(id string) any {
			c := object{"type": typ}
			for i := 0; i < len(members); i += 2 {
				c[members[i]] = strings.ReplaceAll(members[i+1], "SECRET", secret(typ+"-"+members[i], id))
			}
			return c
		}}
	}
	hmac := func(algorithm string, members ...string) object {
		return object{"credentials": func(id string) any {
			parameters := credentials(algorithm, members...)["credentials"].(func(string) any)(id).(object)
			delete(parameters, "type")
			return object{"type": "hmac", "algorithm": algorithm, "parameters": parameters}
		}}
	}
	tunnel := func(typ string, members ...string) object {
		return object{"sshTunnel": func(id string) any {
			return object{
				"enabled": true, "uri": "ssh://127.0.0.1:1", "validateHost": false, "knownHosts": []any{},
				"credentials": credentials(typ, members...)["credentials"].(func(string) any)(id),
			}
		}}
	}
	publicPEM, privatePEM := sshPair(t)
	k.of = []func(id string) object{
		connection("mqtt", "tcp", nil),
		connection("mqtt", "ssl", object{"credentials": object{"type": "client-cert", "cert": k.cert, "key": k.key}}),
		connection("http-push", "http", credentials("plain", "username", "u", "password", "SECRET")),
		connection("http-push", "http", hmac("aws4-hmac-sha256", "region", "r", "service", "s", "accessKey", "SECRET", "secretKey", "SECRET")),
		connection("http-push", "http", hmac("az-monitor-2016-04-01", "workspaceId", "w", "sharedKey", "SECRET")),
		connection("http-push", "http", credentials("oauth-client-credentials", "tokenEndpoint", "https://127.0.0.1:1/token", "clientId", "c", "clientSecret", "SECRET", "requestedScopes", "x")),
		connection("http-push", "http", credentials("oauth-password", "tokenEndpoint", "https://127.0.0.1:1/token", "clientId", "c", "clientSecret", "SECRET", "requestedScopes", "x", "username", "u", "password", "SECRET")),
		connection("amqp-091", "amqp", tunnel("plain", "username", "u", "password", "SECRET")),
		connection("amqp-091", "amqp", tunnel("public-key", "username", "u", "publicKey", publicPEM, "privateKey", privatePEM)),
	}
	return k
}

// connection number i; they go through all kinds.
func (k *secretKinds) connection(id string, i int) object { return k.of[i%len(k.of)](id) }

// words are what must not be found: the mark, and of the texts in PEM a line from the middle.
func (k *secretKinds) words(more ...string) []string {
	words := append([]string{secretMark, pemLine(k.key)}, more...)
	for _, made := range k.of {
		if key, ok := at(made("x"), "sshTunnel", "credentials", "privateKey").(string); ok {
			words = append(words, pemLine(key))
		}
	}
	return words
}

func pemLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)/2]
}

// secretForms are the ways in which a secret may be written.
func secretForms(word string) []string {
	forms := []string{word, url.QueryEscape(word), url.PathEscape(word), hex.EncodeToString([]byte(word))}
	for shift := range 3 { // inside a text in base64, such as "Authorization: Basic": without the characters that it shares
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + word))
		forms = append(forms, text[(8*shift+5)/6:len(text)-1])
	}
	return forms
}

// haystack is everything that a run has shown or stored, by where.
type haystack map[string]*strings.Builder

// add takes a text that must hold control: what is not collected cannot be searched.
func (h haystack) add(t testing.TB, where, control, text string) {
	t.Helper()
	if !strings.Contains(text, control) {
		t.Errorf("%s do not even hold %q, the search for secrets there shows nothing: %.300q", where, control, text)
	}
	if h[where] == nil {
		h[where] = &strings.Builder{}
	}
	h[where].WriteString(text)
	h[where].WriteString("\n")
}

// addRows takes everything that is stored.
func (h haystack) addRows(t testing.TB, env []string, control string) {
	t.Helper()
	for table, columns := range map[string]string{
		"journal": "pid, type, cast(payload as text), cast(tags as text), coalesce(request_id, '')", "snapshots": "pid, cast(payload as text)",
		"connections": "id, cast(tags as text), coalesce(cast(interest as text), '')", "migrations": "name, cast(progress as text)",
	} {
		var all strings.Builder
		for _, row := range queryStore(t, env, "select "+columns+" from "+table) {
			all.WriteString(strings.Join(row, " ") + "\n")
		}
		known := control
		if table == "migrations" {
			known = "lastProcessedJournalId"
		}
		h.add(t, "rows of "+table, known, all.String())
	}
}

// find says where each word is, in whatever form.
func (h haystack) find(words []string) (found []string) {
	for where, text := range h {
		for _, word := range words {
			for _, form := range secretForms(word) {
				if i := strings.Index(text.String(), form); i >= 0 {
					all := text.String()
					found = append(found, fmt.Sprintf("%s: %q as %q in %q", where, word, form, all[max(0, i-200):min(len(all), i+200)]))
				}
			}
		}
	}
	return found
}

// demandNone fails for each word that is found anywhere; before, it plants each word in each form everywhere and demands that
// the search finds it.
func (h haystack) demandNone(t testing.TB, words []string) {
	t.Helper()
	for where := range h {
		for _, word := range words {
			for name, written := range map[string]string{
				"clear": word, "query": url.QueryEscape(word), "basic authentication": base64.StdEncoding.EncodeToString([]byte("user:" + word)),
			} {
				planted := haystack{where: &strings.Builder{}}
				planted[where].WriteString(h[where].String()[:min(1000, h[where].Len())] + written)
				if len(planted.find([]string{word})) == 0 {
					t.Errorf("%s: %q planted as %s is not found", where, word, name)
				}
			}
		}
	}
	for _, one := range h.find(words) {
		t.Error(one)
	}
	for where, text := range h {
		t.Logf("searched %s: %d bytes", where, text.Len())
	}
}

// onlyKey is a ring with one key, or none.
func onlyKey(t testing.TB, key string) *encryption.Keyring {
	t.Helper()
	ring, err := encryption.NewKeyring(key != "", encryption.NewSecret(key), encryption.Secret{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// storedUnder demands that every secret in the database can be read with key, "" for in clear, and none in another way.
func storedUnder(t testing.TB, env []string, key string) {
	t.Helper()
	for _, table := range []string{"journal", "snapshots"} {
		rows := queryStore(t, env, "select cast(payload as text) from "+table)
		if len(rows) == 0 {
			t.Fatalf("%s is empty", table)
		}
		if key == "" {
			for _, row := range rows {
				if strings.Contains(row[0], encryption.Prefix) {
					t.Fatalf("%s: there is ciphertext left: %s", table, row[0])
				}
			}
			continue
		}
		only := onlyKey(t, key)
		sealed := 0
		for _, row := range rows {
			if strings.Contains(row[0], secretMark) {
				t.Fatalf("%s: a secret is stored in clear: %s", table, row[0])
			}
			clear, err := only.Unseal([]byte(row[0]))
			if err != nil {
				t.Fatalf("%s: a value is under another key: %v", table, err)
			}
			if string(clear) != row[0] {
				sealed++
			}
		}
		if sealed == 0 {
			t.Fatalf("%s: no row of %d is sealed", table, len(rows))
		}
		t.Logf("%s: %d of %d rows are sealed with the key, none under another one or in clear", table, sealed, len(rows))
	}
}

// sshPair is a key pair in PEM.
func sshPair(t testing.TB) (public, private string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
