package mqttbinding

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

// Config are the node's defaults for MQTT connections (bindings.md 4.2); zero fields take the defaults named here.
type Config struct {
	CleanSession                bool          // mqtt.clean-session
	SeparatePublisherClient     bool          // mqtt.separate-publisher-client
	ReconnectForRedelivery      bool          // mqtt.reconnect-for-redelivery
	ReconnectForRedeliveryDelay time.Duration // mqtt.reconnect-for-redelivery-delay, 10s, at least 1s
	MaxQueueSize                int           // publishes without acknowledgement, 1000, at most 60000; more are refused with 503
	MaxPacketSize               int           // bytes of a received message, 64 MiB (MQTT 5 tells the broker); one that sends more is disconnected
	Log                         *slog.Logger  // nil: slog.Default
}

func (c Config) withDefaults() Config {
	if c.ReconnectForRedeliveryDelay <= 0 {
		c.ReconnectForRedeliveryDelay = 10 * time.Second
	}
	if c.MaxQueueSize <= 0 {
		c.MaxQueueSize = 1000
	}
	c.MaxQueueSize = min(c.MaxQueueSize, maxFlight)
	if c.MaxPacketSize <= 0 {
		c.MaxPacketSize = 64 << 20
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// options are what a connection configures (bindings.md 4.2).
type options struct {
	address               string // host:port
	tls                   *tls.Config
	user, password        string
	clientID, publisherID string
	separate, clean       bool
	redeliver             bool
	redeliverDelay        time.Duration
	keepAlive             uint16 // seconds
	will                  *Will
}

// Will is what the broker publishes when a link ends without DISCONNECT.
type Will struct {
	Topic   string
	QoS     byte
	Retain  bool
	Message string
}

func newOptions(c *messages.Connection, env client.Environment, cfg Config) (options, error) {
	s := c.SpecificConfig
	o := options{
		address:  net.JoinHostPort(c.URI.Host, strconv.Itoa(c.URI.Port)),
		separate: flag(s, "separatePublisherClient", cfg.SeparatePublisherClient),
		clean:    flag(s, "cleanSession", cfg.CleanSession), redeliver: flag(s, "reconnectForRedelivery", cfg.ReconnectForRedelivery),
		redeliverDelay: cfg.ReconnectForRedeliveryDelay,
	}
	if c.URI.HasUserInfo {
		o.user, o.password = c.URI.User, c.URI.Password
	}
	o.clientID, o.publisherID = clientIDs(c, env)
	if o.clientID == "" {
		o.clean = true // no session outlives an id that the broker assigns; 3.1.1 accepts nothing else (3.1.3.1)
	}
	keepAlive := time.Minute
	for key, d := range map[string]*time.Duration{"keepAlive": &keepAlive, "reconnectForRedeliveryDelay": &o.redeliverDelay} {
		text, ok := s[key]
		if !ok {
			continue
		}
		parsed, err := messages.ParseConfigDuration(text)
		if err != nil {
			return o, &client.Failure{Text: fmt.Sprintf("The value of %s is not a duration.", key), UserIndicated: true}
		}
		*d = parsed
	}
	o.keepAlive = uint16(min(max(keepAlive, 0), 65535*time.Second) / time.Second)
	o.redeliverDelay = max(o.redeliverDelay, time.Second)
	if topic := s["lastWillTopic"]; topic != "" && !env.Test {
		qos, _ := strconv.Atoi(s["lastWillQos"]) // not a number is 0
		o.will = &Will{Topic: topic, QoS: byte(min(max(qos, 0), 2)), Retain: flag(s, "lastWillRetain", false), Message: s["lastWillMessage"]}
	}
	var err error
	o.tls, err = tlsConfig(c)
	return o, err
}

// clientIDs are the ids of the consuming client and of the separate publisher.
func clientIDs(c *messages.Connection, env client.Environment) (consumer, publisher string) {
	id, ok := c.SpecificConfig["clientId"]
	if !ok {
		id = c.ID
	}
	publisher, ok = c.SpecificConfig["publisherId"]
	if !ok {
		publisher = id + "p"
		if id == "" {
			publisher = c.ID + "p"
		}
	}
	suffix := client.Suffix(c, env.Index)
	if id != "" {
		id += suffix
	}
	return id, publisher + suffix
}

func flag(s map[string]string, key string, otherwise bool) bool {
	text, ok := s[key]
	if !ok {
		return otherwise
	}
	return strings.EqualFold(text, "true")
}

// tlsConfig is nil without TLS (bindings.md 1.4).
func tlsConfig(c *messages.Connection) (*tls.Config, error) {
	if c.URI.Scheme != "ssl" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.URI.Host}
	switch {
	case !c.ValidateCertificates:
		t.InsecureSkipVerify = true
	case c.CA != "":
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, &client.Failure{Text: "No certificate could be read from /ca.", UserIndicated: true}
		}
	}
	if k := c.Credentials; k != nil && k.Type == "client-cert" && k.Cert != nil && k.Key != nil {
		pair, err := tls.X509KeyPair([]byte(*k.Cert), []byte(*k.Key))
		if err != nil {
			return nil, &client.Failure{Text: "The client certificate and its key could not be read from /credentials/cert and /credentials/key.", UserIndicated: true}
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
