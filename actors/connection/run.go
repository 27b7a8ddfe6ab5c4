package connection

import (
	"context"
	"errors"
	"time"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/persistence"
)

// run is a command in work, or steps that a timer began: the effects that are left.
type run struct {
	command    messages.Command
	replies    []func(messages.Reply, error) // of the request and its repetitions
	answered   bool
	serial     bool // came in line, not by the direct route
	effects    []Effect
	generation int
	remembered *remembered
	created    *messages.Connection // that it has written, by a created event
	closing    Client               // that CloseClients took, for StopClients
	timer      *time.Timer
}

// verdict is how a step went.
type verdict uint8

const (
	proceed verdict = iota // to the next step
	wait                   // resumed or unpark goes on
	abandon                // no further step
)

// advance runs steps until one waits or none is left.
func (e *entity) advance(r *run) {
	for len(r.effects) > 0 {
		effect := r.effects[0]
		r.effects = r.effects[1:]
		v := e.step(r, effect)
		if e.mode != ready || r.generation != e.generation {
			return // the entity failed or ends: release or stop saw to everything
		}
		if v == wait {
			if r.serial && !r.answered && r.timer == nil {
				r.timer = time.AfterFunc(e.timings.LocalAsk, func() { e.send(expired{r}) })
			}
			e.next()
			return
		}
		if v == abandon {
			break
		}
	}
	e.finish(r)
	e.next()
}

// step runs one effect.
func (e *entity) step(r *run, effect Effect) verdict {
	switch x := effect.(type) {
	case Persist:
		return e.persist(r, x)
	case Reply:
		e.answer(r, x.Reply)
	case EnableLogs:
		if r.command.Connection != nil { // of a connection that is created in the next step
			e.logUntil = e.deps.Monitor.Connection(e.id, string(r.command.Connection.Type)).EnableLogs(e.now())
		} else {
			e.logUntil = e.record().EnableLogs(e.now())
			return e.tellFurther(r, ClientRequest{Task: ClientEnableLogs})
		}
	case ResetLogs:
		e.record().ResetLogs(x.CorrelationID)
		return e.tellFurther(r, ClientRequest{Task: ClientResetLogs, CorrelationID: x.CorrelationID})
	case ResetMetrics:
		e.record().Reset()
		return e.tellFurther(r, ClientRequest{Task: ClientResetMetrics})
	case OpenClients:
		return e.open(r, x)
	case CloseClients:
		return e.close(r)
	case StopClients:
		return e.stopClients(r)
	case SettleFurther:
		return e.settleFurther(r)
	case TestClient:
		e.state.Testing = true
		return e.await(r, e.timings.ClientAsk,
			func(ctx context.Context) error { return e.deps.Clients.Test(ctx, x.Connection) },
			func() { e.state.Testing = false })
	case Forget:
		if e.state.Phase != Active { // else it was created again meanwhile
			e.deps.Monitor.Remove(e.id)
			e.logUntil = time.Time{}
		}
	case TakeSnapshot:
		e.snapshot()
	case ReadHistory:
		return e.readHistory(r, x)
	case Cleanup:
		return e.cleanup(r)
	case Inspect:
		return e.inspectInTime(r, x.Command)
	case MeasurePriority:
		return e.withReports(r, ClientMetrics, func(reports []Report) {
			r.effects = append(UpdatePriority(e.state, e.metrics(reports).Priority()), r.effects...)
		})
	case ReportStatus:
		return e.withReports(r, ClientStatus, e.logLiveStatus)
	case Resolve:
		e.answer(r, e.resolve(x.Command))
	case Passivate:
		e.passivate(x.After)
	}
	return proceed
}

// await does f on a goroutine of its own and goes on with r afterwards; apply, if any, runs first, on the actor goroutine.
// timeout 0: f needs no context and ends by itself.
func (e *entity) await(r *run, timeout time.Duration, f func(context.Context) error, apply func()) verdict {
	ctx, cancel := e.lifetime(), context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	e.work.Go(func() {
		defer cancel()
		err := f(ctx)
		e.send(resumed{run: r, err: err, apply: apply})
	})
	return wait
}

// lifetime is a context that ends when the entity stops or fails.
func (e *entity) lifetime() context.Context {
	if e.ctx == nil {
		e.ctx, e.cancel = context.WithCancel(context.Background())
	}
	return e.ctx
}

// resume goes on with a run whose step is over. A failed step is the answer; the steps that are left still run.
func (e *entity) resume(m resumed) {
	r := m.run
	if e.mode != ready || r.generation != e.generation {
		return
	}
	if m.apply != nil {
		m.apply()
	}
	if m.err != nil {
		err := asError(e.id, m.err)
		if r.answered {
			e.log.Info("a client step failed", "connection_id", e.id, "error", err)
		}
		e.answerError(r, err)
	}
	e.advance(r)
}

// asError is the error that the caller gets: a Ditto error as it is, anything else as a failed connection.
func asError(id string, err error) *messages.Error {
	var known *messages.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return messages.NewConnectionFailed(id, "The client did not answer in time.")
	default:
		return messages.NewConnectionFailed(id, err.Error())
	}
}

// persist appends an event and applies it (decisions O4, D17).
func (e *entity) persist(r *run, p Persist) verdict {
	next := Evolve(e.state, p.Event)
	next.Priority = p.Priority
	a, err := e.encode(r.command.RequestID, p, next)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), e.timings.Append)
		began := e.now()
		err = e.deps.Store.Append(ctx, a)
		cancel()
		e.deps.Metrics.appended(e.now().Sub(began), err)
	}
	var rejected *persistence.RejectedError
	switch {
	case err == nil:
		e.state = next
		if a.Snapshot != nil {
			e.state.SnapshotSeq = a.Snapshot.SeqNr
		}
		if next.Phase == Active {
			e.record()
		}
		if p.Event.Type == messages.EventConnectionCreated {
			r.created = p.Event.Connection
		}
		return proceed
	case errors.As(err, &rejected):
		e.log.Error("an event could not be stored", "connection_id", e.id, "seq_nr", p.Event.Revision, "error", err)
		e.answerError(r, messages.NewInternalError())
	case errors.Is(err, errSeal):
		e.log.Error("an event could not be stored", "connection_id", e.id, "seq_nr", p.Event.Revision, "error", err)
		e.answerError(r, messages.NewConfigurationInvalid("The secrets of the connection could not be encrypted.", "Check that the service is configured with a valid 256-bit AES key."))
	case errors.Is(err, persistence.ErrUnavailable):
		// Certainly not written: memory and journal agree, clients stay.
		e.log.Warn("the journal is not available", "connection_id", e.id, "error", err)
		e.answerError(r, messages.NewConnectionUnavailable(e.id))
	case errors.Is(err, persistence.ErrFenced):
		// Nothing was written: stop answers ErrStopping, and the command is asked again where the connection is now.
		e.log.Warn("fenced: another node owns this connection", "connection_id", e.id, "epoch", int64(a.Lease.Epoch))
		e.mode, e.quit = leaving, true
	default:
		e.fail(err)
	}
	return abandon
}

// errSeal marks an event whose secrets cannot be encrypted: nothing was sent (encryption.md 5).
var errSeal = errors.New("connection: event cannot be sealed")

func (e *entity) encode(requestID string, p Persist, next State) (persistence.Append, error) {
	lease, ok := e.deps.Lease(e.id)
	if !ok {
		return persistence.Append{}, persistence.ErrFenced
	}
	payload, err := e.deps.Codec.encodeEvent(p.Event)
	if err != nil {
		return persistence.Append{}, errors.Join(errSeal, err)
	}
	now := e.now()
	a := persistence.Append{
		Lease: lease,
		Event: persistence.Event{
			PID: PID(e.id), SeqNr: p.Event.Revision, Epoch: lease.Epoch, Type: p.Event.Type, Payload: payload, Tags: next.Tags(),
			RequestID: requestID, CreatedAt: now,
		},
		Index: next.Index(lease.Shard.Number),
	}
	if next.Open() && e.deps.Interest != nil {
		a.Index.Interest = e.deps.Interest(next.Connection)
	}
	if p.Snapshot {
		body, err := e.deps.Codec.encodeSnapshot(next)
		if err != nil {
			e.log.Error("a snapshot could not be made", "connection_id", e.id, "error", err)
			return a, nil
		}
		a.Snapshot = &persistence.Snapshot{PID: PID(e.id), SeqNr: next.Seq, Payload: body, CreatedAt: now}
	}
	return a, nil
}

// snapshot saves the state; if that fails the next trigger tries again (operations.md 1.5).
func (e *entity) snapshot() {
	lease, ok := e.deps.Lease(e.id)
	body, err := e.deps.Codec.encodeSnapshot(e.state)
	if !ok {
		err = persistence.ErrFenced
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), e.timings.Append)
		defer cancel()
		err = e.deps.Store.SaveSnapshot(ctx, lease, persistence.Snapshot{PID: PID(e.id), SeqNr: e.state.Seq, Payload: body, CreatedAt: e.now()})
	}
	if err != nil {
		e.log.Warn("a snapshot could not be saved", "connection_id", e.id, "seq_nr", e.state.Seq, "error", err)
		return
	}
	e.state.SnapshotSeq = e.state.Seq
}

// open starts the client unless it runs and waits for the connect; while another run disconnects the client it waits for that.
func (e *entity) open(r *run, x OpenClients) verdict {
	if !e.state.Open() { // a command on the direct route closed it meanwhile
		if !r.answered {
			e.answerError(r, messages.NewSignalIllegal(e.id, r.command.Type, "closed"))
		}
		return proceed
	}
	if e.draining+e.orphans > 0 {
		r.effects = append([]Effect{x}, r.effects...)
		e.parked = append(e.parked, r)
		return wait
	}
	if e.client == nil {
		e.startClient()
	}
	e.clients = max(e.clients, e.state.Connection.ClientCount)
	open, count := e.client.Open, e.clients
	request := ClientRequest{Task: ClientOpen, Revision: e.state.Seq, LogsUntil: e.logUntil}
	return e.await(r, e.timings.ClientAsk, func(ctx context.Context) error { return e.withFurther(ctx, count, request, open) }, nil)
}

func (e *entity) unpark() {
	if e.draining+e.orphans > 0 || e.mode != ready {
		return
	}
	parked := e.parked
	e.parked = nil
	for _, r := range parked {
		if r.generation == e.generation {
			e.advance(r)
		}
	}
}

func (e *entity) startClient() {
	e.client, e.logUntil = e.deps.startClient(e.state.Connection, 0, e.now(), e.logUntil)
}

// startClient starts client number index of a connection, with fresh logs that are muted unless they were enabled until
// later (piggyback.md 4.16, 5.2), and returns until when they are enabled now.
func (d *Deps) startClient(c *messages.Connection, index int, now, logUntil time.Time) (Client, time.Time) {
	rec := d.Monitor.Connection(c.ID, string(c.Type))
	rec.MuteLogs()
	if now.Before(logUntil) {
		logUntil = rec.EnableLogs(now)
	}
	declare(rec, c)
	rec.SetRunning(index, true)
	return d.Clients.Start(c, index), logUntil
}

// declare makes the scopes of all configured addresses, so that they are in every answer about metrics.
func declare(rec *monitor.Connection, c *messages.Connection) {
	for _, address := range SourceAddresses(c) {
		rec.Source(address)
	}
	for _, t := range c.Targets {
		rec.Target(t.Address)
	}
	rec.Responses()
}

// dropClient forgets a client that was stopped.
func (e *entity) dropClient(c Client) {
	if e.client != c {
		return
	}
	e.client = nil
	e.since = e.now()
	e.record().SetRunning(0, false)
}

func (e *entity) close(r *run) verdict {
	c, count := e.client, e.clients
	end := func(context.Context) error { return nil }
	switch {
	case c != nil:
		r.closing, end = c, c.Close
		e.draining++
		e.tellMoving(c)
	case count <= 1:
		return proceed
	}
	request := ClientRequest{Task: ClientClose, Revision: e.state.Seq}
	return e.await(r, e.timings.ClientAsk, func(ctx context.Context) error { return e.withFurther(ctx, count, request, end) }, nil)
}

func (e *entity) stopClients(r *run) verdict {
	c := r.closing
	if c == nil {
		if e.client == nil && e.draining == 0 {
			e.clients = 0
		}
		return proceed
	}
	r.closing = nil
	return e.await(r, 0,
		func(context.Context) error { c.Stop(); return nil },
		func() {
			e.draining--
			e.dropClient(c)
			e.clients = 0
			e.unpark()
		})
}

// record is the monitor's record of the connection.
func (e *entity) record() *monitor.Connection {
	typ := ""
	if e.state.Connection != nil {
		typ = string(e.state.Connection.Type)
	} else if e.lastType != "" {
		typ = e.lastType
	}
	e.lastType = typ
	return e.deps.Monitor.Connection(e.id, typ)
}

func (e *entity) resolve(c messages.Command) messages.Reply {
	if e.deps.ResolveHono == nil {
		return messages.ErrorReply(messages.NewConnectionNotFound(e.id))
	}
	derived, err := e.deps.ResolveHono(e.state.Connection)
	if err != nil {
		return messages.ErrorReply(asError(e.id, err))
	}
	return messages.RetrievedReply(derived, c.SelectedFields)
}

// passivate ends the entity, at once if nothing is in work, or after a while unless it came to life.
func (e *entity) passivate(after time.Duration) {
	if after > 0 {
		e.timers.set(timerPassivate, e.now().Add(after))
		return
	}
	if len(e.runs) <= 1 { // the run that says so
		e.mode, e.quit = leaving, true
	}
}

// cleanup deletes the history that the newest snapshot makes superfluous (operations.md 2.4). One at a time.
func (e *entity) cleanup(r *run) verdict {
	if e.cleaning {
		e.answer(r, messages.CleanupReply(r.command.EntityType, e.id, 500))
		return proceed
	}
	e.cleaning = true
	last, store, pid := e.state.Seq, e.deps.Store, PID(e.id)
	var reply messages.Reply
	return e.await(r, e.timings.ClientAsk, func(ctx context.Context) error {
		reply = messages.CleanupReply(r.command.EntityType, e.id, 200)
		if err := cleanup(ctx, store, pid, last); err != nil {
			e.log.Error("cleaning up the history failed", "connection_id", e.id, "error", err)
			reply = messages.CleanupReply(r.command.EntityType, e.id, 500)
		}
		return nil
	}, func() {
		e.cleaning = false
		e.answer(r, reply)
	})
}

func cleanup(ctx context.Context, store persistence.Journal, pid string, last int64) error {
	newest, ok, err := store.SnapshotAt(ctx, pid, 0, time.Time{})
	if err != nil || !ok {
		return err
	}
	if to := min(newest.SeqNr, last-1); to >= 1 {
		if _, _, err := store.DeleteRange(ctx, pid, 1, to, true, false); err != nil {
			return err
		}
	}
	if to := newest.SeqNr - 1; to >= 1 {
		_, _, err = store.DeleteRange(ctx, pid, 1, to, false, true)
	}
	return err
}
