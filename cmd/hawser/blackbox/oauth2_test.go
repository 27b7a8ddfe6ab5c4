package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hawser/gateway/oidc/oidctest"
)

// bearer makes a request carry a token.
func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// tokenNode is a node whose operators authenticate by tokens of two issuers.
func tokenNode(t *testing.T, ops, other *oidctest.Issuer, env ...string) *node {
	return startNode(t, append(append(sqliteStore(t), "DEVOPS_AUTHENTICATION_METHOD=oauth2", "STATUS_AUTHENTICATION_METHOD=oauth2",
		"HAWSER_DEVOPS_OAUTH2_ISSUERS=ops="+ops.Address()+",other="+other.Address(), "DEVOPS_OAUTH2_PROTOCOL=http"), env...))
}

// TestOAuth2 is the method oauth2 of http-api.md 2 with issuers that really answer.
func TestOAuth2(t *testing.T) {
	t.Parallel()
	ops, other := oidctest.New(t), oidctest.New(t)
	n := tokenNode(t, ops, other, "DEVOPS_OAUTH2_SUBJECTS=ops:ann,other:bob", "STATUS_OAUTH2_SUBJECTS=ops:watch")
	ann := ops.Sign(ops.Claims())
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	const overall = "/overall/status"
	for _, row := range []struct {
		name, path string
		as         func(*http.Request)
		status     int
	}{
		{"good", api, bearer(ann), 200},
		{"good, for logging", "/devops/logging", bearer(ann), 200},
		{"good, details of things", "/stats/things/details", bearer(ann), 200},
		{"any case of the scheme", api, header("Authorization", "bearer "+ann), 200},
		{"of the other issuer", api, bearer(other.Sign(other.Claims(oidctest.With("sub", "bob")))), 200},
		{"subject of another issuer", api, bearer(other.Sign(other.Claims())), 401},
		{"unknown subject", api, bearer(ops.Sign(ops.Claims(oidctest.With("sub", "eve")))), 401},
		{"unknown issuer", api, bearer(oidctest.New(t).Sign(ops.Claims())), 401},
		{"expired", api, bearer(ops.Sign(ops.Claims(oidctest.With("exp", in(-20*time.Second))))), 401},
		{"expired within the skew", api, bearer(ops.Sign(ops.Claims(oidctest.With("exp", in(-5*time.Second))))), 200},
		{"no token", api, nobody, 401},
		{"password", api, asUser("devops", password), 401},
		{"bad token", api, bearer("x"), 401},
		{"piggyback without", piggyback, nobody, 401},
		{"logging, unknown subject", "/devops/logging", bearer(ops.Sign(ops.Claims(oidctest.With("sub", "watch")))), 401},
		{"status", overall, bearer(ops.Sign(ops.Claims(oidctest.With("sub", "watch")))), 200},
		{"status, subject of devops only", overall, bearer(ann), 401},
		{"status, password", overall, asUser("devops", password), 401},
		{"open to everybody", "/status/health", nobody, 200},
		{"header before token", api + "?timeout=abc", nobody, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := n.as(t).rest("GET", row.path, nil, row.as).want(t, row.status)
			if row.status == 401 {
				a.refused(t, 401, "gateway:authentication.failed", "oken")
			}
		})
	}
	n.request("POST", piggyback, envelope(idsActor, nil, object{"type": "connectivity.commands:retrieveAllConnectionIds"}), bearer(ann)).want(t, 200)
	if strings.Contains(n.log.String(), ann) {
		t.Error("the log shows a token")
	}
}

// TestOAuth2KeysMove: a node follows an issuer that rotates its keys, goes on with those it knows while the issuer is down, and
// says 403 as long as it knows none.
func TestOAuth2KeysMove(t *testing.T) {
	t.Parallel()
	ops, other := oidctest.New(t), oidctest.New(t)
	other.Down = true
	file := configFile(t, "devops.oauth.publickeys.min-interval: 50ms\n")
	n := tokenNode(t, ops, other, "HAWSER_CONFIG="+file, "STATUS_AUTHENTICATION_METHOD=basic")
	first := ops.Sign(ops.Claims())
	n.rest("GET", api, nil, bearer(first)).want(t, 200) // no subjects are configured: every valid token
	n.rest("GET", api, nil, bearer(other.Sign(other.Claims()))).text(t, 403)
	ops.Add("two", jose.ES256)
	second := ops.Sign(ops.Claims())
	eventually(t, 10*time.Second, "the new key is known", func() error { return n.admits(second) })
	ops.Change(func() { ops.Down = true })
	for range 3 {
		n.rest("GET", api, nil, bearer(first)).want(t, 200)
		n.rest("GET", api, nil, bearer(second)).want(t, 200)
	}
	other.Change(func() { other.Down = false })
	eventually(t, 10*time.Second, "the other issuer is believed", func() error { return n.admits(other.Sign(other.Claims())) })
	n.rest("GET", "/overall/status", nil, asUser("devops", "status")).want(t, 200) // /overall still takes the password
	n.rest("GET", "/overall/status", nil, bearer(second)).text(t, 401)
}

// admits asks with a token.
func (n *node) admits(token string) error {
	a, err := n.try("GET", api, "", bearer(token))
	if err == nil && a.status != 200 {
		return fmt.Errorf("%d %s", a.status, a.body)
	}
	return err
}
