package mapping

import (
	"github.com/google/uuid"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// updateTwin merges what a device answered to a live retrieve into the twin (contract runtime.md 8.7). Beside the mapper
// Ditto, which lets the response through: ["Ditto","UpdateTwinWithLiveResponse"].
type updateTwin struct {
	headers map[string]*placeholder.Template
}

const mergeSuffix = "-merge-into-twin"

func newUpdateTwin(o options, _ resources) (Mapper, error) {
	headers, err := o.templates("dittoHeadersForMerge")
	if err != nil {
		return nil, err
	}
	if headers == nil {
		headers = map[string]*placeholder.Template{}
		for name, value := range map[string]string{messages.HeaderResponseRequired: "false", messages.HeaderIfMatch: "*"} {
			if headers[name], err = compileOption(name, value); err != nil {
				return nil, err
			}
		}
	}
	return &updateTwin{headers: headers}, nil
}

// Inbound drops everything but a successful response to a live retrieve command, payloads that it cannot read included.
func (u *updateTwin) Inbound(ctx Context, m *External) ([]*protocol.Envelope, error) {
	payload, err := m.payload()
	if err != nil {
		return nil, nil
	}
	response, err := protocol.Parse(payload)
	if err != nil || response.Topic.Action != protocol.ActionRetrieve || response.Value == nil || response.Status < 200 || response.Status > 299 {
		return nil, nil
	}
	if kind, err := response.Kind(); err != nil || kind != protocol.LiveResponse {
		return nil, nil
	}
	v := &Values{Headers: m.Headers, Subjects: ctx.Subjects, Now: ctx.Now}
	h := messages.Headers{}
	for name, t := range u.headers {
		value, ok := t.Resolve(v)
		if !ok {
			value = t.String() // what does not resolve stays as it is written
		}
		h[name] = value
	}
	id := response.Headers[messages.HeaderCorrelationID]
	if id == "" {
		id = uuid.NewString()
	}
	h[messages.HeaderCorrelationID] = id + mergeSuffix
	h[messages.HeaderContentType] = messages.ContentTypeJSONMergePatch
	topic := response.Topic
	topic.Channel, topic.Action = protocol.ChannelTwin, protocol.ActionMerge
	return []*protocol.Envelope{{Topic: topic, Headers: h, Path: response.Path, Value: response.Value}}, nil
}

func (*updateTwin) Outbound(Context, *protocol.Envelope) ([]*External, error) { return nil, nil }
