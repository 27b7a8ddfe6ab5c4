package actors

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/shard"
	"hawser/actors/signals"
	"hawser/messages"
	"hawser/messages/protocol"
	hawserv1 "hawser/proto/hawser/v1"
)

// links carry the frames of the hub to and from other nodes, and the messages about interest beside them: one actor on each
// node takes them, so that what one node sends is taken in the order in which it was sent. It implements signals.Cluster.
type links struct {
	node *Node
	self *actor.PID
	pids sync.Map // address → *actor.PID
}

// linksPath is the name of the actor that takes frames.
const linksPath = "system/links"

// open starts to take frames; not before remote runs.
func (l *links) open() (err error) {
	l.self, err = l.node.system.Root.SpawnNamed(actor.PropsFromFunc(l.receive), linksPath)
	return err
}

// Holds implements signals.Cluster.
func (l *links) Holds() bool { return l.node.membership.Table().Valid() }

// Owner implements signals.Cluster.
func (l *links) Owner(id string) (signals.Peer, signals.Place) {
	if _, here := l.node.lease(id); here {
		return signals.Peer{}, signals.Here
	}
	m, ok := l.node.membership.View().Owner(l.node.shardOf(id))
	if !ok || m.ID == l.node.membership.ID() || m.Address == "" {
		return signals.Peer{}, signals.Nowhere
	}
	return signals.Peer{ID: string(m.ID), Address: m.Address}, signals.Elsewhere
}

// Serves implements signals.Cluster.
func (l *links) Serves(id string) bool { return !l.node.draining.Load() && l.node.region.serves(id) }

// Nodes implements signals.Cluster.
func (l *links) Nodes() int { return l.node.hosts() }

// Peers implements signals.Cluster. Who stands aside runs nothing: nobody waits for it, and what was on its way there goes to
// the next owner.
func (l *links) Peers() []signals.Peer {
	self, view := l.node.membership.ID(), l.node.membership.View()
	var peers []signals.Peer
	for _, m := range view.Members {
		if m.ID != self && !view.Aside(m.ID) && m.Address != "" && m.Address != l.node.system.Address() { // nor what this node was before it lost its lease
			peers = append(peers, signals.Peer{ID: string(m.ID), Address: m.Address})
		}
	}
	return peers
}

// Send implements signals.Cluster.
func (l *links) Send(address string, f *signals.Frame) { l.send(address, encodeFrame(f)) }

func (l *links) send(address string, e *hawserv1.Envelope) {
	pid, ok := l.pids.Load(address)
	if !ok {
		pid, _ = l.pids.LoadOrStore(address, actor.NewPID(address, linksPath))
	}
	l.node.system.Root.RequestWithCustomSender(pid.(*actor.PID), e, l.self)
}

func (l *links) receive(c actor.Context) {
	e, ok := c.Message().(*hawserv1.Envelope)
	if !ok || c.Sender() == nil {
		return
	}
	from := c.Sender().Address
	switch e.Type {
	case envelopeInterest, envelopeInterestKnown:
		l.node.interests.receive(from, e)
		return
	}
	f, err := decodeFrame(e)
	if err != nil {
		l.node.log.Error("a frame of another node cannot be read", "peer", from, "frame", e.Type, "connection_id", e.EntityId, "error", err)
		f = &signals.Frame{Kind: signals.FrameVoid, Link: e.Link, Seq: e.Seq, Base: e.Base} // else the link would wait for it for ever
		if signals.FrameKind(e.Type) != signals.FrameRelay {
			return
		}
	}
	l.node.hub.Receive(from, f)
}

// changed reports whether the cluster that matters to links is another: members, who of them leaves, or owners of the shards.
func changed(before, after *shard.View) bool {
	if len(before.Members) != len(after.Members) {
		return true
	}
	for i := range before.Members {
		if before.Members[i].ID != after.Members[i].ID || before.Members[i].Draining != after.Members[i].Draining {
			return true
		}
	}
	return !before.SameOwners(after)
}

// encodeFrame renders a frame. The headers of a signal go apart from its other members: they are texts whatever they look like.
func encodeFrame(f *signals.Frame) *hawserv1.Envelope {
	e := &hawserv1.Envelope{
		Type: string(f.Kind), Link: f.Link, Seq: f.Seq, Base: f.Base, EntityId: f.Target, WaitMs: f.Wait.Milliseconds(), Origin: f.Origin,
		Subjects: f.Subjects, Readers: f.Readers, Everyone: f.Everyone, Asked: f.Asked, Labels: f.Labels,
	}
	if f.Envelope != nil {
		bare := *f.Envelope
		bare.Headers = nil
		e.Payload, e.Headers = bare.AppendJSON(make([]byte, 0, 256+len(bare.Value)+len(bare.Extra))), f.Envelope.Headers
	}
	if len(f.Outcomes) > 0 {
		e.Outcomes = make([]*hawserv1.Outcome, len(f.Outcomes))
		for i, o := range f.Outcomes {
			e.Outcomes[i] = &hawserv1.Outcome{Seq: o.Seq, Fate: uint32(o.Fate)}
			for _, a := range o.Acks {
				e.Outcomes[i].Acknowledgements = append(e.Outcomes[i].Acknowledgements,
					&hawserv1.Acknowledgement{Label: a.Label, Status: int32(a.Status), Payload: a.Payload, Headers: a.Headers})
			}
		}
	}
	return e
}

// decodeFrame reads what encodeFrame has rendered.
func decodeFrame(e *hawserv1.Envelope) (*signals.Frame, error) {
	f := &signals.Frame{
		Kind: signals.FrameKind(e.Type), Link: e.Link, Seq: e.Seq, Base: e.Base, Target: e.EntityId,
		Wait: time.Duration(e.WaitMs) * time.Millisecond, Origin: e.Origin, Subjects: e.Subjects, Readers: e.Readers, Everyone: e.Everyone,
		Asked: e.Asked, Labels: e.Labels,
	}
	if f.Kind == signals.FrameRelay || f.Kind == signals.FrameAnswer {
		var err error
		if f.Envelope, err = protocol.Parse(e.Payload); err != nil {
			return nil, err
		}
		if e.Headers != nil {
			f.Envelope.Headers = messages.Headers(e.Headers)
		}
	}
	for _, o := range e.Outcomes {
		out := signals.FrameOutcome{Seq: o.Seq, Fate: signals.FrameFate(o.Fate)}
		for _, a := range o.Acknowledgements {
			ack := protocol.Ack{Label: a.Label, Status: int(a.Status), Headers: a.Headers}
			if len(a.Payload) > 0 {
				ack.Payload = a.Payload
			}
			out.Acks = append(out.Acks, ack)
		}
		f.Outcomes = append(f.Outcomes, out)
	}
	return f, nil
}

var _ signals.Cluster = (*links)(nil)
