package shard

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hawser/persistence"
)

// Options of a Membership. Leases, Kinds, NewID and the callbacks are required.
type Options struct {
	Leases persistence.Leases
	// Kinds maps each kind of shards to their number.
	Kinds map[string]int
	// Member is this node's row; ID, Beat and Proc are set here, fresh for each incarnation.
	Member persistence.Member
	// NewID makes the id of an incarnation; it must never repeat.
	NewID func() persistence.MemberID
	// TTL is the lifetime of a lease without beat, 3 s to 60 s; default 5 s. Longer rides out longer database outages and
	// makes fail-over slower where a death cannot be proved.
	TTL time.Duration
	// Exclusive says that no other process can use the store (the embedded one, locked): every other member is a
	// predecessor that is gone.
	Exclusive bool
	// Claimed is told of shards that are owned from now on; it must not block.
	Claimed func([]persistence.Lease)
	// Dropped is told of shards that the node owns no more while its incarnation goes on; when it returns nothing of them runs.
	Dropped func([]persistence.ShardRef)
	// Cut closes every socket of a client at once; it is called the moment the incarnation ends and must not wait for anything
	// but that.
	Cut func()
	// Fenced is told that the incarnation is over, after Cut; when it returns nothing runs on this node.
	Fenced func()
	Log    *slog.Logger     // nil: slog.Default
	Now    func() time.Time // nil: time.Now; must carry a monotonic clock
}

// Membership keeps the node's incarnation: it joins, beats, watches the others, claims what nobody owns, and when the
// lease is lost it fences the node and joins again as a new member (design.md 3.1). It never gives up; Stop ends it.
type Membership struct {
	opts  Options
	table *Table
	log   *slog.Logger
	now   func() time.Time

	cancel  context.CancelFunc
	done    chan struct{}
	members atomic.Pointer[[]persistence.Member]
	losses  atomic.Int64
}

// errLost ends an incarnation.
var errLost = errors.New("shard: the lease is lost")

// New makes a membership that owns nothing yet; Start starts it.
func New(opts Options) *Membership {
	m := &Membership{opts: opts, log: opts.Log, now: opts.Now, cancel: func() {}, done: make(chan struct{})}
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.opts.TTL <= 0 {
		m.opts.TTL = 5 * time.Second
	}
	m.table = newTable(m.now)
	m.members.Store(&[]persistence.Member{})
	return m
}

// Start starts the loops; once.
func (m *Membership) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
}

// Table is what the node owns.
func (m *Membership) Table() *Table { return m.table }

// Members are the live members as read last, this node included.
func (m *Membership) Members() []persistence.Member { return *m.members.Load() }

// ID is the present incarnation, "" while there is none.
func (m *Membership) ID() persistence.MemberID { return m.table.member() }

// Losses counts the incarnations that ended without Stop.
func (m *Membership) Losses() int64 { return m.losses.Load() }

// Stop ends a started membership in order: nothing runs any more (Fenced was called), the row is gone and the shards are free.
func (m *Membership) Stop() {
	m.cancel()
	<-m.done
}

// part is the time within which one statement must be answered.
func (m *Membership) part() time.Duration { return m.opts.TTL / 5 }

func (m *Membership) run(ctx context.Context) {
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		began := m.now()
		err := m.incarnation(ctx)
		if ctx.Err() != nil {
			return
		}
		if m.now().Sub(began) > m.opts.TTL {
			pause = 50 * time.Millisecond
		}
		m.log.Warn("not a member of the cluster, trying again", "error", err, "retry_after", pause.String())
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// incarnation is one life: from join to loss or stop.
func (m *Membership) incarnation(ctx context.Context) error {
	if err := m.buryPredecessors(ctx); err != nil {
		return err
	}
	member := m.opts.Member
	member.ID, member.Proc = m.opts.NewID(), Process()
	sent := m.now()
	err := m.ask(ctx, func(ctx context.Context) error { return m.opts.Leases.Join(ctx, member) })
	if err != nil {
		m.leave(member.ID) // the row may be there although no answer came
		return err
	}
	m.table.join(member.ID, sent.Add(m.opts.TTL*4/5))
	m.log.Info("joined", "member", member.ID, "ttl", m.opts.TTL.String())

	ctx, end := context.WithCancelCause(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { end(m.beat(ctx, member.ID)) })
	loops.Go(func() { end(m.watchDeadline(ctx)) })
	loops.Go(func() {
		<-ctx.Done()
		m.table.leave() // nothing is written, consumed or published from here on
		m.opts.Cut()
	})
	end(m.watch(ctx, member.ID))
	loops.Wait()
	m.opts.Fenced()
	cause := context.Cause(ctx)
	if !errors.Is(cause, context.Canceled) {
		m.losses.Add(1)
	}
	m.leave(member.ID)
	return cause
}

// ask does one statement within its part of the TTL.
func (m *Membership) ask(ctx context.Context, statement func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.part())
	defer cancel()
	return statement(ctx)
}

// leave deletes a row of this node; if that fails the others bury it.
func (m *Membership) leave(id persistence.MemberID) {
	err := m.ask(context.Background(), func(ctx context.Context) error { return m.opts.Leases.Leave(ctx, id) })
	if err != nil {
		m.log.Info("could not leave, the others will notice", "member", id, "error", err)
	}
}

// beat is rule 1: the deadline moves with each beat that the database has taken, counted from before it was sent.
func (m *Membership) beat(ctx context.Context, id persistence.MemberID) error {
	ticker := time.NewTicker(m.part())
	defer ticker.Stop()
	for {
		sent := m.now()
		var alive bool
		err := m.ask(ctx, func(ctx context.Context) (err error) { alive, err = m.opts.Leases.Beat(ctx, id); return err })
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			m.log.Warn("a beat failed", "member", id, "error", err, "left", m.table.deadline().Sub(m.now()).String())
		case !alive:
			return errors.Join(errLost, errors.New("buried by another member"))
		default:
			m.table.extend(sent.Add(m.opts.TTL * 4 / 5))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// watchDeadline is rule 2: past the deadline the incarnation is over, whatever the database thinks.
func (m *Membership) watchDeadline(ctx context.Context) error {
	for {
		left := m.table.deadline().Sub(m.now())
		if left <= 0 {
			return errors.Join(errLost, errors.New("no beat reached the database in time"))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(left):
		}
	}
}

// watchEvery is how often the members are read (rule 3).
const watchEvery = 250 * time.Millisecond

// watch reads members and shards, buries who is silent or dead, and claims what nobody owns.
func (m *Membership) watch(ctx context.Context, id persistence.MemberID) error {
	observer := Observer{TTL: m.opts.TTL}
	changes := m.opts.Leases.Changes(ctx)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		err := m.look(ctx, id, &observer)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errLost):
			return err
		case err != nil:
			m.log.Warn("the cluster's state could not be read", "member", id, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-changes:
			if !open {
				changes = nil
			}
		case <-ticker.C:
		}
	}
}

func (m *Membership) look(ctx context.Context, id persistence.MemberID, observer *Observer) error {
	var members []persistence.Member
	var session int64
	err := m.ask(ctx, func(ctx context.Context) (err error) { members, session, err = m.opts.Leases.Members(ctx); return err })
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(other persistence.Member) bool { return other.ID == id }) {
		return errors.Join(errLost, errors.New("the member's row is gone"))
	}
	m.members.Store(&members)
	for _, s := range observer.Observe(id, members, session, m.now()) {
		m.bury(ctx, s.ID, s.Beat, false)
	}
	for _, other := range members {
		if other.ID != id && m.certainlyDead(other) {
			m.bury(ctx, other.ID, other.Beat, true)
		}
	}
	return m.settle(ctx, id)
}

func (m *Membership) certainlyDead(other persistence.Member) bool {
	return m.opts.Exclusive || Dead(other.Proc, other.Address)
}

func (m *Membership) bury(ctx context.Context, id persistence.MemberID, beat int64, proof bool) {
	var buried bool
	err := m.ask(ctx, func(ctx context.Context) (err error) {
		buried, err = m.opts.Leases.Bury(ctx, id, beat, proof)
		return err
	})
	switch {
	case err != nil:
		m.log.Warn("a member could not be buried", "buried", id, "error", err)
	case buried:
		m.log.Info("buried a member", "buried", id, "proof", proof)
	}
}

// buryPredecessors removes members that are certainly dead before this node joins, so that their shards are free at once.
func (m *Membership) buryPredecessors(ctx context.Context) error {
	var members []persistence.Member
	err := m.ask(ctx, func(ctx context.Context) (err error) { members, _, err = m.opts.Leases.Members(ctx); return err })
	if err != nil {
		return err
	}
	for _, other := range members {
		if m.certainlyDead(other) {
			m.bury(ctx, other.ID, other.Beat, true)
		}
	}
	return nil
}

// settle makes the table agree with the database: what was taken away is dropped, what nobody owns is claimed.
func (m *Membership) settle(ctx context.Context, id persistence.MemberID) error {
	var leases []persistence.Lease
	err := m.ask(ctx, func(ctx context.Context) (err error) { leases, err = m.opts.Leases.Shards(ctx); return err })
	if err != nil {
		return err
	}
	var gone, free []persistence.ShardRef
	var claimed []persistence.Lease
	for _, l := range leases {
		epoch, mine := m.table.epoch(l.Shard)
		if mine && (l.Owner != id || l.Epoch != epoch) {
			gone = append(gone, l.Shard)
			mine = false
		}
		switch {
		case l.Shard.Number >= m.opts.Kinds[l.Shard.Kind]:
		case l.Owner == id && !mine: // a claim whose answer was lost
			claimed = append(claimed, l)
		case l.Owner == "":
			free = append(free, l.Shard)
		}
	}
	if len(gone) > 0 {
		m.log.Warn("shards were taken away", "shards", len(gone))
		m.table.drop(gone)
		m.opts.Dropped(gone)
	}
	if len(free) > 0 && m.table.Valid() {
		var taken []persistence.Lease
		err = m.ask(ctx, func(ctx context.Context) (err error) { taken, err = m.opts.Leases.Claim(ctx, id, free); return err })
		claimed = append(claimed, taken...)
	}
	if len(claimed) > 0 && ctx.Err() == nil {
		m.table.own(claimed)
		m.log.Info("claimed shards", "shards", len(claimed))
		m.opts.Claimed(claimed)
	}
	return err
}
