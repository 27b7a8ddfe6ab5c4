// Package shard keeps a node's place in the cluster (design.md 3.2): its row in members, the beat that keeps it, the
// deadline after which it must not act, the watch over the other members, and the shards that it owns.
//
// The database is the arbiter; the clocks of two machines are never compared. What can be decided without waiting is pure:
// Observer (who is silent), Dead (proof of death), Table (what is owned, until when), Assign (who should own what). Membership is the shell with the
// loops. shard/model is the same rules as a model that is searched exhaustively.
//
// Read first: Membership (membership.go), watcher (watcher.go), Table (table.go), Observer (observer.go), Assign (assign.go),
// the instance id (instance.go).
package shard
