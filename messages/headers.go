package messages

import (
	"maps"
	"slices"
	"strings"
)

// Headers are the headers of a command, a signal or a broker message. Keys are lower case; values are text (a JSON
// value that was not a string is kept as its JSON text, contract piggyback.md 1.5).
type Headers map[string]string

// Names of headers that the code itself reads or writes (contract piggyback.md 1.5, runtime.md 1.5).
const (
	HeaderAggregate           = "aggregate"
	HeaderIsGroupTopic        = "is-group-topic"
	HeaderTopic               = "topic"
	HeaderSudo                = "ditto-sudo"
	HeaderTimeout             = "timeout"
	HeaderCorrelationID       = "correlation-id"
	HeaderResponseRequired    = "response-required"
	HeaderRequestedAcks       = "requested-acks"
	HeaderContentType         = "content-type"
	HeaderReplyTo             = "reply-to"
	HeaderChannel             = "channel"
	HeaderCondition           = "condition"
	HeaderIfMatch             = "if-match"
	HeaderIfNoneMatch         = "if-none-match"
	HeaderIfEqual             = "if-equal"
	HeaderAtRevision          = "at-historical-revision"
	HeaderAtTimestamp         = "at-historical-timestamp"
	HeaderHistorical          = "historical-headers"
	HeaderDryRun              = "dry-run"
	HeaderEntityRevision      = "entity-revision"
	HeaderETag                = "etag"
	HeaderOriginator          = "ditto-originator"
	HeaderAuthContext         = "ditto-auth-context"
	HeaderOrigin              = "ditto-origin"
	HeaderReplyTarget         = "ditto-reply-target"
	HeaderExpectedResponses   = "ditto-expected-response-types"
	HeaderInboundMapper       = "ditto-inbound-payload-mapper"
	HeaderEntityID            = "ditto-entity-id"
	HeaderWeakAck             = "ditto-weak-ack"
	HeaderDittoConnectionID   = "ditto-connection-id"
	ContentTypeDittoProtocol  = "application/vnd.eclipse.ditto+json"
	ContentTypeJSON           = "application/json"
	ContentTypeJSONMergePatch = "application/merge-patch+json"
)

// Get returns the value of name in any spelling, "" when absent.
func (h Headers) Get(name string) string { return h[strings.ToLower(name)] }

// Has reports whether name is present in any spelling.
func (h Headers) Has(name string) bool { _, ok := h[strings.ToLower(name)]; return ok }

// Clone returns a copy that may be changed; never nil.
func (h Headers) Clone() Headers {
	c := make(Headers, len(h)+2)
	maps.Copy(c, h)
	return c
}

// JSON renders the headers as a JSON object of texts.
func (h Headers) JSON() string {
	w := objectWriter{}
	w.open()
	for _, name := range slices.Sorted(maps.Keys(h)) {
		w.string(name, h[name])
	}
	return string(w.close())
}

// With returns a copy with one header set.
func (h Headers) With(name, value string) Headers {
	c := h.Clone()
	c[strings.ToLower(name)] = value
	return c
}
