package mqtt5

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

const headerExpiry = "mqtt.message-expiry-interval"

// known are the headers that stand for fields of a PUBLISH: a user property of such a name is not taken for one.
var known = map[string]bool{
	mqttbinding.HeaderTopic: true, mqttbinding.HeaderQoS: true, mqttbinding.HeaderRetain: true, headerExpiry: true,
	messages.HeaderContentType: true, messages.HeaderReplyTo: true, messages.HeaderCorrelationID: true,
}

// headers are what a received PUBLISH carries besides topic, QoS, retain flag and payload (bindings.md 4.3).
func headers(p *packets.Properties) messages.Headers {
	h := messages.Headers{}
	for _, u := range p.User {
		if name := readable(strings.ToLower(u.Key)); name != "" && !known[name] {
			h[name] = readable(u.Value)
		}
	}
	if p.MessageExpiry != nil {
		h[headerExpiry] = strconv.FormatUint(uint64(*p.MessageExpiry), 10)
	}
	for _, field := range [...]struct{ name, value string }{
		{messages.HeaderContentType, p.ContentType}, {messages.HeaderReplyTo, p.ResponseTopic}, {messages.HeaderCorrelationID, string(p.CorrelationData)},
	} {
		if field.value != "" {
			h[field.name] = readable(field.value)
		}
	}
	return h
}

// readable is s as UTF-8, which correlation data need not be.
func readable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Properties implements mqttbinding.Version (bindings.md 4.5).
func (v *version) Properties(h messages.Headers, topic string, qos byte, retain bool) ([]byte, error) {
	p := &packets.Properties{}
	if text := strings.TrimSpace(h[headerExpiry]); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the header %s is no number of seconds", headerExpiry)
		}
		if expiry := uint32(seconds); expiry > 0 {
			p.MessageExpiry = &expiry
		}
	}
	p.ContentType, p.ResponseTopic = unlessBlank(h[messages.HeaderContentType]), unlessBlank(h[messages.HeaderReplyTo])
	p.CorrelationData = []byte(unlessBlank(h[messages.HeaderCorrelationID]))
	if p.ResponseTopic != "" && mqttbinding.CheckTopic(p.ResponseTopic) != nil {
		return nil, fmt.Errorf("the header %s is no topic", messages.HeaderReplyTo)
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !sendable(name) || !sendable(h[name]) {
			return nil, fmt.Errorf("the header %q is larger than MQTT allows or no text", name[:min(len(name), 100)])
		}
		if !known[name] && unlessBlank(h[name]) != "" {
			p.User = append(p.User, packets.User{Key: name, Value: h[name]})
		}
	}
	if !v.omitHeaders {
		p.User = append(p.User,
			packets.User{Key: mqttbinding.HeaderTopic, Value: topic},
			packets.User{Key: mqttbinding.HeaderQoS, Value: strconv.Itoa(int(qos))},
			packets.User{Key: mqttbinding.HeaderRetain, Value: strconv.FormatBool(retain)})
	}
	packed := p.Pack(packets.PUBLISH)
	return append(binary.AppendUvarint(make([]byte, 0, len(packed)+4), uint64(len(packed))), packed...), nil
}

// unlessBlank is s, or nothing if it is blank.
func unlessBlank(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	return s
}

// sendable says whether s can be a string of MQTT: the codec cuts off what is too long, and a broker may disconnect who
// sends anything but UTF-8 without NUL.
func sendable(s string) bool {
	return len(s) <= 65535 && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
