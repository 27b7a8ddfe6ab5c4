package gateway

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// The limits of a request's head (contract http-api.md 8.3).
const (
	maxURI         = 8 << 10
	maxHeaders     = 64
	maxHeaderName  = 64
	maxHeaderValue = 16 << 10
)

// corsMethods is what every answer allows other origins to do.
const corsMethods = "OPTIONS, GET, PUT, PATCH, POST, HEAD, DELETE"

// Front is what happens to every request of the API's address before anybody looks at its path: the limits of the head, a
// query that can be decoded, HTTPS, CORS, in this order (contract http-api.md 1, steps 1 to 5). The zero Front checks the
// head only.
type Front struct {
	// CORS lets browsers of any origin use the API: each answer says so, and OPTIONS is answered here (8.1).
	CORS bool
	// ForceHTTPS refuses what did not come over HTTPS, as the first of ProtocolHeaders that is present says, else the
	// connection itself (8.2).
	ForceHTTPS bool
	// RedirectToHTTPS sends such a request to its https address instead, unless its whole path matches NoRedirect.
	RedirectToHTTPS bool
	NoRedirect      *regexp.Regexp
	ProtocolHeaders []string
}

// Handler puts the front before next.
func (f Front) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, text := head(r); status != 0 {
			WriteText(w, status, text)
			return
		}
		if f.ForceHTTPS && !strings.EqualFold(f.scheme(r), "https") {
			if f.RedirectToHTTPS && (f.NoRedirect == nil || !f.NoRedirect.MatchString(r.URL.Path)) {
				w.Header().Set("Location", "https://"+r.Host+r.URL.RequestURI())
				WriteText(w, http.StatusMovedPermanently, "This is served over HTTPS only.")
				return
			}
			WriteText(w, http.StatusNotFound, "The requested resource is served over HTTPS only.")
			return
		}
		if f.CORS {
			allowOrigin(w.Header(), r)
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusOK)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// head checks the limits of a request's head and its query; 0: in order.
func head(r *http.Request) (status int, text string) {
	if len(r.RequestURI) > maxURI {
		return http.StatusRequestURITooLong, "The URI of the request is too long."
	}
	lines := 0
	for name, values := range r.Header {
		lines += len(values)
		if len(name) > maxHeaderName {
			return http.StatusRequestHeaderFieldsTooLarge, "The name of a request header is too long: " + name[:maxHeaderName] + "…"
		}
		for _, v := range values {
			if len(v) > maxHeaderValue {
				return http.StatusRequestHeaderFieldsTooLarge, "The value of the request header " + name + " is too long."
			}
		}
	}
	if lines > maxHeaders {
		return http.StatusBadRequest, "The request has too many headers."
	}
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return http.StatusBadRequest, "The query of " + r.URL.RequestURI() + " cannot be decoded."
	}
	return 0, ""
}

// scheme is how the request reached the service, or the proxy in front of it.
func (f Front) scheme(r *http.Request) string {
	for _, name := range f.ProtocolHeaders {
		if v := r.Header.Get(name); v != "" {
			return v
		}
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func allowOrigin(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", corsMethods)
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
	}
}
