package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// Names of the realms (contract piggyback.md 1.2).
const (
	RealmDevOps = "DITTO-DEVOPS"
	RealmStatus = "DITTO-STATUS"
)

// user is the one user of both realms.
const user = "devops"

// Realm lets requests in that carry the user devops with one of its passwords by Basic authentication.
type Realm struct {
	challenge string
	passwords [][sha256.Size]byte // hashed, so that comparing takes as long whatever their length
}

// NewRealm makes a realm. A nil *Realm lets everybody in.
func NewRealm(name string, passwords ...string) *Realm {
	r := &Realm{challenge: `Basic realm="` + name + `",charset=UTF-8`}
	for _, p := range passwords {
		r.passwords = append(r.passwords, sha256.Sum256([]byte(p)))
	}
	return r
}

// Admit reports whether the request may pass; otherwise it has been answered 401.
func (r *Realm) Admit(w http.ResponseWriter, req *http.Request) bool {
	if r == nil {
		return true
	}
	name, password, ok := req.BasicAuth()
	given := sha256.Sum256([]byte(password))
	match := 0
	for _, p := range r.passwords {
		match |= subtle.ConstantTimeCompare(given[:], p[:])
	}
	if ok && match&subtle.ConstantTimeCompare([]byte(name), []byte(user)) == 1 {
		return true
	}
	w.Header().Set("WWW-Authenticate", r.challenge)
	if basic(req) {
		WriteText(w, http.StatusUnauthorized, "The supplied authentication is invalid")
	} else {
		WriteText(w, http.StatusUnauthorized, "The resource requires authentication, which was not supplied with the request")
	}
	return false
}

// basic reports whether the request tries Basic authentication at all.
func basic(req *http.Request) bool {
	const scheme = "basic"
	h := req.Header.Get("Authorization")
	if len(h) < len(scheme) {
		return false
	}
	for i := range len(scheme) {
		if h[i]|0x20 != scheme[i] {
			return false
		}
	}
	return len(h) == len(scheme) || h[len(scheme)] == ' '
}
