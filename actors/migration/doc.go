// Package migration walks all stored documents and brings their secrets under the configured key, while everything else goes
// on: initial encryption, rotation, disabling (contract encryption.md 6, decisions D20 to D29). It runs on the node that owns
// the cluster singleton encryptionMigration.
//
// Read first: progress.go, the state as data, with the document that is stored; runner.go, who owns what and how long it
// lives; walk.go, the pipeline of reading, rewriting and committing; commit.go, what happens when the store does not take a
// batch; verify.go, the last pass (D28); yield.go, how it makes way for live writes.
//
// It imports messages, persistence and persistence/encryption, and Prometheus for its series.
package migration
