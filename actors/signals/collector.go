package signals

import (
	"sync/atomic"
	"time"

	"hawser/actors/client"
	"hawser/actors/monitor"
)

// collector settles one broker message: exactly once, when all that was expected for it has come, by the worst grade
// (contract runtime.md 4.3, decision O11). Each part that is expected ends by itself within the lifetime of the collector
// (Signal.until), so it needs no timer of its own.
type collector struct {
	in    *client.Inbound
	scope *monitor.Scope
	trace trace

	pending   atomic.Int32 // parts without result, one more until the count is known
	worst     atomic.Int32 // client.Settlement
	abandoned atomic.Bool
	arrived   time.Time
	over      atomic.Bool // it is settled, or never will be
}

// newCollector starts with the part that the consumer itself ends by a last part().
func newCollector(in *client.Inbound, scope *monitor.Scope, arrived time.Time) *collector {
	c := &collector{in: in, scope: scope, arrived: arrived}
	scope.Arrived()
	c.trace.headers = in.Headers
	c.pending.Store(1)
	return c
}

// expect counts one more part. Only before the part of the consumer has ended.
func (c *collector) expect() { c.pending.Add(1) }

// fail lets a grade count without a part of its own.
func (c *collector) fail(grade client.Settlement) {
	for {
		worst := c.worst.Load()
		if int32(grade) <= worst || c.worst.CompareAndSwap(worst, int32(grade)) {
			return
		}
	}
}

// part ends one part.
func (c *collector) part(grade client.Settlement) {
	c.fail(grade)
	switch {
	case c.pending.Add(-1) > 0:
	case !c.abandoned.Load():
		c.settle(client.Settlement(c.worst.Load()))
	case !c.over.Swap(true):
		c.scope.Unsettled()
	}
}

func (c *collector) settle(settlement client.Settlement) {
	text := ""
	switch settlement {
	case client.Reject:
		text = "Rejected the incoming message; no redelivery is wanted."
	case client.RejectRedeliver:
		text = "Rejected the incoming message; redelivery is wanted."
	}
	settled := c.in.Settle(settlement)
	if settled {
		c.trace.note(c.scope, monitor.Acknowledged, settlement == client.Settle, text)
	}
	switch {
	case c.over.Swap(true):
	case settled:
		c.scope.Settled(settlement == client.Settle, settlement == client.RejectRedeliver, time.Since(c.arrived))
	default:
		c.scope.Unsettled()
	}
}

// abandon ends one part without result: the message stays unsettled, so that its broker delivers it again (decision O15).
func (c *collector) abandon() {
	c.abandoned.Store(true)
	c.part(client.Settle)
}

// broken settles when the count cannot be known any more.
func (c *collector) broken() { c.settle(client.RejectRedeliver) }
