package actors

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"hawser/actors/cleanup"
	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/actors/migration"
	"hawser/actors/monitor"
	"hawser/actors/shard"
	"hawser/actors/signals"
	"hawser/messages"
	"hawser/persistence"
)

// Options of a Node. Store, Instance and Transports are required; zero values of the others take the defaults named with
// their types.
type Options struct {
	Store persistence.Store
	// Exclusive says that the store cannot be used by another process.
	Exclusive bool
	// Instance is the instance id in answers; another is taken when a live member has it (decision O8): see Node.Instance.
	Instance string
	// Cluster says how the other nodes on the same database reach this one; nil: there can be no other.
	Cluster *ClusterOptions
	// Shards is the number of connection shards, fixed per database (decision O10); default 64.
	Shards int
	// TTL is the lifetime of the node's lease; default 5s.
	TTL time.Duration
	// Transports are the protocols by connection type.
	Transports map[messages.ConnectionType]client.Factory
	Rules      connection.Rules
	Timings    connection.Timings
	Client     client.Settings
	Monitor    monitor.Options
	Hosts      client.HostRules
	Signals    signals.Options
	OpenRate   Rate
	// Cleanup of history; the zero value is cleanup.Default.
	Cleanup cleanup.Config
	// PurgeDelay lies between stopping the entities of a purge and deleting their rows; default 5s.
	PurgeDelay time.Duration
	// NodeTargets are what this node answers for itself by selection, beside the background cleanup.
	NodeTargets map[string]NodeTarget
	// DrainTimeout is how long Drain waits for entities to disconnect; default 20s.
	DrainTimeout time.Duration
	Encryption   EncryptionOptions
	Log          *slog.Logger
}

// Node is one process of Hawser: it owns shards, runs their entities and relays their messages. It implements
// gateway.Asker.
type Node struct {
	opts          Options
	log           *slog.Logger
	system        *actor.ActorSystem
	monitor       *monitor.Registry
	metrics       *connection.Metrics
	dialer        *client.Dialer
	hub           *signals.Hub
	links         *links
	interests     *interests
	region        *region
	journal       *recoveries // what entities see of the store
	written       *written
	selections    map[string]target
	cleanup       *cleanup.Worker
	migration     *migration.Runner
	perNode       map[string]NodeTarget
	membership    *shard.Membership
	instance      atomic.Pointer[string]
	wire          *wire // nil without a cluster, like those below
	cluster       *cluster.Cluster
	provider      provider
	door          *actor.PID
	nodeDoor      *actor.PID
	migrationDoor *actor.PID
	sockets       *peerSockets
	served        sync.WaitGroup // asks of other nodes in work
	draining      atomic.Bool
	settled       atomic.Bool // every shard had an owner once
	stopping      sync.Once

	mu      sync.Mutex
	claims  context.Context // ends when the incarnation ends
	release context.CancelFunc
	reviver reviver
	work    sync.WaitGroup // revivals
	// reviving counts those that start connections, not those that only wait for some.
	reviving atomic.Int32
}

// Start checks the store's shards and starts a node. It becomes ready by itself, as soon as it has a lease.
func Start(ctx context.Context, opts Options) (*Node, error) {
	if opts.Shards <= 0 {
		opts.Shards = 64
	}
	if opts.TTL <= 0 {
		opts.TTL = 5 * time.Second
	}
	if opts.DrainTimeout <= 0 {
		opts.DrainTimeout = 20 * time.Second
	}
	if opts.PurgeDelay <= 0 {
		opts.PurgeDelay = 5 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	kinds := map[string]int{
		persistence.KindConnection: opts.Shards, persistence.KindClient: opts.Shards * (client.MaxClients - 1), persistence.KindSingleton: singletonShards,
	}
	for kind, shards := range kinds {
		if err := opts.Store.Init(ctx, kind, shards); err != nil {
			return nil, fmt.Errorf("shards: %w", err)
		}
	}
	var err error
	if opts.Encryption, err = opts.Encryption.withDefaults(); err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	n := &Node{
		opts: opts, log: opts.Log.With("logger", "hawser/actors"), monitor: monitor.NewRegistry(opts.Monitor), metrics: connection.NewMetrics(), dialer: client.NewDialer(opts.Hosts),
	}
	n.claims, n.release = context.WithCancel(context.Background())
	n.links = &links{node: n}
	if opts.Cluster != nil {
		opts.Signals.Cluster = n.links
	}
	n.hub = signals.NewHub(opts.Signals)
	n.instance.Store(&opts.Instance)
	member := persistence.Member{Instance: opts.Instance, Kinds: []string{persistence.KindConnection, persistence.KindClient, persistence.KindSingleton}}
	spare := ""
	if opts.Cluster != nil {
		member.Address = opts.Cluster.advertised()
		if _, port, err := net.SplitHostPort(member.Address); err == nil {
			spare = opts.Instance + "-" + port
		}
	}
	var probe func(context.Context, persistence.Member) bool
	var lock shard.Lock
	if opts.Cluster != nil {
		probe, lock = n.probe, opts.Cluster.Lock
	}
	n.membership = shard.New(shard.Options{
		Leases: opts.Store, Kinds: kinds, TTL: opts.TTL, Exclusive: opts.Exclusive,
		Member: member, Spare: spare, NewID: newMemberID, Joined: n.joined,
		Claimed: n.claimed, Dropped: n.dropped, Cut: n.cut, Fenced: n.fenced, Seen: n.seen, Probe: probe, Lock: lock, Log: logOf(n.log, "shard"),
	})
	n.system = newSystem(opts.Log)
	n.written = newWritten(opts.Store, n.log)
	n.journal = newRecoveries(opts.Store, n.unwritten)
	n.region = newRegion(n.system, n.deps(), n.shardOf, n.log)
	n.selections = n.targets()
	n.cleanup = cleanup.New(cleanup.Options{Store: opts.Store, Config: opts.Cleanup, Share: n.share, Log: logOf(n.log, "cleanup")})
	n.migration = n.newMigration(opts.Encryption)
	n.perNode = n.nodeTargets()
	n.interests = newInterests(&interests{
		hub: n.hub, index: opts.Store, peers: n.links.Peers, send: n.links.send, alone: opts.Cluster == nil, loaded: n.reconcile, log: n.log,
	})
	rate := opts.OpenRate.withDefaults()
	n.reviver = reviver{store: opts.Store, region: n.region, expect: n.hub.Expect, home: n.home, written: n.written, learn: n.interests.load, rate: rate, pace: &pace{rate: rate}, late: n.late, log: n.log}
	if opts.Cluster != nil {
		if err := n.join(); err != nil {
			n.interests.close()
			n.journal.close()
			n.written.close()
			n.region.workers.close()
			n.hub.Close()
			return nil, err
		}
	}
	n.membership.Start()
	n.cleanup.Start()
	return n, nil
}

// newMemberID makes the id of an incarnation. Ids grow with time, so that the members are listed as they joined; nothing
// else depends on that.
func newMemberID() persistence.MemberID {
	return persistence.MemberID(uuid.Must(uuid.NewV7()).String())
}

// join opens the doors between the nodes. Remote comes first: an actor that is spawned before has a PID without address, to
// which no other node can answer.
func (n *Node) join() (err error) {
	n.sockets = newPeerSockets()
	n.cluster, err = startCluster(n.system, *n.opts.Cluster, []string{persistence.KindConnection}, &n.provider, &lookup{n.owner}, n.sockets)
	if err != nil {
		return err
	}
	if n.wire, err = newWire(n.system, n.log); err != nil {
		return err
	}
	if err = n.links.open(); err != nil {
		return err
	}
	door := &doorway{ask: n.askHere, lease: n.lease, log: n.log, longest: time.Minute, work: &n.served}
	if n.door, err = n.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return door }), regionPath); err != nil {
		return err
	}
	migration := &doorway{ask: n.migration.Ask, log: n.log, longest: time.Minute, work: &n.served}
	if n.migrationDoor, err = n.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return migration }), migrationPath); err != nil {
		return err
	}
	node := &nodeDoor{targets: n.perNode, log: n.log, longest: time.Minute, work: &n.served}
	if n.nodeDoor, err = n.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return node }), nodeDoorPath); err != nil {
		return err
	}
	n.system.EventStream.Subscribe(func(event any) {
		if e, ok := event.(*remote.EndpointTerminatedEvent); ok {
			n.wire.abandon(e.Address)
			n.hub.Disconnected(e.Address)
			n.membership.Look()
		}
	})
	return nil
}

// owner is where the owner of an identity's shard is reached.
func (n *Node) owner(kind, identity string) (string, bool) {
	m, ok := n.membership.View().Owner(persistence.ShardRef{Kind: kind, Number: shard.Number(identity, n.opts.Shards)})
	return m.Address, ok
}

// seen takes note of a changed cluster: what waits for a member that is gone waits in vain.
func (n *Node) seen(before, after *shard.View) {
	if !n.settled.Load() && n.allOwned(after) {
		n.settled.Store(true)
	}
	if n.cluster == nil {
		return
	}
	for _, address := range gone(before, after) {
		n.sockets.cut(address)
		n.wire.abandon(address)
	}
	n.provider.update(after.Members)
	if changed(before, after) {
		n.hub.Changed()
		n.interests.refresh()
	}
}

// allOwned reports whether every connection has a home.
func (n *Node) allOwned(v *shard.View) bool {
	for number := range n.opts.Shards {
		if _, ok := v.Owner(persistence.ShardRef{Kind: persistence.KindConnection, Number: number}); !ok {
			return false
		}
	}
	return true
}

// newSystem makes the actor system. Its sequence numbers start at random: replies to requests of a process that had this
// address before must not be taken for ours (design.md 3.1).
func newSystem(log *slog.Logger) *actor.ActorSystem {
	quiet := slog.New(levelHandler{Handler: log.Handler(), least: slog.LevelWarn})
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }), actor.WithDeadLetterRequestLogging(false))
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	system.ProcessRegistry.SequenceID = binary.LittleEndian.Uint64(seed[:])
	return system
}

// levelHandler drops what the library says below a level: it reports each start and dead letter at info.
type levelHandler struct {
	slog.Handler
	least slog.Level
}

func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.least && h.Handler.Enabled(ctx, l)
}

func (n *Node) deps() *connection.Deps {
	deps := &connection.Deps{
		Store: n.journal, Clients: &clients{node: n, transports: n.opts.Transports}, Monitor: n.monitor, Lease: n.lease,
		Codec: n.codec(),
		Rules: n.opts.Rules, Interest: signals.Interest, Instance: n.Instance(), Log: logOf(n.log, "connection"), Metrics: n.metrics, Timings: n.opts.Timings,
	}
	if n.opts.Cluster != nil {
		deps.Further = furthers{n}
	}
	return deps
}

func (n *Node) codec() connection.Codec {
	return connection.Codec{Seal: n.opts.Encryption.Keys.Seal, Unseal: n.opts.Encryption.Keys.Unseal}
}

// unwritten reports whether a connection of this node certainly has no rows.
func (n *Node) unwritten(pid string) bool {
	id := connection.ID(pid)
	lease, ok := n.lease(id)
	return ok && n.written.unwritten(id, lease)
}

// lease is the ownership of an entity or client, by its identity.
func (n *Node) lease(id string) (persistence.Lease, bool) {
	return n.membership.Table().Lease(n.shardOf(id))
}

// joined takes note of a new incarnation: nothing of the one before runs any more. instance is its instance id.
func (n *Node) joined(instance string) {
	n.mu.Lock()
	if !n.draining.Load() {
		n.hub.Return()
	}
	n.mu.Unlock()
	n.instance.Store(&instance)
	n.region.rename(instance)
}

// Instance is the instance id of this node: that of the options, or "<id>-<cluster port>" when a live member had that
// already as the node joined (decision O8). It can change when a node that lost its lease joins again.
func (n *Node) Instance() string { return *n.instance.Load() }

// claimed starts what the shards hold, unless the incarnation that claimed them is over already: its sockets stay closed.
func (n *Node) claimed(leases []persistence.Lease) {
	n.mu.Lock()
	ctx := n.claims
	if ctx.Err() != nil {
		n.mu.Unlock()
		return
	}
	n.dialer.Resume()
	n.mu.Unlock()
	homes := make([]persistence.Lease, 0, len(leases))
	for _, l := range leases {
		if l.Shard == migrationShard {
			n.migration.Start()
		} else {
			homes = append(homes, l)
		}
	}
	n.reviving.Add(1)
	n.work.Go(func() {
		left := n.reviver.revive(ctx, homes)
		n.reviving.Add(-1)
		n.reviver.follow(ctx, left)
	})
}

// dropped stops what runs of shards that are given away or were taken away, and reports whether nothing does any more.
func (n *Node) dropped(refs []persistence.ShardRef, orderly bool) bool {
	shards := make(map[persistence.ShardRef]bool, len(refs))
	for _, ref := range refs {
		if ref == migrationShard {
			n.migration.Stop()
		} else {
			shards[ref] = true
		}
	}
	return len(shards) == 0 || n.region.drop(shards, orderly)
}

// cut takes the node off its brokers at once. Messages that are on their way stay unsettled: their brokers deliver them
// again to whoever is next.
func (n *Node) cut() {
	n.hub.Leave()
	n.mu.Lock()
	n.release() // nothing more is started
	n.mu.Unlock()
	n.dialer.CloseAll()
}

// late reports that the node's beat is late: it comes each fifth of the TTL, so that four to three fifths are left.
func (n *Node) late() bool { return n.membership.Table().Left() < n.opts.TTL/2 }

// fenced stops everything: the incarnation is over.
func (n *Node) fenced() {
	n.mu.Lock()
	n.release()
	n.claims, n.release = context.WithCancel(context.Background())
	n.mu.Unlock()
	n.migration.Stop()
	n.work.Wait()
	n.region.stopAll()
}

// Ready reports whether the node can execute commands: it holds a lease, does not leave, and has once seen every shard owned.
// Before that, right after the first start of a cluster, a command would wait for the first claim; that a node dies later
// makes no other node unready.
func (n *Node) Ready() bool {
	return !n.draining.Load() && n.settled.Load() && n.membership.Table().Valid()
}

// Members are the live members of the cluster.
func (n *Node) Members() []persistence.Member { return n.membership.View().Members }

// Metrics are the series of the connection entities.
func (n *Node) Metrics() *connection.Metrics { return n.metrics }

// Cleanup is the background cleanup of history: its series.
func (n *Node) Cleanup() *cleanup.Worker { return n.cleanup }

// Migration is the encryption migration: its series.
func (n *Node) Migration() prometheus.Collector { return n.migration }

// Links are the series of the links to other nodes.
func (n *Node) Links() prometheus.Collector { return n.hub }

// Monitor is the registry of the connections' counters and logs.
func (n *Node) Monitor() *monitor.Registry { return n.monitor }

// Drain hands all shards over: every connection disconnects in an orderly way and its shard is free for another node. The
// node is not ready from here on; commands that reach it are executed where the connections have gone, as long as Stop has
// not been called.
func (n *Node) Drain() {
	n.mu.Lock() // see joined
	n.draining.Store(true)
	n.mu.Unlock()
	n.hub.Leave()
	ctx, cancel := context.WithTimeout(context.Background(), n.opts.DrainTimeout)
	defer cancel()
	n.membership.Drain(ctx)
}

// Stop drains the node unless that was done, and ends it: the member leaves, nothing runs any more. It does not close the
// store. Idempotent.
func (n *Node) Stop() { n.stopping.Do(n.stop) }

func (n *Node) stop() {
	n.cleanup.Stop()
	n.Drain()
	n.membership.Stop()
	n.release()
	n.interests.close()
	n.hub.Close()
	n.journal.close()
	n.written.close()
	n.region.workers.close()
	if n.cluster != nil {
		_ = n.system.Root.StopFuture(n.nodeDoor).Wait()
		_ = n.system.Root.StopFuture(n.migrationDoor).Wait()
		_ = n.system.Root.StopFuture(n.door).Wait() // nothing is taken in any more; what was is answered
		n.served.Wait()
		n.leave()
	}
	n.system.Shutdown()
}

// leave ends the talk with the other nodes. The library would leave its links and its gossip behind.
func (n *Node) leave() {
	n.sockets.close()
	n.cluster.Gossip.Shutdown()
	for _, address := range n.sockets.addresses() {
		n.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: address})
	}
	n.cluster.Remote.Shutdown(false)
}
