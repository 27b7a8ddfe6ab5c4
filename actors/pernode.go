package actors

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/cleanup"
	"hawser/messages"
	"hawser/persistence"
	hawserv1 "hawser/proto/hawser/v1"
)

// NodeTarget answers a command for its node alone: health, configuration, log levels, the background cleanup (contract
// piggyback.md 1.6, 2.1). Its error is messages.ErrNotTaken for a command that is not its own, a *messages.Error, or
// anything else for a failure.
type NodeTarget func(ctx context.Context, c messages.Command) (messages.Reply, error)

// envelopeNode is the type of an ask for a target of the node itself; entity_id is the selection.
const envelopeNode = "node"

// nodeDoorPath is the name of the actor that takes them.
const nodeDoorPath = "system/node"

// nodeTargets are the targets that every node has.
func (n *Node) nodeTargets() map[string]NodeTarget {
	all := map[string]NodeTarget{messages.TargetPersistenceCleanup: n.cleanup.Answer, connectionOps: n.forgetPurged, encryptionKeys: n.fingerprint, furtherClients: n.askFurther}
	for selection, target := range n.opts.NodeTargets {
		all[selection] = target
	}
	return all
}

// share is this node's part of the background cleanup (contract operations.md 2.1 item 3).
func (n *Node) share() cleanup.Share {
	if !n.Ready() {
		return cleanup.Share{}
	}
	id := n.membership.ID()
	members := slices.Clone(n.Members())
	slices.SortFunc(members, func(a, b persistence.Member) int { return strings.Compare(a.Address, b.Address) })
	index := slices.IndexFunc(members, func(m persistence.Member) bool { return m.ID == id })
	if index < 0 {
		return cleanup.Share{}
	}
	return cleanup.Share{Index: index, Of: len(members)}
}

// logOf is the log of a part of this package's tree: its lines can be switched by that name (contract operations.md 7.4).
func logOf(log *slog.Logger, part string) *slog.Logger {
	return log.With("logger", "hawser/actors/"+part)
}

// Member reports whether the node is a live member now: it holds a lease.
func (n *Node) Member() bool { return n.membership.Table().Valid() }

// Instances are the instance ids of the live members, this node's first. It is listed even when it is no member now.
func (n *Node) Instances() []string {
	self, id := n.Instance(), n.membership.ID()
	all := []string{self}
	for _, m := range n.Members() {
		if m.ID != id && m.Instance != self {
			all = append(all, m.Instance)
		}
	}
	return all
}

// AskInstance has one instance answer a command for itself; messages.ErrInstanceNotFound: no live member has that id. It
// needs no lease (decision D18).
func (n *Node) AskInstance(ctx context.Context, instance, selection string, c messages.Command) (messages.Reply, error) {
	if instance == n.Instance() {
		target, ok := n.perNode[selection]
		if !ok {
			return messages.Reply{}, messages.ErrTargetNotFound
		}
		return target(ctx, c)
	}
	for _, m := range n.Members() {
		if m.Instance == instance && m.Address != "" && n.wire != nil {
			return n.askNode(ctx, m, selection, c)
		}
	}
	return messages.Reply{}, messages.ErrInstanceNotFound
}

// askNode asks another node once: it knows no request ids, and most of what it is asked changes nothing.
func (n *Node) askNode(ctx context.Context, m persistence.Member, selection string, c messages.Command) (messages.Reply, error) {
	reply, err := n.wire.send(ctx, actor.NewPID(m.Address, nodeDoorPath), &hawserv1.Envelope{
		Type: envelopeNode, EntityId: selection, Headers: c.Headers, Payload: c.Members, RequestId: c.RequestID,
	})
	if errors.Is(err, errRefused) { // its version does not know the target
		err = messages.ErrTargetNotFound
	}
	return reply, err
}

// nodeDoor is the actor that takes asks of other nodes for targets of this one.
type nodeDoor struct {
	targets map[string]NodeTarget
	log     *slog.Logger
	longest time.Duration
	work    *sync.WaitGroup
}

// Receive implements actor.Actor.
func (d *nodeDoor) Receive(c actor.Context) {
	e, ok := c.Message().(*hawserv1.Envelope)
	if !ok || e.Type != envelopeNode || c.Sender() == nil {
		return
	}
	asker, root := c.Sender(), c.ActorSystem().Root
	d.work.Go(func() { root.Send(asker, d.answer(e)) })
}

func (d *nodeDoor) answer(e *hawserv1.Envelope) *hawserv1.Envelope {
	refusal := &hawserv1.Envelope{Type: envelopeRefusal, Call: e.Call}
	var head struct {
		Type string `json:"type"`
	}
	target, ok := d.targets[e.EntityId]
	if !ok || json.Unmarshal(e.Payload, &head) != nil {
		return refusal
	}
	wait := d.longest
	if e.TimeoutMs > 0 {
		wait = min(wait, time.Duration(e.TimeoutMs)*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	command := messages.NodeCommand(head.Type, e.Payload, e.Headers)
	command.RequestID, command.Received = e.RequestId, time.Now()
	reply, err := target(ctx, command)
	var answer *messages.Error
	switch {
	case errors.As(err, &answer):
		reply = messages.ErrorReply(answer)
	case errors.Is(err, messages.ErrNoLease): // the asker looks again
		return refusal
	case err != nil:
		d.log.Warn("a target of this node did not answer another node", "selection", e.EntityId, "type", head.Type, "error", err)
		return refusal
	}
	return &hawserv1.Envelope{Type: envelopeReply, Call: e.Call, Status: int32(reply.Status), Payload: reply.Body}
}
