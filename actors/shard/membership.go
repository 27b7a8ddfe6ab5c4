package shard

import (
	"context"
	"errors"
	"log/slog"
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
	// Spare is the instance id that this node takes when a live member already has Member.Instance (decision O8); "": it
	// keeps its own.
	Spare string
	// NewID makes the id of an incarnation; it must never repeat.
	NewID func() persistence.MemberID
	// TTL is the lifetime of a lease without beat, 3 s to 60 s; default 5 s. Longer rides out longer database outages and
	// makes fail-over slower where a death cannot be proved.
	TTL time.Duration
	// Exclusive says that no other process can use the store (the embedded one, locked): every other member is a
	// predecessor that is gone.
	Exclusive bool
	// Probe, if set, asks another member whether it is there, on the way that commands take, and reports whether an answer
	// came before ctx ended; nil: there can be no other.
	Probe func(ctx context.Context, to persistence.Member) bool
	// Lock, if set, is the hold of the data folder on a local disk: it proves the death of the member that it names.
	Lock Lock
	// Joined, if set, is told under which instance id an incarnation has joined, before anything is claimed.
	Joined func(instance string)
	// Claimed is told of shards that are owned from now on; it must not block.
	Claimed func([]persistence.Lease)
	// Dropped is told of shards that the node owns no more while its incarnation goes on, and reports whether nothing of them
	// runs any more: appends are answered, dials cancelled, sockets closed (rule 7). orderly: nobody has taken the shards yet,
	// so that clients may say goodbye to their brokers; then it is called again until it reports true. It is called from several
	// goroutines.
	Dropped func(refs []persistence.ShardRef, orderly bool) bool
	// Cut closes every socket of a client at once; it is called the moment the incarnation ends and must not wait for anything
	// but that.
	Cut func()
	// Fenced is told that the incarnation is over, after Cut; when it returns nothing runs on this node.
	Fenced func()
	// Seen, if set, is told of each new view and the one before it; it must not block.
	Seen func(before, after *View)
	Log  *slog.Logger     // nil: slog.Default
	Now  func() time.Time // nil: time.Now; must carry a monotonic clock
}

// Membership keeps the node's incarnation: it joins, beats, watches the others, claims what nobody owns, and when the
// lease is lost it fences the node and joins again as a new member (design.md 3.1). It never gives up; Stop ends it.
type Membership struct {
	opts  Options
	table *Table
	log   *slog.Logger
	now   func() time.Time

	cancel context.CancelFunc
	done   chan struct{}
	seen   atomic.Pointer[View]
	losses atomic.Int64
	drain  chan struct{} // closed by Drain
	hint   chan struct{} // by Look; of capacity 1
	once   sync.Once
	// The rest belongs to run.
	spare bool                   // the instance id is Spare, for good
	stale []persistence.MemberID // incarnations that are over whose rows may still be there
}

// errLost ends an incarnation.
var errLost = errors.New("shard: the lease is lost")

// New makes a membership that owns nothing yet; Start starts it.
func New(opts Options) *Membership {
	m := &Membership{opts: opts, log: opts.Log, now: opts.Now, cancel: func() {}, done: make(chan struct{}), drain: make(chan struct{}), hint: make(chan struct{}, 1)}
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
	m.seen.Store(&View{})
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

// View is the cluster as read last, at most 250 ms ago while the database answers.
func (m *Membership) View() *View { return m.seen.Load() }

// ID is the present incarnation, "" while there is none.
func (m *Membership) ID() persistence.MemberID { return m.table.member() }

// Losses counts the incarnations that ended without Stop.
func (m *Membership) Losses() int64 { return m.losses.Load() }

// Look has the cluster's state read soon instead of at the next turn: the way to another node has ended, which proves nothing
// (rule 4) but is what a death looks like.
func (m *Membership) Look() {
	select {
	case m.hint <- struct{}{}:
	default:
	}
}

// Drain hands all shards over, each as soon as nothing of it runs any more, and returns when none is left or ctx ends.
func (m *Membership) Drain(ctx context.Context) {
	m.once.Do(func() { close(m.drain) })
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !m.table.empty() {
		select {
		case <-ctx.Done():
			return
		case <-m.done:
			return
		case <-ticker.C:
		}
	}
}

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
	if err := m.leaveStale(ctx); err != nil {
		return err
	}
	if err := m.buryPredecessor(ctx); err != nil {
		return err
	}
	if err := m.buryPredecessors(ctx); err != nil {
		return err
	}
	member := m.opts.Member
	instance, silent, err := m.instance(ctx)
	if err != nil {
		return err
	}
	member.ID, member.Proc, member.Instance = m.opts.NewID(), Process(), instance
	m.nameIn(member.ID)
	sent := m.now()
	err = m.ask(ctx, func(ctx context.Context) error { return m.opts.Leases.Join(ctx, member) })
	if err == nil {
		err = m.alone(ctx, member, silent)
	}
	if err != nil {
		m.leave(member.ID) // the row may be there although no answer came
		return err
	}
	m.table.join(member.ID, sent.Add(m.opts.TTL*4/5))
	m.log.Info("joined", "member", member.ID, "ttl", m.opts.TTL.String())
	if m.opts.Joined != nil {
		m.opts.Joined(member.Instance)
	}

	ctx, end := context.WithCancelCause(ctx)
	var loops sync.WaitGroup
	prober := m.newProber(member.ID)
	loops.Go(func() { prober.run(ctx) })
	loops.Go(func() { end(m.beat(ctx, prober)) })
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

// leave deletes a row of this node; if that fails the others bury it, or the next incarnation.
func (m *Membership) leave(id persistence.MemberID) {
	err := m.ask(context.Background(), func(ctx context.Context) error { return m.opts.Leases.Leave(ctx, id) })
	if err != nil {
		m.stale = append(m.stale, id)
		m.log.Info("could not leave, the others will notice", "member", id, "error", err)
	}
}

// leaveStale deletes the rows of incarnations that could not leave: nothing of them runs, so their shards need not wait
// until somebody has watched them for a TTL.
func (m *Membership) leaveStale(ctx context.Context) error {
	for len(m.stale) > 0 {
		id := m.stale[0]
		if err := m.ask(ctx, func(ctx context.Context) error { return m.opts.Leases.Leave(ctx, id) }); err != nil {
			return err
		}
		m.stale = m.stale[1:]
	}
	return nil
}

// beat is rule 1: the deadline moves with each beat that the database has taken, counted from before it was sent.
// With it goes whom the member cannot reach, at once when that changes.
func (m *Membership) beat(ctx context.Context, p *prober) error {
	ticker := time.NewTicker(m.part())
	defer ticker.Stop()
	for {
		sent := m.now()
		var alive bool
		err := m.ask(ctx, func(ctx context.Context) (err error) {
			alive, err = m.opts.Leases.Beat(ctx, p.id, p.missing())
			return err
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			m.log.Warn("a beat failed", "member", p.id, "error", err, "left", m.table.deadline().Sub(m.now()).String())
		case !alive:
			return errors.Join(errLost, errors.New("buried by another member"))
		default:
			m.table.extend(sent.Add(m.opts.TTL * 4 / 5))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.changed:
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

// watchEvery is how often the members are read (rule 3), at least. A look that was asked for comes hintAfter later: by then a process whose
// sockets the kernel has closed is one that /proc calls dead, and many hints are one.
const (
	watchEvery = 250 * time.Millisecond
	hintAfter  = 20 * time.Millisecond
)

// watch reads members and shards, buries who is silent or dead, hands over and claims.
func (m *Membership) watch(ctx context.Context, id persistence.MemberID) error {
	w := watcher{Membership: m, id: id, observer: Observer{TTL: m.opts.TTL}, since: m.now(), strange: map[persistence.ShardRef]stranger{}, released: map[persistence.ShardRef]*handover{}}
	defer w.handovers.Wait()
	changes := m.opts.Leases.Changes(ctx)
	timer := time.NewTimer(watchEvery)
	defer timer.Stop()
	drain, told := m.drain, false
	for {
		if m.draining() && !told { // as long as the others do not know, they do not take what this node gives back
			told = m.tellDraining(ctx, id)
		}
		err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errLost):
			return err
		case err != nil:
			m.log.Warn("the cluster's state could not be read", "member", id, "error", err)
		}
		pause := watchEvery
		if next := w.observer.Next(m.now()); next > 0 {
			pause = min(pause, next) // no later than need be
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-changes:
			if !open {
				changes = nil
			}
		case <-drain:
			drain = nil
		case <-m.hint:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(hintAfter):
			}
		case <-timer.C:
		}
	}
}

// draining reports whether Drain was called.
func (m *Membership) draining() bool {
	select {
	case <-m.drain:
		return true
	default:
		return false
	}
}

// tellDraining says with the member's row that this node leaves; false: try again.
func (m *Membership) tellDraining(ctx context.Context, id persistence.MemberID) bool {
	err := m.ask(ctx, func(ctx context.Context) error { return m.opts.Leases.SetDraining(ctx, id) })
	if err != nil && ctx.Err() == nil {
		m.log.Warn("the others could not be told that this node leaves", "member", id, "error", err)
	}
	return err == nil
}

func (m *Membership) certainlyDead(other persistence.Member) bool {
	return m.opts.Exclusive || Dead(other.Proc, other.Address)
}

// buryDead buries the members whose death is proved (rule 4), never me.
func (m *Membership) buryDead(ctx context.Context, me persistence.MemberID, members []persistence.Member) {
	for _, other := range members {
		if other.ID != me && m.certainlyDead(other) {
			_ = m.bury(ctx, other.ID, other.Beat, true) // it was logged; the next look tries again
		}
	}
}

func (m *Membership) bury(ctx context.Context, id persistence.MemberID, beat int64, proof bool) error {
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
	return err
}

// buryPredecessors removes members that are certainly dead before this node joins, so that their shards are free at once.
func (m *Membership) buryPredecessors(ctx context.Context) error {
	var members []persistence.Member
	err := m.ask(ctx, func(ctx context.Context) (err error) { members, _, err = m.opts.Leases.Members(ctx); return err })
	if err != nil {
		return err
	}
	m.buryDead(ctx, "", members)
	return nil
}
