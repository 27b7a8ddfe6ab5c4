package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"iter"

	"hawser/persistence"
)

const indexColumns = `id, shard, status, deleted, tags, priority, client_count, interest, revision`

func scanIndexRow(row scanner) (x persistence.IndexRow, err error) {
	var tags string
	var interest sql.NullString
	if err := row.Scan(&x.ID, &x.Shard, &x.Status, &x.Deleted, &tags, &x.Priority, &x.ClientCount, &interest, &x.Revision); err != nil {
		return x, err
	}
	if interest.Valid {
		x.Interest = json.RawMessage(interest.String)
	}
	return x, json.Unmarshal([]byte(tags), &x.Tags)
}

func scanID(row scanner) (id string, err error) {
	err = row.Scan(&id)
	return id, err
}

// IDs lists connections: see persistence.Index.
func (s *Store) IDs(ctx context.Context, after string, limit int) ([]string, error) {
	if limit == 0 {
		limit = -1 // SQLite's word for all
	}
	return collect(ctx, s, "list ids", scanID, `select id from connections where not deleted and id > ?1 order by id limit ?2`, after, limit)
}

// IDsByTag lists connections by tag: see persistence.Index.
func (s *Store) IDsByTag(ctx context.Context, tag string) ([]string, error) {
	return collect(ctx, s, "list ids", scanID, `select id from connections
		where not deleted and exists (select 1 from json_each(connections.tags) t where t.value = ?1) order by id`, tag)
}

// Open lists what a shard's owner has to start: see persistence.Index.
func (s *Store) Open(ctx context.Context, shards []int) ([]persistence.IndexRow, error) {
	wanted, err := json.Marshal(shards)
	if err != nil {
		return nil, err
	}
	return collect(ctx, s, "read the index", scanIndexRow, `select `+indexColumns+` from connections
		where status = 'open' and not deleted and shard in (select value from json_each(?1)) order by priority desc, id`, string(wanted))
}

// Written lists all ids of some shards: see persistence.Index.
func (s *Store) Written(ctx context.Context, shards []int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		wanted, err := json.Marshal(shards)
		if err != nil {
			yield("", err)
			return
		}
		rows, err := s.reads.QueryContext(ctx, `select id from connections where shard in (select value from json_each(?1))`, string(wanted))
		if err != nil {
			yield("", failed("list ids", err))
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			id, err := scanID(rows)
			if err != nil {
				yield("", failed("list ids", err))
				return
			}
			if !yield(id, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield("", failed("list ids", err))
		}
	}
}

// Interests lists what the cluster's targets subscribe to: see persistence.Index.
func (s *Store) Interests(ctx context.Context) ([]persistence.IndexRow, error) {
	return collect(ctx, s, "read the index", scanIndexRow, `select `+indexColumns+` from connections
		where status = 'open' and not deleted and interest is not null order by id`)
}

// Row reads one row: see persistence.Index.
func (s *Store) Row(ctx context.Context, id string) (persistence.IndexRow, bool, error) {
	x, err := scanIndexRow(s.reads.QueryRowContext(ctx, `select `+indexColumns+` from connections where id = ?1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return persistence.IndexRow{}, false, nil
	}
	return x, err == nil, failed("read the index", err)
}
