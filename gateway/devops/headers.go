package devops

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"hawser/gateway"
	"hawser/messages"
)

// echoed are the headers of the envelope that the answer repeats (piggyback.md 1.7, http-api.md 3.2).
var echoed = []string{
	messages.HeaderCorrelationID, messages.HeaderTimeout, messages.HeaderResponseRequired, messages.HeaderChannel,
	messages.HeaderRequestedAcks, "dry-run", messages.HeaderReplyTo,
}

// queryHeaders turns those query parameters that are headers into headers (contract piggyback.md 1.3, http-api.md 3.1); only
// they are bounded by maxTimeout.
func queryHeaders(query url.Values, names []string, maxTimeout time.Duration, into messages.Headers) *messages.Error {
	for name, values := range query {
		name = strings.ToLower(name)
		if !slices.Contains(names, name) {
			continue
		}
		if err := gateway.CheckHeader(name, values[0]); err != nil {
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
		if failure = gateway.CheckHeader(name, text); failure == nil {
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
