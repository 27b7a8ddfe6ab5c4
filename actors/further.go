package actors

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/messages"
	"hawser/persistence"
)

// furtherClients is the target that every node has for what entities ask the further clients of their connections (design.md
// 3.3). No envelope can name it.
const furtherClients = "/user/connectivityRoot/furtherClients"

// unseen is how long a shard that nobody is seen to own may be owned nevertheless: the cluster is read each 250 ms.
const unseen = 500 * time.Millisecond

// furthers implements connection.Further.
type furthers struct{ node *Node }

// Hosts implements connection.Further.
func (f furthers) Hosts() int { return f.node.hosts() }

// Ask implements connection.Further: it looks for the client until it is found, or ctx ends. A client that is to be closed
// is closed when nobody has owned its shard for a while: whoever claims it later reads the journal first.
func (f furthers) Ask(ctx context.Context, identity string, r connection.ClientRequest) (connection.Report, error) {
	n := f.node
	_, index := client.ParseIdentity(identity)
	began := time.Now()
	reply, err := n.insist(ctx, firstAttempt, func(ctx context.Context, attempt time.Duration) (messages.Reply, error) {
		_, here := n.lease(identity)
		owner, owned := n.membership.View().Owner(n.shardOf(identity))
		switch {
		case here:
			return n.region.ask(ctx, r.Command(identity))
		case n.cluster == nil, !owned && len(n.membership.View().Members) == 1:
			return messages.Reply{}, connection.ErrNotRun
		case !owned && (index >= n.hosts() || r.Task == connection.ClientClose) && time.Since(began) > unseen:
			return messages.Reply{}, connection.ErrNotRun
		case !owned, owner.Address == n.system.Address():
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

// askFurther is the target of furtherClients at each node.
func (n *Node) askFurther(ctx context.Context, c messages.Command) (messages.Reply, error) {
	r, err := connection.ReadClientRequest(c)
	if err != nil {
		return messages.Reply{}, err
	}
	return n.region.ask(ctx, r.Command(r.Client))
}

// reconcile has the further clients of this node agree with the index: those that missed a change take it up, and those that
// should run but do not are started. rows are all open connections.
func (n *Node) reconcile(rows []persistence.IndexRow) {
	open := make(map[string]int64, len(rows))
	for _, row := range rows {
		for index := 1; index < min(row.ClientCount, client.MaxClients); index++ {
			open[client.Identity(row.ID, index)] = row.Revision
		}
	}
	here := n.region.furthers()
	for identity := range open {
		if n.region.serves(identity) && !slices.Contains(here, identity) {
			here = append(here, identity)
		}
	}
	for _, identity := range here {
		revision, ok := open[identity]
		if !ok {
			revision = math.MaxInt64 // closed, or gone: the journal knows
		}
		n.region.tell(identity, connection.ClientRequest{Task: connection.ClientSync, Revision: revision})
	}
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
