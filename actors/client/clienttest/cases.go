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

	"hawser/actors/client"
)

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
