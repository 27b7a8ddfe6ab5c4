package gateway

import (
	"context"

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
