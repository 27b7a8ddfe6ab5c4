package protocol

import (
	"fmt"
	"slices"
	"strings"

	"hawser/messages"
)

// direction says whether a header may come in from outside and go out.
type direction uint8

const (
	internal direction = 0
	in       direction = 1
	out      direction = 2
	inOut              = in | out
)

// jsonType is the JSON type in which a known header is written; all values are text inside.
type jsonType uint8

const (
	jsonString jsonType = iota
	jsonBool
	jsonNumber
	jsonArray
	jsonObject
)

type header struct {
	direction direction
	typ       jsonType
	// must: an inbound value of another type is an error (header.invalid).
	must bool
}

// headers is the table of contract runtime.md 1.5. A name that is not in it is custom: it passes both ways unchanged.
var headers = map[string]header{
	"correlation-id":                    {direction: inOut},
	"response-required":                 {direction: inOut, typ: jsonBool, must: true},
	"dry-run":                           {direction: inOut, typ: jsonBool, must: true},
	"content-type":                      {direction: inOut},
	"reply-to":                          {direction: inOut},
	"channel":                           {direction: inOut},
	"requested-acks":                    {direction: inOut, typ: jsonArray, must: true},
	"timeout":                           {direction: inOut},
	"location":                          {direction: inOut},
	"traceparent":                       {direction: inOut},
	"tracestate":                        {direction: inOut},
	"timestamp":                         {direction: inOut},
	"status":                            {direction: inOut},
	"diverted-response-from-connection": {direction: inOut},

	"accept":                         {direction: in},
	"authorization":                  {direction: in},
	"if-match":                       {direction: in},
	"if-none-match":                  {direction: in},
	"if-equal":                       {direction: in},
	"condition":                      {direction: in},
	"live-channel-condition":         {direction: in},
	"live-channel-timeout-strategy":  {direction: in},
	"divert-response-to-connection":  {direction: in},
	"divert-expected-response-types": {direction: in},
	"declared-acks":                  {direction: in, typ: jsonArray, must: true},
	"put-metadata":                   {direction: in, typ: jsonArray},
	"get-metadata":                   {direction: in},
	"delete-metadata":                {direction: in},
	"allow-policy-lockout":           {direction: in, typ: jsonBool, must: true},
	"at-historical-revision":         {direction: in, typ: jsonNumber},
	"at-historical-timestamp":        {direction: in},
	"merge-thing-patch-conditions":   {direction: in, typ: jsonObject},
	"policy-view":                    {direction: in},

	"etag":                           {direction: out},
	"ditto-originator":               {direction: out},
	"ditto-connection-id":            {direction: out},
	"ditto-metadata":                 {direction: out, typ: jsonObject},
	"ditto-weak-ack":                 {direction: out, typ: jsonBool},
	"www-authenticate":               {direction: out},
	"live-channel-condition-matched": {direction: out, typ: jsonBool},
	"historical-headers":             {direction: out, typ: jsonObject},
	"entity-revision":                {direction: out, typ: jsonNumber},
	"ditto-message-direction":        {direction: out},
	"ditto-message-subject":          {direction: out},
	"ditto-message-thing-id":         {direction: out},
	"ditto-message-feature-id":       {direction: out},

	"ditto-auth-context":            {typ: jsonObject},
	"ditto-dry-run":                 {typ: jsonBool},
	"ditto-read-subjects":           {typ: jsonArray},
	"ditto-read-revoked-subjects":   {typ: jsonArray},
	"ditto-origin":                  {},
	"ditto-reply-target":            {typ: jsonNumber},
	"ditto-expected-response-types": {typ: jsonArray},
	"ditto-inbound-payload-mapper":  {},
	"ditto-entity-id":               {},
	"ditto-event-journal-tags":      {typ: jsonArray},
	"ditto-sudo":                    {typ: jsonBool},
	"ditto-retrieve-deleted":        {typ: jsonBool},
	"ditto-ackgregator-address":     {},
	"ditto-partial-access-paths":    {typ: jsonObject},
}

// preDefinedExtraFields is a family of internal headers: the name and everything that begins with it.
const preDefinedExtraFields = "ditto-pre-defined-extra-fields"

// headerOf returns the definition of a lower-case name; a custom name passes both ways as a string.
func headerOf(name string) header {
	if h, ok := headers[name]; ok {
		return h
	}
	if strings.HasPrefix(name, preDefinedExtraFields) {
		return header{typ: jsonArray}
	}
	return header{direction: inOut}
}

// names interns the known names, so that parsing an envelope does not allocate them.
var names = func() map[string]string {
	m := make(map[string]string, len(headers))
	for name := range headers {
		m[name] = name
	}
	return m
}()

// FilterInbound removes the known headers that may not enter from outside (contract runtime.md 1.5), in place. Unknown
// names are custom and stay.
func FilterInbound(h messages.Headers) { filter(h, in) }

// FilterOutbound removes the known headers that may not leave (contract runtime.md 1.5), in place.
func FilterOutbound(h messages.Headers) { filter(h, out) }

func filter(h messages.Headers, d direction) {
	for name := range h {
		if headerOf(name).direction&d == 0 {
			delete(h, name)
		}
	}
}

// MayEnter reports whether a header of that lower-case name is accepted from outside.
func MayEnter(name string) bool { return headerOf(name).direction&in != 0 }

// MayLeave reports whether a header of that lower-case name is written to the outside.
func MayLeave(name string) bool { return headerOf(name).direction&out != 0 }

// CheckHeaders checks the form of the values that have one (contract runtime.md 1.5): timeout, requested-acks,
// declared-acks and the booleans. The error is *messages.Error header.invalid, 400, with member invalidHeaderKey.
func CheckHeaders(h messages.Headers) error {
	for name, value := range h {
		if !headerOf(name).valid(name, value) {
			return messages.NewHeaderInvalid(name, value)
		}
	}
	return nil
}

// AdmitHeaders is FilterInbound and CheckHeaders at once, and counts: more than maxBytes in names and values together is
// headers.too.large, 431 (contract runtime.md 1.5).
func AdmitHeaders(h messages.Headers, maxBytes int) error {
	size := 0
	for name, value := range h {
		def := headerOf(name)
		switch {
		case def.direction&in == 0:
			delete(h, name)
			continue
		case !def.valid(name, value):
			return messages.NewHeaderInvalid(name, value)
		}
		size += len(name) + len(value)
	}
	if size > maxBytes {
		return NewHeadersTooLarge(size, maxBytes)
	}
	return nil
}

// NewHeadersTooLarge is headers.too.large, 431.
func NewHeadersTooLarge(size, limit int) *messages.Error {
	return &messages.Error{Status: 431, Code: CodeHeadersTooLarge,
		Message:     fmt.Sprintf("The headers have %d bytes, more than the allowed %d.", size, limit),
		Description: "Send fewer or shorter headers."}
}

func (def header) valid(name, value string) bool {
	switch {
	case name == messages.HeaderTimeout:
		_, err := messages.ParseDuration(value)
		return err == nil
	case !def.must:
		return true
	case def.typ == jsonBool:
		return value == "true" || value == "false"
	}
	return isArrayOfStrings(value)
}

func isArrayOfStrings(s string) bool {
	if s == "[]" {
		return true
	}
	b := []byte(s)
	i := skipSpace(b, 0)
	e := elements(b, i, maxDepth)
	for e.next() {
		if b[e.from] != '"' {
			return false
		}
	}
	return e.end >= 0 && skipSpace(b, e.end) == len(b)
}

// appendHeaders appends h as a JSON object, names sorted, those without one of the directions d left out.
func appendHeaders(dst []byte, h messages.Headers, d direction) []byte {
	type pair struct{ name, value string }
	var space [16]pair
	pairs := space[:0]
	for name, value := range h {
		pairs = append(pairs, pair{name, value})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	dst = append(dst, '{')
	first := true
	for _, p := range pairs {
		def := headerOf(p.name)
		if d != internal && def.direction&d == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(messages.AppendJSONString(dst, p.name), ':')
		dst = appendHeaderValue(dst, def.typ, p.value)
	}
	return append(dst, '}')
}

// appendHeaderValue writes value in its JSON type, or as a string when the text is not of that type.
func appendHeaderValue(dst []byte, typ jsonType, value string) []byte {
	natural := false
	switch typ {
	case jsonBool:
		natural = value == "true" || value == "false"
	case jsonNumber:
		natural = scanNumber([]byte(value), 0) == len(value)
	case jsonArray:
		natural = value != "" && value[0] == '[' && (value == "[]" || scanValue([]byte(value), 0, maxDepth) == len(value))
	case jsonObject:
		natural = value != "" && value[0] == '{' && scanValue([]byte(value), 0, maxDepth) == len(value)
	}
	if natural {
		return append(dst, value...)
	}
	return messages.AppendJSONString(dst, value)
}
