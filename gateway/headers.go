package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hawser/messages"
)

// QueryHeaders are the query parameters that are the same as a header of their name, unless the configuration names others
// (contract http-api.md 3.1).
var QueryHeaders = []string{
	"accept", messages.HeaderChannel, messages.HeaderCorrelationID, messages.HeaderRequestedAcks, "declared-acks",
	messages.HeaderResponseRequired, messages.HeaderTimeout, "live-channel-timeout-strategy", "allow-policy-lockout",
	messages.HeaderCondition, "live-channel-condition", messages.HeaderAtRevision, messages.HeaderAtTimestamp, messages.HeaderDryRun,
}

// allowed says of headers of a command that the service knows which values they may have; any other header may have any
// (contract http-api.md 3.1, piggyback.md 1.5).
var allowed = map[string]func(value string) bool{
	messages.HeaderSudo:             boolean,
	messages.HeaderResponseRequired: boolean,
	messages.HeaderDryRun:           boolean,
	"allow-policy-lockout":          boolean,
	messages.HeaderCorrelationID:    func(v string) bool { return v != "" },
	messages.HeaderChannel:          func(v string) bool { return v == "twin" || v == "live" },
	messages.HeaderTimeout:          func(v string) bool { _, err := messages.ParseDuration(v); return err == nil },
	messages.HeaderRequestedAcks:    labels,
	"declared-acks":                 labels,
	messages.HeaderAuthContext:      func(v string) bool { return strings.HasPrefix(strings.TrimSpace(v), "{") && json.Valid([]byte(v)) },
	messages.HeaderIfMatch:          tagList.MatchString,
	messages.HeaderIfNoneMatch:      tagList.MatchString,
	messages.HeaderAtRevision:       func(v string) bool { _, err := strconv.ParseInt(v, 10, 64); return err == nil },
	messages.HeaderAtTimestamp:      func(v string) bool { _, err := time.Parse(time.RFC3339Nano, v); return err == nil },
}

func boolean(v string) bool { return v == "true" || v == "false" }

func labels(v string) bool {
	var list []string
	return json.Unmarshal([]byte(v), &list) == nil && list != nil && !slices.ContainsFunc(list, func(l string) bool { return !messages.ValidLabel(l) })
}

// tagList is "*" or a list of entity tags.
var tagList = regexp.MustCompile(`^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$`)

// aboutEntityTags explains the form of entity tags to whoever got it wrong.
const aboutEntityTags = "https://www.rfc-editor.org/rfc/rfc9110#field.etag"

// CheckHeader refuses a value that a header of a command cannot have. The name is in lower case.
func CheckHeader(name, value string) *messages.Error {
	valid, known := allowed[name]
	switch {
	case !known || valid(value):
		return nil
	case name == messages.HeaderTimeout:
		return messages.NewTimeoutInvalid(value)
	}
	e := messages.NewHeaderInvalid(name, value)
	switch name {
	case messages.HeaderCorrelationID:
		e.Members = nil // as upstream
	case messages.HeaderIfMatch, messages.HeaderIfNoneMatch:
		e.Href = aboutEntityTags
	}
	return e
}
