package mqtt

import (
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

// fakeBroker is one that speaks MQTT 3.1.1.
type fakeBroker struct {
	*clienttest.FakeBroker[packets.ControlPacket]
}

// fakeSession is one connection of a client.
type fakeSession struct {
	*clienttest.FakeSession[packets.ControlPacket]
}

func newFakeBroker(t *testing.T) *fakeBroker {
	t.Helper()
	return &fakeBroker{clienttest.NewFakeBroker(t, packets.ReadPacket)}
}

// session is the next connection.
func (b *fakeBroker) session() *fakeSession { return &fakeSession{b.Session()} }

// open begins Open.
func open(t *testing.T, c *messages.Connection, cfg mqttbinding.Config, change ...func(*client.Environment)) *clienttest.Opening {
	t.Helper()
	return clienttest.Open(t, Factory(cfg), c, change...)
}

// at is a connection to b.
func at(b *fakeBroker, change ...func(*messages.Connection)) *messages.Connection {
	return clienttest.ConnectionAt(messages.TypeMQTT, b.URI(), change...)
}

var specific, sources = clienttest.Specific, clienttest.Sources

// connect takes a CONNECT in and answers with code.
func (s *fakeSession) connect(code byte, sessionPresent bool) *packets.ConnectPacket {
	s.T.Helper()
	c := expect[*packets.ConnectPacket](s)
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.ReturnCode, ack.SessionPresent = code, sessionPresent
	s.send(ack)
	return c
}

// subscribe takes a SUBSCRIBE in and answers it with code for each filter.
func (s *fakeSession) subscribe(code ...byte) *packets.SubscribePacket {
	s.T.Helper()
	p := expect[*packets.SubscribePacket](s)
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID, ack.ReturnCodes = p.MessageID, code
	s.send(ack)
	return p
}

func (s *fakeSession) send(p packets.ControlPacket) {
	s.T.Helper()
	if err := p.Write(s.Conn); err != nil {
		s.T.Errorf("fake broker: %v", err)
	}
}

func (s *fakeSession) publish(topic string, qos byte, id uint16, payload string) {
	s.T.Helper()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.MessageID, p.Payload = topic, qos, id, []byte(payload)
	s.send(p)
}

// ack sends a packet that consists of a packet id.
func (s *fakeSession) ack(kind byte, id uint16) {
	s.T.Helper()
	p := packets.NewControlPacket(kind)
	switch p := p.(type) {
	case *packets.PubackPacket:
		p.MessageID = id
	case *packets.PubrecPacket:
		p.MessageID = id
	case *packets.PubrelPacket:
		p.MessageID = id
	case *packets.PubcompPacket:
		p.MessageID = id
	}
	s.send(p)
}

// expect is the next packet of the client, which must be a P. Pings are passed over.
func expect[P packets.ControlPacket](s *fakeSession) P {
	s.T.Helper()
	for {
		got := s.Next()
		if _, ping := got.(*packets.PingreqPacket); ping {
			continue
		}
		p, is := got.(P)
		if !is {
			s.T.Fatalf("the client sends %v, want %T", got, p)
		}
		return p
	}
}
