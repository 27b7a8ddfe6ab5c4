package connections

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"hawser/gateway"
	"hawser/messages"
)

// ofTheHop are request headers that never become headers of a command: they concern the hop or its proxies, which may
// repeat them, or hold credentials (decision O6). x-correlation-id is read apart.
var ofTheHop = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "host": true, "connection": true, "content-length": true,
	"transfer-encoding": true, "te": true, "trailer": true, "upgrade": true, "keep-alive": true, "expect": true, "accept-encoding": true,
	"via": true, "forwarded": true, "x-forwarded-for": true, "x-forwarded-proto": true, "x-forwarded-host": true, "x-real-ip": true,
	"user-agent": true, "origin": true, "referer": true, "x-correlation-id": true,
}

// commandHeaders is step 8 of the pipeline: request headers, and the query parameters that are headers, become headers of the
// command.
func commandHeaders(r *http.Request, query url.Values, fromQuery []string) (messages.Headers, *messages.Error) {
	headers := make(messages.Headers, len(r.Header)+4)
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if ofTheHop[name] || strings.HasPrefix(name, "ditto-") {
			continue
		}
		if len(values) > 1 {
			return nil, messages.NewDuplicateHeader(name)
		}
		headers[name] = values[0]
	}
	for _, name := range fromQuery {
		for _, v := range query[name] {
			if there, ok := headers[name]; ok && there != v {
				return nil, messages.NewDuplicateHeader(name)
			}
			headers[name] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) { // in order, so that the same request gets the same answer
		if failure := gateway.CheckHeader(name, headers[name]); failure != nil {
			return nil, failure
		}
	}
	if v := r.Header.Get("X-Correlation-Id"); v != "" {
		headers[messages.HeaderCorrelationID] = v
	} else if !headers.Has(messages.HeaderCorrelationID) {
		headers[messages.HeaderCorrelationID] = uuid.NewString()
	}
	headers[messages.HeaderSudo] = "true" // this API always speaks as sudo (section 1)
	return headers, nil
}

// octetStream is what a request without Content-Type counts as.
const octetStream = "application/octet-stream"

// checkMediaType is step 14: own is the media type of the route, additional are accepted on every route (section 7.2).
func checkMediaType(sent, own string, additional []string) *messages.Error {
	kind := octetStream
	if sent != "" {
		kind, _, _ = strings.Cut(sent, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
		if parsed, _, err := mime.ParseMediaType(sent); err == nil {
			kind = parsed
		}
	}
	if kind == own || slices.Contains(additional, kind) {
		return nil
	}
	return messages.NewMediaTypeUnsupported(sent, append([]string{own}, additional...))
}
