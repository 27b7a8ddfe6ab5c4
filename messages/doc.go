// Package messages holds what Hawser's parts say to each other: the connection and its parts, the commands that manage
// it, the events that its journal keeps, the replies and errors that leave over HTTP, and the headers that travel along.
//
// Everything here is pure: no I/O, no clock, no goroutine; it may import the standard library and proto only. JSON goes in
// and comes out exactly as ../shared/contract says; each type names the section it follows.
//
// Read first: Command (what an operator asks), Connection (what it is about), Event (what is kept of it), Reply and Error
// (what is answered).
package messages
