// Package shard keeps a node's place in the cluster (design.md 3.2): its row in members, the beat that keeps it, the
// deadline after which it must not act, the watch over the other members, and the shards that it owns.
//
// The database is the arbiter; the clocks of two machines are never compared. What can be decided without waiting is pure:
// Observer (who is silent), Dead (proof of death), Table (what is owned, until when). Membership is the shell with the
// loops. shard/model is the same rules as a model that is searched exhaustively.
//
// One node at a time owns everything: a second one on the same database stands by and takes over when the first is
// buried. Sharing the shards out (rules 7 and 8) comes with the cluster.
//
// Read first: Membership (membership.go), Table (table.go), Observer (observer.go).
package shard
