package mqtt

import (
	"context"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"hawser/actors/client"
	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

// Factory makes transports of connection type mqtt.
func Factory(cfg mqttbinding.Config) client.Factory { return mqttbinding.Factory(cfg, version{}) }

// version implements mqttbinding.Version.
type version struct{}

// Properties implements mqttbinding.Version: MQTT 3.1.1 has none.
func (version) Properties(messages.Headers, string, byte, bool) ([]byte, error) { return nil, nil }

// session is one paho client. It implements mqttbinding.Session.
type session struct {
	client mqtt.Client
	link   *mqttbinding.Link
}

// disconnectQuiesce is how long paho may take to write DISCONNECT, in milliseconds.
const disconnectQuiesce = 250

// Connect implements mqttbinding.Version.
func (version) Connect(ctx context.Context, l *mqttbinding.Link, login mqttbinding.Login) (mqttbinding.Session, mqttbinding.Welcome, error) {
	opts := pahoOptions(login)
	if deadline, ok := ctx.Deadline(); ok {
		opts.SetConnectTimeout(time.Until(deadline))
	}
	opts.SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.Broken(err) })
	opts.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		return newWire(l.Wire(), login.MaxPacket, l), nil
	})
	s := &session{client: mqtt.NewClient(opts), link: l}
	welcome := mqttbinding.Unlimited()
	token := s.client.Connect()
	<-token.Done() // soon after ctx ends: that closes the socket
	if token.Error() != nil {
		err := connectFailure(token, l.Wire().Cause())
		s.Disconnect()
		return nil, welcome, err
	}
	welcome.Present = token.(*mqtt.ConnectToken).SessionPresent()
	return s, welcome, nil
}

func pahoOptions(login mqttbinding.Login) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().AddBroker("tcp://broker").SetProtocolVersion(4).SetClientID(login.ClientID).SetCleanSession(login.Clean).
		SetUsername(login.User).SetPassword(login.Password).SetKeepAlive(time.Duration(login.KeepAlive) * time.Second).SetPingTimeout(10 * time.Second).
		SetConnectTimeout(time.Hour).SetAutoReconnect(false).SetConnectRetry(false).SetResumeSubs(false)
	if w := login.Will; w != nil {
		o.SetBinaryWill(w.Topic, []byte(w.Message), w.QoS, w.Retain)
	}
	return o
}

// Subscribe implements mqttbinding.Session.
func (s *session) Subscribe(ctx context.Context, addresses []string, qos byte) (refused []string, err error) {
	filters := make(map[string]byte, len(addresses))
	for _, a := range addresses {
		filters[a] = qos
	}
	token := s.client.SubscribeMultiple(filters, nil)
	select {
	case <-token.Done():
	case <-s.link.Dead():
		return nil, s.link.Wire().Cause()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := token.Error(); err != nil {
		return nil, err
	}
	granted := token.(*mqtt.SubscribeToken).Result()
	for _, a := range addresses {
		if code, ok := granted[a]; !ok || code > 2 {
			refused = append(refused, a)
		}
	}
	return refused, nil
}

// Disconnect implements mqttbinding.Session.
func (s *session) Disconnect() { s.client.Disconnect(disconnectQuiesce) }
