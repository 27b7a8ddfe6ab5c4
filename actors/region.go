package actors

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/messages"
	"hawser/persistence"
)

// region is the home of the connection entities of this node and of the further clients of others (clientCount > 1): at most
// one activation per identity (client.Identity), only while the node owns the identity's shard, and only after the interest
// of the shard's connections is known (see revive.go).
type region struct {
	system *actor.ActorSystem
	deps   *connection.Deps
	// workers run the mailboxes.
	workers *workers
	// lease returns the ownership of an identity's shard, shard names it.
	lease func(identity string) (persistence.Lease, bool)
	shard func(identity string) persistence.ShardRef
	log   *slog.Logger

	mu       sync.Mutex
	entities map[string]*activation
	// served are the shards whose open connections are known; waiters look again when changed is closed.
	served  map[persistence.ShardRef]persistence.Epoch
	changed chan struct{}
	// recovered are entities that a bulk recovery is reading or has read and that nobody has activated since.
	recovered map[string]*bulkRead
	suspended map[string]int // connections that are being purged
}

// bulkRead is what a bulk recovery has read of an entity: fresh under the lease that the node held before it was read.
type bulkRead struct {
	epoch    persistence.Epoch
	recovery *persistence.Recovery // nil while it is being read
}

// activation is one running entity.
type activation struct {
	pid    *actor.PID
	shard  persistence.ShardRef
	ending bool          // it was told to stop; under region.mu
	gone   chan struct{} // closed when the actor has stopped
}

func newRegion(system *actor.ActorSystem, deps *connection.Deps, shard func(string) persistence.ShardRef, log *slog.Logger) *region {
	return &region{
		system: system, deps: deps, workers: newWorkers(), lease: deps.Lease, shard: shard, log: log, entities: map[string]*activation{},
		served: map[persistence.ShardRef]persistence.Epoch{}, changed: make(chan struct{}), recovered: map[string]*bulkRead{},
	}
}

// rename makes instance the instance id in the status answers of entities that are activated from now on.
func (r *region) rename(instance string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	deps := *r.deps
	deps.Instance = instance
	r.deps = &deps
}

// ask executes a command at its entity. A command that the entity did not finish because it was stopping is asked again:
// the request id keeps it from being executed twice (decision D7).
func (r *region) ask(ctx context.Context, c messages.Command) (messages.Reply, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		a, err := r.activate(ctx, c.ConnectionID)
		if err != nil {
			return messages.Reply{}, err
		}
		reply, err := r.once(ctx, a, c)
		if !errors.Is(err, connection.ErrStopping) {
			return reply, err
		}
		select { // activate waits for its end, unless the shard is another's
		case <-time.After(pause): // the node may learn only now that the shard is another's
		case <-ctx.Done():
			return messages.Reply{}, ctx.Err()
		}
	}
}

// once sends a command to one activation. Mail that a stopping actor did not read is dropped by protoactor without a word
// (protoactor.md 4), so the end of the actor counts as an answer, too.
func (r *region) once(ctx context.Context, a *activation, c messages.Command) (messages.Reply, error) {
	type answer struct {
		reply messages.Reply
		err   error
	}
	answers := make(chan answer, 1)
	r.system.Root.Send(a.pid, &connection.Request{Command: c, Reply: func(reply messages.Reply, err error) { answers <- answer{reply, err} }})
	select {
	case x := <-answers:
		return x.reply, x.err
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	case <-a.gone:
		select {
		case x := <-answers:
			return x.reply, x.err
		default:
			return messages.Reply{}, connection.ErrStopping
		}
	}
}

// activate returns the running entity of id, started if need be. It waits while the shard has been claimed but is not
// served yet; messages.ErrNoLease: the node does not own the shard.
func (r *region) activate(ctx context.Context, id string) (*activation, error) {
	for {
		a, wait, err := r.tryActivate(id)
		if wait == nil {
			return a, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryActivate returns a channel to wait for when the shard is not served yet, the connection is being purged, or an entity that was
// told to stop still ends.
func (r *region) tryActivate(id string) (*activation, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lease, ok := r.lease(id)
	if !ok { // whatever still runs here: the next owner need not wait for it
		return nil, nil, messages.ErrNoLease
	}
	if a := r.entities[id]; a != nil && a.ending {
		return nil, a.gone, nil
	} else if a != nil {
		return a, nil, nil
	}
	if connectionID, _ := client.ParseIdentity(id); r.suspended[connectionID] > 0 {
		return nil, r.changed, nil
	}
	if epoch, ok := r.served[lease.Shard]; !ok || epoch != lease.Epoch {
		return nil, r.changed, nil
	}
	a := &activation{shard: lease.Shard, gone: make(chan struct{})}
	var read *persistence.Recovery
	if b := r.recovered[id]; b != nil && b.epoch == lease.Epoch {
		read = b.recovery
	}
	delete(r.recovered, id)
	props := r.props(id, read).Configure(actor.WithReceiverMiddleware(r.watchEnd(id, a)), actor.WithDispatcher(r.workers))
	pid, err := r.system.Root.SpawnNamed(props, regionPath+"/"+id)
	if err != nil {
		return nil, nil, err
	}
	a.pid = pid
	r.entities[id] = a
	return a, nil, nil
}

// props makes the actor of an identity: an entity, or a further client.
func (r *region) props(identity string, read *persistence.Recovery) *actor.Props {
	id, index := client.ParseIdentity(identity)
	if index == 0 {
		return connection.Props(r.deps, id, read)
	}
	return connection.FurtherProps(r.deps, id, index, read)
}

// regionPath is the prefix of entity names: the selection without its leading slash.
const regionPath = "system/sharding/connection"

// watchEnd takes the activation off the map when its actor has stopped.
func (r *region) watchEnd(id string, a *activation) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, e *actor.MessageEnvelope) {
			next(c, e)
			if _, stopped := e.Message.(*actor.Stopped); !stopped {
				return
			}
			r.mu.Lock()
			if r.entities[id] == a {
				delete(r.entities, id)
			}
			r.mu.Unlock()
			close(a.gone)
		}
	}
}

// serve says that the open connections of a shard are known under epoch, so that its entities may run.
func (r *region) serve(shards map[persistence.ShardRef]persistence.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for shard, epoch := range shards {
		r.served[shard] = epoch
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// serves reports whether the node owns the shard of id and knows its open connections.
func (r *region) serves(id string) bool {
	lease, ok := r.lease(id)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	epoch, ok := r.served[lease.Shard]
	return ok && epoch == lease.Epoch
}

// announce says that a bulk recovery is going to read these entities: what it reads is fresh as long as nobody activates
// them meanwhile and their shards are not lost, not even to come back. It returns those that are to be read, for offer and start;
// those that are being purged are not: what is read now may be deleted when they may be activated again.
func (r *region) announce(ids []string) map[string]*bulkRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	reads := make(map[string]*bulkRead, len(ids))
	for _, id := range ids {
		if connectionID, _ := client.ParseIdentity(id); r.suspended[connectionID] > 0 {
			continue
		}
		if lease, ok := r.lease(id); ok && (r.entities[id] == nil || r.entities[id].ending) {
			reads[id] = &bulkRead{epoch: lease.Epoch}
			r.recovered[id] = reads[id]
		}
	}
	return reads
}

// offer keeps what was read for the first activation of each entity.
func (r *region) offer(reads map[string]*bulkRead, batch map[string]*persistence.Recovery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, b := range reads { // one that is in the map no more is not used by anybody
		b.recovery = batch[id]
	}
}

// start activates an entity that was announced, unless somebody did so before or the shard was lost since. If it has to wait, for
// the entity of a former lease as a rule, it returns what for: then it is called again, or forget.
func (r *region) start(id string, read *bulkRead) (wait <-chan struct{}, err error) {
	r.mu.Lock()
	untouched := read != nil && r.recovered[id] == read
	r.mu.Unlock()
	if !untouched {
		return nil, nil
	}
	if _, wait, err = r.tryActivate(id); err != nil {
		r.forget(map[string]*bulkRead{id: read})
	}
	return wait, err
}

// forget gives up what was announced and not started.
func (r *region) forget(reads map[string]*bulkRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, read := range reads {
		if r.recovered[id] == read {
			delete(r.recovered, id)
		}
	}
}

// running is the number of entities.
func (r *region) running() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entities)
}

// drop stops the entities of shards that the node gives away or has lost, and reports whether they are gone: those that are not
// after endDeadline, or twice that, stop later, if ever. orderly: their clients say goodbye first.
func (r *region) drop(shards map[persistence.ShardRef]bool, orderly bool) bool {
	which := func(a *activation) bool { return shards[a.shard] }
	leave := func(a *activation) { r.system.Root.Send(a.pid, connection.Leave{}) }
	return orderly && r.end(which, leave, endDeadline) || r.end(which, r.stop, endDeadline)
}

// stopAll stops everything at once.
func (r *region) stopAll() { r.end(func(*activation) bool { return true }, r.stop, endDeadline) }

func (r *region) stop(a *activation) { r.system.Root.Stop(a.pid) }

// endDeadline is how long stopping an entity may take: an orderly disconnect is over after 8 s (connection.Timings.LeaveTimeout).
const endDeadline = 12 * time.Second

// end makes entities stop and waits for them, but not longer than within: false.
func (r *region) end(which func(*activation) bool, how func(*activation), within time.Duration) bool {
	r.mu.Lock()
	var ending []*activation
	for _, a := range r.entities {
		if which(a) {
			a.ending = true
			ending = append(ending, a)
		}
	}
	for id := range r.recovered {
		if which(&activation{shard: r.shard(id)}) {
			delete(r.recovered, id)
		}
	}
	for shard := range r.served {
		if which(&activation{shard: shard}) {
			delete(r.served, shard)
		}
	}
	r.mu.Unlock()
	for _, a := range ending {
		how(a)
	}
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for i, a := range ending {
		select {
		case <-a.gone:
		case <-deadline.C:
			r.log.Error("entities did not stop in time", "left", len(ending)-i, "within", within.String())
			return false
		}
	}
	return true
}
