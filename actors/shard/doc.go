// Package shard keeps a node's place in the cluster (design.md 3.2): its row in members, the beat that keeps it, the
// deadline after which it must not act, the watch over the other members, and the shards that it owns.
//
// The database is the arbiter; the clocks of two machines are never compared. What can be decided without waiting is pure:
// Observer (who is silent), Dead (proof of death), Reach (who lives but does not answer), Aside (who must step aside for that),
// Table (what is owned, until when), Assign (who should own what). Membership is the shell with the loops.
// shard/model is the same rules as a model that is searched exhaustively.
//
// Members that reach the database but not each other: each tells with its beat whom it cannot reach (reach.go, prober.go), every
// node reads that of all and computes the same set of members that step aside (aside.go). Who stands aside hands its shards over
// in the regular way, claims nothing, and goes on beating and probing; it keeps its lease. So nothing here bears on safety,
// which is the leases', only on who answers: with all of it wrong, shards would move for nothing or ids stay unanswered.
//
// Read first: Membership (membership.go), watcher (watcher.go), Table (table.go), Observer (observer.go), Assign (assign.go),
// the instance id (instance.go).
package shard
