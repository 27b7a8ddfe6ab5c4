package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// Limits are the limits of a listener. Zero fields take the defaults named here; there is no unlimited.
type Limits struct {
	Header time.Duration // to read the request line and headers, 10s
	Read   time.Duration // to read a whole request, 60s
	Answer time.Duration // from the end of the headers to the end of the answer, 75s: longer than the longest wait for one
	Idle   time.Duration // between two requests of one connection, 610s

	Connections int // open at one time, 4096; more wait until one is closed
}

// maxHeader bounds the request line and headers (http-api.md 8.3).
const maxHeader = 64 << 10

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		d *time.Duration
		v time.Duration
	}{{&l.Header, 10 * time.Second}, {&l.Read, 60 * time.Second}, {&l.Answer, 75 * time.Second}, {&l.Idle, 610 * time.Second}} {
		if *f.d <= 0 {
			*f.d = f.v
		}
	}
	if l.Connections <= 0 {
		l.Connections = 4096
	}
	return l
}

// Listen binds an address. Its error is one line that names what the address is for.
func Listen(purpose, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is in use by another process", purpose, address)
	}
	var cause *net.OpError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return nil, fmt.Errorf("%s: cannot listen on %s: %w", purpose, address, err)
}

// Server serves one listener until Shutdown.
type Server struct {
	http *http.Server
	addr net.Addr
	done chan struct{}
	err  error // valid after done
}

// Serve starts to serve l; the server owns it from now on.
func Serve(l net.Listener, h http.Handler, limits Limits, log *slog.Logger) *Server {
	limits = limits.withDefaults()
	s := &Server{
		http: &http.Server{
			Handler: h, ReadHeaderTimeout: limits.Header, ReadTimeout: limits.Read, WriteTimeout: limits.Answer, IdleTimeout: limits.Idle,
			MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		addr: l.Addr(), done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(netutil.LimitListener(l, limits.Connections)); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serving %s: %w", s.addr, err)
		}
	}()
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.addr }

// Done is closed when the server does not accept any more, by Shutdown or because it failed (Err).
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the server ended without Shutdown, after Done; else nil.
func (s *Server) Err() error { return s.err }

// Shutdown stops accepting at once, lets running requests end until ctx does, and cuts off the rest (the returned error).
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
		err = fmt.Errorf("requests at %s were cut off: %w", s.addr, err)
	}
	<-s.done
	return err
}
