package mqtt

import (
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqttbinding"
)

// TestReconnectForRedelivery is B28: a message rejected with redelivery is not acknowledged; after the delay the client
// reconnects with its session, subscribes again, and publishes go on.
func TestReconnectForRedelivery(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a"), specific("reconnectForRedelivery", "true"), specific("reconnectForRedeliveryDelay", "1s")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	s.subscribe(1)
	o.OK()
	began := time.Now()
	s.publish("a", 1, 1, "first")
	s.publish("a", 1, 2, "second")
	old := o.Next()
	old.Settle(client.RejectRedeliver)
	second := o.Next()
	second.Settle(client.Settle) // held up behind the first
	if d := expect[*packets.DisconnectPacket](s); d == nil || time.Since(began) < time.Second {
		t.Fatalf("reconnects after %v", time.Since(began))
	}
	if e := o.Event(); !strings.HasPrefix(e, "interrupted: ") {
		t.Error(e)
	}
	waiting := o.Send(client.Outbound{Address: "b", QoS: 1, Text: "meanwhile", HasText: true})
	_ = s.Conn.Close()

	s = b.session()
	if c := s.connect(0, true); c.CleanSession || c.ClientIdentifier != "plant-7" {
		t.Errorf("%+v", c)
	}
	s.publish("a", 1, 1, "first")
	s.subscribe(1)
	if p := expect[*packets.PublishPacket](s); string(p.Payload) != "meanwhile" {
		t.Fatalf("%v", p)
	} else {
		s.ack(packets.Puback, p.MessageID)
	}
	if got := clienttest.Await(t, waiting); got.Err != nil {
		t.Errorf("%+v", got)
	}
	if e := o.Event(); e != "recovered" {
		t.Error(e)
	}
	again := o.Next()
	if string(again.Bytes) != "first" {
		t.Fatalf("%q", again.Bytes)
	}
	again.Settle(client.Settle)
	if p := expect[*packets.PubackPacket](s); p.MessageID != 1 {
		t.Errorf("%v", p)
	}
}

// TestRedeliveryFails: when the reconnect does not succeed the link is lost, and the Runner takes over.
func TestRedeliveryFails(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a"), specific("reconnectForRedelivery", "true"), specific("reconnectForRedeliveryDelay", "1s")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	s.subscribe(1)
	o.OK()
	s.publish("a", 1, 1, "x")
	o.Next().Settle(client.RejectRedeliver)
	expect[*packets.DisconnectPacket](s)
	_ = s.Conn.Close()
	b.session().connect(5, false)
	if e := o.Event(); !strings.HasPrefix(e, "interrupted: ") {
		t.Error(e)
	}
	if e := o.Event(); !strings.HasPrefix(e, "lost: ") || !strings.Contains(e, "not authorized") {
		t.Error(e)
	}
}

// TestCloseBeforeRedelivery: Close does not wait for the delay.
func TestCloseBeforeRedelivery(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a"), specific("reconnectForRedelivery", "true")), mqttbinding.Config{})
	s := b.session()
	s.connect(0, false)
	s.subscribe(1)
	o.OK()
	s.publish("a", 1, 1, "x")
	o.Next().Settle(client.RejectRedeliver)
	go func() { expect[*packets.DisconnectPacket](s); _ = s.Conn.Close() }()
	began := time.Now()
	o.Shut(5 * time.Second)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("close took %v", took)
	}
}

// TestSeparatePublisher is B29: two client ids, and a reconnect for redelivery leaves the publisher alone.
func TestSeparatePublisher(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a"), specific("separatePublisherClient", "true"), specific("reconnectForRedelivery", "true"), specific("reconnectForRedeliveryDelay", "1s")), mqttbinding.Config{})
	publisher := b.session()
	if c := publisher.connect(0, false); c.ClientIdentifier != "plant-7p" {
		t.Errorf("%v", c)
	}
	consumer := b.session()
	if c := consumer.connect(0, false); c.ClientIdentifier != "plant-7" {
		t.Errorf("%v", c)
	}
	consumer.subscribe(1)
	o.OK()
	consumer.publish("a", 1, 1, "x")
	o.Next().Settle(client.RejectRedeliver)
	expect[*packets.DisconnectPacket](consumer)
	outcome := o.Send(client.Outbound{Address: "b", QoS: 1})
	publisher.ack(packets.Puback, expect[*packets.PublishPacket](publisher).MessageID)
	if got := clienttest.Await(t, outcome); got.Err != nil {
		t.Errorf("%+v", got)
	}
	_ = consumer.Conn.Close()
	consumer = b.session()
	consumer.connect(0, true)
	consumer.subscribe(1)
	_, recovered := o.Event(), o.Event()
	if recovered != "recovered" {
		t.Error(recovered)
	}
	_ = publisher.Conn.Close() // one link lost is the whole transport lost
	if e := o.Event(); !strings.HasPrefix(e, "lost: ") {
		t.Error(e)
	}
}

// TestConnectionTest: a connection test leaves no session behind, but does not touch one that was there.
func TestConnectionTest(t *testing.T) {
	test := func(env *client.Environment) { env.Test = true }
	for name, present := range map[string]bool{"new session": false, "session was there": true} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBroker(t)
			o := open(t, at(b, sources(1, "a"), specific("lastWillTopic", "w")), mqttbinding.Config{}, test)
			s := b.session()
			if c := s.connect(0, present); c.CleanSession || c.WillFlag {
				t.Errorf("%+v", c)
			}
			s.subscribe(1)
			o.OK()
			closed := make(chan struct{})
			go func() { o.Shut(5 * time.Second); close(closed) }()
			expect[*packets.DisconnectPacket](s)
			_ = s.Conn.Close()
			if !present {
				s = b.session()
				if c := s.connect(0, false); !c.CleanSession || c.ClientIdentifier != "plant-7" {
					t.Errorf("%+v", c)
				}
				expect[*packets.DisconnectPacket](s)
				_ = s.Conn.Close()
			}
			<-closed
			if !b.Idle() {
				t.Error("it connects once more")
			}
		})
	}
}
