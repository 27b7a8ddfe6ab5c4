package mqtt5

import (
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/messages"
)

// fakeBroker is one that speaks MQTT 5.
type fakeBroker struct {
	*clienttest.FakeBroker[*packets.ControlPacket]
}

// fakeSession is one connection of a client.
type fakeSession struct {
	*clienttest.FakeSession[*packets.ControlPacket]
}

func newFakeBroker(t *testing.T) *fakeBroker {
	t.Helper()
	return &fakeBroker{clienttest.NewFakeBroker(t, packets.ReadPacket)}
}

// session is the next connection.
func (b *fakeBroker) session() *fakeSession { return &fakeSession{b.Session()} }

// open begins Open.
func open(t *testing.T, c *messages.Connection, cfg Config, change ...func(*client.Environment)) *clienttest.Opening {
	t.Helper()
	return clienttest.Open(t, Factory(cfg), c, change...)
}

// at is a connection to b.
func at(b *fakeBroker, change ...func(*messages.Connection)) *messages.Connection {
	return clienttest.ConnectionAt(messages.TypeMQTT5, b.URI(), change...)
}

var specific, sources = clienttest.Specific, clienttest.Sources

func credentials(user, password string) func(*messages.Connection) {
	return func(c *messages.Connection) { c.URI.HasUserInfo, c.URI.User, c.URI.Password = true, user, password }
}

// connected opens a transport up to its last SUBACK.
func connected(t *testing.T, b *fakeBroker, cfg Config, answer *packets.Connack, change ...func(*messages.Connection)) (*clienttest.Opening, *fakeSession) {
	t.Helper()
	c := at(b, change...)
	o := open(t, c, cfg)
	s := b.session()
	s.connect(answer)
	for _, source := range c.Sources {
		codes := make([]byte, len(source.Addresses))
		for i := range codes {
			codes[i] = byte(*source.QoS)
		}
		s.subscribe(codes...)
	}
	o.OK()
	return o, s
}

// connect takes a CONNECT in and answers.
func (s *fakeSession) connect(answer *packets.Connack) *packets.Connect {
	s.T.Helper()
	c := expect[*packets.Connect](s)
	s.send(packets.CONNACK, answer)
	return c
}

// welcome accepts a client.
func welcome(change ...func(*packets.Properties)) *packets.Connack {
	c := &packets.Connack{Properties: &packets.Properties{}}
	for _, f := range change {
		f(c.Properties)
	}
	return c
}

// subscribe takes a SUBSCRIBE in and answers it with code for each filter.
func (s *fakeSession) subscribe(code ...byte) *packets.Subscribe {
	s.T.Helper()
	p := expect[*packets.Subscribe](s)
	s.send(packets.SUBACK, &packets.Suback{PacketID: p.PacketID, Reasons: code, Properties: &packets.Properties{}})
	return p
}

func (s *fakeSession) send(kind byte, p packets.Packet) {
	s.T.Helper()
	c := packets.NewControlPacket(kind)
	c.Content = p
	if _, err := c.WriteTo(s.Conn); err != nil {
		s.T.Errorf("fake broker: %v", err)
	}
}

func (s *fakeSession) publish(topic string, qos byte, id uint16, payload string) {
	s.T.Helper()
	s.send(packets.PUBLISH, &packets.Publish{Topic: topic, QoS: qos, PacketID: id, Payload: []byte(payload), Properties: &packets.Properties{}})
}

// puback acknowledges a PUBLISH of QoS 1.
func (s *fakeSession) puback(id uint16, code byte) {
	s.T.Helper()
	s.send(packets.PUBACK, &packets.Puback{PacketID: id, ReasonCode: code, Properties: &packets.Properties{}})
}

// expect is the next packet of the client, which must be a P. Pings are passed over.
func expect[P packets.Packet](s *fakeSession) P {
	s.T.Helper()
	for {
		got := s.Next().Content
		if _, ping := got.(*packets.Pingreq); ping {
			continue
		}
		p, is := got.(P)
		if !is {
			s.T.Fatalf("the client sends %v, want %T", got, p)
		}
		return p
	}
}
