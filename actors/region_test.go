package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/sqlite"
)

// startAlone starts a node on an embedded store.
func startAlone(t testing.TB) *member {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Store: store}
	o := options(g, "alone")
	o.Exclusive = true
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Stop()
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return (&member{Node: n, t: t, gate: g}).ready()
}

// The library drops the mail of an actor that stops without a word (protoactor.md 4). Here every command is answered, and
// executed once, however often its entity stops meanwhile.
func TestMailToAStoppingEntityIsAnswered(t *testing.T) {
	t.Parallel()
	const askers, each, perStop = 16, 40, 20
	a := startAlone(t)
	a.want(201, with(t, messages.CreateConnection, "c", "tcp://127.0.0.1:1", "closed"))
	answered := make(chan struct{}, askers*each)
	var stopping, asking sync.WaitGroup
	stops := 0
	stopping.Go(func() {
		for n := 0; ; n++ {
			if _, more := <-answered; !more {
				return
			}
			if n%perStop > 0 {
				continue
			}
			a.region.mu.Lock()
			entity := a.region.entities["c"]
			a.region.mu.Unlock()
			if entity != nil {
				a.region.stop(entity)
				<-entity.gone
				stops++
			}
		}
	})
	var slowest atomic.Int64
	for k := range askers {
		asking.Go(func() {
			for i := range each {
				began := time.Now()
				reply, err := a.ask(with(t, messages.ModifyConnection, "c", "tcp://127.0.0.1:1", "closed", named(fmt.Sprintf("%d-%d", k, i))))
				if err != nil || reply.Status != 204 {
					t.Errorf("%d %v", reply.Status, err)
				}
				answered <- struct{}{}
				for took := int64(time.Since(began)); ; {
					if old := slowest.Load(); took <= old || slowest.CompareAndSwap(old, took) {
						break
					}
				}
			}
		})
	}
	asking.Wait()
	close(answered)
	stopping.Wait()
	if got := len(events(t, a.gate, "c")); got != 1+askers*each {
		t.Errorf("%d events of %d commands", got-1, askers*each)
	}
	t.Logf("%d commands, %d stops, slowest answer %v", askers*each, stops, time.Duration(slowest.Load()).Round(time.Millisecond))
}

// A shard that was claimed is not served before its open connections are known (decision O13): commands wait for that.
func TestCommandsWaitUntilTheShardIsServed(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	a.want(201, with(t, messages.CreateConnection, "c", "tcp://127.0.0.1:1", "closed"))
	lease, _ := a.lease("c")
	a.region.drop(map[persistence.ShardRef]bool{lease.Shard: true}, false)
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.region.ask(brief, on(t, messages.RetrieveConnection, "c")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := a.ask(on(t, messages.RetrieveConnection, "c"))
		answered <- err
	}()
	a.region.serve(map[persistence.ShardRef]persistence.Epoch{lease.Shard: lease.Epoch - 1}) // somebody else's time
	select {
	case err := <-answered:
		t.Errorf("served under an old epoch: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	a.region.serve(map[persistence.ShardRef]persistence.Epoch{lease.Shard: lease.Epoch})
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// What a bulk recovery has read is used once, and only if nobody touched the entity meanwhile.
func TestRecoveredStateIsUsedOnlyWhileFresh(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	a.want(201, with(t, messages.CreateConnection, "c", "tcp://127.0.0.1:1", "closed"))
	stop := func() {
		a.region.mu.Lock()
		entity := a.region.entities["c"]
		a.region.mu.Unlock()
		a.region.stop(entity)
		<-entity.gone
	}
	read := func() map[string]*persistence.Recovery {
		out := map[string]*persistence.Recovery{}
		for r, err := range a.gate.Recover(t.Context(), []string{"connection:c"}) {
			if err != nil {
				t.Fatal(err)
			}
			out["c"] = &r
		}
		return out
	}
	stop()
	reads := a.region.announce([]string{"c"})
	stale := read()
	a.want(204, with(t, messages.ModifyConnection, "c", "tcp://127.0.0.1:1", "closed", named("newer")))
	stop()
	a.region.offer(reads, stale)
	if _, err := a.region.start("c", reads["c"]); err != nil {
		t.Fatal(err)
	}
	a.want(204, with(t, messages.ModifyConnection, "c", "tcp://127.0.0.1:1", "closed", named("newest")))
	wantEvents(t, a.gate, "c", "Created", "Modified", "Modified")
}

// What a bulk recovery has read, while it goes on, of a shard that was lost is not used when the shard comes back: others have written
// meanwhile. Whether the bulk recovery began before or after the loss does not matter.
func TestRecoveredStateIsNotUsedUnderAnotherLease(t *testing.T) {
	t.Parallel()
	for _, announced := range []string{"before", "after"} {
		t.Run(announced, func(t *testing.T) {
			t.Parallel()
			a := startAlone(t)
			a.want(201, with(t, messages.CreateConnection, "c", "tcp://127.0.0.1:1", "closed", named("older")))
			a.region.mu.Lock()
			entity := a.region.entities["c"]
			a.region.mu.Unlock()
			a.region.stop(entity)
			<-entity.gone
			lease, _ := a.lease("c")
			shards := map[persistence.ShardRef]bool{lease.Shard: true}

			// This region has the shard under an older lease, loses it, and gets it back; a is the owner between.
			var epoch atomic.Int64
			deps := *a.region.deps
			deps.Lease = func(string) (persistence.Lease, bool) {
				l := lease
				l.Epoch = persistence.Epoch(epoch.Load())
				return l, l.Epoch > 0
			}
			r := newRegion(a.system, &deps, a.shardOf, quiet())
			defer r.workers.close()
			own := func(e persistence.Epoch) {
				epoch.Store(int64(e))
				r.serve(map[persistence.ShardRef]persistence.Epoch{lease.Shard: e})
			}
			lose := func() {
				epoch.Store(0)
				r.drop(shards, true)
			}
			own(lease.Epoch - 1)
			if announced == "after" {
				lose()
			}
			reads := r.announce([]string{"c"})
			if announced == "before" {
				lose()
			}
			batch := map[string]*persistence.Recovery{}
			for read, err := range a.gate.Recover(t.Context(), []string{"connection:c"}) {
				if err != nil {
					t.Fatal(err)
				}
				batch["c"] = &read
			}
			r.offer(reads, batch)
			_, _ = r.start("c", reads["c"])
			a.want(204, with(t, messages.ModifyConnection, "c", "tcp://127.0.0.1:1", "closed", named("newer")))
			a.region.drop(shards, true)
			own(lease.Epoch)
			if announced == "before" { // the bulk recovery of the lease that is back has begun, the other one still goes on
				r.announce([]string{"c"})
				r.offer(reads, batch)
				_, _ = r.start("c", reads["c"])
			}
			reply, err := r.ask(t.Context(), on(t, messages.RetrieveConnection, "c"))
			if err != nil || !bytes.Contains(reply.Body, []byte("newer")) {
				t.Errorf("%v: %s", err, reply.Body)
			}
			r.drop(shards, false)
		})
	}
}

// An open connection whose entity of a former lease ends late is started when that is gone.
func TestAnEntityThatEndsLateIsFollowed(t *testing.T) {
	t.Parallel()
	broker := newBroker(t)
	a := startAlone(t)
	a.want(201, with(t, messages.CreateConnection, "c", broker.uri, "open"))
	lease, _ := a.lease("c")
	a.region.drop(map[persistence.ShardRef]bool{lease.Shard: true}, true)
	ends := a.endsLate("c")
	revived := make(chan struct{})
	go func() {
		defer close(revived)
		a.reviver.follow(t.Context(), a.reviver.revive(t.Context(), []persistence.Lease{lease}))
	}()
	eventually(t, 10*time.Second, "the shard is served", func() error {
		if !a.region.serves("c") {
			return errors.New("not yet")
		}
		return nil
	})
	ends()
	<-revived
	eventually(t, 10*time.Second, "it is connected", func() error { return count(broker, 1) })
}

// endsLate puts an activation of id in place that was told to stop and has stopped only when ends is called.
func (m *member) endsLate(id string) (ends func()) {
	late := &activation{pid: m.system.NewLocalPID("late"), shard: m.shardOf(id), ending: true, gone: make(chan struct{})}
	m.region.mu.Lock()
	defer m.region.mu.Unlock()
	m.region.entities[id] = late
	return func() {
		m.region.mu.Lock()
		defer m.region.mu.Unlock()
		delete(m.region.entities, id)
		close(late.gone)
	}
}

// leasesOf are the leases of connections, all of this node.
func (m *member) leasesOf(ids ...string) (leases []persistence.Lease) {
	seen := map[persistence.ShardRef]bool{}
	for _, id := range ids {
		lease, ok := m.lease(id)
		if !ok {
			m.t.Fatalf("%s is not of this node", id)
		}
		if !seen[lease.Shard] {
			leases = append(leases, lease)
		}
		seen[lease.Shard] = true
	}
	return leases
}

// announced is the number of connections that a bulk recovery has announced and nobody has started.
func (m *member) announced() int {
	m.region.mu.Lock()
	defer m.region.mu.Unlock()
	return len(m.region.recovered)
}

// Open connections whose entities of a former lease end late do not wait for each other, and a claim that only waits for such
// ones counts as done.
func TestEntitiesThatEndLateDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	broker := newBroker(t)
	a := startAlone(t)
	ids := []string{"c", "d"}
	for _, id := range ids {
		a.want(201, with(t, messages.CreateConnection, id, broker.uri, "open"))
	}
	leases := a.leasesOf(ids...)
	shards, numbers := map[persistence.ShardRef]bool{}, []int(nil)
	for _, l := range leases {
		shards[l.Shard], numbers = true, append(numbers, l.Shard.Number)
	}
	a.region.drop(shards, true)
	eventually(t, 10*time.Second, "both are disconnected", func() error { return count(broker, 0) })
	rows, err := a.gate.Open(t.Context(), numbers)
	if err != nil || len(rows) != len(ids) {
		t.Fatalf("%d open connections, %v", len(rows), err)
	}
	first, second := a.endsLate(rows[0].ID), a.endsLate(rows[1].ID)
	defer first()
	a.claimed(leases)
	eventually(t, 10*time.Second, "all but those that wait are started", func() error {
		if n := a.reviving.Load(); n > 0 || !a.region.serves(rows[0].ID) {
			return fmt.Errorf("%d claims start connections", n)
		}
		return nil
	})
	second()
	eventually(t, 10*time.Second, "the second is connected", func() error { return broker.wantThere(rows[1].ID) })
}

// Of a claim that is over nothing is left announced, whether its connections were being read or waited.
func TestAClaimThatIsOverAnnouncesNothing(t *testing.T) {
	t.Parallel()
	broker := newBroker(t)
	a := startAlone(t)
	a.want(201, with(t, messages.CreateConnection, "c", broker.uri, "open"))
	leases := a.leasesOf("c")
	a.region.drop(map[persistence.ShardRef]bool{leases[0].Shard: true}, true)

	ctx, cancel := context.WithCancel(t.Context())
	v := a.reviver
	v.store = unreadable{a.gate, func() {
		if n := a.announced(); n != 1 {
			t.Errorf("%d connections are announced while they are read", n)
		}
		cancel()
	}}
	if left := v.revive(ctx, leases); len(left) > 0 || a.announced() > 0 {
		t.Errorf("it could not be read: %d are left, %d announced", len(left), a.announced())
	}

	defer a.endsLate("c")()
	left := a.reviver.revive(t.Context(), leases)
	if len(left) != 1 || a.announced() != 1 {
		t.Fatalf("it waits: %d are left, %d announced", len(left), a.announced())
	}
	a.reviver.follow(ctx, left)
	if n := a.announced(); n > 0 {
		t.Errorf("it waited: %d are announced", n)
	}
}

// unreadable is a store that recovers nothing; tried runs at each attempt.
type unreadable struct {
	persistence.Store
	tried func()
}

func (u unreadable) Recover(context.Context, []string) iter.Seq2[persistence.Recovery, error] {
	return func(yield func(persistence.Recovery, error) bool) {
		u.tried()
		yield(persistence.Recovery{}, persistence.ErrUnavailable)
	}
}

// A command does not wait for an entity that still ends when the shard is another's: the new owner may answer.
func TestCommandsDoNotWaitForTheEndOfWhatWasLost(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	defer a.endsLate("c")()
	deps := *a.region.deps
	var lost atomic.Bool
	a.region.mu.Lock()
	a.region.lease = func(id string) (persistence.Lease, bool) {
		if lost.Load() {
			return persistence.Lease{}, false
		}
		return deps.Lease(id)
	}
	a.region.mu.Unlock()
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.region.ask(brief, on(t, messages.RetrieveConnection, "c")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the shard is this node's: %v", err)
	}
	lost.Store(true)
	within, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := a.region.ask(within, on(t, messages.RetrieveConnection, "c")); !errors.Is(err, messages.ErrNoLease) {
		t.Errorf("when the shard is another's: %v", err)
	}
}
