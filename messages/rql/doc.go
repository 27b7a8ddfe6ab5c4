// Package rql reads and evaluates the filters of target topics (contract runtime.md 6.5): eq ne gt ge lt le in like ilike
// exists empty and or not over JSON pointers and placeholders.
//
// It may import package messages (for its error) and the standard library. It knows no signal: the caller says what a
// field holds, and whether that is known at all.
//
// Read first: Parse, then Filter.Evaluate.
package rql
