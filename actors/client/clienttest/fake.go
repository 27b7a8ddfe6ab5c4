package clienttest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/messages"
)

// FakeBroker accepts connections; a test plays the broker on each of them. P is a packet of its protocol.
type FakeBroker[P any] struct {
	t        *testing.T
	listener net.Listener
	accepted chan *FakeSession[P]
	all      sync.WaitGroup
}

// FakeSession is one connection of a client.
type FakeSession[P any] struct {
	T    *testing.T
	Conn net.Conn

	packets chan P // closed when the client closes
}

// NewFakeBroker listens; read takes the next packet of a client in.
func NewFakeBroker[P any](t *testing.T, read func(io.Reader) (P, error)) *FakeBroker[P] {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &FakeBroker[P]{t: t, listener: l, accepted: make(chan *FakeSession[P], 8)}
	b.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := &FakeSession[P]{T: t, Conn: c, packets: make(chan P, 4096)}
			b.all.Go(func() {
				defer close(s.packets)
				defer func() { _ = c.Close() }()
				for {
					p, err := read(c)
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

// URI is how a connection reaches the broker.
func (b *FakeBroker[P]) URI() messages.URI {
	addr := b.listener.Addr().(*net.TCPAddr)
	return messages.URI{Raw: "tcp://" + addr.String(), Scheme: "tcp", Host: addr.IP.String(), Port: addr.Port}
}

// Session is the next connection.
func (b *FakeBroker[P]) Session() *FakeSession[P] {
	b.t.Helper()
	select {
	case s := <-b.accepted:
		return s
	case <-time.After(20 * time.Second):
		b.t.Fatal("nobody connects")
		return nil
	}
}

// Idle reports that no connection waits for Session.
func (b *FakeBroker[P]) Idle() bool { return len(b.accepted) == 0 }

// Next is the next packet of the client.
func (s *FakeSession[P]) Next() P {
	s.T.Helper()
	select {
	case p, ok := <-s.packets:
		if !ok {
			s.T.Fatal("the client has closed instead of sending another packet")
		}
		return p
	case <-time.After(20 * time.Second):
		var none P
		s.T.Fatal("the client sends nothing")
		return none
	}
}

// Nothing expects that the client has sent nothing more up to now.
func (s *FakeSession[P]) Nothing() {
	s.T.Helper()
	select {
	case p, ok := <-s.packets:
		s.T.Fatalf("the client sends %v (%v)", p, ok)
	default:
	}
}

// Closed waits for the client to close.
func (s *FakeSession[P]) Closed() {
	s.T.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case _, ok := <-s.packets:
			if !ok {
				return
			}
		case <-deadline:
			s.T.Fatal("the client does not close")
		}
	}
}

// ConnectionAt is a connection to a fake broker.
func ConnectionAt(kind messages.ConnectionType, uri messages.URI, change ...func(*messages.Connection)) *messages.Connection {
	c := &messages.Connection{
		ID: "plant-7", Type: kind, ClientCount: 1, ValidateCertificates: true, SpecificConfig: map[string]string{}, URI: uri,
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// Specific sets an entry of a connection's specificConfig.
func Specific(key, value string) func(*messages.Connection) {
	return func(c *messages.Connection) { c.SpecificConfig[key] = value }
}

// Sources makes sources of one address each, or of several joined by ";".
func Sources(qos int, addresses ...string) func(*messages.Connection) {
	return func(c *messages.Connection) {
		for _, a := range addresses {
			c.Sources = append(c.Sources, messages.Source{Addresses: strings.Split(a, ";"), QoS: &qos})
		}
	}
}
