// Package monitor counts and logs what happens to the messages of each connection: sliding-window counters for
// retrieveConnectionMetrics (piggyback.md 4.13), the same counts for Prometheus (operations.md 9), log rings for
// retrieveConnectionLogs (piggyback.md 4.15, runtime.md 12). Recording one message allocates nothing.
//
// Read first: Registry (all connections of a node), Connection, Scope (one address in one direction).
package monitor
