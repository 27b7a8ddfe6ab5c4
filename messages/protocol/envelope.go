package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"hawser/messages"
)

// Envelope is one Ditto protocol message (contract runtime.md 1.1). Value, Extra and Metadata are JSON texts and nil when
// absent ("null" is a value); Status is 0 when absent, and an envelope with a status is a response. Path always begins
// with "/". Headers are never nil after Parse. The JSON texts may share memory with what they were parsed from and must
// not be changed in place.
type Envelope struct {
	Topic                  Topic
	Headers                messages.Headers
	Path                   string
	Value, Extra, Metadata json.RawMessage
	Status                 int
	Revision               int64
	HasRevision            bool
	Timestamp              string
	Fields                 string
}

// Parse reads an envelope. Errors are *messages.Error, 400: json.invalid, json.field.missing,
// protocoladapter:unknown.topicpath. With an error the envelope returned is what could be read before it, nil if nothing
// could. Keys are case-sensitive, the last of equal ones wins; members that the protocol does not know are ignored. The
// envelope keeps slices of payload: the caller must not change it afterwards.
func Parse(payload []byte) (*Envelope, error) {
	if !utf8.Valid(payload) {
		return nil, invalidJSON("it is no UTF-8")
	}
	start := skipSpace(payload, 0)
	if start >= len(payload) || payload[start] != '{' {
		return nil, invalidJSON("it is no JSON object")
	}
	e := &Envelope{}
	var topic, path, value, extra, status, revision, timestamp, metadata, fields []byte
	var headersErr error
	m := members(payload, start, maxDepth)
	for m.begin() {
		key := m.key
		if m.keyEscaped {
			key = []byte(m.name())
		}
		if string(key) == "headers" { // read in the same go, all else later: of equal keys the last wins
			var end int
			e.Headers, end, headersErr = parseHeaders(payload, m.from, m.depth)
			if !m.skip(end) {
				break
			}
			continue
		}
		if !m.scan() {
			break
		}
		raw := payload[m.from:m.to:m.to]
		switch string(key) {
		case "topic":
			topic = raw
		case "path":
			path = raw
		case "value":
			value = raw
		case "extra":
			extra = raw
		case "status":
			status = raw
		case "revision":
			revision = raw
		case "timestamp":
			timestamp = raw
		case "metadata":
			metadata = raw
		case "fields":
			fields = raw
		}
	}
	if m.end < 0 || skipSpace(payload, m.end) != len(payload) {
		return nil, invalidJSON("it is no valid JSON")
	}

	e.Value = value
	if e.Headers == nil {
		e.Headers = make(messages.Headers, 4)
	}
	failed := headersErr
	fail := func(err error) {
		if failed == nil && err != nil {
			failed = err
		}
	}
	fail(e.parseTopic(topic))
	fail(e.parsePath(path))
	var err error
	e.Extra, err = objectMember("extra", extra)
	fail(err)
	e.Metadata, err = objectMember("metadata", metadata)
	fail(err)
	e.Timestamp, err = textMember("timestamp", timestamp)
	fail(err)
	e.Fields, err = textMember("fields", fields)
	fail(err)
	fail(e.parseStatus(status))
	fail(e.parseRevision(revision))
	return e, failed
}

func (e *Envelope) parseTopic(raw []byte) error {
	s, err := textMember("topic", raw)
	if err != nil {
		return err
	}
	if raw == nil || isNull(raw) {
		return messages.NewFieldMissing("/topic")
	}
	e.Topic, err = ParseTopic(s)
	return err
}

func (e *Envelope) parsePath(raw []byte) error {
	s, err := textMember("path", raw)
	if err != nil {
		return err
	}
	if raw == nil || isNull(raw) {
		return messages.NewFieldMissing("/path")
	}
	if !strings.HasPrefix(s, "/") {
		s = "/" + s
	}
	e.Path = s
	return nil
}

func (e *Envelope) parseStatus(raw []byte) error {
	if raw == nil || isNull(raw) {
		return nil
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return wrongType("status", "a whole number")
	}
	if n >= 100 && n <= 599 { // other numbers count as absent
		e.Status = n
	}
	return nil
}

func (e *Envelope) parseRevision(raw []byte) error {
	if raw == nil || isNull(raw) {
		return nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return wrongType("revision", "a whole number of 64 bits")
	}
	e.Revision, e.HasRevision = n, true
	return nil
}

// objectMember returns an object; null counts as absent.
func objectMember(name string, raw []byte) (json.RawMessage, error) {
	if raw == nil || isNull(raw) {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, wrongType(name, "an object")
	}
	return raw, nil
}

// textMember returns a string; null counts as absent.
func textMember(name string, raw []byte) (string, error) {
	if raw == nil || isNull(raw) {
		return "", nil
	}
	if s, ok := text(raw); ok {
		return s, nil
	}
	return "", wrongType(name, "a string")
}

// parseHeaders scans the value of headers at b[i]: names in lower case, strings unquoted, other values as their JSON text,
// null values dropped. end is the index after it, -1 when it is no JSON; the headers are never nil when it is. The error
// says that it is JSON but no object.
func parseHeaders(b []byte, i, depth int) (h messages.Headers, end int, err error) {
	if b[i] != '{' {
		h, end = messages.Headers{}, scanValue(b, i, depth)
		if end >= 0 && !isNull(b[i:end]) {
			err = wrongType("headers", "an object")
		}
		return h, end, err
	}
	type span struct {
		key        []byte
		from, to   int
		keyEscaped bool
		escaped    bool
	}
	var space [12]span
	spans := space[:0]
	m := members(b, i, depth)
	for m.begin() {
		var escaped bool
		if b[m.from] == '"' {
			end, escaped = scanString(b, m.from)
		} else {
			end = scanValue(b, m.from, m.depth)
		}
		if !m.skip(end) {
			return nil, -1, nil
		}
		spans = append(spans, span{key: m.key, keyEscaped: m.keyEscaped, from: m.from, to: m.to, escaped: escaped})
	}
	if m.end < 0 {
		return nil, -1, nil
	}
	h = make(messages.Headers, max(8, len(spans)+2))
	all := string(b[i:m.end]) // one copy for all values
	for _, s := range spans {
		value := b[s.from:s.to]
		if isNull(value) {
			continue
		}
		name, known := "", false
		if !s.keyEscaped {
			name, known = names[string(s.key)]
		}
		if !known {
			name = strings.ToLower(unquote(s.key, s.keyEscaped))
		}
		switch {
		case s.escaped:
			h[name] = unquote(value[1:len(value)-1], true)
		case value[0] == '"':
			h[name] = all[s.from-i+1 : s.to-i-1]
		case (value[0] == '{' || value[0] == '[') && bytes.ContainsAny(value, " \n\r\t"):
			h[name] = compact(value)
		default:
			h[name] = all[s.from-i : s.to-i]
		}
	}
	return h, m.end, nil
}

// AppendJSON appends e with all its headers in the write order of contract runtime.md 1.1. Known headers get the JSON
// type they have in the protocol (response-required a boolean, requested-acks an array), custom ones are strings; names
// are sorted, so that equal envelopes give equal texts.
func (e *Envelope) AppendJSON(dst []byte) []byte { return e.appendJSON(dst, internal) }

// AppendOutbound is AppendJSON without the headers that must not leave (FilterOutbound); e stays unchanged.
func (e *Envelope) AppendOutbound(dst []byte) []byte { return e.appendJSON(dst, out) }

func (e *Envelope) appendJSON(dst []byte, d direction) []byte {
	dst = append(dst, `{"topic":"`...)
	t := &e.Topic
	dst = append(messages.AppendJSONEscaped(dst, t.Namespace), '/')
	dst = messages.AppendJSONEscaped(dst, t.Name)
	for _, part := range [...]string{t.Group, t.Channel, t.Criterion, t.Action, t.Subject} {
		if part != "" {
			dst = messages.AppendJSONEscaped(append(dst, '/'), part)
		}
	}
	dst = append(dst, `","headers":`...)
	dst = appendHeaders(dst, e.Headers, d)
	dst = append(dst, `,"path":"`...)
	if !strings.HasPrefix(e.Path, "/") {
		dst = append(dst, '/')
	}
	dst = append(messages.AppendJSONEscaped(dst, e.Path), '"')
	if e.Value != nil {
		dst = append(append(dst, `,"value":`...), e.Value...)
	}
	if e.Extra != nil {
		dst = append(append(dst, `,"extra":`...), e.Extra...)
	}
	if e.Status != 0 {
		dst = strconv.AppendInt(append(dst, `,"status":`...), int64(e.Status), 10)
	}
	if e.HasRevision {
		dst = strconv.AppendInt(append(dst, `,"revision":`...), e.Revision, 10)
	}
	if e.Timestamp != "" {
		dst = messages.AppendJSONString(append(dst, `,"timestamp":`...), e.Timestamp)
	}
	if e.Metadata != nil {
		dst = append(append(dst, `,"metadata":`...), e.Metadata...)
	}
	if e.Fields != "" {
		dst = messages.AppendJSONString(append(dst, `,"fields":`...), e.Fields)
	}
	return append(dst, '}')
}

// MarshalJSON is AppendJSON.
func (e *Envelope) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// Clone returns a copy whose headers may be changed; the JSON texts are shared.
func (e *Envelope) Clone() *Envelope {
	c := *e
	c.Headers = e.Headers.Clone()
	return &c
}
