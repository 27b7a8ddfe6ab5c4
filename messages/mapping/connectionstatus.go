package mapping

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// connectionStatus writes how long a device stays connected into a feature of its thing (contract runtime.md 8.4).
type connectionStatus struct{ thingID, featureID *placeholder.Template }

const (
	connectionStatusDefinition = "org.eclipse.ditto:ConnectionStatus:1.0.0"
	distantFuture              = "9999-12-31T23:59:59Z"
	maxEpochMillis             = 253402300799999 // of that instant
)

func newConnectionStatus(o options, _ resources) (Mapper, error) {
	thingID, ok, err := o.template("thingId")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, unloadable("its option thingId is missing")
	}
	if id, constant := thingID.Constant(); constant && protocol.TopicOfEntity(id) == nil {
		return nil, unloadable("its option thingId is no thing id")
	}
	featureID, ok, err := o.template("featureId")
	if err != nil {
		return nil, err
	}
	if !ok {
		if featureID, err = compileOption("featureId", "ConnectionStatus"); err != nil {
			return nil, err
		}
	}
	return &connectionStatus{thingID: thingID, featureID: featureID}, nil
}

// Inbound drops whatever it cannot use: a message without the two headers is nothing unusual.
func (c *connectionStatus) Inbound(ctx Context, m *External) ([]*protocol.Envelope, error) {
	v := &Values{Headers: m.Headers, Subjects: ctx.Subjects, ConnectionID: ctx.ConnectionID, Now: ctx.Now}
	thingID, ok := c.thingID.Resolve(v)
	if !ok {
		return nil, nil
	}
	topic := protocol.TopicOfEntity(thingID)
	featureID, ok := c.featureID.Resolve(v)
	if !ok || topic == nil || featureID == "" {
		return nil, nil
	}
	creation, err := strconv.ParseInt(m.Headers["creation-time"], 10, 64)
	if err != nil || creation < 0 || creation > maxEpochMillis {
		return nil, nil
	}
	ttd, err := strconv.ParseInt(m.Headers["ttd"], 10, 64)
	if err != nil || ttd < -1 || ttd > (math.MaxInt64-creation)/1000 || creation+ttd*1000 > maxEpochMillis {
		return nil, nil
	}

	topic.Criterion, topic.Action = protocol.CriterionCommands, protocol.ActionModify
	e := &protocol.Envelope{Topic: *topic, Path: "/features/" + featureID, Headers: messages.Headers{
		messages.HeaderContentType: messages.ContentTypeJSON, messages.HeaderResponseRequired: "false", messages.HeaderRequestedAcks: "[]"}}
	since := instant(creation)
	until := instant(creation + ttd*1000)
	var value any = object{
		"definition": []string{connectionStatusDefinition},
		"properties": object{"status": object{"readySince": since, "readyUntil": until}},
	}
	switch ttd {
	case -1:
		value.(object)["properties"] = object{"status": object{"readySince": since, "readyUntil": distantFuture}}
	case 0:
		e.Path += "/properties/status/readyUntil"
		value = since
	}
	text, err := marshal(value)
	e.Value = json.RawMessage(text)
	return []*protocol.Envelope{e}, err
}

func instant(millis int64) string { return messages.FormatInstant(time.UnixMilli(millis)) }

func (*connectionStatus) Outbound(Context, *protocol.Envelope) ([]*External, error) { return nil, nil }
