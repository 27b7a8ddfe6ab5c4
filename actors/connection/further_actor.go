package connection

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/persistence"
)

// FurtherProps makes the actor of client number index > 0 of a connection. pre is as with Props.
func FurtherProps(d *Deps, id string, index int, pre *persistence.Recovery) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		f := &further{deps: d, id: id, index: index, pre: pre, now: d.clock(), log: d.logger().With("connection_id", id, "client", index), timings: d.Timings.withDefaults()}
		pre = nil
		f.backoff = f.timings.BackoffMin
		return f
	})
}

// further runs one further client: what the journal says of the connection, at the revision that it knows. It takes up newer
// ones when the entity tells it to, or when its node finds one in the index. All fields belong to the actor goroutine.
type further struct {
	deps    *Deps
	id      string
	index   int
	pre     *persistence.Recovery
	now     func() time.Time
	log     *slog.Logger
	timings Timings

	self   *actor.PID
	root   *actor.RootContext
	ctx    context.Context // ends when the actor stops
	cancel context.CancelFunc
	going  chan struct{} // closed when it leaves: what fails from then on was not refused by anybody
	work   sync.WaitGroup

	known   bool // state was read
	state   State
	backoff time.Duration        // until the journal is read again after it could not be
	retry   *time.Timer          // which is then; nil: not needed
	unread  int64                // the revision that could not be read
	idle    *time.Timer          // until the actor stops because it has nothing to run; nil: it has
	client  Client               // nil unless it runs
	running *messages.Connection // what it runs
	started int64                // the revision at which that was last found right
	ending  bool                 // the client is being closed; tasks wait
	queue   []*task
	leaves  bool
	quit    bool // stop the actor after this message
}

// task is a request with its answer.
type task struct {
	ClientRequest
	reply func(messages.Reply, error)
}

// nobody waits for the answer.
func nobody(messages.Reply, error) {}

// Internal messages of the actor.
type (
	// clientEnded says that the client was closed and stopped.
	clientEnded struct{}
	// readAgain says that it is time to read what could not be read.
	readAgain struct{}
	// idled says that there was nothing to run for a while.
	idled struct{}
)

// Receive implements actor.Actor. A panic ends the actor, not the node: it is started again when its node next looks at the
// index.
func (f *further) Receive(c actor.Context) {
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("panic in a further client", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			f.quit = true
		}
		if f.quit {
			f.quit = false
			c.Stop(c.Self())
		}
	}()
	switch m := c.Message().(type) {
	case *actor.Started:
		f.self, f.root = c.Self(), c.ActorSystem().Root
		f.ctx, f.cancel = context.WithCancel(context.Background())
		f.going = make(chan struct{})
		f.next(&task{ClientRequest: ClientRequest{Task: ClientSync}, reply: nobody})
	case *actor.Restarting, *actor.Stopping:
		f.stop()
	case *Request:
		f.request(m)
	case clientEnded:
		f.ended()
	case readAgain:
		f.retry = nil
		if !f.leaves {
			f.next(&task{ClientRequest: ClientRequest{Task: ClientSync, Revision: f.unread}, reply: nobody})
		}
	case idled:
		if f.idle = nil; f.client == nil {
			f.leaves, f.quit = true, true // until it is wanted again
		}
	case Leave, *Leave:
		f.leave()
	case left:
		f.quit = true
	}
}

// idleFor is how long an actor stays that has nothing to run: mail to one that stops is not answered, so whoever asks such a
// client must find one that stays.
const idleFor = time.Second

// maxTasks bounds the tasks that wait for a client to end.
const maxTasks = 100

func (f *further) request(m *Request) {
	request, err := ReadClientRequest(m.Command)
	t := &task{ClientRequest: request, reply: m.Reply}
	switch {
	case f.leaves:
		m.Reply(messages.Reply{}, ErrStopping)
	case err != nil:
		t.fail(messages.NewNotParsable(m.Command.Type))
	case f.answer(t):
	case f.ending && len(f.queue) >= maxTasks:
		t.fail(messages.NewConnectionUnavailable(f.id))
	default:
		f.next(t)
	}
}

func (t *task) fail(err *messages.Error) { t.reply(Report{Error: (*plainError)(err)}.Reply(), nil) }

// furtherAnswers are the tasks that need no journal: what they do to or report of a client that runs.
var furtherAnswers = map[ClientTask]func(f *further, r ClientRequest, report *Report){
	ClientStatus: func(f *further, _ ClientRequest, report *Report) {
		for _, s := range f.client.Status() {
			report.Status = append(report.Status, plainStatus(s))
		}
	},
	ClientMetrics: func(f *further, _ ClientRequest, report *Report) {
		m := plainMetrics(f.record().Metrics(f.now()))
		report.Metrics = &m
	},
	ClientLogs: func(f *further, _ ClientRequest, report *Report) {
		logs := f.record().Logs(f.now())
		report.Logs = &logs
	},
	ClientEnableLogs:   func(f *further, _ ClientRequest, _ *Report) { f.record().EnableLogs(f.now()) },
	ClientResetLogs:    func(f *further, r ClientRequest, _ *Report) { f.record().ResetLogs(r.CorrelationID) },
	ClientResetMetrics: func(f *further, _ ClientRequest, _ *Report) { f.record().Reset() },
}

// answer does a task that needs no journal; false: it is another one.
func (f *further) answer(t *task) bool {
	do, ok := furtherAnswers[t.Task]
	if !ok {
		return false
	}
	var report Report
	if f.client != nil {
		do(f, t.ClientRequest, &report)
	}
	t.reply(report.Reply(), nil)
	return true
}

// FurtherWanted is the connection that client number index has to run in state s; nil: it has nothing to run.
func FurtherWanted(s State, index int) *messages.Connection {
	if !s.Open() || index >= min(s.Connection.ClientCount, client.MaxClients) {
		return nil
	}
	return s.Connection
}

// superseded reports whether the running client, which was last right at revision started, has to end before task t is done.
func superseded(running, wanted *messages.Connection, started int64, t ClientRequest) bool {
	return wanted == nil || !same(running, wanted) || t.Task == ClientClose && started < t.Revision
}

// next does a task: read what is newer, end the client if it is not what the connection wants, start it if it is missing.
func (f *further) next(t *task) {
	if f.ending {
		f.queue = append(f.queue, t)
		return
	}
	if !f.known || t.Revision > f.state.Seq {
		if err := f.read(); err != nil {
			f.readLater(t.Revision, err)
			t.fail(messages.NewConnectionUnavailable(f.id))
			return
		}
	}
	wanted := FurtherWanted(f.state, f.index)
	switch {
	case f.client != nil && superseded(f.running, wanted, f.started, t.ClientRequest):
		f.end()
		f.queue = append(f.queue, t)
		return
	case f.client == nil && wanted != nil && t.Task != ClientClose:
		f.running = wanted
		f.client, _ = f.deps.startClient(wanted, f.index, f.now(), t.LogsUntil)
		if t.Task != ClientOpen {
			f.open(&task{reply: nobody})
		}
	case f.client == nil && wanted == nil:
		if f.idle == nil {
			f.idle = time.AfterFunc(idleFor, func() { f.root.Send(f.self, idled{}) })
		}
		if f.state.Phase != Active {
			f.deps.Monitor.Remove(f.id)
		}
	}
	if f.client != nil && t.Task == ClientSync {
		f.record().ExpireLogs(f.now())
	}
	f.started = f.state.Seq
	if t.Task == ClientOpen && f.client != nil {
		f.open(t)
		return
	}
	t.reply(Report{}.Reply(), nil)
}

// readLater has the journal read again after it could not be: nobody may tell the client again what it missed.
func (f *further) readLater(revision int64, cause error) {
	f.unread = max(f.unread, revision)
	f.log.Warn("the connection of a further client cannot be read", "error", cause, "retry_after", f.backoff.String())
	if f.retry == nil {
		f.retry = time.AfterFunc(f.backoff, func() { f.root.Send(f.self, readAgain{}) })
		f.backoff = min(2*f.backoff, f.timings.BackoffMax)
	}
}

// read takes up what the journal says.
func (f *further) read() error {
	ctx, cancel := context.WithTimeout(f.ctx, f.timings.Append)
	defer cancel()
	pre := f.pre
	f.pre = nil
	if pre == nil {
		for rows, err := range f.deps.Store.Recover(ctx, []string{PID(f.id)}) {
			if err != nil {
				return err
			}
			pre = &rows
		}
	}
	state, err := f.deps.Codec.recovered(f.id, pre)
	if err == nil {
		f.state, f.known, f.unread, f.backoff = state, true, 0, f.timings.BackoffMin
	}
	return err
}

// open connects and answers when that succeeded or one attempt failed; the client goes on trying.
func (f *further) open(t *task) {
	c := f.client
	f.work.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.timings.ClientAsk)
		defer cancel()
		err := c.Open(ctx)
		if err == nil {
			t.reply(Report{}.Reply(), nil)
			return
		}
		select {
		case <-f.going:
			t.reply(messages.Reply{}, ErrStopping)
		default:
			t.fail(asError(f.id, err))
		}
	})
}

// end closes and stops the client; tasks wait meanwhile.
func (f *further) end() {
	c := f.client
	f.ending = true
	f.tellMoving(c)
	f.work.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.timings.ClientAsk)
		defer cancel()
		if err := c.Close(ctx); err != nil && f.ctx.Err() == nil {
			f.log.Warn("a further client did not disconnect in an orderly way", "error", err)
		}
		c.Stop()
		f.root.Send(f.self, clientEnded{})
	})
}

func (f *further) ended() {
	f.dropClient()
	f.ending = false
	queue := f.queue
	f.queue = nil
	for _, t := range queue {
		if f.leaves {
			t.reply(messages.Reply{}, ErrStopping)
		} else {
			f.next(t)
		}
	}
}

func (f *further) dropClient() {
	if f.client != nil {
		f.record().SetRunning(f.index, false)
		f.client, f.running = nil, nil
	}
}

// tellMoving says whether what waits for this client is for another one: as long as the connection is open, be it that it has
// fewer clients by now.
func (f *further) tellMoving(c Client) {
	if f.state.Open() {
		c.Moving()
	}
}

func (f *further) record() *monitor.Connection {
	return f.deps.Monitor.Connection(f.id, string(f.running.Type))
}

// leave disconnects the client in an orderly way, then stops the actor.
func (f *further) leave() {
	if f.leaves {
		return
	}
	f.leaves = true
	close(f.going)
	c := f.client
	if c == nil || f.ending {
		f.quit = true // stop waits for what runs
		return
	}
	f.tellMoving(c)
	f.work.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.timings.LeaveTimeout)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			f.log.Warn("could not disconnect before leaving", "error", err)
		}
		f.root.Send(f.self, left{})
	})
}

// stop is the end of the actor: it returns when no goroutine and no client of it is left.
func (f *further) stop() {
	if !f.leaves {
		close(f.going)
	}
	f.leaves = true
	f.cancel()
	for _, t := range []*time.Timer{f.retry, f.idle} {
		if t != nil {
			t.Stop()
		}
	}
	for _, t := range f.queue {
		t.reply(messages.Reply{}, ErrStopping)
	}
	f.queue = nil
	if c := f.client; c != nil {
		f.tellMoving(c)
		c.Stop()
		f.dropClient()
	}
	f.work.Wait()
}
