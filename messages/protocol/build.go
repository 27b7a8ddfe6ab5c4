package protocol

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"hawser/messages"
)

// Ack is one acknowledgement, alone or inside an aggregated one.
type Ack struct {
	Label   string
	Status  int
	Payload json.RawMessage // nil when absent
	Headers messages.Headers
}

// Labels that only the service itself fulfils.
const (
	LabelTwinPersisted   = "twin-persisted"
	LabelSearchPersisted = "search-persisted"
	LabelLiveResponse    = "live-response"
)

var labelPattern = regexp.MustCompile(`^[a-zA-Z0-9\-_:]{3,165}$`)

// CheckLabel checks the label of an acknowledgement that comes from outside (contract runtime.md 1.4). The error is
// *messages.Error, 400: acknowledgement:label.invalid or acknowledgement:ditto.acklabel.forbidden.
func CheckLabel(label string) error {
	switch label {
	case LabelTwinPersisted, LabelSearchPersisted, LabelLiveResponse:
		return &messages.Error{Status: 400, Code: CodeLabelForbidden,
			Message:     "The acknowledgement label '" + label + "' is reserved.",
			Description: "Only the service itself issues it; use a label of your own."}
	}
	if !labelPattern.MatchString(label) {
		return messages.NewLabelInvalid(label, "It must match [a-zA-Z0-9-_:]{3,165}.")
	}
	return nil
}

// responseHeaders are the headers of a response to a request with these headers: all of them but those that ask for a
// response. h may be nil.
func responseHeaders(h messages.Headers) messages.Headers {
	c := h.Clone()
	delete(c, messages.HeaderResponseRequired)
	delete(c, messages.HeaderRequestedAcks)
	c[messages.HeaderContentType] = messages.ContentTypeJSON
	return c
}

// NewError builds the error envelope of contract runtime.md 1.4. topic is that of the request, nil when unknown: then
// the entity is unknown/unknown. headers are those of the request (may be nil) and are not changed.
func NewError(err *messages.Error, topic *Topic, headers messages.Headers) *Envelope {
	t := Topic{Namespace: "unknown", Name: "unknown", Group: GroupThings, Channel: ChannelTwin, Criterion: CriterionErrors}
	if topic != nil && topic.Name != "" {
		t.Namespace, t.Name = topic.Namespace, topic.Name
	}
	switch {
	case strings.HasPrefix(err.Code, "policies:") || topic != nil && topic.Group == GroupPolicies:
		t.Group, t.Channel = GroupPolicies, ""
	case headers[messages.HeaderChannel] == ChannelLive:
		t.Channel = ChannelLive
	}
	value, failed := json.Marshal(err)
	if failed != nil { // only if Members holds what is no JSON
		value = []byte(`{"status":500,"error":"connectivity:internalerror","message":"There was a rare case of an unexpected internal error."}`)
	}
	return &Envelope{Topic: t, Headers: responseHeaders(headers), Path: "/", Status: err.Status, Value: value}
}

// ParseError reads the error in the value of an error envelope; false when the value is none.
func (e *Envelope) ParseError() (*messages.Error, bool) {
	var v struct {
		Status      int    `json:"status"`
		Error       string `json:"error"`
		Message     string `json:"message"`
		Description string `json:"description"`
		Href        string `json:"href"`
	}
	if json.Unmarshal(e.Value, &v) != nil || v.Error == "" {
		return nil, false
	}
	if v.Status == 0 {
		v.Status = e.Status
	}
	return &messages.Error{Status: v.Status, Code: v.Error, Message: v.Message, Description: v.Description, Href: v.Href}, true
}

// acksTopic is the topic of acknowledgements for the signal with topic t; label "" for aggregated ones.
func acksTopic(t Topic, label string) Topic {
	channel := t.Channel
	if channel != ChannelLive {
		channel = ChannelTwin
	}
	return Topic{Namespace: t.Namespace, Name: t.Name, Group: GroupThings, Channel: channel, Criterion: CriterionAcks, Subject: label}
}

// NewAcknowledgement builds the envelope of one acknowledgement for the signal with this topic. headers are those of the
// signal (may be nil); those of ack win.
func NewAcknowledgement(topic Topic, ack Ack, headers messages.Headers) *Envelope {
	h := responseHeaders(headers)
	for name, value := range ack.Headers {
		h[name] = value
	}
	return &Envelope{Topic: acksTopic(topic, ack.Label), Headers: h, Path: "/", Status: ack.Status, Value: ack.Payload}
}

// NewAcknowledgements builds the envelope of aggregated acknowledgements for the signal with this topic. Its status is
// AggregatedStatus. headers are those of the signal (may be nil).
func NewAcknowledgements(topic Topic, acks []Ack, headers messages.Headers) *Envelope {
	value := []byte{'{'}
	for i, ack := range acks {
		if i > 0 {
			value = append(value, ',')
		}
		value = append(messages.AppendJSONString(value, ack.Label), `:{"status":`...)
		value = append(value, itoa(int64(ack.Status))...)
		if ack.Payload != nil {
			value = append(append(value, `,"payload":`...), ack.Payload...)
		}
		value = append(value, `,"headers":`...)
		value = append(appendHeaders(value, ack.Headers, out), '}')
	}
	value = append(value, '}')
	return &Envelope{Topic: acksTopic(topic, ""), Headers: responseHeaders(headers), Path: "/", Status: AggregatedStatus(acks), Value: value}
}

// Acks returns the acknowledgements of an Acknowledgement or Acknowledgements envelope that came from outside. Errors are
// *messages.Error, 400: json.invalid, json.field.missing, acknowledgement:label.invalid,
// acknowledgement:ditto.acklabel.forbidden.
func (e *Envelope) Acks() ([]Ack, error) {
	if e.Topic.Subject != "" {
		return []Ack{{Label: e.Topic.Subject, Status: e.Status, Payload: e.Value, Headers: e.Headers}}, CheckLabel(e.Topic.Subject)
	}
	if e.Value == nil {
		return nil, messages.NewFieldMissing("/value")
	}
	if err := wantObject(e.Value, "value"); err != nil {
		return nil, err
	}
	var acks []Ack
	for m := members(e.Value, 0, maxDepth); m.next(); {
		ack, err := parseAck(m.name(), e.Value[m.from:m.to])
		if err != nil {
			return nil, err
		}
		acks = append(acks, ack)
	}
	return acks, nil
}

func parseAck(label string, raw json.RawMessage) (Ack, error) {
	ack := Ack{Label: label}
	if err := CheckLabel(label); err != nil {
		return ack, err
	}
	if err := wantObject(raw, label); err != nil {
		return ack, err
	}
	part := &Envelope{}
	for m := members(raw, 0, maxDepth); m.next(); {
		value := raw[m.from:m.to]
		var err error
		switch m.name() {
		case "status":
			err = part.parseStatus(value)
		case "payload":
			ack.Payload = value
		case "headers":
			ack.Headers, _, err = parseHeaders(value, 0, maxDepth)
		}
		if err != nil {
			return ack, err
		}
	}
	if ack.Status = part.Status; ack.Status == 0 {
		return ack, messages.NewFieldMissing("/" + label + "/status")
	}
	return ack, nil
}

// AggregatedStatus is the status of aggregated acknowledgements (contract runtime.md 1.4): that of a sole one; 200 when
// all are 2xx; else 424.
func AggregatedStatus(acks []Ack) int {
	if len(acks) == 1 {
		return acks[0].Status
	}
	for _, ack := range acks {
		if ack.Status < 200 || ack.Status > 299 {
			return 424
		}
	}
	return 200
}

// NewConnectionAnnouncement builds a connection announcement (contract runtime.md 13); kind is "opened" or "closed".
func NewConnectionAnnouncement(connectionID, kind string, at time.Time) *Envelope {
	value := append(messages.AppendJSONString([]byte{'{'}, kind+"At"), ':')
	value = append(messages.AppendJSONString(value, messages.FormatInstant(at)), '}')
	return &Envelope{
		Topic:   Topic{Namespace: Wildcard, Name: connectionID, Group: GroupConnections, Criterion: CriterionAnnouncements, Subject: kind},
		Headers: messages.Headers{messages.HeaderContentType: messages.ContentTypeJSON},
		Path:    "/",
		Value:   value,
	}
}

// TopicOfEntity returns a things topic for the entity id "ns:name", as NewError takes it; nil when id has no colon or no
// name.
func TopicOfEntity(id string) *Topic {
	ns, name, ok := strings.Cut(id, ":")
	if !ok || name == "" {
		return nil
	}
	return &Topic{Namespace: ns, Name: name, Group: GroupThings, Channel: ChannelTwin}
}
