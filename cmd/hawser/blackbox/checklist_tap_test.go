package blackbox

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// tap stands between a client and a broker and notes when the broker took the client in and when the client left.
type tap struct {
	broker string

	mu             sync.Mutex
	links          []net.Conn // of clients
	accepted, left []time.Time
}

// tapped is a way to a broker through a tap, as URI.
func tapped(t testing.TB, broker string) (string, *tap) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{broker: strings.TrimPrefix(broker, "tcp://")}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.links = append(p.links, client)
			p.mu.Unlock()
			work.Go(func() { p.forward(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, client := range p.links {
			_ = client.Close()
		}
		p.mu.Unlock()
		work.Wait()
	})
	return "tcp://" + l.Addr().String(), p
}

// forward forwards one link until either side ends it. A probe, which says nothing, does not count.
func (p *tap) forward(client net.Conn) {
	broker, err := net.DialTimeout("tcp", p.broker, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	taken := false
	var down sync.WaitGroup
	down.Go(func() {
		var first [1]byte
		if _, err := io.ReadFull(broker, first[:]); err == nil { // of the broker's CONNACK
			p.mu.Lock()
			taken, p.accepted = true, append(p.accepted, time.Now())
			p.mu.Unlock()
			_, _ = client.Write(first[:])
			_, _ = io.Copy(client, broker)
		}
		_ = client.Close()
	})
	_, _ = io.Copy(broker, client)
	_ = client.Close()
	p.mu.Lock()
	if taken {
		p.left = append(p.left, time.Now())
	}
	p.mu.Unlock()
	_ = broker.Close()
	down.Wait()
}

// seen is how often the broker took the client in, and how often it left.
func (p *tap) seen() (accepted, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.accepted), len(p.left)
}

// last is when the broker last took the client in, and when it last left.
func (p *tap) last() (accepted, left time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.accepted); n > 0 {
		accepted = p.accepted[n-1]
	}
	if n := len(p.left); n > 0 {
		left = p.left[n-1]
	}
	return accepted, left
}
