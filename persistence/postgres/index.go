package postgres

import (
	"context"
	"errors"
	"iter"

	"github.com/jackc/pgx/v5"

	"hawser/persistence"
)

const indexColumns = `id, shard, status, deleted, tags, priority, client_count, interest::text, revision`

func scanIndexRow(row pgx.CollectableRow) (persistence.IndexRow, error) {
	var x persistence.IndexRow
	var interest []byte
	err := row.Scan(&x.ID, &x.Shard, &x.Status, &x.Deleted, &x.Tags, &x.Priority, &x.ClientCount, &interest, &x.Revision)
	x.Interest = interest
	return x, err
}

// IDs lists connections: see persistence.Index.
func (s *Store) IDs(ctx context.Context, after string, limit int) ([]string, error) {
	return s.ids(ctx, `select id from connections where not deleted and id > $1 order by id limit nullif($2, 0)`, after, limit)
}

// IDsByTag lists connections by tag: see persistence.Index.
func (s *Store) IDsByTag(ctx context.Context, tag string) ([]string, error) {
	return s.ids(ctx, `select id from connections where not deleted and tags @> array[$1::text] order by id`, tag)
}

func (s *Store) ids(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, failed("list ids", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failed("list ids", err)
}

// Open lists what a shard's owner has to start: see persistence.Index.
func (s *Store) Open(ctx context.Context, shards []int) ([]persistence.IndexRow, error) {
	return s.rows(ctx, `select `+indexColumns+` from connections
		where shard = any($1) and status = 'open' and not deleted order by priority desc, id`, shards)
}

// Written lists all ids of some shards: see persistence.Index.
func (s *Store) Written(ctx context.Context, shards []int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		rows, err := s.pool.Query(ctx, `select id from connections where shard = any($1)`, shards)
		if err != nil {
			yield("", failed("list ids", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
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
	return s.rows(ctx, `select `+indexColumns+` from connections
		where status = 'open' and not deleted and interest is not null order by id`)
}

// Row reads one row: see persistence.Index.
func (s *Store) Row(ctx context.Context, id string) (persistence.IndexRow, bool, error) {
	rows, err := s.pool.Query(ctx, `select `+indexColumns+` from connections where id = $1`, id)
	if err != nil {
		return persistence.IndexRow{}, false, failed("read the index", err)
	}
	x, err := pgx.CollectExactlyOneRow(rows, scanIndexRow)
	if errors.Is(err, pgx.ErrNoRows) {
		return persistence.IndexRow{}, false, nil
	}
	return x, err == nil, failed("read the index", err)
}

func (s *Store) rows(ctx context.Context, query string, args ...any) ([]persistence.IndexRow, error) {
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, failed("read the index", err)
	}
	xs, err := pgx.CollectRows(rows, scanIndexRow)
	return xs, failed("read the index", err)
}
