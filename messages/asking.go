package messages

import "errors"

// The ways in which a command does not reach a target. They are errors of asking, not replies (contract piggyback.md 1.7).
var (
	// ErrTargetNotFound: no such selection (decision D4).
	ErrTargetNotFound = errors.New("messages: target not found")
	// ErrNotTaken: the target does not take this command type (decision D6).
	ErrNotTaken = errors.New("messages: target does not take this command")
	// ErrNoLease: the node cannot execute anything now (decision D18).
	ErrNoLease = errors.New("messages: node holds no lease")
)
