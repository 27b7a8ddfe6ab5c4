package mqtt5

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

// TestConnect: what a CONNECT carries (bindings.md 4.2).
func TestConnect(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, specific("keepAlive", "2m"), specific("lastWillTopic", "w"), specific("lastWillMessage", "gone"), specific("lastWillQos", "1"), specific("lastWillRetain", "true"),
		credentials("u", "p@ss")), Config{})
	c := b.session().connect(welcome())
	o.OK()
	if c.ProtocolName != "MQTT" || c.ProtocolVersion != 5 || c.ClientID != "plant-7" || c.CleanStart || c.KeepAlive != 120 ||
		!c.UsernameFlag || c.Username != "u" || !c.PasswordFlag || string(c.Password) != "p@ss" ||
		!c.WillFlag || c.WillTopic != "w" || string(c.WillMessage) != "gone" || c.WillQOS != 1 || !c.WillRetain {
		t.Errorf("%+v", c)
	}
	if p := c.Properties; *p.SessionExpiryInterval != 60 || *p.ReceiveMaximum != 65535 || *p.MaximumPacketSize != 64<<20 {
		t.Errorf("%v", p)
	}

	o = open(t, at(b, specific("cleanSession", "true")), Config{Config: mqttbinding.Config{MaxPacketSize: 1000}, SessionExpiry: time.Hour, ReceiveMaximum: 10})
	c = b.session().connect(welcome())
	o.OK()
	if p := c.Properties; !c.CleanStart || c.UsernameFlag || c.PasswordFlag || c.WillFlag || c.KeepAlive != 60 ||
		*p.SessionExpiryInterval != 3600 || *p.ReceiveMaximum != 10 || *p.MaximumPacketSize != 1000 {
		t.Errorf("%+v", c)
	}
}

// TestRefused: each refusal is the user's to fix, no text holds the password, and the broker's own words are told.
func TestRefused(t *testing.T) {
	for code, names := range map[byte]string{0x84: "MQTT 5", 0x85: "client id", 0x86: "user name or password", 0x87: "not authorized", 0x89: "busy", 0xfe: "0xfe"} {
		t.Run(names, func(t *testing.T) {
			b := newFakeBroker(t)
			o := open(t, at(b, credentials("u", "s3cret")), Config{})
			s := b.session()
			answer := welcome(func(p *packets.Properties) { p.ReasonString = "come later" })
			answer.ReasonCode = code
			s.connect(answer)
			err := o.Err()
			var failure *client.Failure
			if !errors.As(err, &failure) || !failure.UserIndicated || !strings.Contains(failure.Text, names) || !strings.Contains(failure.Text, "come later") || strings.Contains(failure.Text, "s3cret") {
				t.Fatalf("%#v", err)
			}
			s.Closed()
			if n := o.Dialer.Sockets(); n != 0 {
				t.Errorf("%d sockets are left", n)
			}
		})
	}
}

// TestSubscribe: one SUBSCRIBE per source with all its addresses; refused filters are named (bindings.md 4.3).
func TestSubscribe(t *testing.T) {
	b := newFakeBroker(t)
	o := open(t, at(b, sources(1, "a/#;b", "$share/g/c")), Config{})
	s := b.session()
	s.connect(welcome())
	first := s.subscribe(1, 0) // less than asked for is no failure
	second := s.subscribe(1)
	o.OK()
	if len(first.Subscriptions) != 2 || len(second.Subscriptions) != 1 || second.Subscriptions[0] != (packets.SubOptions{Topic: "$share/g/c", QoS: 1}) || first.PacketID == second.PacketID {
		t.Errorf("%v, %v", first, second)
	}
	for name, codes := range map[string][]byte{"all": {0x87, 0x87}, "some": {1, 0x87}} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBroker(t)
			o := open(t, at(b, sources(1, "a/#;b")), Config{})
			s := b.session()
			s.connect(welcome())
			s.subscribe(codes...)
			err := o.Err()
			if err == nil || !client.UserIndicated(err) || !strings.Contains(err.Error(), "b (not authorized)") || strings.Contains(err.Error(), "a/#") != (name == "all") {
				t.Fatalf("%v", err)
			}
			s.Closed()
		})
	}
}

// TestAcknowledgeInOrder: PUBACKs leave in the order of arrival, whatever the order of settling; what is for no source is
// acknowledged and discarded.
func TestAcknowledgeInOrder(t *testing.T) {
	o, s := connected(t, newFakeBroker(t), Config{}, welcome(), sources(1, "a/+"))
	s.publish("left/over", 1, 9, "from an old subscription of the session")
	if p := expect[*packets.Puback](s); p.PacketID != 9 || p.ReasonCode != 0 {
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
	expect[*packets.Publish](s)          // and no PUBACK before: the first one is not settled
	first.Settle(client.RejectRedeliver) // acknowledged without reconnectForRedelivery
	for id := uint16(1); id <= 4; id++ {
		if p := expect[*packets.Puback](s); p.PacketID != id {
			t.Fatalf("PUBACK %d, want %d", p.PacketID, id)
		}
	}
	s.publish("a/b", 2, 5, "exactly once")
	o.Next().Settle(client.Settle)
	if p := expect[*packets.Pubrec](s); p.PacketID != 5 {
		t.Errorf("%v", p)
	}
	s.send(packets.PUBREL, &packets.Pubrel{PacketID: 5, Properties: &packets.Properties{}})
	if p := expect[*packets.Pubcomp](s); p.PacketID != 5 {
		t.Errorf("%v", p)
	}
}

// TestReconnectForRedelivery is B28: the session is resumed, the message comes again, publishes wait meanwhile.
func TestReconnectForRedelivery(t *testing.T) {
	b := newFakeBroker(t)
	o, s := connected(t, b, Config{}, welcome(), sources(1, "a"), specific("reconnectForRedelivery", "true"), specific("reconnectForRedeliveryDelay", "1s"))
	s.publish("a", 1, 1, "x")
	o.Next().Settle(client.RejectRedeliver)
	if d := expect[*packets.Disconnect](s); d.ReasonCode != 0 || d.Properties.SessionExpiryInterval != nil {
		t.Errorf("%v", d)
	}
	if e := o.Event(); !strings.HasPrefix(e, "interrupted: ") {
		t.Error(e)
	}
	waiting := o.Send(client.Outbound{Address: "b", QoS: 1})
	_ = s.Conn.Close()
	s = b.session()
	resumed := welcome()
	resumed.SessionPresent = true
	if c := s.connect(resumed); c.CleanStart || c.ClientID != "plant-7" {
		t.Errorf("%v", c)
	}
	s.publish("a", 1, 1, "x")
	s.subscribe(1)
	s.puback(expect[*packets.Publish](s).PacketID, 0)
	if got := clienttest.Await(t, waiting); got.Err != nil {
		t.Errorf("%+v", got)
	}
	if e := o.Event(); e != "recovered" {
		t.Error(e)
	}
	o.Next().Settle(client.Settle)
	if p := expect[*packets.Puback](s); p.PacketID != 1 {
		t.Errorf("%v", p)
	}
}

// TestReceiveMaximum: the broker gets no more publishes than it takes without acknowledgement; the others follow in order,
// those of QoS 0 too, and the queue has its bound.
func TestReceiveMaximum(t *testing.T) {
	two := func(p *packets.Properties) { n := uint16(2); p.ReceiveMaximum = &n }
	o, s := connected(t, newFakeBroker(t), Config{Config: mqttbinding.Config{MaxQueueSize: 6}}, welcome(two), sources(1, "a"))
	var outcomes []chan client.Outcome
	for i, qos := range []int{1, 2, 1, 0, 2, 1} {
		outcomes = append(outcomes, o.Send(client.Outbound{Address: "t", QoS: qos, Bytes: []byte{byte('0' + i)}}))
	}
	if got := clienttest.Await(t, o.Send(client.Outbound{Address: "t", QoS: 1})); got.Status != 503 || got.Err == nil {
		t.Errorf("beyond the queue: %+v", got)
	}
	next := func(payload string) uint16 {
		t.Helper()
		p := expect[*packets.Publish](s)
		if string(p.Payload) != payload {
			t.Fatalf("PUBLISH %q, want %q", p.Payload, payload)
		}
		return p.PacketID
	}
	quiet := func() { // what a client has sent before the acknowledgement of a message would be here
		t.Helper()
		s.publish("a", 1, 77, "probe")
		o.Next().Settle(client.Settle)
		if p := expect[*packets.Puback](s); p.PacketID != 77 {
			t.Fatalf("%v", p)
		}
	}
	first, second := next("0"), next("1")
	quiet()
	s.puback(first, 0)
	third := next("2")
	next("3") // QoS 0 takes no place
	quiet()
	s.send(packets.PUBREC, &packets.Pubrec{PacketID: second, ReasonCode: 0x97, Properties: &packets.Properties{}}) // refused: the place is free
	fifth := next("4")
	quiet()
	s.puback(third, 0)
	s.puback(next("5"), 0)
	s.send(packets.PUBREC, &packets.Pubrec{PacketID: fifth, Properties: &packets.Properties{}})
	if p := expect[*packets.Pubrel](s); p.PacketID != fifth {
		t.Errorf("%v", p)
	}
	s.send(packets.PUBCOMP, &packets.Pubcomp{PacketID: fifth, Properties: &packets.Properties{}})
	for i, outcome := range outcomes {
		want := 200
		if i == 1 {
			want = 503
		}
		if got := clienttest.Await(t, outcome); got.Status != want {
			t.Errorf("publish %d: %+v, want %d", i, got, want)
		}
	}
}

// TestWaitingFails: publishes that wait for the broker's receive maximum fail with the link, too.
func TestWaitingFails(t *testing.T) {
	one := func(p *packets.Properties) { n := uint16(1); p.ReceiveMaximum = &n }
	o, s := connected(t, newFakeBroker(t), Config{}, welcome(one))
	outcomes := []chan client.Outcome{
		o.Send(client.Outbound{Address: "t", QoS: 1}), o.Send(client.Outbound{Address: "t", QoS: 1}), o.Send(client.Outbound{Address: "t"}),
	}
	expect[*packets.Publish](s)
	_ = s.Conn.Close()
	for _, outcome := range outcomes {
		if got := clienttest.Await(t, outcome); got.Status != 503 || got.Err == nil || errors.Is(got.Err, client.ErrClosed) {
			t.Errorf("%+v", got)
		}
	}
	if e := o.Event(); !strings.HasPrefix(e, "lost: ") {
		t.Error(e)
	}
}

// TestRefusedPublish: a failure code in the acknowledgement is the outcome; the link goes on.
func TestRefusedPublish(t *testing.T) {
	o, s := connected(t, newFakeBroker(t), Config{}, welcome())
	for code, want := range map[byte]int{0: 200, 0x10: 200, 0x87: 503, 0x97: 503} {
		outcome := o.Send(client.Outbound{Address: "t", QoS: 1})
		s.puback(expect[*packets.Publish](s).PacketID, code)
		if got := clienttest.Await(t, outcome); got.Status != want || (got.Err == nil) != (want == 200) {
			t.Errorf("code 0x%02x: %+v", code, got)
		}
	}
}

// TestBrokerLimits: what the broker said it does not take is refused here, and the link stays.
func TestBrokerLimits(t *testing.T) {
	o, s := connected(t, newFakeBroker(t), Config{}, welcome(func(p *packets.Properties) {
		qos, retain, size := byte(1), byte(0), uint32(200)
		p.MaximumQOS, p.RetainAvailable, p.MaximumPacketSize = &qos, &retain, &size
	}))
	for name, m := range map[string]client.Outbound{
		"QoS":    {Address: "t", QoS: 2},
		"retain": {Address: "t", QoS: 1, Headers: messages.Headers{"mqtt.retain": "true"}},
		"size":   {Address: "t", QoS: 1, Bytes: make([]byte, 200)},
	} {
		if got := clienttest.Await(t, o.Send(m)); got.Status != 503 || got.Err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	outcome := o.Send(client.Outbound{Address: "t", QoS: 1})
	s.puback(expect[*packets.Publish](s).PacketID, 0)
	if got := clienttest.Await(t, outcome); got.Err != nil {
		t.Errorf("still usable: %+v", got)
	}
}

// TestTakesNothing: a broker that allows no message at all breaks the protocol.
func TestTakesNothing(t *testing.T) {
	b := newFakeBroker(t)
	for name, change := range map[string]func(*packets.Properties){
		"receive maximum":     func(p *packets.Properties) { n := uint16(0); p.ReceiveMaximum = &n },
		"maximum packet size": func(p *packets.Properties) { n := uint32(0); p.MaximumPacketSize = &n },
	} {
		o := open(t, at(b), Config{})
		b.session().connect(welcome(change))
		if err := o.Err(); err == nil || !strings.Contains(err.Error(), name+" 0") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServerDisconnect: the broker's reason is told, and it is one of the user's (runtime.md 11).
func TestServerDisconnect(t *testing.T) {
	b := newFakeBroker(t)
	for code, names := range map[byte]string{0x8e: "same client id", 0x98: "administrative action", 0x8b: "shutting down", 0: "normal"} {
		o, s := connected(t, b, Config{}, welcome(), sources(1, "a"))
		outcome := o.Send(client.Outbound{Address: "t", QoS: 1})
		expect[*packets.Publish](s)
		s.send(packets.DISCONNECT, &packets.Disconnect{ReasonCode: code, Properties: &packets.Properties{ReasonString: "because"}})
		if e := o.Event(); !strings.HasPrefix(e, "lost: ") || !strings.Contains(e, names) || !strings.Contains(e, "because") {
			t.Error(e)
		}
		if got := clienttest.Await(t, outcome); got.Status != 503 || !client.UserIndicated(got.Err) {
			t.Errorf("%+v", got)
		}
		s.Closed()
	}
}

// TestKeepAlive: the broker's own keep-alive counts; one that does not answer pings is given up.
func TestKeepAlive(t *testing.T) {
	second := func(p *packets.Properties) { n := uint16(1); p.ServerKeepAlive = &n }
	o, s := connected(t, newFakeBroker(t), Config{}, welcome(second), specific("keepAlive", "30"))
	if p, ok := s.Next().Content.(*packets.Pingreq); !ok {
		t.Fatalf("%v", p)
	}
	s.send(packets.PINGRESP, &packets.Pingresp{})
	if p, ok := s.Next().Content.(*packets.Pingreq); !ok {
		t.Fatalf("%v", p)
	}
	if e := o.Event(); !strings.HasPrefix(e, "lost: ") || !strings.Contains(e, errSilent.Error()) {
		t.Error(e)
	}
}

// TestConnectionTest: a connection test leaves no session behind, but does not touch one that was there.
func TestConnectionTest(t *testing.T) {
	for name, present := range map[string]bool{"new session": false, "session was there": true} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBroker(t)
			o := open(t, at(b, sources(1, "a"), specific("lastWillTopic", "w")), Config{}, func(env *client.Environment) { env.Test = true })
			s := b.session()
			answer := welcome()
			answer.SessionPresent = present
			if c := s.connect(answer); c.CleanStart || c.WillFlag {
				t.Errorf("%+v", c)
			}
			s.subscribe(1)
			o.OK()
			closed := make(chan struct{})
			go func() { o.Shut(5 * time.Second); close(closed) }()
			expect[*packets.Disconnect](s)
			_ = s.Conn.Close()
			if !present {
				s = b.session()
				if c := s.connect(welcome()); !c.CleanStart || c.ClientID != "plant-7" || *c.Properties.SessionExpiryInterval != 0 {
					t.Errorf("%+v", c)
				}
				expect[*packets.Disconnect](s)
				_ = s.Conn.Close()
			}
			<-closed
			if !b.Idle() {
				t.Error("it connects once more")
			}
		})
	}
}
