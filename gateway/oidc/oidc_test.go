package oidc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"hawser/gateway/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func verifier(t testing.TB, change func(*Options), issuers ...*oidctest.Issuer) *Verifier {
	o := Options{
		Issuers: map[string]string{}, Protocol: "http", Skew: 10 * time.Second, KeysFor: time.Hour, RetryAfter: 10 * time.Second,
		Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
	}
	for i, s := range issuers {
		o.Issuers[fmt.Sprint("issuer-", i)] = s.Address()
	}
	if change != nil {
		change(&o)
	}
	v := New(o)
	t.Cleanup(v.Close)
	return v
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// TestTokens: what makes a token good, and what makes it bad.
func TestTokens(t *testing.T) {
	s, other := oidctest.New(t), oidctest.New(t)
	v := verifier(t, nil, s, other)
	stranger := oidctest.New(t)
	public, err := json.Marshal(s.Keys[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	text := func(v any) string { b, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(b) }
	good := s.Sign(s.Claims())
	parts := strings.Split(good, ".")
	for name, row := range map[string]struct {
		token, subject string
	}{
		"good":                         {good, "issuer-0:ann"},
		"of the other issuer":          {other.Sign(other.Claims(oidctest.With("sub", "bob"))), "issuer-1:bob"},
		"issuer without protocol":      {s.Sign(s.Claims(oidctest.With("iss", s.Address()))), "issuer-0:ann"},
		"expired":                      {s.Sign(s.Claims(oidctest.With("exp", in(-20*time.Second)))), ""},
		"expired within the skew":      {s.Sign(s.Claims(oidctest.With("exp", in(-5*time.Second)))), "issuer-0:ann"},
		"not yet":                      {s.Sign(s.Claims(oidctest.With("nbf", in(20*time.Second)))), ""},
		"not yet, within the skew":     {s.Sign(s.Claims(oidctest.With("nbf", in(5*time.Second)))), "issuer-0:ann"},
		"issued in the future":         {s.Sign(s.Claims(oidctest.With("iat", in(time.Minute)))), ""},
		"never expires":                {s.Sign(s.Claims(oidctest.Without("exp"))), ""},
		"no subject":                   {s.Sign(s.Claims(oidctest.Without("sub"))), ""},
		"no issuer":                    {s.Sign(s.Claims(oidctest.Without("iss"))), ""},
		"unknown issuer":               {stranger.Sign(stranger.Claims()), ""},
		"signed by another issuer":     {other.Sign(s.Claims()), ""},
		"issuer of another protocol":   {s.Sign(s.Claims(oidctest.With("iss", strings.Replace(s.URL, "http", "https", 1)+"/realm"))), ""},
		"no signature":                 {parts[0] + "." + parts[1] + ".", ""},
		"other claims":                 {parts[0] + "." + text(s.Claims(oidctest.With("sub", "eve"))) + "." + parts[2], ""},
		"algorithm none":               {text(oidctest.Claims{"alg": "none"}) + "." + parts[1] + ".", ""},
		"public key as shared secret":  {oidctest.Sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: public, KeyID: "one"}}, s.Claims()), ""},
		"key of the token's own":       {embedded(t, s.Claims()), ""},
		"no token":                     {"", ""},
		"half a token":                 {parts[0] + "." + parts[1], ""},
		"no JSON":                      {"a.b.c", ""},
		"encrypted":                    {"a.b.c.d.e", ""},
		"claims of the wrong type":     {s.Sign(oidctest.Claims{"iss": []int{1}, "sub": 1}), ""},
		"another algorithm of the key": {oidctest.Sign(t, jose.SigningKey{Algorithm: jose.RS512, Key: s.Keys[0]}, s.Claims()), ""},
	} {
		t.Run(name, func(t *testing.T) {
			subject, err := v.Subject(t.Context(), row.token)
			if subject != row.subject || (row.subject == "") != errors.Is(err, ErrInvalid) || row.subject != "" && err != nil {
				t.Errorf("%q, %v", subject, err)
			}
		})
	}
}

// embedded is a token that brings its own key.
func embedded(t *testing.T, claims oidctest.Claims) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.SignWith(t, jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true}, claims)
}

// TestRotation: a token with a key that nobody knew is good as soon as the issuer publishes the key, and the issuer is not
// asked more often than once in a while, whatever keys tokens name.
func TestRotation(t *testing.T) {
	s := oidctest.New(t)
	v := verifier(t, nil, s)
	now := time.Now()
	v.now = func() time.Time { return now }
	check := func(what, token string, good bool, asked int64) {
		t.Helper()
		_, err := v.Subject(t.Context(), token)
		if (err == nil) != good || err != nil && !errors.Is(err, ErrInvalid) || s.Asked.Load() != asked {
			t.Errorf("%s: %v, asked %d times, want %d", what, err, s.Asked.Load(), asked)
		}
	}
	first := s.Sign(s.Claims())
	check("first", first, true, 1)
	s.Add("two", jose.ES256)
	second := s.Sign(s.Claims())
	check("rotated a moment later", second, false, 1)
	now = now.Add(11 * time.Second)
	check("first, from memory", first, true, 1)
	check("rotated", second, true, 2)
	check("rotated, from memory", second, true, 2)
	s.Change(func() { s.Keys = s.Keys[:1] })
	check("taken back, not known yet", first, true, 2)
	stranger := oidctest.New(t)
	stranger.Add("three", jose.RS256)
	unknown := stranger.Sign(s.Claims())
	for range 20 {
		_, _ = v.Subject(t.Context(), unknown)
	}
	now = now.Add(11 * time.Second)
	for range 20 {
		check("unknown key", unknown, false, 3)
	}
	check("taken back", first, false, 3)
	now = now.Add(11 * time.Second)
	check("taken back, asked again", first, false, 4)
	forged := oidctest.Sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: ecdsaKey(t), KeyID: "two"}}, s.Claims())
	now = now.Add(11 * time.Second)
	check("a known key's name, another's signature", forged, false, 4)
}

func ecdsaKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestIssuerDown: without an issuer that ever answered nothing can be said; the keys of one that answered count for a while.
func TestIssuerDown(t *testing.T) {
	s := oidctest.New(t)
	s.Down = true
	var log bytes.Buffer
	v := verifier(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }, s)
	now := time.Now()
	v.now = func() time.Time { return now }
	token := func() string {
		return s.Sign(s.Claims(oidctest.With("exp", now.Add(time.Minute).Unix()), oidctest.With("iat", now.Unix())))
	}
	check := func(what string, good, down bool) {
		t.Helper()
		if _, err := v.Subject(t.Context(), token()); (err == nil) != good || down != (err != nil && !errors.Is(err, ErrInvalid)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("never answered", false, true)
	s.Change(func() { s.Down = false })
	check("not asked again at once", false, true)
	now = now.Add(11 * time.Second)
	check("answers", true, false)
	s.Change(func() { s.Down = true })
	now = now.Add(2 * time.Hour)
	check("down for two hours", true, false)
	now = now.Add(23 * time.Hour)
	check("down for a day", false, true)
	s.Change(func() { s.Down = false })
	now = now.Add(11 * time.Second)
	check("back", true, false)
	if text := log.String(); !strings.Contains(text, "502") || strings.Contains(text, token()) {
		t.Errorf("log: %s", text)
	}
}

// TestBadIssuers: answers that an issuer must not give.
func TestBadIssuers(t *testing.T) {
	for name, document := range map[string]func(oidctest.Claims) oidctest.Claims{
		"another issuer": func(d oidctest.Claims) oidctest.Claims { d["issuer"] = "http://else/realm"; return d },
		"no keys":        func(d oidctest.Claims) oidctest.Claims { delete(d, "jwks_uri"); return d },
		"keys in a file": func(d oidctest.Claims) oidctest.Claims { d["jwks_uri"] = "file:///etc/passwd"; return d },
		"keys elsewhere": func(d oidctest.Claims) oidctest.Claims { d["jwks_uri"] = d["jwks_uri"].(string) + "/nowhere"; return d },
		"too much":       func(d oidctest.Claims) oidctest.Claims { d["more"] = strings.Repeat("x", mostAnswer); return d },
	} {
		t.Run(name, func(t *testing.T) {
			s := oidctest.New(t)
			s.Document = document
			if _, err := verifier(t, nil, s).Subject(t.Context(), s.Sign(s.Claims())); err == nil || errors.Is(err, ErrInvalid) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("a redirect", func(t *testing.T) {
		s := oidctest.New(t)
		elsewhere := httptest.NewServer(http.RedirectHandler(s.URL+"/realm/.well-known/openid-configuration", http.StatusFound))
		defer elsewhere.Close()
		v := verifier(t, func(o *Options) { o.Issuers["x"] = strings.TrimPrefix(elsewhere.URL, "http://") })
		if _, err := v.Subject(t.Context(), s.Sign(s.Claims(oidctest.With("iss", elsewhere.URL)))); err == nil || errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
	t.Run("keys of other kinds", func(t *testing.T) {
		s := oidctest.New(t)
		secret := []byte("0123456789abcdef0123456789abcdef")
		s.Extra = []string{`{"kty":"oct","kid":"one","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}`, `{"kty":"martian"}`, `17`}
		v := verifier(t, nil, s)
		if _, err := v.Subject(t.Context(), s.Sign(s.Claims())); err != nil {
			t.Errorf("the good key: %v", err)
		}
		shared := oidctest.Sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: "one"}}, s.Claims())
		if _, err := v.Subject(t.Context(), shared); !errors.Is(err, ErrInvalid) {
			t.Errorf("the shared secret: %v", err)
		}
	})
	t.Run("too many keys", func(t *testing.T) {
		s := oidctest.New(t)
		text, err := json.Marshal(s.Keys[0].Public())
		if err != nil {
			t.Fatal(err)
		}
		for range mostKeys {
			s.Extra = append(s.Extra, string(text))
		}
		if _, err := verifier(t, nil, s).Subject(t.Context(), s.Sign(s.Claims())); err == nil || errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a short key", func(t *testing.T) {
		key, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		s := oidctest.New(t)
		s.Keys = []jose.JSONWebKey{{Key: key, KeyID: "short", Algorithm: "RS256", Use: "sig"}}
		if _, err := verifier(t, nil, s).Subject(t.Context(), s.Sign(s.Claims())); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
}

// TestSilentIssuer: an issuer that accepts and says nothing holds nobody up for longer than the timeout, or than the request.
func TestSilentIssuer(t *testing.T) {
	s := oidctest.New(t)
	silent := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(silent)
	token := s.Sign(s.Claims(oidctest.With("iss", server.URL)))
	v := verifier(t, func(o *Options) {
		o.Issuers["silent"], o.Timeout = strings.TrimPrefix(server.URL, "http://"), 100*time.Millisecond
	})
	if _, err := v.Subject(t.Context(), token); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
	v = verifier(t, func(o *Options) {
		o.Issuers["silent"], o.Timeout = strings.TrimPrefix(server.URL, "http://"), 500*time.Millisecond
	})
	var first sync.WaitGroup
	asking := v.issuers[server.URL].keys.asking
	first.Go(func() { _, _ = v.Subject(t.Context(), token) })
	asking <- struct{}{} // taken: as if another request were asking
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Subject(ctx, token); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that ended: %v", err)
	}
	<-asking
	first.Wait()
}

// TestOneQuestion: many requests with a new key ask the issuer once.
func TestOneQuestion(t *testing.T) {
	s := oidctest.New(t)
	v := verifier(t, nil, s)
	token := s.Sign(s.Claims())
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := v.Subject(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s.Asked.Load() != 1 {
		t.Errorf("asked %d times", s.Asked.Load())
	}
}

// FuzzSubject: nothing that comes as a token makes the verifier panic or pass.
func FuzzSubject(f *testing.F) {
	s := oidctest.New(f)
	v := verifier(f, nil, s)
	good := s.Sign(s.Claims())
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if subject, err := v.Subject(t.Context(), token); token != good && err == nil && subject != "issuer-0:ann" {
			t.Errorf("%q passed as %q", token, subject)
		}
	})
}
