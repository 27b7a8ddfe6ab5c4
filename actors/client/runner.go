package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"hawser/actors/monitor"
	"hawser/messages"
)

// RunnerConfig is what a Runner needs. Connection, Factory and Env.Dial are required.
type RunnerConfig struct {
	Connection *messages.Connection
	Factory    Factory
	Env        Environment
	Sink       Sink                // nil: nobody is told, and what is consumed is left unsettled
	Record     *monitor.Connection // nil: nothing is logged or counted
	Instance   string              // instance id in status entries
	Settings   Settings
	Log        *slog.Logger     // nil: slog.Default
	Now        func() time.Time // nil: time.Now
}

// ErrStopped is the answer to an Open or Close that Stop overtook.
var ErrStopped = errors.New("the client was stopped")

// Runner runs one broker client: it feeds the machine with what happens and does what the machine says. Its loop is the
// only one that touches the machine and calls the sink (but for Consume). Each attempt to connect has a transport, a
// register of sockets and goroutines of its own, so that an old one can be thrown away whole.
type Runner struct {
	cfg       RunnerConfig
	log       *slog.Logger
	now       func() time.Time
	machine   *machine
	redactor  redactor
	resources *resources

	events   chan event
	stopping chan struct{}
	stopOnce sync.Once
	ended    chan struct{} // the loop and all attempts are over

	connected atomic.Bool

	mu       sync.Mutex
	attempts map[*attempt]struct{} // not over yet

	// Of the loop.
	current                *attempt
	timer                  *time.Timer
	armed                  timer
	opens, closes, testers []chan error
}

// event is an input with who waits for its answer, if anybody.
type event struct {
	in     input
	waiter chan error
}

// stopTimeout is how long Stop waits for transports whose sockets are closed.
const stopTimeout = time.Second

// NewRunner starts a runner; it connects when Open is called. Stop ends it.
func NewRunner(cfg RunnerConfig) *Runner {
	cfg.Settings = cfg.Settings.withDefaults()
	r := &Runner{
		cfg: cfg, log: cfg.Log, now: cfg.Now, redactor: newRedactor(cfg.Connection),
		events: make(chan event, 4), stopping: make(chan struct{}), ended: make(chan struct{}), attempts: map[*attempt]struct{}{},
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.log = r.log.With("connection_id", cfg.Connection.ID)
	if r.now == nil {
		r.now = time.Now
	}
	now := r.now()
	r.machine = newMachine(cfg.Connection.ID, cfg.Settings, now)
	r.machine.step(now, initialize{})
	r.resources = newResources(cfg.Connection, cfg.Instance)
	r.resources.publish(r.machine.status)
	r.timer = time.NewTimer(time.Hour)
	r.timer.Stop()
	go r.loop()
	return r
}

// Open waits until the connect succeeded or one attempt failed; the runner goes on trying. Its error is a *messages.Error,
// that of ctx, or ErrStopped.
func (r *Runner) Open(ctx context.Context) error { return r.ask(ctx, openRequested{}) }

// Close disconnects in an orderly way: announcement, a wait if a target wants it, disconnect. It returns when that is done
// or has taken longer than disconnecting-max-timeout; then no socket is left either. Errors as with Open.
func (r *Runner) Close(ctx context.Context) error { return r.ask(ctx, closeRequested{}) }

// Stop ends the runner at once and returns when no socket of it is left. Idempotent.
func (r *Runner) Stop() {
	r.stopOnce.Do(func() { close(r.stopping) })
	for _, a := range r.unfinished() {
		a.cut() // even if a sink holds up the loop
	}
	select {
	case <-r.ended:
	case <-time.After(r.cfg.Settings.DisconnectingMaxTimeout):
		r.log.Error("a sink holds up the client's end; its sockets are closed")
	}
}

// Status lists client, sources, targets and tunnel (piggyback.md 4.11). It never blocks.
func (r *Runner) Status() []messages.ResourceStatus { return r.resources.list() }

// Connected reports whether the link is up.
func (r *Runner) Connected() bool { return r.connected.Load() }

// Test opens a throw-away client for the connection of cfg, with Env.Test set, and says how that went: nil, a
// *messages.Error with the cause (piggyback.md 4.8), or the error of ctx. It leaves nothing behind.
func Test(ctx context.Context, cfg RunnerConfig) error {
	cfg.Env.Test, cfg.Sink, cfg.Record = true, nil, nil
	r := NewRunner(cfg)
	defer r.Stop()
	if err := r.ask(ctx, testRequested{}); err != nil {
		return err
	}
	if err := r.Close(ctx); err != nil {
		r.log.Warn("the client of a connection test did not disconnect in an orderly way", "error", err)
	}
	return nil
}

// ask puts a request to the loop and waits for the answer.
func (r *Runner) ask(ctx context.Context, in input) error {
	waiter := make(chan error, 1)
	select {
	case r.events <- event{in, waiter}:
	case <-r.ended:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-waiter:
		return err
	case <-r.ended:
		select {
		case err := <-waiter:
			return err
		default:
			return ErrStopped
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// report gives an input of an attempt to the loop.
func (r *Runner) report(in input) {
	select {
	case r.events <- event{in: in}:
	case <-r.stopping:
	}
}

func (r *Runner) loop() {
	for {
		select {
		case <-r.stopping:
			r.shutDown()
			return
		case e := <-r.events:
			switch e.in.(type) {
			case openRequested:
				r.opens = append(r.opens, e.waiter)
			case closeRequested:
				r.closes = append(r.closes, e.waiter)
			case testRequested:
				r.testers = append(r.testers, e.waiter)
			}
			r.step(e.in)
		case <-r.timer.C:
			r.step(elapsed{r.armed})
		}
	}
}

// step feeds the machine and does what it says, follow-ups included.
func (r *Runner) step(in input) {
	for in != nil {
		var next input
		outputs := r.machine.step(r.now(), in)
		r.connected.Store(r.machine.state == stateConnected)
		r.resources.publish(r.machine.status)
		for _, o := range outputs {
			if n := r.execute(o); n != nil {
				next = n
			}
		}
		in = next
	}
	r.gauges()
}

// execute does one thing; the input that it returns, if any, is the machine's next.
func (r *Runner) execute(o output) input {
	switch o := o.(type) {
	case startAttempt:
		r.start(o.attempt)
	case endAttempt:
		if r.current != nil && r.current.number == o.attempt {
			r.current.end(o.orderly)
			r.resources.forget()
		}
	case arm:
		r.armed = o.timer
		r.timer.Reset(o.after)
	case disarm:
		r.timer.Stop()
	case answerOpen:
		r.opens = answer(r.opens, o.err)
	case answerClose:
		r.closes = answer(r.closes, o.err)
	case answerTest:
		r.testers = answer(r.testers, o.err)
	case tellConnected:
		a := r.current
		r.tell("Connected", func(s Sink) { s.Connected(a.publish) })
		a.turn(up)
	case tellAttemptEnded:
		r.tell("AttemptEnded", Sink.AttemptEnded)
	case tellDisconnected:
		r.current.turn(down)
		r.tell("Disconnected", Sink.Disconnected)
	case announce:
		wanted := false
		r.tell("Announce", func(s Sink) { wanted = s.Announce(o.kind, func() {}) })
		if o.kind == "closed" {
			return announced{wanted}
		}
	case log:
		r.record(o.success, o.message)
	}
	return nil
}

func answer(waiters []chan error, err error) []chan error {
	for _, w := range waiters {
		w <- err
	}
	return nil
}

// tell calls the sink; a panic there must not end the process.
func (r *Runner) tell(what string, f func(Sink)) {
	if r.cfg.Sink == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("panic in the sink", "call", what, "panic", r.redactor.text(fmt.Sprint(p)), "stack", string(debug.Stack()))
		}
	}()
	f(r.cfg.Sink)
}

// record writes an entry of category connection, and a line for the operator of the service.
func (r *Runner) record(success bool, message string) {
	level := slog.LevelInfo
	if !success {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, message)
	if r.cfg.Record == nil {
		return
	}
	entry := monitor.Entry{EntityType: "connection", EntityID: r.cfg.Connection.ID, Message: message}
	if success {
		r.cfg.Record.Self().Success(monitor.Other, entry)
	} else {
		r.cfg.Record.Self().Failure(monitor.Other, entry)
	}
}

func (r *Runner) gauges() {
	if r.cfg.Record == nil {
		return
	}
	state := r.machine.state
	r.cfg.Record.SetClient(r.cfg.Env.Index, state == stateConnected, state == stateConnecting)
}

// shutDown is the end of the loop: everything is cut, waited for, and whoever waits is told.
func (r *Runner) shutDown() {
	defer close(r.ended)
	r.timer.Stop()
	r.connected.Store(false)
	now := r.now()
	r.resources.publish(clientStatus{
		status: messages.StatusClosed, recovery: messages.RecoveryUnknown, details: "Disconnected at " + messages.FormatInstant(now), since: now,
	})
	if r.machine.linked {
		r.current.turn(down)
		r.tell("Disconnected", Sink.Disconnected)
	}
	deadline := time.After(stopTimeout)
	for _, a := range r.unfinished() {
		a.end(false)
	}
	for _, a := range r.unfinished() {
		select {
		case <-a.over:
		case <-deadline:
			r.log.Error("a transport does not end; its sockets are closed", "connection_type", string(r.cfg.Connection.Type))
			deadline = time.After(0)
		}
	}
	answer(r.opens, ErrStopped)
	answer(r.closes, ErrStopped)
	answer(r.testers, ErrStopped)
}

func (r *Runner) unfinished() []*attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*attempt, 0, len(r.attempts))
	for a := range r.attempts {
		all = append(all, a)
	}
	return all
}
