package mqttbinding

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"hawser/actors/client"
)

// Link is one connection to the broker, from CONNECT to its end. It is the wire's peer.
type Link struct {
	transport *Transport
	id        string // client id
	wire      *Wire
	session   Session // nil until the broker has accepted
	welcome   Welcome
	acks      acks
	flight    flight
	closing   atomic.Bool

	once    sync.Once
	dead    chan struct{}
	cause   error // why, once dead is closed
	restart sync.Once
}

// connect opens a link.
func (t *Transport) connect(ctx context.Context, login Login) (*Link, error) {
	o := &t.opts
	login.User, login.Password, login.KeepAlive, login.Will, login.MaxPacket = o.user, o.password, o.keepAlive, o.will, t.cfg.MaxPacketSize
	conn, err := t.openSocket(ctx)
	if err != nil {
		return nil, LinkFailure(NoConnection, either(context.Cause(ctx), err))
	}
	l := &Link{transport: t, id: login.ClientID, dead: make(chan struct{})}
	l.wire = NewWire(conn, l)
	l.acks.wire, l.flight.wire = l.wire, l.wire
	stop := context.AfterFunc(ctx, func() { _ = l.wire.Close() })
	l.session, l.welcome, err = t.version.Connect(ctx, l, login)
	stop()
	if cause := context.Cause(ctx); cause != nil || err != nil {
		l.close()
		return nil, LinkFailure(NoConnection, either(cause, err))
	}
	l.flight.admit(l.welcome.InFlight)
	return l, nil
}

// either is the first error if there is one, else the second.
func either(first, second error) error {
	if first != nil {
		return first
	}
	return second
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

// Wire is the link's socket.
func (l *Link) Wire() *Wire { return l.wire }

// Dead is closed when the link is broken or closed.
func (l *Link) Dead() <-chan struct{} { return l.dead }

// subscribe subscribes all sources, one SUBSCRIBE each.
func (l *Link) subscribe(ctx context.Context) error {
	for _, s := range l.transport.sources {
		refused, err := l.session.Subscribe(ctx, s.addresses, s.qos)
		switch {
		case context.Cause(ctx) != nil:
			return LinkFailure("The subscriptions were not confirmed", context.Cause(ctx))
		case !l.alive():
			return LinkFailure("The link to the broker broke while subscribing", l.cause)
		case err != nil:
			return LinkFailure("The sources could not be subscribed", either(l.wire.Cause(), err))
		case len(refused) > 0:
			return &client.Failure{
				Text:          fmt.Sprintf("The broker refused %d of %d subscriptions of a source: %s.", len(refused), len(s.addresses), strings.Join(refused, ", ")),
				UserIndicated: true,
			}
		}
	}
	return nil
}

// publish sends p, whose outcome comes later; refused: the outcome is the caller's to tell.
func (l *Link) publish(p *Publication) (refusal client.Outcome, refused bool) {
	if err := l.welcome.accepts(p); err != nil {
		return client.Outcome{Status: 503, Err: err}, true
	}
	if l.flight.send(p) {
		return client.Outcome{}, false
	}
	return l.failure(), true
}

// accepts says what the broker does not take of p: it may disconnect who sends it all the same.
func (w *Welcome) accepts(p *Publication) error {
	switch {
	case p.qos > w.MaxQoS:
		return fmt.Errorf("the broker takes messages up to QoS %d", w.MaxQoS)
	case p.retain && !w.Retain:
		return errors.New("the broker keeps no retained messages")
	case maxHeader+p.length() > w.MaxPacket:
		return fmt.Errorf("the broker takes packets of at most %d bytes", w.MaxPacket)
	}
	return nil
}

// failure is the outcome of what the link can no longer say.
func (l *Link) failure() client.Outcome {
	if l.closing.Load() {
		return closedOutcome
	}
	return client.Outcome{Status: 503, Err: LinkFailure("The link to the broker broke", l.wire.Cause())}
}

var (
	closedOutcome = client.Outcome{Status: 503, Err: client.ErrClosed}
	delivered     = client.Outcome{Status: 200}
)

// Received takes in a PUBLISH. It comes from the reading goroutine, which ends the link on an error.
func (l *Link) Received(m Message) error { return l.transport.receive(l, m) }

// Acknowledged takes in a PUBACK, PUBREC, PUBREL or PUBCOMP; refusal is the broker's reason not to take the message.
func (l *Link) Acknowledged(kind byte, id uint16, refusal error) {
	outcome := delivered
	if refusal != nil {
		outcome = client.Outcome{Status: 503, Err: refusal}
	}
	var p *Publication
	switch {
	case kind == TypePuback:
		p = l.flight.land(id, 1)
	case kind == TypePubcomp, kind == TypePubrec && refusal != nil:
		p = l.flight.land(id, 2)
	case kind == TypePubrec:
		l.wire.writeAck(TypePubrel, id)
	case kind == TypePubrel: // of a message that we took with PUBREC
		l.wire.writeAck(TypePubcomp, id)
	}
	if p != nil {
		l.transport.outcome(p, outcome)
	}
}

// Sent implements Peer.
func (l *Link) Sent(all []*Publication) {
	for _, p := range all {
		l.transport.outcome(p, delivered)
	}
}

// Broken implements Peer: the link is dead, its publishes have failed. Only the first cause counts.
func (l *Link) Broken(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.dead)
		for _, p := range l.flight.abandon() {
			l.transport.outcome(p, l.failure())
		}
		l.transport.linkBroken(l)
	})
}

func (l *Link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// close disconnects; no socket and no publish without outcome is left afterwards.
func (l *Link) close() {
	l.closing.Store(true)
	if l.session != nil {
		l.session.Disconnect()
	}
	l.Broken(client.ErrClosed)
	_ = l.wire.Close()
	for _, p := range l.wire.abandoned() {
		l.transport.outcome(p, l.failure())
	}
}

// errOverrun is what a hostile broker gets.
var errOverrun = errors.New("the broker sent more messages than it may without an acknowledgement")
