package mapping

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// The headers that carry what a raw payload cannot say.
const (
	headerDirection = "ditto-message-direction"
	headerSubject   = "ditto-message-subject"
	headerThingID   = "ditto-message-thing-id"
	headerFeatureID = "ditto-message-feature-id"
	headerStatus    = "status"
)

// rawMessage carries the payload of live messages as it is (contract runtime.md 8.5).
type rawMessage struct {
	ditto
	outgoingContentType string
	incoming            map[string]*placeholder.Template
}

// defaultIncoming are the defaults of option incomingMessageHeaders; configured ones are added to them.
var defaultIncoming = map[string]string{
	messages.HeaderContentType: "{{header:content-type|fn:default('application/octet-stream')}}",
	headerDirection:            "{{header:ditto-message-direction|fn:default('TO')}}",
	headerThingID:              "{{header:ditto-message-thing-id}}",
	headerSubject:              "{{header:ditto-message-subject}}",
	headerFeatureID:            "{{header:ditto-message-feature-id}}",
	headerStatus:               "{{header:status}}",
}

func newRawMessage(o options, _ resources) (Mapper, error) {
	r := &rawMessage{outgoingContentType: "text/plain; charset=UTF-8", incoming: map[string]*placeholder.Template{}}
	if t, ok := o.text("outgoingContentType"); ok {
		r.outgoingContentType = t
	}
	for name, text := range defaultIncoming {
		t, err := compileOption(name, text)
		if err != nil {
			return nil, err
		}
		r.incoming[name] = t
	}
	configured, err := o.templates("incomingMessageHeaders")
	for name, t := range configured {
		r.incoming[name] = t
	}
	return r, err
}

func (r *rawMessage) Inbound(ctx Context, m *External) ([]*protocol.Envelope, error) {
	v := &Values{Headers: m.Headers, Subjects: ctx.Subjects, ConnectionID: ctx.ConnectionID, Now: ctx.Now}
	header := func(name string) string {
		value, ok := r.incoming[name].Resolve(v)
		if !ok {
			return ""
		}
		return value
	}
	contentType := header(messages.HeaderContentType)
	if contentType == "" {
		return nil, m.failed("The content-type of the message could not be resolved.")
	}
	if isDittoProtocol(contentType) {
		return r.ditto.Inbound(ctx, m)
	}
	topic := protocol.TopicOfEntity(header(headerThingID))
	subject := header(headerSubject)
	if topic == nil || subject == "" {
		return nil, m.failed("The headers " + headerThingID + " and " + headerSubject + " are required, or their templates in incomingMessageHeaders.")
	}
	topic.Channel, topic.Criterion, topic.Subject = protocol.ChannelLive, protocol.CriterionMessages, subject
	e := &protocol.Envelope{Topic: *topic, Headers: messages.Headers{messages.HeaderContentType: contentType}}

	box := "/inbox/messages/"
	switch header(headerDirection) {
	case "TO":
	case "FROM":
		box = "/outbox/messages/"
	default:
		return nil, m.failed("The header " + headerDirection + " is neither TO nor FROM.")
	}
	if feature := header(headerFeatureID); feature != "" {
		e.Path = "/features/" + feature
	}
	e.Path += box + subject
	if status := header(headerStatus); status != "" {
		n, err := strconv.Atoi(status)
		if err != nil || n < 100 || n > 599 {
			return nil, m.failed("The header status is no status code.")
		}
		e.Status = n
	}
	var err error
	e.Value, err = messageValue(m, contentType)
	return []*protocol.Envelope{e}, err
}

// messageValue is the payload as the value of a message: JSON as it is, a text as a string, all else as base64.
func messageValue(m *External, contentType string) (json.RawMessage, error) {
	raw, ok := m.raw()
	if !ok || len(raw) == 0 {
		return nil, nil
	}
	if isJSON(contentType) || isText(contentType) {
		text, err := m.payload()
		if err != nil {
			return nil, err
		}
		if isJSON(contentType) {
			if !json.Valid(text) {
				return nil, messages.NewJSONInvalid("The payload of the message is no JSON, although its content-type says so.")
			}
			return text, nil
		}
		value, err := marshal(string(text))
		return json.RawMessage(value), err
	}
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString(raw) + `"`), nil
}

func (r *rawMessage) Outbound(ctx Context, e *protocol.Envelope) ([]*External, error) {
	contentType := e.Headers[messages.HeaderContentType]
	if contentType == "" {
		contentType = r.outgoingContentType
	}
	if e.Topic.Criterion != protocol.CriterionMessages || isDittoProtocol(contentType) {
		return r.ditto.Outbound(ctx, e)
	}
	feature, inbox, ok := e.Mailbox()
	if !ok {
		return nil, NewMappingFailed(contentType, "The path <"+e.Path+"> is not that of a message.")
	}
	m := &External{Headers: messages.Headers{
		messages.HeaderContentType: contentType,
		headerDirection:            "FROM",
		headerThingID:              e.Topic.EntityID(),
		headerSubject:              e.Topic.Subject,
	}}
	if inbox {
		m.Headers[headerDirection] = "TO"
	}
	if feature != "" {
		m.Headers[headerFeatureID] = feature
	}
	if e.Status != 0 {
		m.Headers[headerStatus] = strconv.Itoa(e.Status)
	}
	if e.Value == nil {
		return []*External{m}, nil
	}
	var text string
	isString := json.Unmarshal(e.Value, &text) == nil && e.Value[0] == '"'
	switch {
	case isJSON(contentType) || isText(contentType):
		if m.Text, m.HasText = text, true; !isString {
			m.Text = string(e.Value)
		}
	default:
		var err error
		if m.Bytes, err = base64.StdEncoding.DecodeString(text); err != nil || !isString {
			return nil, &messages.Error{Status: 400, Code: CodeMessageFormatInvalid,
				Message:     "The payload of a message with content-type '" + strings.TrimSpace(contentType) + "' must be a base64 text.",
				Description: "Check that the message has the right content-type."}
		}
		m.HasBytes = true
	}
	return []*External{m}, nil
}
