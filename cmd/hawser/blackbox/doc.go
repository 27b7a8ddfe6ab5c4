// Package blackbox holds the tests that use the built binary as an operator does: over HTTP, with signals, with a real
// PostgreSQL and a real Mosquitto. It has no code of its own besides tests.
//
// Rows named in the tests are those of the contract, piggyback.md 12.
package blackbox
