package persistence

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"
)

// Errors of an append. They concern one Append only: a batch mate is not affected.
var (
	// ErrConflict: another row with this (pid, seq_nr) is there, or SeqNr leaves a gap. The caller's state is stale: stop the entity.
	ErrConflict = errors.New("persistence: sequence number conflict")
	// ErrFenced: this member no longer owns the shard in the epoch the append names. Stop the entity.
	ErrFenced = errors.New("persistence: fenced by a newer epoch")
	// ErrUnavailable: the store did not take the row and it is certain that it will not appear (nothing was sent, or
	// its fate was established as "not written"). Retryable.
	ErrUnavailable = errors.New("persistence: store unavailable")
	// ErrUnknownOutcome: the wait ended before the store could say whether the row is there, or the disk failed in the
	// middle of the commit. Stop the entity, recover.
	ErrUnknownOutcome = errors.New("persistence: outcome unknown")
)

// RejectedError says that the store refused the row for its data: a payload that is no JSON, holds the character \u0000 or
// is nested too deep (SQLSTATE classes 22, 23, 54), or parts of an Append that do not belong together. Nothing was written;
// the entity may go on. Reason never repeats the data.
type RejectedError struct{ Reason string }

func (e *RejectedError) Error() string { return "persistence: row rejected: " + e.Reason }

// MemberID names one incarnation of a node (design.md 3.1). Epoch counts the ownerships of a shard.
type (
	MemberID string
	Epoch    int64
)

// Kinds of shards (design.md 3.3).
const (
	KindConnection = "connection"
	KindClient     = "client"
	KindSingleton  = "singleton"
)

// ShardRef names a shard.
type ShardRef struct {
	Kind   string
	Number int
}

// Lease is the ownership under which something is written.
type Lease struct {
	Shard ShardRef
	Owner MemberID
	Epoch Epoch
}

// Event is one journal row. PID is "connection:<id>". SeqNr starts at 1. Payload is the JSON of contract operations.md 1.2.
type Event struct {
	ID        int64 // order of the journal as a whole; set by the store
	PID       string
	SeqNr     int64
	Epoch     Epoch
	Type      string
	Payload   json.RawMessage
	Tags      []string
	RequestID string // decision D7, "" for events without a request
	CreatedAt time.Time
}

// Snapshot is one snapshot row.
type Snapshot struct {
	ID        int64
	PID       string
	SeqNr     int64
	Payload   json.RawMessage
	CreatedAt time.Time
}

// IndexRow is the connection's row in the index table after the event (decision O2). It is written in the same
// statement as the event, and only if Revision grows.
type IndexRow struct {
	ID          string // connection id
	Shard       int
	Status      string // stored status: open, closed, …
	Deleted     bool
	Tags        []string // journal tags of the newest event, internal ones included
	Priority    int
	ClientCount int
	Interest    json.RawMessage // what its targets subscribe to (design.md 6.1); null when nothing
	Revision    int64           // sequence number of the newest event
}

// Append is one write of one entity: its next event, the index row after it and, when one is due, a snapshot of the state
// after it. The parts name the same entity ("connection:" + Index.ID) and the same sequence number, else RejectedError.
type Append struct {
	Lease    Lease
	Event    Event
	Index    IndexRow
	Snapshot *Snapshot
}

// Recovery is what is needed to rebuild an entity: the newest snapshot, nil if none, and the events after it in order.
// LastSeq is the highest sequence number it was ever given (max over journal, snapshot and index row, so that rows which
// somebody removed are missed and not given again), 0 when the entity was never written or purged.
type Recovery struct {
	PID      string
	Snapshot *Snapshot
	Events   []Event
	LastSeq  int64
}

// Journal is the event log with its snapshots.
type Journal interface {
	// Append writes one entity's next event durably. It blocks until the row is committed (nil), refused (one of the
	// errors above), or ctx ends (ErrUnknownOutcome unless nothing was sent). Concurrent calls share commits.
	Append(ctx context.Context, a Append) error
	// SaveSnapshot writes a snapshot apart from an event (timer, deleted entity). Same errors as Append; ErrConflict: the
	// state of that sequence number was never written. A snapshot that is there already stays as it is, which is no error.
	SaveSnapshot(ctx context.Context, l Lease, s Snapshot) error
	// Recover reads the entities of pids in as few queries as possible; the result has one Recovery per pid, in any order.
	Recover(ctx context.Context, pids []string) iter.Seq2[Recovery, error]
	// Events reads the events of one entity with from <= seq_nr <= to in order (to 0: no upper bound).
	Events(ctx context.Context, pid string, from, to int64) iter.Seq2[Event, error]
	// SnapshotAt returns the newest snapshot with seq_nr <= maxSeq (0: no bound) and created_at <= maxTime (zero: no bound).
	SnapshotAt(ctx context.Context, pid string, maxSeq int64, maxTime time.Time) (Snapshot, bool, error)
	// RecentRequests returns the events of pid that carry a request id and are younger than since (decision D7).
	RecentRequests(ctx context.Context, pid string, since time.Time) ([]Event, error)
	// Purge deletes journal, snapshots and index row of an entity; afterwards it starts at sequence number 1. The entity must
	// have been stopped before: no lease is checked.
	Purge(ctx context.Context, pid string) error
	// DeleteRange deletes events and snapshots of pid with seq_nr in [from,to], inclusive; returns how many of each. The
	// sequence goes on after the last event, even if nothing is left of it.
	DeleteRange(ctx context.Context, pid string, from, to int64, events, snapshots bool) (eventRows, snapshotRows int64, err error)
	// OldSnapshots lists the pids greater than after that have a snapshot older than before, with the newest such snapshot
	// each, ordered by pid.
	OldSnapshots(ctx context.Context, after string, before time.Time, limit int) ([]Snapshot, error)
}

// Index reads the connections table (decision O2).
type Index interface {
	// IDs lists the ids of connections that are not deleted, ascending, greater than after; limit 0 means all.
	IDs(ctx context.Context, after string, limit int) ([]string, error)
	// IDsByTag lists those whose newest event carries tag, ascending.
	IDsByTag(ctx context.Context, tag string) ([]string, error)
	// Open lists the rows with stored status open of the given shards, highest priority first.
	Open(ctx context.Context, shards []int) ([]IndexRow, error)
	// Row returns one row.
	Row(ctx context.Context, id string) (IndexRow, bool, error)
	// Written lists the ids of all rows of the given shards in any order, deleted connections included: no other id of these
	// shards has anything in journal or snapshots.
	Written(ctx context.Context, shards []int) iter.Seq2[string, error]
	// Interests lists the rows with stored status open of the whole cluster whose interest is not null.
	Interests(ctx context.Context) ([]IndexRow, error)
}

// Member is a row of members (design.md 3.2).
type Member struct {
	ID       MemberID
	Beat     int64
	Address  string // node to node
	Instance string // O8
	Kinds    []string
	Draining bool
	Proc     string // boot id, pid namespace, pid, start time: proof of death on the same kernel
	// Unreachable are the members that beat but do not answer this one (design.md 3.2), as of its last beat.
	Unreachable []MemberID
}

// Leases is the arbiter: members, fences and shards (design.md 3.2). Every method is one transaction.
type Leases interface {
	// Init creates the missing shard rows of a kind. The number of connection shards is fixed by the first Init of a database:
	// ErrShardCount if it is another. Other kinds may grow.
	Init(ctx context.Context, kind string, shards int) error
	// Join inserts the member with its fences, one per append lane, which this store's appends write under from then on.
	// Joining again with the same id changes nothing, so a Join of unknown outcome may be repeated.
	Join(ctx context.Context, m Member) error
	// Beat moves the member's beat and says whom the member cannot reach; false: it was buried.
	Beat(ctx context.Context, id MemberID, unreachable []MemberID) (alive bool, err error)
	// Members reads all members. Session identifies the database session that read, so that an observer can tell whether
	// two reads came from one (3.2 rule 3).
	Members(ctx context.Context) (members []Member, session int64, err error)
	// Bury removes a member, waits for its appends in flight and frees its shards: with proof regardless of its beat, else
	// only if its beat is still seen. False: it was not. Without proof it is an error if the session that the last Members
	// read has ended since (3.2 rule 3): look again for a whole TTL.
	Bury(ctx context.Context, id MemberID, seen int64, proof bool) (bool, error)
	// Shards reads the owners of all shards.
	Shards(ctx context.Context) ([]Lease, error)
	// Claim takes the unowned shards among want and returns the leases taken.
	Claim(ctx context.Context, id MemberID, want []ShardRef) ([]Lease, error)
	// Release gives shards back; their epoch grows. It waits for this store's appends under way: when it returns, nothing
	// more appears under the old leases.
	Release(ctx context.Context, id MemberID, shards []ShardRef) error
	// SetDraining marks the member as leaving.
	SetDraining(ctx context.Context, id MemberID) error
	// Leave removes the member itself with its fences and releases its shards.
	Leave(ctx context.Context, id MemberID) error
	// Changes signals (coalesced) that members or shards changed, and may have; the channel is closed when ctx or the store
	// ends. A nil channel: the store cannot tell, poll.
	Changes(ctx context.Context) <-chan struct{}
}

// ErrShardCount says that the database was created with another number of shards (decision O10).
var ErrShardCount = errors.New("persistence: number of shards differs from the database's")

// Store is everything. Ping is the readiness probe: one read. Close ends batches under way and refuses what waits; it does
// not Leave.
type Store interface {
	Journal
	Index
	Leases
	Migrations
	// Oldest returns the smallest sequence numbers of pid's events and snapshots, 0 where there are none.
	Oldest(ctx context.Context, pid string) (event, snapshot int64, err error)
	Ping(ctx context.Context) error
	Close() error
}

// Row is one stored document that an encryption migration looks at: a snapshot or a journal row.
type Row struct {
	ID      int64
	PID     string
	Payload json.RawMessage
}

// RowUpdate replaces a row's payload if it still is what was read (decision D25).
type RowUpdate struct {
	ID       int64
	Old, New json.RawMessage
}

// Table names a table that a migration walks.
type Table string

// The two tables.
const (
	TableSnapshots Table = "snapshots"
	TableJournal   Table = "journal"
)

// Migrations keeps the progress of the encryption migration and applies its batches (decisions D24, D25). What is written is
// written under the lease of the migration's shard, checked in the same transaction: ErrFenced means that it does not hold any
// more and that nothing was written. The ownership of the shard does not change before such a transaction has ended.
type Migrations interface {
	// MigrationProgress returns the stored progress document of name, nil if none.
	MigrationProgress(ctx context.Context, name string) (json.RawMessage, error)
	// RowsAfter reads up to limit rows of a table with id > after, in order of id.
	RowsAfter(ctx context.Context, t Table, after int64, limit int) ([]Row, error)
	// ApplyBatch writes the updates and the progress document in one transaction. changed[i] is false when the row was gone
	// or different. progress is called inside the transaction with changed and returns the document to store.
	ApplyBatch(ctx context.Context, l Lease, name string, t Table, updates []RowUpdate, progress func(changed []bool) (json.RawMessage, error)) error
	// SaveProgress stores a progress document alone.
	SaveProgress(ctx context.Context, l Lease, name string, progress json.RawMessage) error
}

// Operation names what a store reports to an Observe.
type Operation string

// The operations.
const (
	OpAppend  Operation = "append"  // one batch committed, rows in it
	OpRecover Operation = "recover" // one page of entities read, rows = entities
)

// Observe is told how long an operation of a store took and with what error it ended, for histograms (operations.md 9). It
// is called from the store's own goroutines and must return at once.
type Observe func(op Operation, rows int, took time.Duration, err error)
