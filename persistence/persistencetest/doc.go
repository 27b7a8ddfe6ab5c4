// Package persistencetest is what every store must pass, and the databases to pass it on.
//
// Read first: Schema (a fresh PostgreSQL schema for one test), then Exercise and Database, and Crash.
package persistencetest
