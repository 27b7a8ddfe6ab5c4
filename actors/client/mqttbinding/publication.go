package mqttbinding

import (
	"errors"

	"hawser/actors/client"
	"hawser/messages"
)

// Publication is a publish on its way to the broker.
type Publication struct {
	topic      string
	qos        byte
	retain     bool
	properties []byte
	text       string // the payload, or else
	bytes      []byte
	done       func(client.Outcome)
}

// The headers that stand for fields of a PUBLISH in both versions.
const (
	HeaderTopic  = "mqtt.topic"
	HeaderQoS    = "mqtt.qos"
	HeaderRetain = "mqtt.retain"
)

var (
	errFull   = errors.New("the publish queue is full")
	errHeader = errors.New("a header mqtt.qos or mqtt.retain has no valid value")
	errSize   = errors.New("the message is larger than MQTT allows")
)

// newPublication applies the headers that override topic and QoS of the target (bindings.md 4.5).
func newPublication(version Version, m *client.Outbound, done func(client.Outcome)) (*Publication, error) {
	p := &Publication{topic: m.Address, qos: byte(m.QoS), bytes: m.Bytes, done: done}
	if m.HasText {
		p.text, p.bytes = m.Text, nil
	}
	if len(m.Headers) > 0 {
		if err := p.configure(m.Headers); err != nil {
			return p, err
		}
	}
	if err := CheckTopic(p.topic); err != nil {
		return p, err
	}
	var err error
	if p.properties, err = version.Properties(m.Headers, p.topic, p.qos, p.retain); err != nil {
		return p, err
	}
	if p.length() > maxLength {
		return p, errSize
	}
	return p, nil
}

func (p *Publication) configure(h messages.Headers) error {
	if topic, ok := h[HeaderTopic]; ok {
		p.topic = topic
	}
	if qos, ok := h[HeaderQoS]; ok {
		if len(qos) != 1 || qos < "0" || qos > "2" {
			return errHeader
		}
		p.qos = qos[0] - '0'
	}
	switch retain, ok := h[HeaderRetain]; {
	case !ok, retain == "false":
	case retain == "true":
		p.retain = true
	default:
		return errHeader
	}
	return nil
}

// size is that of the payload.
func (p *Publication) size() int { return len(p.text) + len(p.bytes) }

// length is that of the packet after its fixed header.
func (p *Publication) length() int {
	length := 2 + len(p.topic) + len(p.properties) + p.size()
	if p.qos > 0 {
		length += 2
	}
	return length
}

// append renders the PUBLISH packet.
func (p *Publication) append(dst []byte, id uint16) []byte {
	first := byte(TypePublish<<4) | p.qos<<1
	if p.retain {
		first |= 1
	}
	dst = append(dst, first)
	length := p.length()
	for ; length >= 0x80; length >>= 7 {
		dst = append(dst, byte(length)|0x80)
	}
	dst = append(dst, byte(length), byte(len(p.topic)>>8), byte(len(p.topic)))
	dst = append(dst, p.topic...)
	if p.qos > 0 {
		dst = append(dst, byte(id>>8), byte(id))
	}
	dst = append(dst, p.properties...)
	dst = append(dst, p.text...)
	return append(dst, p.bytes...)
}
