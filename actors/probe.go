package actors

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/persistence"
	hawserv1 "hawser/proto/hawser/v1"
)

// probed is the target that a probe asks for. No node has it: the refusal is an answer like any other, from every version.
const probed = "/probe"

// probe asks another node on the way that commands and their answers take, and reports whether it answered before ctx ended.
func (n *Node) probe(ctx context.Context, m persistence.Member) bool {
	_, err := n.wire.send(ctx, actor.NewPID(m.Address, nodeDoorPath), &hawserv1.Envelope{Type: envelopeNode, EntityId: probed})
	return err == nil || errors.Is(err, errRefused)
}

// Isolated reports whether this node stands aside because not all nodes reach each other: it owns nothing, and takes no commands
// because it may not reach those who do (decision D18).
func (n *Node) Isolated() bool { return n.membership.View().Isolated() }

// Unreachable are the members that beat but do not answer this node.
func (n *Node) Unreachable() []persistence.MemberID { return n.membership.View().Unreachable() }
