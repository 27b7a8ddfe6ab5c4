package postgres_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// gate is a TCP proxy in front of the database that can cut, or stall without a word.
type gate struct {
	server string
	mu     sync.Mutex
	open   *sync.Cond // signals changes of stalled and closed
	shut   bool
	closed bool
	quiet  bool
	conns  map[net.Conn]bool
	all    sync.WaitGroup
}

// newGate returns a gate before the server of a URL, and the URL that leads through it.
func newGate(t *testing.T, address string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{server: u.Host, conns: map[net.Conn]bool{}}
	g.open = sync.NewCond(&g.mu)
	g.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.all.Go(func() { g.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.flow()
		g.cut()
		g.all.Wait()
	})
	u.Host = l.Addr().String()
	return g, u.String()
}

func (g *gate) serve(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", g.server, 5*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return
	}
	g.conns[client], g.conns[server] = true, true
	g.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { g.pass(server, client) })
	g.pass(client, server)
	both.Wait()
	g.mu.Lock()
	delete(g.conns, client)
	delete(g.conns, server)
	g.mu.Unlock()
}

// pass copies one direction; what is read while the gate is stalled is passed on later, like packets that were lost and
// sent again.
func (g *gate) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		g.mu.Lock()
		for g.quiet && !g.closed {
			g.open.Wait()
		}
		g.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	for c := range g.conns {
		_ = c.Close()
	}
}

func (g *gate) restore() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

func (g *gate) stall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet = true
}

func (g *gate) flow() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet = false
	g.open.Broadcast()
}
