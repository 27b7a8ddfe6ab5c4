package actors

import (
	"context"
	"errors"
	"math"
	"time"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/actors/shard"
	"hawser/messages"
	"hawser/persistence"
)

// furtherClients is the target that every node has for what entities ask the further clients of their connections (design.md
// 3.3). No envelope can name it.
const furtherClients = "/user/connectivityRoot/furtherClients"

// furthers implements connection.Further.
type furthers struct{ node *Node }

// Hosts implements connection.Further.
func (f furthers) Hosts() int { return f.node.hosts() }

// Ask implements connection.Further: it looks for the client until it is found, or ctx ends.
func (f furthers) Ask(ctx context.Context, identity string, r connection.ClientRequest) (connection.Report, error) {
	n := f.node
	ref := n.shardOf(identity)
	_, index := client.ParseIdentity(identity)
	looked := looks{last: n.membership.View()}
	reply, err := n.insist(ctx, firstAttempt, func(ctx context.Context, attempt time.Duration) (messages.Reply, error) {
		if _, here := n.lease(identity); here {
			return n.region.ask(ctx, r.Command(identity))
		}
		view := n.membership.View()
		fresh := looked.again(view)
		if n.cluster == nil || view.Free(ref) && notRun(r.Task, index, len(view.Members), n.hosts(), fresh) {
			return messages.Reply{}, connection.ErrNotRun
		}
		owner, owned := view.Owner(ref)
		if !owned || owner.Address == n.system.Address() {
			return messages.Reply{}, errElsewhere
		}
		if r.Task == connection.ClientOpen || r.Task == connection.ClientClose {
			attempt = longestAsk // it may well take that long; the loss of the node ends it
		}
		ctx, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		reply, err := n.askNode(ctx, owner, furtherClients, r.Command(identity))
		if errors.Is(err, messages.ErrTargetNotFound) {
			err = errElsewhere
		}
		return reply, err
	})
	if err != nil {
		return connection.Report{}, err
	}
	return connection.ReadReport(reply)
}

// notRun reports whether a client whose shard is seen to be nobody's need not be waited for. fresh: that was read after the
// question came up. One that is to end has ended then, because whoever claims the shard reads the journal first. What is to
// be synchronized was written before the entity's own shard was claimed, and the view is newer than that.
func notRun(task connection.ClientTask, index, members, hosts int, fresh bool) bool {
	switch {
	case members == 1, task == connection.ClientSync:
		return true
	case task == connection.ClientClose, index >= hosts:
		return fresh
	default:
		return false
	}
}

// looks counts how often the cluster was read since a question came up.
type looks struct {
	last  *shard.View
	count int
}

// again takes note of the present view and reports whether its reading began after the question: the one that was under way
// then does not count.
func (l *looks) again(view *shard.View) bool {
	if view != l.last {
		l.last = view
		l.count++
	}
	return l.count > 1
}

// askFurther is the target of furtherClients at each node.
func (n *Node) askFurther(ctx context.Context, c messages.Command) (messages.Reply, error) {
	r, err := connection.ReadClientRequest(c)
	if err != nil {
		return messages.Reply{}, err
	}
	return n.region.ask(ctx, r.Command(r.Client))
}

// reconcile has the further clients of this node agree with the index: those that missed a change take it up, and those that
// should run but do not are started, unless a claim is starting its own at its rate. rows are all open connections.
func (n *Node) reconcile(rows []persistence.IndexRow) {
	start := n.reviving.Load() == 0
	for identity, revision := range disagreeing(rows, n.region.furthers(), func(identity string) bool { return start && n.region.serves(identity) }) {
		n.region.tell(identity, connection.ClientRequest{Task: connection.ClientSync, Revision: revision})
	}
}

// disagreeing are the clients that may not agree with the index, with the revision that they should be at: those that are here, and
// those that should be.
func disagreeing(rows []persistence.IndexRow, here []string, starts func(identity string) bool) map[string]int64 {
	all := make(map[string]int64, len(here))
	for _, identity := range here {
		all[identity] = math.MaxInt64 // closed, or gone: the journal knows
	}
	for _, row := range rows {
		for index := 1; index < min(row.ClientCount, client.MaxClients); index++ {
			identity := client.Identity(row.ID, index)
			if _, runs := all[identity]; runs || starts(identity) {
				all[identity] = row.Revision
			}
		}
	}
	return all
}

// furthers lists the further clients that are activated.
func (r *region) furthers() (identities []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for identity := range r.entities {
		if _, index := client.ParseIdentity(identity); index > 0 {
			identities = append(identities, identity)
		}
	}
	return identities
}

// tell puts a request to a further client whose answer nobody waits for; it is started if need be, but not while its shard
// is not served.
func (r *region) tell(identity string, request connection.ClientRequest) {
	a, _, err := r.tryActivate(identity)
	if a == nil || err != nil {
		return // whoever owns it reads the journal
	}
	r.system.Root.Send(a.pid, &connection.Request{Command: request.Command(identity), Reply: func(messages.Reply, error) {}})
}
