package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

// TestConnect: what a CONNECT carries (bindings.md 4.2).
func TestConnect(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, specific("keepAlive", "2m"), specific("lastWillTopic", "w"), specific("lastWillMessage", "gone"), specific("lastWillQos", "1"), specific("lastWillRetain", "true"),
		func(c *messages.Connection) { c.URI.HasUserInfo, c.URI.User, c.URI.Password = true, "u", "p@ss" }), mqttbinding.Config{})
	c := b.session().connect(0, false)
	o.OK()
	if c.ProtocolName != "MQTT" || c.ProtocolVersion != 4 || c.ClientIdentifier != "plant-7" || c.CleanSession || c.Keepalive != 120 || c.Username != "u" || string(c.Password) != "p@ss" ||
		!c.WillFlag || c.WillTopic != "w" || string(c.WillMessage) != "gone" || c.WillQos != 1 || !c.WillRetain {
		t.Errorf("%+v", c)
	}
}

// TestRefused: each refusal code is the user's to fix, and no text holds the password.
func TestRefused(t *testing.T) {
	for code, names := range map[byte]string{1: "3.1.1", 2: "client id", 3: "unavailable", 4: "user name or password", 5: "not authorized"} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			b := newFakeBroker(t)
			o := open(t, at(b, func(c *messages.Connection) { c.URI.HasUserInfo, c.URI.User, c.URI.Password = true, "u", "s3cret" }), mqttbinding.Config{})
			s := b.session()
			s.connect(code, false)
			err := o.Err()
			var failure *client.Failure
			if !errors.As(err, &failure) || !failure.UserIndicated || !strings.Contains(failure.Text, names) || strings.Contains(failure.Text, "s3cret") {
				t.Fatalf("%#v", err)
			}
			s.Closed()
		})
	}
}

// TestSubscribe: one SUBSCRIBE per source with all its addresses; refused filters are named (bindings.md 4.3).
func TestSubscribe(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a/#;b", "c")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	first := s.subscribe(1, 1)
	second := s.subscribe(1)
	o.OK()
	if len(first.Topics) != 2 || len(second.Topics) != 1 || second.Topics[0] != "c" || first.Qoss[0] != 1 || second.Qoss[0] != 1 {
		t.Errorf("%v, %v", first, second)
	}
	for name, codes := range map[string][]byte{"all": {0x80, 0x80}, "some": {1, 0x80}} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBroker(t)
			o := open(t, at(b, sources(1, "a/#;b")), mqttbinding.Config{})
			s := b.session()
			s.connect(0, false)
			p := s.subscribe(codes...)
			err := o.Err()
			if err == nil || !client.UserIndicated(err) || !strings.Contains(err.Error(), p.Topics[1]) {
				t.Fatalf("%v", err)
			}
			s.Closed()
		})
	}
}

// TestRefusedWhileAMessageWaits: Consume waits for Open to return, so Open must not wait for Consume, whatever it does.
func TestRefusedWhileAMessageWaits(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, true)
	s.publish("a", 1, 1, "of the old session")
	s.subscribe(0x80)
	if err := o.Err(); err == nil || !client.UserIndicated(err) {
		t.Errorf("open: %v", err)
	}
	if n := o.Dialer.Sockets(); n != 0 {
		t.Errorf("%d sockets are left after a failed open", n)
	}
}

// TestAcknowledgeInOrder: PUBACKs leave in the order of arrival, whatever the order of settling; what is for no source is
// acknowledged and discarded.
func TestAcknowledgeInOrder(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a/+")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, true)
	s.subscribe(1)
	s.publish("left/over", 1, 9, "from an old subscription of the session")
	o.OK()
	if p := expect[*packets.PubackPacket](s); p.MessageID != 9 {
		t.Fatalf("%v", p)
	}
	for id := uint16(1); id <= 3; id++ {
		s.publish("a/b", 1, id, "x")
	}
	s.publish("left/over", 1, 4, "behind them")
	first, second, third := o.Next(), o.Next(), o.Next()
	third.Settle(client.Settle)
	second.Settle(client.Reject) // acknowledged all the same
	o.Send(client.Outbound{Address: "t"})
	expect[*packets.PublishPacket](s)    // and no PUBACK before: the first one is not settled
	first.Settle(client.RejectRedeliver) // acknowledged without reconnectForRedelivery
	for id := uint16(1); id <= 4; id++ {
		if p := expect[*packets.PubackPacket](s); p.MessageID != id {
			t.Fatalf("PUBACK %d, want %d", p.MessageID, id)
		}
	}
}

// TestHeaders is the table of bindings.md 4.3.
func TestHeaders(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(2, "x", "a/+;b")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	s.subscribe(2)
	s.subscribe(2, 2)
	o.OK()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.Retain, p.MessageID, p.Payload = "a/7", 2, true, 1, []byte("caf\xe9")
	s.send(p)
	in := o.Next()
	want := messages.Headers{"mqtt.topic": "a/7", "mqtt.qos": "2", "mqtt.retain": "true"}
	if fmt.Sprint(in.Headers) != fmt.Sprint(want) || in.SourceIndex != 1 || in.Address != "a/+;b" || in.Topic != "a/7" || in.AtMostOnce ||
		string(in.Bytes) != "caf\xe9" || in.Text != "caf\uFFFD" || !in.HasText || !in.HasBytes {
		t.Errorf("%+v", in)
	}
	in.Settle(client.Settle)
	if p := expect[*packets.PubrecPacket](s); p.MessageID != 1 {
		t.Errorf("%v", p)
	}
	s.ack(packets.Pubrel, 1)
	if p := expect[*packets.PubcompPacket](s); p.MessageID != 1 {
		t.Errorf("%v", p)
	}
	s.publish("b", 0, 0, "")
	if in := o.Next(); !in.AtMostOnce || in.Headers["mqtt.qos"] != "0" || in.Headers["mqtt.retain"] != "false" {
		t.Errorf("%+v", in)
	}
}

// TestOverlappingSources: a message for two sources goes to both and is acknowledged when both have settled it.
func TestOverlappingSources(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a/#", "a/b")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	s.subscribe(1)
	s.subscribe(1)
	o.OK()
	s.publish("a/b", 1, 1, "x")
	first, second := o.Next(), o.Next()
	if first.SourceIndex != 0 || second.SourceIndex != 1 {
		t.Fatalf("sources %d, %d", first.SourceIndex, second.SourceIndex)
	}
	second.Settle(client.Settle)
	s.publish("a/c", 1, 2, "y")
	o.Next().Settle(client.Settle)
	first.Settle(client.Settle)
	for id := uint16(1); id <= 2; id++ {
		if p := expect[*packets.PubackPacket](s); p.MessageID != id {
			t.Fatalf("PUBACK %d, want %d", p.MessageID, id)
		}
	}
}

// TestPublish is the table of bindings.md 4.5.
func TestPublish(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	o.OK()
	for name, row := range map[string]struct {
		m      client.Outbound
		topic  string
		qos    byte
		retain bool
	}{
		"plain":   {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true}, "a", 1, false},
		"bytes":   {client.Outbound{Address: "a", QoS: 1, Bytes: []byte("t")}, "a", 1, false},
		"headers": {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true, Headers: messages.Headers{"mqtt.topic": "b", "mqtt.qos": "2", "mqtt.retain": "true", "other": "x"}}, "b", 2, true},
		"reply":   {client.Outbound{Address: "a", Text: "t", HasText: true, Headers: messages.Headers{"mqtt.retain": "false"}}, "a", 0, false},
		"QoS 0":   {client.Outbound{Address: "a", QoS: 1, Text: "t", HasText: true, Headers: messages.Headers{"mqtt.qos": "0"}}, "a", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			outcome := o.Send(row.m)
			p := expect[*packets.PublishPacket](s)
			if p.TopicName != row.topic || p.Qos != row.qos || p.Retain != row.retain || string(p.Payload) != "t" {
				t.Errorf("%v", p)
			}
			switch p.Qos {
			case 1:
				s.ack(packets.Puback, p.MessageID)
			case 2:
				s.ack(packets.Puback, p.MessageID) // not what QoS 2 waits for
				s.ack(packets.Pubrec, p.MessageID)
				if rel := expect[*packets.PubrelPacket](s); rel.MessageID != p.MessageID {
					t.Errorf("%v", rel)
				}
				s.ack(packets.Pubcomp, p.MessageID)
			}
			if got := clienttest.Await(t, outcome); got.Err != nil || got.Status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
	for name, m := range map[string]client.Outbound{
		"QoS 7":        {Address: "a", Headers: messages.Headers{"mqtt.qos": "7"}},
		"QoS text":     {Address: "a", Headers: messages.Headers{"mqtt.qos": "one"}},
		"empty QoS":    {Address: "a", Headers: messages.Headers{"mqtt.qos": ""}},
		"retain":       {Address: "a", Headers: messages.Headers{"mqtt.retain": "yes"}},
		"wildcard":     {Address: "a/#"},
		"no topic":     {Address: ""},
		"header topic": {Address: "a", Headers: messages.Headers{"mqtt.topic": "b/+"}},
	} {
		if got := clienttest.Await(t, o.Send(m)); got.Status != 400 || got.Err == nil {
			t.Errorf("%s: %+v, want 400", name, got)
		}
	}
	s.ack(packets.Puback, 4711) // of nothing: ignored
	outcome := o.Send(client.Outbound{Address: "a", QoS: 1})
	s.ack(packets.Puback, expect[*packets.PublishPacket](s).MessageID)
	if got := clienttest.Await(t, outcome); got.Err != nil {
		t.Errorf("still usable: %+v", got)
	}
}

// TestPublishOutcomes: the link breaks, we close, the queue is full.
func TestPublishOutcomes(t *testing.T) {
	b := newFakeBroker(t)
	broken := open(t, at(b), mqttbinding.Config{MaxQueueSize: 2})
	s := b.session()
	s.connect(0, false)
	broken.OK()
	first, second := broken.Send(client.Outbound{Address: "a", QoS: 1}), broken.Send(client.Outbound{Address: "a", QoS: 2})
	if got := clienttest.Await(t, broken.Send(client.Outbound{Address: "a", QoS: 1})); got.Status != 503 || got.Err == nil || errors.Is(got.Err, client.ErrClosed) {
		t.Errorf("full queue: %+v", got)
	}
	_ = s.Conn.Close()
	for _, outcome := range []chan client.Outcome{first, second} {
		if got := clienttest.Await(t, outcome); got.Status != 503 || got.Err == nil || errors.Is(got.Err, client.ErrClosed) {
			t.Errorf("broken link: %+v", got)
		}
	}
	if e := broken.Event(); !strings.HasPrefix(e, "lost: ") {
		t.Error(e)
	}

	closing := open(t, at(b), mqttbinding.Config{})
	s = b.session()
	s.connect(0, false)
	closing.OK()
	outcome := closing.Send(client.Outbound{Address: "a", QoS: 1})
	closing.Shut(5 * time.Second)
	if got := clienttest.Await(t, outcome); got.Status != 503 || !errors.Is(got.Err, client.ErrClosed) {
		t.Errorf("closed: %+v", got)
	}
}

// TestCloseDrains: publishes without outcome get a moment before the DISCONNECT.
func TestCloseDrains(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	o.OK()
	outcome := o.Send(client.Outbound{Address: "a", QoS: 1})
	p := expect[*packets.PublishPacket](s)
	closed := make(chan struct{})
	go func() { o.Shut(5 * time.Second); close(closed) }()
	s.ack(packets.Puback, p.MessageID)
	expect[*packets.DisconnectPacket](s)
	_ = s.Conn.Close()
	<-closed
	if got := clienttest.Await(t, outcome); got.Err != nil {
		t.Errorf("%+v", got)
	}
}

// TestTooManyMessages: a broker that ignores the limit of unacknowledged messages is cut off, the queue has an end.
func TestTooManyMessages(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	s.subscribe(1)
	o.OK()
	go func() {
		for range o.Received { //nolint:revive // consumed, never settled
		}
	}()
	defer close(o.Received)
	var flood []byte
	for range 100 {
		flood = append(flood, "\x32\x05\x00\x01a\x00\x01"...)
	}
	for range 65535/100 + 2 {
		if _, err := s.Conn.Write(flood); err != nil {
			break
		}
	}
	if e := o.Event(); !strings.HasPrefix(e, "lost: ") {
		t.Error(e)
	}
	o.Shut(5 * time.Second)
}

// TestDropped: of QoS 0 messages that a blocked consumer leaves lying 1000 are kept, more are dropped, and reported.
func TestDropped(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(0, "a")), mqttbinding.Config{})
	o.Received = make(chan *client.Inbound) // nobody takes anything
	s := b.session()
	s.connect(0, false)
	s.subscribe(0)
	o.OK()
	for range 1010 {
		s.publish("a", 0, 0, "x")
	}
	if e := o.Event(); e != "dropped: a" {
		t.Error(e)
	}
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for range o.Received { //nolint:revive // lets Consume end
		}
	}()
	o.Shut(5 * time.Second)
	close(o.Received)
	<-taken
}
