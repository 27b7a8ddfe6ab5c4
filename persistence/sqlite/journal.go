package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// page is the number of entities that one query recovers.
const page = 1000

// recoverSQL reads the newest snapshot of each entity, the events after it, and the last sequence number that the index
// knows, all in one snapshot of the database. Rows of one entity come in no order.
const recoverSQL = `
with p as materialized (
  select key as ord, value as pid, (select max(s.seq_nr) from snapshots s where s.pid = value) as snapshot from json_each(?1)
)
select p.ord, 'revision', 0, c.revision, 0, '', '', '', null, '' from p cross join connections c on c.id = substr(p.pid, 12)
union all
select p.ord, 'snapshot', s.id, s.seq_nr, 0, '', s.payload, '', null, s.created_at from p cross join snapshots s on s.pid = p.pid and s.seq_nr = p.snapshot
union all
select p.ord, 'event', j.id, j.seq_nr, j.epoch, j.type, j.payload, j.tags, j.request_id, j.created_at
from p cross join journal j on j.pid = p.pid and j.seq_nr > coalesce(p.snapshot, 0)`

// idOf is the connection id of a persistence id.
func idOf(pid string) string { return strings.TrimPrefix(pid, groupcommit.PIDPrefix) }

// Recover reads entities by the thousand: see persistence.Journal.
func (s *Store) Recover(ctx context.Context, pids []string) iter.Seq2[persistence.Recovery, error] {
	return func(yield func(persistence.Recovery, error) bool) {
		for some := range slices.Chunk(pids, page) {
			began := time.Now()
			found, err := s.recoverPage(ctx, some)
			s.opts.Observe(persistence.OpRecover, len(some), time.Since(began), err)
			if err != nil {
				yield(persistence.Recovery{}, failed("recover entities", err))
				return
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) recoverPage(ctx context.Context, pids []string) ([]persistence.Recovery, error) {
	found := make([]persistence.Recovery, len(pids))
	for i, pid := range pids {
		found[i].PID = pid
	}
	rows, err := s.reads.QueryContext(ctx, recoverSQL, list(pids))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			ord           int
			what, payload string
			tags, at      string
			requestID     sql.NullString
			e             persistence.Event
		)
		if err := rows.Scan(&ord, &what, &e.ID, &e.SeqNr, &e.Epoch, &e.Type, &payload, &tags, &requestID, &at); err != nil {
			return nil, err
		}
		r := &found[ord]
		r.LastSeq = max(r.LastSeq, e.SeqNr)
		if what == "revision" {
			continue
		}
		created, err := time.Parse(layout, at)
		if err != nil {
			return nil, err
		}
		if what == "snapshot" {
			r.Snapshot = &persistence.Snapshot{ID: e.ID, PID: r.PID, SeqNr: e.SeqNr, Payload: json.RawMessage(payload), CreatedAt: created}
			continue
		}
		e.PID, e.Payload, e.RequestID, e.CreatedAt = r.PID, json.RawMessage(payload), requestID.String, created
		if err := json.Unmarshal([]byte(tags), &e.Tags); err != nil {
			return nil, err
		}
		r.Events = append(r.Events, e)
	}
	for i := range found {
		slices.SortFunc(found[i].Events, func(a, b persistence.Event) int { return int(a.SeqNr - b.SeqNr) })
	}
	return found, rows.Err()
}

const eventColumns = `id, pid, seq_nr, epoch, type, payload, tags, coalesce(request_id, ''), created_at`

// scanner is a row of *sql.Rows or *sql.Row.
type scanner interface{ Scan(into ...any) error }

func scanEvent(row scanner) (e persistence.Event, err error) {
	var payload, tags, at string
	if err := row.Scan(&e.ID, &e.PID, &e.SeqNr, &e.Epoch, &e.Type, &payload, &tags, &e.RequestID, &at); err != nil {
		return e, err
	}
	e.Payload = json.RawMessage(payload)
	if e.CreatedAt, err = time.Parse(layout, at); err != nil {
		return e, err
	}
	return e, json.Unmarshal([]byte(tags), &e.Tags)
}

const snapshotColumns = `id, pid, seq_nr, payload, created_at`

func scanSnapshot(row scanner) (s persistence.Snapshot, err error) {
	var payload, at string
	if err := row.Scan(&s.ID, &s.PID, &s.SeqNr, &payload, &at); err != nil {
		return s, err
	}
	s.Payload = json.RawMessage(payload)
	s.CreatedAt, err = time.Parse(layout, at)
	return s, err
}

// collect runs a reading query.
func collect[T any](ctx context.Context, s *Store, what string, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := s.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failed(what, err)
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, failed(what, err)
		}
		all = append(all, one)
	}
	return all, failed(what, rows.Err())
}

// Events reads one entity's history: see persistence.Journal.
func (s *Store) Events(ctx context.Context, pid string, from, to int64) iter.Seq2[persistence.Event, error] {
	return func(yield func(persistence.Event, error) bool) {
		rows, err := s.reads.QueryContext(ctx, `select `+eventColumns+` from journal
			where pid = ?1 and seq_nr >= ?2 and (?3 = 0 or seq_nr <= ?3) order by seq_nr`, pid, from, to)
		if err != nil {
			yield(persistence.Event{}, failed("read events", err))
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			e, err := scanEvent(rows)
			if err != nil {
				yield(persistence.Event{}, failed("read events", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(persistence.Event{}, failed("read events", err))
		}
	}
}

// SnapshotAt finds a snapshot of the past: see persistence.Journal.
func (s *Store) SnapshotAt(ctx context.Context, pid string, maxSeq int64, maxTime time.Time) (persistence.Snapshot, bool, error) {
	until := ""
	if !maxTime.IsZero() {
		until = instant(maxTime)
	}
	snap, err := scanSnapshot(s.reads.QueryRowContext(ctx, `select `+snapshotColumns+` from snapshots
		where pid = ?1 and (?2 = 0 or seq_nr <= ?2) and (?3 = '' or created_at <= ?3) order by seq_nr desc limit 1`, pid, maxSeq, until))
	if errors.Is(err, sql.ErrNoRows) {
		return persistence.Snapshot{}, false, nil
	}
	return snap, err == nil, failed("read a snapshot", err)
}

// RecentRequests reads what a request may have caused already: see persistence.Journal.
func (s *Store) RecentRequests(ctx context.Context, pid string, since time.Time) ([]persistence.Event, error) {
	return collect(ctx, s, "read recent requests", scanEvent, `select `+eventColumns+` from journal
		where pid = ?1 and request_id is not null and created_at > ?2 order by seq_nr`, pid, instant(since))
}

// Purge forgets an entity: see persistence.Journal.
func (s *Store) Purge(ctx context.Context, pid string) error {
	return s.transaction(ctx, "purge", func(ctx context.Context, c *sql.Conn) error {
		for _, table := range []string{"journal", "snapshots"} {
			if _, err := c.ExecContext(ctx, `delete from `+table+` where pid = ?1`, pid); err != nil {
				return err
			}
		}
		_, err := c.ExecContext(ctx, `delete from connections where id = ?1`, idOf(pid))
		return err
	})
}

// DeleteRange is a piece of cleanup: see persistence.Journal.
func (s *Store) DeleteRange(ctx context.Context, pid string, from, to int64, events, snapshots bool) (eventRows, snapshotRows int64, err error) {
	err = s.transaction(ctx, "delete history", func(ctx context.Context, c *sql.Conn) error {
		for _, d := range []struct {
			wanted bool
			table  string
			rows   *int64
		}{{events, "journal", &eventRows}, {snapshots, "snapshots", &snapshotRows}} {
			if !d.wanted {
				continue
			}
			result, err := c.ExecContext(ctx, `delete from `+d.table+` where pid = ?1 and seq_nr between ?2 and ?3`, pid, from, to)
			if err != nil {
				return err
			}
			if *d.rows, err = result.RowsAffected(); err != nil {
				return err
			}
		}
		return nil
	})
	return eventRows, snapshotRows, err
}

// OldSnapshots pages through what cleanup looks at: see persistence.Journal.
func (s *Store) OldSnapshots(ctx context.Context, after string, before time.Time, limit int) ([]persistence.Snapshot, error) {
	return collect(ctx, s, "read old snapshots", scanSnapshot, `select `+snapshotColumns+` from snapshots where (pid, seq_nr) in (
		select pid, max(seq_nr) from snapshots where pid > ?1 and created_at < ?2 group by pid order by pid limit ?3) order by pid`,
		after, instant(before), limit)
}

// Oldest finds where history begins: see persistence.Store.
func (s *Store) Oldest(ctx context.Context, pid string) (event, snapshot int64, err error) {
	err = s.reads.QueryRowContext(ctx, `select coalesce((select min(seq_nr) from journal where pid = ?1), 0),
		coalesce((select min(seq_nr) from snapshots where pid = ?1), 0)`, pid).Scan(&event, &snapshot)
	return event, snapshot, failed("read where history begins", err)
}
