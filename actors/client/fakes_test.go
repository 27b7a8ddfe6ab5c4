package client

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/actors/monitor"
	"hawser/messages"
)

// endpoint accepts TCP connections and holds them until the test ends.
type endpoint struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func listen(t *testing.T) *endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{Listener: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns = append(e.conns, c)
			e.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range e.conns {
			_ = c.Close()
		}
	})
	return e
}

func (e *endpoint) address() string { return e.Addr().String() }

// dead is an address where nobody listens.
func dead(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// driver is a transport whose steps a test replaces.
type driver struct {
	Handler
	env     Environment
	open    func(ctx context.Context) error
	close   func(ctx context.Context) error
	publish func(m Outbound, done func(Outcome))
}

func (d *driver) Open(ctx context.Context) error {
	if d.open != nil {
		return d.open(ctx)
	}
	return nil
}

func (d *driver) Close(ctx context.Context) error {
	if d.close != nil {
		return d.close(ctx)
	}
	return nil
}

func (d *driver) Publish(m Outbound, done func(Outcome)) {
	if d.publish != nil {
		d.publish(m, done)
		return
	}
	done(Outcome{Status: 200})
}

// journal takes down what happens, in order.
type journal struct {
	mu      sync.Mutex
	entries []string
	changed chan struct{}
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprintf(format, args...))
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// await waits until the journal has entry n times.
func (j *journal) await(t *testing.T, entry string, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		j.mu.Lock()
		count := 0
		for _, e := range j.entries {
			if e == entry {
				count++
			}
		}
		if count >= n {
			j.mu.Unlock()
			return
		}
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d of %d times %q in %v", count, n, entry, j.all())
		}
	}
}

// sink is a Sink that takes down its calls.
type sink struct {
	*journal
	announces bool
	panics    string
	consume   func(in *Inbound)

	mu      sync.Mutex
	publish func(m Outbound, done func(Outcome))
}

func (s *sink) call(name string) {
	s.add("%s", name)
	if s.panics == name {
		panic("sink: " + name)
	}
}

func (s *sink) Consume(in *Inbound) {
	s.call("consume " + in.Text)
	if s.consume != nil {
		s.consume(in)
	}
}

func (s *sink) Connected(publish func(m Outbound, done func(Outcome))) {
	s.mu.Lock()
	s.publish = publish
	s.mu.Unlock()
	s.call("connected")
}
func (s *sink) AttemptEnded() { s.call("attempt ended") }
func (s *sink) Disconnected() { s.call("disconnected") }
func (s *sink) Announce(kind string, done func()) bool {
	s.call("announce " + kind)
	done()
	return s.announces
}

func (s *sink) outcome(t *testing.T) Outcome {
	t.Helper()
	s.mu.Lock()
	publish := s.publish
	s.mu.Unlock()
	outcome := make(chan Outcome, 1)
	publish(Outbound{Address: "a"}, func(o Outcome) { outcome <- o })
	select {
	case o := <-outcome:
		return o
	case <-time.After(10 * time.Second):
		t.Fatal("no outcome")
		return Outcome{}
	}
}

// rig is a runner over drivers that a test makes.
type rig struct {
	*Runner
	t      *testing.T
	sink   *sink
	dialer *Dialer
	record *monitor.Connection
	logged *journal

	mu      sync.Mutex
	drivers []*driver
}

// newRig starts a runner for an endpoint at address; change sees each driver before it is opened.
func newRig(t *testing.T, address string, change func(n int, d *driver), settings ...func(*RunnerConfig)) *rig {
	t.Helper()
	r := &rig{t: t, sink: &sink{journal: &journal{}}, dialer: NewDialer(HostRules{}), logged: &journal{}}
	r.record = monitor.NewRegistry(monitor.Options{}).Connection("plant-7", "mqtt")
	r.record.EnableLogs(time.Now())
	cfg := r.config(address, change)
	for _, f := range settings {
		f(&cfg)
	}
	r.Runner = NewRunner(cfg)
	t.Cleanup(func() {
		r.Stop()
		if n := r.dialer.Sockets(); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
	return r
}

func (r *rig) config(address string, change func(n int, d *driver)) RunnerConfig {
	r.t.Helper()
	uri, err := messages.ParseURI("tcp://user:s3cret-word@" + address)
	if err != nil {
		r.t.Fatal(err)
	}
	qos := 1
	return RunnerConfig{
		Connection: &messages.Connection{
			ID: "plant-7", Type: messages.TypeMQTT, Status: messages.StatusOpen, URI: uri, ClientCount: 1,
			Sources: []messages.Source{{Addresses: []string{"a", "b"}, QoS: &qos, ConsumerCount: 1}},
			Targets: []messages.Target{{Address: "out", QoS: &qos}, {Address: "out/{{ thing:id }}", QoS: &qos}},
		},
		Factory: func(_ *messages.Connection, env Environment, h Handler) (Transport, error) {
			d := &driver{Handler: h, env: env}
			r.mu.Lock()
			r.drivers = append(r.drivers, d)
			n := len(r.drivers)
			r.mu.Unlock()
			if change != nil {
				change(n, d)
			}
			return d, nil
		},
		Env: Environment{Dial: r.dialer.Dial}, Sink: r.sink, Record: r.record, Instance: "box-1",
		Settings: Settings{MinBackoff: 20 * time.Millisecond, DisconnectAnnouncementTimeout: 50 * time.Millisecond, DisconnectingMaxTimeout: 300 * time.Millisecond},
		Log:      slog.New(slog.NewTextHandler(r, nil)),
	}
}

// Write takes the log of the service in.
func (r *rig) Write(p []byte) (int, error) {
	r.logged.add("%s", p)
	return len(p), nil
}

func (r *rig) driver(n int) *driver {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drivers[n-1]
}

func (r *rig) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.Open(ctx)
}

func (r *rig) mustOpen() {
	r.t.Helper()
	if err := r.open(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.Close(ctx)
}

// expect checks the calls of the sink so far.
func (r *rig) expect(calls ...string) {
	r.t.Helper()
	if got := r.sink.all(); !slices.Equal(got, calls) {
		r.t.Errorf("the sink was told %q, want %q", got, calls)
	}
}

// clientStatus is the client's own entry.
func (r *rig) clientStatus() messages.ResourceStatus { return r.Status()[0] }

// entries are the connection log, "success: …" or "failure: …".
func (r *rig) entries() []string {
	var out []string
	for _, e := range r.record.Logs(time.Now()).Entries {
		out = append(out, e.Level+": "+e.Message)
	}
	return out
}

func (r *rig) secretsIn(texts ...string) {
	r.t.Helper()
	for _, text := range slices.Concat(texts, r.entries(), r.logged.all()) {
		if strings.Contains(text, "s3cret-word") {
			r.t.Errorf("the password shows: %s", text)
		}
	}
}
