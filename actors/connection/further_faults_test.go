package connection

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/persistence"
)

// Client 0 does not run, because the one before it is still being stopped: close sees to the further clients all the same.
func TestCloseWhileClientZeroIsAway(t *testing.T) {
	for _, typ := range []string{messages.CloseConnection, messages.DeleteConnection} {
		f := newFleet(t, 2)
		further := f.opened(2)
		stop := make(chan struct{})
		f.broker.set(func(b *broker) { b.stop = stop })
		f.store.fate(func(persistence.Append) (bool, error) { return false, errors.New("the answer was lost") })
		f.ask(clients(with(command(messages.ModifyConnection), messages.StatusOpen), 2), 503) // the entity fails, and recovers
		f.store.fate(nil)
		f.awake()
		done := f.send(command(typ))
		if o := f.wait(done); o.err != nil || o.reply.Status >= 300 {
			t.Fatalf("%s: %d %v", typ, o.reply.Status, o.err)
		}
		if got := further[0].broker; got.count("stop") != 1 {
			t.Errorf("%s: client 1: %s", typ, got.events())
		}
		close(stop)
	}
}

// The journal cannot be read when a further client is told to close: it does as soon as it can, though nobody tells it again.
func TestCloseWhileTheJournalIsAway(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	failures := 2
	f.store.mu.Lock()
	f.store.onRecover = func() error {
		if failures--; failures >= 0 {
			return errors.New("the database is away")
		}
		return nil
	}
	f.store.mu.Unlock()
	f.ask(command(messages.CloseConnection), 503) // it is written, but one client may still run
	f.eventually("client 1 has stopped", func() bool { return further[0].broker.count("stop") == 1 })
}

// The entity moves while it closes the further clients: the repeated command is answered by the next one when they are closed.
func TestRepeatedCommandSeesToFurtherClients(t *testing.T) {
	for name, test := range map[string]struct {
		command messages.Command
		status  int
	}{
		"close":  {command(messages.CloseConnection), 200},
		"delete": {command(messages.DeleteConnection), 204},
		"modify": {clients(with(command(messages.ModifyConnection), messages.StatusOpen), 2), 204},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 3)
			last := f.opened(3)[1]
			end := make(chan struct{})
			last.broker.set(func(b *broker) { b.holdEnd = end })
			c := request(test.command, "request-1")
			first := f.send(c)
			f.eventually("it is closing", func() bool { return last.broker.count("close") == 1 })
			f.restart()
			if o := f.wait(first); !errors.Is(o.err, ErrStopping) {
				t.Fatalf("answered %v", o)
			}
			f.mu.Lock()
			f.asked = nil
			f.mu.Unlock()
			again := f.send(c)
			f.eventually("the clients are asked, or it is answered", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return slices.Contains(f.asked, ClientSync) || len(again) > 0
			})
			if len(again) > 0 && last.broker.count("stop") == 0 {
				t.Error("answered while client 2 runs")
			}
			close(end)
			if o := f.wait(again); o.err != nil || o.reply.Status != test.status {
				t.Errorf("answered %d %v", o.reply.Status, o.err)
			}
			if last.broker.count("stop") != 1 {
				t.Errorf("client 2: %s", last.broker.events())
			}
		})
	}
}

// Resets and the like are answered although a further client does not answer (piggyback.md 4.14 to 4.16).
func TestAFurtherClientIsSilent(t *testing.T) {
	f := newFleet(t, 2)
	f.opened(2)
	f.mu.Lock()
	f.stall = true
	f.mu.Unlock()
	for _, typ := range []string{
		messages.ResetConnectionMetrics, messages.ResetConnectionLogs, messages.EnableConnectionLogs,
		messages.RetrieveConnectionStatus, messages.RetrieveConnectionMetrics, messages.RetrieveConnectionLogs,
	} {
		f.ask(command(typ), 200)
	}
	f.mu.Lock()
	f.stall = false
	f.mu.Unlock()
}

// A deleted connection leaves nothing at the nodes of its further clients.
func TestDeleteForgetsEverywhere(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	before := further[0].deps.Monitor.Connection("plant-7", "mqtt-5")
	f.ask(command(messages.DeleteConnection), 204)
	f.eventually("counters and logs are gone", func() bool { return further[0].deps.Monitor.Connection("plant-7", "mqtt-5") != before })
}

// A further client that has nothing to run is asked, as when its shard has just moved: it answers.
func TestNothingToRunIsAnswered(t *testing.T) {
	f := newFleet(t, 2)
	f.ask(clients(command(messages.CreateConnection), 2), 201)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, task := range []ClientTask{ClientClose, ClientSync, ClientOpen, ClientStatus, ClientResetLogs} {
		if _, err := f.Ask(ctx, client.Identity("plant-7", 1), ClientRequest{Task: task, Revision: 1}); err != nil {
			t.Errorf("%s: %v", task, err)
		}
	}
	f.eventually("it is gone", func() bool { return len(f.pids()) == 0 })
}

// A further client moves to another node while it connects: open waits for the next one, it does not fail.
func TestOpenWhileAFurtherClientMoves(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.ask(command(messages.CloseConnection), 200)
	hold, end := make(chan struct{}), make(chan struct{})
	b := further[0].broker
	b.set(func(b *broker) { b.hold, b.holdEnd, b.refuse = hold, end, errors.New("closed while it connects") })
	opens := b.count("open")
	done := f.send(command(messages.OpenConnection))
	f.eventually("it connects", func() bool { return b.count("open") > opens })
	closes := b.count("close")
	f.system.Root.Send(f.pids()[0], Leave{})
	f.eventually("it leaves", func() bool { return b.count("close") > closes })
	close(hold)
	f.eventually("it is asked again, or open is answered", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.again > 0 || len(done) > 0
	})
	b.set(func(b *broker) { b.refuse = nil })
	close(end)
	if o := f.wait(done); o.err != nil || o.reply.Status != 200 {
		t.Errorf("open: %d %s %v", o.reply.Status, o.reply.Body, o.err)
	}
	if b.count("start") != 3 || b.count("stop") != 2 {
		t.Errorf("client 1: %s", b.events())
	}
}

// Who asks for the status of clients that are missing, and has much time, holds up nobody else.
func TestStatusHoldsUpNobody(t *testing.T) {
	f := newFleet(t, 1)
	f.opened(2)
	c := command(messages.RetrieveConnectionStatus)
	c.Headers = c.Headers.With(messages.HeaderTimeout, "60s")
	status := f.send(c)
	f.ask(command(messages.CloseConnection), 200)
	if len(status) > 0 {
		t.Error("the status was not waited for")
	}
}
