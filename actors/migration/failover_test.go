package migration

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// blocked stops a store before its n-th batch until the test lets it go on.
func blocked(w *watched, n int) (reached, release chan struct{}) {
	reached, release = make(chan struct{}), make(chan struct{})
	w.batch = func(i int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
		if i == n {
			close(reached)
			<-release
		}
		return apply()
	}
	return reached, release
}

func wait(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func TestAbortRestartResume(t *testing.T) { // E28, E29, issue 5, 3
	for _, test := range []struct {
		name  string
		batch int
		phase string
	}{{"in the snapshots", 2, "snapshots"}, {"in the journal", 8, "journal"}} {
		t.Run(test.name, func(t *testing.T) {
			onStores(t, func(t *testing.T, d *database) {
				old, both := ring(t, true, k2, ""), ring(t, true, k1, k2)
				d.fill("a", 50, old)
				d.event("open", modified(open), open)
				w := watch(d)
				reached, release := blocked(w, test.batch)
				n := startNode(t, with(w, both))
				began := n.migrate(freshly)
				wait(t, "a batch", reached)
				answer := make(chan reply)
				go func() { answer <- n.abort() }()
				n.eventually("the abort is noticed", func() bool { x, _ := n.active.last(); return x.isStopped() })
				close(release)
				aborted := <-answer
				if aborted.Status != 200 || aborted.Phase != "aborted:"+test.phase || aborted.AbortedAt == "" {
					t.Fatalf("%+v", aborted)
				}
				done := int64(test.batch * 10)
				s := n.status()
				if s.Phase != test.phase || s.MigrationActive || s.Snapshots != aborted.Snapshots || s.JournalEvents != aborted.JournalEvents ||
					s.Snapshots.Processed+s.JournalEvents.Processed != done {
					t.Fatalf("%+v after %+v, want %d processed", s, aborted, done)
				}
				if r := n.abort(); r.Status != 409 || r.Error != "connectivity:encryption.migration.notrunning" { // E20
					t.Fatalf("%+v", r)
				}
				n.Stop()
				d.readable(both)

				restarted := startNode(t, with(w, both))
				if s := restarted.status(); s.MigrationActive || s.Phase != test.phase || s.Snapshots.Processed+s.JournalEvents.Processed != done {
					t.Fatalf("after the restart %+v", s)
				}
				r := restarted.migrate(resuming)
				if r.Phase != test.phase || !r.Resumed || r.StartedAt != began.StartedAt {
					t.Fatalf("%+v, began as %+v", r, began)
				}
				end := restarted.completed()
				counted(t, end, counts(50, 1, 0), counts(50, 1, 0))
				if *end.Timing.StartedAt != began.StartedAt {
					t.Errorf("%+v", end.Timing)
				}
				w.once(t, 100)
				d.under(ring(t, true, k1, ""))
				if r := restarted.ask(command(t, messages.MigrateEncryption, resuming)); r.Status != 200 || r.Phase != "already_completed" || r.StartedAt != began.StartedAt {
					t.Fatalf("%+v", r)
				}
			})
		})
	}
}

func TestResumeWithOtherKeys(t *testing.T) { // 6.10: from the stored position with the keys of now; D28 looks after the rows before
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 30, ring(t, true, k2, ""))
		w := watch(d)
		reached, release := blocked(w, 2)
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		wait(t, "a batch", reached)
		x, _ := n.active.last()
		x.stop("", time.Now())
		close(release)
		n.ended()
		n.Stop()

		// Rows before the position are under k1, those behind it under k2; k3 is the new key, k2 the old one.
		next := startNode(t, with(w, ring(t, true, k3, k2)))
		next.migrate(resuming)
		if s := next.completed(); s.Snapshots.Failed+s.JournalEvents.Failed == 0 {
			t.Errorf("%+v: rows under a key that is not known any more count as failed", s)
		}
		next.Stop()
		last := startNode(t, with(w, ring(t, true, k3, k1)))
		last.migrate(freshly)
		if s := last.completed(); s.Snapshots.Failed+s.JournalEvents.Failed != 0 {
			t.Errorf("%+v", s)
		}
		d.under(ring(t, true, k3, ""))
	})
}

// kill ends a node as a crash does: nothing is saved that was not.
func TestKilledInTheMiddleOfABatch(t *testing.T) { // E30, D24, D25
	for _, test := range []struct {
		name  string
		batch int
		when  string
	}{
		{"before the first batch", 1, "before"}, {"between read and commit", 3, "inside"}, {"after a commit", 3, "after"},
		{"between read and commit in the journal", 9, "inside"}, {"with the last batch", 12, "after"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onStores(t, func(t *testing.T, d *database) {
				both := ring(t, true, k1, k2)
				d.fill("a", 55, ring(t, true, k2, ""))
				w := watch(d)
				killed := make(chan struct{})
				var n *node
				kill := func() { n.active.cancel(); close(killed) }
				w.batch = func(i int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
					if i != test.batch {
						return apply()
					}
					if test.when != "after" {
						kill()
						return apply() // with a context that has ended: rolled back
					}
					err := apply()
					kill()
					return err
				}
				n = startNode(t, with(w, both))
				n.migrate(freshly)
				wait(t, "the kill", killed)
				n.Stop()
				if test.when == "inside" && len(w.updated) != (test.batch-1)*10-5*(test.batch/7) {
					t.Fatalf("%d rows were changed before the kill", len(w.updated))
				}
				d.readable(both)

				next := startNode(t, with(w, both))
				counted(t, next.completed(), counts(55, 0, 0), counts(55, 0, 0))
				w.once(t, 110)
				d.under(ring(t, true, k1, ""))
				if !strings.Contains(next.log.text(), "left running and goes on") && test.when != "after" {
					t.Errorf("it did not go on by itself:\n%s", next.log.text())
				}
			})
		})
	}
}

func TestKilledInTheVerification(t *testing.T) {
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 20, ring(t, true, k2, ""))
		w := watch(d)
		var walks atomic.Int32
		reached := make(chan struct{})
		w.read = func(ctx context.Context, table persistence.Table, after int64, limit int) ([]persistence.Row, error) {
			if table == persistence.TableSnapshots && limit > 1 && after == 0 && walks.Add(1) == 2 {
				close(reached)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return d.RowsAfter(ctx, table, after, limit)
		}
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		wait(t, "the verification", reached)
		if s := n.status(); s.Phase != "in_progress:journal" || !s.MigrationActive {
			t.Fatalf("%+v", s)
		}
		n.Stop()
		next := startNode(t, with(w, ring(t, true, k1, k2)))
		counted(t, next.completed(), counts(20, 0, 0), counts(20, 0, 0))
		w.once(t, 40)
		if n := walks.Load(); n != 3 {
			t.Errorf("%d walks over the snapshots, want one and the verification twice", n)
		}
	})
}

func TestNotContinued(t *testing.T) { // D24
	left := func(t *testing.T, d *database, members string) {
		d.fill("a", 30, ring(t, true, k2, ""))
		w := watch(d)
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		killed := make(chan struct{})
		w.read = func(ctx context.Context, table persistence.Table, after int64, limit int) ([]persistence.Row, error) {
			if table == persistence.TableJournal && limit > 1 {
				close(killed)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return d.RowsAfter(ctx, table, after, limit)
		}
		n.migrate(members)
		wait(t, "the journal", killed)
		n.Stop()
	}
	for _, test := range []struct {
		name string
		next *encryption.Keyring
	}{
		{"other old key", ring(t, true, k1, k3)}, {"other key", ring(t, true, k3, k2)}, {"other mode", ring(t, true, k1, "")},
		{"no mode", ring(t, false, k1, k2)},
	} {
		t.Run(test.name, func(t *testing.T) {
			onStores(t, func(t *testing.T, d *database) {
				left(t, d, freshly)
				n := startNode(t, with(d, test.next))
				s := n.status()
				if s.MigrationActive || s.Phase != "journal" || s.Snapshots.Processed != 30 || !strings.Contains(n.log.text(), "other keys: it is aborted") {
					t.Errorf("%+v\n%s", s, n.log.text())
				}
				n.Stop()
				same := startNode(t, with(d, ring(t, true, k1, k2)))
				if s := same.status(); s.MigrationActive {
					t.Errorf("an aborted one goes on by itself: %+v", s)
				}
			})
		})
	}
	t.Run("a dry run", func(t *testing.T) {
		onStores(t, func(t *testing.T, d *database) {
			left(t, d, dry)
			n := startNode(t, with(d, ring(t, true, k1, k2)))
			if s := n.status(); s.MigrationActive || s.Phase != "snapshots" || s.Snapshots.Processed != 0 || s.DryRun || s.Timing.StartedAt != nil {
				t.Errorf("%+v", s)
			}
		})
	})
}

func TestKeysExchangedMeanwhile(t *testing.T) { // D24, D29
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 30, ring(t, true, k2, ""))
		w := watch(d)
		reached, release := blocked(w, 2)
		both, other := ring(t, true, k1, k2), ring(t, true, k3, k1)
		var now atomic.Pointer[encryption.Keyring]
		now.Store(both)
		o := with(w, both)
		o.Ring = now.Load
		n := startNode(t, o)
		n.migrate(freshly)
		wait(t, "a batch", reached)
		now.Store(ring(t, true, k1, k2)) // reloaded, the same keys
		now.Store(other)
		close(release)
		if s := n.ended(); s.Phase != "snapshots" || s.Snapshots.Processed != 20 {
			t.Errorf("%+v\n%s", s, n.log.text())
		}
		stored, err := d.MigrationProgress(d.ctx(), name)
		if err != nil || !strings.Contains(string(stored), `aborted`) {
			t.Errorf("%s %v", stored, err)
		}
	})
}

func TestLostLeaseWritesNothing(t *testing.T) {
	for _, test := range []struct {
		name  string
		knows bool // the node knows that its lease is lost
	}{{"the node knows", true}, {"only the database knows", false}} {
		t.Run(test.name, func(t *testing.T) {
			onStores(t, func(t *testing.T, d *database) {
				d.fill("a", 30, ring(t, true, k2, ""))
				w := watch(d)
				var lost atomic.Bool
				w.batch = func(i int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
					if i == 2 {
						lost.Store(true)
						if err := d.Release(d.ctx(), "m", []persistence.ShardRef{d.lease.Shard}); err != nil {
							t.Error(err)
						}
					}
					return apply()
				}
				o := with(w, ring(t, true, k1, k2))
				o.Lease = func() (persistence.Lease, bool) { return d.lease, !test.knows || !lost.Load() }
				n := startNode(t, o)
				n.migrate(freshly)
				n.eventually("the run ends", func() bool { _, running := n.active.last(); return !running })
				if log := n.log.text(); !strings.Contains(log, "left to the next owner") || strings.Contains(log, "ERROR") {
					t.Errorf("the log says\n%s", log)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if _, err := n.Ask(ctx, command(t, messages.MigrateEncryption, freshly)); !errors.Is(err, messages.ErrNoLease) {
					t.Errorf("a start without a lease: %v", err)
				}
				n.Stop()
				w.once(t, 10)
				w.batch = nil

				next := with(w, ring(t, true, k1, k2))
				leases, err := d.Claim(d.ctx(), "m", []persistence.ShardRef{d.lease.Shard})
				if err != nil || len(leases) != 1 {
					t.Fatal(leases, err)
				}
				next.Lease = func() (persistence.Lease, bool) { return leases[0], true }
				counted(t, startNode(t, next).completed(), counts(30, 0, 0), counts(30, 0, 0))
				w.once(t, 60)
			})
		})
	}
}

func TestUnknownOutcome(t *testing.T) { // a batch that was committed although no answer came is counted once
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 35, ring(t, true, k2, ""))
		w := watch(d)
		w.batch = func(i int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
			switch i {
			case 1, 6: // committed, the answer is lost
				if err := apply(); err != nil {
					return err
				}
				return errInjected
			case 2, 3, 7: // not even tried
				return errInjected
			}
			return apply()
		}
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(35, 0, 0), counts(35, 0, 0))
		w.once(t, 70)
		d.under(ring(t, true, k1, ""))
	})
}

func TestBatchGivenUp(t *testing.T) { // 6.9: failed as a whole, the walk goes on; the verification tries once more
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 30, ring(t, true, k2, ""))
		w := watch(d)
		var refusing atomic.Bool
		refusing.Store(true)
		tried := 0
		w.batch = func(_ int, table persistence.Table, updates []persistence.RowUpdate, apply func() error) error {
			if table == persistence.TableSnapshots && updates[0].ID > 10 && updates[0].ID <= 20 && refusing.Load() {
				tried++
				return errInjected
			}
			return apply()
		}
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(20, 0, 10), counts(30, 0, 0))
		if tried < attempts || tried > passes*attempts {
			t.Errorf("tried %d times", tried)
		}
		d.readable(ring(t, true, k1, k2))
		refusing.Store(false)
		n.migrate(freshly)
		counted(t, n.completed(), counts(10, 20, 0), counts(0, 30, 0))
		d.under(ring(t, true, k1, ""))
	})
}

// The progress of somebody else is not overwritten after trouble.
func TestOverwrittenProgress(t *testing.T) {
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 30, ring(t, true, k2, ""))
		foreign := json.RawMessage(`{"phase":"completed","state":"ended","startedAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z"}`)
		w := watch(d)
		w.batch = func(i int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
			if i == 2 {
				if err := d.SaveProgress(d.ctx(), d.lease, name, foreign); err != nil {
					t.Error(err)
				}
				return errInjected
			}
			return apply()
		}
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		if s := n.ended(); s.Phase != "completed" || s.Snapshots.Processed != 0 || !strings.Contains(n.log.text(), "another node has written") {
			t.Errorf("%+v\n%s", s, n.log.text())
		}
		w.once(t, 10)
	})
}
