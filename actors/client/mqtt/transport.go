package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"hawser/actors/client"
	"hawser/messages"
)

// Factory makes transports of connection type mqtt.
func Factory(cfg Config) client.Factory {
	cfg = cfg.withDefaults()
	return func(conn *messages.Connection, env client.Environment, h client.Handler) (client.Transport, error) {
		opts, err := newOptions(conn, env, cfg)
		if err != nil {
			return nil, err
		}
		t := &Transport{
			cfg: cfg, opts: opts, handler: h, dial: env.Dial, test: env.Test, log: cfg.Log.With("connection_id", conn.ID),
			inbox: newQueue[received](), outbox: newQueue[*publication](), drained: make(chan struct{}, 1), closed: make(chan struct{}),
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
// Goroutines of its own: one calls Consume, one publishes, one per link reports outcomes; besides, one while a reconnect
// for redelivery is due. Paho has its own per link. All end with Close, but for a Consume that blocks beyond it.
type Transport struct {
	cfg     Config
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
	outbox     *queue[*publication]
	gate       sync.RWMutex // held for reading while publishing, for writing while the link is replaced
	pending    atomic.Int64 // publishes without outcome
	bytes      atomic.Int64 // their payloads
	drained    chan struct{}

	mu                  sync.Mutex
	consumer, publisher *link // the same, unless separate
	opened, closing     bool
	closed              chan struct{} // closed when Close is done
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
	link *link
	in   *client.Inbound
}

// publication is a publish on its way to the broker.
type publication struct {
	topic   string
	qos     byte
	retain  bool
	payload []byte
	done    func(client.Outcome)
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
	t.spawn(t.send)
	if err := t.open(ctx); err != nil {
		_ = t.Close(context.Background())
		return err
	}
	return nil
}

func (t *Transport) open(ctx context.Context) error {
	var publisher *link
	var err error
	if t.opts.separate {
		if publisher, err = t.connect(ctx, t.opts.publisherID, t.opts.clean); err != nil {
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
	for _, l := range []*link{t.publisher, t.consumer} {
		if !l.alive() {
			return linkFailure("The link to the broker broke", l.cause)
		}
	}
	t.opened = true
	return nil
}

// consuming opens the link that consumes, and publishes too unless that is separate.
func (t *Transport) consuming(ctx context.Context) (*link, error) {
	l, err := t.connect(ctx, t.opts.clientID, t.opts.clean)
	if err != nil {
		return nil, err
	}
	roles := []**link{&t.consumer, &t.publisher}
	if t.opts.separate {
		roles = roles[:1]
	}
	return l, t.adopt(l, roles...)
}

// adopt puts a new link into its roles, or closes it when the transport was closed meanwhile.
func (t *Transport) adopt(l *link, roles ...**link) error {
	t.mu.Lock()
	closing := t.closing
	for _, role := range roles {
		if !closing {
			*role = l
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
func (t *Transport) linkBroken(l *link) {
	t.mu.Lock()
	lost := t.opened && !t.closing && !l.closing.Load() && (l == t.consumer || l == t.publisher)
	t.mu.Unlock()
	if lost {
		t.handler.Lost(linkFailure("The link to the broker broke", l.cause))
	}
}

// receive takes a message from paho's goroutine and never blocks it.
func (t *Transport) receive(l *link, m mqtt.Message) {
	topic, qos := m.Topic(), m.Qos()
	wanted := 0
	for _, s := range t.sources {
		if s.matches(topic) {
			wanted++
		}
	}
	var a *ack
	if qos > 0 {
		if a = l.acks.add(qos, m.MessageID(), max(wanted, 1)); a == nil {
			_ = l.wire.fail(errSession)
			_ = l.wire.Conn.Close()
			return
		}
		if wanted == 0 { // left over from an earlier subscription of the session
			l.acks.settle(a)
		}
	}
	for _, s := range t.sources {
		if !s.matches(topic) {
			continue
		}
		if a == nil && t.atMostOnce.Add(1) > maxAtMostOnce {
			t.atMostOnce.Add(-1)
			t.handler.Dropped(s.address)
			continue
		}
		t.inbox.put(received{l, t.inbound(l, s, m, a)})
	}
}

var qosText = [...]string{"0", "1", "2"}

func (t *Transport) inbound(l *link, s *source, m mqtt.Message, a *ack) *client.Inbound {
	var settle func(client.Settlement)
	if a != nil {
		settle = func(decision client.Settlement) {
			if decision == client.RejectRedeliver && t.opts.redeliver {
				t.redeliver(l)
				return
			}
			l.acks.settle(a)
		}
	}
	in := client.NewInbound(settle)
	retain := "false"
	if m.Retained() {
		retain = "true"
	}
	in.SourceIndex, in.Address, in.Topic, in.AtMostOnce = s.index, s.address, m.Topic(), a == nil
	in.Headers = messages.Headers{"mqtt.topic": m.Topic(), "mqtt.qos": qosText[m.Qos()], "mqtt.retain": retain}
	in.Bytes, in.HasBytes = m.Payload(), true
	in.Text, in.HasText = string(in.Bytes), true
	if !utf8.ValidString(in.Text) {
		in.Text = strings.ToValidUTF8(in.Text, "\uFFFD")
	}
	return in
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

// redeliver reconnects the consuming client after a while, so that the broker sends again what is not acknowledged.
func (t *Transport) redeliver(l *link) {
	l.restart.Do(func() {
		t.spawn(func() {
			delay := time.NewTimer(t.opts.redeliverDelay)
			defer delay.Stop()
			select {
			case <-delay.C:
				t.replace(l)
			case <-l.dead:
			case <-t.ctx.Done():
			}
		})
	})
}

// replace closes the consuming link and opens another.
func (t *Transport) replace(old *link) {
	t.handler.Interrupted(&client.Failure{Text: "The client reconnects so that the broker delivers again what was rejected."})
	shared := !t.opts.separate
	if shared {
		t.gate.Lock() // publishes wait in the queue
		defer t.gate.Unlock()
		old.drain(t.ctx)
	}
	old.close()
	ctx, cancel := context.WithTimeout(t.ctx, restartTimeout)
	defer cancel()
	l, err := t.consuming(ctx)
	if err == nil {
		err = l.subscribe(ctx)
	}
	if err == nil && !l.alive() {
		err = linkFailure("The link to the broker broke", l.cause)
	}
	switch {
	case t.ctx.Err() != nil:
	case err != nil:
		t.handler.Lost(err)
	default:
		t.handler.Recovered()
	}
}

// drain waits until paho's publishes have their outcomes.
func (l *link) drain(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(drainTimeout)
	defer limit.Stop()
	for l.unacked.Load() > 0 {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		case <-l.dead:
			return
		case <-ctx.Done():
			return
		}
	}
}

var (
	errFull   = errors.New("the publish queue is full")
	errHeader = errors.New("a header mqtt.qos or mqtt.retain has no valid value")
)

// Publish implements client.Transport.
func (t *Transport) Publish(m client.Outbound, done func(client.Outcome)) {
	p := &publication{topic: m.Address, qos: byte(m.QoS), payload: m.Bytes, done: done}
	if err := p.configure(m.Headers); err != nil {
		done(client.Outcome{Status: 400, Err: err})
		return
	}
	if m.HasText {
		p.payload = []byte(m.Text)
	}
	size := int64(len(p.payload))
	pending, bytes := t.pending.Add(1), t.bytes.Add(size)
	if pending > int64(t.cfg.MaxQueueSize) || bytes > maxPendingBytes && bytes > size {
		t.outcome(p, client.Outcome{Status: 503, Err: errFull})
		return
	}
	if !t.outbox.put(p) {
		t.outcome(p, closedOutcome)
	}
}

// configure applies the headers that override the target's topic and QoS (bindings.md 4.5).
func (p *publication) configure(h messages.Headers) error {
	if topic, ok := h["mqtt.topic"]; ok {
		p.topic = topic
	}
	if qos, ok := h["mqtt.qos"]; ok {
		if len(qos) != 1 || qos < "0" || qos > "2" {
			return errHeader
		}
		p.qos = qos[0] - '0'
	}
	switch retain, ok := h["mqtt.retain"]; {
	case !ok, retain == "false":
	case retain == "true":
		p.retain = true
	default:
		return errHeader
	}
	return checkTopic(p.topic)
}

// outcome ends a publish.
func (t *Transport) outcome(p *publication, o client.Outcome) {
	t.bytes.Add(-int64(len(p.payload)))
	if t.pending.Add(-1) == 0 {
		select {
		case t.drained <- struct{}{}:
		default:
		}
	}
	p.done(o)
}

// send is the goroutine that publishes.
func (t *Transport) send() {
	var batch []*publication
	for {
		if batch = t.outbox.take(batch); batch == nil {
			return
		}
		for i, p := range batch {
			batch[i] = nil
			t.gate.RLock()
			t.mu.Lock()
			l := t.publisher
			t.mu.Unlock()
			if l == nil {
				t.outcome(p, closedOutcome)
			} else {
				l.publish(p)
			}
			t.gate.RUnlock()
		}
	}
}

// Close implements client.Transport.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		select {
		case <-t.closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.closing = true
	links := []*link{t.publisher}
	if t.consumer != t.publisher {
		links = append(links, t.consumer)
	}
	t.mu.Unlock()
	defer close(t.closed)
	if t.publisher != nil {
		t.drain(ctx)
	}
	t.cancel()
	t.outbox.close()
	t.inbox.close()
	for _, l := range links {
		if l != nil {
			l.close()
			t.wipe(ctx, l)
		}
	}
	idle := make(chan struct{})
	go func() { t.work.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done(): // a Consume still blocks; no socket is left
	}
	return nil
}

// drain lets pending publishes end.
func (t *Transport) drain(ctx context.Context) {
	limit := time.NewTimer(drainTimeout)
	defer limit.Stop()
	for t.pending.Load() > 0 {
		select {
		case <-t.drained:
		case <-t.publisher.dead:
			return
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// wipe removes the session that a connection test left at the broker, unless it was there before.
func (t *Transport) wipe(ctx context.Context, l *link) {
	if !t.test || !l.fresh || t.opts.clean {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wipeTimeout)
	defer cancel()
	clean, err := t.connect(ctx, l.id, true)
	if err != nil {
		t.log.Info("the session of a connection test could not be removed from the broker", "error", err)
		return
	}
	clean.close()
}
