package gateway

import (
	"context"
	"encoding/json"
	"iter"

	"hawser/messages"
)

// Asker executes a command at a target selection, exactly once per Command.RequestID (decisions D2, D7).
//
// A reply of the target, error or not, is a Reply (an error is a bare E1 in Body). An error return means that the command
// never reached its target or that no answer came: messages.ErrTargetNotFound (D4), messages.ErrNotTaken (D6),
// messages.ErrNoLease (D18: HTTP 503 gateway:service.unavailable), context.DeadlineExceeded (E2 ask.error or 408), or a
// *messages.Error that ends in an E2.
type Asker interface {
	Ask(ctx context.Context, target string, cmd messages.Command) (messages.Reply, error)
}

// Reader reads connections where they are stored: a list must not wake those that are at rest.
type Reader interface {
	// Connections reads what retrieveConnection would answer for each of ids, in their order, without those that do not exist.
	// It holds a bounded part of them at one time. An error ends the sequence: those of Asker, and *messages.Error when a
	// connection cannot be read.
	Connections(ctx context.Context, ids []string, fields *messages.FieldSelector) iter.Seq2[json.RawMessage, error]
}

// Nodes asks nodes for themselves: targets that every node has (contract piggyback.md 1.6).
type Nodes interface {
	// Instance is the instance id of this node; it can change (decision O8).
	Instance() string
	// Instances are the instance ids of the live members, this node's first. member is false while this node holds no lease
	// (decision D18): then it knows of itself only.
	Instances() (ids []string, member bool)
	// AskInstance has one instance answer a command. Errors are those of Asker, and messages.ErrInstanceNotFound.
	AskInstance(ctx context.Context, instance, target string, cmd messages.Command) (messages.Reply, error)
}
