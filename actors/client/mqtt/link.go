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
	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
)

// link is one paho client from its CONNECT to its end.
type link struct {
	transport *Transport
	id        string
	client    mqtt.Client
	acks      *acks
	wire      *wire // nil until the socket is open
	fresh     bool  // the broker had no session for the client id
	closing   atomic.Bool

	tokens   *queue[inFlight] // publishes that paho has, in order
	unacked  atomic.Int64     // their number
	reported chan struct{}    // closed when all of them have their outcome

	once    sync.Once
	dead    chan struct{}
	cause   error // why, once dead is closed
	restart sync.Once
}

// inFlight is a publish that paho has.
type inFlight struct {
	token mqtt.Token
	p     *publication
}

// handOver is how long paho tries to give a packet to its writing goroutine, which never blocks for long (wire.Write).
const handOver = time.Second

// notHandedOver is paho's error when that did not succeed: nothing was sent.
const notHandedOver = "publish was broken by timeout"

// connect opens a link under the client id.
func (t *Transport) connect(ctx context.Context, id string, clean bool) (*link, error) {
	l := &link{transport: t, id: id, tokens: newQueue[inFlight](), dead: make(chan struct{}), reported: make(chan struct{})}
	var dialled error
	var stop func() bool
	opts := t.pahoOptions(id, clean)
	if deadline, ok := ctx.Deadline(); ok {
		opts.SetConnectTimeout(time.Until(deadline))
	}
	opts.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { t.receive(l, m) })
	opts.SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.broken(err) })
	opts.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := t.openSocket(ctx)
		if err != nil {
			dialled = err
			return nil, err
		}
		l.wire = newWire(conn, t.cfg.MaxPacketSize, l.broken)
		l.acks = &acks{wire: l.wire}
		stop = context.AfterFunc(ctx, func() { _ = l.wire.Close() })
		return l.wire, nil
	})
	l.client = mqtt.NewClient(opts)
	token := l.client.Connect()
	<-token.Done() // soon after ctx ends: that closes the socket
	if stop != nil {
		stop()
	}
	if !t.spawn(l.report) {
		close(l.reported)
	}
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
	connack := token.(*mqtt.ConnectToken)
	l.fresh = !connack.SessionPresent()
	return l, nil
}

func (t *Transport) pahoOptions(id string, clean bool) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + t.opts.address).SetProtocolVersion(4).SetClientID(id).SetCleanSession(clean).
		SetUsername(t.opts.user).SetPassword(t.opts.password).SetKeepAlive(t.opts.keepAlive).SetPingTimeout(10 * time.Second).
		SetConnectTimeout(time.Hour).SetWriteTimeout(handOver).SetAutoReconnect(false).SetConnectRetry(false).SetResumeSubs(false).
		SetOrderMatters(true).SetAutoAckDisabled(true).SetStore(noStore{})
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

// broken marks the link as dead; only the first cause counts.
func (l *link) broken(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.dead)
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

// publish gives p to paho, in order of calls. It waits while much is unsent.
func (l *link) publish(p *publication) {
	for {
		if !l.alive() || !l.wire.waitRoom() {
			l.transport.outcome(p, l.failure())
			return
		}
		token := l.client.Publish(p.topic, p.qos, p.retain, p.payload)
		select {
		case <-token.Done():
			if err := token.Error(); err != nil && err.Error() == notHandedOver {
				continue // starved of CPU, or broken
			}
		default:
		}
		l.unacked.Add(1)
		if !l.tokens.put(inFlight{token, p}) {
			l.unacked.Add(-1)
			l.transport.outcome(p, l.failure())
		}
		return
	}
}

// failure is the outcome of what the link can no longer say.
func (l *link) failure() client.Outcome {
	if l.closing.Load() {
		return closedOutcome
	}
	return client.Outcome{Status: 503, Err: linkFailure("The link to the broker broke", l.wire.cause())}
}

// report is the goroutine that waits for the outcomes, in order.
func (l *link) report() {
	defer close(l.reported)
	var batch []inFlight
	for {
		if batch = l.tokens.take(batch); batch == nil {
			return
		}
		for _, f := range batch {
			outcome := client.Outcome{Status: 200}
			select {
			case <-f.token.Done():
				if f.token.Error() != nil {
					outcome = l.failure()
				}
			case <-l.dead:
				outcome = l.failure()
			}
			l.unacked.Add(-1)
			l.transport.outcome(f.p, outcome)
		}
	}
}

// close disconnects; no socket and no outcome is left afterwards.
func (l *link) close() {
	l.closing.Store(true)
	l.client.Disconnect(250)
	if l.wire != nil {
		_ = l.wire.Close()
	}
	l.broken(client.ErrClosed)
	l.tokens.close()
	<-l.reported
}

var closedOutcome = client.Outcome{Status: 503, Err: client.ErrClosed}

// errSession is what a hostile broker gets.
var errSession = errors.New("the broker sent more messages than it may without an acknowledgement")

// noStore is paho's store of unfinished packets. A link never resumes another, so nothing is worth keeping.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
