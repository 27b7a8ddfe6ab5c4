package migration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
	"hawser/persistence/persistencetest"
)

// mixed makes one document of every sort and returns what counts in each table.
func (d *database) mixed(current, old, unknown *encryption.Keyring) {
	for _, row := range []struct {
		id string
		by *encryption.Keyring
	}{{"clear", ring(d.t, false, "", "")}, {"current", current}, {"old", old}, {"unknown", unknown}} {
		doc := body(row.id, "s3cr3t-"+row.id)
		d.event(row.id, d.seal(row.by, modified(doc)), d.seal(row.by, doc))
	}
	d.event("open", modified(open), open)
	d.event("opened", opened, nil)
	d.event("deleted", opened, deleted)
}

func TestInitialEncryption(t *testing.T) { // E25, E37, 6.8
	onStores(t, func(t *testing.T, d *database) {
		none, current, unknown := ring(t, false, "", ""), ring(t, true, k1, ""), ring(t, true, k3, "")
		d.fill("a", 25, none)
		d.fill("b", 7, current)
		d.event("unknown", modified(body("unknown", "x")), nil)
		d.event("open", modified(open), open)
		d.event("deleted", opened, deleted)
		d.event("foreign", d.seal(unknown, modified(body("foreign", "x"))), nil)
		sealedBefore := map[int64]string{}
		for _, row := range d.rows(persistence.TableJournal) {
			if strings.Contains(string(row.Payload), encryption.Prefix) {
				sealedBefore[row.ID] = string(row.Payload)
			}
		}
		n := startNode(t, with(d, current))
		if r := n.migrate(freshly); r.Phase != "snapshots" || r.DryRun || r.Resumed {
			t.Fatalf("%+v", r)
		}
		counted(t, n.completed(), counts(25, 8, 0), counts(26, 9, 0))
		for _, row := range d.rows(persistence.TableJournal) {
			if before, ok := sealedBefore[row.ID]; ok && before != string(row.Payload) {
				t.Errorf("row %d was sealed and has changed", row.ID)
			}
		}
		if strings.Contains(d.everything(), "s3cr3t") {
			t.Error("a secret is still in clear text")
		}
		n.migrate(freshly)
		counted(t, n.completed(), counts(0, 33, 0), counts(0, 35, 0)) // E24
	})
}

func TestRotation(t *testing.T) { // E23, E24, E27
	onStores(t, func(t *testing.T, d *database) {
		current, old, unknown := ring(t, true, k1, ""), ring(t, true, k2, ""), ring(t, true, k3, "")
		d.mixed(current, old, unknown)
		d.fill("a", 30, old)
		n := startNode(t, with(d, ring(t, true, k1, k2)))
		n.migrate(freshly)
		s := n.completed()
		// Clear and old ones are processed; current and open ones skipped.
		counted(t, s, counts(32, 2, 1), counts(32, 2, 1))
		if p := s.Progress; *p.LastProcessedSnapshotPid != "connection:a-29" || *p.LastProcessedJournalPid != "connection:a-29" || s.DryRun {
			t.Errorf("%+v", s)
		}
		for _, table := range tables {
			for _, row := range d.rows(table) {
				if row.PID == "connection:unknown" {
					if _, err := unknown.Unseal(row.Payload); err != nil {
						t.Errorf("what was not readable was changed: %v", err)
					}
				} else if _, err := current.Unseal(row.Payload); err != nil {
					t.Errorf("%s %s: %v", table, row.PID, err)
				}
			}
		}
		if log := n.log.text(); strings.Count(log, "cannot be migrated") != 2 || !strings.Contains(log, "pid=connection:unknown") {
			t.Errorf("the log does not name the rows that failed:\n%s", log)
		}
		before := d.everything()
		n.migrate(freshly)
		counted(t, n.completed(), counts(0, 34, 1), counts(0, 34, 1))
		if d.everything() != before {
			t.Error("a second run changed something")
		}
	})
}

func TestDisabling(t *testing.T) { // E26, D28
	onStores(t, func(t *testing.T, d *database) {
		old, none := ring(t, true, k2, ""), ring(t, false, "", "")
		d.fill("a", 30, old)
		d.fill("b", 5, none)
		d.event("open", modified(open), open)
		n := startNode(t, with(d, ring(t, false, "", k2)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(30, 6, 0), counts(30, 6, 0))
		d.readable(none)
		if strings.Contains(d.everything(), encryption.Prefix) {
			t.Error("ciphertext is left")
		}
	})
}

func TestDisablingLeavesWhatItCannotRead(t *testing.T) { // 6.8 P: failed, not skipped
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 3, ring(t, true, k2, ""))
		d.fill("b", 2, ring(t, true, k3, ""))
		n := startNode(t, with(d, ring(t, false, "", k2)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(3, 0, 2), counts(3, 0, 2))
		d.readable(ring(t, false, k3, ""))
	})
}

func TestWrongOldKey(t *testing.T) { // issue 5, 4
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 25, ring(t, true, k2, ""))
		before := d.everything()
		n := startNode(t, with(d, ring(t, true, k1, k3)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(0, 0, 25), counts(0, 0, 25))
		if d.everything() != before {
			t.Error("something was overwritten")
		}
		d.readable(ring(t, true, k2, ""))
		n.Stop()

		right := startNode(t, with(d, ring(t, true, k1, k2)))
		right.migrate(freshly)
		counted(t, right.completed(), counts(25, 0, 0), counts(25, 0, 0))
		d.under(ring(t, true, k1, ""))
	})
}

func TestDryRun(t *testing.T) { // E21, E22, D26
	onStores(t, func(t *testing.T, d *database) {
		current, old, unknown := ring(t, true, k1, ""), ring(t, true, k2, ""), ring(t, true, k3, "")
		d.mixed(current, old, unknown)
		d.fill("a", 25, old)
		before := d.everything()
		n := startNode(t, with(d, ring(t, true, k1, k2)))
		if r := n.migrate(dry); !r.DryRun || r.Phase != "snapshots" {
			t.Fatalf("%+v", r)
		}
		promised := n.completed()
		if !promised.DryRun || promised.Snapshots.Processed == 0 || d.everything() != before {
			t.Fatalf("%+v", promised)
		}
		if p, err := d.MigrationProgress(d.ctx(), name); err != nil || p != nil {
			t.Fatalf("a dry run stored %s %v", p, err)
		}
		if r := n.ask(command(t, messages.MigrateEncryption, resuming)); r.Status != 200 || r.Phase != "already_completed" || !r.Resumed || r.DryRun || r.StartedAt == "" {
			t.Fatalf("%+v", r)
		}
		n.migrate(freshly)
		counted(t, n.completed(), promised.Snapshots, promised.JournalEvents)

		stored, err := d.MigrationProgress(d.ctx(), name)
		if err != nil {
			t.Fatal(err)
		}
		n.migrate(dry)
		counted(t, n.completed(), counts(0, 29, 1), counts(0, 29, 1))
		if again, err := d.MigrationProgress(d.ctx(), name); err != nil || string(again) != string(stored) {
			t.Errorf("a dry run changed the stored progress: %s, was %s", again, stored)
		}
	})
}

func TestLiveAppendsDuringTheMigration(t *testing.T) { // E33
	onStores(t, func(t *testing.T, d *database) {
		old, both := ring(t, true, k2, ""), ring(t, true, k1, k2)
		d.fill("a", 100, old)
		o := with(d, both)
		o.LiveShare = 50 // the migration must gain on those who write, however slow the machine is
		n := startNode(t, o)
		stop := make(chan struct{})
		var live sync.WaitGroup
		for e := range 3 {
			live.Go(func() {
				pace := time.NewTicker(10 * time.Millisecond)
				defer pace.Stop()
				id := fmt.Sprintf("live-%d", e)
				doc := d.seal(both, body(id, "s3cr3t-"+id))
				for seq := int64(1); ; seq++ {
					select {
					case <-stop:
						return
					case <-pace.C:
					}
					a := persistencetest.NewAppend(d.lease, id, seq)
					a.Event.Payload = modified(doc)
					if a.Snapshot != nil {
						a.Snapshot.Payload = doc
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					err := d.Append(ctx, a)
					cancel()
					if err != nil {
						t.Errorf("a live append failed: %v", err)
						return
					}
				}
			})
		}
		n.migrate(freshly)
		s := n.completed()
		close(stop)
		live.Wait()
		if s.Snapshots.Processed != 100 || s.JournalEvents.Processed != 100 || s.Snapshots.Failed+s.JournalEvents.Failed != 0 {
			t.Errorf("%+v", s)
		}
		d.under(ring(t, true, k1, ""))
	})
}

func TestDocumentsThatGoMeanwhile(t *testing.T) { // D25
	onStores(t, func(t *testing.T, d *database) {
		d.fill("a", 20, ring(t, true, k2, ""))
		w := watch(d)
		var once sync.Once
		w.batch = func(_ int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
			once.Do(func() { // in the first batch, after it was read
				if _, n, err := d.DeleteRange(d.ctx(), "connection:a-3", 1, 9, false, true); err != nil || n != 1 {
					t.Error(n, err)
				}
			})
			return apply()
		}
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(19, 1, 0), counts(20, 0, 0))
		d.under(ring(t, true, k1, ""))
	})
}

// A row that a walk passed over is found by the verification (D28); where new ones turn up again and again, the last pass
// counts them.
func TestLateDocuments(t *testing.T) {
	for _, test := range []struct {
		name      string
		hidden    []int // for each late row: how many walks do not see it
		processed int64
		failed    int64
	}{
		{"seen by the walk", []int{0}, 31, 0}, {"seen by the verification", []int{1}, 31, 0}, {"new ones in each pass", []int{1, 2, 3}, 32, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			onStores(t, func(t *testing.T, d *database) {
				old := ring(t, true, k2, "")
				d.fill("a", 15, old)
				d.fill("late", len(test.hidden), old)
				d.fill("b", 15, old)
				w := watch(d)
				walks := 0
				w.read = func(ctx context.Context, table persistence.Table, after int64, limit int) ([]persistence.Row, error) {
					page, err := d.RowsAfter(ctx, table, after, limit)
					if table != persistence.TableJournal || limit == 1 {
						return page, err
					}
					if after == 0 {
						walks++
					}
					for i, n := range test.hidden {
						for j := range page {
							if page[j].PID == fmt.Sprintf("connection:late-%d", i) && walks <= n {
								page[j].Payload = opened
							}
						}
					}
					return page, err
				}
				n := startNode(t, with(w, ring(t, true, k1, k2)))
				n.migrate(freshly)
				counted(t, n.completed(), counts(30+int64(len(test.hidden)), 0, 0), counts(test.processed, 0, test.failed))
				if warned := strings.Contains(n.log.text(), "do all nodes have the same keys"); warned != (test.hidden[0] > 0) {
					t.Errorf("warned: %t\n%s", warned, n.log.text())
				}
				if test.failed == 0 {
					d.under(ring(t, true, k1, ""))
				}
			})
		})
	}
}

// What disabling brings to light may be text that PostgreSQL does not take: it fails alone.
func TestRefusedDocumentFailsAlone(t *testing.T) {
	onStores(t, func(t *testing.T, d *database) {
		old := ring(t, true, k2, "")
		d.fill("a", 7, old)
		d.event("nul", d.seal(old, modified(json.RawMessage(`{"credentials":{"password":"a\u0000b"}}`))), nil)
		d.fill("b", 7, old)
		w := watch(d)
		w.batch = func(_ int, _ persistence.Table, updates []persistence.RowUpdate, apply func() error) error {
			for _, u := range updates {
				if strings.Contains(string(u.New), `\u0000`) {
					return &persistence.RejectedError{Reason: "NUL"} // SQLite would take it
				}
			}
			return apply()
		}
		n := startNode(t, with(w, ring(t, false, "", k2)))
		n.migrate(freshly)
		counted(t, n.completed(), counts(14, 0, 0), counts(14, 0, 1))
		w.once(t, 28)
	})
}

func TestLargeDocumentsMakeSmallBatches(t *testing.T) {
	onStores(t, func(t *testing.T, d *database) {
		none := ring(t, false, "", "")
		filler := strings.Repeat("x", 600<<10)
		for i := range 12 {
			id := fmt.Sprintf("a-%d", i)
			doc := fmt.Appendf(nil, `{"uri":"tcp://user:uri-s3cr3t-%s@host:1883","credentials":{"password":"s3cr3t-%s"},"ca":"%s"}`, id, id, filler)
			d.event(id, modified(doc), nil)
		}
		d.readable(none)
		w := watch(d)
		largest := 0
		w.batch = func(_ int, _ persistence.Table, updates []persistence.RowUpdate, apply func() error) error {
			largest = max(largest, len(updates))
			return apply()
		}
		o := with(w, ring(t, true, k1, ""))
		o.BatchSize = 1000
		n := startNode(t, o)
		n.migrate(freshly)
		counted(t, n.completed(), counts(0, 0, 0), counts(12, 0, 0))
		if largest > 3 {
			t.Errorf("a batch of %d documents of 600 KiB", largest)
		}
		d.under(ring(t, true, k1, ""))
	})
}

func TestEmptyDatabase(t *testing.T) {
	onStores(t, func(t *testing.T, d *database) {
		n := startNode(t, with(d, ring(t, true, k1, "")))
		began := time.Now()
		n.migrate(freshly)
		counted(t, n.completed(), counts(0, 0, 0), counts(0, 0, 0))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
