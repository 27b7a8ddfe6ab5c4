package mqttbinding

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
	"hawser/messages"
)

// noProperties is a version whose messages have none, as those of MQTT 3.1.1.
type noProperties struct{}

func (noProperties) Connect(context.Context, *Link, Login) (Session, Welcome, error) {
	panic("not called")
}

func (noProperties) Properties(messages.Headers, string, byte, bool) ([]byte, error) { return nil, nil }

// TestPublishPacket: paho's codec reads what we write.
func TestPublishPacket(t *testing.T) {
	for _, row := range []struct {
		p  Publication
		id uint16
	}{
		{Publication{topic: "a/b", text: "hello"}, 0},
		{Publication{topic: "a", qos: 1, bytes: []byte{0, 255}}, 1024},
		{Publication{topic: "ä", qos: 2, retain: true}, 65535},
		{Publication{topic: strings.Repeat("t", 65535), qos: 1, text: strings.Repeat("x", 200_000)}, 7},
	} {
		got, err := packets.ReadPacket(bytes.NewReader(row.p.append(nil, row.id)))
		p, ok := got.(*packets.PublishPacket)
		if err != nil || !ok || p.TopicName != row.p.topic || p.Qos != row.p.qos || p.Retain != row.p.retain || p.Dup || p.MessageID != row.id || string(p.Payload) != row.p.text+string(row.p.bytes) {
			t.Errorf("%.40q, QoS %d: %v, %v", row.p.topic, row.p.qos, got, err)
		}
	}
}

func TestQueueIsEmptyAfterClose(t *testing.T) {
	q := newQueue[int]()
	q.put(1)
	q.close()
	if q.put(2) {
		t.Error("a closed queue takes values")
	}
	if got := q.take(nil); len(got) != 1 || q.take(got) != nil {
		t.Errorf("%v", got)
	}
}

// FuzzPublishPacket checks the rendering of packets against paho's codec.
func FuzzPublishPacket(f *testing.F) {
	f.Add("a/b", "payload", byte(1), true, uint16(1024))
	f.Fuzz(func(t *testing.T, topic, payload string, qos byte, retain bool, id uint16) {
		p, err := newPublication(noProperties{}, &client.Outbound{Address: topic, QoS: int(qos % 3), Text: payload, HasText: true}, nil)
		if err != nil {
			return
		}
		p.retain = retain
		got, err := packets.ReadPacket(bytes.NewReader(p.append(nil, id)))
		if q, ok := got.(*packets.PublishPacket); err != nil || !ok || q.TopicName != topic || string(q.Payload) != payload || q.Retain != retain {
			t.Fatalf("%v, %v", got, err)
		}
	})
}
