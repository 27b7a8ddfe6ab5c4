package migration

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// Options of a Runner. Store, Ring and Lease are required.
type Options struct {
	Store persistence.Migrations
	// Ring is the node's keyring of the moment (encryption.Keys.Ring).
	Ring func() *encryption.Keyring
	// Fingerprints asks all live members for the Fingerprint of their ring, by instance (decision D29). Members that do not
	// answer are an error. nil: there is one node.
	Fingerprints func(context.Context) (map[string]string, error)
	// Lease is the node's ownership of the singleton, false when it may not act on it any more. Everything that is written is
	// written under it.
	Lease func() (persistence.Lease, bool)
	// LiveShare is the part of its time, in percent, that a migration works while connections are written, default 5.
	LiveShare int
	// BatchSize is the number of documents per transaction, default 100 (decision D27).
	BatchSize int
	// PerMinute is the largest number of documents per minute and phase; 0: no throttle.
	PerMinute int
	Now       func() time.Time
	Log       *slog.Logger
}

// Runner is the singleton encryptionMigration on one node: between Start and Stop it owns the migration of the cluster,
// otherwise it answers nothing. Safe for concurrent use.
type Runner struct {
	opts Options

	mu     sync.Mutex
	active *activation // nil: not the owner
}

// New makes a runner that owns nothing yet.
func New(o Options) *Runner {
	if o.LiveShare <= 0 {
		o.LiveShare = 5
	}
	if o.BatchSize <= 0 {
		o.BatchSize = 100
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Runner{opts: o}
}

// Start takes the migration over: the singleton's shard was claimed. One that was running elsewhere goes on by itself
// (decision D24). It returns at once; a second call does nothing.
func (r *Runner) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &activation{
		opts: r.opts, ctx: ctx, cancel: cancel, loaded: make(chan struct{}), turn: make(chan struct{}, 1), answers: map[string]answer{},
	}
	r.active = a
	a.work.Go(a.load)
}

// Stop gives the migration away and returns when nothing of it runs any more: a batch under way is rolled back unless its
// commit has begun. A migration that was running goes on with the next Start, here or elsewhere.
func (r *Runner) Stop() {
	r.mu.Lock()
	a := r.active
	r.active = nil
	r.mu.Unlock()
	if a == nil {
		return
	}
	a.mu.Lock()
	a.over = true // nothing is launched any more
	a.mu.Unlock()
	a.cancel()
	a.work.Wait()
}

// Ask answers the three commands of the migration (encryption.md 6). The error is messages.ErrNoLease when this node does not
// own it, messages.ErrNotTaken for another command, or that of ctx.
func (r *Runner) Ask(ctx context.Context, c messages.Command) (messages.Reply, error) {
	r.mu.Lock()
	a := r.active
	r.mu.Unlock()
	if a == nil {
		return messages.Reply{}, messages.ErrNoLease
	}
	return a.ask(ctx, c)
}

// activation is one ownership, from Start to Stop.
type activation struct {
	opts   Options
	ctx    context.Context // ends with the ownership
	cancel context.CancelFunc
	work   sync.WaitGroup
	loaded chan struct{} // closed when the stored progress was looked at
	turn   chan struct{} // holds a token while a command is executed that changes something

	mu      sync.Mutex
	over    bool              // Stop was called
	run     *run              // the last one; it may have ended
	answers map[string]answer // by request id (decision D7)
}

// load looks whether a migration was left running, and goes on with it if mode and keys are the same.
func (a *activation) load() {
	defer close(a.loaded)
	var p Progress
	if !insist(a.ctx, a.opts.Log, "the stored progress of the encryption migration could not be read", func(ctx context.Context) (err error) {
		p, err = load(ctx, a.opts.Store)
		if errors.Is(err, errDocument) { // for good: a new start overwrites it
			a.opts.Log.Error("the encryption migration does not know how far it was", "error", err)
			return nil
		}
		return err
	}) {
		return
	}
	if p.State != Running || !p.Resumable() {
		return
	}
	ring := a.opts.Ring()
	if keys, err := keysOf(ring); err == nil && keys == p.Keys {
		a.opts.Log.Info("an encryption migration was left running and goes on", "phase", string(p.Phase), "started_at", p.StartedAt)
		a.launch(ring, p)
		return
	}
	a.opts.Log.Warn("an encryption migration was left running, but this node has other keys: it is aborted", "phase", string(p.Phase), "keys", ring)
	insist(a.ctx, a.opts.Log, "the abort of the encryption migration could not be saved", func(ctx context.Context) error {
		return store(ctx, a.opts, p.Abort("", a.opts.Now()))
	})
}

// launch starts a run; false: the ownership is over. Whoever calls has the turn, or is load.
func (a *activation) launch(ring *encryption.Keyring, p Progress) bool {
	x := newRun(a.opts, ring, p)
	return a.spawn(func() { x.execute(a.ctx) }, func() { a.run = x })
}

// spawn runs a goroutine that belongs to this ownership, after noting it under the lock; false: the ownership is over.
func (a *activation) spawn(work, note func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	note()
	a.work.Go(work)
	return true
}

// settle finds out whether a start that the store did not confirm is there after all. Then it counts: another node would go
// on with it, too.
func (a *activation) settle(ring *encryption.Keyring, p Progress) {
	var stored Progress
	look := func() bool {
		return insist(a.ctx, a.opts.Log, "it is not known whether an encryption migration was started", func(ctx context.Context) (err error) {
			stored, err = load(ctx, a.opts.Store)
			return err
		})
	}
	if !look() || !stored.same(p) {
		return
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-a.ctx.Done():
		return
	}
	if _, running := a.last(); !running && look() && stored.same(p) { // nobody has started another one meanwhile
		a.launch(ring, p)
	}
}

// last is the last run of this ownership, and whether it still runs; nil: there was none.
func (a *activation) last() (x *run, running bool) {
	a.mu.Lock()
	x = a.run
	a.mu.Unlock()
	if x == nil {
		return nil, false
	}
	select {
	case <-x.done:
		return x, false
	default:
		return x, true
	}
}
