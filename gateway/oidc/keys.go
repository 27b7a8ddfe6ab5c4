package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// mostAnswer and mostKeys bound what an issuer may answer.
	mostAnswer = 1 << 20
	mostKeys   = 64
	// leastRSA is the shortest RSA key that counts, in bits.
	leastRSA = 2048
	// lastKeysFor is how long the last keys of an issuer that does not answer count, in multiples of Options.KeysFor.
	lastKeysFor = 24
)

// keys are the public keys of one issuer. They are asked for when the first token comes, when they are older than they are
// believed, and when a token names a key that is not among them: an issuer that rotates its keys is followed at once. Whatever
// tokens come, the issuer is asked at most once in a pause. While it does not answer, the keys it gave last go on to count for
// a while (lastKeysFor).
type keys struct {
	url      string
	client   *http.Client
	believed time.Duration
	pause    time.Duration
	now      func() time.Time
	log      *slog.Logger

	asking chan struct{} // taken by whoever asks the issuer

	mu    sync.Mutex
	known []jose.JSONWebKey // nil: never answered
	read  time.Time         // when known was asked for
	asked time.Time         // when the last question was over, answered or not
	fault error             // why the last time was without answer
}

// find returns nil when accept takes a key that may have made the signature. ErrInvalid: none does. Any other error: the
// issuer's keys are not known.
func (k *keys) find(ctx context.Context, now time.Time, id, algorithm string, accept func(jose.JSONWebKey) bool) error {
	known, fresh := k.get(now)
	if fresh {
		switch named, accepted := try(known, id, algorithm, accept); {
		case accepted:
			return nil
		case named: // the key is known, the signature is not its own
			return ErrInvalid
		}
	}
	if err := k.refresh(ctx, now); err != nil {
		return err
	}
	known, _ = k.get(now)
	if _, accepted := try(known, id, algorithm, accept); !accepted {
		return ErrInvalid
	}
	return nil
}

// get is what is known, and whether it may be believed without asking.
func (k *keys) get(now time.Time) (known []jose.JSONWebKey, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known, k.known != nil && now.Before(k.read.Add(k.believed))
}

// try looks for the key among all. named: a key has the id that the token names.
func try(all []jose.JSONWebKey, id, algorithm string, accept func(jose.JSONWebKey) bool) (named, accepted bool) {
	for _, key := range all {
		switch {
		case id != "" && key.KeyID != id, key.Algorithm != "" && key.Algorithm != algorithm:
			continue
		case accept(key):
			return true, true
		}
		named = named || id != ""
	}
	return named, false
}

// refresh asks the issuer, unless that was done within the pause. Several that want to ask at the same time ask once. The
// error says that nothing is known.
func (k *keys) refresh(ctx context.Context, now time.Time) error {
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	asked, known, fault := k.asked, k.known, k.fault
	k.mu.Unlock()
	if !asked.IsZero() && now.Before(asked.Add(k.pause)) {
		if known == nil {
			return fault
		}
		return nil
	}
	answered, err := k.ask(context.WithoutCancel(ctx)) // for all that come after, too; the client has a time limit
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.fault = k.now(), err
	if err != nil {
		if !now.Before(k.read.Add(lastKeysFor * k.believed)) {
			k.known = nil
		}
		k.log.Warn("the keys of a token issuer could not be read", "issuer", k.url, "error", err, "known", len(k.known))
		if k.known == nil {
			return err
		}
		return nil
	}
	k.known, k.read = answered, now
	return nil
}

// ask reads where the keys are, then the keys.
func (k *keys) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	var discovered struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.fetch(ctx, strings.TrimSuffix(k.url, "/")+"/.well-known/openid-configuration", &discovered); err != nil {
		return nil, err
	}
	protocol, _, _ := strings.Cut(k.url, "://")
	switch {
	case !sameIssuer(discovered.Issuer, k.url):
		return nil, fmt.Errorf("the discovery document is that of the issuer %q", discovered.Issuer)
	case !strings.HasPrefix(discovered.Keys, protocol+"://"):
		return nil, fmt.Errorf("the discovery document names no jwks_uri with %s", protocol)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.fetch(ctx, discovered.Keys, &set); err != nil {
		return nil, err
	}
	usable := []jose.JSONWebKey{}
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && signs(key) { // a set may hold keys of kinds that nobody here knows
			usable = append(usable, key)
		}
	}
	if len(usable) > mostKeys {
		return nil, fmt.Errorf("there are %d keys, more than %d", len(usable), mostKeys)
	}
	return usable, nil
}

// signs reports whether a key can have signed a token: it is public, for signatures, and long enough.
func signs(key jose.JSONWebKey) bool {
	if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < leastRSA {
		return false
	}
	return key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig")
}

// fetch reads one JSON document.
func (k *keys) fetch(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", url, err)
	case len(text) > mostAnswer:
		return fmt.Errorf("GET %s: the answer is larger than %d bytes", url, mostAnswer)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return errors.Join(fmt.Errorf("GET %s: the answer is not what it should be", url), err)
	}
	return nil
}
