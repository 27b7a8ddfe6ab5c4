package client

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"

	"hawser/actors/monitor"
	"hawser/messages"
)

// phase is how far the sink is with an attempt.
type phase = int32

const (
	waiting phase = iota // the sink has not been told yet: messages wait
	up
	down // the sink was told that the link is gone or closing: messages are left to the broker
)

// attempt is one transport from its making to its end. It is the transport's Handler.
type attempt struct {
	runner  *Runner
	number  int
	sockets *sockets
	ctx     context.Context // ends when the attempt is cut or over
	cancel  context.CancelFunc

	phase   atomic.Int32
	decided chan struct{} // closed when phase leaves waiting

	tried     chan struct{} // closed when Open has returned, or there is nothing to open
	transport Transport     // set before tried is closed; nil when there is none
	lost      sync.Once
	ending    sync.Once
	over      chan struct{} // closed when the transport is closed and no socket is left
}

// start begins attempt number n as soon as the one before it is over.
func (r *Runner) start(n int) {
	a := &attempt{
		runner: r, number: n, sockets: newSockets(r.cfg.Env.Dial),
		decided: make(chan struct{}), tried: make(chan struct{}), over: make(chan struct{}),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	before := r.current
	r.current = a
	r.mu.Lock()
	r.attempts[a] = struct{}{}
	r.mu.Unlock()
	go func() {
		if before != nil {
			select {
			case <-before.over:
			case <-a.ctx.Done():
			}
		}
		err := a.connect()
		close(a.tried)
		if err != nil {
			r.report(failed{n, r.redactor.failure(failureOf(err))})
			return
		}
		r.report(opened{n})
	}()
}

// connect probes the endpoint, makes the transport and opens it. A panic is a failure.
func (a *attempt) connect() (err error) {
	r := a.runner
	defer func() {
		if p := recover(); p != nil {
			err = r.panicked(p)
		}
	}()
	conn := r.cfg.Connection
	if conn.SSHTunnel != nil && conn.SSHTunnel.Enabled {
		return &Failure{Text: "SSH tunnels are not available in this version of Hawser.", UserIndicated: true}
	}
	if err := a.probe(conn.URI); err != nil {
		return err
	}
	env := r.cfg.Env
	env.Dial = a.sockets.Dial
	transport, err := r.cfg.Factory(conn, env, a)
	if err != nil {
		return err
	}
	a.transport = transport
	return transport.Open(a.ctx)
}

// probe makes a plain TCP connection to the endpoint, so that an unreachable one shows within two seconds whatever the
// driver's own timeouts are (runtime.md 10).
func (a *attempt) probe(uri messages.URI) error {
	ctx, cancel := context.WithTimeout(a.ctx, a.runner.cfg.Settings.ProbeTimeout)
	defer cancel()
	address := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	conn, err := a.sockets.Dial(ctx, "tcp", address)
	if err != nil {
		if a.ctx.Err() == nil {
			a.runner.record(false, a.runner.redactor.text(fmt.Sprintf("Socket could not be opened for %s due to %s", address, err)))
		}
		return unreachable(address, err)
	}
	return conn.Close()
}

func (r *Runner) panicked(p any) *Failure {
	r.log.Error("panic in a transport", "connection_type", string(r.cfg.Connection.Type), "panic", r.redactor.text(fmt.Sprint(p)), "stack", string(debug.Stack()))
	return &Failure{Text: "The driver failed unexpectedly."}
}

// turn moves on to up or down; there is no way back. The loop calls it.
func (a *attempt) turn(p phase) {
	if a.phase.Swap(p) == waiting {
		close(a.decided)
	}
}

// cut closes the sockets and cancels what runs. Safe from any goroutine.
func (a *attempt) cut() {
	a.cancel()
	a.sockets.close(false)
}

// end closes the transport on a goroutine of its own: in an orderly way, or after its sockets. The loop calls it.
func (a *attempt) end(orderly bool) {
	a.turn(down)
	if !orderly {
		a.cut()
	}
	a.ending.Do(func() {
		go func() {
			err := a.close(orderly)
			a.cut()
			r := a.runner
			r.mu.Lock()
			delete(r.attempts, a)
			r.mu.Unlock()
			close(a.over)
			r.report(closed{a.number, err})
		}()
	})
}

// close waits for Open and closes the transport. One that takes longer than disconnecting-max-timeout is left to itself,
// without a socket.
func (a *attempt) close(orderly bool) error {
	limit := stopTimeout
	if orderly {
		limit = a.runner.cfg.Settings.DisconnectingMaxTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- a.runner.panicked(p)
			}
		}()
		<-a.tried
		if a.transport == nil {
			done <- nil
			return
		}
		done <- a.transport.Close(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	a.cut() // perhaps it only waits for the other side
	grace, cancelGrace := context.WithTimeout(context.Background(), stopTimeout/2)
	defer cancelGrace()
	select {
	case <-done:
	case <-grace.Done():
		a.runner.log.Error("a transport does not end; its sockets are closed", "connection_type", string(a.runner.cfg.Connection.Type))
	}
	return ctx.Err()
}

// publish is what the sink publishes with.
func (a *attempt) publish(m Outbound, done func(Outcome)) {
	if a.phase.Load() == down {
		done(Outcome{Status: 503, Err: ErrClosed})
		return
	}
	defer func() {
		if p := recover(); p != nil {
			f := a.runner.panicked(p)
			done(Outcome{Status: 503, Err: f})
			a.Lost(f)
		}
	}()
	a.transport.Publish(m, done)
}

// Consume implements Handler: messages wait until the sink was told that the link is up, so that replies can be sent.
// What comes after the link is down is left unsettled: the broker has it still.
func (a *attempt) Consume(in *Inbound) {
	if a.phase.Load() == waiting {
		<-a.decided
	}
	if a.phase.Load() == down || a.runner.cfg.Sink == nil {
		return
	}
	a.runner.cfg.Sink.Consume(in)
}

// Dropped implements Handler.
func (a *attempt) Dropped(address string) {
	if rec := a.runner.cfg.Record; rec != nil {
		rec.Source(address).Failure(monitor.Throttled, monitor.Entry{Message: "A message was dropped: the source promises at most once and messages arrive faster than they can be processed."})
	}
}

// Lost implements Handler.
func (a *attempt) Lost(err error) {
	a.lost.Do(func() { a.runner.report(failed{a.number, a.runner.redactor.failure(failureOf(err))}) })
}

// Interrupted implements Handler.
func (a *attempt) Interrupted(err error) {
	a.runner.report(interrupted{a.number, a.runner.redactor.failure(failureOf(err))})
}

// Recovered implements Handler.
func (a *attempt) Recovered() { a.runner.report(recovered{a.number}) }

// ResourceStatus implements Handler.
func (a *attempt) ResourceStatus(s messages.ResourceStatus) {
	s.Details = a.runner.redactor.text(s.Details)
	a.runner.resources.set(s)
}
