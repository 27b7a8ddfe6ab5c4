package mapping

import (
	"encoding/binary"
	"errors"
	"mime"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"hawser/messages"
	"hawser/messages/mapping/javascript"
	"hawser/messages/protocol"
)

// External is a broker message, in either direction. Header names are lower case. Which of text and bytes there is:
// contract bindings.md 1.6.
type External struct {
	Headers  messages.Headers
	Text     string
	HasText  bool
	Bytes    []byte
	HasBytes bool
}

// Context is what a mapper knows besides the message.
type Context struct {
	ConnectionID string
	// Subjects are the authorization subjects of the source or target: request:subjectId.
	Subjects []string
	// Now is the time of the message: time:now.
	Now time.Time
	// Done ends the wait for a mapper that is busy; nil: nothing but time does.
	Done <-chan struct{}
}

// Errors of mappers that did not look at the message, because all that they may do at a time was being done: another try
// may work.
var (
	ErrBusy      = javascript.ErrBusy      // the mapper stayed busy
	ErrAbandoned = javascript.ErrAbandoned // Context.Done was closed
)

// untried returns the ErrBusy or ErrAbandoned in err, nil when it is neither.
func untried(err error) error {
	for _, e := range []error{ErrBusy, ErrAbandoned} {
		if errors.Is(err, e) {
			return e
		}
	}
	return nil
}

// Mapper is one payload mapper of one connection. Implementations are safe for concurrent use.
type Mapper interface {
	// Inbound maps a broker message. No envelope: dropped. An error that is no *messages.Error becomes
	// connectivity:message.mapping.failed. m must not be changed; its bytes may be kept.
	Inbound(ctx Context, m *External) ([]*protocol.Envelope, error)
	// Outbound maps a signal. No message: dropped. e must not be changed.
	Outbound(ctx Context, e *protocol.Envelope) ([]*External, error)
}

// Limits bound what mappers take and produce (contract runtime.md 1.4, 1.5, 5, 8.2). Zero is not "no limit".
type Limits struct {
	MaxInbound          int               // results of one mapper for one broker message
	MaxOutbound         int               // results of one mapper for one signal
	MaxHeaderBytes      int               // names and values of all headers of one envelope together
	MaxSubjects         int               // authorization subjects of one signal
	MaxMessageBytes     int               // payload of a live message
	MaxMembers          int               // messages that a mapper with state maps at a time; the connection's processorPoolSize may be less
	MaxScriptCharacters int               // one JavaScript script
	Script              javascript.Limits // a running script
}

// DefaultLimits are the defaults of the configuration.
var DefaultLimits = Limits{MaxInbound: 10, MaxOutbound: 10, MaxHeaderBytes: 5 << 10, MaxSubjects: 100, MaxMessageBytes: 250 << 10,
	MaxMembers: 5, MaxScriptCharacters: 50000, Script: javascript.Limits{Time: 500 * time.Millisecond, StackDepth: 25}}

// The codes of mapping errors that are not those of package protocol.
const (
	CodeMappingFailed        = "connectivity:message.mapping.failed"           // 400
	CodePayloadTooLarge      = "messages:payload.toolarge"                     // 413
	CodeMessageFormatInvalid = "messages:messageformat.invalid"                // 400
	CodeConfigurationInvalid = "connectivity:connection.configuration.invalid" // 400
)

// NewMappingFailed says that a message could not be mapped; contentType is that of the message, "" when it has none.
func NewMappingFailed(contentType, why string) *messages.Error {
	if contentType == "" {
		contentType = "<unspecified>"
	}
	return &messages.Error{Status: 400, Code: CodeMappingFailed,
		Message:     "The external message with content-type '" + contentType + "' could not be mapped.",
		Description: why}
}

func (m *External) contentType() string { return m.Headers[messages.HeaderContentType] }

func (m *External) failed(why string) error { return NewMappingFailed(m.contentType(), why) }

// payload returns the body as UTF-8 bytes: the text, or the bytes decoded from the content-type's charset. It fails when
// there is none. The bytes are those of m where no decoding is needed.
func (m *External) payload() ([]byte, error) {
	charset := charsetOf(m.contentType())
	switch {
	case m.HasBytes && len(m.Bytes) > 0 && charset == "":
		return m.Bytes, nil
	case m.HasText && m.Text != "":
		return []byte(m.Text), nil
	case m.HasBytes && len(m.Bytes) > 0:
		return decodeCharset(charset, m.Bytes), nil
	}
	return nil, m.failed("The message has no payload.")
}

// raw returns the body as bytes, false when there is none.
func (m *External) raw() ([]byte, bool) {
	if m.HasBytes {
		return m.Bytes, true
	}
	return []byte(m.Text), m.HasText
}

// charsetOf returns the charset parameter in lower case, "" for UTF-8.
func charsetOf(contentType string) string {
	if !strings.Contains(contentType, ";") {
		return ""
	}
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	switch c := strings.ToLower(parameters["charset"]); c {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return ""
	default:
		return c
	}
}

// decodeCharset knows the charsets that need no table; bytes in others are taken for UTF-8.
func decodeCharset(charset string, b []byte) []byte {
	switch charset {
	case "iso-8859-1", "latin1":
		out := make([]byte, 0, len(b)+len(b)/8)
		for _, c := range b {
			out = utf8.AppendRune(out, rune(c))
		}
		return out
	case "utf-16", "utf-16be", "utf-16le":
		var order binary.ByteOrder = binary.BigEndian
		if charset == "utf-16le" {
			order = binary.LittleEndian
		}
		if len(b) >= 2 && charset == "utf-16" {
			switch order.Uint16(b) {
			case 0xFEFF:
				b = b[2:]
			case 0xFFFE:
				order, b = binary.LittleEndian, b[2:]
			}
		}
		units := make([]uint16, 0, len(b)/2)
		for ; len(b) >= 2; b = b[2:] {
			units = append(units, order.Uint16(b))
		}
		return []byte(string(utf16.Decode(units)))
	}
	return b
}

// mediaType is the part of a content-type before its parameters, in lower case.
func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func isJSON(contentType string) bool {
	t := mediaType(contentType)
	return t == messages.ContentTypeJSON || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")
}

func isText(contentType string) bool { return strings.HasPrefix(mediaType(contentType), "text/") }

func isDittoProtocol(contentType string) bool {
	return mediaType(contentType) == messages.ContentTypeDittoProtocol
}
