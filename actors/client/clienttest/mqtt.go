package clienttest

import (
	"strings"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

// ExerciseMQTT runs what bindings.md 4 asks of both versions of MQTT and only a real broker can show.
func ExerciseMQTT(t *testing.T, typ messages.ConnectionType, factory client.Factory) {
	s := &mqttSuite{typ, factory}
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *mqttSuite)
	}{
		{"TLS", mqttTLS},
		{"password", mqttPassword},
		{"last will", mqttLastWill},
		{"retained message", mqttRetained},
		{"refused subscriptions", mqttRefusedSubscriptions},
		{"left over from another subscription", mqttLeftOver},
		{"two clients", mqttTwoClients},
		{"separate publisher", mqttSeparatePublisher},
		{"reconnect for redelivery", mqttRedelivery},
		{"a session that was away", mqttAway},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

// MQTTConnection is a connection with one source for each of addresses that is not "", of several addresses if they are
// joined by ";".
func MQTTConnection(t testing.TB, typ messages.ConnectionType, uri, id string, qos int, addresses ...string) *messages.Connection {
	t.Helper()
	u, err := messages.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	c := &messages.Connection{
		ID: id, Type: typ, Status: messages.StatusOpen, URI: u, ClientCount: 1, ValidateCertificates: true, SpecificConfig: map[string]string{},
	}
	for _, a := range addresses {
		if a != "" {
			c.Sources = append(c.Sources, messages.Source{Addresses: strings.Split(a, ";"), ConsumerCount: 1, QoS: &qos})
		}
	}
	return c
}

// mqttSuite is one run of ExerciseMQTT.
type mqttSuite struct {
	typ     messages.ConnectionType
	factory client.Factory
}

// dial opens a transport; the end of the test closes it and looks for sockets.
func (s *mqttSuite) dial(t *testing.T, c *messages.Connection, change ...func(*client.Environment)) (*Opening, error) {
	t.Helper()
	o := Open(t, s.factory, c, change...)
	t.Cleanup(func() {
		o.Shut(5 * time.Second)
		if n := o.Dialer.Sockets(); n > 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
	return o, o.Err()
}

// open is dial, which must succeed.
func (s *mqttSuite) open(t *testing.T, c *messages.Connection, change ...func(*client.Environment)) *Opening {
	t.Helper()
	o, err := s.dial(t, c, change...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return o
}

// delivered publishes, which must succeed.
func (o *Opening) delivered(m client.Outbound) {
	o.t.Helper()
	if got := Await(o.t, o.Send(m)); got.Err != nil {
		o.t.Fatalf("publish: %v", got.Err)
	}
}

// expect is the next message, which must have the text.
func (o *Opening) expect(text string) *client.Inbound {
	o.t.Helper()
	in := o.Next()
	if in.Text != text {
		o.t.Fatalf("message %q, want %q", in.Text, text)
	}
	return in
}

func text(address, text string) client.Outbound {
	return client.Outbound{Address: address, QoS: 1, Text: text, HasText: true}
}

// mqttTLS is rows B3 and B4 and bindings.md 1.4, against a real broker.
func mqttTLS(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{TLS: true})
	strict := Mosquitto(t, MosquittoOptions{TLS: true, ClientCert: true})
	cert, key := strict.ClientCertificate()
	foreignCert, foreignKey := b.ClientCertificate()
	for name, row := range map[string]struct {
		uri    string
		change func(*messages.Connection)
		ok     bool
	}{
		"right ca":       {b.URI(), func(c *messages.Connection) { c.CA = b.CA() }, true},
		"by name":        {strings.Replace(b.URI(), "127.0.0.1", "localhost", 1), func(c *messages.Connection) { c.CA = b.CA() }, true},
		"name not in it": {strings.Replace(b.URI(), "127.0.0.1", "127.0.0.2", 1), func(c *messages.Connection) { c.CA = b.CA() }, false},
		"system roots":   {b.URI(), func(*messages.Connection) {}, false},
		"other ca":       {b.URI(), func(c *messages.Connection) { c.CA = strict.CA() }, false},
		"no validation":  {b.URI(), func(c *messages.Connection) { c.ValidateCertificates = false }, true},
		"plain to TLS":   {strings.Replace(b.URI(), "ssl", "tcp", 1), func(*messages.Connection) {}, false},
		"certificate":    {strict.URI(), withCertificate(strict.CA(), cert, key), true},
		"no certificate": {strict.URI(), func(c *messages.Connection) { c.CA = strict.CA() }, false},
		"foreign":        {strict.URI(), withCertificate(strict.CA(), foreignCert, foreignKey), false},
		"key without cert": {strict.URI(), func(c *messages.Connection) {
			c.CA, c.Credentials = strict.CA(), &messages.Credentials{Type: "client-cert", Key: &key}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := MQTTConnection(t, s.typ, row.uri, "tls", 1, "a")
			row.change(c)
			o, err := s.dial(t, c)
			switch {
			case row.ok && err != nil:
				t.Fatal(err)
			case row.ok:
				o.delivered(text("a", "secure"))
				o.expect("secure").Settle(client.Settle)
			case err == nil:
				t.Fatal("it connects")
			case name != "plain to TLS" && name != "name not in it" && !client.UserIndicated(err):
				t.Errorf("%v does not show as misconfigured", err)
			}
		})
	}
}

func withCertificate(ca, cert, key string) func(*messages.Connection) {
	return func(c *messages.Connection) {
		c.CA, c.Credentials = ca, &messages.Credentials{Type: "client-cert", Cert: &cert, Key: &key}
	}
}

// mqttPassword: a wrong password shows as misconfigured and is not repeated.
func mqttPassword(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{User: "box", Password: "right-pass:wörd"})
	for name, row := range map[string]struct {
		userInfo string
		ok       bool
	}{"right": {"box:right-pass:w%C3%B6rd@", true}, "wrong": {"box:wrong-password@", false}, "none": {"", false}} {
		t.Run(name, func(t *testing.T) {
			c := MQTTConnection(t, s.typ, strings.Replace(b.URI(), "://", "://"+row.userInfo, 1), "password", 1)
			_, err := s.dial(t, c)
			if (err == nil) != row.ok {
				t.Fatal(err)
			}
			if !row.ok && (!client.UserIndicated(err) || strings.Contains(err.Error(), "wrong-password")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// mqttLastWill is B30: the broker publishes the will when the client is cut off, not when it disconnects.
func mqttLastWill(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{})
	witness := s.open(t, MQTTConnection(t, s.typ, b.URI(), "witness", 1, "will"))
	testator := func(id string) *Opening {
		c := MQTTConnection(t, s.typ, b.URI(), id, 1)
		c.SpecificConfig = map[string]string{"lastWillTopic": "will", "lastWillQos": "1", "lastWillMessage": id}
		return s.open(t, c)
	}
	testator("orderly").Shut(5 * time.Second)
	testator("cut off").Dialer.CloseAll()
	witness.expect("cut off")
}

// mqttRetained is B31: a header makes the broker keep the message for later subscribers.
func mqttRetained(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{})
	publisher := s.open(t, MQTTConnection(t, s.typ, b.URI(), "publisher", 1))
	publisher.delivered(client.Outbound{Address: "kept", QoS: 2, Text: "kept", HasText: true, Headers: messages.Headers{"mqtt.retain": "true"}})
	subscriber := s.open(t, MQTTConnection(t, s.typ, b.URI(), "subscriber", 2, "kept"))
	if m := subscriber.expect("kept"); m.Headers["mqtt.retain"] != "true" || m.Headers["mqtt.qos"] != "2" || !m.Settle(client.Settle) {
		t.Errorf("%+v", m)
	}
}

// mqttRefusedSubscriptions: the broker's access rules forbid filters; the failure names them (bindings.md 4.3).
func mqttRefusedSubscriptions(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{Subscribe: "allowed/#"})
	for name, row := range map[string]struct{ source, refused, granted string }{
		"some": {"allowed/a;forbidden/b;allowed/c", "forbidden/b", "allowed/"},
		"all":  {"forbidden/a;forbidden/b", "forbidden/b", "allowed/"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := s.dial(t, MQTTConnection(t, s.typ, b.URI(), name, 1, row.source))
			if err == nil || !client.UserIndicated(err) || !strings.Contains(err.Error(), row.refused) || strings.Contains(err.Error(), row.granted) {
				t.Errorf("open: %v", err)
			}
			if n := o.Dialer.Sockets(); n > 0 {
				t.Errorf("%d sockets are left after a failed open", n)
			}
		})
	}
}

// mqttLeftOver: what the session still gets for a filter that is no longer configured is acknowledged and discarded. Were
// it not, it would hold up the acknowledgement of what comes after it.
func mqttLeftOver(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{})
	s.open(t, MQTTConnection(t, s.typ, b.URI(), "changing", 1, "old")).Shut(5 * time.Second)
	publisher := s.open(t, MQTTConnection(t, s.typ, b.URI(), "publisher", 1))
	publisher.delivered(text("old", "nobody's"))
	changed := MQTTConnection(t, s.typ, b.URI(), "changing", 1, "new")
	o := s.open(t, changed)
	publisher.delivered(text("new", "wanted"))
	o.expect("wanted").Settle(client.Settle)
	o.Shut(5 * time.Second)
	publisher.delivered(text("new", "next"))
	s.open(t, changed).expect("next").Settle(client.Settle)
}

// mqttTwoClients is B25 and decision O18: the broker-visible ids differ and stay the same, so that each client has its
// session back.
func mqttTwoClients(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{})
	c := MQTTConnection(t, s.typ, b.URI(), "twins", 1, "$share/twins/a")
	c.ClientCount = 2
	client0 := func(e *client.Environment) { e.Index = 0 }
	client1 := func(e *client.Environment) { e.Index = 1 }
	first, second := s.open(t, c, client0), s.open(t, c, client1)
	publisher := s.open(t, MQTTConnection(t, s.typ, b.URI(), "publisher", 1))
	for range 10 {
		publisher.delivered(text("a", "x"))
	}
	for range 5 { // the broker takes turns
		first.expect("x").Settle(client.Settle)
		second.expect("x")
	}
	for _, index := range []int{0, 1} {
		if id := " as twins" + client.Suffix(c, index) + " "; !strings.Contains(b.Log(), id) {
			t.Errorf("no client connected%s", id)
		}
	}
	second.Shut(5 * time.Second)
	again := s.open(t, c, client1)
	for range 5 {
		again.expect("x").Settle(client.Settle)
	}
}

// mqttSeparatePublisher is B29.
func mqttSeparatePublisher(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{})
	for name, row := range map[string]struct{ publisher, id string }{"default": {"", "defaultp"}, "chosen": {"out", "out"}} {
		t.Run(name, func(t *testing.T) {
			c := MQTTConnection(t, s.typ, b.URI(), name, 1, name)
			c.SpecificConfig["separatePublisherClient"] = "true"
			if row.publisher != "" {
				c.SpecificConfig["publisherId"] = row.publisher
			}
			o := s.open(t, c)
			if n := o.Dialer.Sockets(); n != 2 {
				t.Errorf("%d sockets, want 2", n)
			}
			o.delivered(text(name, "x"))
			o.expect("x").Settle(client.Settle)
			for _, id := range []string{name, row.id} {
				if !strings.Contains(b.Log(), " as "+id+" ") {
					t.Errorf("no client connected as %s", id)
				}
			}
		})
	}
}

// mqttRedelivery is B27 and B28.
func mqttRedelivery(t *testing.T, s *mqttSuite) {
	b := Mosquitto(t, MosquittoOptions{})
	for _, reconnect := range []string{"false", "true"} {
		t.Run(reconnect, func(t *testing.T) {
			c := MQTTConnection(t, s.typ, b.URI(), "again "+reconnect, 1, reconnect)
			c.SpecificConfig["reconnectForRedelivery"], c.SpecificConfig["reconnectForRedeliveryDelay"] = reconnect, "1s"
			o := s.open(t, c)
			o.delivered(text(reconnect, "rejected"))
			o.expect("rejected").Settle(client.RejectRedeliver)
			if reconnect == "true" {
				o.expect("rejected").Settle(client.Settle)
				if interrupted, recovered := o.Event(), o.Event(); !strings.HasPrefix(interrupted, "interrupted: ") || recovered != "recovered" {
					t.Errorf("%s, %s", interrupted, recovered)
				}
			}
			o.delivered(text(reconnect, "next"))
			o.expect("next").Settle(client.Settle)
		})
	}
}

// mqttAway is what the black-box tests rely on. A session that is away gets everything, in spite of a kill of the broker.
func mqttAway(t *testing.T, s *mqttSuite) {
	const n = 3000
	b := Mosquitto(t, MosquittoOptions{})
	s.open(t, MQTTConnection(t, s.typ, b.URI(), "away", 1, "a")).Shut(5 * time.Second)
	publisher := s.open(t, MQTTConnection(t, s.typ, b.URI(), "publisher", 1))
	free := make(chan client.Outcome, 500)
	take := func() {
		if o := <-free; o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	for k := range n {
		if k >= cap(free) {
			take()
		}
		publisher.Publish(text("a", "x"), func(o client.Outcome) { free <- o })
	}
	for range cap(free) {
		take()
	}
	b.Kill()
	b.Restart()
	away := s.open(t, MQTTConnection(t, s.typ, b.URI(), "away", 1, "a"))
	for range n {
		away.expect("x").Settle(client.Settle)
	}
}
