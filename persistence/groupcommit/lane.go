package groupcommit

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"time"

	"hawser/persistence"
)

// Bounds of a lane (design.md 5).
const (
	MaxRows     = 256     // writes in a batch
	MaxBytes    = 1 << 20 // bytes of JSON in a batch; a larger write is a batch of its own
	queueBound  = 1024    // writes waiting for a batch; more callers wait at the door with their own deadline
	rowOverhead = 200     // bytes of a row beside its JSON, roughly
)

// Committer makes batches durable.
type Committer interface {
	// Commit writes the batch and settles each of its writes exactly once, before it returns. It is called by the lane's
	// goroutine only, never twice at a time, and may keep nothing of the slice.
	Commit(batch []*Write)
}

// CommitterFunc is a function that is a Committer.
type CommitterFunc func(batch []*Write)

// Commit calls f.
func (f CommitterFunc) Commit(batch []*Write) { f(batch) }

// Lane is one stream of batches. Its goroutine starts with New and ends with Close.
type Lane struct {
	committer Committer
	peers     *Peers
	queue     chan *Write
	turn      chan struct{} // holds one token: who has it may use the store's session of this lane
	closing   chan struct{}
	ended     chan struct{}
	once      sync.Once

	// The batch in the making; the lane's goroutine only.
	batch []*Write
	bytes int
	last  int                 // how many writes were in the batch before
	held  []*Write            // taken from the queue, but not fit for the present batch
	seen  map[string]struct{} // entities in batch or held
}

// New starts a lane without peers.
func New(c Committer) *Lane { return new(Peers).New(c) }

// New starts a lane among peers.
func (p *Peers) New(c Committer) *Lane {
	l := &Lane{
		committer: c,
		peers:     p,
		queue:     make(chan *Write, queueBound),
		turn:      make(chan struct{}, 1),
		closing:   make(chan struct{}),
		ended:     make(chan struct{}),
		batch:     make([]*Write, 0, MaxRows),
		seen:      make(map[string]struct{}, MaxRows),
	}
	l.turn <- struct{}{}
	go l.run()
	return l
}

// Do queues a write and waits for its outcome. If ctx ends first the answer is ErrUnavailable while the write still waited
// (it will never be sent) and ErrUnknownOutcome afterwards.
func (l *Lane) Do(ctx context.Context, w *Write) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	select {
	case <-l.closing:
		return unavailable(nil)
	default:
	}
	select {
	case l.queue <- w:
	case <-ctx.Done():
		return unavailable(ctx.Err())
	case <-l.closing:
		return unavailable(nil)
	}
	return w.wait(ctx, l.ended)
}

// Refuse settles everything that waits in the queue with err. A Committer that cannot reach its store calls it, so that
// callers need not wait for a session that does not come.
func (l *Lane) Refuse(err error) {
	for _, w := range l.held {
		if w.take() {
			w.Settle(err)
		}
	}
	l.held = l.held[:0]
	for {
		select {
		case w := <-l.queue:
			if w.take() {
				w.Settle(err)
			}
		default:
			return
		}
	}
}

// Pause waits until no batch is under way and keeps the lane still until resume is called. What is written under a lease
// before Pause returned is decided by then, so the lease may be given back.
func (l *Lane) Pause(ctx context.Context) (resume func(), err error) {
	select {
	case <-l.turn:
		return func() { l.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Closing is closed when the lane has been told to end: a Committer that waits for its store gives up.
func (l *Lane) Closing() <-chan struct{} { return l.closing }

// Ended is closed when the lane's goroutine has ended.
func (l *Lane) Ended() <-chan struct{} { return l.ended }

// Close refuses what waits, lets the batch under way end and returns when the goroutine has ended or ctx has.
func (l *Lane) Close(ctx context.Context) error {
	l.once.Do(func() { close(l.closing) })
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Lane) run() {
	defer close(l.ended)
	for l.gather() {
		l.hold()
		<-l.turn
		l.last = len(l.batch)
		commit := l.peers.begin(l.last)
		l.committer.Commit(l.batch)
		l.peers.end(commit)
		l.turn <- struct{}{}
		// Who was just settled may have the next write ready: let it queue first, fewer and larger batches serve all.
		runtime.Gosched()
	}
	l.Refuse(unavailable(nil))
}

// gather blocks for a first write and fills the batch with what has queued meanwhile. It returns false when the lane ends.
func (l *Lane) gather() bool {
	select {
	case <-l.closing: // before anything is taken: it would have to be committed
		return false
	default:
	}
	clear(l.batch)
	clear(l.seen)
	l.batch, l.bytes = l.batch[:0], 0
	held := l.held
	l.held = nil
	for _, w := range held {
		l.admit(w)
	}
	for len(l.batch) == 0 {
		select {
		case <-l.closing:
			return false
		case w := <-l.queue:
			l.admit(w)
		}
	}
	l.fill()
	return true
}

// fill takes what has queued meanwhile.
func (l *Lane) fill() {
	for l.room() {
		select {
		case w := <-l.queue:
			l.admit(w)
		default:
			return
		}
	}
}

// hold waits for the end of a peer's batch if that is better for all (Peers).
func (l *Lane) hold() {
	if !l.room() || max(len(l.batch), l.last) >= enoughRows {
		return
	}
	busy := l.peers.busy()
	if busy == nil {
		return
	}
	longest := time.NewTimer(cmp.Or(l.peers.longest, longestHold))
	defer longest.Stop()
	select {
	case <-busy.ended:
	case <-longest.C:
	case <-l.closing:
		return
	}
	l.fill()
}

// room reports whether the batch in the making may take another write.
func (l *Lane) room() bool {
	return len(l.batch) < MaxRows && l.bytes < MaxBytes && len(l.held) < MaxRows
}

// admit puts a write into the batch, or holds it back for the next one.
func (l *Lane) admit(w *Write) {
	if w.state.Load() == withdrawn {
		return
	}
	if !l.fits(w) {
		l.seen[w.PID()] = struct{}{} // later writes of this entity wait behind it
		l.held = append(l.held, w)
		return
	}
	if !w.take() {
		return
	}
	l.seen[w.PID()] = struct{}{}
	l.batch = append(l.batch, w)
	l.bytes += w.size
}

func (l *Lane) fits(w *Write) bool {
	if len(l.batch) == 0 {
		_, waits := l.seen[w.PID()]
		return !waits
	}
	first := l.batch[0]
	if len(l.batch) == MaxRows || l.bytes+w.size > MaxBytes || w.alone != first.alone ||
		w.Lease.Owner != first.Lease.Owner || w.Lease.Shard.Kind != first.Lease.Shard.Kind {
		return false
	}
	_, waits := l.seen[w.PID()]
	return !waits
}

// Isolate commits a batch of which the store may refuse the whole for the data of one row: a batch that write refuses is
// halved until the bad row stands alone, and only that row is settled with the refusal. write settles the writes it was
// given and returns nil, or it writes and settles nothing and returns the refusal.
func Isolate(batch []*Write, write func([]*Write) (refused error)) {
	refused := write(batch)
	switch {
	case refused == nil:
	case len(batch) == 1:
		batch[0].Settle(refused)
	default:
		half := len(batch) / 2
		Isolate(batch[:half], write)
		Isolate(batch[half:], write)
	}
}

// Check refuses an append whose parts do not belong together: the gap check reads the entity's last sequence number from
// the index row, which is right only as long as each event moves it (design.md 5).
func Check(a *persistence.Append) error {
	switch {
	case a.Event.SeqNr < 1:
		return &persistence.RejectedError{Reason: "the sequence number is below 1"}
	case a.Event.PID != PIDPrefix+a.Index.ID:
		return &persistence.RejectedError{Reason: "event and index row belong to different entities"}
	case a.Lease.Shard.Number != a.Index.Shard:
		return &persistence.RejectedError{Reason: "lease and index row name different shards"}
	case a.Event.SeqNr != a.Index.Revision:
		return &persistence.RejectedError{Reason: "sequence number and index revision differ"}
	case a.Snapshot != nil && (a.Snapshot.PID != a.Event.PID || a.Snapshot.SeqNr != a.Event.SeqNr):
		return &persistence.RejectedError{Reason: "event and snapshot belong to different states"}
	}
	return nil
}

// PIDPrefix stands before a connection id in its persistence id (operations.md 1.1).
const PIDPrefix = "connection:"
