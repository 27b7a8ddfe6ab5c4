package validation

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hawser/messages"
)

// httpVerbs are the methods of a target address (V28c).
var httpVerbs = []string{http.MethodPut, http.MethodPatch, http.MethodPost, http.MethodGet, http.MethodDelete}

// httpMethods are the methods that omitRequestBody may name.
var httpMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace, http.MethodPatch,
}

// httpNoSources is V28a.
func httpNoSources(_ *Rules, c *messages.Connection) error {
	if len(c.Sources) > 0 {
		return invalid("/sources", "Connections of type %s cannot have sources.", c.Type)
	}
	return nil
}

// httpTarget is V28b and V28c.
func httpTarget(_ *Rules, c *messages.Connection, i int) error {
	t := &c.Targets[i]
	verb, _, found := strings.Cut(t.Address, ":")
	if !found {
		return invalid(targetAt(i)+"/address", "The target address '%s' is not <verb>:<path>.", t.Address)
	}
	if !slices.Contains(httpVerbs, verb) {
		return invalid(targetAt(i)+"/address", "The method '%s' of a target address is not supported, the methods are %s.", verb, strings.Join(httpVerbs, ", "))
	}
	return nil
}

// httpTokenEndpoint is V28d, for both OAuth types (Q4).
func httpTokenEndpoint(r *Rules, c *messages.Connection) error {
	k := c.Credentials
	if k == nil || r.InsecureTokenEndpoints || k.Type != messages.CredentialsOAuthClient && k.Type != messages.CredentialsOAuthPassword {
		return nil
	}
	if !strings.HasPrefix(strings.ToLower(k.TokenEndpoint), "https:") {
		return invalid("/credentials/tokenEndpoint", "The token endpoint '%s' does not use https.", messages.MaskURI(k.TokenEndpoint))
	}
	return nil
}

// httpSpecificConfig is V28e.
func httpSpecificConfig(r *Rules, c *messages.Connection) error {
	s := c.SpecificConfig
	if text, ok := s["parallelism"]; ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return unexpected(c, "/specificConfig/parallelism", "The value '%s' of 'parallelism' is not an integer.", text)
		}
		if n <= 0 {
			return invalid("/specificConfig/parallelism", "The value '%d' of 'parallelism' is not greater than 0.", n)
		}
	}
	if methods, ok := s["omitRequestBody"]; ok && methods != "" {
		for method := range strings.SplitSeq(methods, ",") {
			if !slices.Contains(httpMethods, strings.TrimSpace(method)) {
				return invalid("/specificConfig/omitRequestBody", "The value '%s' of 'omitRequestBody' holds '%s', which is not an HTTP method.", methods, method)
			}
		}
	}
	if text, ok := s["idleTimeout"]; ok {
		timeout, err := messages.ParseConfigDuration(text)
		if err != nil {
			return unexpected(c, "/specificConfig/idleTimeout", "The value '%s' of 'idleTimeout' is not a duration.", text)
		}
		if timeout < 0 || timeout > r.RequestTimeout {
			return invalid("/specificConfig/idleTimeout", "The value '%s' of 'idleTimeout' is not within 0 to %s.", text, r.RequestTimeout)
		}
	}
	return nil
}
