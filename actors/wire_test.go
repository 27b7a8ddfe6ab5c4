package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"hawser/messages"
	hawserv1 "hawser/proto/hawser/v1"
)

// The owner of a connection dies, killed, after it has written what it was asked for and before it answers: the asking
// node asks the next owner with the same request id, and the command was executed once (decision D7).
func TestTheOwnerDiesBeforeItAnswers(t *testing.T) {
	t.Parallel()
	here, there := pair(t, "Modified")
	id := here.idAt(there.address, "c")
	here.want(201, with(t, messages.CreateConnection, id, "tcp://127.0.0.1:1", "closed"))
	modify := with(t, messages.ModifyConnection, id, "tcp://127.0.0.1:1", "closed", named("renamed"))
	began := time.Now()
	here.want(204, modify)
	t.Logf("answered %v after it was asked, over the owner's death", time.Since(began).Round(time.Millisecond))
	if there.alive() {
		t.Fatal("the owner lives: nothing was tested")
	}
	wantEvents(t, here.gate, id, "Created", "Modified")
	here.want(204, modify)
	here.want(204, with(t, messages.ModifyConnection, id, "tcp://127.0.0.1:1", "closed", named("again")))
	wantEvents(t, here.gate, id, "Created", "Modified", "Modified")
}

// A link that was held up delivers an ask when the asker has long had its answer from another owner: the lease for which it was
// sent is over, and it is not executed, though the node owns the connection again.
func TestAnAskOfAnotherLeaseIsNotExecuted(t *testing.T) {
	t.Parallel()
	here, there := pair(t, "")
	id := here.idAt(there.address, "c")
	here.want(201, with(t, messages.CreateConnection, id, "tcp://127.0.0.1:1", "closed"))
	epoch := here.membership.View().Epoch(here.shardOf(id))
	if epoch < 1 {
		t.Fatalf("the owner has epoch %d", epoch)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pid := here.cluster.Get(id, "connection")
	late := with(t, messages.ModifyConnection, id, "tcp://127.0.0.1:1", "closed", named("late"))
	if reply, err := here.wire.ask(ctx, pid, late, epoch+1); !errors.Is(err, errElsewhere) {
		t.Errorf("under another lease: %d %v", reply.Status, err)
	}
	wantEvents(t, here.gate, id, "Created")
	if reply, err := here.wire.ask(ctx, pid, late, epoch); err != nil || reply.Status != 204 {
		t.Errorf("under this lease: %d %v", reply.Status, err)
	}
	wantEvents(t, here.gate, id, "Created", "Modified")
}

// Remote puts a whole batch of messages into one frame; with the library's limits two thirds of such a burst are lost
// (protoactor.md 4).
func TestABurstOfLargeMessagesIsNotLost(t *testing.T) {
	t.Parallel()
	const asks = 1000
	here, there := pair(t, "")
	id := here.idAt(there.address, "c")
	large := strings.Repeat("x", 10<<10)
	here.want(201, with(t, messages.CreateConnection, id, "tcp://127.0.0.1:1", "closed", named(large)))
	commands := make([]messages.Command, asks)
	for k := range commands { // large in both directions
		commands[k] = command(t, map[string]any{"type": messages.RetrieveConnection, "connectionId": id, "ballast": large})
	}
	began := time.Now()
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pid := here.cluster.Get(id, "connection")
	for _, c := range commands {
		all.Go(func() {
			reply, err := here.wire.ask(ctx, pid, c, 0) // one attempt: nothing is asked again
			if err != nil || reply.Status != 200 || len(reply.Body) < len(large) {
				t.Errorf("%d %v, %d bytes", reply.Status, err, len(reply.Body))
			}
		})
	}
	all.Wait()
	t.Logf("%d asks with 10 KiB each way in %v", asks, time.Since(began).Round(time.Millisecond))
}

// A message of a type that is not compiled in ends the receiving process of the plain library (protoactor.md 4).
func TestAnUnknownMessageTypeKillsNobody(t *testing.T) {
	t.Parallel()
	here, there := pair(t, "")
	id := here.idAt(there.address, "c")
	here.want(201, with(t, messages.CreateConnection, id, "tcp://127.0.0.1:1", "closed"))
	for name, batch := range map[string]*remote.MessageBatch{
		"unknown type": {
			TypeNames: []string{"hawser.v9.Novelty"}, Targets: []*actor.PID{actor.NewPID(there.address, regionPath)},
			Envelopes: []*remote.MessageEnvelope{{MessageData: []byte{1, 2, 3}}},
		},
		"unreadable bytes": {
			TypeNames: []string{"hawser.v1.Envelope"}, Targets: []*actor.PID{actor.NewPID(there.address, regionPath)},
			Envelopes: []*remote.MessageEnvelope{{MessageData: []byte{0xff, 0xff, 0xff}}},
		},
		"index out of range": {
			TypeNames: []string{"hawser.v1.Envelope"}, Targets: []*actor.PID{actor.NewPID(there.address, regionPath)},
			Envelopes: []*remote.MessageEnvelope{{TypeId: 7, Target: 3, Sender: 9}},
		},
		"system message to nobody": {
			TypeNames: []string{"actor.Watch"}, Targets: []*actor.PID{actor.NewPID(there.address, "nobody")},
			Envelopes: []*remote.MessageEnvelope{{}},
		},
		"no envelope of ours": {
			TypeNames: []string{"actor.PID"}, Targets: []*actor.PID{actor.NewPID(there.address, regionPath)},
			Envelopes: []*remote.MessageEnvelope{{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			talk(t, there.address, batch)
			if !there.alive() {
				t.Fatalf("the node is dead: %s", there.output())
			}
			here.want(200, on(t, messages.RetrieveConnection, id))
		})
	}
}

// talk sends one batch as a peer would and waits until the other side has ended the stream, or has read it.
func talk(t *testing.T, address string, batch *remote.MessageBatch) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := remote.NewRemotingClient(conn).Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hello := &remote.ConnectRequest{ConnectionType: &remote.ConnectRequest_ServerConnection{
		ServerConnection: &remote.ServerConnection{SystemId: "stranger", Address: "127.0.0.1:1"},
	}}
	if err := stream.Send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: hello}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: batch}}); err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	_, _ = stream.Recv() // the end, one way or the other
}

// The answer to a call of a process that had this address before is nobody's: calls are numbered from a random start, and
// so are the library's own sequences.
func TestAnswersToAPredecessorAreNotTaken(t *testing.T) {
	first, second := newSystem(quiet()), newSystem(quiet())
	defer first.Shutdown()
	defer second.Shutdown()
	before, err := newWire(first, quiet())
	if err != nil {
		t.Fatal(err)
	}
	after, err := newWire(second, quiet())
	if err != nil {
		t.Fatal(err)
	}
	const far = 1 << 40 // more calls than a process makes
	if a, b := first.ProcessRegistry.SequenceID, second.ProcessRegistry.SequenceID; max(a, b)-min(a, b) < far {
		t.Errorf("sequences begin at %d and %d", a, b)
	}
	if a, b := before.next, after.next; max(a, b)-min(a, b) < far {
		t.Errorf("calls begin at %d and %d", a, b)
	}
	// Whatever the predecessor had pending, its answers end no call here.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	asked := make(chan error, 1)
	go func() {
		_, err := after.ask(ctx, actor.NewPID("local", "nobody-there"), on(t, messages.RetrieveConnection, "x"), 0)
		asked <- err
	}()
	for n := range uint64(2000) {
		second.Root.Send(after.self, &hawserv1.Envelope{Type: envelopeReply, Call: before.next + n, Status: 200})
		second.Root.Send(after.self, &hawserv1.Envelope{Type: envelopeReply, Call: n, Status: 200})
	}
	if err := <-asked; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call ended with %v: somebody else's answer was taken", err)
	}
}

// What waits for an address ends when the address is given up, and only that.
func TestAbandonedCallsEndAtOnce(t *testing.T) {
	system := newSystem(quiet())
	defer system.Shutdown()
	w, err := newWire(system, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ends := make(map[string]chan error)
	for _, address := range []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"} {
		end := make(chan error, 1)
		ends[address] = end
		go func() {
			_, err := w.ask(ctx, actor.NewPID(address, regionPath), on(t, messages.RetrieveConnection, "x"), 0)
			end <- err
		}()
	}
	eventually(t, 5*time.Second, "all wait", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.calls); n != 3 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})
	w.abandon("10.0.0.1:1")
	if err := <-ends["10.0.0.1:1"]; !errors.Is(err, errAmbiguous) {
		t.Errorf("given up: %v", err)
	}
	system.Root.Send(w.self, &actor.DeadLetterResponse{Target: actor.NewPID("10.0.0.2:1", regionPath)})
	if err := <-ends["10.0.0.2:1"]; !errors.Is(err, errAmbiguous) {
		t.Errorf("not delivered: %v", err)
	}
	select {
	case err := <-ends["10.0.0.3:1"]:
		t.Errorf("the third ended, too: %v", err)
	default:
	}
	cancel()
	if err := <-ends["10.0.0.3:1"]; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if len(w.calls) != 0 {
		t.Errorf("%d calls are left", len(w.calls))
	}
}
