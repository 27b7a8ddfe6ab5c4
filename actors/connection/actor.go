package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/persistence"
)

// ErrStopping is the answer to a request that the entity did not finish because it leaves this place (handover, drain,
// passivation). Ask again with the same request id: what was executed is not executed twice (decision D7).
var ErrStopping = errors.New("connection: entity is stopping")

// Request is a command for the entity. Reply is called exactly once, from any goroutine, and must not block; its error is
// nil or ErrStopping. Command.ConnectionID is the entity's.
type Request struct {
	Command messages.Command
	Reply   func(messages.Reply, error)
}

// Leave makes the entity disconnect its clients in an orderly way, with announcements, and then stop itself. A plain stop
// of the actor drops the clients' sockets at once. Either way the actor is stopped only when no socket of it is left.
type Leave struct{}

// Clients makes broker clients.
type Clients interface {
	// Start makes running client number index of an open connection; it must not block. It connects when Open is called.
	Start(conn *messages.Connection, index int) Client
	// Test opens a throw-away client and says how that went; a *messages.Error passes to the caller unchanged.
	Test(ctx context.Context, conn *messages.Connection) error
}

// Client is the running client of a connection, with all its resources.
type Client interface {
	// Open waits until the connect succeeded or one attempt failed; the client goes on trying. At once when connected.
	Open(ctx context.Context) error
	// Moving says, before Close or Stop, that the connection stays open: what waits for this client waits for the next one,
	// here or at another node (decision O13). Without it what waits is refused.
	Moving()
	// Close disconnects in an orderly way and returns when that is done.
	Close(ctx context.Context) error
	// Stop ends the client at once and returns when no socket of it is left. Idempotent.
	Stop()
	// Status lists clients, sources, targets and tunnels; it never blocks.
	Status() []messages.ResourceStatus
	// Connected reports whether the link is up.
	Connected() bool
}

// Deps is what the entities of a node share. Store, Clients, Monitor and Lease are required.
type Deps struct {
	Store   persistence.Journal
	Clients Clients
	Monitor *monitor.Registry
	// Lease returns the ownership under which the entity of id may write now; false: this node does not own its shard.
	Lease func(id string) (persistence.Lease, bool)
	Rules Rules
	Codec Codec
	// Interest renders what the targets of an open connection subscribe to, for the index (design.md 6.1); nil: nothing.
	Interest func(*messages.Connection) json.RawMessage
	// ResolveHono derives the Kafka connection of a hono connection; nil: such a request is answered 404.
	ResolveHono func(*messages.Connection) (*messages.Connection, error)
	// Instance is the instance id in status answers.
	Instance string
	// Further reaches the clients beside the first of connections with clientCount > 1; nil: there is no other node.
	Further Further
	Log     *slog.Logger // nil: slog.Default
	Metrics *Metrics     // nil: not counted
	Timings Timings
	Now     func() time.Time // nil: time.Now
}

func (d *Deps) clock() func() time.Time {
	if d.Now == nil {
		return time.Now
	}
	return d.Now
}

func (d *Deps) logger() *slog.Logger {
	if d.Log == nil {
		return slog.Default()
	}
	return d.Log
}

// Timings are the durations of piggyback.md 5.4; zero fields take the defaults named here.
type Timings struct {
	Append             time.Duration // a journal write or read, 5s
	LocalAsk           time.Duration // connection.supervisor.local-ask.timeout, 50s
	ClientAsk          time.Duration // connection.client-actor-ask-timeout, 55s
	SnapshotInterval   time.Duration // connection.snapshot.interval, 15m
	InactiveInterval   time.Duration // connection.activity-check.inactive-interval, 45m
	DeletedInterval    time.Duration // connection.activity-check.deleted-interval, 5m
	PriorityInterval   time.Duration // connection.priority-update-interval, 24h ± 5 %
	LogCheckInterval   time.Duration // monitoring.logger.loggingActiveCheckInterval, 5m
	FirstLiveStatus    time.Duration // 10s after the entity started (decision D16)
	LiveStatusInterval time.Duration // persistence-ping.interval, 10m
	BackoffMin         time.Duration // connection.supervisor.exponential-backoff.min, 1s
	BackoffMax         time.Duration // ….max, 120s
	CorruptedTimeout   time.Duration // ….corrupted-receive-timeout, 600s
	LeaveTimeout       time.Duration // orderly disconnect of Leave, 8s
}

func (t Timings) withDefaults() Timings {
	for _, f := range []struct {
		d *time.Duration
		v time.Duration
	}{
		{&t.Append, 5 * time.Second}, {&t.LocalAsk, 50 * time.Second}, {&t.ClientAsk, 55 * time.Second},
		{&t.SnapshotInterval, 15 * time.Minute}, {&t.InactiveInterval, 45 * time.Minute}, {&t.DeletedInterval, 5 * time.Minute},
		{&t.PriorityInterval, 24 * time.Hour}, {&t.LogCheckInterval, 5 * time.Minute}, {&t.FirstLiveStatus, 10 * time.Second},
		{&t.LiveStatusInterval, 10 * time.Minute}, {&t.BackoffMin, time.Second}, {&t.BackoffMax, 120 * time.Second},
		{&t.CorruptedTimeout, 600 * time.Second}, {&t.LeaveTimeout, 8 * time.Second},
	} {
		if *f.d <= 0 {
			*f.d = f.v
		}
	}
	return t
}

// Props makes the actor of one connection id. pre is what a bulk recovery has read of it under the present lease, nil to
// let the entity read for itself; it must be fresh, and is used once.
func Props(d *Deps, id string, pre *persistence.Recovery) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		e := &entity{deps: d, id: id, pre: pre, now: d.clock(), log: d.logger(), timings: d.Timings.withDefaults()}
		pre = nil
		return e
	})
}

// mode is what the entity can do now.
type mode uint8

const (
	down      mode = iota // not recovered: everything is answered 503 until the backoff timer recovers it
	ready                 // recovered
	corrupted             // what is stored cannot be read: everything is answered 503, then the entity stops
	leaving               // disconnecting before it stops: nothing is accepted any more
	stopped
)

// entity is the shell around Decide and Evolve. All fields belong to the actor goroutine.
type entity struct {
	deps    *Deps
	id      string
	pre     *persistence.Recovery
	now     func() time.Time
	log     *slog.Logger
	timings Timings

	self   *actor.PID
	root   *actor.RootContext
	ctx    context.Context // ends when the entity stops or fails; nil until something waits (lifetime)
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines of waiting steps

	mode       mode
	generation int // grows with each recovery: what belongs to an older one is over
	failures   int // in a row, for the backoff
	failedAt   time.Time

	state        State
	client       Client    // nil unless it runs
	clients      int       // how many the connection may have in the whole cluster, since it was last closed
	draining     int       // runs that are disconnecting the client: no other may open meanwhile
	orphans      int       // clients left behind by a failure that are being stopped: likewise
	parked       []*run    // wait to open
	since        time.Time // when the clients were last stopped, else when the entity started
	logUntil     time.Time // logs were enabled while no client ran (piggyback.md 4.16)
	accessed     bool      // since the last activity check
	reported     bool      // the live status, since it is open (decision D16)
	cleaning     bool
	lastType     string // connection type, kept for a deleted connection
	checkedPhase Phase  // whose activity interval is running
	quit         bool   // stop the actor after this message

	starting bool          // next is running
	current  *run          // the one command in work that did not come by the direct route
	queue    []*run        // later ones, in order
	runs     map[*run]bool // unfinished runs, current included
	memory   requestMemory // decision D7
	timers   timers
}

// Internal messages.
type (
	// resumed says that the step a run waited for is over; apply runs on the actor goroutine, before the next step.
	resumed struct {
		run   *run
		err   error
		apply func()
	}
	// expired says that a run took longer than the local ask allows.
	expired struct{ run *run }
	// orphanStopped says that a client that a failure left behind has been stopped.
	orphanStopped struct{}
	// left says that Leave has disconnected the clients.
	left struct{}
	// tick says that a timer is due.
	tick struct{}
)

// maxQueue bounds the commands that wait for the one in work.
const maxQueue = 1000

// Receive implements actor.Actor. A panic ends what is in work, not the node.
func (e *entity) Receive(c actor.Context) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in the connection entity", "connection_id", e.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			e.fail(errors.New("panic"))
		}
		if e.quit {
			e.quit = false
			c.Stop(c.Self())
		}
	}()
	switch m := c.Message().(type) {
	case *actor.Started:
		e.self, e.root = c.Self(), c.ActorSystem().Root
		e.since = e.now()
		e.recover()
	case *actor.Restarting, *actor.Stopping:
		e.stop()
	case *Request:
		e.request(m)
	case resumed:
		e.resume(m)
	case expired:
		e.expire(m.run)
	case orphanStopped:
		e.orphans--
		e.unpark()
	case Leave, *Leave:
		e.leave()
	case left:
		e.quit = true
	case tick:
		e.tick()
	}
}

func (e *entity) send(message any) { e.root.Send(e.self, message) }

// request takes in a command: a repeated one joins the first, a direct one starts at once, others one after the other.
func (e *entity) request(m *Request) {
	switch e.mode {
	case down, corrupted:
		m.Reply(messages.ErrorReply(messages.NewConnectionUnavailable(e.id)), nil)
		return
	case leaving, stopped:
		m.Reply(messages.Reply{}, ErrStopping)
		return
	}
	e.accessed = true
	now := e.now()
	if repeated := e.memory.find(m.Command, now); repeated != nil {
		switch {
		case repeated.run != nil:
			repeated.run.replies = append(repeated.run.replies, m.Reply)
			return
		case repeated.event == nil:
			m.Reply(repeated.reply.reply(), nil)
			return
		}
	}
	direct := m.Command.Sudo()
	if !direct && len(e.queue) >= maxQueue {
		m.Reply(messages.ErrorReply(messages.NewConnectionUnavailable(e.id)), nil)
		return
	}
	r := &run{command: m.Command, replies: []func(messages.Reply, error){m.Reply}, generation: e.generation, serial: !direct}
	r.remembered = e.memory.start(r, now)
	if direct {
		e.deps.Metrics.sudo(m.Command.Type)
		e.start(r)
		return
	}
	e.runs[r] = true
	e.queue = append(e.queue, r)
	e.next()
}

// next starts queued commands, each once the one before it is answered.
func (e *entity) next() {
	if e.starting {
		return // the loop below is running
	}
	e.starting = true
	defer func() { e.starting = false }()
	for e.mode == ready && (e.current == nil || e.current.answered) {
		e.current = nil
		if len(e.queue) == 0 {
			return
		}
		r := e.queue[0]
		e.queue[0] = nil
		e.queue = e.queue[1:]
		e.current = r
		e.start(r)
	}
}

// expire gives up on a command that took too long; what it began goes on (piggyback.md 2.2).
func (e *entity) expire(r *run) {
	if r.generation != e.generation {
		return
	}
	e.answerError(r, messages.NewEnforcementTimeout(e.timings.LocalAsk))
	e.next()
}

// start decides on a command and runs its steps as far as they go.
func (e *entity) start(r *run) {
	e.runs[r] = true
	if r.remembered != nil && r.remembered.event != nil {
		r.effects = Repeat(e.state, *r.remembered.event)
		r.remembered.event = nil
	} else {
		r.effects = e.deps.Rules.Decide(e.state, r.command, e.now())
	}
	e.advance(r)
}

// begin runs steps that no command asked for.
func (e *entity) begin(effects []Effect) {
	if len(effects) == 0 {
		return
	}
	r := &run{effects: effects, answered: true, generation: e.generation}
	e.runs[r] = true
	e.advance(r)
}

func (e *entity) answerError(r *run, err *messages.Error) { e.answer(r, messages.ErrorReply(err)) }

// answer answers a run; only the first answer counts.
func (e *entity) answer(r *run, reply messages.Reply) {
	if r.answered {
		return
	}
	r.answered = true
	if reply.Headers == nil { // a past state brings its own
		reply.Headers = e.state.headers()
	}
	e.memory.done(r, reply, e.state, e.now())
	for _, f := range r.replies {
		f(reply, nil)
	}
	r.replies = nil
}

// finish forgets a run whose steps are all done.
func (e *entity) finish(r *run) {
	if r.timer != nil {
		r.timer.Stop()
	}
	delete(e.runs, r)
	e.schedule()
}

// recover reads the journal and makes the entity ready; if it cannot, the entity is down and tries again later.
func (e *entity) recover() {
	lease, ok := e.deps.Lease(e.id)
	if !ok { // given away since this entity was activated: who asks it asks again where the connection is now
		e.mode, e.quit = leaving, true
		return
	}
	began := e.now()
	state, recent, err := e.read()
	var unreadable *DecodeError
	switch {
	case errors.As(err, &unreadable):
		e.mode = corrupted
		e.deps.Metrics.unreadable()
		e.log.Error("the stored connection cannot be read, it is unavailable until it can", "connection_id", e.id, "seq_nr", unreadable.SeqNr, "error", unreadable.Cause)
		e.timers.set(timerCorrupted, e.now().Add(e.timings.CorruptedTimeout+rand.N(e.timings.CorruptedTimeout)))
		e.arm()
		return
	case err != nil:
		e.backOff(err)
		return
	}
	if now, still := e.deps.Lease(e.id); !still || now.Epoch != lease.Epoch { // reading may take long
		e.mode, e.quit = leaving, true
		return
	}
	e.generation++
	e.ctx, e.cancel = nil, nil
	e.mode, e.state = ready, state
	e.current, e.queue, e.parked, e.runs = nil, nil, nil, map[*run]bool{}
	e.cleaning, e.accessed, e.reported = false, false, false
	if state.Open() {
		e.clients = max(e.clients, state.Connection.ClientCount)
	}
	e.memory = newRequestMemory(recent)
	e.deps.Metrics.recovered(e.now().Sub(began))
	e.log.Debug("recovered", "connection_id", e.id, "seq_nr", state.Seq, "phase", state.Phase.String(), "shard", lease.Shard.Number, "epoch", lease.Epoch)
	e.timers.reset()
	e.begin(Recovered(e.state))
	e.schedule()
}

// Knowing is a journal that can say without asking the store that an entity was never written.
type Knowing interface{ Unwritten(pid string) bool }

// read rebuilds the state and the requests of the last two minutes.
func (e *entity) read() (State, []rememberedEvent, error) {
	pre := e.pre
	e.pre = nil
	if journal, ok := e.deps.Store.(Knowing); pre == nil && ok && journal.Unwritten(PID(e.id)) {
		return State{ID: e.id}, nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.timings.LocalAsk)
	defer cancel()
	if pre == nil {
		for r, err := range e.deps.Store.Recover(ctx, []string{PID(e.id)}) {
			if err != nil {
				return State{}, nil, err
			}
			pre = &r
		}
	}
	state, err := e.deps.Codec.recovered(e.id, pre)
	if err != nil || pre == nil {
		return State{ID: e.id}, nil, err
	}
	recent, err := e.recent(ctx, pre)
	return state, recent, err
}

// recent decodes the events that carry a request id and are young enough to be asked for again. Those before the snapshot
// are older than it, so the journal is asked only when the snapshot is young.
func (e *entity) recent(ctx context.Context, pre *persistence.Recovery) ([]rememberedEvent, error) {
	since := e.now().Add(-rememberFor)
	rows := pre.Events
	if pre.Snapshot != nil && pre.Snapshot.CreatedAt.After(since) {
		var err error
		if rows, err = e.deps.Store.RecentRequests(ctx, pre.PID, since); err != nil {
			return nil, err
		}
	}
	var out []rememberedEvent
	for _, row := range rows {
		if row.RequestID == "" || !row.CreatedAt.After(since) {
			continue
		}
		event, err := e.deps.Codec.event(row)
		if err != nil {
			return nil, &DecodeError{PID: row.PID, SeqNr: row.SeqNr, Cause: err}
		}
		out = append(out, rememberedEvent{requestID: row.RequestID, at: row.CreatedAt, event: event})
	}
	return out, nil
}

// fail ends everything in work, stops the clients and recovers after a backoff: the state in memory is no longer to be
// trusted (decision D17).
func (e *entity) fail(cause error) {
	if e.mode == stopped {
		return
	}
	e.release()
	e.backOff(cause)
}

// backOff puts the entity down until the next attempt to recover: 1 s doubling to 120 s, from the start again after twice
// the maximum without a failure.
func (e *entity) backOff(cause error) {
	now := e.now()
	if now.Sub(e.failedAt) > 2*e.timings.BackoffMax {
		e.failures = 0
	}
	e.failedAt = now
	delay := min(e.timings.BackoffMin<<min(e.failures, 16), e.timings.BackoffMax)
	e.failures++
	e.mode = down
	e.log.Warn("the connection entity is down", "connection_id", e.id, "error", cause, "retry_after", delay.String())
	e.timers.reset()
	e.timers.set(timerRecover, now.Add(delay+rand.N(delay)))
	e.arm()
}

// release gives up everything in work with 503 as the answer; the client is stopped in the background.
func (e *entity) release() {
	if e.cancel != nil {
		e.cancel()
	}
	for r := range e.runs {
		e.answerError(r, messages.NewConnectionUnavailable(e.id))
		if r.timer != nil {
			r.timer.Stop()
		}
	}
	e.runs, e.current, e.queue, e.parked = map[*run]bool{}, nil, nil, nil
	e.generation++
	e.draining = 0
	if c := e.client; c != nil {
		e.dropClient(c)
		e.orphans++
		e.tellMoving(c)
		e.work.Go(func() {
			c.Stop()
			e.send(orphanStopped{})
		})
	}
}

// stop is the end of the actor: it returns when no goroutine and no client of the entity is left.
func (e *entity) stop() {
	if e.mode == stopped && e.runs == nil {
		return
	}
	e.mode = stopped
	e.generation++
	client := e.client
	if e.cancel != nil {
		e.cancel()
	}
	e.timers.stop()
	for r := range e.runs {
		if r.timer != nil {
			r.timer.Stop()
		}
		if !r.answered {
			r.answered = true
			for _, f := range r.replies {
				f(messages.Reply{}, ErrStopping)
			}
		}
	}
	e.runs = nil
	if client != nil {
		e.tellMoving(client)
		client.Stop()
		e.dropClient(client)
	}
	e.work.Wait()
	e.deps.Metrics.forget(e.id)
}

// tellMoving tells a client that is about to end whether there will be another one: the event that ends it for good is
// applied before it is closed.
func (e *entity) tellMoving(c Client) {
	if e.state.Open() {
		c.Moving()
	}
}

// leave disconnects the clients in an orderly way, then stops the entity.
func (e *entity) leave() {
	if e.mode == leaving || e.mode == stopped {
		return
	}
	e.mode = leaving
	client := e.client
	if client == nil {
		e.send(left{})
		return
	}
	e.tellMoving(client)
	e.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e.timings.LeaveTimeout)
		defer cancel()
		if err := client.Close(ctx); err != nil {
			e.log.Warn("could not disconnect before leaving", "connection_id", e.id, "error", err)
		}
		e.send(left{})
	})
}
