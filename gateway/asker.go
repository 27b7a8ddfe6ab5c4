package gateway

import (
	"context"
	"errors"

	"hawser/messages"
)

// Asker executes a command at a target selection, exactly once per Command.RequestID (decision D2, D7).
//
// A reply of the target, error or not, is a Reply (an error is a bare E1 in Body). An error return means that the command
// never reached its target or that no answer came:
//   - ErrTargetNotFound: no such selection (D4)
//   - ErrNotTaken: the target does not take this command type (D6)
//   - ErrNoLease: the node cannot execute anything now (D18: HTTP 503 gateway:service.unavailable)
//   - context.DeadlineExceeded: no answer in time (E2 ask.error or 408)
//   - *messages.Error: the command could not be parsed or handed over (E2)
type Asker interface {
	Ask(ctx context.Context, target string, cmd messages.Command) (messages.Reply, error)
}

// The sentinel errors of Ask.
var (
	ErrTargetNotFound = errors.New("gateway: target not found")
	ErrNotTaken       = errors.New("gateway: target does not take this command")
	ErrNoLease        = errors.New("gateway: node holds no lease")
)
