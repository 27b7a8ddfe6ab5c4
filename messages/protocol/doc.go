// Package protocol is the Ditto protocol envelope: the JSON text that devices and services send over brokers (contract
// runtime.md 1). It reads and writes envelopes, knows the grammar of topics and paths, which kind of signal an envelope
// is, which headers may enter and leave, and how errors, acknowledgements and announcements look.
//
// It may import package messages and the standard library.
//
// Read first: Envelope, Parse and AppendOutbound, then Topic, then Kind.
package protocol
