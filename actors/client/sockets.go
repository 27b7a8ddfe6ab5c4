package client

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialFunc opens a socket.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// sockets is a register of the sockets that were dialled through it, so that they can be closed all at once, whatever the
// driver that uses them is doing. Closed, it cancels dials in progress and refuses new ones until it is opened again.
type sockets struct {
	dial dialFunc

	mu     sync.Mutex
	closed bool
	conns  map[*socket]struct{}
	dials  *dials
}

// dials are the dials in progress since the register was opened.
type dials struct {
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
}

func newDials() *dials {
	d := &dials{}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

func newSockets(dial dialFunc) *sockets {
	return &sockets{dial: dial, conns: map[*socket]struct{}{}, dials: newDials()}
}

// socket is a registered connection.
type socket struct {
	net.Conn
	register *sockets
}

// Close closes the connection and strikes it off the register.
func (s *socket) Close() error {
	s.register.mu.Lock()
	delete(s.register.conns, s)
	s.register.mu.Unlock()
	return s.Conn.Close()
}

// NetConn returns the connection below, as tls.Conn does.
func (s *socket) NetConn() net.Conn { return s.Conn }

// Dial opens a registered socket. While the register is closed it fails with ErrClosed.
func (s *sockets) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	d := s.dials
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	d.all.Add(1)
	s.mu.Unlock()
	defer d.all.Done()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	conn, err := s.dial(ctx, network, address)
	if d.ctx.Err() != nil {
		if err == nil {
			_ = conn.Close()
		}
		return nil, ErrClosed
	}
	if err != nil {
		return nil, err
	}
	k := &socket{Conn: conn, register: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dials != d || s.closed {
		_ = conn.Close()
		return nil, ErrClosed
	}
	s.conns[k] = struct{}{}
	return k, nil
}

// close closes all sockets and the register. Dials in progress are cancelled and waited for, at most for a second: one
// that returns later closes its socket itself.
func (s *sockets) close(abort bool) {
	s.mu.Lock()
	s.closed = true
	d, conns := s.dials, s.conns
	s.conns = map[*socket]struct{}{}
	s.mu.Unlock()
	d.cancel()
	for k := range conns {
		if abort {
			discard(k.Conn)
		}
		_ = k.Conn.Close()
	}
	gone := make(chan struct{})
	go func() { d.all.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(time.Second):
	}
}

// discard makes the kernel drop what it has not sent yet when c is closed.
func discard(c net.Conn) {
	for {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			return
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		c = below.NetConn()
	}
}

// open makes the register usable again.
func (s *sockets) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.closed, s.dials = false, newDials()
	}
}

// count is the number of open sockets.
func (s *sockets) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
