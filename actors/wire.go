package actors

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/messages"
	"hawser/persistence"
	hawserv1 "hawser/proto/hawser/v1"
)

// Types of envelopes.
const (
	envelopeAsk     = "ask"
	envelopeReply   = "reply"
	envelopeRefusal = "refusal"
)

// errElsewhere says that the asked node does not run the entity (any more): nothing was executed, look the owner up again.
var errElsewhere = errors.New("actors: the entity is not at that node")

// errRefused says that the asked node did not execute an ask.
var errRefused = errors.New("actors: the node refused")

// errAmbiguous says that no answer will come although the command may have been executed. Ask again with the same request
// id: the entity repeats its answer (decision D7).
var errAmbiguous = errors.New("actors: the node was lost before it answered")

// wire asks the regions of other nodes. Remote delivers at most once and does not end what was pending when a node is
// lost; this keeps the pending calls by address and ends them.
type wire struct {
	system *actor.ActorSystem
	log    *slog.Logger
	self   *actor.PID // receives the answers

	mu    sync.Mutex
	next  uint64 // begins at random: an answer to a process that had this address before finds no call here
	calls map[uint64]*call
}

type call struct {
	address string
	done    chan answerEnvelope // of capacity 1
}

type answerEnvelope struct {
	envelope *hawserv1.Envelope
	err      error
}

func newWire(system *actor.ActorSystem, log *slog.Logger) (*wire, error) {
	w := &wire{system: system, log: log, next: rand.Uint64(), calls: map[uint64]*call{}}
	pid, err := system.Root.SpawnNamed(actor.PropsFromFunc(w.receive), "system/answers")
	w.self = pid
	return w, err
}

func (w *wire) receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *hawserv1.Envelope:
		w.finish(m.Call, answerEnvelope{envelope: m})
	case *actor.DeadLetterResponse: // the link to an address could not be opened
		if m.Target != nil {
			w.abandon(m.Target.Address)
		}
	}
}

func (w *wire) finish(number uint64, a answerEnvelope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waiting := w.calls[number]; waiting != nil {
		delete(w.calls, number)
		waiting.done <- a
	}
}

// ask sends one command to the region at pid and waits for its answer, errElsewhere, errAmbiguous or the end of ctx. epoch is that of
// the lease that makes the region the one to ask, 0 if it needs none: what arrives under another lease is not executed. A link that
// was held up delivers late, and by then another owner may have answered with a refusal, of which no journal knows.
func (w *wire) ask(ctx context.Context, pid *actor.PID, c messages.Command, epoch persistence.Epoch) (messages.Reply, error) {
	reply, err := w.send(ctx, pid, &hawserv1.Envelope{
		Type: envelopeAsk, EntityId: c.ConnectionID, Headers: c.Headers, Payload: c.Members, RequestId: c.RequestID, Epoch: int64(epoch),
	})
	if errors.Is(err, errRefused) {
		err = errElsewhere
	}
	return reply, err
}

// send sends an ask and waits for its answer, errRefused, errAmbiguous or the end of ctx. It fills in number and timeout.
func (w *wire) send(ctx context.Context, pid *actor.PID, e *hawserv1.Envelope) (messages.Reply, error) {
	waiting := &call{address: pid.Address, done: make(chan answerEnvelope, 1)}
	w.mu.Lock()
	w.next++
	number := w.next
	w.calls[number] = waiting
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.calls, number)
		w.mu.Unlock()
	}()
	e.Call = number
	if deadline, ok := ctx.Deadline(); ok {
		e.TimeoutMs = max(time.Until(deadline).Milliseconds(), 1)
	}
	w.system.Root.RequestWithCustomSender(pid, e, w.self)
	select {
	case a := <-waiting.done:
		switch {
		case a.err != nil:
			return messages.Reply{}, a.err
		case a.envelope.Type == envelopeReply:
			return messages.Reply{Status: int(a.envelope.Status), Body: a.envelope.Payload, Headers: a.envelope.Headers}, nil
		default:
			return messages.Reply{}, errRefused
		}
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	}
}

// abandon ends the calls that wait for an address whose member or link is gone.
func (w *wire) abandon(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for number, waiting := range w.calls {
		if waiting.address == address {
			delete(w.calls, number)
			waiting.done <- answerEnvelope{err: errAmbiguous}
		}
	}
}

// doorway is the actor under the region's name: it takes asks of other nodes and answers each.
type doorway struct {
	ask     func(context.Context, messages.Command) (messages.Reply, error)
	lease   func(id string) (persistence.Lease, bool) // nil: what is asked for needs none
	log     *slog.Logger
	longest time.Duration
	work    *sync.WaitGroup
}

// Receive implements actor.Actor.
func (d *doorway) Receive(c actor.Context) {
	e, ok := c.Message().(*hawserv1.Envelope)
	if !ok || e.Type != envelopeAsk || c.Sender() == nil {
		return
	}
	asker, root := c.Sender(), c.ActorSystem().Root
	d.work.Go(func() { root.Send(asker, d.answer(e)) })
}

func (d *doorway) answer(e *hawserv1.Envelope) *hawserv1.Envelope {
	refusal := &hawserv1.Envelope{Type: envelopeRefusal, Call: e.Call}
	command, err := messages.ParseCommand(e.Payload, e.Headers)
	if err != nil {
		d.log.Error("a command of another node cannot be read", "connection_id", e.EntityId, "error", err)
		return refusal
	}
	command.RequestID, command.Received = e.RequestId, time.Now()
	switch {
	case command.ConnectionID == "" && command.Connection != nil: // the asking node made the id (decision D8)
		command.ConnectionID, command.Connection.ID = e.EntityId, e.EntityId
	case command.ConnectionID == "": // a command that names its entities in another way
		command.ConnectionID = e.EntityId
	}
	if d.lease != nil && e.Epoch != 0 {
		if lease, _ := d.lease(command.ConnectionID); int64(lease.Epoch) != e.Epoch {
			return refusal
		}
	}
	wait := d.longest
	if e.TimeoutMs > 0 {
		wait = min(wait, time.Duration(e.TimeoutMs)*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	reply, err := d.ask(ctx, command)
	if err != nil {
		return refusal
	}
	return &hawserv1.Envelope{Type: envelopeReply, Call: e.Call, Status: int32(reply.Status), Payload: reply.Body, Headers: reply.Headers}
}
