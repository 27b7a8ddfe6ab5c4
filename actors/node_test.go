package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/sqlite"
)

// Decision D7: the node that executes a command is cut off after the row is written and before anybody learns of it. The
// next owner, asked with the same request id, repeats the answer and does not execute again.
func TestARequestRunsOnceAcrossAMove(t *testing.T) {
	t.Parallel()
	url := schema(t)
	a := startMember(t, url, "a")
	a.ready()
	create := with(t, messages.CreateConnection, "created-before", "tcp://127.0.0.1:1", "closed")
	a.want(201, create)
	wrote := make(chan string, 4)
	a.gate.appended = func(ctx context.Context, row persistence.Append) error {
		wrote <- row.Index.ID
		<-ctx.Done() // the answer of the database does not come through any more
		return persistence.ErrUnknownOutcome
	}
	half := []messages.Command{
		with(t, messages.CreateConnection, "created-twice", "tcp://127.0.0.1:1", "closed"),
		with(t, messages.ModifyConnection, "created-before", "tcp://127.0.0.1:1", "closed", named("renamed")),
	}
	var asked sync.WaitGroup
	for _, c := range half {
		asked.Go(func() { _, _ = a.ask(c) })
	}
	for range half {
		<-wrote
	}
	a.gate.cut.Store(true)
	b := startMember(t, url, "b")
	eventually(t, 6*testTTL, "the other takes over", func() error {
		if n := b.owns(); n < 16 {
			return fmt.Errorf("it owns %d shards", n)
		}
		return nil
	})
	for range 2 {
		b.want(201, half[0])
		b.want(204, half[1])
		b.want(201, create) // executed and answered by the first owner
	}
	wantEvents(t, b.gate, "created-twice", "Created")
	wantEvents(t, b.gate, "created-before", "Created", "Modified")
	// Another request is another execution.
	b.want(409, with(t, messages.CreateConnection, "created-twice", "tcp://127.0.0.1:1", "closed"))
	b.want(204, with(t, messages.ModifyConnection, "created-before", "tcp://127.0.0.1:1", "closed", named("again")))
	wantEvents(t, b.gate, "created-before", "Created", "Modified", "Modified")
	asked.Wait()
}

// Decision D13: what is open is started on claim, highest priority first, so many at a time, without a command and without
// a new event.
func TestOpenConnectionsStartOnClaim(t *testing.T) {
	t.Parallel()
	const connections = 12
	url, broker := schema(t), newBroker(t)
	first := startMember(t, url, "a")
	first.ready()
	for k := range connections {
		first.want(201, with(t, messages.CreateConnection, fmt.Sprintf("c-%02d", k), broker.uri, "open"))
	}
	first.want(201, with(t, messages.CreateConnection, "closed", broker.uri, "closed"))
	eventually(t, 10*time.Second, "all are connected", func() error { return count(broker, connections) })
	first.Stop()
	if err := count(broker, 0); err != nil {
		t.Fatal("after the stop: ", err)
	}
	// c-00 has the lowest priority.
	sql(t, url, `update connections set priority = substring(id from 3)::int where id like 'c-%'`)
	broker.mu.Lock()
	broker.opened, broker.times = nil, nil
	broker.mu.Unlock()

	const every = 2 * time.Second // for six: they are spread over it
	second := startMember(t, url, "b", func(o *Options) { o.OpenRate = Rate{Entities: connections / 2, Every: every} })
	eventually(t, 15*time.Second, "all are connected again", func() error { return count(broker, connections) })
	broker.mu.Lock()
	defer broker.mu.Unlock()
	for n, id := range broker.opened {
		if want := fmt.Sprintf("c-%02d", connections-1-n); id != want {
			t.Errorf("opened as number %d: %s, want %s", n, id, want)
		}
	}
	if took := broker.times[connections-1].Sub(broker.times[0]); took < every || took > 3*every {
		t.Errorf("%d connections at %d in %v took %v", connections, connections/2, every, took)
	}
	wantEvents(t, second.gate, "c-03", "Created")
}

func count(b *broker, want int) error {
	if n := b.there(); n != want {
		return fmt.Errorf("%d sockets, want %d", n, want)
	}
	return nil
}

// A node that is cut from its database has closed every socket before another could own its shards; commands are refused
// at once (D18), and the same process comes back by itself.
func TestFencingClosesEverySocket(t *testing.T) {
	t.Parallel()
	const connections = 20
	broker := newBroker(t)
	a := startMember(t, schema(t), "a")
	a.ready()
	for k := range connections {
		a.want(201, with(t, messages.CreateConnection, fmt.Sprintf("c-%02d", k), broker.uri, "open"))
	}
	eventually(t, 10*time.Second, "all are connected", func() error { return count(broker, connections) })
	for round := range 2 {
		cut := time.Now()
		a.gate.cut.Store(true)
		eventually(t, testTTL, "every socket is closed within the TTL", func() error { return count(broker, 0) })
		if a.Ready() {
			t.Error("ready without a lease")
		}
		began := time.Now()
		if _, err := a.ask(on(t, messages.RetrieveConnection, "c-00")); !errors.Is(err, messages.ErrNoLease) {
			t.Errorf("asked without a lease: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("refused only after %v", took)
		}
		eventually(t, testTTL, "nothing runs", func() error {
			if n := a.region.running(); n > 0 {
				return fmt.Errorf("%d entities", n)
			}
			return nil
		})
		t.Logf("round %d: fenced %v after the cut", round, time.Since(cut).Round(10*time.Millisecond))
		a.gate.cut.Store(false)
		eventually(t, 15*time.Second, "all are connected again", func() error { return count(broker, connections) })
		a.want(200, on(t, messages.RetrieveConnection, "c-00"))
	}
	broker.wantNoneTwice(t)
	a.want(204, with(t, messages.ModifyConnection, "c-01", broker.uri, "open", named("still usable")))
	wantEvents(t, a.gate, "c-00", "Created")
}

// A drained node gives each connection up before another node opens it, and is not ready from the first moment.
func TestDrain(t *testing.T) {
	t.Parallel()
	const connections = 20
	url, broker := schema(t), newBroker(t)
	a := startMember(t, url, "a")
	a.ready()
	for k := range connections {
		a.want(201, with(t, messages.CreateConnection, fmt.Sprintf("c-%02d", k), broker.uri, "open"))
	}
	b := startMember(t, url, "b")
	eventually(t, 15*time.Second, "the shards are shared", func() error {
		if a.owns() != 8 || b.owns() != 8 {
			return fmt.Errorf("%d and %d", a.owns(), b.owns())
		}
		return count(broker, connections)
	})
	drained := make(chan struct{})
	go func() { a.Drain(); close(drained) }()
	eventually(t, time.Second, "not ready at once", func() error {
		if a.Ready() {
			return errors.New("ready")
		}
		return nil
	})
	began := time.Now()
	select {
	case <-drained:
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
	if a.owns() != 0 || a.region.running() != 0 {
		t.Errorf("after the drain %d shards and %d entities", a.owns(), a.region.running())
	}
	eventually(t, 10*time.Second, "all run at the other", func() error {
		if n := b.region.running(); n < connections {
			return fmt.Errorf("%d", n)
		}
		return count(broker, connections)
	})
	t.Logf("drained, and reopened elsewhere, within %v", time.Since(began).Round(10*time.Millisecond))
	broker.wantNoneTwice(t)
	a.Stop()

	// The last one has nobody to give its shards to: it ends all the same, and says so to who asks.
	b.Drain()
	if err := count(broker, 0); err != nil {
		t.Error("after the last drain: ", err)
	}
	if _, err := b.ask(on(t, messages.RetrieveConnection, "c-00")); !errors.Is(err, messages.ErrNoLease) {
		t.Errorf("asked after the last drain: %v", err)
	}
}

// A panic in one entity ends what it was doing, not the entity's later life and not that of any other
// (protoactor.md 10 and 9).
func TestAPanicHurtsNoOtherEntity(t *testing.T) {
	t.Parallel()
	broker := newBroker(t)
	store, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	o := options(store, "a")
	o.Exclusive = true
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	a := &member{Node: n, t: t}
	defer a.Stop()
	a.ready()
	const others = 20
	for k := range others {
		a.want(201, with(t, messages.CreateConnection, fmt.Sprintf("c-%02d", k), broker.uri, "open"))
	}
	eventually(t, 10*time.Second, "all are connected", func() error { return count(broker, others) })
	stop := make(chan struct{})
	var asking sync.WaitGroup
	var answered atomic.Int64
	for k := range 4 {
		asking.Go(func() {
			for i := k; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				reply, err := a.ask(on(t, messages.RetrieveConnection, fmt.Sprintf("c-%02d", i%others)))
				if err != nil || reply.Status != 200 {
					t.Errorf("a bystander: %d %v", reply.Status, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for _, tt := range []struct {
		id      string
		trigger messages.Command
		status  int
	}{
		{"panics-in-validate", with(t, messages.ModifyConnection, "panics-in-validate", broker.uri, "closed", named("boom")), 503},
		{"panics-in-the-factory", on(t, messages.OpenConnection, "panics-in-the-factory"), 504},
		{"panics-in-open", on(t, messages.OpenConnection, "panics-in-open"), 504},
	} {
		a.want(201, with(t, messages.CreateConnection, tt.id, broker.uri, "closed"))
		a.want(tt.status, tt.trigger)
		eventually(t, 5*time.Second, tt.id+" works again", func() error {
			reply, err := a.ask(on(t, messages.CloseConnection, tt.id))
			if err != nil || reply.Status != 200 {
				return fmt.Errorf("%d %w", reply.Status, err)
			}
			return nil
		})
	}
	close(stop)
	asking.Wait()
	if err := count(broker, others); err != nil {
		t.Error("after the panics: ", err)
	}
	broker.mu.Lock()
	defer broker.mu.Unlock()
	if n := len(broker.opened); n != others {
		t.Errorf("%d connects of %d bystanders", n, others)
	}
	t.Logf("%d commands of bystanders meanwhile", answered.Load())
}

// sql runs a statement as an operator would.
func sql(t testing.TB, url, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

// A claim whose answer comes when its incarnation has ended opens nothing again: what still runs must not dial where others may
// have taken over.
func TestAClaimThatCameTooLateOpensNothing(t *testing.T) {
	t.Parallel()
	broker := newBroker(t)
	a := startAlone(t)
	a.want(201, with(t, messages.CreateConnection, "c", broker.uri, "open"))
	eventually(t, 10*time.Second, "it is connected", func() error { return count(broker, 1) })
	lease, _ := a.lease("c")
	a.cut()
	eventually(t, 10*time.Second, "its socket is closed", func() error { return count(broker, 0) })
	a.claimed([]persistence.Lease{lease})
	if c, err := a.dialer.Dial(t.Context(), "tcp", strings.TrimPrefix(broker.uri, "tcp://")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("dialled %v: %v", c, err)
		if err == nil {
			_ = c.Close()
		}
	}
	// The next incarnation dials again.
	a.fenced()
	a.claimed([]persistence.Lease{lease})
	eventually(t, 10*time.Second, "it is connected again", func() error { return count(broker, 1) })
}
