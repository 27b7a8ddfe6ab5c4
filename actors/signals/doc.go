// Package signals is the data plane behind a client: what a broker message becomes, where it goes, and when it is settled
// (contract runtime.md 3, 4, 6, 9, 13, 14 and decisions.md, Delivery).
//
// A message goes this way: Endpoint.Consume (consume.go) maps it to Signals → Router (router.go) decides what each one is
// for: a live signal is relayed to receivers, a response or acknowledgement goes to the request that waits for it, the rest
// is refused (refuse.go) → a relay (relay.go) carries one Signal to one receiver (receiver.go), which holds, passes or
// refuses it → Endpoint.deliver (deliver.go) filters, maps and publishes → the outcomes meet in the collector
// (collector.go), which settles the broker message exactly once.
//
// Pure decisions, each with its table in the contract: acks.go (4.1), settle.go (4.3), authorize.go (14.2 B), refuse.go
// (14.3), interest.go. Concurrency is in hub.go, receiver.go, relay.go, request.go, timers.go. The order of locks is Hub.mu,
// receiver.mu, timers.mu; a request's or relay's own lock is never held while one of these is taken, and no lock is held
// across a publish.
//
// One Hub serves one node. A receiver is the target side of one connection: today always an Endpoint of this node; a link to
// another node takes its place behind receiver.admit (design.md 6.1), with the same outcomes.
//
// It may import packages messages and below, actors/client, actors/monitor and persistence.
//
// Read first: Hub and Endpoint, then consume.go, router.go, deliver.go in this order.
package signals
