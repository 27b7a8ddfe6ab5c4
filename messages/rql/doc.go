// Package rql reads and evaluates the filters of target topics (contract runtime.md 6.5): eq ne gt ge lt le in like ilike
// exists empty and or not over JSON pointers and placeholders.
//
// It may import packages messages (for its error) and placeholder (for its wildcards) and the standard library. It knows
// no signal: the caller says what a field holds, and whether that is known at all. Parse once per connection, evaluate per
// message.
//
// Read first: Parse with the grammar in parse.go, then Filter.Evaluate, then compare.go for what equal and less mean.
package rql
