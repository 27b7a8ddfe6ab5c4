package postgres

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// page is the number of entities that one query recovers. A page is read whole before it is handed on, so that a slow
// consumer holds no session.
const page = 1000

// recoverSQL reads the newest snapshot of each entity, the events after it, and the last sequence number that the index
// knows, all in one snapshot of the database. Rows of one entity come in no order.
const recoverSQL = `
with p as materialized (
  select ord, pid, (select max(s.seq_nr) from snapshots s where s.pid = u.pid) as snapshot,
    (select c.revision from connections c where c.id = substr(u.pid, ` + prefixEnd + `)) as revision
  from unnest($1::text[]) with ordinality as u(pid, ord)
)
select p.ord, p.revision, 'revision', null::bigint, null::bigint, null::bigint, null::text, null::text, null::text[], null::text, null::timestamptz
from p where p.revision is not null
union all
select p.ord, p.revision, 'snapshot', s.id, s.seq_nr, null, null, s.payload::text, null, null, s.created_at
from p, lateral (select * from snapshots s where s.pid = p.pid and s.seq_nr = p.snapshot offset 0) s
union all
select p.ord, p.revision, 'event', j.id, j.seq_nr, j.epoch, j.type, j.payload::text, j.tags, j.request_id, j.created_at
from p, lateral (select * from journal j where j.pid = p.pid and j.seq_nr > coalesce(p.snapshot, 0) offset 0) j`

const prefixEnd = `12` // len(groupcommit.PIDPrefix) + 1

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
	rows, err := s.pool.Query(ctx, recoverSQL, pids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			ord                        int
			what                       string
			revision, id, seqNr, epoch *int64
			typ, requestID             *string
			payload                    []byte
			tags                       []string
			at                         *time.Time
		)
		if err := rows.Scan(&ord, &revision, &what, &id, &seqNr, &epoch, &typ, &payload, &tags, &requestID, &at); err != nil {
			return nil, err
		}
		r := &found[ord-1]
		switch what {
		case "revision":
			r.LastSeq = max(r.LastSeq, *revision)
		case "snapshot":
			r.Snapshot = &persistence.Snapshot{ID: *id, PID: r.PID, SeqNr: *seqNr, Payload: payload, CreatedAt: at.UTC()}
			r.LastSeq = max(r.LastSeq, *seqNr)
		case "event":
			e := persistence.Event{
				ID: *id, PID: r.PID, SeqNr: *seqNr, Epoch: persistence.Epoch(*epoch), Type: *typ, Payload: payload, Tags: tags, CreatedAt: at.UTC(),
			}
			if requestID != nil {
				e.RequestID = *requestID
			}
			r.Events = append(r.Events, e)
			r.LastSeq = max(r.LastSeq, *seqNr)
		}
	}
	for i := range found {
		slices.SortFunc(found[i].Events, func(a, b persistence.Event) int { return int(a.SeqNr - b.SeqNr) })
	}
	return found, rows.Err()
}

// eventColumns are what scanEvent reads.
const eventColumns = `id, pid, seq_nr, epoch, type, payload::text, tags, coalesce(request_id, ''), created_at`

func scanEvent(row pgx.CollectableRow) (persistence.Event, error) {
	var e persistence.Event
	var payload []byte
	err := row.Scan(&e.ID, &e.PID, &e.SeqNr, &e.Epoch, &e.Type, &payload, &e.Tags, &e.RequestID, &e.CreatedAt)
	e.Payload, e.CreatedAt = payload, e.CreatedAt.UTC()
	return e, err
}

const snapshotColumns = `id, pid, seq_nr, payload::text, created_at`

func scanSnapshot(row pgx.CollectableRow) (persistence.Snapshot, error) {
	var s persistence.Snapshot
	var payload []byte
	err := row.Scan(&s.ID, &s.PID, &s.SeqNr, &payload, &s.CreatedAt)
	s.Payload, s.CreatedAt = payload, s.CreatedAt.UTC()
	return s, err
}

// Events reads one entity's history: see persistence.Journal.
func (s *Store) Events(ctx context.Context, pid string, from, to int64) iter.Seq2[persistence.Event, error] {
	return func(yield func(persistence.Event, error) bool) {
		rows, err := s.pool.Query(ctx, `select `+eventColumns+` from journal
			where pid = $1 and seq_nr >= $2 and ($3 = 0 or seq_nr <= $3) order by seq_nr`, pid, from, to)
		if err != nil {
			yield(persistence.Event{}, failed("read events", err))
			return
		}
		defer rows.Close()
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
	var until *time.Time
	if !maxTime.IsZero() {
		until = &maxTime
	}
	rows, err := s.pool.Query(ctx, `select `+snapshotColumns+` from snapshots
		where pid = $1 and ($2 = 0 or seq_nr <= $2) and ($3::timestamptz is null or created_at <= $3) order by seq_nr desc limit 1`, pid, maxSeq, until)
	if err != nil {
		return persistence.Snapshot{}, false, failed("read a snapshot", err)
	}
	snap, err := pgx.CollectExactlyOneRow(rows, scanSnapshot)
	if errors.Is(err, pgx.ErrNoRows) {
		return persistence.Snapshot{}, false, nil
	}
	return snap, err == nil, failed("read a snapshot", err)
}

// RecentRequests reads what a request may have caused already: see persistence.Journal.
func (s *Store) RecentRequests(ctx context.Context, pid string, since time.Time) ([]persistence.Event, error) {
	rows, err := s.pool.Query(ctx, `select `+eventColumns+` from journal
		where pid = $1 and request_id is not null and created_at > $2 order by seq_nr`, pid, since)
	if err != nil {
		return nil, failed("read recent requests", err)
	}
	events, err := pgx.CollectRows(rows, scanEvent)
	return events, failed("read recent requests", err)
}

// Purge forgets an entity: see persistence.Journal.
func (s *Store) Purge(ctx context.Context, pid string) error {
	_, err := s.pool.Exec(ctx, `with j as (delete from journal where pid = $1), s as (delete from snapshots where pid = $1)
		delete from connections where id = $2`, pid, idOf(pid))
	return failed("purge", err)
}

// DeleteRange is a piece of cleanup: see persistence.Journal.
func (s *Store) DeleteRange(ctx context.Context, pid string, from, to int64, events, snapshots bool) (eventRows, snapshotRows int64, err error) {
	err = s.pool.QueryRow(ctx, `
		with j as (delete from journal where $4 and pid = $1 and seq_nr between $2 and $3 returning 1),
		s as (delete from snapshots where $5 and pid = $1 and seq_nr between $2 and $3 returning 1)
		select (select count(*) from j), (select count(*) from s)`, pid, from, to, events, snapshots).Scan(&eventRows, &snapshotRows)
	return eventRows, snapshotRows, failed("delete history", err)
}

// OldSnapshots pages through what cleanup looks at: see persistence.Journal.
func (s *Store) OldSnapshots(ctx context.Context, after string, before time.Time, limit int) ([]persistence.Snapshot, error) {
	rows, err := s.pool.Query(ctx, `select distinct on (pid) `+snapshotColumns+` from snapshots
		where pid > $1 and created_at < $2 order by pid, seq_nr desc limit $3`, after, before, limit)
	if err != nil {
		return nil, failed("read old snapshots", err)
	}
	snaps, err := pgx.CollectRows(rows, scanSnapshot)
	return snaps, failed("read old snapshots", err)
}

// Oldest finds where history begins: see persistence.Store.
func (s *Store) Oldest(ctx context.Context, pid string) (event, snapshot int64, err error) {
	err = s.pool.QueryRow(ctx, `select coalesce((select min(seq_nr) from journal where pid = $1), 0),
		coalesce((select min(seq_nr) from snapshots where pid = $1), 0)`, pid).Scan(&event, &snapshot)
	return event, snapshot, failed("read where history begins", err)
}
