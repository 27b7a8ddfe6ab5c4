package actors

import (
	"hawser/actors/client"
	"hawser/actors/shard"
	"hawser/persistence"
)

// Where things are (design.md 3.3). A connection's entity, with client 0, lives in the shard of kind connection that its id
// hashes to. Its clients 1, 2, … live in shards of kind client: number (i−1)·N + n for client i of the connections in shard n
// of N, so that shard.Assign can give each to another node than the entity.

// shardOf is the shard of an identity (client.Identity).
func (n *Node) shardOf(identity string) persistence.ShardRef {
	id, index := client.ParseIdentity(identity)
	number := shard.Number(id, n.opts.Shards)
	if index == 0 {
		return persistence.ShardRef{Kind: persistence.KindConnection, Number: number}
	}
	return persistence.ShardRef{Kind: persistence.KindClient, Number: (index-1)*n.opts.Shards + number}
}

// home says whose shard ref is: the number of the shard of the connections, and which of their clients it holds.
func (n *Node) home(ref persistence.ShardRef) (number, index int) {
	if ref.Kind == persistence.KindConnection {
		return ref.Number, 0
	}
	return ref.Number % n.opts.Shards, ref.Number/n.opts.Shards + 1
}

// hosts is the number of nodes that run clients: as many as a connection can have.
func (n *Node) hosts() int {
	return max(n.membership.View().Hosts(), 1)
}
