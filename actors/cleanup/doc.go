// Package cleanup is the background cleanup of history (contract operations.md 2): every node walks through the snapshots
// that are older than the retention and deletes the events and snapshots before them, a few per tick, for the persistence
// ids that are its share.
//
// Config (config.go) is what can be read and changed at run time by piggyback; a restart forgets changes. Worker
// (worker.go) is the loop and the answers to commands; share.go says which ids a node is responsible for. Two nodes that
// disagree for a moment about their shares do no harm: they delete the same rows.
//
// It may import packages messages and persistence.
//
// Read first: Worker.run (the two states), Worker.stream (one walk), Config.
package cleanup
