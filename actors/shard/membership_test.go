package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	numShards = 8
	ttl       = 3 * time.Second
)

// gate cuts a member from the database: while closed, every statement fails without reaching it.
type gate struct {
	persistence.Leases
	closed atomic.Bool
	mute   atomic.Int32 // so many times SetDraining fails
	// hold, if set, holds Release up until it is closed; releases counts the calls.
	hold     atomic.Pointer[chan struct{}]
	releases atomic.Int32
}

var errCut = errors.New("cut from the database")

func (g *gate) pass(ctx context.Context) error {
	if !g.closed.Load() {
		return nil
	}
	<-ctx.Done() // a cut shows as silence, not as an error
	return errors.Join(errCut, ctx.Err())
}

func (g *gate) Join(ctx context.Context, m persistence.Member) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.Leases.Join(ctx, m)
}

func (g *gate) Beat(ctx context.Context, id persistence.MemberID, unreachable []persistence.MemberID) (bool, error) {
	if err := g.pass(ctx); err != nil {
		return false, err
	}
	return g.Leases.Beat(ctx, id, unreachable)
}

func (g *gate) Members(ctx context.Context) ([]persistence.Member, int64, error) {
	if err := g.pass(ctx); err != nil {
		return nil, 0, err
	}
	return g.Leases.Members(ctx)
}

func (g *gate) Shards(ctx context.Context) ([]persistence.Lease, error) {
	if err := g.pass(ctx); err != nil {
		return nil, err
	}
	return g.Leases.Shards(ctx)
}

func (g *gate) SetDraining(ctx context.Context, id persistence.MemberID) error {
	if g.mute.Add(-1) >= 0 {
		return errCut
	}
	return g.Leases.SetDraining(ctx, id)
}

func (g *gate) Release(ctx context.Context, id persistence.MemberID, shards []persistence.ShardRef) error {
	g.releases.Add(1)
	if hold := g.hold.Load(); hold != nil {
		<-*hold
	}
	return g.Leases.Release(ctx, id, shards)
}

func (g *gate) Leave(ctx context.Context, id persistence.MemberID) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.Leases.Leave(ctx, id)
}

// peer is one member under test with a record of what it was told.
type peer struct {
	*Membership
	gate *gate
	name string
	// stuck, if set, keeps what runs of dropped shards running until it is closed; waited counts how often that was waited for.
	stuck  atomic.Pointer[chan struct{}]
	waited atomic.Int32

	mu      sync.Mutex
	claimed map[int]persistence.Epoch // as told, minus what was dropped
	events  []string
}

func (p *peer) note(format string, args ...any) {
	p.events = append(p.events, fmt.Sprintf(format, args...))
}

func (p *peer) holds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.claimed)
}

func (p *peer) told(event string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e == event {
			return true
		}
	}
	return false
}

// cluster is a database with members on it.
type cluster struct {
	t     *testing.T
	url   string
	peers []*peer

	mu     sync.Mutex
	owners map[int]*peer   // who acts on a shard: never two
	broken map[string]bool // ways that are cut, by the names of both ends
}

// cut cuts the way from one peer to another, or mends it.
func (c *cluster) cut(from, to *peer, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken[from.name+">"+to.name] = broken
}

// probe answers unless a way is cut: there, or back.
func (c *cluster) probe(ctx context.Context, from string, to persistence.Member) bool {
	c.mu.Lock()
	broken := c.broken[from+">"+to.Instance] || c.broken[to.Instance+">"+from]
	c.mu.Unlock()
	if broken {
		<-ctx.Done()
	}
	return !broken
}

func newCluster(t *testing.T) *cluster {
	t.Parallel()
	return &cluster{t: t, url: persistencetest.Schema(t), owners: map[int]*peer{}, broken: map[string]bool{}}
}

func (c *cluster) join(name string) *peer {
	c.t.Helper()
	return c.joinIn(name, nil)
}

// joinIn joins with the hold of a data folder.
func (c *cluster) joinIn(name string, lock Lock) *peer {
	c.t.Helper()
	store, err := postgres.Open(c.t.Context(), postgres.Options{URL: c.url, TTL: ttl, Log: quiet()})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := store.Init(c.t.Context(), kind, numShards); err != nil {
		c.t.Fatal(err)
	}
	p := &peer{gate: &gate{Leases: store}, name: name, claimed: map[int]persistence.Epoch{}}
	p.Membership = New(Options{
		Leases: p.gate, Kinds: map[string]int{kind: numShards}, TTL: ttl, Log: quiet(),
		Member: persistence.Member{Address: fmt.Sprintf("127.0.0.1:%d", len(c.peers)+1), Instance: name, Kinds: []string{kind}},
		NewID:  func() persistence.MemberID { return persistence.MemberID(uuid.NewString()) },
		Claimed: func(leases []persistence.Lease) {
			for _, l := range leases {
				c.act(p, l.Shard.Number)
				p.mu.Lock()
				p.claimed[l.Shard.Number] = l.Epoch
				p.mu.Unlock()
			}
		},
		Dropped: func(refs []persistence.ShardRef, orderly bool) bool {
			if stuck := p.stuck.Load(); stuck != nil {
				select {
				case <-*stuck:
				case <-time.After(5 * time.Millisecond): // endDeadline, in the actors' region
					p.waited.Add(1)
					return false
				}
			}
			for _, ref := range refs {
				p.mu.Lock()
				p.note("dropped orderly=%v", orderly)
				delete(p.claimed, ref.Number)
				p.mu.Unlock()
				c.leave(p, ref.Number)
			}
			return true
		},
		Cut: func() {
			p.mu.Lock()
			p.note("cut")
			numbers := p.claimed
			p.claimed = map[int]persistence.Epoch{}
			p.mu.Unlock()
			for number := range numbers {
				c.leave(p, number)
			}
		},
		Fenced: func() { p.mu.Lock(); p.note("fenced"); p.mu.Unlock() },
		Probe:  func(ctx context.Context, to persistence.Member) bool { return c.probe(ctx, name, to) }, Lock: lock,
	})
	p.Start()
	c.peers = append(c.peers, p)
	c.t.Cleanup(func() {
		p.gate.closed.Store(false)
		p.Stop()
		if err := store.Close(); err != nil {
			c.t.Errorf("close: %v", err)
		}
	})
	return p
}

// act says that p begins to act on a shard: a defect if somebody else still does.
func (c *cluster) act(p *peer, number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.owners[number]; other != nil && other != p {
		c.t.Errorf("shard %d: %s begins while %s still acts", number, p.name, other.name)
	}
	c.owners[number] = p
}

func (c *cluster) leave(p *peer, number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owners[number] == p {
		delete(c.owners, number)
	}
}

func (c *cluster) eventually(within time.Duration, what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			for _, p := range c.peers {
				c.t.Logf("%s holds %d, valid %v, %v", p.name, p.holds(), p.Table().Valid(), p.events)
			}
			c.t.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
}

func quiet() *slog.Logger {
	if os.Getenv("HAWSER_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

func TestMembersShareJoinAndDrain(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "one member holds everything", func() bool { return a.holds() == numShards })
	b := c.join("b")
	c.eventually(10*time.Second, "two members share", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
	if !a.told("dropped orderly=true") || a.told("dropped orderly=false") || a.told("fenced") {
		t.Errorf("a healthy shard moves in order: %v", a.events)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a.Drain(ctx)
	if ctx.Err() != nil || a.holds() != 0 {
		t.Fatalf("a still holds %d shards", a.holds())
	}
	c.eventually(10*time.Second, "the other takes over", func() bool { return b.holds() == numShards })
	a.Stop()
	c.eventually(10*time.Second, "the row is gone", func() bool { return len(b.View().Members) == 1 })
}

// TestTheOthersAreToldUntilTheyKnow: a member that leaves while the database is away says so again, else what it gives back would be
// nobody's for as long as it is there.
func TestTheOthersAreToldUntilTheyKnow(t *testing.T) {
	c := newCluster(t)
	a, b := c.join("a"), c.join("b")
	c.eventually(15*time.Second, "shared", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
	a.gate.mute.Store(3)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a.Drain(ctx)
	c.eventually(5*time.Second, "the other takes over", func() bool { return b.holds() == numShards })
	if members := b.View().Members; len(members) != 2 {
		t.Errorf("%d members: it took over because the other was gone", len(members))
	}
}

// TestShardsThatStopTogetherAreReleasedTogether: appends wait for each release, so a member that gives many shards away does not do it one
// by one.
func TestShardsThatStopTogetherAreReleasedTogether(t *testing.T) {
	c := newCluster(t)
	a, b := c.join("a"), c.join("b")
	c.eventually(15*time.Second, "shared", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
	hold := make(chan struct{})
	before := a.gate.releases.Load()
	a.gate.hold.Store(&hold)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	drained := make(chan struct{})
	go func() { defer close(drained); a.Drain(ctx) }()
	c.eventually(5*time.Second, "nothing of them runs", func() bool { return a.holds() == 0 && a.gate.releases.Load() > before })
	close(hold)
	<-drained
	c.eventually(5*time.Second, "the other takes over", func() bool { return b.holds() == numShards })
	if n := a.gate.releases.Load() - before; n >= numShards/2 {
		t.Errorf("%d releases of %d shards", n, numShards/2)
	}
}

func TestACutMemberStopsBeforeItsShardsAreTaken(t *testing.T) {
	c := newCluster(t)
	a, b := c.join("a"), c.join("b")
	c.eventually(15*time.Second, "shared", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
	cut := time.Now()
	a.gate.closed.Store(true)
	c.eventually(2*ttl, "the cut one fences itself", func() bool { return !a.Table().Valid() && a.told("cut") && a.told("fenced") })
	if after := time.Since(cut); after > ttl {
		t.Errorf("fenced only after %v", after)
	}
	c.eventually(3*ttl, "the other takes over", func() bool { return b.holds() == numShards }) // act() saw no overlap
	a.gate.closed.Store(false)
	c.eventually(15*time.Second, "the process comes back as a new member", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
	if a.Losses() != 1 {
		t.Errorf("%d losses, want 1", a.Losses())
	}
}

// A member that its peers cannot reach, although the database can, hands its shards over in order and comes back when the
// ways are good again; its lease is never lost.
func TestAMemberCutFromItsPeersStepsAside(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "claimed", func() bool { return a.holds() == numShards })
	b, d := c.join("b"), c.join("d")
	shared := func() bool {
		return a.holds() > 0 && b.holds() > 0 && d.holds() > 0 && a.holds()+b.holds()+d.holds() == numShards
	}
	c.eventually(15*time.Second, "shared", shared)
	c.cut(b, a, true)
	c.cut(b, d, true)
	c.eventually(2*ttl, "the others hold everything", func() bool { return b.holds() == 0 && a.holds()+d.holds() == numShards })
	if !b.View().Isolated() || a.View().Isolated() || d.View().Isolated() || !b.Table().Valid() {
		t.Errorf("isolated: a %v, b %v, d %v; the lease of b is valid: %v", a.View().Isolated(), b.View().Isolated(), d.View().Isolated(), b.Table().Valid())
	}
	if b.told("dropped orderly=false") || b.told("fenced") {
		t.Errorf("the shards were not handed over in order: %v", b.events)
	}
	c.cut(b, a, false)
	c.cut(b, d, false)
	c.eventually(15*time.Second, "shared again", shared)
	if losses := a.Losses() + b.Losses() + d.Losses(); losses > 0 {
		t.Errorf("%d leases were lost", losses)
	}
}

// Of two that do not reach each other exactly one goes on, the one that joined first; and when that is gone for good the
// other takes over although it stood aside.
func TestOfTwoThatAreCutFromEachOtherOneGoesOn(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "claimed", func() bool { return a.holds() == numShards })
	b := c.join("b")
	c.eventually(15*time.Second, "shared", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
	c.cut(a, b, true) // one way is enough: no answer comes
	first := func() (*peer, *peer) {
		if a.ID() < b.ID() {
			return a, b
		}
		return b, a
	}
	stays, goes := first()
	c.eventually(2*ttl, "one holds everything", func() bool { return stays.holds() == numShards && goes.holds() == 0 })
	stays.gate.closed.Store(true)
	c.eventually(4*ttl, "the other holds everything", func() bool { return goes.holds() == numShards && stays.holds() == 0 })
}

// folder is the hold of a data folder.
type folder struct {
	mu     sync.Mutex
	member string
	t      *testing.T
	store  func() persistence.Leases
}

func (f *folder) Member() string { f.mu.Lock(); defer f.mu.Unlock(); return f.member }

// SetMember demands that nothing is left of who was named before, and that who is named has not joined yet.
func (f *folder) SetMember(id string) error {
	members, _, err := f.store().Members(context.Background())
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range members {
		if string(m.ID) == f.member || string(m.ID) == id {
			f.t.Errorf("the folder named %q, names %q, and %q is a member", f.member, id, m.ID)
		}
	}
	f.member = id
	return nil
}

// Rule 4b: who holds the data folder buries the member that it names before it joins, whatever else is known of that.
func TestTheDataFolderProvesTheDeathOfThePredecessor(t *testing.T) {
	c := newCluster(t)
	store, err := postgres.Open(t.Context(), postgres.Options{URL: c.url, TTL: ttl, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	var refs []persistence.ShardRef
	for number := range numShards {
		refs = append(refs, persistence.ShardRef{Kind: kind, Number: number})
	}
	if err := store.Init(t.Context(), kind, numShards); err != nil {
		t.Fatal(err)
	}
	if err := store.Join(t.Context(), persistence.Member{ID: "dead", Address: "10.9.9.9:1", Instance: "a", Kinds: []string{kind}}); err != nil {
		t.Fatal(err)
	}
	if taken, err := store.Claim(t.Context(), "dead", refs); err != nil || len(taken) != numShards {
		t.Fatalf("%d claimed, %v", len(taken), err)
	}
	f := &folder{t: t, member: "dead", store: func() persistence.Leases { return store }}
	a := c.joinIn("a", f)
	c.eventually(10*time.Second, "everything is claimed", func() bool { return a.holds() == numShards })
	first := a.ID()
	if f.Member() != string(first) {
		t.Errorf("the folder names %q, the member is %q", f.Member(), first)
	}
	if members, _, err := store.Members(t.Context()); err != nil || len(members) != 1 {
		t.Errorf("members %v %v", members, err)
	}
	a.gate.closed.Store(true)
	c.eventually(3*ttl, "fenced", func() bool { return a.told("fenced") })
	a.gate.closed.Store(false)
	c.eventually(4*ttl, "the next incarnation holds everything and is named", func() bool {
		return a.holds() == numShards && a.ID() != first && f.Member() == string(a.ID())
	})
}

// TestWhatStillRunsKeepsItsShard: a shard is not released as long as something of it runs, however long that takes (rule 7).
func TestWhatStillRunsKeepsItsShard(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "one member holds everything", func() bool { return a.holds() == numShards })
	stuck := make(chan struct{})
	a.stuck.Store(&stuck)
	b := c.join("b")
	c.eventually(10*time.Second, "the handover waits", func() bool { return a.waited.Load() > 3*numShards/2 })
	shards, err := a.gate.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range shards {
		if l.Owner != a.ID() {
			t.Errorf("shard %d belongs to %q while it runs at a", l.Shard.Number, l.Owner)
		}
	}
	if b.holds() != 0 {
		t.Errorf("b holds %d shards", b.holds())
	}
	close(stuck)
	c.eventually(10*time.Second, "two members share", func() bool { return a.holds() == numShards/2 && b.holds() == numShards/2 })
}

// TestAHandoverEndsWhenItsShardIsMovedByHand: a shard that comes back under a newer epoch while its handover still waits for what
// runs is neither stopped by that nor released.
func TestAHandoverEndsWhenItsShardIsMovedByHand(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "one member holds everything", func() bool { return a.holds() == numShards })
	stuck := make(chan struct{})
	a.stuck.Store(&stuck)
	b := c.join("b")
	owned := func() map[int]bool {
		numbers := map[int]bool{}
		for _, number := range a.Table().Owned(kind) {
			numbers[number] = true
		}
		return numbers
	}
	c.eventually(10*time.Second, "half of the shards wait to be handed over", func() bool { return len(owned()) == numShards/2 })
	moved := 0
	for here := owned(); here[moved]; {
		moved++
	}
	b.Stop() // all are wished here again
	conn, err := pgx.Connect(t.Context(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var epoch persistence.Epoch
	if err := conn.QueryRow(t.Context(), `update shards set epoch = epoch + 1 where shard = $1 returning epoch`, moved).Scan(&epoch); err != nil {
		t.Fatal(err)
	}
	c.eventually(10*time.Second, "the moved shard is taken up under its new epoch", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.claimed[moved] == epoch
	})
	close(stuck)
	c.eventually(10*time.Second, "the others are released and claimed again", func() bool { return len(owned()) == numShards })
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := a.claimed[moved]; got != epoch {
		t.Errorf("the moved shard is held under epoch %d, want %d: it was released once more", got, epoch)
	}
	if dropped := len(a.events); dropped != numShards/2-1 {
		t.Errorf("%d shards were dropped, want the other %d: %v", dropped, numShards/2-1, a.events)
	}
	if moving := a.Table().state.Load().moving; len(moving) > 0 {
		t.Errorf("still on their way: %v", moving)
	}
}

func TestStolenShardsAreDropped(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "claimed", func() bool { return a.holds() == numShards })
	conn, err := pgx.Connect(t.Context(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `update shards set owner = null, epoch = epoch + 1 where shard < 3`); err != nil {
		t.Fatal(err)
	}
	c.eventually(5*time.Second, "the loss is noticed", func() bool { return a.told("dropped orderly=false") })
	c.eventually(5*time.Second, "and taken back under a new epoch", func() bool { return a.holds() == numShards })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.claimed[0] <= a.claimed[numShards-1] {
		t.Errorf("epoch %d of a stolen shard, %d of the others", a.claimed[0], a.claimed[numShards-1])
	}
}

// Whoever finds a shard in its hands that it has not claimed leaves the owner before the time to notice: act sees no overlap.
func TestShardsMovedByHandAreTakenUpWhenTheirOwnerKnows(t *testing.T) {
	c := newCluster(t)
	peers := []*peer{c.join("a"), c.join("b")}
	shared := func() bool { return peers[0].holds() == numShards/2 && peers[1].holds() == numShards/2 }
	c.eventually(15*time.Second, "shared", shared)
	conn, err := pgx.Connect(t.Context(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for round := range 6 { // which of the two looks first is chance
		from, to := peers[round%2], peers[1-round%2]
		if _, err := conn.Exec(t.Context(), `update shards set owner = $1, epoch = epoch + 1 where owner = $2`, string(to.ID()), string(from.ID())); err != nil {
			t.Fatal(err)
		}
		c.eventually(5*time.Second, "the new owner has them", func() bool { return to.holds() == numShards && from.holds() == 0 })
		c.eventually(15*time.Second, "shared again", shared)
	}
}

func TestBuriedMemberNotices(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "claimed", func() bool { return a.holds() == numShards })
	first := a.ID()
	if ok, err := a.gate.Bury(t.Context(), first, 0, true); !ok || err != nil {
		t.Fatalf("bury: %v %v", ok, err)
	}
	c.eventually(5*time.Second, "it lives on as another", func() bool { return a.told("fenced") && a.holds() == numShards && a.ID() != first })
}

// A node that comes back deletes the row that it could not delete when it lost its lease: its shards need not wait until
// somebody has watched that row for a TTL.
func TestAReturningMemberWaitsForNobody(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.eventually(10*time.Second, "claimed", func() bool { return a.holds() == numShards })
	first := a.ID()
	a.gate.closed.Store(true)
	c.eventually(3*ttl, "fenced, and joining fails", func() bool { return a.told("fenced") && a.ID() != first })
	a.gate.closed.Store(false)
	back := time.Now()
	c.eventually(2*ttl, "claimed again", func() bool { return a.holds() == numShards })
	if took := time.Since(back); took >= ttl { // a retry, a join, and one beat before the first claim
		t.Errorf("back only after %v", took)
	}
}
