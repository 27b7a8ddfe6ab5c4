package actors

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

// broker is where fake transports connect to: a TCP server that knows which connections are there, and so sees from the
// other side what a node does. The first line of a socket is the connection's id with the client's suffix.
type broker struct {
	uri string

	mu     sync.Mutex
	opened []string // ids in the order in which they came
	times  []time.Time
	live   map[string]int
	named  map[string]map[net.Conn]bool
	twice  []string // ids that were there twice at one time
	socks  map[net.Conn]bool
}

func newBroker(t testing.TB) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{uri: "tcp://" + l.Addr().String(), live: map[string]int{}, named: map[string]map[net.Conn]bool{}, socks: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for c := range b.socks {
			_ = c.Close()
		}
		b.mu.Unlock()
		serving.Wait()
	})
	return b
}

func (b *broker) serve(c net.Conn) {
	b.mu.Lock()
	b.socks[c] = true
	b.mu.Unlock()
	defer func() {
		_ = c.Close()
		b.mu.Lock()
		delete(b.socks, c)
		b.mu.Unlock()
	}()
	lines := bufio.NewReader(c)
	id, err := lines.ReadString('\n')
	if err != nil {
		return // a probe
	}
	id = strings.TrimSpace(id)
	b.mu.Lock()
	b.opened, b.times = append(b.opened, id), append(b.times, time.Now())
	b.live[id]++
	for other := range b.named[id] {
		if !hungUp(other) && !hungUp(c) { // which may both be read late
			b.twice = append(b.twice, id)
		}
	}
	if b.named[id] == nil {
		b.named[id] = map[net.Conn]bool{}
	}
	b.named[id][c] = true
	b.mu.Unlock()
	if _, err := io.WriteString(c, "welcome\n"); err == nil {
		_, _ = io.Copy(io.Discard, lines)
	}
	b.mu.Lock()
	b.live[id]--
	delete(b.named[id], c)
	b.mu.Unlock()
}

// hungUp reports whether the peer of a socket has closed it, read or not.
func hungUp(c net.Conn) (closed bool) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err != nil && err != syscall.EAGAIN
	})
	return closed || err != nil
}

// there is the number of connections that are connected now.
func (b *broker) there() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, sockets := range b.live {
		n += sockets
	}
	return n
}

// wantNoneTwice fails the test if a connection had two sockets at one time.
func (b *broker) wantNoneTwice(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.twice) > 0 {
		t.Errorf("two clients at one time: %v", b.twice)
	}
}

// socketTransport keeps one socket to a broker.
type socketTransport struct {
	conn *messages.Connection
	env  client.Environment
	h    client.Handler
	sock net.Conn
	done chan struct{}
}

func socketFactory(conn *messages.Connection, env client.Environment, h client.Handler) (client.Transport, error) {
	if strings.HasPrefix(conn.ID, "panics-in-the-factory") {
		panic("the driver is broken")
	}
	return &socketTransport{conn: conn, env: env, h: h}, nil
}

func (s *socketTransport) Open(ctx context.Context) error {
	if strings.HasPrefix(s.conn.ID, "panics-in-open") {
		panic("the driver is broken")
	}
	sock, err := s.env.Dial(ctx, "tcp", fmt.Sprintf("%s:%d", s.conn.URI.Host, s.conn.URI.Port))
	if err != nil {
		return err
	}
	lines := bufio.NewReader(sock)
	if _, err = io.WriteString(sock, s.conn.ID+client.Suffix(s.conn, s.env.Index)+"\n"); err == nil {
		_, err = lines.ReadString('\n')
	}
	if err != nil {
		_ = sock.Close()
		return err
	}
	s.sock, s.done = sock, make(chan struct{})
	go func() {
		defer close(s.done)
		_, err := io.Copy(io.Discard, lines)
		s.h.Lost(errors.Join(errors.New("the link is gone"), err))
	}()
	return nil
}

func (s *socketTransport) Publish(_ client.Outbound, done func(client.Outcome)) {
	done(client.Outcome{Status: 200})
}

func (s *socketTransport) Close(context.Context) error {
	if s.sock != nil {
		_ = s.sock.Close()
		<-s.done
	}
	return nil
}

// gate stands between a node and its store. Cut, nothing passes: a statement waits until its deadline, as it does when the
// network is gone.
type gate struct {
	persistence.Store
	cut atomic.Bool
	// appended, if set, runs after a row was written and before the node learns of it; its error is what the node learns.
	appended func(ctx context.Context, a persistence.Append) error
}

func (g *gate) pass(ctx context.Context) error {
	if !g.cut.Load() {
		return nil
	}
	<-ctx.Done()
	return errors.Join(persistence.ErrUnavailable, ctx.Err())
}

func (g *gate) Append(ctx context.Context, a persistence.Append) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	if err := g.Store.Append(ctx, a); err != nil {
		return err
	}
	if g.appended != nil {
		return g.appended(ctx, a)
	}
	return nil
}

func (g *gate) Open(ctx context.Context, shards []int) ([]persistence.IndexRow, error) {
	if err := g.pass(ctx); err != nil {
		return nil, err
	}
	return g.Store.Open(ctx, shards)
}

func (g *gate) Join(ctx context.Context, m persistence.Member) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.Store.Join(ctx, m)
}

func (g *gate) Beat(ctx context.Context, id persistence.MemberID, unreachable []persistence.MemberID) (bool, error) {
	if err := g.pass(ctx); err != nil {
		return false, err
	}
	return g.Store.Beat(ctx, id, unreachable)
}

func (g *gate) Members(ctx context.Context) ([]persistence.Member, int64, error) {
	if err := g.pass(ctx); err != nil {
		return nil, 0, err
	}
	return g.Store.Members(ctx)
}

func (g *gate) Shards(ctx context.Context) ([]persistence.Lease, error) {
	if err := g.pass(ctx); err != nil {
		return nil, err
	}
	return g.Store.Shards(ctx)
}

func (g *gate) Leave(ctx context.Context, id persistence.MemberID) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.Store.Leave(ctx, id)
}

// member is a node of this process with the gate to its store. Nodes that have no cluster address find each other in the
// database all the same; they only cannot forward.
type member struct {
	*Node
	t    testing.TB
	gate *gate
}

const testTTL = 3 * time.Second

// options are those of every node under test.
func options(store persistence.Store, instance string) Options {
	return Options{
		Store: store, Instance: instance, Shards: 16, TTL: testTTL, Log: quiet(),
		Transports: map[messages.ConnectionType]client.Factory{messages.TypeMQTT: socketFactory, messages.TypeMQTT5: socketFactory},
		Client:     client.Settings{MinBackoff: 50 * time.Millisecond},
		Timings:    connection.Timings{BackoffMin: 20 * time.Millisecond},
		Rules: connection.Rules{Validate: func(c *messages.Connection) error {
			if strings.HasPrefix(c.ID, "panics-in-validate") && c.Name != nil && *c.Name == "boom" {
				panic("a rule is broken")
			}
			return nil
		}},
	}
}

// startMember starts a node on the database at url; its store is closed at the end of the test.
func startMember(t testing.TB, url, instance string, change ...func(*Options)) *member {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Options{URL: url, TTL: testTTL, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, gate: &gate{Store: store}}
	o := options(m.gate, instance)
	for _, f := range change {
		f(&o)
	}
	if m.Node, err = Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.gate.cut.Store(false)
		m.Stop()
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

// owns is the number of shards that the member acts on.
func (m *member) owns() int {
	return len(m.membership.Table().Owned(persistence.KindConnection))
}

// ready waits until the member has claimed its first shards.
func (m *member) ready() *member {
	m.t.Helper()
	eventually(m.t, 15*time.Second, "shards are claimed", func() error {
		if m.owns() == 0 || !m.Ready() {
			return fmt.Errorf("%d shards, ready %v", m.owns(), m.Ready())
		}
		return nil
	})
	return m
}

// ask executes a command and returns its reply; the ask may take ten seconds.
func (m *member) ask(c messages.Command) (messages.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return m.Ask(ctx, messages.TargetConnection, c)
}

// want asks and checks the status.
func (m *member) want(status int, c messages.Command) messages.Reply {
	m.t.Helper()
	reply, err := m.ask(c)
	if err != nil || reply.Status != status {
		m.t.Fatalf("%s of %s: %d %v, want %d: %s", c.Type, c.ConnectionID, reply.Status, err, status, reply.Body)
	}
	return reply
}

// on is a command for a connection with a request id of its own.
func on(t testing.TB, typ, id string) messages.Command {
	t.Helper()
	return command(t, map[string]any{"type": typ, "connectionId": id})
}

// with is a command that carries a connection.
func with(t testing.TB, typ, id, uri, status string, change ...func(map[string]any)) messages.Command {
	t.Helper()
	c := map[string]any{
		"id": id, "connectionType": "mqtt", "connectionStatus": status, "uri": uri,
		"sources": []any{map[string]any{"addresses": []any{"in"}, "qos": 1, "authorizationContext": []any{"a:b"}}},
	}
	for _, f := range change {
		f(c)
	}
	return command(t, map[string]any{"type": typ, "connection": c})
}

func named(name string) func(map[string]any) { return func(c map[string]any) { c["name"] = name } }

func command(t testing.TB, members map[string]any) messages.Command {
	t.Helper()
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	c, err := messages.ParseCommand(text, messages.Headers{messages.HeaderSudo: "true"})
	if err != nil {
		t.Fatal(err)
	}
	c.RequestID, c.Received = uuid.NewString(), time.Now()
	return c
}

// events lists the event types of a connection.
func events(t testing.TB, store persistence.Store, id string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out []string
	for e, err := range store.Events(ctx, connection.PID(id), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimPrefix(e.Type, "connectivity.events:connection"))
	}
	return out
}

func wantEvents(t testing.TB, store persistence.Store, id string, want ...string) {
	t.Helper()
	if got := events(t, store, id); !slices.Equal(got, want) {
		t.Errorf("the journal of %s holds %v, want %v", id, got, want)
	}
}

var eventually = persistencetest.Eventually // short: it is everywhere

func quiet() *slog.Logger {
	if os.Getenv("HAWSER_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

func schema(t testing.TB) string { return persistencetest.Schema(t) }
