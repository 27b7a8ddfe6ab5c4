// Package mapping turns broker messages into Ditto protocol envelopes and back: the payload mappers of a connection
// (contract runtime.md 8, I-5, O-6).
//
// It may import package messages and those below it, the standard library and google/uuid. One file per engine; engine.go
// lists them. Scripts run in package javascript below it.
//
// Read first: Mapper in mapper.go, then Set.Inbound and Set.Outbound, then ditto.go as the simplest engine; values.go says
// what placeholders stand for.
package mapping
