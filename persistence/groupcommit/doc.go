// Package groupcommit is the queue in front of a journal's writer: callers block in Do, one goroutine per lane gathers
// what has queued meanwhile into a batch, and a Committer makes the batch durable and settles each write in it
// (design.md 5). Both stores write through it, so that order, bounds and the fate of a write whose caller stopped
// waiting are the same in both.
//
// Invariants:
//   - a batch holds at most one write per entity, so that a store may treat its rows in any order;
//   - writes of one entity are committed in the order in which they were queued;
//   - all writes of a batch come from one member and one kind of shard, and are events or snapshots but not both;
//   - a write is settled exactly once, and a caller that stopped waiting before its write was taken knows that it never
//     reaches the store.
//
// Read first: Write, Lane.Do, Committer, Peers.
package groupcommit
