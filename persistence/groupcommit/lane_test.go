package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// committer is a Committer whose batches the test holds in its hands.
type committer struct {
	batches chan []*Write
	done    chan struct{} // one token per batch lets Commit return
}

func newCommitter() *committer {
	return &committer{batches: make(chan []*Write), done: make(chan struct{})}
}

func (c *committer) Commit(batch []*Write) {
	c.batches <- append([]*Write(nil), batch...)
	<-c.done
}

// next is the batch under way.
func (c *committer) next(t testing.TB) []*Write {
	t.Helper()
	select {
	case b := <-c.batches:
		return b
	case <-time.After(10 * time.Second):
		t.Fatal("no batch")
		return nil
	}
}

func (c *committer) finish(batch []*Write, err error) {
	for _, w := range batch {
		w.Settle(err)
	}
	c.done <- struct{}{}
}

func newLane(t testing.TB, c Committer) *Lane {
	l := New(c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return l
}

func event(id string, seq int64) *Write {
	return NewAppend(persistence.Append{
		Lease: persistence.Lease{Shard: persistence.ShardRef{Kind: persistence.KindConnection}, Owner: "m", Epoch: 1},
		Event: persistence.Event{PID: PIDPrefix + id, SeqNr: seq, Payload: []byte(`{}`)},
		Index: persistence.IndexRow{ID: id, Revision: seq},
	})
}

// start queues a write from a goroutine of its own; the result is its outcome. It returns when the write is queued.
func start(ctx context.Context, t testing.TB, l *Lane, w *Write) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	before := len(l.queue)
	go func() { result <- l.Do(ctx, w) }()
	persistencetest.Until(t, "queued", func() bool { return len(l.queue) > before || w.state.Load() != waiting })
	return result
}

// TestBatches lets many callers write at random and checks what the committer sees.
func TestBatches(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var mu sync.Mutex
		lastSeq := map[string]int64{}
		var wrong error
		l := New(CommitterFunc(func(batch []*Write) {
			mu.Lock()
			defer mu.Unlock()
			bytes := 0
			seen := map[string]bool{}
			for _, w := range batch {
				bytes += w.size
				switch {
				case seen[w.PID()]:
					wrong = fmt.Errorf("%s twice in a batch", w.PID())
				case w.Lease.Owner != batch[0].Lease.Owner, w.SnapshotOnly() != batch[0].SnapshotOnly():
					wrong = errors.New("a mixed batch")
				case w.Event.SeqNr != lastSeq[w.PID()]+1 && !w.SnapshotOnly():
					wrong = fmt.Errorf("%s: %d after %d", w.PID(), w.Event.SeqNr, lastSeq[w.PID()])
				}
				seen[w.PID()] = true
				if !w.SnapshotOnly() {
					lastSeq[w.PID()] = w.Event.SeqNr
				}
				w.Settle(nil)
			}
			if len(batch) == 0 || len(batch) > MaxRows || bytes > MaxBytes && len(batch) > 1 {
				wrong = fmt.Errorf("a batch of %d rows, %d bytes", len(batch), bytes)
			}
		}))
		entities := rapid.IntRange(1, 60).Draw(r, "entities")
		events := rapid.IntRange(1, 8).Draw(r, "events")
		owners := rapid.IntRange(1, 2).Draw(r, "owners")
		size := rapid.SampledFrom([]int{2, 50_000, MaxBytes + 1}).Draw(r, "size")
		if size > 1000 {
			entities = min(entities, 30)
		}
		payload := make([]byte, size)
		var all sync.WaitGroup
		for e := range entities {
			all.Go(func() {
				// All events of an entity at once, in order: the lane must keep that order.
				var own sync.WaitGroup
				for seq := range events {
					w := event(fmt.Sprintf("e-%d", e), int64(seq)+1)
					w.Lease.Owner = persistence.MemberID(fmt.Sprintf("m-%d", e%owners))
					w.Event.Payload, w.size = payload, rowOverhead+len(payload)
					l.queue <- w
					own.Go(func() {
						if err := <-w.result; err != nil {
							t.Error(err)
						}
					})
				}
				if err := l.Do(context.Background(), NewSnapshot(persistence.Lease{Owner: "m-0"}, persistence.Snapshot{PID: fmt.Sprintf("connection:e-%d", e)})); err != nil {
					t.Error(err)
				}
				own.Wait()
			})
		}
		all.Wait()
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if wrong != nil {
			r.Fatal(wrong)
		}
		for id, seq := range lastSeq {
			if seq != int64(events) {
				r.Fatalf("%s ends at %d", id, seq)
			}
		}
	})
}

// TestWaits: what a caller is told when its wait ends, by how far its write had come.
func TestWaits(t *testing.T) {
	c := newCommitter()
	l := newLane(t, c)
	first := start(t.Context(), t, l, event("first", 1))
	batch := c.next(t)

	ctx, cancel := context.WithCancel(t.Context())
	queued := start(ctx, t, l, event("queued", 1))
	cancel()
	if err := <-queued; !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("withdrawn from the queue: %v, want ErrUnavailable", err)
	}
	next := start(t.Context(), t, l, event("next", 1))
	c.finish(batch, nil)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	batch = c.next(t)
	if len(batch) != 1 || batch[0].PID() != "connection:next" {
		t.Fatalf("a batch of %d: a withdrawn write was sent", len(batch))
	}
	c.finish(batch, persistence.ErrFenced)
	if err := <-next; !errors.Is(err, persistence.ErrFenced) {
		t.Fatal(err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	taken := start(ctx, t, l, event("taken", 1))
	batch = c.next(t)
	if batch[0].Abandoned() {
		t.Fatal("abandoned by a caller who waits")
	}
	cancel()
	if err := <-taken; !errors.Is(err, persistence.ErrUnknownOutcome) {
		t.Fatalf("taken into a batch: %v, want ErrUnknownOutcome", err)
	}
	if !batch[0].Abandoned() {
		t.Fatal("not abandoned")
	}
	c.finish(batch, nil) // nobody reads it, nobody waits for that
	if err := l.Do(ctx, event("late", 1)); !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("a wait that had ended before: %v, want ErrUnavailable", err)
	}
}

// TestFullQueue: callers that find no room wait at the door until their own deadline.
func TestFullQueue(t *testing.T) {
	c := newCommitter()
	l := newLane(t, c)
	first := start(t.Context(), t, l, event("first", 1))
	batch := c.next(t)
	var all sync.WaitGroup
	for i := range queueBound {
		all.Go(func() {
			if err := l.Do(t.Context(), event(fmt.Sprintf("q-%d", i), 1)); !errors.Is(err, persistence.ErrUnavailable) {
				t.Errorf("refused: %v", err)
			}
		})
	}
	persistencetest.Until(t, "the queue is full", func() bool { return len(l.queue) == queueBound })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Do(ctx, event("too many", 1)); !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("at the door: %v, want ErrUnavailable", err)
	}
	l.Refuse(unavailable(errors.New("no session")))
	all.Wait()
	c.finish(batch, nil)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
}

// TestPause: nothing is committed while the lane is paused, and a pause waits for the batch under way.
func TestPause(t *testing.T) {
	c := newCommitter()
	l := newLane(t, c)
	first := start(t.Context(), t, l, event("first", 1))
	batch := c.next(t)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Pause(short); err == nil {
		t.Fatal("paused in the middle of a batch")
	}
	paused := make(chan func())
	go func() {
		resume, err := l.Pause(t.Context())
		if err != nil {
			t.Error(err)
		}
		paused <- resume
	}()
	c.finish(batch, nil)
	resume := <-paused
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	second := start(t.Context(), t, l, event("second", 1))
	timer := time.NewTimer(20 * time.Millisecond)
	select {
	case <-c.batches:
		t.Fatal("a batch in a pause")
	case <-timer.C:
	}
	resume()
	c.finish(c.next(t), nil)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

// TestClose: the batch under way ends in its own way, what waits is refused, and a batch that hangs does not hang Close.
func TestClose(t *testing.T) {
	c := newCommitter()
	l := New(c)
	under := start(t.Context(), t, l, event("under way", 1))
	batch := c.next(t)
	waits := start(t.Context(), t, l, event("waits", 1))
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("closing over a batch that hangs: %v", err)
	}
	<-l.Closing()
	if err := l.Do(t.Context(), event("late", 1)); !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("late: %v", err)
	}
	c.done <- struct{}{}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("waited: %v", err)
	}
	if err := <-under; !errors.Is(err, persistence.ErrUnknownOutcome) { // the committer broke its promise to settle
		t.Fatalf("under way: %v", err)
	}
	_ = batch
}

// TestIsolate: of a batch with bad rows only those fail, and finding them takes few statements.
func TestIsolate(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, MaxRows).Draw(r, "rows")
		bad := rapid.MapOf(rapid.IntRange(0, n-1), rapid.Just(true)).Filter(func(m map[int]bool) bool { return len(m) <= 4 }).Draw(r, "bad")
		batch := make([]*Write, n)
		at := map[*Write]int{}
		for i := range batch {
			batch[i] = event(fmt.Sprintf("e-%d", i), 1)
			at[batch[i]] = i
		}
		refusal := &persistence.RejectedError{Reason: "bad"}
		statements := 0
		Isolate(batch, func(part []*Write) error {
			statements++
			for _, w := range part {
				if bad[at[w]] {
					return refusal
				}
			}
			for _, w := range part {
				w.Settle(nil)
			}
			return nil
		})
		for i, w := range batch {
			if err := <-w.result; (err != nil) != bad[i] {
				r.Fatalf("row %d: %v, bad %v", i, err, bad[i])
			}
		}
		if most := 1 + 2*len(bad)*bits.Len(uint(n)); statements > most {
			r.Fatalf("%d statements for %d bad rows of %d, want at most %d", statements, len(bad), n, most)
		}
	})
}

func TestCheck(t *testing.T) {
	for name, row := range map[string]struct {
		change func(a *persistence.Append)
		good   bool
	}{
		"good":               {func(*persistence.Append) {}, true},
		"good with snapshot": {func(a *persistence.Append) { a.Snapshot = &persistence.Snapshot{PID: a.Event.PID, SeqNr: 3} }, true},
		"number 0":           {func(a *persistence.Append) { a.Event.SeqNr, a.Index.Revision = 0, 0 }, false},
		"other entity":       {func(a *persistence.Append) { a.Index.ID = "b" }, false},
		"no prefix":          {func(a *persistence.Append) { a.Event.PID = "a" }, false},
		"other shard":        {func(a *persistence.Append) { a.Index.Shard = 1 }, false},
		"other revision":     {func(a *persistence.Append) { a.Index.Revision = 2 }, false},
		"snapshot of another entity": {func(a *persistence.Append) {
			a.Snapshot = &persistence.Snapshot{PID: "connection:b", SeqNr: 3}
		}, false},
		"snapshot of another state": {func(a *persistence.Append) {
			a.Snapshot = &persistence.Snapshot{PID: a.Event.PID, SeqNr: 2}
		}, false},
	} {
		a := event("a", 3).Append
		row.change(&a)
		var r *persistence.RejectedError
		if err := Check(&a); (err == nil) != row.good || err != nil && !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
