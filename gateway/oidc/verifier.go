package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ErrInvalid says that a token does not prove anything: it is malformed, of another issuer, expired, not signed by a key of its
// issuer. Any other error of Subject says that it could not be checked.
var ErrInvalid = errors.New("oidc: the token is not valid")

// algorithms are the signatures that count: with a public key. "none" and those with a shared secret are not among them.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Options of a Verifier.
type Options struct {
	// Issuers are what may sign tokens, by the name that stands before their subjects: "ops" to "id.example.com/realm".
	Issuers  map[string]string
	Protocol string        // of the issuers: "https" or "http"
	Skew     time.Duration // between the clocks of issuers and this machine
	// KeysFor is how long the keys of an issuer are believed before they are asked for again, RetryAfter the shortest time
	// between two questions to one issuer, Timeout how long an answer may take.
	KeysFor, RetryAfter, Timeout time.Duration
	Log                          *slog.Logger
}

// Verifier checks tokens.
type Verifier struct {
	skew    time.Duration
	issuers map[string]*issuer // by the claim iss
	now     func() time.Time
}

// issuer is one that may sign tokens.
type issuer struct {
	name string
	keys keys
}

// New makes a Verifier. It asks no issuer yet.
func New(o Options) *Verifier {
	client := &http.Client{
		Timeout: o.Timeout, Transport: http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // an issuer is where it says it is
	}
	v := &Verifier{skew: o.Skew, issuers: map[string]*issuer{}, now: time.Now}
	for name, address := range o.Issuers {
		url := o.Protocol + "://" + address
		i := &issuer{name: name, keys: keys{
			url: url, client: client, believed: o.KeysFor, pause: o.RetryAfter, now: func() time.Time { return v.now() }, log: o.Log, asking: make(chan struct{}, 1),
		}}
		v.issuers[url], v.issuers[address] = i, i // a token may name its issuer without the protocol, as upstream takes it
	}
	return v
}

// Close ends what the Verifier holds open.
func (v *Verifier) Close() {
	for _, i := range v.issuers {
		i.keys.client.CloseIdleConnections()
	}
}

// Subject is whom a good token names: "<name of the issuer>:<claim sub>".
func (v *Verifier) Subject(ctx context.Context, token string) (string, error) {
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return "", ErrInvalid
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil { // only to know whose keys to verify it with
		return "", ErrInvalid
	}
	i, ok := v.issuers[claims.Issuer]
	if !ok {
		return "", ErrInvalid
	}
	now := v.now()
	if claims.Expiry == nil || claims.Subject == "" || claims.ValidateWithLeeway(jwt.Expected{Time: now}, v.skew) != nil {
		return "", ErrInvalid
	}
	signedBy := func(k jose.JSONWebKey) bool { return parsed.Claims(k, &claims) == nil }
	head := parsed.Headers[0]
	if err := i.keys.find(ctx, now, head.KeyID, head.Algorithm, signedBy); err != nil {
		if errors.Is(err, ErrInvalid) {
			return "", err
		}
		return "", fmt.Errorf("oidc: keys of issuer %s: %w", i.name, err)
	}
	return i.name + ":" + claims.Subject, nil
}

// sameIssuer reports whether a discovered issuer is the one that was asked for.
func sameIssuer(discovered, url string) bool {
	return discovered == url || strings.HasSuffix(url, "://"+discovered)
}
