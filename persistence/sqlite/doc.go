// Package sqlite is the embedded store: persistence.Store in one SQLite file, for one node (decision O1). The semantics are
// those of persistence/postgres, fencing included; what differs is that no other process can be there, because Open holds
// the lock file of the data folder.
//
// Everything is durable when it is acknowledged: write-ahead log, synchronous=FULL. One goroutine appends (groupcommit),
// all other writes take turns with it on the one writing connection, reads run beside it on connections of their own.
//
// Read first: Options and Open (store.go), Lock (lock.go), append.go.
package sqlite
