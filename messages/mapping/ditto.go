package mapping

import (
	"sync"

	"hawser/messages"
	"hawser/messages/protocol"
)

// ditto is the default mapper: the payload is the envelope (contract runtime.md 8.1).
type ditto struct{}

func newDitto(_ options, _ resources) (Mapper, error) { return ditto{}, nil }

func (ditto) Inbound(_ Context, m *External) ([]*protocol.Envelope, error) {
	payload, err := m.payload()
	if err != nil {
		return nil, err
	}
	return parse(payload)
}

// unreadable is an error together with what could be read of the envelope.
type unreadable struct {
	cause   error
	partial *protocol.Envelope
}

func (u *unreadable) Error() string { return u.cause.Error() }

func (u *unreadable) Unwrap() error { return u.cause }

func parse(payload []byte) ([]*protocol.Envelope, error) {
	e, err := protocol.Parse(payload)
	if err != nil {
		return nil, &unreadable{cause: err, partial: e}
	}
	return []*protocol.Envelope{e}, nil
}

// buffers are reused between messages; large ones are left to the collector.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooledBuffer = 64 << 10

// envelopeText writes e as it may leave.
func envelopeText(e *protocol.Envelope) string {
	buffer := buffers.Get().(*[]byte)
	b := e.AppendOutbound((*buffer)[:0])
	text := string(b)
	if cap(b) <= maxPooledBuffer {
		*buffer = b
		buffers.Put(buffer)
	}
	return text
}

func (ditto) Outbound(_ Context, e *protocol.Envelope) ([]*External, error) {
	h := messages.Headers{messages.HeaderContentType: messages.ContentTypeDittoProtocol}
	if id, ok := e.Headers[messages.HeaderCorrelationID]; ok {
		h[messages.HeaderCorrelationID] = id
	}
	return []*External{{Headers: h, Text: envelopeText(e), HasText: true}}, nil
}
