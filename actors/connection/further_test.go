package connection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
)

// fleet is the house with other nodes: each further client runs at one of its own, with its broker clients and monitor.
type fleet struct {
	*house
	mu    sync.Mutex
	hosts int
	nodes map[string]*elsewhere // by identity
	asked []ClientTask
	again int  // how often one was asked again because it was stopping
	stall bool // no further client answers
}

type elsewhere struct {
	broker *broker
	deps   *Deps
	pid    *actor.PID
}

// newFleet makes a house in a cluster with so many nodes.
func newFleet(t *testing.T, hosts int) *fleet {
	f := &fleet{house: newHouse(t), hosts: hosts, nodes: map[string]*elsewhere{}}
	f.house.stop()
	f.deps.Further = f
	f.house.start()
	t.Cleanup(func() { // before that of the house
		for _, pid := range f.pids() {
			_ = f.system.Root.StopFuture(pid).Wait()
		}
	})
	return f
}

func (f *fleet) pids() (all []*actor.PID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n.pid != nil {
			all = append(all, n.pid)
		}
	}
	return all
}

func (f *fleet) Hosts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts
}

// node is where a further client runs; its actor is started if need be, as a region does it.
func (f *fleet) node(identity string) *elsewhere {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, index := client.ParseIdentity(identity)
	n := f.nodes[identity]
	if n == nil {
		n = &elsewhere{broker: &broker{}}
		deps := *f.deps
		deps.Clients, deps.Monitor, deps.Instance = n.broker, monitor.NewRegistry(monitor.Options{}), fmt.Sprint("node-", index+1)
		n.deps = &deps
		f.nodes[identity] = n
	}
	if n.pid == nil {
		props := FurtherProps(n.deps, id, index, nil)
		var pid *actor.PID
		gone := func(next actor.ReceiverFunc) actor.ReceiverFunc {
			return func(c actor.ReceiverContext, e *actor.MessageEnvelope) {
				next(c, e)
				if _, stopped := e.Message.(*actor.Stopped); stopped {
					f.mu.Lock()
					if n.pid == pid {
						n.pid = nil
					}
					f.mu.Unlock()
				}
			}
		}
		pid = f.system.Root.Spawn(props.Configure(actor.WithReceiverMiddleware(gone)))
		n.pid = pid
	}
	return n
}

// Ask implements Further.
func (f *fleet) Ask(ctx context.Context, identity string, r ClientRequest) (Report, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r.Task)
	stall := f.stall
	f.mu.Unlock()
	if stall {
		<-ctx.Done()
		return Report{}, ctx.Err()
	}
	for {
		if _, index := client.ParseIdentity(identity); index >= f.Hosts() {
			return Report{}, ErrNotRun
		}
		n := f.node(identity)
		f.mu.Lock()
		pid := n.pid
		f.mu.Unlock()
		if pid == nil { // it has stopped just now
			continue
		}
		done := make(chan outcome, 4)
		f.system.Root.Send(pid, &Request{Command: r.Command(identity), Reply: func(r messages.Reply, err error) { done <- outcome{r, err} }})
		select {
		case o := <-done:
			if errors.Is(o.err, ErrStopping) {
				f.mu.Lock()
				f.again++
				f.mu.Unlock()
				time.Sleep(time.Millisecond) // as regions do; nothing is waited for
				continue
			}
			return ReadReport(o.reply)
		case <-time.After(50 * time.Millisecond): // the mail of an actor that stopped is dropped
		case <-ctx.Done():
			return Report{}, ctx.Err()
		}
	}
}

func clients(c messages.Command, n int) messages.Command {
	c.Connection = c.Connection.Clone()
	c.Connection.Type, c.Connection.ClientCount = messages.TypeMQTT5, n
	return c
}

// opened creates an open connection with so many clients and waits until all of them run.
func (f *fleet) opened(n int) []*elsewhere {
	f.t.Helper()
	f.ask(clients(with(command(messages.CreateConnection), messages.StatusOpen), n), 201)
	var further []*elsewhere
	for index := 1; index < min(n, f.hosts); index++ {
		further = append(further, f.node(client.Identity("plant-7", index)))
	}
	f.eventually("all clients are open", func() bool {
		for _, e := range further {
			if e.broker.count("open") == 0 {
				return false
			}
		}
		return f.broker.count("open") == 1
	})
	return further
}

func (f *fleet) status() map[string]any {
	f.t.Helper()
	return body(f.t, f.ask(command(messages.RetrieveConnectionStatus), 200))
}

// history is what a broker saw of a further client; it may be asked to open more than once.
func (e *elsewhere) history() string {
	var seen []string
	for _, what := range strings.Fields(e.broker.events()) {
		if what != "open" || seen[len(seen)-1] != "open" {
			seen = append(seen, what)
		}
	}
	return strings.Join(seen, " ")
}

func list(v any) []any { l, _ := v.([]any); return l }

func TestEveryClientRuns(t *testing.T) {
	f := newFleet(t, 3)
	further := f.opened(3)
	f.eventually("the status is open", func() bool { return f.status()["liveStatus"] == "open" })
	s := f.status()
	if len(list(s["clientStatus"])) != 3 || len(list(s["sourceStatus"])) != 3*len(SourceAddresses(sample("plant-7"))) {
		t.Errorf("status %v", s)
	}
	f.ask(command(messages.CloseConnection), 200)
	for i, e := range further {
		if got := e.history(); got != "start open close stop" {
			t.Errorf("client %d when close was answered: %s", i+1, got)
		}
	}
	f.ask(command(messages.OpenConnection), 200)
	for i, e := range further {
		if got := e.history(); got != "start open close stop start open" {
			t.Errorf("client %d when open was answered: %s", i+1, got)
		}
	}
	f.ask(command(messages.DeleteConnection), 204)
	for i, e := range further {
		if e.broker.live != 0 {
			t.Errorf("client %d runs after delete", i+1)
		}
	}
}

// The priority counts what passed at all clients (piggyback.md 5.7).
func TestPriorityOfAllClients(t *testing.T) {
	f := newFleet(t, 3)
	f.house.stop()
	f.deps.Timings.PriorityInterval = 20 * time.Millisecond
	f.house.start()
	further := f.opened(3)
	f.deps.Monitor.Connection("plant-7", "mqtt-5").Source("in").Record(monitor.Consumed, true)
	for _, n := range further {
		n.deps.Monitor.Connection("plant-7", "mqtt-5").Target("out").Record(monitor.Published, true)
	}
	f.eventually("the priority is the sum", func() bool {
		f.store.mu.Lock()
		defer f.store.mu.Unlock()
		return f.store.index["plant-7"].Priority == 3
	})
}

// More clients than nodes: those that nobody can run show as misconfigured, the others run.
func TestFewerNodesThanClients(t *testing.T) {
	f := newFleet(t, 2)
	f.opened(3)
	s := f.status()
	clients := list(s["clientStatus"])
	if len(clients) != 3 || s["liveStatus"] != "misconfigured" {
		t.Fatalf("status %v", s)
	}
	last := clients[2].(map[string]any)
	if last["client"] != "unknown-client" || last["status"] != "misconfigured" || !strings.Contains(last["statusDetails"].(string), "<3>") {
		t.Errorf("the missing client: %v", last)
	}
	f.ask(command(messages.CloseConnection), 200)
}

// A modify replaces every client, those that the connection has no more included, and the answer waits for that.
func TestModifyReplacesEveryClient(t *testing.T) {
	f := newFleet(t, 3)
	further := f.opened(3)
	f.ask(clients(with(command(messages.ModifyConnection), messages.StatusOpen), 2), 204)
	if got := further[0].history(); got != "start open moving close stop start open" {
		t.Errorf("client 1: %s", got)
	}
	if got := further[1].history(); got != "start open moving close stop" { // what waits for it goes to another client
		t.Errorf("client 2: %s", got)
	}
}

// The entity moves: its further clients go on, and the next entity knows them.
func TestFurtherClientsOutliveTheEntity(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.restart()
	f.eventually("client 0 is back", func() bool { return f.broker.count("open") == 2 })
	f.eventually("the status is open", func() bool { return f.status()["liveStatus"] == "open" })
	if got := further[0].history(); got != "start open" {
		t.Errorf("client 1: %s", got)
	}
	f.ask(command(messages.CloseConnection), 200)
	if further[0].broker.live != 0 {
		t.Error("client 1 runs after close")
	}
}

// What a further client missed it takes up when its node finds it in the index.
func TestSyncTakesUpWhatWasMissed(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.mu.Lock()
	f.hosts = 1 // nobody reaches it
	f.mu.Unlock()
	f.ask(command(messages.CloseConnection), 200)
	if further[0].broker.live != 1 {
		t.Fatal("it was reached")
	}
	f.mu.Lock()
	f.hosts = 2
	f.mu.Unlock()
	if _, err := f.Ask(t.Context(), "plant-7#1", ClientRequest{Task: ClientSync, Revision: math.MaxInt64}); err != nil {
		t.Fatal(err)
	}
	if got := further[0].history(); got != "start open close stop" {
		t.Errorf("client 1: %s", got)
	}
	f.ask(command(messages.OpenConnection), 200)
	if further[0].broker.live != 1 {
		t.Error("client 1 does not run after open")
	}
}

func TestReportsAreAddedUp(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.ask(command(messages.EnableConnectionLogs), 200)
	here, there := f.deps.Monitor.Connection("plant-7", "mqtt-5"), further[0].deps.Monitor.Connection("plant-7", "mqtt-5")
	address := SourceAddresses(sample("plant-7"))[0]
	for range 2 {
		here.Source(address).Record(monitor.Consumed, true)
	}
	for range 3 {
		there.Source(address).Record(monitor.Consumed, true)
	}
	here.Source(address).Success(monitor.Consumed, monitorEntry("here"))
	there.Source(address).Success(monitor.Consumed, monitorEntry("there"))
	consumed := func() string {
		m := body(t, f.ask(command(messages.RetrieveConnectionMetrics), 200))
		in := m["connectionMetrics"].(map[string]any)["inbound"].(map[string]any)["consumed"].(map[string]any)["success"].(map[string]any)
		return fmt.Sprint(in["PT24H"], " ", in["lastMessageAt"] != nil)
	}
	if got := consumed(); got != "7 true" { // 2 and 3, and each log entry stands for one
		t.Errorf("consumed %s, want 7", got)
	}
	logs := string(f.ask(command(messages.RetrieveConnectionLogs), 200).Body)
	if !strings.Contains(logs, `"here"`) || !strings.Contains(logs, `"there"`) {
		t.Errorf("logs %s", logs)
	}
	f.ask(command(messages.ResetConnectionLogs), 200)
	if logs := string(f.ask(command(messages.RetrieveConnectionLogs), 200).Body); strings.Contains(logs, `"there"`) {
		t.Errorf("logs after reset %s", logs)
	}
	f.ask(command(messages.ResetConnectionMetrics), 200)
	if got := consumed(); got != "0 false" {
		t.Errorf("consumed after reset %s", got)
	}
}

// Open is answered with the failure of a further client, too.
func TestAFurtherClientCannotConnect(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.ask(command(messages.CloseConnection), 200)
	further[0].broker.set(func(b *broker) { b.refuse = messages.NewConnectionFailed("plant-7", "no route") })
	reply := body(t, f.ask(command(messages.OpenConnection), 504))
	if reply["error"] != messages.CodeConnectionFailed || !strings.Contains(fmt.Sprint(reply["description"]), "no route") {
		t.Errorf("reply %v", reply)
	}
	f.ask(command(messages.CloseConnection), 200)
}

// The journal cannot be read when a further client starts: it tries again by itself.
func TestAFurtherClientReadsAgain(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.mu.Lock()
	pid := further[0].pid
	f.mu.Unlock()
	if err := f.system.Root.StopFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	failures := 3
	f.store.mu.Lock()
	f.store.onRecover = func() error {
		if failures--; failures >= 0 {
			return errors.New("the database is away")
		}
		return nil
	}
	f.store.mu.Unlock()
	f.node("plant-7#1")
	f.eventually("it runs again", func() bool { return further[0].broker.count("start") == 2 })
}

// Revisions only grow: an older open changes nothing, an older close ends nothing.
func TestOldRequestsChangeNothing(t *testing.T) {
	f := newFleet(t, 2)
	further := f.opened(2)
	f.ask(command(messages.CloseConnection), 200)
	f.ask(command(messages.OpenConnection), 200) // revision 3
	before := further[0].history()
	for _, r := range []ClientRequest{{Task: ClientOpen, Revision: 1}, {Task: ClientClose, Revision: 2}, {Task: ClientSync, Revision: 2}} {
		if _, err := f.Ask(t.Context(), "plant-7#1", r); err != nil {
			t.Fatal(err)
		}
	}
	if got := further[0].history(); got != before {
		t.Errorf("after old requests %q, before %q", got, before)
	}
}
