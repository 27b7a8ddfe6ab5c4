package mqttbinding

import (
	"strings"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

func plain(change ...func(*messages.Connection)) *messages.Connection {
	c := &messages.Connection{
		ID: "plant-7", Type: messages.TypeMQTT, ClientCount: 1, ValidateCertificates: true, SpecificConfig: map[string]string{},
		URI: messages.URI{Raw: "tcp://h:1883", Scheme: "tcp", Host: "h", Port: 1883},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func specific(key, value string) func(*messages.Connection) {
	return func(c *messages.Connection) { c.SpecificConfig[key] = value }
}

// TestOptions is the table of bindings.md 4.2.
func TestOptions(t *testing.T) {
	for name, row := range map[string]struct {
		change []func(*messages.Connection)
		cfg    Config
		test   bool
		check  func(o options) bool
	}{
		"default ids":              {check: func(o options) bool { return o.clientID == "plant-7" && o.publisherID == "plant-7p" && !o.separate }},
		"clientId":                 {change: []func(*messages.Connection){specific("clientId", "me")}, check: func(o options) bool { return o.clientID == "me" && o.publisherID == "mep" }},
		"publisherId":              {change: []func(*messages.Connection){specific("publisherId", "out")}, check: func(o options) bool { return o.clientID == "plant-7" && o.publisherID == "out" }},
		"broker assigned id":       {change: []func(*messages.Connection){specific("clientId", "")}, check: func(o options) bool { return o.clientID == "" && o.clean && o.publisherID == "plant-7p" }},
		"session is kept":          {check: func(o options) bool { return !o.clean }},
		"cleanSession":             {change: []func(*messages.Connection){specific("cleanSession", "true")}, check: func(o options) bool { return o.clean }},
		"cleanSession of the node": {cfg: Config{CleanSession: true}, check: func(o options) bool { return o.clean }},
		"cleanSession overrides":   {cfg: Config{CleanSession: true}, change: []func(*messages.Connection){specific("cleanSession", "false")}, check: func(o options) bool { return !o.clean }},
		"separatePublisherClient":  {change: []func(*messages.Connection){specific("separatePublisherClient", "true")}, check: func(o options) bool { return o.separate }},
		"no redelivery":            {check: func(o options) bool { return !o.redeliver && o.redeliverDelay == 10*time.Second }},
		"redelivery":               {change: []func(*messages.Connection){specific("reconnectForRedelivery", "true"), specific("reconnectForRedeliveryDelay", "4s")}, check: func(o options) bool { return o.redeliver && o.redeliverDelay == 4*time.Second }},
		"redelivery delay too low": {change: []func(*messages.Connection){specific("reconnectForRedeliveryDelay", "20")}, check: func(o options) bool { return o.redeliverDelay == time.Second }},
		"keepAlive":                {check: func(o options) bool { return o.keepAlive == 60 }},
		"keepAlive 2m":             {change: []func(*messages.Connection){specific("keepAlive", "2m")}, check: func(o options) bool { return o.keepAlive == 120 }},
		"bare keepAlive is off":    {change: []func(*messages.Connection){specific("keepAlive", "30")}, check: func(o options) bool { return o.keepAlive == 0 }}, // B32a
		"no will":                  {check: func(o options) bool { return o.will == nil }},
		"will":                     {change: []func(*messages.Connection){specific("lastWillTopic", "w"), specific("lastWillQos", "1"), specific("lastWillRetain", "true"), specific("lastWillMessage", "m")}, check: func(o options) bool { return *o.will == Will{"w", 1, true, "m"} }},
		"will with defaults":       {change: []func(*messages.Connection){specific("lastWillTopic", "w"), specific("lastWillQos", "x")}, check: func(o options) bool { return *o.will == Will{Topic: "w"} }},
		"no will in a test":        {test: true, change: []func(*messages.Connection){specific("lastWillTopic", "w")}, check: func(o options) bool { return o.will == nil }},
		"no TLS":                   {check: func(o options) bool { return o.tls == nil && o.address == "h:1883" }},
		"TLS": {change: []func(*messages.Connection){func(c *messages.Connection) { c.URI.Scheme = "ssl" }}, check: func(o options) bool {
			return o.tls.ServerName == "h" && !o.tls.InsecureSkipVerify && o.tls.RootCAs == nil && o.tls.MinVersion == 0x0303
		}},
		"TLS without validation":     {change: []func(*messages.Connection){func(c *messages.Connection) { c.URI.Scheme, c.ValidateCertificates = "ssl", false }}, check: func(o options) bool { return o.tls.InsecureSkipVerify }},
		"IPv6":                       {change: []func(*messages.Connection){func(c *messages.Connection) { c.URI.Host = "::1" }}, check: func(o options) bool { return o.address == "[::1]:1883" }},
		"user without colon is none": {check: func(o options) bool { return o.user == "" && o.password == "" }},
		"user":                       {change: []func(*messages.Connection){func(c *messages.Connection) { c.URI.HasUserInfo, c.URI.User, c.URI.Password = true, "u", "p:q" }}, check: func(o options) bool { return o.user == "u" && o.password == "p:q" }},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := newOptions(plain(row.change...), client.Environment{Test: row.test}, row.cfg.withDefaults())
			if err != nil || !row.check(o) {
				o.tls = nil
				t.Fatalf("%+v, %v", o, err)
			}
		})
	}
}

// TestSuffix: ids of several clients differ, and stay the same after a move (decision O18).
func TestSuffix(t *testing.T) {
	c := plain(func(c *messages.Connection) { c.ClientCount = 2 })
	seen := map[string]bool{}
	for index := range 2 {
		o, err := newOptions(c, client.Environment{Index: index}, Config{}.withDefaults())
		again, _ := newOptions(c, client.Environment{Index: index}, Config{}.withDefaults())
		if err != nil || o.clientID != again.clientID || o.publisherID != again.publisherID {
			t.Fatalf("%q then %q, %v", o.clientID, again.clientID, err)
		}
		for _, id := range []string{o.clientID, o.publisherID} {
			rest, ok := strings.CutPrefix(id, "plant-7")
			rest, _ = strings.CutPrefix(rest, "p")
			if !ok || len(rest) != 37 || rest[0] != '_' || rest[15] != '5' || seen[id] { // version 5
				t.Errorf("id %q", id)
			}
			seen[id] = true
		}
	}
}

func TestUnusableOptions(t *testing.T) {
	ssl := func(c *messages.Connection) { c.URI.Scheme = "ssl" }
	bad := "-----BEGIN PRIVATE KEY-----\ns3cret-key\n-----END PRIVATE KEY-----"
	for name, row := range map[string]struct {
		change []func(*messages.Connection)
		names  string
	}{
		"keepAlive": {[]func(*messages.Connection){specific("keepAlive", "soon")}, "keepAlive"},
		"ca":        {[]func(*messages.Connection){ssl, func(c *messages.Connection) { c.CA = "no PEM" }}, "/ca"},
		"certificate": {[]func(*messages.Connection){ssl, func(c *messages.Connection) {
			c.Credentials = &messages.Credentials{Type: "client-cert", Cert: &bad, Key: &bad}
		}}, "/credentials/cert"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Factory(Config{}, nil)(plain(row.change...), client.Environment{}, nil)
			if err == nil || !strings.Contains(err.Error(), row.names) || strings.Contains(err.Error(), "s3cret") || !client.UserIndicated(err) {
				t.Fatalf("%v", err)
			}
		})
	}
}
