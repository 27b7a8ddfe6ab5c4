package postgres

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// The parameters that all batch statements begin with.
const (
	forMember  = `$1::text`
	forLane    = `$2::int`
	forSession = `$3::bigint`
	forKind    = `$4::text`
)

// fenced is the one lock of a batch, and the shards that are owned under it. A row whose lease does not hold, or all rows
// when the fence is gone, are "not owned".
const fenced = `
with f as materialized (
  select true as held from fences where member = ` + forMember + ` and lane = ` + forLane + ` and session = ` + forSession + ` for share
)`

const owned = `
    exists (select from f) and exists (
      select from shards s where s.kind = ` + forKind + ` and s.shard = w.shard and s.epoch = w.epoch and s.owner = ` + forMember + `
    ) as owned`

// appendSQL writes a batch of events with their index rows, and snapshots if it has any. It returns the rows it did not
// write: "not owned" is fenced, else the sequence number is not the next one. The last one is the index row's revision. Only
// if somebody took the index row away it is not, so rows that are out of sequence are tried once more with lost, which asks
// journal and snapshots as well.
//
// A row that exists although it should be the next breaks the key (23505) and with it the statement: the batch is then
// halved until that row stands alone.
func appendSQL(snapshots, lost bool) string {
	params, names, last, insert := "", "", "0", ""
	if snapshots {
		params, names = `, $20::text[], $21::timestamptz[]`, ` snapshot, snapshot_at,`
		insert = `, s as (
  insert into snapshots (pid, seq_nr, payload, created_at)
  select pid, seq_nr, snapshot::jsonb, snapshot_at from w where owned and next and snapshot is not null
)`
	}
	if lost {
		last = `greatest(0, (select max(j.seq_nr) from journal j where j.pid = w.pid), (select max(s.seq_nr) from snapshots s where s.pid = w.pid))`
	}
	return fenced + `, w as materialized (
  select w.pid, w.id, w.seq_nr, w.shard, w.epoch, w.type, w.payload, w.tags::text[] as tags, w.request_id, w.created_at, w.status,
    w.deleted, w.priority, w.client_count, w.interest,` + names + ` w.ord, ` + owned + `,
    w.seq_nr = 1 + coalesce((select c.revision from connections c where c.id = w.id), ` + last + `) as next
  from unnest($5::text[], $6::text[], $7::bigint[], $8::int[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[],
    $14::timestamptz[], $15::text[], $16::bool[], $17::bigint[], $18::int[], $19::text[]` + params + `)
    with ordinality as w(pid, id, seq_nr, shard, epoch, type, payload, tags, request_id, created_at, status, deleted, priority,
      client_count, interest,` + names + ` ord)
), j as (
  insert into journal (pid, seq_nr, epoch, type, payload, tags, request_id, created_at)
  select pid, seq_nr, epoch, type, payload::jsonb, tags, request_id, created_at from w where owned and next
), c as (
  insert into connections as c (id, shard, status, deleted, tags, priority, client_count, interest, revision)
  select id, shard, status, deleted, tags, priority, client_count, interest::jsonb, seq_nr from w where owned and next
  on conflict (id) do update set shard = excluded.shard, status = excluded.status, deleted = excluded.deleted,
    tags = excluded.tags, priority = excluded.priority, client_count = excluded.client_count, interest = excluded.interest,
    revision = excluded.revision
  where c.revision < excluded.revision
)` + insert + `
select ord, owned from w where not (owned and next)`
}

// snapshotSQL writes snapshots alone. One that is there stays as it is; one of a state that was never written is refused.
const snapshotSQL = fenced + `, w as materialized (
  select w.*, ` + owned + `,
    w.seq_nr between 1 and coalesce(
      (select c.revision from connections c where c.id = w.id), (select max(j.seq_nr) from journal j where j.pid = w.pid), 0) as known
  from unnest($5::text[], $6::text[], $7::bigint[], $8::int[], $9::bigint[], $10::text[], $11::timestamptz[])
    with ordinality as w(pid, id, seq_nr, shard, epoch, snapshot, snapshot_at, ord)
), s as (
  insert into snapshots (pid, seq_nr, payload, created_at)
  select pid, seq_nr, snapshot::jsonb, snapshot_at from w where owned and known
  on conflict (pid, seq_nr) do nothing
)
select ord, owned from w where not (owned and known)`

// eventsThereSQL and snapshotsThereSQL say which rows of a batch of unknown outcome are there, and were written by it.
const (
	eventsThereSQL = `
select w.ord from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) with ordinality as w(pid, seq_nr, epoch, request_id, ord)
where exists (select from journal j where j.pid = w.pid and j.seq_nr = w.seq_nr and j.epoch = w.epoch and j.request_id is not distinct from w.request_id)`
	snapshotsThereSQL = `
select w.ord from unnest($1::text[], $2::bigint[]) with ordinality as w(pid, seq_nr, ord)
where exists (select from snapshots s where s.pid = w.pid and s.seq_nr = w.seq_nr)`
)

// statement is a prepared statement over a batch and the buffers of its parameters.
type statement struct {
	name, sql string
	columns   []column
	put       func(c []column, w *groupcommit.Write)
}

// statements of a lane.
type statements struct {
	events         statement // no snapshot in the batch
	both           statement // some events with a snapshot
	lost           statement // the same for entities that may have lost their index row
	snapshots      statement // snapshots alone
	eventsThere    statement
	snapshotsThere statement
}

func newStatements() *statements {
	event := []uint32{oidText, oidText, oidInt8, oidInt4, oidInt8, oidText, oidText, oidText, oidText, oidStamp, oidText, oidBool, oidInt8, oidInt4, oidText}
	both := append(slices.Clip(event), oidText, oidStamp)
	return &statements{
		events:         statement{"append", appendSQL(false, false), columns(event...), putEvent},
		both:           statement{"append_both", appendSQL(true, false), columns(both...), putBoth},
		lost:           statement{"append_lost", appendSQL(true, true), columns(both...), putBoth},
		snapshots:      statement{"snapshot", snapshotSQL, columns(oidText, oidText, oidInt8, oidInt4, oidInt8, oidText, oidStamp), putSnapshot},
		eventsThere:    statement{"events_there", eventsThereSQL, columns(oidText, oidInt8, oidInt8, oidText), putEventKey},
		snapshotsThere: statement{"snapshots_there", snapshotsThereSQL, columns(oidText, oidInt8), putSnapshotKey},
	}
}

// of picks the statement for a batch.
func (s *statements) of(batch []*groupcommit.Write) *statement {
	switch {
	case batch[0].SnapshotOnly():
		return &s.snapshots
	case slices.ContainsFunc(batch, func(w *groupcommit.Write) bool { return w.Snapshot != nil }):
		return &s.both
	default:
		return &s.events
	}
}

func (s *statements) all() []*statement {
	return []*statement{&s.events, &s.both, &s.lost, &s.snapshots, &s.eventsThere, &s.snapshotsThere}
}

// parameters encodes a batch behind the given scalars. The result is valid until the next call.
func (s *statement) parameters(batch []*groupcommit.Write, scalars ...[]byte) [][]byte {
	for i := range s.columns {
		s.columns[i].reset()
	}
	for _, w := range batch {
		s.put(s.columns, w)
	}
	p := scalars
	for i := range s.columns {
		p = append(p, s.columns[i].value())
	}
	return p
}

func putEvent(c []column, w *groupcommit.Write) {
	e, x := &w.Event, &w.Index
	c[0].text(e.PID)
	c[1].text(x.ID)
	c[2].int8(e.SeqNr)
	c[3].int4(w.Lease.Shard.Number)
	c[4].int8(int64(w.Lease.Epoch))
	c[5].text(e.Type)
	c[6].bytes(e.Payload)
	c[7].tags(e.Tags)
	c[8].textOrNull(e.RequestID)
	c[9].time(e.CreatedAt)
	c[10].text(x.Status)
	c[11].bool(x.Deleted)
	c[12].int8(int64(x.Priority))
	c[13].int4(x.ClientCount)
	c[14].textOrNull(string(x.Interest))
}

func putBoth(c []column, w *groupcommit.Write) {
	putEvent(c, w)
	if w.Snapshot == nil {
		c[15].null()
		c[16].null()
		return
	}
	c[15].bytes(w.Snapshot.Payload)
	c[16].time(w.Snapshot.CreatedAt)
}

func putSnapshot(c []column, w *groupcommit.Write) {
	c[0].text(w.PID())
	c[1].text(idOf(w.PID()))
	c[2].int8(w.Snapshot.SeqNr)
	c[3].int4(w.Lease.Shard.Number)
	c[4].int8(int64(w.Lease.Epoch))
	c[5].bytes(w.Snapshot.Payload)
	c[6].time(w.Snapshot.CreatedAt)
}

func putEventKey(c []column, w *groupcommit.Write) {
	c[0].text(w.PID())
	c[1].int8(w.Event.SeqNr)
	c[2].int8(int64(w.Lease.Epoch))
	c[3].textOrNull(w.Event.RequestID)
}

func putSnapshotKey(c []column, w *groupcommit.Write) {
	c[0].text(w.PID())
	c[1].int8(w.Snapshot.SeqNr)
}

// refusal says what an error answer to a batch means for it: conflict, or data that this row must not have. Nil: something
// else went wrong. The server's message is not repeated, it may quote the data.
func refusal(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return nil
	}
	if e.Code == "23505" {
		return persistence.ErrConflict
	}
	switch e.Code[:2] {
	case "22", "23", "54": // data exception, constraint, program limit (nesting, size of a key)
		reason, ok := refusals[e.Code]
		if !ok {
			reason = "its data was refused"
		}
		return &persistence.RejectedError{Reason: reason + " (SQLSTATE " + e.Code + ")"}
	}
	return nil
}

var refusals = map[string]string{
	"22P02": "the payload is no JSON",
	"22P05": `the payload holds the character \u0000, which PostgreSQL cannot store`,
	"22021": "a text is no UTF-8 or holds the character NUL",
	"22003": "a number is out of range",
	"22008": "a point in time is out of range",
	"23502": "a column has no value",
	"54000": "a value is too large",
	"54001": "the payload is nested too deep",
}
