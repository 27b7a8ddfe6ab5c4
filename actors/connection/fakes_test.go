package connection

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/persistence"
)

// memoryStore is a journal in memory that refuses what a real one refuses: gaps, repeated numbers, stale epochs. Only what
// entities use is implemented; anything else panics by the nil interface.
type memoryStore struct {
	persistence.Journal
	mu        sync.Mutex
	epoch     persistence.Epoch // of the present owner
	events    map[string][]persistence.Event
	snapshots map[string][]persistence.Snapshot
	index     map[string]persistence.IndexRow
	// onAppend, if set, decides the fate of the next appends: write says whether the row is stored, err is answered.
	onAppend  func(a persistence.Append) (write bool, err error)
	onRecover func() error
	appends   int
}

func newMemoryStore() *memoryStore {
	return &memoryStore{epoch: 1, events: map[string][]persistence.Event{}, snapshots: map[string][]persistence.Snapshot{}, index: map[string]persistence.IndexRow{}}
}

func (m *memoryStore) lastSeq(pid string) int64 {
	var last int64
	for _, e := range m.events[pid] {
		last = max(last, e.SeqNr)
	}
	for _, s := range m.snapshots[pid] {
		last = max(last, s.SeqNr)
	}
	return last
}

func (m *memoryStore) Append(_ context.Context, a persistence.Append) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	write, err := true, error(nil)
	if m.onAppend != nil {
		write, err = m.onAppend(a)
	}
	if !write {
		return err
	}
	switch {
	case a.Lease.Epoch != m.epoch || a.Event.Epoch != m.epoch:
		return persistence.ErrFenced
	case a.Event.SeqNr != m.lastSeq(a.Event.PID)+1:
		return persistence.ErrConflict
	case !json.Valid(a.Event.Payload):
		return &persistence.RejectedError{Reason: "no JSON"}
	}
	m.events[a.Event.PID] = append(m.events[a.Event.PID], a.Event)
	m.index[a.Index.ID] = a.Index
	if a.Snapshot != nil {
		m.snapshots[a.Event.PID] = append(m.snapshots[a.Event.PID], *a.Snapshot)
	}
	return err
}

func (m *memoryStore) SaveSnapshot(_ context.Context, l persistence.Lease, s persistence.Snapshot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.Epoch != m.epoch {
		return persistence.ErrFenced
	}
	m.snapshots[s.PID] = append(m.snapshots[s.PID], s)
	return nil
}

func (m *memoryStore) Recover(_ context.Context, pids []string) iter.Seq2[persistence.Recovery, error] {
	return func(yield func(persistence.Recovery, error) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.onRecover != nil {
			if err := m.onRecover(); err != nil {
				yield(persistence.Recovery{}, err)
				return
			}
		}
		for _, pid := range pids {
			r := persistence.Recovery{PID: pid, LastSeq: m.lastSeq(pid)}
			var from int64
			if n := len(m.snapshots[pid]); n > 0 {
				s := m.snapshots[pid][n-1]
				r.Snapshot, from = &s, s.SeqNr
			}
			for _, e := range m.events[pid] {
				if e.SeqNr > from {
					r.Events = append(r.Events, e)
				}
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memoryStore) Events(_ context.Context, pid string, from, to int64) iter.Seq2[persistence.Event, error] {
	return func(yield func(persistence.Event, error) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range m.events[pid] {
			if e.SeqNr >= from && (to == 0 || e.SeqNr <= to) && !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memoryStore) SnapshotAt(_ context.Context, pid string, maxSeq int64, maxTime time.Time) (persistence.Snapshot, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range slices.Backward(m.snapshots[pid]) {
		if (maxSeq == 0 || s.SeqNr <= maxSeq) && (maxTime.IsZero() || !s.CreatedAt.After(maxTime)) {
			return s, true, nil
		}
	}
	return persistence.Snapshot{}, false, nil
}

func (m *memoryStore) RecentRequests(_ context.Context, pid string, since time.Time) ([]persistence.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []persistence.Event
	for _, e := range m.events[pid] {
		if e.RequestID != "" && e.CreatedAt.After(since) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (m *memoryStore) DeleteRange(_ context.Context, pid string, from, to int64, events, snapshots bool) (e, s int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if events {
		n := len(m.events[pid])
		m.events[pid] = slices.DeleteFunc(m.events[pid], func(e persistence.Event) bool { return e.SeqNr >= from && e.SeqNr <= to })
		e = int64(n - len(m.events[pid]))
	}
	if snapshots {
		n := len(m.snapshots[pid])
		m.snapshots[pid] = slices.DeleteFunc(m.snapshots[pid], func(e persistence.Snapshot) bool { return e.SeqNr >= from && e.SeqNr <= to })
		s = int64(n - len(m.snapshots[pid]))
	}
	return e, s, nil
}

// types lists the types of the stored events of an id, shortened.
func (m *memoryStore) types(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, e := range m.events[PID(id)] {
		out = append(out, strings.TrimPrefix(e.Type, "connectivity.events:connection"))
	}
	return strings.Join(out, " ")
}

func (m *memoryStore) fate(f func(a persistence.Append) (bool, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onAppend = f
}

// broker is the other side of fake clients: what the test lets happen, and what happened.
type broker struct {
	mu      sync.Mutex
	log     []string
	live    int // clients started and not stopped
	maxLive int
	hold    chan struct{} // not nil: opens wait until it is closed
	holdEnd chan struct{} // not nil: closes wait until it is closed
	stop    chan struct{} // not nil: stops wait until it is closed
	refuse  error         // what open and test answer
	stuck   error         // what close answers
}

func (b *broker) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, fmt.Sprintf(format, args...))
}

func (b *broker) events() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.log, " ")
}

func (b *broker) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.log {
		if e == what {
			n++
		}
	}
	return n
}

func (b *broker) gates() (hold, holdEnd chan struct{}, refuse, stuck error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hold, b.holdEnd, b.refuse, b.stuck
}

func (b *broker) set(f func(b *broker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

func (b *broker) Start(conn *messages.Connection, _ int) Client {
	b.note("start")
	b.set(func(b *broker) { b.live++; b.maxLive = max(b.maxLive, b.live) })
	return &fakeClient{broker: b, conn: conn}
}

func (b *broker) Test(ctx context.Context, _ *messages.Connection) error {
	b.note("test")
	hold, _, refuse, _ := b.gates()
	if err := pass(ctx, hold); err != nil {
		return err
	}
	return refuse
}

func pass(ctx context.Context, gate chan struct{}) error {
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type fakeClient struct {
	broker *broker
	conn   *messages.Connection
	mu     sync.Mutex
	open   bool
	over   bool
}

func (c *fakeClient) Open(ctx context.Context) error {
	c.broker.note("open")
	hold, _, refuse, _ := c.broker.gates()
	if err := pass(ctx, hold); err != nil {
		return err
	}
	if refuse != nil {
		return refuse
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = true
	return nil
}

func (c *fakeClient) Moving() { c.broker.note("moving") }

func (c *fakeClient) Close(ctx context.Context) error {
	c.broker.note("close")
	_, holdEnd, _, stuck := c.broker.gates()
	if err := pass(ctx, holdEnd); err != nil {
		return err
	}
	return stuck
}

func (c *fakeClient) Stop() {
	c.broker.mu.Lock()
	stop := c.broker.stop
	c.broker.mu.Unlock()
	_ = pass(context.Background(), stop)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over, c.open = true, false
		c.broker.note("stop")
		c.broker.set(func(b *broker) { b.live-- })
	}
}

func (c *fakeClient) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

func (c *fakeClient) Status() []messages.ResourceStatus {
	s := messages.ResourceStatus{Type: messages.ResourceClient, Client: "node-1", Status: messages.StatusUnknown, Recovery: messages.RecoveryUnknown}
	if c.Connected() {
		s.Status, s.Recovery, s.Details = messages.StatusOpen, messages.RecoverySucceeded, "CONNECTED"
	}
	all := []messages.ResourceStatus{s}
	for _, address := range SourceAddresses(c.conn) {
		all = append(all, messages.ResourceStatus{Type: messages.ResourceSource, Client: "node-1", Address: address, Status: s.Status})
	}
	for _, t := range c.conn.Targets {
		all = append(all, messages.ResourceStatus{Type: messages.ResourceTarget, Client: "node-1", Address: t.Address, Status: s.Status})
	}
	return all
}

// house is one node with one connection entity.
type house struct {
	t      *testing.T
	store  *memoryStore
	broker *broker
	deps   *Deps
	system *actor.ActorSystem
	pid    *actor.PID
	owned  bool // guarded by store.mu: the node has the lease
	epoch  persistence.Epoch
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, store: newMemoryStore(), broker: &broker{}, owned: true, epoch: 1}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	h.deps = &Deps{
		Store: h.store, Clients: h.broker, Monitor: monitor.NewRegistry(monitor.Options{}), Instance: "node-1", Log: quiet,
		Rules: Rules{SnapshotThreshold: 10}, Metrics: NewMetrics(),
		Lease: func(string) (persistence.Lease, bool) {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			return persistence.Lease{Shard: persistence.ShardRef{Kind: persistence.KindConnection, Number: 3}, Owner: "me", Epoch: h.epoch}, h.owned
		},
		Timings: Timings{BackoffMin: 5 * time.Millisecond, BackoffMax: 20 * time.Millisecond},
	}
	h.system = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	h.start()
	t.Cleanup(func() {
		h.stop()
		h.system.Shutdown()
	})
	return h
}

func (h *house) start() { h.pid = h.system.Root.Spawn(Props(h.deps, "plant-7", nil)) }

// stop stops the actor and returns when it is gone.
func (h *house) stop() {
	if h.pid == nil {
		return
	}
	if err := h.system.Root.StopFuture(h.pid).Wait(); err != nil {
		h.t.Errorf("the entity did not stop: %v", err)
	}
	h.pid = nil
}

// killed is a restart as after a crash: nothing but the journal survives.
func (h *house) restart() {
	h.stop()
	h.deps.Monitor.Remove("plant-7")
	h.start()
}

type outcome struct {
	reply messages.Reply
	err   error
}

func (h *house) send(c messages.Command) <-chan outcome {
	done := make(chan outcome, 4) // more than one answer would be a defect that ask finds
	h.system.Root.Send(h.pid, &Request{Command: c, Reply: func(r messages.Reply, err error) { done <- outcome{r, err} }})
	return done
}

func (h *house) wait(done <-chan outcome) outcome {
	h.t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(10 * time.Second):
		h.t.Fatal("no answer")
		return outcome{}
	}
}

// ask sends a command and expects a status.
func (h *house) ask(c messages.Command, status int) messages.Reply {
	h.t.Helper()
	done := h.send(c)
	o := h.wait(done)
	if o.err != nil || o.reply.Status != status {
		h.t.Fatalf("%s: %d %s %v, want %d", c.Type, o.reply.Status, o.reply.Body, o.err, status)
	}
	return o.reply
}

// eventually polls until ok.
func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("never happened: %s; broker saw %q, journal %q", what, h.broker.events(), h.store.types("plant-7"))
		}
		time.Sleep(time.Millisecond)
	}
}

// awake asks until the entity answers something else than 503.
func (h *house) awake() {
	h.t.Helper()
	h.eventually("the entity is back", func() bool {
		return h.wait(h.send(sudo(command(messages.RetrieveConnectionStatus)))).reply.Status != 503
	})
}

func command(typ string) messages.Command {
	c := messages.Command{Type: typ, ConnectionID: "plant-7", Headers: messages.Headers{}}
	switch typ {
	case messages.CreateConnection, messages.ModifyConnection, messages.TestConnection:
		c.Connection = sample("plant-7")
	}
	return c
}

func with(c messages.Command, status messages.ConnectivityStatus) messages.Command {
	c.Connection = c.Connection.Clone()
	c.Connection.Status = status
	return c
}

func request(c messages.Command, id string) messages.Command {
	c.RequestID = id
	return c
}

func sudo(c messages.Command) messages.Command {
	c.Headers = c.Headers.With(messages.HeaderSudo, "true")
	return c
}

func body(t *testing.T, r messages.Reply) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.Body, &m); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	return m
}

func monitorEntry(text string) monitor.Entry { return monitor.Entry{Message: text} }
