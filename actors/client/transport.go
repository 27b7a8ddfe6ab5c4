package client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"hawser/messages"
)

// Transport is one broker client: the protocol part and nothing else. It is used by one Runner.
type Transport interface {
	// Open dials, authenticates, makes the publisher ready and subscribes all sources, in this order. It returns when all
	// that works; on error no socket is left. Errors: *Failure where the class is known.
	Open(ctx context.Context) error
	// Publish hands m to the broker without waiting; done is called exactly once, from any goroutine, when the broker has
	// acknowledged it (where the protocol can), refused it, or the queue was full. Order of calls = order on the wire.
	// done must not block.
	Publish(m Outbound, done func(Outcome))
	// Close lets pending publishes end for a moment, disconnects and returns only when no socket is left; what is still
	// pending fails with ErrClosed. ctx bounds the orderly part. Idempotent; the sockets may have been closed before.
	Close(ctx context.Context) error
}

// ErrClosed is the cause (errors.Is) of an Outcome when Hawser itself closed the client: the broker did not refuse the
// message, and may or may not have it.
var ErrClosed = errors.New("the client was closed")

// Handler is what a Transport reports to. Methods may be called from any goroutine, also while Open runs.
type Handler interface {
	// Consume takes over one message; blocking is the back-pressure. In must be settled exactly once. It blocks until Open
	// has returned, so Open must not wait for it.
	Consume(in *Inbound)
	// Dropped says that a message of the source at address, one that promises at most once, was dropped because Consume
	// does not keep up.
	Dropped(address string)
	// Lost says that the link broke after Open returned nil; the transport is dead then and waits for Close.
	Lost(err error)
	// Recovered and Interrupted tell of the driver's own reconnects (failoverEnabled): status only.
	Interrupted(err error)
	Recovered()
	// ResourceStatus reports a source or target other than its default "open" (piggyback.md 4.11).
	ResourceStatus(s messages.ResourceStatus)
}

// Environment is what a Factory gets besides the connection.
type Environment struct {
	// Dial is the node's dialer: it applies the host rules (O7) and keeps a register of sockets, so that a node that lost
	// its lease can close them all (design.md 3.2 rule 2). Every driver dials through it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Index is the client's number, 0 for the only one; ClientCount > 1 gives broker-visible ids a suffix (O18).
	Index int
	// Test is true for the throw-away client of testConnection: no last will, no durable session side effects.
	Test bool
}

// Factory makes the Transport of a connection type; the connection was validated. An error is final (misconfigured).
type Factory func(conn *messages.Connection, env Environment, h Handler) (Transport, error)

// Inbound is one message from a broker. Headers have lower-case names. Text and Bytes: bindings.md 1.6.
type Inbound struct {
	SourceIndex int
	Address     string // the source's address as status and metrics name it (mqtt: addresses joined by ";")
	Topic       string // actual topic or queue: placeholder source:address
	Headers     messages.Headers
	Text        string
	HasText     bool
	Bytes       []byte
	HasBytes    bool
	// AtMostOnce is true when the broker does not want an acknowledgement (QoS 0).
	AtMostOnce bool

	settled atomic.Bool
	settle  func(Settlement)
}

// Settlement is the collector's decision on a broker message (runtime.md 4.3).
type Settlement uint8

// The three decisions; each binding translates them (bindings.md).
const (
	Settle Settlement = iota
	Reject
	RejectRedeliver
)

// NewInbound makes an Inbound whose first Settle calls settle.
func NewInbound(settle func(Settlement)) *Inbound { return &Inbound{settle: settle} }

// Settle decides once; later calls do nothing and return false.
func (in *Inbound) Settle(s Settlement) bool {
	if in.settled.Swap(true) {
		return false
	}
	if in.settle != nil {
		in.settle(s)
	}
	return true
}

// Outbound is one message to a broker: headers after the header mapping, address after placeholder resolution.
type Outbound struct {
	Address string
	QoS     int // target's qos; 0 for a reply target
	Headers messages.Headers
	Text    string
	HasText bool
	Bytes   []byte
	// TargetAddress is the configured address (placeholders unresolved) for status; "" for a reply.
	TargetAddress string
}

// Outcome is what became of a publish. Err nil: the broker has it. Status is the acknowledgement status of bindings.md 1.7.
type Outcome struct {
	Status int
	Err    error
}

// Failure is an error of a transport with its class: UserIndicated causes show as misconfigured, others as failed
// (runtime.md 11). Text carries no secret.
type Failure struct {
	Text          string
	UserIndicated bool
	// Unauthorized asks for connectivity:connection.unauthorized instead of connection.failed (AMQP 1.0).
	Unauthorized bool
	// Description is what an operator who waits for the connect is told; "" takes "Cause: " and Text (piggyback.md 4.8).
	Description string
	Cause       error
}

func (f *Failure) Error() string { return f.Text }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// Sink is the signal side of a client: where messages go and who must know that the link is up. actors/signals implements
// it. All methods but Consume are called by the runner, one after the other, and must not block.
type Sink interface {
	// Consume takes over in; blocking is the back-pressure. A call that blocks returns soon after Disconnected.
	Consume(in *Inbound)
	// Connected is called after Open succeeded and before the pending open command is answered; publish is valid until
	// Disconnected. It sends what waits for this client.
	Connected(publish func(m Outbound, done func(Outcome)))
	// AttemptEnded is called when a connect attempt failed: messages held for the first attempt are refused now (O13). It
	// is not called for an attempt that Close or Stop cut short.
	AttemptEnded()
	// Disconnected is called when the link is gone or closing; publishes fail from now on.
	Disconnected()
	// Announce publishes a connection announcement ("opened" after Connected, "closed" before Disconnected) to the targets
	// that want it and calls done when every publish has its outcome. It reports whether any target wants announcements.
	Announce(kind string, done func()) (wanted bool)
}
