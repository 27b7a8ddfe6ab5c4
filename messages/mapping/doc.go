// Package mapping turns broker messages into Ditto protocol envelopes and back: the payload mappers of a connection
// (contract runtime.md 8, I-5, O-6).
//
// It may import packages messages, messages/placeholder, messages/protocol and the standard library. One file per engine.
//
// Read first: Mapper, then Set.Inbound and Set.Outbound, then ditto.go as the simplest engine; values.go says what
// placeholders stand for.
package mapping
