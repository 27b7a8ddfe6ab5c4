// Package postgres is the production store: persistence.Store on PostgreSQL 12 or newer through pgx (design.md 3.2, 5).
//
// Sessions: one per append lane (lane.go), one that beats, one that observes and buries members, one that listens, and a
// small pool for everything else. None may go through a transaction pooler: fences, LISTEN and the observer's session
// number need real sessions.
//
// Non-obvious, and relied upon:
//   - Every statement runs at READ COMMITTED. A batch reads shards and index in the snapshot of its statement and then
//     locks its row of fences; if that row was deleted or renumbered after the snapshot, the lock finds nothing and the
//     whole batch is fenced. That, and that Release waits for the lanes, is why reading shards without a lock is right.
//   - The index row's revision is the entity's last sequence number: each event moves it, nothing but Purge takes it
//     away. The gap check needs no other read (a row that somebody removed by hand is made good for: lane.verdict).
//   - Transactions lock members before fences before shards, shards in the order of their key. A batch locks one row of
//     fences, its own. So nothing deadlocks.
//   - A lane that lost its session renumbers its fences before it reads back what became of the batch: until then the old
//     batch may still commit.
//
// Read first: Options and Open (store.go), appendSQL (append.go), lane.go, leases.go.
package postgres
