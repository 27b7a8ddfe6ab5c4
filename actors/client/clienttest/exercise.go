package clienttest

import (
	"bytes"
	"context"
	"fmt"
	"net"
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
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the brokers of the case have ended
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

// publishAll sends n numbered messages, at most window of them without outcome. Any goroutine may call it.
func (x *subject) publishAll(address string, n, window int) {
	x.t.Helper()
	free := make(chan struct{}, window)
	var failed atomic.Pointer[client.Outcome]
	var all sync.WaitGroup
	for k := range n {
		select {
		case free <- struct{}{}:
		case <-time.After(20 * time.Second):
			x.t.Errorf("publish %d: no outcomes any more", k)
			return
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
		x.t.Errorf("publish: %v", o.Err)
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
