// Package oidctest is a token issuer for tests: discovery document, keys that rotate, tokens good and bad.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer is a server with one realm. Its fields may be changed inside Change.
type Issuer struct {
	*httptest.Server
	Keys     []jose.JSONWebKey   // private; the first one signs
	Extra    []string            // further entries of the published key set, as they are
	Document func(Claims) Claims // edits the discovery document; nil: as it is
	Down     bool                // answers 502 to everything
	Asked    atomic.Int64        // how often the keys were asked for

	t  testing.TB
	mu sync.Mutex
}

// Claims are the members of a token, or of another JSON object.
type Claims = map[string]any

// New starts an issuer with one key, "one". The test's end stops it.
func New(t testing.TB) *Issuer {
	s := &Issuer{t: t}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	s.Add("one", jose.RS256)
	return s
}

// Address is the issuer as the configuration names it: without protocol.
func (s *Issuer) Address() string { return strings.TrimPrefix(s.URL, "http://") + "/realm" }

// ServeHTTP implements http.Handler.
func (s *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.Down:
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == "/realm/.well-known/openid-configuration":
		d := Claims{"issuer": s.URL + "/realm", "jwks_uri": s.URL + "/keys", "more": []int{1}}
		if s.Document != nil {
			d = s.Document(d)
		}
		_ = json.NewEncoder(w).Encode(d)
	case r.URL.Path == "/keys":
		s.Asked.Add(1)
		all := make([]json.RawMessage, 0, len(s.Keys)+len(s.Extra))
		for _, k := range s.Keys {
			text, err := json.Marshal(k.Public())
			if err != nil {
				s.t.Error(err)
			}
			all = append(all, text)
		}
		for _, text := range s.Extra {
			all = append(all, json.RawMessage(text))
		}
		_ = json.NewEncoder(w).Encode(Claims{"keys": all})
	default:
		http.NotFound(w, r)
	}
}

// Change changes fields while the server runs.
func (s *Issuer) Change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Add makes a new key the issuer's first.
func (s *Issuer) Add(id string, algorithm jose.SignatureAlgorithm) {
	s.t.Helper()
	var key any
	var err error
	if strings.HasPrefix(string(algorithm), "ES") {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.Change(func() {
		s.Keys = append([]jose.JSONWebKey{{Key: key, KeyID: id, Algorithm: string(algorithm), Use: "sig"}}, s.Keys...)
	})
}

// Claims are those of a good token of ann, good for a minute; change edits them.
func (s *Issuer) Claims(change ...func(Claims)) Claims {
	now := time.Now()
	c := Claims{"iss": s.URL + "/realm", "sub": "ann", "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "aud": "somebody"}
	for _, f := range change {
		f(c)
	}
	return c
}

// With sets a claim.
func With(name string, value any) func(Claims) { return func(c Claims) { c[name] = value } }

// Without removes a claim.
func Without(name string) func(Claims) { return func(c Claims) { delete(c, name) } }

// Sign makes a token with the issuer's first key.
func (s *Issuer) Sign(claims Claims) string {
	s.t.Helper()
	return Sign(s.t, jose.SigningKey{Algorithm: jose.SignatureAlgorithm(s.Keys[0].Algorithm), Key: s.Keys[0]}, claims)
}

// Sign makes a token with any key.
func Sign(t testing.TB, key jose.SigningKey, claims Claims) string {
	t.Helper()
	return SignWith(t, key, nil, claims)
}

// SignWith makes a token with any key and options of its header.
func SignWith(t testing.TB, key jose.SigningKey, options *jose.SignerOptions, claims Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
