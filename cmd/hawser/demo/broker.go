package demo

import (
	"fmt"
	"log/slog"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Broker is an MQTT broker inside this process on a free port of the loopback interface, open to everybody there.
type Broker struct {
	server  *mqtt.Server
	address string
}

// StartBroker starts one; Close ends it.
func StartBroker() (*Broker, error) {
	server := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	listener := listeners.NewTCP(listeners.Config{ID: "demo", Address: "127.0.0.1:0"})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	if err := server.AddListener(listener); err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	return &Broker{server, listener.Address()}, nil
}

// Address is where the broker listens, host:port.
func (b *Broker) Address() string { return b.address }

// Publish publishes with QoS 1.
func (b *Broker) Publish(topic, payload string) error {
	return b.server.Publish(topic, []byte(payload), false, 1)
}

// Subscribe calls got for each message below a topic filter, from the goroutine of the publisher: got must not block.
func (b *Broker) Subscribe(filter string, got func(topic, payload string)) error {
	return b.server.Subscribe(filter, 1, func(_ *mqtt.Client, _ packets.Subscription, p packets.Packet) {
		got(p.TopicName, string(p.Payload))
	})
}

// Close ends the broker and its connections.
func (b *Broker) Close() error { return b.server.Close() }
