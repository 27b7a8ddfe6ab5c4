package devops

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hawser/messages"
)

// fromQuery are the query parameters that become headers of the command (contract piggyback.md 1.3).
var fromQuery = map[string]bool{
	"accept": true, "channel": true, "correlation-id": true, "requested-acks": true, "declared-acks": true, "response-required": true,
	"timeout": true, "live-channel-timeout-strategy": true, "allow-policy-lockout": true, "condition": true, "live-channel-condition": true,
	"at-historical-revision": true, "at-historical-timestamp": true, "dry-run": true,
}

// echoed are the headers of the envelope that the answer repeats (piggyback.md 1.7, http-api.md 3.2).
var echoed = []string{
	messages.HeaderCorrelationID, messages.HeaderTimeout, messages.HeaderResponseRequired, messages.HeaderChannel,
	messages.HeaderRequestedAcks, "dry-run", messages.HeaderReplyTo,
}

// checks says of the known headers which values they may have; others may have any (piggyback.md 1.4, 1.5, http-api.md 3.1).
// aggregate and is-group-topic are not here: whatever is not the one text they know means the opposite.
var checks = map[string]func(value string) bool{
	messages.HeaderSudo:             boolean,
	messages.HeaderResponseRequired: boolean,
	"dry-run":                       boolean,
	"allow-policy-lockout":          boolean,
	messages.HeaderCorrelationID:    func(v string) bool { return v != "" },
	messages.HeaderChannel:          func(v string) bool { return v == "twin" || v == "live" },
	messages.HeaderRequestedAcks:    labels,
	"declared-acks":                 labels,
	messages.HeaderAuthContext:      func(v string) bool { return strings.HasPrefix(strings.TrimSpace(v), "{") && json.Valid([]byte(v)) },
	messages.HeaderIfMatch:          entityTags,
	messages.HeaderIfNoneMatch:      entityTags,
	messages.HeaderAtRevision:       func(v string) bool { _, err := strconv.ParseInt(v, 10, 64); return err == nil },
	messages.HeaderAtTimestamp:      func(v string) bool { _, err := time.Parse(time.RFC3339Nano, v); return err == nil },
}

func boolean(v string) bool { return v == "true" || v == "false" }

func labels(v string) bool {
	var list []string
	return json.Unmarshal([]byte(v), &list) == nil && list != nil
}

var tags = regexp.MustCompile(`^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$`)

func entityTags(v string) bool { return tags.MatchString(v) }

// check refuses a value that a known header cannot have.
func check(name, value string) *messages.Error {
	valid, known := checks[name]
	switch {
	case name == messages.HeaderTimeout:
		if _, err := messages.ParseDuration(value); err != nil {
			return messages.NewTimeoutInvalid(value)
		}
	case known && !valid(value):
		err := messages.NewHeaderInvalid(name, value)
		if name == messages.HeaderCorrelationID {
			err.Members = nil // as upstream (http-api.md 3.1)
		}
		return err
	}
	return nil
}

// queryHeaders turns query parameters into headers; only they are bounded by maxTimeout.
func queryHeaders(query url.Values, maxTimeout time.Duration, into messages.Headers) *messages.Error {
	for name, values := range query {
		name = strings.ToLower(name)
		if !fromQuery[name] {
			continue
		}
		if err := check(name, values[0]); err != nil {
			return err
		}
		if name == messages.HeaderTimeout {
			if t, _ := messages.ParseDuration(values[0]); t > maxTimeout {
				return messages.NewTimeoutOutOfBounds(t, maxTimeout)
			}
		}
		into[name] = values[0]
	}
	return nil
}

// envelopeHeaders lays the headers of the envelope over those of the query: keys in any case, texts as they are, other
// values as their JSON text, null not at all (piggyback.md 1.5).
func envelopeHeaders(headers json.RawMessage, into messages.Headers) (failure *messages.Error) {
	if headers == nil {
		return nil
	}
	members(headers, func(name string, value json.RawMessage) {
		name = strings.ToLower(name)
		if absent(value) || name == "ditto-dry-run" || failure != nil { // ditto-dry-run: decision D14
			return
		}
		text := string(value)
		if value[0] == '"' {
			text = unquote(value)
		}
		if failure = check(name, text); failure == nil {
			into[name] = text
		}
	})
	return failure
}

// echo repeats the headers that a client expects back.
func echo(headers messages.Headers, w http.ResponseWriter) {
	for _, name := range echoed {
		if value, ok := headers[name]; ok {
			w.Header().Set(name, value)
		}
	}
}
