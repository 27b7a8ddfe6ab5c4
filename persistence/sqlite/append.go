package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	codes "modernc.org/sqlite/lib"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// The statements of an append. The index row comes first: it takes the row only if the event is the next one, so its
// effect is the gap check. An entity without index row has never been written, unless somebody took the row away: then the
// journal says what the last sequence number was.
const (
	fenceSQL = `select 1 from fences where member = ?1 and lane = 0`
	shardSQL = `select 1 from shards where kind = ?1 and shard = ?2 and epoch = ?3 and owner = ?4`
	indexSQL = `insert into connections (id, shard, status, deleted, tags, priority, client_count, interest, revision)
		select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
		where exists (select 1 from connections where id = ?1) or ?9 = 1 + max(
			coalesce((select max(seq_nr) from journal where pid = ?10), 0), coalesce((select max(seq_nr) from snapshots where pid = ?10), 0))
		on conflict (id) do update set shard = excluded.shard, status = excluded.status, deleted = excluded.deleted, tags = excluded.tags,
			priority = excluded.priority, client_count = excluded.client_count, interest = excluded.interest, revision = excluded.revision
		where connections.revision = excluded.revision - 1`
	eventSQL    = `insert into journal (pid, seq_nr, epoch, type, payload, tags, request_id, created_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`
	snapshotSQL = `insert into snapshots (pid, seq_nr, payload, created_at) values (?1, ?2, ?3, ?4) on conflict do nothing`
	lastSQL     = `select coalesce((select revision from connections where id = ?1), (select max(seq_nr) from journal where pid = ?2), 0)`
)

// appends are the prepared statements of the writer.
type appends struct {
	fence, shard, index, event, snapshot, last *sql.Stmt
	held                                       map[persistence.Lease]bool // what this batch has asked already
}

func prepareAppends(ctx context.Context, c *sql.Conn) (*appends, error) {
	a := &appends{held: map[persistence.Lease]bool{}}
	for _, p := range []struct {
		into **sql.Stmt
		sql  string
	}{{&a.fence, fenceSQL}, {&a.shard, shardSQL}, {&a.index, indexSQL}, {&a.event, eventSQL}, {&a.snapshot, snapshotSQL}, {&a.last, lastSQL}} {
		st, err := c.PrepareContext(ctx, p.sql)
		if err != nil {
			a.close()
			return nil, err
		}
		*p.into = st
	}
	return a, nil
}

func (a *appends) close() {
	for _, st := range []*sql.Stmt{a.fence, a.shard, a.index, a.event, a.snapshot, a.last} {
		if st != nil {
			_ = st.Close()
		}
	}
}

// commit writes one batch, as a groupcommit.Committer does.
func (s *Store) commit(batch []*groupcommit.Write) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	groupcommit.Isolate(batch, s.write)
}

// errRefused marks an error of a row's data; the transaction is rolled back and the batch halved.
type errRefused struct{ reason error }

func (e errRefused) Error() string { return e.reason.Error() }

func (s *Store) write(batch []*groupcommit.Write) (refused error) {
	verdicts := make([]error, len(batch))
	clear(s.appends.held)
	began := time.Now()
	committing := false
	// No deadline: SQLite cannot be told to give up a write to a stuck disk. The callers have theirs.
	ctx := context.Background()
	err := s.inTransaction(ctx, func() error {
		for i, w := range batch {
			var err error
			if verdicts[i], err = s.appends.write(ctx, w); err != nil {
				return err
			}
		}
		committing = true
		return nil
	})
	var r errRefused
	if errors.As(err, &r) {
		return r.reason
	}
	s.opts.Observe(persistence.OpAppend, len(batch), time.Since(began), err)
	if err != nil {
		err = s.lost(committing, err)
	}
	for i, w := range batch {
		if err != nil {
			w.Settle(err)
		} else {
			w.Settle(verdicts[i])
		}
	}
	return nil
}

// lost is what callers are told when their batch was rolled back. After a disk error during the commit nobody knows whether
// the frames are in the log: should the process die now, they may count when the file is opened again.
func (s *Store) lost(committing bool, err error) error {
	if committing && primary(err) == codes.SQLITE_IOERR {
		return fmt.Errorf("%w: %w", persistence.ErrUnknownOutcome, err)
	}
	if primary(err) == codes.SQLITE_FULL {
		return fmt.Errorf("%w: no space left for the database in %s", persistence.ErrUnavailable, s.opts.Dir)
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
}

// write does one write inside the transaction. verdict concerns this write only; err the whole transaction.
func (a *appends) write(ctx context.Context, w *groupcommit.Write) (verdict, err error) {
	if reason := unstorable(w); reason != "" {
		return &persistence.RejectedError{Reason: reason}, nil
	}
	held, err := a.holds(ctx, w.Lease)
	if err != nil {
		return nil, err
	}
	if !held {
		return persistence.ErrFenced, nil
	}
	if w.SnapshotOnly() {
		var last int64
		if err := a.last.QueryRowContext(ctx, idOf(w.PID()), w.PID()).Scan(&last); err != nil {
			return nil, err
		}
		if w.Snapshot.SeqNr < 1 || w.Snapshot.SeqNr > last {
			return persistence.ErrConflict, nil
		}
		return nil, a.writeSnapshot(ctx, w.Snapshot)
	}
	e, x := &w.Event, &w.Index
	tags := list(x.Tags)
	result, err := a.index.ExecContext(ctx, x.ID, w.Lease.Shard.Number, x.Status, x.Deleted, tags, x.Priority, x.ClientCount, nullable(string(x.Interest)), e.SeqNr, e.PID)
	if err != nil {
		return nil, constraint(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return persistence.ErrConflict, err
	}
	if _, err := a.event.ExecContext(ctx, e.PID, e.SeqNr, int64(w.Lease.Epoch), e.Type, string(e.Payload), list(e.Tags), nullable(e.RequestID), instant(e.CreatedAt)); err != nil {
		return nil, constraint(err)
	}
	if w.Snapshot == nil {
		return nil, nil
	}
	return nil, a.writeSnapshot(ctx, w.Snapshot)
}

func (a *appends) writeSnapshot(ctx context.Context, s *persistence.Snapshot) error {
	_, err := a.snapshot.ExecContext(ctx, s.PID, s.SeqNr, string(s.Payload), instant(s.CreatedAt))
	return constraint(err)
}

// holds checks a lease once per batch.
func (a *appends) holds(ctx context.Context, l persistence.Lease) (bool, error) {
	held, known := a.held[l]
	if known {
		return held, nil
	}
	var one int
	err := a.fence.QueryRowContext(ctx, string(l.Owner)).Scan(&one)
	if err == nil {
		err = a.shard.QueryRowContext(ctx, l.Shard.Kind, l.Shard.Number, int64(l.Epoch), string(l.Owner)).Scan(&one)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	a.held[l] = err == nil
	return err == nil, nil
}

// constraint turns the refusal of a row into errRefused.
func constraint(err error) error {
	switch primary(err) {
	case codes.SQLITE_CONSTRAINT:
		return errRefused{persistence.ErrConflict}
	case codes.SQLITE_TOOBIG, codes.SQLITE_MISMATCH, codes.SQLITE_RANGE:
		return errRefused{&persistence.RejectedError{Reason: "a value is too large"}}
	}
	return err
}

// unstorable says why a write cannot be stored, "" if it can: what PostgreSQL refuses is refused here, too, so that a
// connection does not depend on the store it was made in.
func unstorable(w *groupcommit.Write) string {
	documents := [][]byte{w.Event.Payload, w.Index.Interest, nil}
	if w.SnapshotOnly() {
		documents[0] = w.Snapshot.Payload
	} else if w.Snapshot != nil {
		documents[2] = w.Snapshot.Payload
	}
	for i, d := range documents {
		switch {
		case i > 0 && len(d) == 0:
		case !json.Valid(d):
			return "the payload is no JSON"
		case !utf8.Valid(d):
			return "a text is no UTF-8 or holds the character NUL"
		case holdsNUL(d):
			return `the payload holds the character \u0000, which PostgreSQL cannot store`
		}
	}
	for _, s := range []string{w.Event.PID, w.Event.Type, w.Event.RequestID, w.Index.ID, w.Index.Status} {
		if !plain(s) {
			return "a text is no UTF-8 or holds the character NUL"
		}
	}
	for _, tags := range [][]string{w.Event.Tags, w.Index.Tags} {
		for _, s := range tags {
			if !plain(s) {
				return "a text is no UTF-8 or holds the character NUL"
			}
		}
	}
	return ""
}

func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// holdsNUL reports an escaped NUL in valid JSON. A backslash that is escaped itself does not count.
func holdsNUL(document []byte) bool {
	for rest := document; ; {
		at := bytes.IndexByte(rest, '\\')
		if at < 0 {
			return false
		}
		if bytes.HasPrefix(rest[at:], []byte(`\u0000`)) {
			return true
		}
		rest = rest[at+2:] // valid JSON: something follows a backslash
	}
}

// list is a list of strings as a JSON array.
func list(values []string) string {
	if len(values) == 0 {
		return "[]"
	}
	b, err := json.Marshal(values)
	if err != nil {
		return "[]" // strings always marshal
	}
	return string(b)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// layout of a point in time: UTC, fixed width.
const layout = "2006-01-02T15:04:05.000000Z"

func instant(t time.Time) string { return t.UTC().Format(layout) }
