package mqtt

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
	"hawser/messages"
)

// fakeBroker accepts connections; a test plays the broker on each of them.
type fakeBroker struct {
	t        *testing.T
	listener net.Listener
	accepted chan *fakeSession
	all      sync.WaitGroup
}

// fakeSession is one connection of a client.
type fakeSession struct {
	t       *testing.T
	conn    net.Conn
	packets chan packets.ControlPacket // closed when the client closes
}

func newFakeBroker(t *testing.T) *fakeBroker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{t: t, listener: l, accepted: make(chan *fakeSession, 8)}
	b.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := &fakeSession{t: t, conn: c, packets: make(chan packets.ControlPacket, 4096)}
			b.all.Go(func() {
				defer close(s.packets)
				defer func() { _ = c.Close() }()
				for {
					p, err := packets.ReadPacket(c)
					if err != nil {
						return
					}
					s.packets <- p
				}
			})
			b.accepted <- s
		}
	})
	t.Cleanup(func() { _ = l.Close(); b.all.Wait() })
	return b
}

func (b *fakeBroker) uri() messages.URI {
	addr := b.listener.Addr().(*net.TCPAddr)
	return messages.URI{Raw: "tcp://" + addr.String(), Scheme: "tcp", Host: addr.IP.String(), Port: addr.Port}
}

// session is the next connection.
func (b *fakeBroker) session() *fakeSession {
	b.t.Helper()
	select {
	case s := <-b.accepted:
		return s
	case <-time.After(20 * time.Second):
		b.t.Fatal("nobody connects")
		return nil
	}
}

// connect takes a CONNECT in and answers with code.
func (s *fakeSession) connect(code byte, sessionPresent bool) *packets.ConnectPacket {
	s.t.Helper()
	c := expect[*packets.ConnectPacket](s)
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.ReturnCode, ack.SessionPresent = code, sessionPresent
	s.send(ack)
	return c
}

// subscribe takes a SUBSCRIBE in and answers it with code for each filter.
func (s *fakeSession) subscribe(code ...byte) *packets.SubscribePacket {
	s.t.Helper()
	p := expect[*packets.SubscribePacket](s)
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID, ack.ReturnCodes = p.MessageID, code
	s.send(ack)
	return p
}

func (s *fakeSession) send(p packets.ControlPacket) {
	s.t.Helper()
	if err := p.Write(s.conn); err != nil {
		s.t.Errorf("fake broker: %v", err)
	}
}

func (s *fakeSession) publish(topic string, qos byte, id uint16, payload string) {
	s.t.Helper()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.MessageID, p.Payload = topic, qos, id, []byte(payload)
	s.send(p)
}

// ack sends a packet that consists of a packet id.
func (s *fakeSession) ack(kind byte, id uint16) {
	s.t.Helper()
	p := packets.NewControlPacket(kind)
	switch p := p.(type) {
	case *packets.PubackPacket:
		p.MessageID = id
	case *packets.PubrecPacket:
		p.MessageID = id
	case *packets.PubrelPacket:
		p.MessageID = id
	case *packets.PubcompPacket:
		p.MessageID = id
	}
	s.send(p)
}

// expect is the next packet of the client, which must be a P. Pings are passed over.
func expect[P packets.ControlPacket](s *fakeSession) P {
	s.t.Helper()
	for {
		select {
		case got, ok := <-s.packets:
			if _, ping := got.(*packets.PingreqPacket); ping {
				continue
			}
			p, is := got.(P)
			if !is {
				s.t.Fatalf("the client sends %v (%v), want %T", got, ok, p)
			}
			return p
		case <-time.After(20 * time.Second):
			var p P
			s.t.Fatalf("the client does not send %T", p)
		}
	}
}

// closed waits for the client to close.
func (s *fakeSession) closed() {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case _, ok := <-s.packets:
			if !ok {
				return
			}
		case <-deadline:
			s.t.Fatal("the client does not close")
		}
	}
}

// handler takes down what a transport reports.
type handler struct {
	received chan *client.Inbound
	events   chan string // "lost: …", "interrupted: …", "recovered", "dropped: …"
}

func newHandler() *handler {
	return &handler{received: make(chan *client.Inbound, 4096), events: make(chan string, 4096)}
}

func (h *handler) Consume(in *client.Inbound)               { h.received <- in }
func (h *handler) Dropped(address string)                   { h.events <- "dropped: " + address }
func (h *handler) Lost(err error)                           { h.events <- "lost: " + err.Error() }
func (h *handler) Interrupted(err error)                    { h.events <- "interrupted: " + err.Error() }
func (h *handler) Recovered()                               { h.events <- "recovered" }
func (h *handler) ResourceStatus(s messages.ResourceStatus) { h.events <- fmt.Sprint(s) }

// opening is an Open in progress.
type opening struct {
	t *testing.T
	*Transport
	h      *handler
	dialer *client.Dialer
	result chan error
}

// open begins Open; the test plays the broker meanwhile and then asks for the result.
func open(t *testing.T, c *messages.Connection, cfg Config, change ...func(*client.Environment)) *opening {
	t.Helper()
	o := &opening{t: t, h: newHandler(), dialer: client.NewDialer(client.HostRules{}), result: make(chan error, 1)}
	env := client.Environment{Dial: o.dialer.Dial}
	for _, f := range change {
		f(&env)
	}
	transport, err := Factory(cfg)(c, env, o.h)
	if err != nil {
		t.Fatal(err)
	}
	o.Transport = transport.(*Transport)
	t.Cleanup(func() { o.dialer.CloseAll(); o.close(time.Second) })
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		o.result <- o.Open(ctx)
	}()
	return o
}

func (o *opening) err() error {
	o.t.Helper()
	select {
	case err := <-o.result:
		return err
	case <-time.After(30 * time.Second):
		o.t.Fatal("Open does not return")
		return nil
	}
}

func (o *opening) ok() {
	o.t.Helper()
	if err := o.err(); err != nil {
		o.t.Fatalf("open: %v", err)
	}
}

func (o *opening) close(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_ = o.Close(ctx)
}

func (o *opening) next() *client.Inbound {
	o.t.Helper()
	select {
	case in := <-o.h.received:
		return in
	case <-time.After(20 * time.Second):
		o.t.Fatal("no message")
		return nil
	}
}

func (o *opening) event() string {
	o.t.Helper()
	select {
	case e := <-o.h.events:
		return e
	case <-time.After(20 * time.Second):
		o.t.Fatal("nothing is reported")
		return ""
	}
}

// publish publishes and returns the outcome to come.
func (o *opening) publish(m client.Outbound) chan client.Outcome {
	outcome := make(chan client.Outcome, 1)
	o.Publish(m, func(out client.Outcome) { outcome <- out })
	return outcome
}

func await(t *testing.T, outcome chan client.Outcome) client.Outcome {
	t.Helper()
	select {
	case o := <-outcome:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("no outcome")
		return client.Outcome{}
	}
}
