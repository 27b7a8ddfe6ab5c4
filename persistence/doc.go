// Package persistence says what Hawser keeps and what it demands of a store: an append-only journal and snapshots per
// entity, an index row per connection written with each event, shard leases with epochs that fence every append, and the
// progress of an encryption migration (contract operations.md 1, decisions O1–O5, design.md 3.2 and 5).
//
// The stores are persistence/postgres (production, clusters) and persistence/sqlite (embedded, one node). Both pass
// persistence/persistencetest.Exercise and share persistence/groupcommit, the queue in front of their writers. The package
// imports the standard library only.
//
// Read first: Store, then Append (the one write path) and its errors, then Leases.
package persistence
