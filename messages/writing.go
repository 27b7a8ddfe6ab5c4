package messages

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"
)

// MarshalJSON renders the connection as the API answers it: secrets included, hidden members not (connection-model.md 11).
func (c *Connection) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON renders.
func (c *Connection) AppendJSON(dst []byte) []byte { return c.appendJSON(dst, false) }

// usualJSON is room for most connections, so that rendering one allocates once.
const usualJSON = 1 << 10

// appendJSON renders the connection; hidden adds the hidden members, those that are set.
func (c *Connection) appendJSON(dst []byte, hidden bool) []byte {
	w := objectWriter{dst: slices.Grow(dst, usualJSON)}
	w.open()
	if hidden && c.Lifecycle != "" {
		w.string("__lifecycle", string(c.Lifecycle))
	}
	w.string("id", c.ID)
	w.nullable("name", c.Name)
	if hidden {
		if c.Revision != 0 {
			w.integer("_revision", c.Revision)
		}
		w.instant("_modified", c.Modified)
		w.instant("_created", c.Created)
	}
	w.string("connectionType", string(c.Type))
	w.string("connectionStatus", string(c.Status))
	w.string("uri", c.URI.Raw)
	w.key("sources")
	w.dst = appendArray(w.dst, c.Sources, func(dst []byte, s *Source) []byte { return s.appendJSON(dst) })
	w.key("targets")
	w.dst = appendArray(w.dst, c.Targets, func(dst []byte, t *Target) []byte { return t.appendJSON(dst) })
	w.integer("clientCount", int64(c.ClientCount))
	w.boolean("failoverEnabled", c.FailoverEnabled)
	w.boolean("validateCertificates", c.ValidateCertificates)
	w.integer("processorPoolSize", int64(c.ProcessorPoolSize))
	w.textMap("specificConfig", c.SpecificConfig, false)
	if len(c.MappingDefinitions) > 0 {
		w.key("mappingDefinitions")
		inner := objectWriter{dst: w.dst}
		inner.open()
		for _, id := range slices.Sorted(maps.Keys(c.MappingDefinitions)) {
			inner.key(id)
			inner.dst = c.MappingDefinitions[id].appendJSON(inner.dst)
		}
		w.dst = inner.close()
	}
	if c.Credentials != nil {
		w.key("credentials")
		w.dst = c.Credentials.appendJSON(w.dst)
	}
	if c.CA != "" {
		w.string("ca", c.CA)
	}
	if c.SSHTunnel != nil {
		w.key("sshTunnel")
		w.dst = c.SSHTunnel.appendJSON(w.dst)
	}
	w.strings("tags", c.Tags, true)
	return w.close()
}

func (s *Source) appendJSON(dst []byte) []byte {
	w := objectWriter{dst: dst}
	w.open()
	w.strings("addresses", s.Addresses, true)
	w.integer("consumerCount", int64(s.ConsumerCount))
	w.qos(s.QoS)
	w.strings("authorizationContext", s.AuthorizationContext, false)
	if s.Enforcement != nil {
		w.key("enforcement")
		inner := objectWriter{dst: w.dst}
		inner.open()
		inner.string("input", s.Enforcement.Input)
		inner.strings("filters", s.Enforcement.Filters, true)
		w.dst = inner.close()
	}
	if s.AcknowledgementRequest != nil {
		w.key("acknowledgementRequests")
		inner := objectWriter{dst: w.dst}
		inner.open()
		inner.strings("includes", s.AcknowledgementRequest.Includes, true)
		if s.AcknowledgementRequest.Filter != nil {
			inner.string("filter", *s.AcknowledgementRequest.Filter)
		}
		w.dst = inner.close()
	}
	w.strings("declaredAcks", s.DeclaredAcks, false)
	w.textMap("headerMapping", s.HeaderMapping, true)
	w.strings("payloadMapping", s.PayloadMapping, false)
	w.key("replyTarget")
	inner := objectWriter{dst: w.dst}
	inner.open()
	if s.ReplyTarget.Address != nil {
		inner.string("address", *s.ReplyTarget.Address)
		inner.textMap("headerMapping", s.ReplyTarget.HeaderMapping, true)
		inner.strings("expectedResponseTypes", s.ReplyTarget.ExpectedResponseTypes, true)
	}
	inner.boolean("enabled", s.ReplyTarget.Enabled)
	w.dst = inner.close()
	return w.close()
}

func (t *Target) appendJSON(dst []byte) []byte {
	w := objectWriter{dst: dst}
	w.open()
	w.string("address", t.Address)
	w.key("topics")
	w.dst = appendArray(w.dst, t.Topics, func(dst []byte, t *FilteredTopic) []byte { return AppendJSONString(dst, t.String()) })
	w.qos(t.QoS)
	w.strings("authorizationContext", t.AuthorizationContext, false)
	if t.IssuedAcknowledgementLabel != "" {
		w.string("issuedAcknowledgementLabel", t.IssuedAcknowledgementLabel)
	}
	w.textMap("headerMapping", t.HeaderMapping, true)
	w.strings("payloadMapping", t.PayloadMapping, false)
	return w.close()
}

func (d MappingDefinition) appendJSON(dst []byte) []byte {
	w := objectWriter{dst: dst}
	w.open()
	w.string("mappingEngine", d.Engine)
	w.raw("options", d.Options)
	w.textMap("incomingConditions", d.IncomingConditions, false)
	w.textMap("outgoingConditions", d.OutgoingConditions, false)
	return w.close()
}

func (c *Credentials) appendJSON(dst []byte) []byte {
	w := objectWriter{dst: dst}
	w.open()
	w.string("type", c.Type)
	switch c.Type {
	case CredentialsClientCert:
		w.nullable("cert", c.Cert)
		w.nullable("key", c.Key)
	case CredentialsPlain:
		w.string("username", c.Username)
		w.string("password", c.Password)
	case CredentialsPublicKey:
		w.string("username", c.Username)
		w.string("publicKey", c.PublicKey)
		w.string("privateKey", c.PrivateKey)
	case CredentialsHMAC:
		w.string("algorithm", c.Algorithm)
		w.raw("parameters", c.Parameters)
	case CredentialsOAuthClient, CredentialsOAuthPassword:
		w.string("tokenEndpoint", c.TokenEndpoint)
		w.string("clientId", c.ClientID)
		w.nullable("clientSecret", c.ClientSecret)
		w.string("requestedScopes", c.RequestedScopes)
		if c.Type == CredentialsOAuthPassword {
			w.string("username", c.Username)
			w.string("password", c.Password)
		}
		w.nullable("audience", c.Audience)
	}
	return w.close()
}

func (t *SSHTunnel) appendJSON(dst []byte) []byte {
	w := objectWriter{dst: dst}
	w.open()
	w.boolean("enabled", t.Enabled)
	w.key("credentials")
	w.dst = t.Credentials.appendJSON(w.dst)
	w.boolean("validateHost", t.ValidateHost)
	w.strings("knownHosts", t.KnownHosts, true)
	w.string("uri", t.URI)
	return w.close()
}

// LogValue keeps slog from printing secrets.
func (c *Connection) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", c.ID), slog.String("type", string(c.Type)), slog.String("uri", c.URI.String()))
}

// String names the connection without its secrets.
func (c *Connection) String() string {
	return "connection " + c.ID + " (" + string(c.Type) + ", " + c.URI.String() + ")"
}

// GoString keeps %#v from printing secrets.
func (c *Connection) GoString() string { return c.String() }

// String hides the credentials.
func (c Credentials) String() string { return c.Type + " " + masked }

// GoString keeps %#v from printing them.
func (c Credentials) GoString() string { return c.String() }

// LogValue keeps slog from printing them.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// objectWriter appends the members of one JSON object.
type objectWriter struct {
	dst  []byte
	more bool
}

func (w *objectWriter) open() { w.dst = append(w.dst, '{') }

func (w *objectWriter) close() []byte { return append(w.dst, '}') }

// key appends a member's name; the value is to follow.
func (w *objectWriter) key(name string) {
	if w.more {
		w.dst = append(w.dst, ',')
	}
	w.more = true
	w.dst = append(AppendJSONString(w.dst, name), ':')
}

func (w *objectWriter) string(name, value string) {
	w.key(name)
	w.dst = AppendJSONString(w.dst, value)
}

func (w *objectWriter) nullable(name string, value *string) {
	w.key(name)
	if value == nil {
		w.dst = append(w.dst, "null"...)
		return
	}
	w.dst = AppendJSONString(w.dst, *value)
}

func (w *objectWriter) integer(name string, value int64) {
	w.key(name)
	w.dst = strconv.AppendInt(w.dst, value, 10)
}

func (w *objectWriter) boolean(name string, value bool) {
	w.key(name)
	w.dst = strconv.AppendBool(w.dst, value)
}

func (w *objectWriter) qos(value *int) {
	if value != nil {
		w.integer("qos", int64(*value))
	}
}

// raw appends JSON text; none is null.
func (w *objectWriter) raw(name string, value json.RawMessage) {
	w.key(name)
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	w.dst = append(w.dst, value...)
}

// instant appends a time unless it is zero.
func (w *objectWriter) instant(name string, at time.Time) {
	if at.IsZero() {
		return
	}
	w.key(name)
	w.dst = append(w.dst, '"')
	w.dst = appendInstant(w.dst, at)
	w.dst = append(w.dst, '"')
}

// strings appends an array; an empty one only if always.
func (w *objectWriter) strings(name string, values []string, always bool) {
	if len(values) == 0 && !always {
		return
	}
	w.key(name)
	w.dst = appendStrings(w.dst, values)
}

// textMap appends an object of strings, sorted; an empty one only if always.
func (w *objectWriter) textMap(name string, values map[string]string, always bool) {
	if len(values) == 0 && !always {
		return
	}
	w.key(name)
	w.dst = appendTextMap(w.dst, values)
}

func appendTextMap(dst []byte, values map[string]string) []byte {
	var few [8]string
	keys := few[:0]
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	inner := objectWriter{dst: dst}
	inner.open()
	for _, k := range keys {
		inner.string(k, values[k])
	}
	return inner.close()
}

func appendStrings(dst []byte, values []string) []byte {
	return appendArray(dst, values, func(dst []byte, s *string) []byte { return AppendJSONString(dst, *s) })
}

func appendArray[T any](dst []byte, values []T, element func([]byte, *T) []byte) []byte {
	dst = append(dst, '[')
	for i := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = element(dst, &values[i])
	}
	return append(dst, ']')
}
