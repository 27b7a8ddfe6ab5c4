package connections

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"hawser/messages"
)

// headerRule is one row of contract http-api.md 3.1: a header that the service knows, whether it may come as a query
// parameter too, and which values it may have (nil: any).
type headerRule struct {
	name  string
	query bool
	valid func(value string) bool
}

var headerRules = []headerRule{
	{"accept", true, nil},
	{messages.HeaderChannel, true, oneOf("twin", "live")},
	{messages.HeaderCorrelationID, true, func(v string) bool { return v != "" }},
	{messages.HeaderRequestedAcks, true, labels},
	{"declared-acks", true, labels},
	{messages.HeaderResponseRequired, true, boolean},
	{messages.HeaderTimeout, true, duration},
	{"live-channel-timeout-strategy", true, nil},
	{"allow-policy-lockout", true, boolean},
	{messages.HeaderCondition, true, nil},
	{"live-channel-condition", true, nil},
	{messages.HeaderAtRevision, true, integer},
	{messages.HeaderAtTimestamp, true, instant},
	{messages.HeaderDryRun, true, boolean},
	{messages.HeaderIfMatch, false, entityTags},
	{messages.HeaderIfNoneMatch, false, entityTags},
	{messages.HeaderIfEqual, false, nil},
}

var boolean = oneOf("true", "false")

func oneOf(allowed ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(allowed, v) }
}

func duration(v string) bool { _, err := messages.ParseDuration(v); return err == nil }

func integer(v string) bool { _, err := strconv.ParseInt(v, 10, 64); return err == nil }

func instant(v string) bool { _, err := time.Parse(time.RFC3339Nano, v); return err == nil }

func labels(v string) bool {
	var list []string
	return json.Unmarshal([]byte(v), &list) == nil && list != nil && !slices.ContainsFunc(list, func(l string) bool { return !messages.ValidLabel(l) })
}

var tagList = regexp.MustCompile(`^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$`)

func entityTags(v string) bool { return tagList.MatchString(v) }

// aboutEntityTags explains the form of entity tags to whoever got it wrong.
const aboutEntityTags = "https://www.rfc-editor.org/rfc/rfc9110#field.etag"

// refuse is the error for a value that the rule does not allow.
func (r headerRule) refuse(value string) *messages.Error {
	if r.name == messages.HeaderTimeout {
		return messages.NewTimeoutInvalid(value)
	}
	e := messages.NewHeaderInvalid(r.name, value)
	switch r.name {
	case messages.HeaderCorrelationID:
		e.Members = nil // as upstream
	case messages.HeaderIfMatch, messages.HeaderIfNoneMatch:
		e.Href = aboutEntityTags
	}
	return e
}

// ofTheHop are request headers that never become headers of a command: they concern the hop or its proxies, which may
// repeat them, or hold credentials (decision O6). x-correlation-id is read apart.
var ofTheHop = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "host": true, "connection": true, "content-length": true,
	"transfer-encoding": true, "te": true, "trailer": true, "upgrade": true, "keep-alive": true, "expect": true, "accept-encoding": true,
	"via": true, "forwarded": true, "x-forwarded-for": true, "x-forwarded-proto": true, "x-forwarded-host": true, "x-real-ip": true,
	"user-agent": true, "origin": true, "referer": true, "x-correlation-id": true,
}

// commandHeaders is step 8 of the pipeline: request headers and query parameters become headers of the command.
func commandHeaders(r *http.Request, query url.Values) (messages.Headers, *messages.Error) {
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
	for _, rule := range headerRules {
		if rule.query {
			for _, v := range query[rule.name] {
				if there, ok := headers[rule.name]; ok && there != v {
					return nil, messages.NewDuplicateHeader(rule.name)
				}
				headers[rule.name] = v
			}
		}
		if v, there := headers[rule.name]; there && rule.valid != nil && !rule.valid(v) {
			return nil, rule.refuse(v)
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
