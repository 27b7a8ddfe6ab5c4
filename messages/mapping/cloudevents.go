package mapping

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"hawser/messages"
	"hawser/messages/protocol"
)

const (
	contentTypeCloudEvents = "application/cloudevents+json"
	// cloudEventsSource is the source of what we send. The contract wants it configurable; no key for it exists yet.
	cloudEventsSource = "urn:hawser"
	cloudEventsType   = "org.eclipse.ditto.outbound:"
)

// cloudEvents reads and writes envelopes inside CloudEvents 1.0 (contract runtime.md 8.8).
type cloudEvents struct{}

func newCloudEvents(_ options, _ resources) (Mapper, error) { return cloudEvents{}, nil }

func (c cloudEvents) Inbound(_ Context, m *External) ([]*protocol.Envelope, error) {
	payload, err := m.payload()
	if err != nil {
		return nil, err
	}
	switch m.contentType() {
	case messages.ContentTypeDittoProtocol:
		for _, name := range []string{"ce-id", "ce-source", "ce-type", "ce-specversion"} {
			if !m.Headers.Has(name) {
				return nil, m.failed("This is not a CloudEvent: the header " + name + " is missing.")
			}
		}
		return withCorrelationID(payload, m.Headers["ce-id"])
	case contentTypeCloudEvents:
		return c.structured(m, payload)
	}
	return nil, nil
}

func (cloudEvents) structured(m *External, payload []byte) ([]*protocol.Envelope, error) {
	var event map[string]json.RawMessage
	if json.Unmarshal(payload, &event) != nil {
		return nil, messages.NewJSONInvalid("The CloudEvent is no JSON object.")
	}
	for _, name := range []string{"specversion", "type", "id", "source"} {
		if _, ok := event[name]; !ok {
			return nil, m.failed("This is not a CloudEvent: the member " + name + " is missing.")
		}
	}
	id, _ := options(event).text("id")
	data := []byte(event["data"])
	if encoded, ok := event["data_base64"]; ok {
		var text string
		if json.Unmarshal(encoded, &text) != nil {
			return nil, m.failed("The member data_base64 is no text.")
		}
		var err error
		if data, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, m.failed("The member data_base64 is not base64.")
		}
	}
	if len(data) == 0 {
		return nil, m.failed("This CloudEvent has no data.")
	}
	return withCorrelationID(data, id)
}

func withCorrelationID(payload []byte, id string) ([]*protocol.Envelope, error) {
	envelopes, err := parse(payload)
	for _, e := range envelopes {
		e.Headers[messages.HeaderCorrelationID] = id
	}
	return envelopes, err
}

func (cloudEvents) Outbound(ctx Context, e *protocol.Envelope) ([]*External, error) {
	id := e.Headers[messages.HeaderCorrelationID]
	if id == "" {
		id = uuid.NewString()
	}
	topic := strings.SplitN(e.Topic.String(), "/", 3)
	at := e.Timestamp
	if at == "" {
		at = messages.FormatInstant(ctx.Now)
	}
	text, err := marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": cloudEventsSource, "type": cloudEventsType + topic[2],
		"subject": e.Topic.Namespace + ":" + e.Topic.Name, "time": at,
		"datacontenttype": messages.ContentTypeDittoProtocol, "data": json.RawMessage(envelopeText(e)),
	})
	if err != nil {
		return nil, err
	}
	return []*External{{Headers: messages.Headers{messages.HeaderContentType: contentTypeCloudEvents}, Text: text, HasText: true}}, nil
}
