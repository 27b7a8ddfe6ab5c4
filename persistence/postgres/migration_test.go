package postgres_test

import (
	"encoding/json"
	"errors"
	"testing"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
)

// TestBurialWaitsForMigration holds a batch of the migration between the check of its lease and its commit: the burial of its
// owner waits for it, and the next owner finds rows and progress as it left them.
func TestBurialWaitsForMigration(t *testing.T) {
	ctx, url, old, successor, lease := ownerAndSuccessor(t)
	if err := old.SaveProgress(ctx, lease, "encryption", json.RawMessage(`{"batch":0}`)); err != nil {
		t.Fatal(err)
	}
	tx, err := admin(t, url).Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `select from migrations for update`); err != nil {
		t.Fatal(err)
	}
	batch := func(number string) error {
		rows, err := old.RowsAfter(ctx, persistence.TableJournal, 0, 1)
		if err != nil {
			return err
		}
		document := json.RawMessage(`{"batch": ` + number + `}`)
		return old.ApplyBatch(ctx, lease, "encryption", persistence.TableJournal, []persistence.RowUpdate{{ID: rows[0].ID, Old: rows[0].Payload, New: document}},
			func([]bool) (json.RawMessage, error) { return document, nil })
	}
	applied := make(chan error, 1)
	go func() { applied <- batch("1") }()
	c := admin(t, url)
	waiting := func(query, relation string) bool {
		var n int
		if err := c.QueryRow(ctx, `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%' || $1 || '%' and pid <> pg_backend_pid()
			and exists (select from pg_locks l where l.pid = pg_stat_activity.pid and l.relation = $2::regclass)`, query, relation).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	persistencetest.Until(t, "the batch waits behind the check of its lease", func() bool { return waiting("insert into migrations", "migrations") })
	buried := make(chan error, 1)
	go func() {
		ok, err := successor.Bury(ctx, "old", 0, true)
		if err == nil && !ok {
			err = errors.New("not buried")
		}
		buried <- err
	}()
	persistencetest.Until(t, "the burial waits for the batch", func() bool { return waiting("update shards", "shards") || len(buried) > 0 })
	if len(buried) > 0 {
		t.Fatalf("buried with a batch in flight: %v", <-buried)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-applied; err != nil {
		t.Fatalf("the batch that was first: %v", err)
	}
	if err := <-buried; err != nil {
		t.Fatal(err)
	}
	leases, err := successor.Claim(ctx, "new", []persistence.ShardRef{lease.Shard})
	if err != nil || len(leases) != 1 {
		t.Fatalf("claimed %v %v", leases, err)
	}
	if err := batch("2"); !errors.Is(err, persistence.ErrFenced) {
		t.Fatalf("the buried one: %v, want ErrFenced", err)
	}
	progress, err := successor.MigrationProgress(ctx, "encryption")
	if err != nil || string(progress) != `{"batch": 1}` {
		t.Fatalf("progress %s %v", progress, err)
	}
	rows, err := successor.RowsAfter(ctx, persistence.TableJournal, 0, 1)
	if err != nil || string(rows[0].Payload) != `{"batch": 1}` {
		t.Fatalf("row %v %v", rows, err)
	}
	if err := successor.SaveProgress(ctx, leases[0], "encryption", json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
}
