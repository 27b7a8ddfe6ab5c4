package mqttbinding

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"hawser/actors/client"
	"hawser/messages"
)

// Factory makes transports that speak version.
func Factory(cfg Config, version Version) client.Factory {
	cfg = cfg.withDefaults()
	return func(conn *messages.Connection, env client.Environment, h client.Handler) (client.Transport, error) {
		opts, err := newOptions(conn, env, cfg)
		if err != nil {
			return nil, err
		}
		t := &Transport{
			cfg: cfg, version: version, opts: opts, handler: h, dial: env.Dial, test: env.Test, log: cfg.Log.With("connection_id", conn.ID),
			inbox: newQueue[received](), drained: make(chan struct{}, 1), closed: make(chan struct{}),
		}
		t.ctx, t.cancel = context.WithCancel(context.Background())
		for i, s := range conn.Sources {
			src := &source{index: i, address: strings.Join(s.Addresses, ";"), addresses: s.Addresses}
			if s.QoS != nil {
				src.qos = byte(*s.QoS)
			}
			for _, a := range s.Addresses {
				src.filters = append(src.filters, newFilter(a))
			}
			t.sources = append(t.sources, src)
		}
		return t, nil
	}
}

// Transport is the broker client of one MQTT connection: one link, or two with separatePublisherClient.
//
// Goroutines: one calls Consume, one per link writes to its socket, one waits while a reconnect for redelivery is due; the
// sessions have their own, of which one per link reads. All end with Close, but for a Consume that blocks beyond it.
type Transport struct {
	cfg     Config
	version Version
	opts    options
	handler client.Handler
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	test    bool
	log     *slog.Logger
	sources []*source

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	inbox      *queue[received]
	atMostOnce atomic.Int64 // QoS 0 messages in inbox

	pending  atomic.Int64 // publishes without outcome
	bytes    atomic.Int64 // their payloads
	draining atomic.Bool
	drained  chan struct{} // while draining: one has its outcome

	order   sync.Mutex // of publishes
	paused  bool       // the publishing link is being replaced
	waiting []*Publication

	consumer, publisher atomic.Pointer[Link] // the same, unless separate

	mu              sync.Mutex
	opened, closing bool
	closed          chan struct{} // closed when Close is done
}

// source is one source of the connection.
type source struct {
	index     int
	address   string // as status and metrics name it
	addresses []string
	filters   []filter
	qos       byte
}

func (s *source) matches(topic string) bool {
	for _, f := range s.filters {
		if f.matches(topic) {
			return true
		}
	}
	return false
}

// received is a message on its way to Consume.
type received struct {
	link *Link
	in   *client.Inbound
}

const (
	// QoS 0 messages that wait for Consume; more are dropped.
	maxAtMostOnce = 1000
	// Payload bytes of publishes without outcome; more are refused.
	maxPendingBytes = 64 << 20
	// How long Close waits for publishes without outcome, and a reconnect for redelivery likewise.
	drainTimeout = time.Second
	// How long a reconnect for redelivery may take.
	restartTimeout = 30 * time.Second
	// How long a connection test may take to remove its session.
	wipeTimeout = 2 * time.Second
)

// spawn runs f on a goroutine that Close waits for; a panic there is a lost link. It does nothing once closing.
func (t *Transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return false
	}
	t.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				t.log.Error("panic in the MQTT transport", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				t.handler.Lost(&client.Failure{Text: "The driver failed unexpectedly."})
			}
		}()
		f()
	})
	return true
}

// Open implements client.Transport.
func (t *Transport) Open(ctx context.Context) error {
	t.spawn(t.consume)
	if err := t.open(ctx); err != nil {
		if t.begin() {
			t.shut(context.Background()) // and no wait for Consume, which waits for Open to return
		}
		return err
	}
	return nil
}

func (t *Transport) open(ctx context.Context) error {
	var publisher *Link
	var err error
	if t.opts.separate {
		if publisher, err = t.connect(ctx, Login{ClientID: t.opts.publisherID, Clean: t.opts.clean}); err != nil {
			return err
		}
		if err := t.adopt(publisher, &t.publisher); err != nil {
			return err
		}
	}
	consumer, err := t.consuming(ctx)
	if err != nil {
		return err
	}
	if err := consumer.subscribe(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range []*Link{t.publisher.Load(), t.consumer.Load()} {
		if !l.alive() {
			return LinkFailure("The link to the broker broke", l.cause)
		}
	}
	t.opened = true
	return nil
}

// consuming opens the link that consumes, and publishes too unless that is separate.
func (t *Transport) consuming(ctx context.Context) (*Link, error) {
	l, err := t.connect(ctx, Login{ClientID: t.opts.clientID, Clean: t.opts.clean})
	if err != nil {
		return nil, err
	}
	roles := []*atomic.Pointer[Link]{&t.consumer, &t.publisher}
	if t.opts.separate {
		roles = roles[:1]
	}
	return l, t.adopt(l, roles...)
}

// adopt puts a new link into its roles, or closes it when the transport was closed meanwhile.
func (t *Transport) adopt(l *Link, roles ...*atomic.Pointer[Link]) error {
	t.mu.Lock()
	closing := t.closing
	for _, role := range roles {
		if !closing {
			role.Store(l)
		}
	}
	t.mu.Unlock()
	if closing {
		l.close()
		return client.ErrClosed
	}
	return nil
}

// linkBroken reports a link in use that broke by itself.
func (t *Transport) linkBroken(l *Link) {
	t.mu.Lock()
	lost := t.opened && !t.closing && !l.closing.Load() && (l == t.consumer.Load() || l == t.publisher.Load())
	t.mu.Unlock()
	if lost {
		t.handler.Lost(LinkFailure("The link to the broker broke", l.cause))
	}
}

// receive takes a message from the reading goroutine and does not block it.
func (t *Transport) receive(l *Link, m Message) error {
	wanted := 0
	for _, s := range t.sources {
		if s.matches(m.Topic) {
			wanted++
		}
	}
	var a *ack
	if m.QoS > 0 {
		if a = l.acks.add(m.QoS, m.ID, max(wanted, 1)); a == nil {
			return errOverrun
		}
		if wanted == 0 { // left over from an earlier subscription of the session
			l.acks.settle(a)
		}
	}
	for _, s := range t.sources {
		if !s.matches(m.Topic) {
			continue
		}
		if a == nil && t.atMostOnce.Add(1) > maxAtMostOnce {
			t.atMostOnce.Add(-1)
			t.handler.Dropped(s.address)
			continue
		}
		in := client.NewInbound(t.settling(l, a))
		in.SourceIndex, in.Address, in.Topic, in.AtMostOnce = s.index, s.address, m.Topic, a == nil
		in.Headers = messages.Headers{HeaderTopic: m.Topic, HeaderQoS: qosText[m.QoS], HeaderRetain: strconv.FormatBool(m.Retain)}
		maps.Copy(in.Headers, m.Headers)
		in.Bytes, in.HasBytes = m.Payload, true
		if !namesCharset(in.Headers) { // else whoever wants text decodes the bytes (bindings.md 1.6)
			in.Text, in.HasText = string(m.Payload), true
			if !utf8.ValidString(in.Text) {
				in.Text = strings.ToValidUTF8(in.Text, "\uFFFD")
			}
		}
		t.inbox.put(received{l, in})
	}
	return nil
}

func namesCharset(h messages.Headers) bool {
	return strings.Contains(strings.ToLower(h[messages.HeaderContentType]), "charset")
}

var qosText = [...]string{"0", "1", "2"}

// settling translates the decision on a message (bindings.md 4.4).
func (t *Transport) settling(l *Link, a *ack) func(client.Settlement) {
	if a == nil {
		return nil
	}
	return func(decision client.Settlement) {
		if decision == client.RejectRedeliver && t.opts.redeliver {
			t.redeliver(l)
			return
		}
		l.acks.settle(a)
	}
}

// consume is the goroutine that hands messages on, in the order received. What waits when its link breaks comes again.
func (t *Transport) consume() {
	var batch []received
	for {
		if batch = t.inbox.take(batch); batch == nil {
			return
		}
		for i, r := range batch {
			batch[i] = received{}
			if r.in.AtMostOnce {
				t.atMostOnce.Add(-1)
			} else if !r.link.alive() {
				continue
			}
			if t.ctx.Err() == nil {
				t.handler.Consume(r.in)
			}
		}
	}
}

// Publish implements client.Transport.
func (t *Transport) Publish(m client.Outbound, done func(client.Outcome)) {
	p, err := newPublication(t.version, &m, done)
	if err != nil {
		done(client.Outcome{Status: 400, Err: err})
		return
	}
	size := int64(p.size())
	pending, bytes := t.pending.Add(1), t.bytes.Add(size)
	if pending > int64(t.cfg.MaxQueueSize) || bytes > maxPendingBytes && bytes > size {
		t.outcome(p, client.Outcome{Status: 503, Err: errFull})
		return
	}
	t.order.Lock()
	if t.paused {
		t.waiting = append(t.waiting, p)
		t.order.Unlock()
		return
	}
	refusal, refused := closedOutcome, true
	if l := t.publisher.Load(); l != nil {
		refusal, refused = l.publish(p)
	}
	t.order.Unlock()
	if refused {
		t.outcome(p, refusal)
	}
}

// outcome ends a publish.
func (t *Transport) outcome(p *Publication, o client.Outcome) {
	t.bytes.Add(-int64(p.size()))
	t.pending.Add(-1)
	if t.draining.Load() {
		select {
		case t.drained <- struct{}{}:
		default:
		}
	}
	p.done(o)
}

// Close implements client.Transport.
func (t *Transport) Close(ctx context.Context) error {
	if !t.begin() {
		select {
		case <-t.closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.shut(ctx)
	idle := make(chan struct{})
	go func() { t.work.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done(): // a Consume still blocks; no socket is left
	}
	return nil
}

// begin makes the caller the one that closes the transport; false: there is one.
func (t *Transport) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.closing
	t.closing = true
	return first
}

// shut closes the links.
func (t *Transport) shut(ctx context.Context) {
	defer close(t.closed)
	links := []*Link{t.publisher.Load()}
	if c := t.consumer.Load(); c != links[0] {
		links = append(links, c)
	}
	if links[0] != nil {
		t.drain(ctx, links[0])
	}
	t.cancel()
	t.inbox.close()
	for _, l := range links {
		if l != nil {
			l.close()
			t.wipe(ctx, l)
		}
	}
}

// drain waits a moment for publishes of l without outcome; those that wait for another link do not count.
func (t *Transport) drain(ctx context.Context, l *Link) {
	t.draining.Store(true)
	defer t.draining.Store(false)
	limit := time.NewTimer(drainTimeout)
	defer limit.Stop()
	for t.pending.Load() > t.held() {
		select {
		case <-t.drained:
		case <-l.dead:
			return
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (t *Transport) held() int64 {
	t.order.Lock()
	defer t.order.Unlock()
	return int64(len(t.waiting))
}

// wipe removes the session that a connection test left at the broker, unless it was there before.
func (t *Transport) wipe(ctx context.Context, l *Link) {
	if !t.test || l.welcome.Present || t.opts.clean {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wipeTimeout)
	defer cancel()
	clean, err := t.connect(ctx, Login{ClientID: l.id, Clean: true, Forget: true})
	if err != nil {
		t.log.Info("the session of a connection test could not be removed from the broker", "error", err)
		return
	}
	clean.close()
}
