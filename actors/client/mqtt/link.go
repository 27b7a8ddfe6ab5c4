package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"hawser/actors/client"
)

// link is one paho client with its wire, from CONNECT to its end. It is the wire's peer.
type link struct {
	transport *Transport
	id        string // client id
	client    mqtt.Client
	wire      *wire // nil until the socket is open
	acks      acks
	flight    flight
	fresh     bool // the broker had no session for the client id
	closing   atomic.Bool

	once    sync.Once
	dead    chan struct{}
	cause   error // why, once dead is closed
	restart sync.Once
}

// connect opens a link under the client id.
func (t *Transport) connect(ctx context.Context, id string, clean bool) (*link, error) {
	l := &link{transport: t, id: id, dead: make(chan struct{})}
	var dialled error
	stop := func() bool { return true }
	opts := t.pahoOptions(id, clean)
	if deadline, ok := ctx.Deadline(); ok {
		opts.SetConnectTimeout(time.Until(deadline))
	}
	opts.SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.broken(err) })
	opts.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := t.openSocket(ctx)
		if err != nil {
			dialled = err
			return nil, err
		}
		l.wire = newWire(conn, t.cfg.MaxPacketSize, l)
		l.acks.wire = l.wire
		stop = context.AfterFunc(ctx, func() { _ = l.wire.Close() })
		return l.wire, nil
	})
	l.client = mqtt.NewClient(opts)
	token := l.client.Connect()
	<-token.Done() // soon after ctx ends: that closes the socket
	stop()
	if err := context.Cause(ctx); err != nil {
		l.close()
		return nil, linkFailure("The connection to the broker could not be established", err)
	}
	if token.Error() != nil {
		if dialled == nil && l.wire != nil {
			dialled = l.wire.cause()
		}
		l.close()
		return nil, connectFailure(token, dialled)
	}
	l.fresh = !token.(*mqtt.ConnectToken).SessionPresent()
	return l, nil
}

func (t *Transport) pahoOptions(id string, clean bool) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + t.opts.address).SetProtocolVersion(4).SetClientID(id).SetCleanSession(clean).
		SetUsername(t.opts.user).SetPassword(t.opts.password).SetKeepAlive(t.opts.keepAlive).SetPingTimeout(10 * time.Second).
		SetConnectTimeout(time.Hour).SetAutoReconnect(false).SetConnectRetry(false).SetResumeSubs(false)
	if w := t.opts.will; w != nil {
		o.SetBinaryWill(w.topic, []byte(w.message), w.qos, w.retain)
	}
	return o
}

// openSocket dials, with TLS if the connection has it.
func (t *Transport) openSocket(ctx context.Context) (net.Conn, error) {
	conn, err := t.dial(ctx, "tcp", t.opts.address)
	if err != nil || t.opts.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, t.opts.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, client.NewFailure(fmt.Sprintf("The TLS handshake with the broker failed: %s.", err), err)
	}
	return secure, nil
}

// subscribe subscribes all sources, one SUBSCRIBE each.
func (l *link) subscribe(ctx context.Context) error {
	for _, s := range l.transport.sources {
		filters := make(map[string]byte, len(s.addresses))
		for _, a := range s.addresses {
			filters[a] = s.qos
		}
		token := l.client.SubscribeMultiple(filters, nil)
		select {
		case <-token.Done():
		case <-l.dead:
			return linkFailure("The link to the broker broke while subscribing", l.cause)
		case <-ctx.Done():
			return linkFailure("The subscriptions were not confirmed", context.Cause(ctx))
		}
		if err := token.Error(); err != nil {
			if cause := l.wire.cause(); cause != nil {
				err = cause
			}
			return linkFailure("The sources could not be subscribed", err)
		}
		granted := token.(*mqtt.SubscribeToken).Result()
		var refused []string
		for _, a := range s.addresses {
			if code, ok := granted[a]; !ok || code > 2 {
				refused = append(refused, a)
			}
		}
		if len(refused) > 0 {
			return &client.Failure{
				Text:          fmt.Sprintf("The broker refused %d of %d subscriptions of a source: %s.", len(refused), len(s.addresses), strings.Join(refused, ", ")),
				UserIndicated: true,
			}
		}
	}
	return nil
}

// publish writes p, whose outcome comes later. false: the link is dead and the outcome is the caller's to tell.
func (l *link) publish(p *publication) bool {
	if p.qos == 0 {
		return l.wire.writePublish(p, 0)
	}
	id, ok := l.flight.takeOff(p)
	return ok && (l.wire.writePublish(p, id) || l.flight.land(id, p.qos) == nil)
}

// failure is the outcome of what the link can no longer say.
func (l *link) failure() client.Outcome {
	if l.closing.Load() {
		return closedOutcome
	}
	return client.Outcome{Status: 503, Err: linkFailure("The link to the broker broke", l.wire.cause())}
}

var (
	closedOutcome = client.Outcome{Status: 503, Err: client.ErrClosed}
	delivered     = client.Outcome{Status: 200}
)

// received implements peer.
func (l *link) received(topic string, qos byte, retain bool, id uint16, payload []byte) error {
	return l.transport.receive(l, topic, qos, retain, id, payload)
}

// acknowledged implements peer.
func (l *link) acknowledged(kind byte, id uint16) {
	switch kind {
	case typePuback:
		if p := l.flight.land(id, 1); p != nil {
			l.transport.outcome(p, delivered)
		}
	case typePubrec:
		l.wire.writeAck(typePubrel, id)
	case typePubcomp:
		if p := l.flight.land(id, 2); p != nil {
			l.transport.outcome(p, delivered)
		}
	case typePubrel: // of a message that we took with PUBREC
		l.wire.writeAck(typePubcomp, id)
	}
}

// sent implements peer.
func (l *link) sent(all []*publication) {
	for _, p := range all {
		l.transport.outcome(p, delivered)
	}
}

// broken implements peer: the link is dead, its publishes have failed. Only the first cause counts.
func (l *link) broken(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.dead)
		for _, p := range l.flight.abandon() {
			l.transport.outcome(p, l.failure())
		}
		l.transport.linkBroken(l)
	})
}

func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// close disconnects; no socket and no publish without outcome is left afterwards.
func (l *link) close() {
	l.closing.Store(true)
	l.client.Disconnect(250)
	l.broken(client.ErrClosed)
	if l.wire != nil {
		_ = l.wire.Close()
		for _, p := range l.wire.abandoned() {
			l.transport.outcome(p, l.failure())
		}
	}
}

// errOverrun is what a hostile broker gets.
var errOverrun = errors.New("the broker sent more messages than it may without an acknowledgement")
