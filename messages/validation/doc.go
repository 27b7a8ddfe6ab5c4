// Package validation decides whether a connection that parsed may be stored and opened: the rules V01 to V35 of contract
// connection-model.md 14.2, in their order, the first failure as a *messages.Error.
//
// It may import messages and the packages below it. It is pure but for Rules.Host, which may resolve a name.
//
// Read first: Rules.Validate, the table general (rules of every type), then the table protocols (what differs by type) and
// the file of one protocol.
package validation
