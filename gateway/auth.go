package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"hawser/gateway/oidc"
	"hawser/messages"
)

// Names of the realms (contract piggyback.md 1.2).
const (
	RealmDevOps = "DITTO-DEVOPS"
	RealmStatus = "DITTO-STATUS"
)

// user is the one user of both realms.
const user = "devops"

// Realm is who may use some routes. A nil *Realm lets everybody in.
type Realm struct {
	admit func(http.ResponseWriter, *http.Request) bool
}

// Admit reports whether the request may pass; otherwise it has been answered.
func (r *Realm) Admit(w http.ResponseWriter, req *http.Request) bool {
	return r == nil || r.admit(w, req)
}

// NewRealm lets requests in that carry the user devops with one of the passwords by Basic authentication.
func NewRealm(name string, passwords ...string) *Realm {
	b := basic{challenge: `Basic realm="` + name + `",charset=UTF-8`}
	for _, p := range passwords {
		b.passwords = append(b.passwords, sha256.Sum256([]byte(p)))
	}
	return &Realm{b.admit}
}

type basic struct {
	challenge string
	passwords [][sha256.Size]byte // hashed, so that comparing takes as long whatever their length
}

func (b basic) admit(w http.ResponseWriter, req *http.Request) bool {
	name, password, ok := req.BasicAuth()
	given := sha256.Sum256([]byte(password))
	match := 0
	for _, p := range b.passwords {
		match |= subtle.ConstantTimeCompare(given[:], p[:])
	}
	if ok && match&subtle.ConstantTimeCompare([]byte(name), []byte(user)) == 1 {
		return true
	}
	w.Header().Set("WWW-Authenticate", b.challenge)
	if _, tried := credentials(req, "Basic"); tried {
		WriteText(w, http.StatusUnauthorized, "The supplied authentication is invalid")
	} else {
		WriteText(w, http.StatusUnauthorized, "The resource requires authentication, which was not supplied with the request")
	}
	return false
}

// NewTokenRealm lets requests in that carry a good token whose subject is among subjects; with no subjects every good token
// counts (contract http-api.md 2, method oauth2).
func NewTokenRealm(tokens *oidc.Verifier, subjects []string, log *slog.Logger) *Realm {
	return &Realm{func(w http.ResponseWriter, req *http.Request) bool {
		token, ok := credentials(req, "Bearer")
		if !ok {
			WriteError(w, messages.NewAuthenticationFailed("The request carries no Bearer token."))
			return false
		}
		subject, err := tokens.Subject(req.Context(), token)
		switch {
		case errors.Is(err, oidc.ErrInvalid):
			WriteError(w, messages.NewAuthenticationFailed("The Bearer token is not valid, or no longer."))
		case err != nil:
			log.Warn("a token could not be checked", "error", err)
			WriteText(w, http.StatusForbidden, "The Bearer token cannot be checked now.")
		case len(subjects) > 0 && !slices.Contains(subjects, subject):
			WriteError(w, messages.NewAuthenticationFailed("The subject of the Bearer token is not one of those that may do this."))
		default:
			return true
		}
		return false
	}}
}

// credentials is what follows the scheme in the request's header Authorization; false: the header is not of that scheme.
func credentials(req *http.Request, scheme string) (string, bool) {
	given, rest, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return strings.TrimSpace(rest), strings.EqualFold(given, scheme)
}
