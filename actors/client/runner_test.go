package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/messages"
)

func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %v", what, took)
	}
}

// connectionFailed expects a 504 whose description holds text.
func connectionFailed(t *testing.T, err error, text string) {
	t.Helper()
	var e *messages.Error
	if !errors.As(err, &e) || e.Status != 504 || e.Code != "connectivity:connection.failed" || !strings.Contains(e.Description, text) {
		t.Fatalf("%v, want connection.failed with %q", err, text)
	}
}

func TestOpenAndClose(t *testing.T) {
	e := listen(t)
	var order journal
	r := newRig(t, e.address(), func(_ int, d *driver) {
		d.open = func(ctx context.Context) error {
			_, err := d.env.Dial(ctx, "tcp", e.address())
			order.add("open")
			return err
		}
		d.close = func(context.Context) error { order.add("close"); return nil }
	})
	if s := r.clientStatus(); s.Status != messages.StatusUnknown || s.Details != "initialized" || r.Connected() {
		t.Errorf("before: %+v", s)
	}
	r.mustOpen()
	r.sink.await(t, "announce opened", 1) // after the answer
	r.expect("connected", "announce opened")
	if s := r.clientStatus(); s.Status != messages.StatusOpen || s.Recovery != messages.RecoverySucceeded || s.Details != "CONNECTED" || !r.Connected() {
		t.Errorf("open: %+v", s)
	}
	if o := r.sink.outcome(t); o.Err != nil {
		t.Errorf("publish: %v", o.Err)
	}
	r.mustOpen() // at once
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	r.expect("connected", "announce opened", "announce closed", "disconnected")
	if s := r.clientStatus(); s.Status != messages.StatusClosed || !strings.HasPrefix(s.Details, "Disconnected at ") || r.Connected() {
		t.Errorf("closed: %+v", s)
	}
	if o := r.sink.outcome(t); o.Status != 503 || !errors.Is(o.Err, ErrClosed) {
		t.Errorf("publish after close: %+v", o)
	}
	if got := order.all(); !slices.Equal(got, []string{"open", "close"}) {
		t.Errorf("the transport did %v", got)
	}
	if n := r.dialer.Sockets(); n != 0 {
		t.Errorf("%d sockets after close", n)
	}
	if got, want := r.entries(), []string{"success: Connecting.", "success: Connection successful", "success: Disconnected."}; !slices.Equal(got, want) {
		t.Errorf("logged %q", got)
	}
}

// TestMessagesWaitForTheSink: what arrives while Open runs is consumed after Connected, what comes after Disconnected is
// left to the broker.
func TestMessagesWaitForTheSink(t *testing.T) {
	var consumed sync.WaitGroup
	r := newRig(t, listen(t).address(), func(_ int, d *driver) {
		d.open = func(context.Context) error {
			consumed.Go(func() { d.Consume(&Inbound{Text: "early"}) })
			return nil
		}
	})
	r.mustOpen()
	consumed.Wait()
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	r.driver(1).Consume(&Inbound{Text: "late"})
	calls := r.sink.all()
	if slices.Index(calls, "connected") > slices.Index(calls, "consume early") || slices.Contains(calls, "consume late") {
		t.Errorf("%q", calls)
	}
}

func TestUnreachable(t *testing.T) {
	address := dead(t)
	r := newRig(t, address, func(int, *driver) { t.Error("a transport is made although the probe has failed") })
	connectionFailed(t, r.open(), "Could not establish a connection on '"+address+"'. Make sure the endpoint is reachable and that no firewall prevents the connection.")
	s := r.clientStatus()
	if s.Status != messages.StatusMisconfigured || s.Recovery != messages.RecoveryOngoing || !strings.Contains(s.Details, address) || !strings.Contains(s.Details, " At 20") {
		t.Errorf("%+v", s)
	}
	r.sink.await(t, "attempt ended", 3) // each failed attempt
	logged := strings.Join(r.entries(), "\n")
	for _, text := range []string{"failure: Socket could not be opened for " + address + " due to ", "Will reconnect after PT0.02S", "Will reconnect after PT0.04S", "success: Trying to reconnect, try 1 of 50."} {
		if !strings.Contains(logged, text) {
			t.Errorf("%q is not logged in:\n%s", text, logged)
		}
	}
	r.secretsIn(s.Details)
}

func TestBlockedHost(t *testing.T) {
	e := listen(t)
	rules, err := ParseHostRules("", "", "", "127[.].*")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, e.address(), nil, func(cfg *RunnerConfig) { cfg.Env.Dial = NewDialer(rules).Dial })
	connectionFailed(t, r.open(), "blocked")
	if s := r.clientStatus(); s.Status != messages.StatusMisconfigured {
		t.Errorf("%+v", s)
	}
}

// TestReconnect: an attempt fails, the next succeeds, the link breaks, and the runner comes back by itself.
func TestReconnect(t *testing.T) {
	r := newRig(t, listen(t).address(), func(n int, d *driver) {
		if n == 1 {
			d.open = func(context.Context) error { return &Failure{Text: "Refused with s3cret-word.", UserIndicated: true} }
		}
	})
	err := r.open()
	connectionFailed(t, err, "Cause: Refused with *****.")
	r.sink.await(t, "connected", 1)
	since := r.clientStatus().Since
	r.driver(2).Lost(io.ErrUnexpectedEOF)
	r.driver(2).Lost(io.ErrUnexpectedEOF) // counts once
	r.sink.await(t, "announce opened", 2)
	r.mustOpen()
	r.expect("attempt ended", "connected", "announce opened", "disconnected", "connected", "announce opened")
	if s := r.clientStatus(); s.Status != messages.StatusOpen || !s.Since.After(since) {
		t.Errorf("%+v", s)
	}
	r.secretsIn(err.Error())
}

// TestLostBeforeOpened: a link that breaks before the runner has heard of its success is a failed attempt.
func TestLostBeforeOpened(t *testing.T) {
	r := newRig(t, listen(t).address(), func(n int, d *driver) {
		if n == 1 {
			d.open = func(context.Context) error { d.Lost(io.EOF); return nil }
		}
	})
	if err := r.open(); err == nil {
		t.Fatal("opened")
	}
	r.sink.await(t, "connected", 1)
	if n := len(r.sink.all()); r.sink.all()[0] != "attempt ended" || n > 3 {
		t.Errorf("%q", r.sink.all())
	}
}

func TestAnnouncementDelaysTheDisconnect(t *testing.T) {
	r := newRig(t, listen(t).address(), nil, func(cfg *RunnerConfig) { cfg.Sink.(*sink).announces = true })
	r.mustOpen()
	began := time.Now()
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("closed after %v, before the announcement timeout", took)
	}
}

// stubborn blocks until the socket that it has opened is closed from outside.
func stubborn(t *testing.T, d *driver, address string) func(context.Context) error {
	conn, err := d.env.Dial(context.Background(), "tcp", address)
	if err != nil {
		t.Error(err)
		return nil
	}
	return func(context.Context) error {
		_, err := conn.Read(make([]byte, 1))
		return err
	}
}

// TestStubbornTransports: one that heeds no context is ended by its sockets; one that ignores even those is left alone.
func TestStubbornTransports(t *testing.T) {
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	hang := func(context.Context) error { <-forever; return nil }
	for name, row := range map[string]struct {
		change func(e *endpoint, d *driver)
		opens  bool
		limit  time.Duration
	}{
		"open reads":   {func(e *endpoint, d *driver) { d.open = stubborn(t, d, e.address()) }, false, 500 * time.Millisecond},
		"open hangs":   {func(_ *endpoint, d *driver) { d.open = hang }, false, 2 * stopTimeout},
		"close reads":  {func(e *endpoint, d *driver) { d.close = stubborn(t, d, e.address()) }, true, 500 * time.Millisecond},
		"close hangs":  {func(_ *endpoint, d *driver) { d.close = hang }, true, 2 * stopTimeout},
		"open panics":  {func(_ *endpoint, d *driver) { d.open = func(context.Context) error { panic("s3cret-word") } }, false, 500 * time.Millisecond},
		"close panics": {func(_ *endpoint, d *driver) { d.close = func(context.Context) error { panic("s3cret-word") } }, true, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			e := listen(t)
			r := newRig(t, e.address(), func(_ int, d *driver) { row.change(e, d) })
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			err := r.Open(ctx)
			if (err == nil) != row.opens {
				t.Fatalf("open: %v", err)
			}
			within(t, row.limit, "stop", r.Stop)
			if n := r.dialer.Sockets(); n != 0 {
				t.Errorf("%d sockets after stop", n)
			}
			if err := r.open(); !errors.Is(err, ErrStopped) {
				t.Errorf("open after stop: %v", err)
			}
			r.secretsIn()
		})
	}
}

// TestCloseTakesTooLong is piggyback.md 4.6: the answer is 504, and no socket is left.
func TestCloseTakesTooLong(t *testing.T) {
	e := listen(t)
	r := newRig(t, e.address(), func(_ int, d *driver) { d.close = stubborn(t, d, e.address()) })
	r.mustOpen()
	within(t, 2*time.Second, "close", func() { connectionFailed(t, r.close(), "did not disconnect within 300ms") })
	if s := r.clientStatus(); s.Status != messages.StatusClosed {
		t.Errorf("%+v", s)
	}
}

func TestAttemptTakesTooLong(t *testing.T) {
	e := listen(t)
	r := newRig(t, e.address(), func(n int, d *driver) {
		if n == 1 {
			d.open = stubborn(t, d, e.address())
		}
	}, func(cfg *RunnerConfig) { cfg.Settings.ConnectingMinTimeout = 50 * time.Millisecond })
	connectionFailed(t, r.open(), "could not be established within 50ms")
	r.sink.await(t, "announce opened", 1)
	r.expect("attempt ended", "connected", "announce opened")
}

// TestCloseCutsAnAttempt: it is not reported as a failed attempt, and the waiting open is answered.
func TestCloseCutsAnAttempt(t *testing.T) {
	e := listen(t)
	begun := make(chan struct{})
	r := newRig(t, e.address(), func(_ int, d *driver) {
		open := stubborn(t, d, e.address())
		d.open = func(ctx context.Context) error { close(begun); return open(ctx) }
	})
	waiting := make(chan error, 1)
	go func() { waiting <- r.open() }()
	<-begun
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	connectionFailed(t, <-waiting, "closed while it was connecting")
	r.expect()
}

func TestPanics(t *testing.T) {
	for _, call := range []string{"connected", "announce opened", "announce closed", "disconnected"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t, listen(t).address(), nil, func(cfg *RunnerConfig) { cfg.Sink.(*sink).panics = call })
			r.mustOpen()
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("publish", func(t *testing.T) {
		r := newRig(t, listen(t).address(), func(n int, d *driver) {
			if n == 1 {
				d.publish = func(Outbound, func(Outcome)) { panic("publish") }
			}
		})
		r.mustOpen()
		if o := r.sink.outcome(t); o.Err == nil {
			t.Error("no error")
		}
		r.sink.await(t, "connected", 2)
		if o := r.sink.outcome(t); o.Err != nil {
			t.Errorf("after the reconnect: %v", o.Err)
		}
	})
	t.Run("factory", func(t *testing.T) {
		r := newRig(t, listen(t).address(), func(int, *driver) { panic("factory") })
		connectionFailed(t, r.open(), "unexpectedly")
	})
}

func TestSSHTunnelIsRefused(t *testing.T) {
	r := newRig(t, listen(t).address(), func(int, *driver) { t.Error("connects past the tunnel") }, func(cfg *RunnerConfig) {
		cfg.Connection.SSHTunnel = &messages.SSHTunnel{Enabled: true}
	})
	connectionFailed(t, r.open(), "SSH")
}

// TestAnybodyAnyTime: opens, closes, losses and a stop at the same time come to an end, with sink calls in pairs.
func TestAnybodyAnyTime(t *testing.T) {
	for range 20 {
		r := newRig(t, listen(t).address(), func(n int, d *driver) {
			d.open = func(context.Context) error {
				if n%3 == 0 {
					return errors.New("no")
				}
				return nil
			}
		})
		var all sync.WaitGroup
		for k := range 6 {
			all.Go(func() {
				for range 10 {
					switch rand.N(4) {
					case 0:
						_ = r.close()
					case 1:
						_ = r.Status()
						r.mu.Lock()
						if n := len(r.drivers); n > 0 {
							r.drivers[n-1].Lost(io.EOF)
						}
						r.mu.Unlock()
					default:
						_ = r.open()
					}
				}
				if k == 0 {
					r.Stop()
				}
			})
		}
		all.Wait()
		linked := false
		for _, call := range r.sink.all() {
			switch call {
			case "connected":
				if linked {
					t.Fatalf("connected twice: %q", r.sink.all())
				}
				linked = true
			case "disconnected":
				if !linked {
					t.Fatalf("disconnected twice: %q", r.sink.all())
				}
				linked = false
			}
		}
		if linked {
			t.Fatalf("stopped, and the sink believes in a link: %q", r.sink.all())
		}
	}
}

// TestStopInTheMiddle ends a runner in each phase, at once.
func TestStopInTheMiddle(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 30 * time.Millisecond} {
		t.Run(fmt.Sprint(wait), func(t *testing.T) {
			r := newRig(t, listen(t).address(), func(n int, d *driver) {
				d.open = func(ctx context.Context) error {
					select {
					case <-time.After(3 * time.Millisecond):
					case <-ctx.Done():
					}
					return ctx.Err()
				}
			})
			answer := make(chan error, 1)
			go func() { answer <- r.open() }()
			<-time.After(wait)
			within(t, 500*time.Millisecond, "stop", r.Stop)
			<-answer
		})
	}
}

func TestTest(t *testing.T) {
	e := listen(t)
	for name, row := range map[string]struct {
		address string
		change  func(d *driver)
		want    string // of the description; "" for success
	}{
		"success":     {e.address(), func(d *driver) { d.Consume(&Inbound{Text: "left to the broker"}) }, ""},
		"refused":     {e.address(), func(d *driver) { d.open = func(context.Context) error { return &Failure{Text: "Not authorized."} } }, "Cause: Not authorized."},
		"unreachable": {dead(t), nil, "Make sure the endpoint is reachable"},
		"too long":    {e.address(), func(d *driver) { d.open = stubborn(t, d, e.address()) }, "Failed to open requested connection within <1> seconds!"},
		"panic":       {e.address(), func(d *driver) { d.open = func(context.Context) error { panic("x") } }, "unexpectedly"},
	} {
		t.Run(name, func(t *testing.T) {
			rig := &rig{t: t, sink: &sink{journal: &journal{}}, dialer: NewDialer(HostRules{}), logged: &journal{}}
			cfg := rig.config(row.address, func(_ int, d *driver) {
				if !d.env.Test {
					t.Error("the transport does not know that it is a test")
				}
				if name == "success" {
					d.open = func(context.Context) error { go row.change(d); return nil }
				} else if row.change != nil {
					row.change(d)
				}
			})
			cfg.Settings.TestingTimeout = time.Second
			cfg.Settings.ConnectingMinTimeout = time.Minute
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			err := Test(ctx, cfg)
			if row.want == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else {
				connectionFailed(t, err, row.want)
			}
			if n := rig.dialer.Sockets(); n != 0 || len(rig.sink.all()) > 0 {
				t.Errorf("%d sockets, sink %q", n, rig.sink.all())
			}
		})
	}
}

// TestDropped: dropped messages are counted as throttling of their source.
func TestDropped(t *testing.T) {
	r := newRig(t, listen(t).address(), nil)
	r.mustOpen()
	r.driver(1).Dropped("a;b")
	m := r.record.Metrics(time.Now())
	if got := m.Sources["a;b"]["throttled"].Failure.PT1M; got != 1 {
		t.Errorf("%+v", m.Sources)
	}
}
