// Package javascript runs the scripts of JavaScript payload mappers (contract runtime.md 8.2) on the engine goja. It knows
// nothing of connections: it takes and gives headers, texts, bytes and JSON.
//
// It may import package messages, the standard library, goja and goja's package for regular expressions. lib holds the
// third-party scripts that options load, each unchanged beside its licence.
//
// Read first: Engine.Inbound in engine.go, then member.call in member.go for the limits, then json.go for the objects that
// stay JSON text until a script looks at them, which is most of the speed, and stringify.go for how they are written;
// prelude.js is what every script finds.
//
// Scripts come from operators, and not everything is bounded. The parser of goja keeps one error per pair of equal nested
// labels; nesting.go refuses what would take it seconds and gigabytes, as far as can be seen without a parser. The memory of a
// running script is bounded only by its time, what goja does in one native step (filling or sorting a large array,
// JSON.stringify with more than one argument) ends before the script is interrupted, and making a text of an array that is
// nested a million deep ends the process.
package javascript
