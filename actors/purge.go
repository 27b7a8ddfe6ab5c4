package actors

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/messages"
)

const (
	// purgeWithin is the longest that a purge goes on after its asker has stopped waiting.
	purgeWithin = time.Minute
	// purgesAtOnce bounds the ids that one command purges at the same time.
	purgesAtOnce = 64
	// tellWithin bounds telling the other nodes.
	tellWithin = 2 * time.Second
)

// connectionOps is the target that every node has for the last step of a purge. No envelope can name it.
const connectionOps = "/user/connectivityRoot/connectionOps"

// purge removes connections with their history, wherever they run (contract operations.md 3, decision D15): each is stopped
// at the node that owns it, and after a while its rows are deleted. It goes on when the asker stops waiting.
func (n *Node) purge(ctx context.Context, c messages.Command) (messages.Reply, error) {
	ids, failure := c.PurgeIDs()
	if failure != nil {
		return messages.Reply{}, failure
	}
	done := make(chan bool, 1)
	n.served.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), purgeWithin)
		defer cancel()
		done <- n.purgeAll(ctx, c, ids)
	})
	select {
	case successful := <-done:
		return messages.PurgedReply(c.EntityType, successful), nil
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	}
}

func (n *Node) purgeAll(ctx context.Context, c messages.Command, ids []string) bool {
	var work sync.WaitGroup
	room := make(chan struct{}, purgesAtOnce)
	results := make([]bool, len(ids))
	for i, id := range ids {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			one := purgeOf(c, id)
			one.ConnectionID = id
			reply, err := n.insist(ctx, firstAttempt+n.opts.PurgeDelay, func(ctx context.Context, attempt time.Duration) (messages.Reply, error) {
				return n.askOwner(ctx, one, attempt)
			})
			if err != nil {
				n.log.Error("a connection could not be purged", "correlation_id", c.Headers.Get(messages.HeaderCorrelationID), "connection_id", id, "error", err)
			}
			results[i] = err == nil && reply.Status == 200
		})
	}
	work.Wait()
	var purged []string // the others may run again
	for i, id := range ids {
		if results[i] {
			purged = append(purged, id)
		}
	}
	if len(purged) > 0 {
		n.tellPurged(ctx, purgeOf(c, purged...))
	}
	return len(purged) == len(ids)
}

// purgeOf is the command for some of the ids.
func purgeOf(c messages.Command, ids ...string) messages.Command {
	c.Members, _ = json.Marshal(map[string]any{"type": c.Type, "entityType": c.EntityType, "entityIds": ids}) // texts always marshal
	return c
}

// tellPurged has every node forget what it knew of the connections: those that are created again begin at revision 1.
func (n *Node) tellPurged(ctx context.Context, c messages.Command) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	var work sync.WaitGroup
	for _, instance := range n.Instances() {
		work.Go(func() {
			if _, err := n.AskInstance(ctx, instance, connectionOps, c); err != nil {
				n.log.Warn("an instance was not told that connections were purged", "asked", instance, "error", err)
			}
		})
	}
	work.Wait()
}

// forgetPurged is tellPurged at each node.
func (n *Node) forgetPurged(ctx context.Context, c messages.Command) (messages.Reply, error) {
	ids, failure := c.PurgeIDs()
	if failure != nil {
		return messages.Reply{}, failure
	}
	for _, id := range ids {
		for index := 1; index < client.MaxClients; index++ {
			if err := n.region.evict(ctx, client.Identity(id, index)); err != nil {
				return messages.Reply{}, err
			}
		}
		n.interests.purged(id) // afterwards: a client that is stopped leaves what comes for it to another one
	}
	return messages.PurgedReply("connection", true), nil
}

// purged forgets a connection, its revision included.
func (i *interests) purged(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.known, id)
	i.hub.Forget(id)
}

// askHere executes a command at this node, which owns the shard of its connection.
func (n *Node) askHere(ctx context.Context, c messages.Command) (messages.Reply, error) {
	if c.Type == messages.PurgeEntities {
		return n.purgeHere(ctx, c.ConnectionID)
	}
	return n.region.ask(ctx, c)
}

// purgeHere purges one connection. Until it is over no entity of it is activated; commands wait.
func (n *Node) purgeHere(ctx context.Context, id string) (_ messages.Reply, err error) {
	before, ok := n.lease(id)
	if !ok {
		return messages.Reply{}, messages.ErrNoLease
	}
	resume := n.region.suspend(id)
	defer func() {
		resume()
		if err != nil {
			n.restart(id)
		}
	}()
	if err := n.region.evict(ctx, id); err != nil {
		return messages.Reply{}, err
	}
	n.hub.Forget(id)
	pause := time.NewTimer(n.opts.PurgeDelay)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	}
	if now, ok := n.lease(id); !ok || now.Epoch != before.Epoch {
		return messages.Reply{}, messages.ErrNoLease // whoever owns it now begins again
	}
	if err := n.opts.Store.Purge(ctx, connection.PID(id)); err != nil {
		return messages.Reply{}, err
	}
	n.monitor.Remove(id)
	n.log.Info("purged", "connection_id", id)
	return messages.PurgedReply("connection", true), nil
}

// restart starts what is stored open of a connection whose purge failed: it was stopped, or a claim has passed it over.
func (n *Node) restart(id string) {
	n.mu.Lock()
	claims := n.claims
	n.mu.Unlock()
	n.served.Go(func() {
		ctx, cancel := context.WithTimeout(claims, purgeWithin)
		defer cancel()
		if _, err := n.region.activate(ctx, id); err != nil && !errors.Is(err, messages.ErrNoLease) && claims.Err() == nil { // else its next owner starts it
			n.log.Error("a connection whose purge failed was not started again", "connection_id", id, "error", err)
		}
	})
}

// suspend keeps the entity of id from being activated until resume, and what was read of it from being used ever.
func (r *region) suspend(id string) (resume func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.suspended == nil {
		r.suspended = map[string]int{}
	}
	r.suspended[id]++
	for index := range client.MaxClients {
		delete(r.recovered, client.Identity(id, index))
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.suspended[id]--; r.suspended[id] == 0 {
			delete(r.suspended, id)
		}
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// evict stops the entity of id at once, without announcements, and returns when it is gone.
func (r *region) evict(ctx context.Context, id string) error {
	r.mu.Lock()
	delete(r.recovered, id)
	a := r.entities[id]
	if a != nil {
		a.ending = true
	}
	r.mu.Unlock()
	if a == nil {
		return nil
	}
	r.stop(a)
	select {
	case <-a.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
