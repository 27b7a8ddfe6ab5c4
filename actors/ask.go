package actors

import (
	"context"
	"errors"
	"time"

	"hawser/messages"
	"hawser/persistence"
)

// target executes the commands of one selection.
type target func(context.Context, messages.Command) (messages.Reply, error)

// targets maps the selections of contract piggyback.md 2.1 that exist here to what answers them.
func (n *Node) targets() map[string]target {
	return map[string]target{
		messages.TargetConnection:    n.askConnection,
		messages.TargetConnectionIDs: n.retrieveIDs,
		messages.TargetPubSub:        n.purge,
		messages.TargetEncryption:    n.askMigration,
	}
}

// Ask implements gateway.Asker.
func (n *Node) Ask(ctx context.Context, selection string, c messages.Command) (messages.Reply, error) {
	execute, ok := n.selections[selection]
	switch {
	case !ok:
		return messages.Reply{}, messages.ErrTargetNotFound
	case !messages.Spec(c.Type).TakenBy(selection):
		return messages.Reply{}, messages.ErrNotTaken
	case !n.membership.Table().Valid(), n.Isolated():
		return messages.Reply{}, messages.ErrNoLease
	}
	return execute(ctx, c)
}

// The waits of an ask: between attempts, and for one attempt at another node, doubling. An attempt that times out may have
// been executed; the request id makes the next one join it.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 100 * time.Millisecond
	firstAttempt = 1500 * time.Millisecond
	longestAsk   = 30 * time.Second
)

// askConnection executes a command at its entity, here or at the node that owns its shard. While the shard is on its way
// from one node to another it looks again until ctx ends.
func (n *Node) askConnection(ctx context.Context, c messages.Command) (messages.Reply, error) {
	return n.insist(ctx, firstAttempt, func(ctx context.Context, attempt time.Duration) (messages.Reply, error) {
		return n.askOwner(ctx, c, attempt)
	})
}

// insist repeats an ask until it is answered, ctx ends, or the node has lost its lease or stands aside.
func (n *Node) insist(ctx context.Context, attempt time.Duration, ask func(context.Context, time.Duration) (messages.Reply, error)) (messages.Reply, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		reply, err := ask(ctx, attempt)
		switch {
		case err == nil:
			return reply, nil
		case ctx.Err() != nil:
			return messages.Reply{}, ctx.Err()
		case n.Isolated():
			return messages.Reply{}, messages.ErrNoLease
		case errors.Is(err, context.DeadlineExceeded): // of the attempt
			attempt = min(2*attempt, longestAsk)
		case !errors.Is(err, messages.ErrNoLease) && !errors.Is(err, errElsewhere) && !errors.Is(err, errAmbiguous):
			return messages.Reply{}, err
		case !n.membership.Table().Valid(), n.leavesAlone():
			return messages.Reply{}, messages.ErrNoLease
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return messages.Reply{}, ctx.Err()
		}
	}
}

// leavesAlone reports whether the node drains and nobody is there to take its shards.
func (n *Node) leavesAlone() bool {
	return n.draining.Load() && len(n.membership.View().Members) <= 1
}

// askOwner is one attempt.
func (n *Node) askOwner(ctx context.Context, c messages.Command, attempt time.Duration) (messages.Reply, error) {
	if _, here := n.lease(c.ConnectionID); here {
		return n.askHere(ctx, c)
	}
	if n.cluster == nil {
		return messages.Reply{}, errElsewhere
	}
	// Read before the owner: should the shard move between, the node asked refuses.
	epoch := n.membership.View().Epoch(n.shardOf(c.ConnectionID))
	pid := n.cluster.Get(c.ConnectionID, persistence.KindConnection)
	if pid == nil || pid.Address == n.system.Address() {
		return messages.Reply{}, errElsewhere
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return n.wire.ask(ctx, pid, c, epoch)
}

// retrieveIDs answers from the index, not from the entities (decision O2).
func (n *Node) retrieveIDs(ctx context.Context, c messages.Command) (messages.Reply, error) {
	var ids []string
	var err error
	if c.Type == messages.SudoRetrieveConnectionIDsByTag {
		ids, err = n.opts.Store.IDsByTag(ctx, c.Tag)
	} else {
		ids, err = n.opts.Store.IDs(ctx, "", 0)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return messages.Reply{}, context.DeadlineExceeded
	case err != nil:
		n.log.Error("the connection ids could not be read", "correlation_id", c.Headers.Get(messages.HeaderCorrelationID), "error", err)
		return messages.IDsFailedReply(), nil
	case c.Type == messages.SudoRetrieveConnectionIDsByTag:
		return messages.IDsByTagReply(ids), nil
	default:
		return messages.IDsReply(ids), nil
	}
}
