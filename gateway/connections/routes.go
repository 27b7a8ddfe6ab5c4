package connections

import (
	"net/http"
	"slices"
	"strings"

	"hawser/messages"
)

// method is what a path does for one HTTP method; media is the type of its body, "" when none is read.
type method struct {
	verb, media string
	serve       func(*Handler, *exchange)
}

// path is one row of contract http-api.md 5: the methods of a path, in the order in which Allow lists them.
type path []method

func (p path) verbs() []string {
	var out []string
	for _, m := range p {
		out = append(out, m.verb)
	}
	return out
}

func (p path) method(verb string) (method, bool) {
	i := slices.IndexFunc(p, func(m method) bool { return m.verb == verb })
	if i < 0 {
		return method{}, false
	}
	return p[i], true
}

const (
	mediaJSON = "application/json"
	mediaText = "text/plain"
)

var (
	collection = path{{http.MethodGet, "", (*Handler).list}, {http.MethodPost, mediaJSON, (*Handler).create}}
	entry      = path{{http.MethodPut, mediaJSON, (*Handler).put}, {http.MethodGet, "", (*Handler).get}, {http.MethodDelete, "", (*Handler).remove}}
	below      = map[string]path{
		"command": {{http.MethodPost, mediaText, (*Handler).command}},
		"status":  {{http.MethodGet, "", inspect(messages.RetrieveConnectionStatus)}},
		"metrics": {{http.MethodGet, "", inspect(messages.RetrieveConnectionMetrics)}},
		"logs":    {{http.MethodGet, "", (*Handler).logs}},
	}
)

// find is steps 11 and 12 for what follows /api/2/connections: the path and its connection id. A trailing slash belongs to
// the collection and the entry only. Neither path nor error: there is no such path.
func find(segments []string) (p path, id string, failure *messages.Error) {
	switch {
	case len(segments) == 0 || len(segments) == 1 && segments[0] == "":
		return collection, "", nil
	case segments[0] == "":
		return nil, "", nil
	}
	id = segments[0]
	if !messages.ValidID(id) {
		return nil, id, messages.NewIDInvalid(id)
	}
	switch rest := segments[1:]; {
	case len(rest) == 0 || len(rest) == 1 && rest[0] == "":
		return entry, id, nil
	case len(rest) == 1:
		return below[rest[0]], id, nil
	}
	return nil, id, nil
}

// commands are the bodies of POST …/command (5.7).
var commands = []string{
	messages.OpenConnection, messages.CloseConnection, messages.ResetConnectionMetrics, messages.EnableConnectionLogs, messages.ResetConnectionLogs,
}

// isNumber reports whether a path segment is a number, as a version of the API is.
func isNumber(s string) bool {
	return s != "" && len(s) < 10 && strings.Trim(s, "0123456789") == ""
}
