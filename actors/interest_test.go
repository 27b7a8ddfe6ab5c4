package actors

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hawser/actors/signals"
	"hawser/persistence"
	hawserv1 "hawser/proto/hawser/v1"
)

// learned is the hub of an interests under test.
type learned struct {
	mu    sync.Mutex
	known map[string]string
}

func (l *learned) Learn(id string, raw json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[id] = string(raw)
}

func (l *learned) Forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, id)
}

func (l *learned) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(l.known)) {
		parts = append(parts, id+"="+l.known[id])
	}
	return strings.Join(parts, " ")
}

// index is an index table in memory.
type index struct {
	persistence.Index
	mu   sync.Mutex
	rows map[string]persistence.IndexRow
	err  error
}

func (x *index) set(id string, revision int64, status, interest string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	row := persistence.IndexRow{ID: id, Revision: revision, Status: status}
	if interest != "" {
		row.Interest = json.RawMessage(interest)
	}
	x.rows[id] = row
}

func (x *index) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = err
}

func (x *index) Interests(context.Context) (rows []persistence.IndexRow, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, row := range x.rows {
		if row.Status == "open" && row.Interest != nil {
			rows = append(rows, row)
		}
	}
	return rows, x.err
}

func (x *index) Row(_ context.Context, id string) (persistence.IndexRow, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	row, ok := x.rows[id]
	return row, ok, x.err
}

// ring is several interests on one index, which talk to each other.
type ring struct {
	index   *index
	mu      sync.Mutex
	members map[string]*interests
	hubs    map[string]*learned
	deaf    map[string]bool // alive, but what is sent there gets lost
	gone    map[string]bool // no members any more
}

func newRing(t *testing.T, addresses ...string) *ring {
	r := &ring{index: &index{rows: map[string]persistence.IndexRow{}}, members: map[string]*interests{}, hubs: map[string]*learned{}, deaf: map[string]bool{}, gone: map[string]bool{}}
	for _, address := range addresses {
		hub := &learned{known: map[string]string{}}
		r.hubs[address] = hub
		r.members[address] = newInterests(&interests{
			hub: hub, index: r.index, log: slog.New(slog.DiscardHandler),
			peers: func() (peers []signals.Peer) {
				r.mu.Lock()
				defer r.mu.Unlock()
				for other := range r.members {
					if other != address && !r.gone[other] {
						peers = append(peers, signals.Peer{ID: other, Address: other})
					}
				}
				return peers
			},
			send: func(to string, e *hawserv1.Envelope) {
				r.mu.Lock()
				m, deaf := r.members[to], r.deaf[to]
				r.mu.Unlock()
				if !deaf && m != nil {
					go m.receive(address, e)
				}
			},
		})
		t.Cleanup(r.members[address].close)
	}
	return r
}

func (r *ring) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *ring) want(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	for address, hub := range r.hubs {
		if got := hub.String(); got != want {
			t.Errorf("%s knows %q, want %q", address, got, want)
		}
	}
}

// TestPublish: when publish returns, every live member knows; a member that dies does not hold it up, one that does not hear
// for a bounded time.
func TestPublish(t *testing.T) {
	for _, test := range []struct {
		name    string
		trouble func(*ring)
		within  time.Duration
		want    string // at the third node
	}{
		{"all hear", func(*ring) {}, 0, "x=i1"},
		{"one hears only later", func(r *ring) {
			r.set(func() { r.deaf["c"] = true })
			time.AfterFunc(time.Second, func() { r.set(func() { r.deaf["c"] = false }) })
		}, 1600 * time.Millisecond, "x=i1"},
		{"one dies", func(r *ring) {
			r.set(func() { r.deaf["c"] = true })
			time.AfterFunc(time.Second, func() { r.set(func() { r.gone["c"] = true }) })
		}, 1200 * time.Millisecond, ""},
		{"one never hears", func(r *ring) { r.set(func() { r.deaf["c"] = true }) }, publishWait, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing(t, "a", "b", "c")
				r.index.set("x", 1, "open", "i1")
				test.trouble(r)
				began := time.Now()
				r.members["a"].publish(t.Context(), "x")
				if took := time.Since(began); took > test.within {
					t.Errorf("took %v", took)
				}
				for address, want := range map[string]string{"a": "x=i1", "b": "x=i1", "c": test.want} {
					if got := r.hubs[address].String(); got != want {
						t.Errorf("%s knows %q, want %q", address, got, want)
					}
				}
				r.set(func() { clear(r.deaf) })
				time.Sleep(healEvery + time.Second)
				r.want(t, "x=i1") // healed
			})
		})
	}
}

// TestInterestOrder: of two things that were said about a connection the later one counts, whatever comes first.
func TestInterestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, "a", "b")
		b := r.members["b"]
		for _, step := range []struct {
			revision       int64
			payload, knows string
		}{
			{3, "i3", "x=i3"}, {2, "", "x=i3"}, {3, "i3", "x=i3"}, {4, "", ""}, {3, "i3", ""}, {5, "i5", "x=i5"},
		} {
			e := &hawserv1.Envelope{Type: envelopeInterest, EntityId: "x", Revision: step.revision}
			if step.payload != "" {
				e.Payload = []byte(step.payload)
			}
			b.receive("a", e)
			if got := r.hubs["b"].String(); got != step.knows {
				t.Fatalf("after revision %d: %q, want %q", step.revision, got, step.knows)
			}
		}
	})
}

// TestHeal: the index corrects what was missed in both directions, and an index that cannot be read corrects nothing.
func TestHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, "a", "b")
		r.index.set("x", 1, "open", "i1")
		r.index.set("y", 1, "open", "i1")
		r.index.set("z", 1, "closed", "")
		for _, m := range r.members {
			if err := m.load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.want(t, "x=i1 y=i1")
		r.index.set("x", 2, "closed", "i1")
		r.index.set("y", 3, "open", "i3")
		r.index.set("z", 2, "open", "i2")
		r.index.fail(errors.New("away"))
		time.Sleep(healEvery + time.Second)
		r.want(t, "x=i1 y=i1")
		r.index.fail(nil)
		for _, m := range r.members {
			m.refresh()
		}
		r.want(t, "y=i3 z=i2")
	})
}

// TestHealAfterPurge: a connection that was purged and created again begins with a small revision; a node that was not told of the
// purge learns it from the index nevertheless.
func TestHealAfterPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, "a", "b")
		r.index.set("x", 50, "open", "i50")
		r.members["a"].publish(t.Context(), "x")
		r.want(t, "x=i50")
		r.index.set("x", 1, "open", "i1")
		time.Sleep(healEvery + time.Second)
		r.want(t, "x=i1")
		r.index.set("x", 2, "closed", "")
		r.members["a"].publish(t.Context(), "x")
		r.want(t, "")
	})
}

// TestHealAgainstNews: what was heard while the index was being read is newer than the index.
func TestHealAgainstNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, "a")
		a := r.members["a"]
		slow := &slowIndex{index: r.index, read: make(chan struct{}), proceed: make(chan struct{})}
		a.index = slow
		done := make(chan error)
		go func() { done <- a.load(t.Context()) }()
		<-slow.read // without x
		a.receive("b", &hawserv1.Envelope{Type: envelopeInterest, EntityId: "x", Revision: 1, Payload: []byte("i1")})
		close(slow.proceed)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.want(t, "x=i1")
	})
}

type slowIndex struct {
	*index
	read, proceed chan struct{}
}

func (x *slowIndex) Interests(ctx context.Context) ([]persistence.IndexRow, error) {
	rows, err := x.index.Interests(ctx)
	close(x.read)
	<-x.proceed
	return rows, err
}

// TestExpectedBack: a client that ends to be followed by another one is looked for, so that what is held for it does not
// wait in vain when its connection was closed meanwhile.
func TestExpectedBack(t *testing.T) {
	for status, want := range map[string]string{"open": "x=i1", "closed": ""} {
		t.Run(status, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing(t, "a")
				r.hubs["a"].Learn("x", json.RawMessage("i1"))
				r.index.set("x", 4, status, "i1")
				r.members["a"].expectBack("x")
				time.Sleep(2 * recheckAfter)
				r.want(t, want)
			})
		})
	}
}

// TestWithdraw: a connection that was closed or deleted is soon forgotten everywhere.
func TestWithdraw(t *testing.T) {
	for name, row := range map[string]persistence.IndexRow{
		"closed": {ID: "x", Status: "closed", Revision: 2}, "deleted": {ID: "x", Status: "open", Deleted: true, Revision: 2}, "purged": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing(t, "a", "b", "c")
				r.index.set("x", 1, "open", "i1")
				r.members["a"].publish(t.Context(), "x")
				r.want(t, "x=i1")
				delete(r.index.rows, "x")
				if row.ID != "" {
					r.index.rows["x"] = row
				}
				r.members["a"].withdraw("x")
				r.want(t, "")
			})
		})
	}
}
