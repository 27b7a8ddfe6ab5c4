package mqtt_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqtt"
	"hawser/messages"
)

// inbox is a handler that keeps messages; what else it is told does not matter here.
type inbox chan *client.Inbound

func (i inbox) Consume(in *client.Inbound)             { i <- in }
func (inbox) Dropped(string)                           {}
func (inbox) Lost(error)                               {}
func (inbox) Interrupted(error)                        {}
func (inbox) Recovered()                               {}
func (inbox) ResourceStatus(_ messages.ResourceStatus) {}

// dial opens a transport; the test's end closes it.
func dial(t *testing.T, c *messages.Connection) (client.Transport, inbox, *client.Dialer, error) {
	t.Helper()
	in, d := make(inbox, 100), client.NewDialer(client.HostRules{})
	transport, err := mqtt.Factory(mqtt.Config{})(c, client.Environment{Dial: d.Dial}, in)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = transport.Open(ctx)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = transport.Close(ctx)
		if n := d.Sockets(); n > 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
	return transport, in, d, err
}

func (i inbox) next(t *testing.T) *client.Inbound {
	t.Helper()
	select {
	case in := <-i:
		return in
	case <-time.After(20 * time.Second):
		t.Fatal("no message")
		return nil
	}
}

func publish(t *testing.T, transport client.Transport, m client.Outbound) {
	t.Helper()
	outcome := make(chan client.Outcome, 1)
	transport.Publish(m, func(o client.Outcome) { outcome <- o })
	select {
	case o := <-outcome:
		if o.Err != nil {
			t.Fatalf("publish: %v", o.Err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no outcome")
	}
}

// TestTLS is rows B3 and B4 and bindings.md 1.4, against a real broker.
func TestTLS(t *testing.T) {
	b := clienttest.Mosquitto(t, clienttest.MosquittoOptions{TLS: true})
	strict := clienttest.Mosquitto(t, clienttest.MosquittoOptions{TLS: true, ClientCert: true})
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
			c := connection(t, row.uri, "tls", 1, "a")
			row.change(c)
			transport, in, _, err := dial(t, c)
			switch {
			case row.ok && err != nil:
				t.Fatal(err)
			case row.ok:
				publish(t, transport, client.Outbound{Address: "a", QoS: 1, Text: "secure", HasText: true})
				if m := in.next(t); m.Text != "secure" || !m.Settle(client.Settle) {
					t.Errorf("%+v", m)
				}
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

// TestPassword: a wrong password shows as misconfigured and is not repeated.
func TestPassword(t *testing.T) {
	b := clienttest.Mosquitto(t, clienttest.MosquittoOptions{User: "box", Password: "right-pass:wörd"})
	for name, row := range map[string]struct {
		userInfo string
		ok       bool
	}{"right": {"box:right-pass:w%C3%B6rd@", true}, "wrong": {"box:wrong-password@", false}, "none": {"", false}} {
		t.Run(name, func(t *testing.T) {
			c := connection(t, strings.Replace(b.URI(), "://", "://"+row.userInfo, 1), "password", 1)
			_, _, _, err := dial(t, c)
			if (err == nil) != row.ok {
				t.Fatal(err)
			}
			if !row.ok && (!client.UserIndicated(err) || strings.Contains(err.Error(), "wrong-password")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestLastWill is B30: the broker publishes the will when the client is cut off, not when it disconnects.
func TestLastWill(t *testing.T) {
	b := clienttest.Mosquitto(t, clienttest.MosquittoOptions{})
	_, in, _, err := dial(t, connection(t, b.URI(), "witness", 1, "will"))
	if err != nil {
		t.Fatal(err)
	}
	testator := func(id string) (client.Transport, *client.Dialer) {
		c := connection(t, b.URI(), id, 1)
		c.SpecificConfig = map[string]string{"lastWillTopic": "will", "lastWillQos": "1", "lastWillMessage": id}
		transport, _, d, err := dial(t, c)
		if err != nil {
			t.Fatal(err)
		}
		return transport, d
	}
	orderly, _ := testator("orderly")
	if err := orderly.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, d := testator("cut off")
	d.CloseAll()
	if m := in.next(t); m.Text != "cut off" {
		t.Errorf("will %q", m.Text)
	}
}

// TestRetained is B31: a header makes the broker keep the message for later subscribers.
func TestRetained(t *testing.T) {
	b := clienttest.Mosquitto(t, clienttest.MosquittoOptions{})
	transport, _, _, err := dial(t, connection(t, b.URI(), "publisher", 1))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, transport, client.Outbound{Address: "kept", QoS: 2, Text: "kept", HasText: true, Headers: messages.Headers{"mqtt.retain": "true"}})
	_, in, _, err := dial(t, connection(t, b.URI(), "subscriber", 2, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	if m := in.next(t); m.Text != "kept" || m.Headers["mqtt.retain"] != "true" || m.Headers["mqtt.qos"] != "2" || !m.Settle(client.Settle) {
		t.Errorf("%+v", m)
	}
}

// TestMosquittoQueuesWithoutLimit: what the black-box tests rely on. A session that is away gets everything, in spite of a
// kill of the broker.
func TestMosquittoQueuesWithoutLimit(t *testing.T) {
	const n = 3000
	b := clienttest.Mosquitto(t, clienttest.MosquittoOptions{})
	away, _, _, err := dial(t, connection(t, b.URI(), "away", 1, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	publisher, _, _, err := dial(t, connection(t, b.URI(), "publisher", 1))
	if err != nil {
		t.Fatal(err)
	}
	free := make(chan client.Outcome, 500)
	for k := range n {
		if k >= cap(free) {
			if o := <-free; o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		publisher.Publish(client.Outbound{Address: "a", QoS: 1, Text: "x", HasText: true}, func(o client.Outcome) { free <- o })
	}
	for range cap(free) {
		if o := <-free; o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	b.Kill()
	b.Restart()
	_, in, _, err := dial(t, connection(t, b.URI(), "away", 1, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		in.next(t).Settle(client.Settle)
	}
}
