// Package actors is the node: it owns shards (actors/shard), runs the connection entities of these shards on protoactor
// (actors/connection) with their broker clients (actors/client) and relays what they consume (actors/signals). It is the
// gateway's Asker and the only importer of protoactor's system.
//
// Read first: Node (node.go: what is wired to what, start and drain), Ask (ask.go: selection to target), region (region.go:
// one activation per connection id), place (place.go: which shard an entity or a further client lives in), revive (revive.go:
// what was open is opened again), read (read.go: lists, past the entities), clients (clients.go), further (further.go: the
// clients beside the first, clientCount > 1).
//
// Between nodes: wire (commands), links (frames of the relay, actors/signals), interest (who takes what in the whole
// cluster).
package actors
