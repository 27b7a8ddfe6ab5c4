package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"hawser/persistence"
)

// tables that a migration walks, by the name the caller gives: nothing else reaches the SQL.
var tables = map[persistence.Table]string{persistence.TableJournal: "journal", persistence.TableSnapshots: "snapshots"}

// MigrationProgress reads a progress document: see persistence.Migrations.
func (s *Store) MigrationProgress(ctx context.Context, name string) (json.RawMessage, error) {
	var progress []byte
	err := s.pool.QueryRow(ctx, `select progress::text from migrations where name = $1`, name).Scan(&progress)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return progress, failed("read the progress of a migration", err)
}

// saveProgress writes nothing when the lease does not hold. The lock on the shard's row keeps it where it is until the commit:
// burial, release and claim change that row.
const saveProgress = `with held as materialized (select true from shards where kind = $3 and shard = $4 and owner = $5 and epoch = $6 for share)
	insert into migrations (name, progress) select $1, $2::text::jsonb from held
	on conflict (name) do update set progress = excluded.progress`

// executor is the pool or a transaction.
type executor interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// save stores a progress document under a lease. Its error is the driver's, or persistence.ErrFenced.
func save(ctx context.Context, db executor, l persistence.Lease, name string, progress json.RawMessage) error {
	tag, err := db.Exec(ctx, saveProgress, name, string(progress), l.Shard.Kind, l.Shard.Number, string(l.Owner), int64(l.Epoch))
	if err == nil && tag.RowsAffected() == 0 {
		return persistence.ErrFenced
	}
	return err
}

// SaveProgress stores a progress document: see persistence.Migrations.
func (s *Store) SaveProgress(ctx context.Context, l persistence.Lease, name string, progress json.RawMessage) error {
	return refused("save the progress of a migration", save(ctx, s.pool, l, name, progress))
}

// RowsAfter reads documents in order of their id: see persistence.Migrations.
func (s *Store) RowsAfter(ctx context.Context, t persistence.Table, after int64, limit int) ([]persistence.Row, error) {
	table, ok := tables[t]
	if !ok {
		return nil, fmt.Errorf("postgres: no table %q to migrate", t)
	}
	rows, err := s.pool.Query(ctx, `select id, pid, payload::text from `+table+` where id > $1 order by id limit $2`, after, limit)
	if err != nil {
		return nil, failed("read documents", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (persistence.Row, error) {
		var r persistence.Row
		var payload []byte
		err := row.Scan(&r.ID, &r.PID, &payload)
		r.Payload = payload
		return r, err
	})
	return found, failed("read documents", err)
}

// ApplyBatch writes one batch of a migration: see persistence.Migrations. The lease comes last, so that a burial has the
// least to wait for.
func (s *Store) ApplyBatch(ctx context.Context, l persistence.Lease, name string, t persistence.Table, updates []persistence.RowUpdate, progress func(changed []bool) (json.RawMessage, error)) error {
	table, ok := tables[t]
	if !ok {
		return fmt.Errorf("postgres: no table %q to migrate", t)
	}
	ids, old, now := make([]int64, len(updates)), make([]string, len(updates)), make([]string, len(updates))
	for i, u := range updates {
		ids[i], old[i], now[i] = u.ID, string(u.Old), string(u.New)
	}
	var own error // the caller's, which is returned as it is
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The rows are locked in the order of their ids, so that two batches cannot wait for each other. Joined in this form
		// each side is looked up once; two sets of a hundred joined freely are compared row by row.
		rows, err := tx.Query(ctx, `with w as (select * from unnest($1::bigint[], $2::text[], $3::text[]) with ordinality as w(id, old, new, ord)),
			l as materialized (select t.id, w.new, w.ord from w join `+table+` t on t.id = w.id where t.payload = w.old::jsonb order by t.id for update of t)
			update `+table+` t set payload = l.new::jsonb from l where t.id = l.id returning l.ord`, ids, old, now)
		if err != nil {
			return err
		}
		ords, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		changed := make([]bool, len(updates))
		for _, ord := range ords {
			changed[ord-1] = true
		}
		document, err := progress(changed)
		if err != nil {
			own = err
			return err
		}
		return save(ctx, tx, l, name, document)
	})
	if own != nil {
		return own
	}
	return refused("apply a batch of a migration", err)
}

// refused is failed, with the store's words for data that the server did not take and for a lease that does not hold.
func refused(what string, err error) error {
	if errors.Is(err, persistence.ErrFenced) {
		return fmt.Errorf("postgres: %s: %w", what, err)
	}
	if r := refusal(err); r != nil {
		return r
	}
	return failed(what, err)
}
