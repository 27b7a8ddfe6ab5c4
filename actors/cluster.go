package actors

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"hawser/actors/shard"
	"hawser/persistence"
)

// ClusterOptions say how nodes reach each other.
type ClusterOptions struct {
	// Bind is the address to listen on, host:port; Advertised is what the others dial, "" for Bind.
	Bind, Advertised string
	// TLS, if set, is used in both directions: each side shows its certificate and checks the other's. nil: plaintext.
	TLS *tls.Config
	// Lock, if set, is the hold of the node's data folder on a local disk: it proves the death of the member that it names.
	Lock shard.Lock
}

func (o ClusterOptions) advertised() string {
	if o.Advertised != "" {
		return o.Advertised
	}
	return o.Bind
}

const (
	// maxFrame is the largest gRPC message: remote puts a whole batch of envelopes into one (protoactor.md 4).
	maxFrame = 256 << 20
	// never switches off what the library does by itself with the health of members: the database is the arbiter.
	never = 1000 * time.Hour
)

// startCluster starts remote and protoactor's cluster on top of our own membership and lookup.
func startCluster(system *actor.ActorSystem, o ClusterOptions, kinds []string, provider *provider, lookup *lookup, sockets *peerSockets) (c *cluster.Cluster, err error) {
	host, portText, err := net.SplitHostPort(o.Bind)
	if err != nil {
		return nil, fmt.Errorf("cluster address %q: %w", o.Bind, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("cluster address %q: %w", o.Bind, err)
	}
	transport := insecure.NewCredentials()
	var serve []grpc.ServerOption
	if o.TLS != nil {
		transport = credentials.NewTLS(o.TLS)
		serve = append(serve, grpc.Creds(credentials.NewTLS(o.TLS)))
	}
	serve = append(serve, grpc.MaxRecvMsgSize(maxFrame), grpc.ChainStreamInterceptor(survive(system.Logger())),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	config := remote.Configure(host, port,
		remote.WithAdvertisedHost(o.advertised()),
		remote.WithEndpointWriterBatchSize(64),
		remote.WithServerOptions(serve...),
		remote.WithDialOptions(grpc.WithTransportCredentials(transport), grpc.WithContextDialer(sockets.dial), grpc.WithStreamInterceptor(endQuietly),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxFrame), grpc.MaxCallSendMsgSize(maxFrame)),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true})))
	config.MaxRetryCount = 1 // after one attempt, and the 2 s that the library sleeps then; asking again is up to the asker

	options := []cluster.ConfigOption{cluster.WithHeartbeatExpiration(never)}
	for _, kind := range kinds {
		options = append(options, cluster.WithKinds(cluster.NewKind(kind, actor.PropsFromFunc(func(actor.Context) {}))))
	}
	settings := cluster.Configure("hawser", provider, lookup, config, options...)
	settings.GossipInterval = never
	c = cluster.New(system, settings)
	defer func() {
		if p := recover(); p != nil { // the library panics when it cannot listen
			c, err = nil, fmt.Errorf("cluster address %s: %v", o.Bind, p)
		}
	}()
	c.StartMember()
	return c, nil
}

// survive keeps a message that this version cannot read from ending the process: the stream ends instead.
func survive(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("a message of another node could not be read", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = status.Error(codes.Internal, "unreadable message")
			}
		}()
		return handle(srv, stream)
	}
}

// endQuietly lets a stream that this node has closed itself end without an error. The library closes the way to an address when it
// hears that it ended, takes the error of that for another end, and closes the way that was opened meanwhile: a chain in
// which each way ends its successor, for seconds, and with each what was on it.
func endQuietly(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, d, c, method, o...)
	return quietStream{s}, err
}

type quietStream struct{ grpc.ClientStream }

// RecvMsg implements grpc.ClientStream.
func (s quietStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if status.Code(err) == codes.Canceled && strings.HasSuffix(status.Convert(err).Message(), "the client connection is closing") {
		return io.EOF
	}
	return err
}

// provider feeds the members that the leases show into protoactor's member list. It implements cluster.ClusterProvider.
type provider struct {
	mu      sync.Mutex
	cluster *cluster.Cluster
	members cluster.Members
}

// StartMember implements cluster.ClusterProvider.
func (p *provider) StartMember(c *cluster.Cluster) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cluster = c
	if len(p.members) > 0 {
		c.MemberList.UpdateClusterTopology(p.members)
	}
	return nil
}

// StartClient implements cluster.ClusterProvider; a node is always a member.
func (p *provider) StartClient(*cluster.Cluster) error {
	return fmt.Errorf("actors: a node that is no member has no place in the cluster")
}

// Shutdown implements cluster.ClusterProvider; leaving is the membership's.
func (p *provider) Shutdown(bool) error { return nil }

// update takes over the members of a view.
func (p *provider) update(members []persistence.Member) {
	list := make(cluster.Members, 0, len(members))
	for _, m := range members {
		host, portText, err := net.SplitHostPort(m.Address)
		port, perr := strconv.ParseInt(portText, 10, 32)
		if err != nil || perr != nil {
			continue // a row that no node of ours has written
		}
		list = append(list, &cluster.Member{Id: string(m.ID), Host: host, Port: int32(port), Kinds: m.Kinds})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = list
	if p.cluster != nil {
		p.cluster.MemberList.UpdateClusterTopology(list)
	}
}

// lookup finds the node of an identity by the owner of its shard. It implements cluster.IdentityLookup: the PID is that of
// the owner's region, which knows the entity.
type lookup struct {
	owner func(kind, identity string) (address string, ok bool)
}

// Get implements cluster.IdentityLookup; nil while nobody owns the shard.
func (l *lookup) Get(id *cluster.ClusterIdentity) *actor.PID {
	address, ok := l.owner(id.Kind, id.Identity)
	if !ok {
		return nil
	}
	return actor.NewPID(address, regionPath)
}

// RemovePid implements cluster.IdentityLookup: PIDs are not kept.
func (*lookup) RemovePid(*cluster.ClusterIdentity, *actor.PID) {}

// Setup implements cluster.IdentityLookup.
func (*lookup) Setup(*cluster.Cluster, []string, bool) {}

// Shutdown implements cluster.IdentityLookup.
func (*lookup) Shutdown() {}

// peerSockets are the sockets to other nodes, so that those of a buried member can be closed: the library would wait for
// an answer that never comes.
type peerSockets struct {
	ctx   context.Context // ends with close
	close context.CancelFunc
	mu    sync.Mutex
	open  map[string]map[net.Conn]bool
}

func newPeerSockets() *peerSockets {
	p := &peerSockets{open: map[string]map[net.Conn]bool{}}
	p.ctx, p.close = context.WithCancel(context.Background())
	return p
}

// The times of a dial.
const (
	dialTimeout      = 2 * time.Second
	dialPause        = 20 * time.Millisecond // doubling
	longestDialPause = 200 * time.Millisecond
)

// dial insists until ctx ends, which gRPC lets happen after 20 s: after a dial that failed the library sleeps for two
// seconds, and so long nothing would reach a node that has just come back at its address.
func (p *peerSockets) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	for pause := dialPause; ; pause = min(2*pause, longestDialPause) {
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
		if err == nil {
			return p.register(conn, address), nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

func (p *peerSockets) register(conn net.Conn, address string) net.Conn {
	s := &peerSocket{Conn: conn, peers: p, address: address}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[address] == nil {
		p.open[address] = map[net.Conn]bool{}
	}
	p.open[address][s] = true
	return s
}

// addresses are those that were dialled and have not been cut since.
func (p *peerSockets) addresses() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.open))
}

// cut closes the sockets to an address.
func (p *peerSockets) cut(address string) {
	p.mu.Lock()
	sockets := p.open[address]
	delete(p.open, address)
	p.mu.Unlock()
	for s := range sockets {
		_ = s.Close()
	}
}

type peerSocket struct {
	net.Conn
	peers   *peerSockets
	address string
}

func (s *peerSocket) Close() error {
	s.peers.mu.Lock()
	delete(s.peers.open[s.address], net.Conn(s))
	s.peers.mu.Unlock()
	return s.Conn.Close()
}

// gone lists the addresses of members that are there no more, or stand aside now; all, when this node does. Nothing that is
// still on its way there can be waited for.
func gone(before, after *shard.View) (addresses []string) {
	const listed, reached = 1, 2
	now := make(map[string]int, len(after.Members))
	for _, m := range after.Members {
		now[m.Address] = max(now[m.Address], listed)
		if !after.Aside(m.ID) && !after.Isolated() {
			now[m.Address] = reached
		}
	}
	for _, m := range before.Members {
		stoodAside := before.Aside(m.ID) || before.Isolated()
		if state := now[m.Address]; state < listed || state < reached && !stoodAside {
			addresses = append(addresses, m.Address)
		}
	}
	return addresses
}
