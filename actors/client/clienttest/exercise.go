package clienttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hawser/actors/client"
	"hawser/messages"
)

// Server is the broker that a transport is exercised against.
type Server interface {
	URI() string
	Kill()
	Restart()
	Pause() // nothing is answered any more, sockets stay open
	Resume()
}

// Features are what Exercise must know of a transport.
type Features struct {
	// Broker starts a private broker.
	Broker func(t testing.TB) Server
	// Connection makes a connection to uri that consumes source with settlement ("" for no source). The broker keeps what
	// arrives for source while a connection of the same id is closed.
	Connection func(t testing.TB, uri, id, source string) *messages.Connection
	// Cannot says why the transport cannot do what a case of Exercise asks for, by the name of the case.
	Cannot map[string]string
}

// suite is one run of Exercise.
type suite struct {
	Features
	factory client.Factory
	uri     string // of a broker that all cases share
	ids     atomic.Int64
}

// Exercise runs the cases that every transport must pass. Each leaves no socket and no goroutine behind.
func Exercise(t *testing.T, f Features, factory client.Factory) {
	s := &suite{Features: f, factory: factory, uri: f.Broker(t).URI()}
	for name := range f.Cannot {
		if !slices.ContainsFunc(cases, func(c kase) bool { return c.name == name }) {
			t.Errorf("Cannot names %q, which is no case", name)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if reason := f.Cannot[c.name]; reason != "" {
				t.Skip("this transport cannot: " + reason)
			}
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			c.run(t, s)
		})
	}
}

type kase struct {
	name string
	run  func(t *testing.T, s *suite)
}

var cases = []kase{
	{"connect and close", connectAndClose},
	{"nobody listens", nobodyListens},
	{"the peer never answers", hostile(func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); hold(c) })},
	{"the peer closes at once", hostile(func(c net.Conn) { _ = c.Close() })},
	{"the peer closes after the first packet", hostile(func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _ = c.Close() })},
	{"the peer speaks HTTP", hostile(func(c net.Conn) {
		_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
		hold(c)
	})},
	{"the peer sends zeros", hostile(func(c net.Conn) { _, _ = c.Write(make([]byte, 1<<20)); hold(c) })},
	{"the peer sends 0xff", hostile(func(c net.Conn) { _, _ = c.Write(bytes.Repeat([]byte{0xff}, 1<<20)); hold(c) })},
	{"messages arrive as they were sent", messagesArrive},
	{"messages arrive in order", inOrder},
	{"large messages", largeMessages},
	{"every publish has one outcome", oneOutcome},
	{"a blocked consumer does not stop publishes", blockedConsumer},
	{"messages wait for a slow consumer", slowConsumer},
	{"what is not settled comes again", comesAgain},
	{"settling in any order", settlingInAnyOrder},
	{"settling after the end does no harm", settlingAfterTheEnd},
	{"a full publish queue refuses", fullQueue},
	{"close while the broker does not answer", closeWhilePaused},
	{"sockets closed from outside", socketsClosed},
	{"the broker dies and comes back", brokerDies},
}

// subject is a transport under test and its handler.
type subject struct {
	client.Transport
	t      testing.TB
	dialer *client.Dialer

	received chan *client.Inbound
	hold     chan struct{} // Consume waits for it to be closed, unless nil
	released chan struct{} // the test is over: Consume drops
	lost     chan error
	dropped  atomic.Int64
}

// Consume implements client.Handler.
func (x *subject) Consume(in *client.Inbound) {
	if x.hold != nil {
		select {
		case <-x.hold:
		case <-x.released:
			return
		}
	}
	select {
	case x.received <- in:
	case <-x.released:
	}
}

// Dropped implements client.Handler.
func (x *subject) Dropped(string) { x.dropped.Add(1) }

// Lost implements client.Handler.
func (x *subject) Lost(err error) { x.lost <- err }

// Interrupted implements client.Handler.
func (x *subject) Interrupted(error) {}

// Recovered implements client.Handler.
func (x *subject) Recovered() {}

// ResourceStatus implements client.Handler.
func (x *subject) ResourceStatus(messages.ResourceStatus) {}

// id is a name that no other case uses.
func (s *suite) id() string { return fmt.Sprintf("exercise-%d", s.ids.Add(1)) }

// make makes a transport; its end is checked when the case is over.
func (s *suite) make(t testing.TB, uri, id, source string, change ...func(*subject)) *subject {
	t.Helper()
	x := &subject{
		t: t, dialer: client.NewDialer(client.HostRules{}), received: make(chan *client.Inbound, 64), lost: make(chan error, 4), released: make(chan struct{}),
	}
	for _, f := range change {
		f(x)
	}
	transport, err := s.factory(s.Connection(t, uri, id, source), client.Environment{Dial: x.dialer.Dial}, x)
	if err != nil {
		t.Fatalf("factory: %v", err)
	}
	x.Transport = transport
	return x
}

// open is make and Open.
func (s *suite) open(t testing.TB, uri, id, source string, change ...func(*subject)) *subject {
	t.Helper()
	x := s.make(t, uri, id, source, change...)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := x.Open(ctx); err != nil {
		t.Fatalf("open: %v", err)
	}
	return x
}

// end closes the transport, with little time, and checks that no socket is left.
func (x *subject) end() {
	x.t.Helper()
	close(x.released)
	x.close(5 * time.Second)
}

func (x *subject) close(within time.Duration) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	began := time.Now()
	if err := x.Close(ctx); err != nil {
		x.t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took > within+2*time.Second {
		x.t.Errorf("close took %v", took)
	}
	if n := x.dialer.Sockets(); n != 0 {
		x.t.Errorf("%d sockets are left after close", n)
	}
}

// publish sends one message and waits for its outcome.
func (x *subject) publish(address string, payload []byte) client.Outcome {
	x.t.Helper()
	outcome := make(chan client.Outcome, 1)
	x.Publish(client.Outbound{Address: address, QoS: 1, Bytes: payload, TargetAddress: address}, func(o client.Outcome) { outcome <- o })
	select {
	case o := <-outcome:
		return o
	case <-time.After(20 * time.Second):
		x.t.Fatal("a publish has no outcome")
		return client.Outcome{}
	}
}

// delivered is publish, which must succeed.
func (x *subject) delivered(address string, payload []byte) {
	x.t.Helper()
	if o := x.publish(address, payload); o.Err != nil {
		x.t.Fatalf("publish: %v", o.Err)
	}
}

// publishAll sends n numbered messages, at most window of them without outcome.
func (x *subject) publishAll(address string, n, window int) {
	x.t.Helper()
	free := make(chan struct{}, window)
	var failed atomic.Pointer[client.Outcome]
	var all sync.WaitGroup
	for k := range n {
		select {
		case free <- struct{}{}:
		case <-time.After(20 * time.Second):
			x.t.Fatalf("publish %d: no outcomes any more", k)
		}
		all.Add(1)
		x.Publish(client.Outbound{Address: address, QoS: 1, Bytes: fmt.Append(nil, k)}, func(o client.Outcome) {
			if o.Err != nil {
				failed.Store(&o)
			}
			<-free
			all.Done()
		})
	}
	all.Wait()
	if o := failed.Load(); o != nil {
		x.t.Fatalf("publish: %v", o.Err)
	}
}

// next is the next message.
func (x *subject) next() *client.Inbound {
	x.t.Helper()
	select {
	case in := <-x.received:
		return in
	case err := <-x.lost:
		x.t.Fatalf("lost: %v", err)
	case <-time.After(20 * time.Second):
		x.t.Fatal("no message")
	}
	return nil
}

// nothing expects that no message arrives before marker, which it sends itself.
func (x *subject) nothing(address string) {
	x.t.Helper()
	x.delivered(address, []byte("marker"))
	in := x.next()
	if string(in.Bytes) != "marker" {
		x.t.Fatalf("%q came again", in.Bytes)
	}
	in.Settle(client.Settle)
}

func (x *subject) expectLost() {
	x.t.Helper()
	select {
	case <-x.lost:
	case <-time.After(20 * time.Second):
		x.t.Fatal("Lost was not called")
	}
}

func connectAndClose(t *testing.T, s *suite) {
	x := s.open(t, s.uri, s.id(), s.id())
	if x.dialer.Sockets() == 0 {
		t.Error("the transport does not use the dialer that it is given")
	}
	x.end()
	x.close(time.Second) // idempotent
	if o := x.publish(s.id(), nil); !errors.Is(o.Err, client.ErrClosed) {
		t.Errorf("publish after close: %v, want ErrClosed", o.Err)
	}
	select {
	case err := <-x.lost:
		t.Errorf("Lost was called: %v", err)
	default:
	}
}

func nobodyListens(t *testing.T, s *suite) {
	x := s.make(t, fmt.Sprintf("tcp://127.0.0.1:%d", freePort(t)), s.id(), s.id())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var failure *client.Failure
	if err := x.Open(ctx); !errors.As(err, &failure) || !failure.UserIndicated {
		t.Errorf("open: %#v, want a failure that the user can fix", err)
	}
	x.end()
}

// hostile is a case whose peer does not speak the protocol: Open fails, in time, and nothing is left.
func hostile(serve func(net.Conn)) func(*testing.T, *suite) {
	return func(t *testing.T, s *suite) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var peers sync.WaitGroup
		peers.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				peers.Go(func() { defer func() { _ = c.Close() }(); serve(c) })
			}
		})
		x := s.make(t, "tcp://"+l.Addr().String(), s.id(), s.id())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		if x.Open(ctx) == nil {
			t.Error("open succeeded")
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("open took %v with a limit of 1s", took)
		}
		if n := x.dialer.Sockets(); n != 0 {
			t.Errorf("%d sockets are left after a failed open", n)
		}
		x.end()
		_ = l.Close()
		peers.Wait()
		select {
		case err := <-x.lost:
			t.Errorf("Lost was called although Open has failed: %v", err)
		default:
		}
	}
}

// hold reads until the other side closes.
func hold(c net.Conn) {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func messagesArrive(t *testing.T, s *suite) {
	address := s.id()
	x := s.open(t, s.uri, s.id(), address)
	defer x.end()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, payload := range [][]byte{[]byte("plain"), {}, []byte("größer als ein Byte: ✓"), every} {
		x.delivered(address, payload)
		in := x.next()
		if !in.HasBytes || !bytes.Equal(in.Bytes, payload) {
			t.Errorf("bytes %q, want %q", in.Bytes, payload)
		}
		if in.Topic != address || in.Address != address || in.SourceIndex != 0 || in.AtMostOnce {
			t.Errorf("topic %q, address %q, source %d, at most once %v", in.Topic, in.Address, in.SourceIndex, in.AtMostOnce)
		}
		for name := range in.Headers {
			if in.Headers.Get(name) == "" {
				t.Errorf("header %q is not in lower case", name)
			}
		}
		if !in.Settle(client.Settle) || in.Settle(client.Settle) {
			t.Error("a message must be settled exactly once")
		}
	}
	x.Publish(client.Outbound{Address: address, QoS: 1, Text: "as text", HasText: true}, func(client.Outcome) {})
	if in := x.next(); string(in.Bytes) != "as text" || in.HasText && in.Text != "as text" {
		t.Errorf("%q, %q", in.Bytes, in.Text)
	}
}

func inOrder(t *testing.T, s *suite) {
	const n = 2000
	address := s.id()
	x := s.open(t, s.uri, s.id(), address)
	defer x.end()
	published := make(chan struct{})
	go func() { defer close(published); x.publishAll(address, n, 200) }()
	for k := range n {
		in := x.next()
		if string(in.Bytes) != fmt.Sprint(k) {
			t.Fatalf("message %d is %q", k, in.Bytes)
		}
		in.Settle(client.Settle)
	}
	<-published
}

func largeMessages(t *testing.T, s *suite) {
	address := s.id()
	x := s.open(t, s.uri, s.id(), address)
	defer x.end()
	for _, size := range []int{64 << 10, 1 << 20, 8 << 20} {
		payload := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		x.delivered(address, payload)
		in := x.next()
		if !bytes.Equal(in.Bytes, payload) {
			t.Errorf("%d bytes do not arrive as they were sent", size)
		}
		in.Settle(client.Settle)
	}
}

// oneOutcome publishes from many goroutines while the transport is closed.
func oneOutcome(t *testing.T, s *suite) {
	const senders, each = 8, 500
	address := s.id()
	x := s.open(t, s.uri, s.id(), "")
	outcomes := make([]atomic.Int32, senders*each)
	var all sync.WaitGroup
	half := make(chan struct{})
	for k := range senders {
		all.Go(func() {
			for i := range each {
				if k == 0 && i == each/2 {
					close(half)
				}
				x.Publish(client.Outbound{Address: address, QoS: i % 2, Bytes: []byte("x")}, func(client.Outcome) { outcomes[k*each+i].Add(1) })
			}
		})
	}
	<-half
	x.end()
	all.Wait()
	await(t, 10*time.Second, "every publish has an outcome", func() bool {
		for i := range outcomes {
			if outcomes[i].Load() == 0 {
				return false
			}
		}
		return true
	})
	for i := range outcomes {
		if n := outcomes[i].Load(); n != 1 {
			t.Fatalf("publish %d has %d outcomes", i, n)
		}
	}
}

func blockedConsumer(t *testing.T, s *suite) {
	address := s.id()
	x := s.open(t, s.uri, s.id(), address, func(x *subject) { x.hold = make(chan struct{}) })
	defer x.end()
	x.publishAll(address, 1000, 500)
	close(x.hold)
	for k := range 1000 {
		in := x.next()
		if string(in.Bytes) != fmt.Sprint(k) {
			t.Fatalf("message %d is %q", k, in.Bytes)
		}
		in.Settle(client.Settle)
	}
}

// slowConsumer lets 10 000 messages wait for a consumer that takes its time.
func slowConsumer(t *testing.T, s *suite) {
	const n = 10_000
	address := s.id()
	x := s.open(t, s.uri, s.id(), address, func(x *subject) { x.received = make(chan *client.Inbound) })
	defer x.end()
	published := make(chan struct{})
	go func() { defer close(published); x.publishAll(address, n, 900) }()
	var held []*client.Inbound
	for k := range n {
		in := x.next()
		if string(in.Bytes) != fmt.Sprint(k) {
			t.Fatalf("message %d is %q", k, in.Bytes)
		}
		if held = append(held, in); len(held) == 10 { // later ones first
			for _, in := range slices.Backward(held) {
				in.Settle(client.Settle)
			}
			held = held[:0]
		}
		if k%500 == 0 {
			runtime.Gosched()
		}
	}
	<-published
	if x.dropped.Load() > 0 {
		t.Errorf("%d messages were dropped", x.dropped.Load())
	}
}

func comesAgain(t *testing.T, s *suite) {
	id, address := s.id(), s.id()
	x := s.open(t, s.uri, id, address)
	for k := range 10 {
		x.delivered(address, fmt.Append(nil, k))
	}
	for k := range 10 {
		if in := x.next(); k < 5 {
			in.Settle(client.Settle)
		}
	}
	x.end()

	y := s.open(t, s.uri, id, address)
	for k := 5; k < 10; k++ {
		in := y.next()
		if string(in.Bytes) != fmt.Sprint(k) {
			t.Fatalf("%q comes again, want %d", in.Bytes, k)
		}
		in.Settle(client.Settle)
	}
	y.nothing(address)
	y.end()

	z := s.open(t, s.uri, id, address)
	defer z.end()
	z.nothing(address)
}

func settlingInAnyOrder(t *testing.T, s *suite) {
	id, address := s.id(), s.id()
	x := s.open(t, s.uri, id, address)
	var held []*client.Inbound
	for k := range 15 {
		x.delivered(address, fmt.Append(nil, k))
		held = append(held, x.next())
	}
	var all sync.WaitGroup
	for i, in := range slices.Backward(held) {
		decision := []client.Settlement{client.Settle, client.Reject, client.Settle}[i%3]
		all.Go(func() { in.Settle(decision) })
	}
	all.Wait()
	x.nothing(address)
	x.end()
	y := s.open(t, s.uri, id, address)
	defer y.end()
	y.nothing(address)
}

func settlingAfterTheEnd(t *testing.T, s *suite) {
	id, address := s.id(), s.id()
	x := s.open(t, s.uri, id, address)
	x.delivered(address, []byte("first"))
	old := x.next()
	x.end()
	y := s.open(t, s.uri, id, address)
	again := y.next()
	old.Settle(client.Settle) // must not settle anything of the new link
	if string(again.Bytes) != "first" {
		t.Fatalf("%q comes again", again.Bytes)
	}
	y.end()
	z := s.open(t, s.uri, id, address)
	defer z.end()
	if in := z.next(); string(in.Bytes) != "first" || !in.Settle(client.Settle) {
		t.Fatalf("%q comes again", in.Bytes)
	}
	z.nothing(address)
}

func fullQueue(t *testing.T, s *suite) {
	b := s.Broker(t)
	x := s.open(t, b.URI(), s.id(), "")
	address := s.id()
	b.Pause()
	const n = 3000
	var refused, delivered, other atomic.Int64
	began := time.Now()
	for range n {
		x.Publish(client.Outbound{Address: address, QoS: 1, Bytes: []byte("x")}, func(o client.Outcome) {
			switch {
			case o.Err == nil:
				delivered.Add(1)
			case o.Status == 503:
				refused.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("publishing blocks: %v", took)
	}
	if refused.Load() == 0 || refused.Load() == n {
		t.Errorf("%d of %d publishes were refused while the broker did not answer", refused.Load(), n)
	}
	b.Resume()
	await(t, 20*time.Second, "the others are delivered", func() bool { return delivered.Load()+refused.Load()+other.Load() == n })
	if other.Load() > 0 || delivered.Load() == 0 {
		t.Errorf("%d delivered, %d refused, %d other", delivered.Load(), refused.Load(), other.Load())
	}
	x.delivered(address, []byte("still usable"))
	x.end()
}

func closeWhilePaused(t *testing.T, s *suite) {
	b := s.Broker(t)
	x := s.open(t, b.URI(), s.id(), s.id())
	b.Pause()
	outcome := make(chan client.Outcome, 1)
	x.Publish(client.Outbound{Address: s.id(), QoS: 1, Bytes: []byte("x")}, func(o client.Outcome) { outcome <- o })
	close(x.released)
	x.close(2 * time.Second)
	select {
	case o := <-outcome:
		if !errors.Is(o.Err, client.ErrClosed) {
			t.Errorf("outcome %v, want ErrClosed", o.Err)
		}
	default:
		t.Error("a publish has no outcome after close")
	}
	b.Resume()
}

func socketsClosed(t *testing.T, s *suite) {
	id, address := s.id(), s.id()
	x := s.open(t, s.uri, id, address)
	x.dialer.CloseAll()
	x.expectLost()
	if o := x.publish(address, nil); o.Err == nil {
		t.Error("a publish succeeded without a socket")
	}
	x.end()
	y := s.open(t, s.uri, id, address)
	defer y.end()
	y.nothing(address)
}

func brokerDies(t *testing.T, s *suite) {
	b := s.Broker(t)
	id, address := s.id(), s.id()
	x := s.open(t, b.URI(), id, address)
	x.delivered(address, []byte("not settled"))
	x.next()
	b.Kill()
	x.expectLost()
	if o := x.publish(address, []byte("x")); o.Err == nil {
		t.Error("a publish succeeded without a broker")
	}
	x.end()
	b.Restart()
	y := s.open(t, b.URI(), id, address)
	if in := y.next(); string(in.Bytes) != "not settled" || !in.Settle(client.Settle) {
		t.Errorf("%q came", in.Bytes)
	}
	y.nothing(address)
	select {
	case err := <-x.lost:
		t.Errorf("Lost was called twice: %v", err)
	default:
	}
	y.end()
}
