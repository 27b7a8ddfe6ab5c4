package mqtt5

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/mqttbinding"
)

// Config are the node's defaults for connections of type mqtt-5; zero fields take the defaults named here.
type Config struct {
	mqttbinding.Config
	SessionExpiry  time.Duration // mqtt.session-expiry-interval: how long the broker keeps the session of a client that is gone, 60s
	ReceiveMaximum int           // mqtt.receive-maximum-client: messages that the broker may send without acknowledgement, 65535
	OmitHeaders    bool          // no header mqtt.topic, mqtt.qos, mqtt.retain among the user properties
}

// Factory makes transports of connection type mqtt-5.
func Factory(cfg Config) client.Factory {
	v := &version{expiry: uint32(min(max(cfg.SessionExpiry/time.Second, 0), maxExpiry)), receive: uint16(min(max(cfg.ReceiveMaximum, 0), maxReceive)), omitHeaders: cfg.OmitHeaders}
	if cfg.SessionExpiry <= 0 {
		v.expiry = 60
	}
	if v.receive == 0 {
		v.receive = maxReceive
	}
	return mqttbinding.Factory(cfg.Config, v)
}

const (
	maxReceive = 65535
	maxExpiry  = 1<<32 - 1 // seconds; the broker takes it for: never
)

// version implements mqttbinding.Version.
type version struct {
	expiry      uint32 // seconds
	receive     uint16
	omitHeaders bool
}

// session is what one link says and hears. It implements mqttbinding.Session.
//
// Goroutines: one reads, one pings. Both end with Disconnect.
type session struct {
	link *mqttbinding.Link
	wire *mqttbinding.Wire
	in   *reader

	over chan struct{} // closed by Disconnect
	once sync.Once
	all  sync.WaitGroup

	mu          sync.Mutex
	lastID      uint16        // of a SUBSCRIBE
	subscribing *subscription // the SUBSCRIBE without answer
}

// subscription is a SUBSCRIBE that waits for its answer.
type subscription struct {
	id      uint16
	filters int
	answer  chan *packets.Suback
}

// Connect implements mqttbinding.Version.
func (v *version) Connect(_ context.Context, l *mqttbinding.Link, login mqttbinding.Login) (mqttbinding.Session, mqttbinding.Welcome, error) {
	s := &session{link: l, wire: l.Wire(), in: newReader(l.Wire().Conn, login.MaxPacket), over: make(chan struct{})}
	welcome := mqttbinding.Unlimited()
	if err := s.wire.Send(rendered(v.connect(login))); err != nil {
		return nil, welcome, err
	}
	p, err := s.in.next() // the end of the context closes the socket
	if err != nil {
		return nil, welcome, s.wire.Fail(err)
	}
	answer, ok := p.(*packets.Connack)
	if !ok {
		return nil, welcome, s.wire.Fail(unexpected(p))
	}
	if answer.ReasonCode != packets.ConnackSuccess {
		return nil, welcome, refusal("The broker refused the connection", answer.ReasonCode, answer.Properties)
	}
	keepAlive := login.KeepAlive
	if err := accepted(answer, &welcome, &keepAlive); err != nil {
		return nil, welcome, s.wire.Fail(err)
	}
	if every := time.Duration(keepAlive) * time.Second; every > 0 {
		s.in.patience = every + min(every, pingTimeout)
		s.all.Go(func() { s.ping(every) })
	}
	s.all.Go(s.read)
	return s, welcome, nil
}

// pingTimeout is how long a broker may take to answer a ping.
const pingTimeout = 10 * time.Second

func (v *version) connect(login mqttbinding.Login) *packets.Connect {
	expiry, receive, size := v.expiry, v.receive, uint32(login.MaxPacket)
	if login.Forget {
		expiry = 0
	}
	c := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: login.ClientID, CleanStart: login.Clean, KeepAlive: login.KeepAlive,
		UsernameFlag: login.User != "", Username: login.User, PasswordFlag: login.Password != "", Password: []byte(login.Password),
		Properties: &packets.Properties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receive, MaximumPacketSize: &size},
	}
	if w := login.Will; w != nil {
		c.WillFlag, c.WillTopic, c.WillQOS, c.WillRetain, c.WillMessage = true, w.Topic, w.QoS, w.Retain, []byte(w.Message)
		c.WillProperties = &packets.Properties{}
	}
	return c
}

// accepted takes in what the broker asks of us (MQTT 5, 3.2.2.3).
func accepted(answer *packets.Connack, welcome *mqttbinding.Welcome, keepAlive *uint16) error {
	welcome.Present = answer.SessionPresent
	p := answer.Properties
	if p.ServerKeepAlive != nil {
		*keepAlive = *p.ServerKeepAlive
	}
	if p.ReceiveMaximum != nil {
		welcome.InFlight = int(*p.ReceiveMaximum)
	}
	if p.MaximumQOS != nil {
		welcome.MaxQoS = *p.MaximumQOS
	}
	if p.RetainAvailable != nil {
		welcome.Retain = *p.RetainAvailable == 1
	}
	if p.MaximumPacketSize != nil {
		welcome.MaxPacket = int(*p.MaximumPacketSize)
	}
	if welcome.InFlight == 0 || welcome.MaxPacket == 0 {
		return fmt.Errorf("the broker takes no messages: receive maximum %d, maximum packet size %d", welcome.InFlight, welcome.MaxPacket)
	}
	return nil
}

// rendered is a packet as it is sent.
func rendered(p interface {
	WriteTo(io.Writer) (int64, error)
}) []byte {
	var b bytes.Buffer
	_, _ = p.WriteTo(&b) // a buffer takes everything
	return b.Bytes()
}

// ping says every so often that we are there; the reader notices a broker that does not answer.
func (s *session) ping(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = s.wire.Send(rendered(&packets.Pingreq{})) // who reads says why it fails
		case <-s.link.Dead():
			return
		case <-s.over:
			return
		}
	}
}

// Subscribe implements mqttbinding.Session.
func (s *session) Subscribe(ctx context.Context, addresses []string, qos byte) (refused []string, err error) {
	p := &packets.Subscribe{Properties: &packets.Properties{}}
	for _, a := range addresses {
		p.Subscriptions = append(p.Subscriptions, packets.SubOptions{Topic: a, QoS: qos})
	}
	sub := &subscription{filters: len(addresses), answer: make(chan *packets.Suback, 1)}
	s.mu.Lock()
	s.lastID++ // sources are few: the ids of messages begin far above
	p.PacketID, sub.id = s.lastID, s.lastID
	s.subscribing = sub
	s.mu.Unlock()
	if err := s.wire.Send(rendered(p)); err != nil {
		return nil, err
	}
	select {
	case answer := <-sub.answer:
		for i, code := range answer.Reasons {
			if code >= failureCodes {
				refused = append(refused, fmt.Sprintf("%s (%s)", addresses[i], reason(code, answer.Properties)))
			}
		}
		return refused, nil
	case <-s.link.Dead():
		return nil, s.wire.Cause()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Disconnect implements mqttbinding.Session.
func (s *session) Disconnect() {
	_ = s.wire.Farewell(rendered(&packets.Disconnect{Properties: &packets.Properties{}}))
	s.once.Do(func() { close(s.over) })
	_ = s.wire.Close()
	s.all.Wait()
}
