// Package signals is the data plane behind a client: what a broker message becomes, where it goes, and when it is settled
// (contract runtime.md 3, 4, 6, 9, 13, 14 and decisions.md, Delivery).
//
// A message goes this way: Endpoint.Consume (consume.go) maps it to Signals → Router (router.go) decides what each one is
// for: a live signal is relayed to receivers, a response or acknowledgement goes to the request that waits for it, the rest
// is refused (refuse.go) → a relay (relay.go) carries one Signal to one receiver (receiver.go), which holds, passes or
// refuses it → Endpoint.deliver (deliver.go) filters, maps and publishes → the outcomes meet in the collector
// (collector.go), which settles the broker message exactly once.
//
// Where mappers run scripts what goes out gets in line (line.go), because it may take long and whoever brings it serves others, too.
//
// Pure decisions, each with its table in the contract: acks.go (4.1), settle.go (4.3), authorize.go (14.2 B), refuse.go
// (14.3), interest.go; outbox.go and inbox.go are the two ends of a link without its I/O. Concurrency is in hub.go,
// receiver.go, relay.go, request.go, links.go, timers.go. The order of locks is Hub.mu, receiver.mu, timers.mu; links.placing
// comes before all of these, link.mu, arrivals.mu and then links.mu after receiver.mu. A request's or relay's own lock is
// never held while one of these is taken, and no lock is held across a publish or a settlement.
//
// One Hub serves one node. A receiver is the target side of one client of a connection of the cluster, its audience all of them:
// each signal goes to one, and what is held for a client that is no more to another (spread.go). The relays of a receiver go to
// the Endpoint of the client when that is here, and over a link to the hub of the node where it is otherwise (links.go,
// arrivals.go, design.md 6.1): that hub relays them to its own receiver, filters, maps and publishes there, and sends the outcome back. Until the outcome is
// there the relay belongs to this hub, which sends it again, or elsewhere, when anything on the way gets lost or moves.
// Frames cross between nodes as package actors encodes them (actors/links.go).
//
// A response for which nobody here waits goes to all other nodes, one frame each: one of them may have the request. There are
// no shards of kind live (design.md 3.3), which would cost each request a registration at another node and each response a
// second way, to save frames that only clusters of many nodes would notice.
//
// Frames carry no shard epoch, although design.md 6.1 names one, because it could turn nothing away that a stale activation must
// not take: as long as a node does not know that it has lost a shard, whoever still sends there knows only the epoch that this
// node knows as well, and whoever knows the next owner sends elsewhere. What keeps a stale activation from taking a frame is
// the deadline, asked for each message consumed and published (Cluster.Holds); before a shard is released in order, its endpoints
// are detached and answer that the connection has moved. What keeps its answer from counting is the link: it has a random
// number, and the sender closes it when the member is gone or stands aside. A frame that is late enough to find the next
// activation there is a repetition, which may be (O15, O16).
//
// It may import packages messages and below, actors/client, actors/monitor and persistence.
//
// Read first: Hub and Endpoint, then consume.go, router.go, deliver.go in this order; links.go when more than one node matters.
package signals
