package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"hawser/persistence"
)

// tables that a migration walks, by the name the caller gives: nothing else reaches the SQL.
var tables = map[persistence.Table]string{persistence.TableJournal: "journal", persistence.TableSnapshots: "snapshots"}

// MigrationProgress reads a progress document: see persistence.Migrations.
func (s *Store) MigrationProgress(ctx context.Context, name string) (json.RawMessage, error) {
	var progress string
	err := s.reads.QueryRowContext(ctx, `select progress from migrations where name = ?1`, name).Scan(&progress)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return json.RawMessage(progress), failed("read the progress of a migration", err)
}

// SaveProgress stores a progress document: see persistence.Migrations.
func (s *Store) SaveProgress(ctx context.Context, l persistence.Lease, name string, progress json.RawMessage) error {
	if !json.Valid(progress) {
		return &persistence.RejectedError{Reason: "the payload is no JSON"}
	}
	return s.transaction(ctx, "save the progress of a migration", func(ctx context.Context, c *sql.Conn) error {
		return saveProgress(ctx, c, l, name, progress)
	})
}

// saveProgress needs a transaction, which no change of the ownership can overlap: there is one writer.
func saveProgress(ctx context.Context, c *sql.Conn, l persistence.Lease, name string, progress json.RawMessage) error {
	var held int
	err := c.QueryRowContext(ctx, shardSQL, l.Shard.Kind, l.Shard.Number, l.Epoch, string(l.Owner)).Scan(&held)
	if errors.Is(err, sql.ErrNoRows) {
		return persistence.ErrFenced
	}
	if err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, `insert into migrations (name, progress) values (?1, ?2) on conflict (name) do update set progress = excluded.progress`, name, string(progress))
	return err
}

// RowsAfter reads documents in order of their id: see persistence.Migrations.
func (s *Store) RowsAfter(ctx context.Context, t persistence.Table, after int64, limit int) ([]persistence.Row, error) {
	table, ok := tables[t]
	if !ok {
		return nil, fmt.Errorf("sqlite: no table %q to migrate", t)
	}
	return collect(ctx, s, "read documents", func(row scanner) (r persistence.Row, err error) {
		var payload string
		err = row.Scan(&r.ID, &r.PID, &payload)
		r.Payload = json.RawMessage(payload)
		return r, err
	}, `select id, pid, payload from `+table+` where id > ?1 order by id limit ?2`, after, limit)
}

// ApplyBatch writes one batch of a migration: see persistence.Migrations.
func (s *Store) ApplyBatch(ctx context.Context, l persistence.Lease, name string, t persistence.Table, updates []persistence.RowUpdate, progress func(changed []bool) (json.RawMessage, error)) error {
	table, ok := tables[t]
	if !ok {
		return fmt.Errorf("sqlite: no table %q to migrate", t)
	}
	for _, u := range updates {
		if !json.Valid(u.New) {
			return &persistence.RejectedError{Reason: "the payload is no JSON"}
		}
	}
	var own error // the caller's, which is returned as it is
	err := s.transaction(ctx, "apply a batch of a migration", func(ctx context.Context, c *sql.Conn) error {
		changed := make([]bool, len(updates))
		for i, u := range updates {
			result, err := c.ExecContext(ctx, `update `+table+` set payload = ?1 where id = ?2 and payload = ?3`, string(u.New), u.ID, string(u.Old))
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			changed[i] = n == 1
		}
		document, err := progress(changed)
		if err == nil && !json.Valid(document) {
			err = &persistence.RejectedError{Reason: "the payload is no JSON"}
		}
		if err != nil {
			own = err
			return err
		}
		return saveProgress(ctx, c, l, name, document)
	})
	if own != nil {
		return own
	}
	return err
}
