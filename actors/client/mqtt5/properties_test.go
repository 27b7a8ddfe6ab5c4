package mqtt5

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/messages"
)

// TestHeaders is the table of bindings.md 4.3 and row B34.
func TestHeaders(t *testing.T) {
	o, s := connected(t, newFakeBroker(t), Config{}, welcome(), sources(2, "x", "a/+;b"))
	expiry := uint32(30)
	for name, row := range map[string]struct {
		properties packets.Properties
		want       messages.Headers
	}{
		"none": {packets.Properties{}, nil},
		"all": {packets.Properties{ContentType: "text/plain", ResponseTopic: "answers/7", CorrelationData: []byte("c-1"), MessageExpiry: &expiry},
			messages.Headers{"content-type": "text/plain", "reply-to": "answers/7", "correlation-id": "c-1", "mqtt.message-expiry-interval": "30"}},
		"user properties": {packets.Properties{User: []packets.User{{Key: "Device", Value: "7"}, {Key: "x", Value: "first"}, {Key: "x", Value: "last"}, {Key: "empty"}}},
			messages.Headers{"device": "7", "x": "last", "empty": ""}},
		"known names": {packets.Properties{CorrelationData: []byte("c-1"), User: []packets.User{
			{Key: "correlation-id", Value: "u"}, {Key: "Content-Type", Value: "u"}, {Key: "reply-to", Value: "u"}, {Key: "mqtt.topic", Value: "u"}, {Key: "mqtt.qos", Value: "u"}, {Key: "mqtt.retain", Value: "u"}, {Key: "mqtt.message-expiry-interval", Value: "u"},
		}}, messages.Headers{"correlation-id": "c-1"}},
		"binary correlation data": {packets.Properties{CorrelationData: []byte("a\xff\xfeb")}, messages.Headers{"correlation-id": "a\uFFFDb"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.send(packets.PUBLISH, &packets.Publish{Topic: "a/7", QoS: 1, Retain: true, PacketID: 1, Payload: []byte("caf\xe9"), Properties: &row.properties})
			in := o.Next()
			want := messages.Headers{"mqtt.topic": "a/7", "mqtt.qos": "1", "mqtt.retain": "true"}
			maps.Copy(want, row.want)
			if fmt.Sprint(in.Headers) != fmt.Sprint(want) || in.SourceIndex != 1 || in.Address != "a/+;b" || in.Topic != "a/7" || in.AtMostOnce ||
				string(in.Bytes) != "caf\xe9" || in.Text != "caf\uFFFD" || !in.HasText || !in.HasBytes {
				t.Errorf("%+v", in)
			}
			in.Settle(client.Settle)
			expect[*packets.Puback](s)
		})
	}
}

// TestCharset: bytes in another charset than UTF-8 are not shown as text.
func TestCharset(t *testing.T) {
	o, s := connected(t, newFakeBroker(t), Config{}, welcome(), sources(1, "a"))
	s.send(packets.PUBLISH, &packets.Publish{Topic: "a", QoS: 1, PacketID: 1, Payload: []byte("caf\xe9"), Properties: &packets.Properties{ContentType: "text/plain; charset=ISO-8859-1"}})
	if in := o.Next(); in.HasText || string(in.Bytes) != "caf\xe9" {
		t.Errorf("%+v", in)
	}
}

// TestPublish is the table of bindings.md 4.5 and rows B32, B33.
func TestPublish(t *testing.T) {
	b := newFakeBroker(t)
	o, s := connected(t, b, Config{}, welcome())
	preserved := func(topic string, qos int, retain bool, more ...packets.User) []packets.User {
		return append(more, packets.User{Key: "mqtt.topic", Value: topic}, packets.User{Key: "mqtt.qos", Value: fmt.Sprint(qos)}, packets.User{Key: "mqtt.retain", Value: fmt.Sprint(retain)})
	}
	expiry := uint32(20)
	for name, row := range map[string]struct {
		m      client.Outbound
		topic  string
		qos    byte
		retain bool
		want   packets.Properties
	}{
		"plain": {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true}, "a", 1, false, packets.Properties{User: preserved("a", 1, false)}},
		"bytes": {client.Outbound{Address: "a", QoS: 1, Bytes: []byte("t")}, "a", 1, false, packets.Properties{User: preserved("a", 1, false)}},
		"headers for fields": {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true, Headers: messages.Headers{"mqtt.topic": "b", "mqtt.qos": "2", "mqtt.retain": "true", "mqtt.message-expiry-interval": "20",
			"content-type": "text/plain", "reply-to": "answers/7", "correlation-id": "c-1"}},
			"b", 2, true, packets.Properties{MessageExpiry: &expiry, ContentType: "text/plain", ResponseTopic: "answers/7", CorrelationData: []byte("c-1"), User: preserved("b", 2, true)}},
		"user properties": {client.Outbound{Address: "a", Text: "t", HasText: true, Headers: messages.Headers{"x": "1", "device": "ä", "blank": " ", "empty": ""}},
			"a", 0, false, packets.Properties{User: preserved("a", 0, false, packets.User{Key: "device", Value: "ä"}, packets.User{Key: "x", Value: "1"})}},
		"no expiry":    {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true, Headers: messages.Headers{"mqtt.message-expiry-interval": "0"}}, "a", 1, false, packets.Properties{User: preserved("a", 1, false)}},
		"blank fields": {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true, Headers: messages.Headers{"reply-to": " ", "content-type": "", "correlation-id": ""}}, "a", 1, false, packets.Properties{User: preserved("a", 1, false)}},
	} {
		t.Run(name, func(t *testing.T) {
			outcome := o.Send(row.m)
			p := expect[*packets.Publish](s)
			if p.Topic != row.topic || p.QoS != row.qos || p.Retain != row.retain || p.Duplicate || string(p.Payload) != "t" || p.Properties.String() != row.want.String() {
				t.Errorf("%v, want %v", p, &row.want)
			}
			switch p.QoS {
			case 1:
				s.puback(p.PacketID, 0)
			case 2:
				s.send(packets.PUBREC, &packets.Pubrec{PacketID: p.PacketID, Properties: &packets.Properties{}})
				expect[*packets.Pubrel](s)
				s.send(packets.PUBCOMP, &packets.Pubcomp{PacketID: p.PacketID, Properties: &packets.Properties{}})
			}
			if got := clienttest.Await(t, outcome); got.Err != nil || got.Status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
	for name, h := range map[string]messages.Headers{
		"QoS 7":            {"mqtt.qos": "7"}, // B32
		"retain":           {"mqtt.retain": "yes"},
		"topic":            {"mqtt.topic": "b/+"},
		"expiry":           {"mqtt.message-expiry-interval": "soon"},
		"negative expiry":  {"mqtt.message-expiry-interval": "-1"},
		"expiry too large": {"mqtt.message-expiry-interval": "4294967296"},
		"reply-to":         {"reply-to": "a/#"},
		"too long":         {"x": strings.Repeat("x", 65536)},
		"long name":        {strings.Repeat("x", 65536): "x"},
		"not UTF-8":        {"x": "\xff"},
		"NUL":              {"correlation-id": "\x00"},
	} {
		if got := clienttest.Await(t, o.Send(client.Outbound{Address: "a", Headers: h})); got.Status != 400 || got.Err == nil {
			t.Errorf("%s: %+v, want 400", name, got)
		}
	}

	o, s = connected(t, b, Config{OmitHeaders: true}, welcome())
	o.Send(client.Outbound{Address: "a", Headers: messages.Headers{"x": "1", "mqtt.topic": "b"}})
	if p := expect[*packets.Publish](s); p.Topic != "b" || len(p.Properties.User) != 1 || p.Properties.User[0] != (packets.User{Key: "x", Value: "1"}) {
		t.Errorf("%v", p)
	}
}

// FuzzProperties: whatever the headers are, what is accepted is what the codec reads.
func FuzzProperties(f *testing.F) {
	f.Add("x", "1", "c-1", "answers", "10")
	f.Fuzz(func(t *testing.T, name, value, correlation, replyTo, expiry string) {
		h := messages.Headers{"correlation-id": correlation, "reply-to": replyTo, "mqtt.message-expiry-interval": expiry, name: value}
		packed, err := (&version{}).Properties(h, "t", 1, false)
		if err != nil {
			return
		}
		var p packets.Properties
		in := bytes.NewBuffer(packed)
		if err := p.Unpack(in, packets.PUBLISH); err != nil || in.Len() > 0 {
			t.Fatalf("%v, %d bytes are left", err, in.Len())
		}
		if !known[name] && unlessBlank(value) != "" && p.User[0] != (packets.User{Key: name, Value: value}) {
			t.Fatalf("%v", p.User)
		}
	})
}
