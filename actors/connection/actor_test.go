package connection

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hawser/actors/monitor"

	"hawser/messages"
	"hawser/persistence"
)

func TestMain(m *testing.M) {
	// Mail that comes too late for an actor keeps a goroutine of the library asleep for a second, longer than goleak waits.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func created(t *testing.T, status messages.ConnectivityStatus) *house {
	h := newHouse(t)
	h.ask(with(command(messages.CreateConnection), status), 201)
	return h
}

func TestOpenConnectionSurvivesARestart(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	h.restart()
	h.eventually("opened again", func() bool { return h.broker.count("open") == 2 })
	if got := h.store.types("plant-7"); got != "Created" {
		t.Errorf("recovery wrote events: %s", got)
	}
	reply := body(t, h.ask(command(messages.RetrieveConnectionLogs), 200))
	if reply["enabledSince"] != nil {
		t.Errorf("recovery enabled logs: %v", reply)
	}
	h.ask(command(messages.CloseConnection), 200)
	h.restart()
	h.ask(command(messages.RetrieveConnection), 200)
	if n := h.broker.count("start"); n != 2 {
		t.Errorf("%d clients started, a closed connection must not start one", n)
	}
}

func TestStoredRowsSayWhatTheContractSays(t *testing.T) {
	h := newHouse(t)
	h.deps.Interest = func(*messages.Connection) json.RawMessage { return json.RawMessage(`{"a":1}`) }
	c := with(command(messages.CreateConnection), messages.StatusOpen)
	c.Connection.Tags = []string{"eu"}
	h.ask(request(c, "r-1"), 201)
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	row, index := h.store.events["connection:plant-7"][0], h.store.index["plant-7"]
	if row.SeqNr != 1 || row.Epoch != 1 || row.RequestID != "r-1" || row.Type != "connectivity.events:connectionCreated" ||
		fmt.Sprint(row.Tags) != "[eu always-alive priority-0]" || row.CreatedAt.IsZero() {
		t.Errorf("row %+v", row)
	}
	if index.ID != "plant-7" || index.Shard != 3 || index.Status != "open" || index.Deleted || index.ClientCount != 1 ||
		index.Revision != 1 || string(index.Interest) != `{"a":1}` || fmt.Sprint(index.Tags) != fmt.Sprint(row.Tags) {
		t.Errorf("index %+v", index)
	}
}

func TestAppendFailures(t *testing.T) {
	tests := []struct {
		name    string
		fate    func(persistence.Append) (bool, error)
		status  int
		code    string
		written bool // the row is there although the append failed
		clients bool // clients go on running
	}{
		{"conflict", func(persistence.Append) (bool, error) { return false, persistence.ErrConflict }, 503, "connectivity:connection.unavailable", false, false},
		{"unknown outcome, not written", func(persistence.Append) (bool, error) { return false, persistence.ErrUnknownOutcome }, 503, "connectivity:connection.unavailable", false, false},
		{"unknown outcome, written", func(persistence.Append) (bool, error) { return true, persistence.ErrUnknownOutcome }, 503, "connectivity:connection.unavailable", true, false},
		{"anything else", func(persistence.Append) (bool, error) { return false, errors.New("boom") }, 503, "connectivity:connection.unavailable", false, false},
		{"certainly not written", func(persistence.Append) (bool, error) { return false, persistence.ErrUnavailable }, 503, "connectivity:connection.unavailable", false, true},
		{"rejected", func(persistence.Append) (bool, error) { return false, &persistence.RejectedError{Reason: "22P05"} }, 500, "connectivity:internalerror", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := created(t, messages.StatusOpen)
			h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
			h.store.fate(tt.fate)
			reply := h.ask(request(command(messages.CloseConnection), "r-close"), tt.status)
			if got := body(t, reply)["error"]; got != tt.code {
				t.Errorf("code %v, want %s", got, tt.code)
			}
			h.store.fate(nil)
			h.awake()
			if tt.clients {
				if n := h.broker.count("stop"); n != 0 {
					t.Errorf("clients were stopped")
				}
			} else if n := h.broker.count("stop"); n != 1 {
				t.Errorf("%d clients stopped, want 1", n)
			}
			want := "open"
			if tt.written {
				want = "closed"
			} else if !tt.clients {
				h.eventually("reopened", func() bool { return h.broker.count("open") == 2 })
			}
			if got := body(t, h.ask(command(messages.RetrieveConnectionStatus), 200))["connectionStatus"]; got != want {
				t.Errorf("stored status %v, want %s", got, want)
			}
			// Still usable: the sequence goes on without a gap.
			h.ask(command(messages.CloseConnection), 200)
			h.ask(command(messages.OpenConnection), 200)
			if h.broker.maxLive > 1 {
				t.Errorf("%d clients at once", h.broker.maxLive)
			}
		})
	}
}

func TestFencedEntityEnds(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	h.store.mu.Lock()
	h.store.epoch = 2 // another node took the shard
	h.store.mu.Unlock()
	if o := h.wait(h.send(command(messages.CloseConnection))); !errors.Is(o.err, ErrStopping) {
		t.Errorf("answer %d %v, want ErrStopping: nothing was executed here", o.reply.Status, o.err)
	}
	h.eventually("client stopped", func() bool { return h.broker.count("stop") == 1 })
	h.eventually("actor gone", func() bool { _, ok := h.system.ProcessRegistry.Get(h.pid); return !ok })
	h.pid = nil
	h.store.mu.Lock()
	h.epoch = 2 // and gave it back
	h.store.mu.Unlock()
	h.start()
	h.ask(command(messages.CloseConnection), 200)
	if got := h.store.types("plant-7"); got != "Created Closed" {
		t.Errorf("journal %s", got)
	}
}

// Without a lease the entity does not say 503, which would be a failed command in a planned move: it ends, and who asked
// asks where the connection is now.
func TestWithoutALeaseNothingIsRecoveredOrOpened(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	h.store.mu.Lock()
	h.owned = false
	h.store.mu.Unlock()
	h.restart()
	h.eventually("actor gone", func() bool { _, ok := h.system.ProcessRegistry.Get(h.pid); return !ok })
	if n := h.broker.count("start"); n != 1 {
		t.Errorf("%d clients started", n)
	}
	h.pid = nil
	h.store.mu.Lock()
	h.owned = true
	h.store.mu.Unlock()
	h.start()
	h.eventually("opened again", func() bool { return h.broker.count("open") == 2 })
}

func TestStoreUnreadableAtFirst(t *testing.T) {
	h := created(t, messages.StatusClosed)
	h.store.mu.Lock()
	failures := 3
	h.store.onRecover = func() error {
		if failures--; failures >= 0 {
			return errors.New("database away")
		}
		return nil
	}
	h.store.mu.Unlock()
	h.restart()
	h.ask(command(messages.RetrieveConnection), 503)
	h.awake()
	h.ask(command(messages.RetrieveConnection), 200)
}

func TestUndecodableIsUnavailableAndNeverOverwritten(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(m *memoryStore)
	}{
		{"event", func(m *memoryStore) { m.events[PID("plant-7")][0].Payload = json.RawMessage(`{"type":5}`) }},
		{"gap", func(m *memoryStore) { m.events[PID("plant-7")] = m.events[PID("plant-7")][1:] }},
		{"snapshot", func(m *memoryStore) {
			m.snapshots[PID("plant-7")] = []persistence.Snapshot{{PID: PID("plant-7"), SeqNr: 2, Payload: json.RawMessage(`[]`)}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := created(t, messages.StatusClosed)
			h.ask(command(messages.CloseConnection), 200)
			h.stop()
			tt.spoil(h.store)
			h.start()
			appends := h.store.appends
			for _, typ := range []string{messages.CreateConnection, messages.RetrieveConnection, messages.DeleteConnection, messages.CleanupPersistence, messages.TestConnection} {
				if code := body(t, h.ask(command(typ), 503))["error"]; code != "connectivity:connection.unavailable" {
					t.Errorf("%s: %v", typ, code)
				}
			}
			if h.store.appends != appends {
				t.Error("something was written")
			}
		})
	}
}

func TestDecryptionFailureIsUnavailable(t *testing.T) {
	h := created(t, messages.StatusClosed)
	h.stop()
	h.deps.Codec.Unseal = func(json.RawMessage) (json.RawMessage, error) { return nil, errors.New("wrong key") }
	h.start()
	h.ask(command(messages.CreateConnection), 503)
}

func TestSealedPayloadsComeBack(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.deps.Codec = Codec{
		Seal: func(p json.RawMessage) (json.RawMessage, error) { return json.Marshal(string(p)) },
		Unseal: func(p json.RawMessage) (json.RawMessage, error) {
			var s string
			err := json.Unmarshal(p, &s)
			return json.RawMessage(s), err
		},
	}
	h.deps.Rules.SnapshotThreshold = 2
	h.start()
	h.ask(command(messages.CreateConnection), 201)
	h.ask(command(messages.CloseConnection), 200)
	h.ask(command(messages.CloseConnection), 200)
	if n := len(h.store.snapshots[PID("plant-7")]); n != 1 {
		t.Errorf("%d snapshots, want 1", n)
	}
	h.restart()
	h.ask(command(messages.RetrieveConnection), 200)
}

func TestSealFailureIsAnsweredAtOnce(t *testing.T) { // encryption.md 5, P2
	h := newHouse(t)
	h.stop()
	failing := true
	h.deps.Codec.Seal = func(p json.RawMessage) (json.RawMessage, error) {
		if failing {
			return nil, errors.New("no key")
		}
		return p, nil
	}
	h.start()
	refused := func(c messages.Command) {
		t.Helper()
		if code := body(t, h.ask(c, 400))["error"]; code != messages.CodeConfigurationInvalid {
			t.Errorf("%s: %v", c.Type, code)
		}
	}
	refused(command(messages.CreateConnection))
	if h.store.appends != 0 {
		t.Error("something was written")
	}
	h.stop() // else failing is not ours to change
	failing = false
	h.start()
	h.ask(with(command(messages.CreateConnection), messages.StatusClosed), 201)
	h.stop()
	failing = true
	h.start()
	refused(command(messages.OpenConnection))
	h.ask(command(messages.RetrieveConnection), 200)
	if got := h.store.types("plant-7"); got != "Created" {
		t.Errorf("journal %s", got)
	}
}

func TestARequestIsExecutedOnce(t *testing.T) {
	h := created(t, messages.StatusClosed)
	open := request(command(messages.OpenConnection), "r-1")
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.hold = gate })
	first, second := h.send(open), h.send(open) // the second arrives while the first is in work
	h.eventually("connecting", func() bool { return h.broker.count("open") == 1 })
	close(gate)
	a, b := h.wait(first), h.wait(second)
	if a.reply.Status != 200 || string(a.reply.Body) != string(b.reply.Body) {
		t.Errorf("answers %s and %s", a.reply.Body, b.reply.Body)
	}
	h.ask(open, 200) // and once more when it is answered
	if got := h.store.types("plant-7"); got != "Created Opened" {
		t.Errorf("journal %s", got)
	}
	if len(first) != 0 || len(second) != 0 {
		t.Error("answered twice")
	}
	h.ask(request(command(messages.OpenConnection), "r-2"), 200)
	if got := h.store.types("plant-7"); got != "Created Opened Opened" {
		t.Errorf("another request is another execution: journal %s", got)
	}
}

func TestARequestIsExecutedOnceAcrossRecovery(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshot %v", snapshot), func(t *testing.T) {
			h := newHouse(t)
			if snapshot {
				h.stop()
				h.deps.Rules.SnapshotThreshold = 1
				h.start()
			}
			create := request(with(command(messages.CreateConnection), messages.StatusClosed), "r-create")
			h.ask(create, 201)
			h.restart()
			again := body(t, h.ask(create, 201)) // not 409
			if again["type"] != "connectivity.responses:createConnection" || again["connection"] == nil {
				t.Errorf("answer %v", again)
			}
			open := request(command(messages.OpenConnection), "r-open")
			h.ask(open, 200)
			h.restart()
			h.ask(open, 200)
			h.ask(request(command(messages.DeleteConnection), "r-delete"), 204)
			h.restart()
			h.ask(request(command(messages.DeleteConnection), "r-delete"), 204) // not 404
			if got := h.store.types("plant-7"); got != "Created Opened Deleted" {
				t.Errorf("journal %s", got)
			}
			h.ask(request(command(messages.DeleteConnection), "r-other"), 404)
		})
	}
}

func TestOpenCutOffByARestartWaitsForTheConnectAgain(t *testing.T) {
	h := created(t, messages.StatusClosed)
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.hold = gate })
	open := request(command(messages.OpenConnection), "r-1")
	first := h.send(open)
	h.eventually("connecting", func() bool { return h.broker.count("open") == 1 })
	h.restart()
	if o := h.wait(first); !errors.Is(o.err, ErrStopping) {
		t.Fatalf("first answer %+v, want ErrStopping", o)
	}
	second := h.send(open)
	h.eventually("connecting again", func() bool { return h.broker.count("open") >= 2 })
	if len(second) != 0 {
		t.Fatal("answered before the connect")
	}
	close(gate)
	if o := h.wait(second); o.reply.Status != 200 {
		t.Errorf("%+v", o)
	}
	if got := h.store.types("plant-7"); got != "Created Opened" {
		t.Errorf("journal %s", got)
	}
}

func TestCommandsInLineAndTheDirectRoute(t *testing.T) {
	h := created(t, messages.StatusClosed)
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.hold = gate })
	open := h.send(command(messages.OpenConnection))
	h.eventually("connecting", func() bool { return h.broker.count("open") == 1 })

	inLine := h.send(command(messages.RetrieveConnectionStatus))
	closing := h.send(command(messages.CloseConnection))
	for _, typ := range []string{messages.RetrieveConnectionStatus, messages.RetrieveConnectionMetrics, messages.RetrieveConnectionLogs, messages.RetrieveConnection} {
		h.ask(sudo(command(typ)), 200) // answered while the open waits for the broker
	}
	if len(open)+len(inLine)+len(closing) != 0 {
		t.Error("a command in line was answered before the one ahead of it")
	}
	close(gate)
	if o := h.wait(open); o.reply.Status != 200 {
		t.Errorf("open %+v", o)
	}
	if got := body(t, h.wait(inLine).reply)["connectionStatus"]; got != "open" {
		t.Errorf("the status in line saw %v, want open: it came before close", got)
	}
	if o := h.wait(closing); o.reply.Status != 200 {
		t.Errorf("close %+v", o)
	}
}

func TestManyCommandsKeepTheirOrder(t *testing.T) {
	h := created(t, messages.StatusClosed)
	var waiting []<-chan outcome
	for i := range 50 {
		c := command(messages.ModifyConnection)
		name := fmt.Sprint("n", i)
		c.Connection.Name = &name
		waiting = append(waiting, h.send(c))
	}
	for i, w := range waiting {
		if o := h.wait(w); o.reply.Status != 204 {
			t.Fatalf("%d: %+v", i, o)
		}
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	for i, e := range h.store.events[PID("plant-7")][1:] {
		event, err := messages.ParseEvent(e.Payload)
		if err != nil || *event.Connection.Name != fmt.Sprint("n", i) || e.SeqNr != int64(i+2) {
			t.Fatalf("row %d: %v %s", i, err, e.Payload)
		}
	}
}

func TestEnforcementTimeoutFreesTheLine(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.deps.Timings.LocalAsk = 30 * time.Millisecond
	h.start()
	h.ask(command(messages.CreateConnection), 201)
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.hold = gate })
	open := h.send(command(messages.OpenConnection))
	status := h.send(command(messages.RetrieveConnectionStatus))
	if got := body(t, h.wait(open).reply); got["error"] != "enforcement.timeout" || got["status"] != 503.0 {
		t.Errorf("got %v", got)
	}
	if o := h.wait(status); o.reply.Status != 200 {
		t.Errorf("status %+v", o)
	}
	close(gate)
	h.eventually("the open goes on", func() bool { return h.wait(h.send(command(messages.RetrieveConnectionStatus))).reply.Status == 200 })
	if len(open) != 0 {
		t.Error("answered twice")
	}
}

func TestClientTimeout(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.deps.Timings.ClientAsk = 20 * time.Millisecond
	h.start()
	h.ask(command(messages.CreateConnection), 201)
	h.broker.set(func(b *broker) { b.hold = make(chan struct{}) })
	if got := body(t, h.ask(sudo(command(messages.OpenConnection)), 504)); got["error"] != "connectivity:connection.failed" {
		t.Errorf("got %v", got)
	}
	h.ask(command(messages.CloseConnection), 200)
}

func TestOpenFailureStaysOpenAndKeepsTheClient(t *testing.T) {
	h := created(t, messages.StatusClosed)
	h.broker.set(func(b *broker) { b.refuse = errors.New("no route") })
	if got := body(t, h.ask(command(messages.OpenConnection), 504)); !strings.Contains(fmt.Sprint(got["description"]), "no route") && !strings.Contains(fmt.Sprint(got), "no route") {
		t.Errorf("got %v", got)
	}
	if n := h.broker.count("stop"); n != 0 {
		t.Error("the client was stopped, nobody reconnects")
	}
	status := body(t, h.ask(command(messages.RetrieveConnectionStatus), 200))
	if status["connectionStatus"] != "open" {
		t.Errorf("status %v", status)
	}
	h.broker.set(func(b *broker) { b.refuse = &messages.Error{Status: 401, Code: "connectivity:connection.unauthorized"} })
	h.ask(command(messages.OpenConnection), 401)
	h.broker.set(func(b *broker) { b.refuse = nil })
	h.ask(command(messages.OpenConnection), 200)
	if n := h.broker.count("start"); n != 1 {
		t.Errorf("%d clients started, want the same one opened thrice", n)
	}
}

func TestClientThatWouldNotDisconnectIsStoppedAllTheSame(t *testing.T) {
	for _, typ := range []string{messages.CloseConnection, messages.DeleteConnection} {
		t.Run(typ, func(t *testing.T) {
			h := created(t, messages.StatusOpen)
			h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
			h.broker.set(func(b *broker) { b.stuck = errors.New("stuck") })
			h.ask(command(typ), 504)
			h.eventually("stopped", func() bool { return h.broker.count("stop") == 1 })
			want := 200
			if typ == messages.DeleteConnection {
				want = 404
			}
			h.ask(command(messages.RetrieveConnection), want)
		})
	}
}

func TestModifyWhileOpenReplacesTheClient(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	h.ask(with(command(messages.ModifyConnection), messages.StatusOpen), 204)
	if got := h.broker.events(); got != "start open moving close stop start open" {
		t.Errorf("broker saw %q", got)
	}
}

func TestOpenByTheDirectRouteWaitsForARunningDisconnect(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.holdEnd = gate })
	closing := h.send(command(messages.CloseConnection))
	h.eventually("disconnecting", func() bool { return h.broker.count("close") == 1 })
	opening := h.send(sudo(command(messages.OpenConnection)))
	h.ask(sudo(command(messages.RetrieveConnectionStatus)), 200)
	if n := h.broker.count("start"); n != 1 {
		t.Fatalf("%d clients started while one disconnects", n)
	}
	close(gate)
	if a, b := h.wait(closing), h.wait(opening); a.reply.Status != 200 || b.reply.Status != 200 {
		t.Errorf("close %+v, open %+v", a, b)
	}
	h.broker.mu.Lock()
	defer h.broker.mu.Unlock()
	if h.broker.maxLive != 1 || h.broker.live != 1 {
		t.Errorf("%d clients at most, %d now; want one", h.broker.maxLive, h.broker.live)
	}
}

func TestCloseByTheDirectRouteEndsAWaitingModify(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.holdEnd = gate })
	modify := h.send(with(command(messages.ModifyConnection), messages.StatusOpen))
	h.eventually("disconnecting", func() bool { return h.broker.count("close") == 1 })
	closing := h.send(sudo(command(messages.CloseConnection)))
	h.eventually("closed", func() bool { return strings.HasSuffix(h.store.types("plant-7"), "Closed") })
	close(gate)
	if o := h.wait(closing); o.reply.Status != 200 {
		t.Errorf("close %+v", o)
	}
	if got := body(t, h.wait(modify).reply)["error"]; got != "connectivity:signal.illegal" {
		t.Errorf("modify: %v", got)
	}
	h.broker.mu.Lock()
	defer h.broker.mu.Unlock()
	if h.broker.live != 0 {
		t.Error("a client runs although the stored status is closed")
	}
}

func TestDeletedAndCreatedAgainContinuesTheNumbers(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.ask(command(messages.DeleteConnection), 204)
	h.ask(command(messages.RetrieveConnection), 404)
	h.ask(command(messages.CreateConnection), 201)
	h.store.mu.Lock()
	rows := h.store.events[PID("plant-7")]
	last, index := rows[len(rows)-1], h.store.index["plant-7"]
	h.store.mu.Unlock()
	if last.SeqNr != 3 || last.Type != messages.EventConnectionCreated {
		t.Errorf("newest row %d %s", last.SeqNr, last.Type)
	}
	if index.Deleted || index.Revision != 3 {
		t.Errorf("index %+v", index)
	}
	h.restart()
	h.ask(command(messages.RetrieveConnection), 200)
}

func TestTestConnection(t *testing.T) {
	h := newHouse(t)
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.hold = gate })
	first := h.send(command(messages.TestConnection))
	h.eventually("testing", func() bool { return h.broker.count("test") == 1 })
	h.ask(sudo(command(messages.TestConnection)), 404)
	close(gate)
	if o := h.wait(first); o.reply.Status != 200 {
		t.Errorf("%+v", o)
	}
	if got := h.store.types("plant-7"); got != "" {
		t.Errorf("journal %s", got)
	}
	h.eventually("passivated", func() bool { _, ok := h.system.ProcessRegistry.Get(h.pid); return !ok })
	h.start()
	h.broker.set(func(b *broker) { b.refuse = errors.New("refused") })
	h.ask(command(messages.TestConnection), 504)
	h.broker.set(func(b *broker) { b.refuse = nil })
	h.ask(command(messages.CreateConnection), 201)
	h.ask(command(messages.TestConnection), 409)
}

func TestStatusWithoutAClient(t *testing.T) {
	h := created(t, messages.StatusClosed)
	got := body(t, h.ask(command(messages.RetrieveConnectionStatus), 200))
	clients, _ := got["clientStatus"].([]any)
	if len(clients) != 1 {
		t.Fatalf("got %v", got)
	}
	c := clients[0].(map[string]any)
	since, err := time.Parse(time.RFC3339Nano, fmt.Sprint(c["inStateSince"]))
	if err != nil || time.Since(since) > time.Minute {
		t.Errorf("inStateSince %v", c["inStateSince"])
	}
	delete(c, "inStateSince")
	if want := map[string]any{"type": "client", "client": "node-1", "status": "closed", "recoveryStatus": "unknown", "statusDetails": "[DISCONNECTED] connection is closed"}; fmt.Sprint(c) != fmt.Sprint(want) {
		t.Errorf("got %v", c)
	}
	delete(got, "clientStatus")
	want := map[string]any{
		"type": "connectivity.responses:retrieveConnectionStatus", "status": 200.0, "connectionId": "plant-7",
		"connectionStatus": "closed", "liveStatus": "closed", "recoveryStatus": "unknown",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestMetricsAndLogsFollowTheClient(t *testing.T) {
	h := created(t, messages.StatusClosed)
	for _, typ := range []string{messages.EnableConnectionLogs, messages.ResetConnectionMetrics, messages.ResetConnectionLogs} {
		h.ask(command(typ), 200)
	}
	metrics := body(t, h.ask(command(messages.RetrieveConnectionMetrics), 200))
	if got := fmt.Sprint(metrics["connectionMetrics"]); got != "map[inbound:<nil> outbound:<nil>]" {
		t.Errorf("closed: %s", got)
	}
	if got := body(t, h.ask(command(messages.RetrieveConnectionLogs), 200)); got["enabledUntil"] != nil || fmt.Sprint(got["connectionLogs"]) != "[]" {
		t.Errorf("closed: %v", got)
	}
	h.ask(command(messages.OpenConnection), 200)
	h.deps.Monitor.Connection("plant-7", "mqtt").Self().Success(monitor.Other, monitorEntry("Connection successful"))
	logs := body(t, h.ask(command(messages.RetrieveConnectionLogs), 200))
	if !strings.Contains(fmt.Sprint(logs["connectionLogs"]), "Connection successful") || logs["enabledUntil"] == nil {
		t.Errorf("open: %v", logs)
	}
	metrics = body(t, h.ask(command(messages.RetrieveConnectionMetrics), 200))
	sources := metrics["sourceMetrics"].(map[string]any)["addressMetrics"].(map[string]any)
	targets := metrics["targetMetrics"].(map[string]any)["addressMetrics"].(map[string]any)
	if sources["telemetry/#"] == nil || targets["events/out"] == nil || targets["_responses"] == nil {
		t.Errorf("addresses of a started client: %v, %v", sources, targets)
	}
	h.ask(command(messages.ResetConnectionLogs), 200)
	if got := fmt.Sprint(body(t, h.ask(command(messages.RetrieveConnectionLogs), 200))["connectionLogs"]); !strings.Contains(got, "Successfully reset the logs.") || strings.Contains(got, "Connection successful") {
		t.Errorf("after reset: %s", got)
	}
}

func TestHistory(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.deps.Rules.SnapshotThreshold = 3
	now := time.Date(2026, 8, 18, 9, 0, 0, 0, time.UTC)
	step := func() { now = now.Add(time.Minute) }
	h.deps.Now = func() time.Time { return now } // only changed while the entity is stopped
	change := func(c messages.Command, status int) {
		step()
		h.start()
		h.ask(c, status)
		h.stop()
	}
	named := func(typ, name string) messages.Command {
		c := command(typ)
		c.Connection.Name = &name
		return c
	}
	change(named(messages.CreateConnection, "one"), 201)   // 1, 09:01
	change(named(messages.ModifyConnection, "two"), 204)   // 2, 09:02
	change(command(messages.OpenConnection), 200)          // 3, 09:03, snapshot
	change(named(messages.ModifyConnection, "four"), 204)  // 4, 09:04
	change(command(messages.DeleteConnection), 204)        // 5, 09:05
	change(named(messages.CreateConnection, "six"), 201)   // 6, 09:06, snapshot
	change(named(messages.ModifyConnection, "seven"), 204) // 7, 09:07
	step()
	h.start()
	if n := len(h.store.snapshots[PID("plant-7")]); n != 2 {
		t.Fatalf("%d snapshots, the table below is about two", n)
	}
	read := func(header, value string) (int, string) {
		c := command(messages.RetrieveConnection)
		c.Headers[header] = value
		o := h.wait(h.send(c))
		m := body(t, o.reply)
		if code, ok := m["error"]; ok {
			return o.reply.Status, fmt.Sprint(code)
		}
		conn, _ := json.Marshal(m["connection"])
		var got struct {
			Name             string `json:"name"`
			ConnectionStatus string `json:"connectionStatus"`
		}
		if err := json.Unmarshal(conn, &got); err != nil {
			t.Fatal(err)
		}
		return o.reply.Status, got.Name + " " + got.ConnectionStatus
	}
	check := func(header, value string, status int, want string) {
		t.Helper()
		if gotStatus, got := read(header, value); gotStatus != status || got != want {
			t.Errorf("%s %s: %d %q, want %d %q", header, value, gotStatus, got, status, want)
		}
	}
	const none, gone = "connectivity:connection.history.notfound", "connectivity:connection.notfound"
	at := messages.HeaderAtRevision
	check(at, "1", 200, "one closed")
	check(at, "2", 200, "two closed")
	check(at, "3", 200, "two open")
	check(at, "4", 200, "four closed")
	check(at, "5", 404, gone)
	check(at, "6", 200, "six closed")
	check(at, "7", 200, "seven closed")
	check(at, "8", 404, none)
	at = messages.HeaderAtTimestamp
	check(at, "2026-08-18T09:00:30Z", 404, none)
	check(at, "2026-08-18T09:01:00Z", 404, none) // not strictly before
	check(at, "2026-08-18T09:01:00.5Z", 200, "one closed")
	check(at, "2026-08-18T09:03:30Z", 200, "two open")
	check(at, "2026-08-18T09:05:30Z", 404, gone)
	check(at, "2026-08-18T09:07:30Z", 200, "seven closed")
	check(at, "2026-08-18T10:00:00Z", 404, none)
	// Cleaned up to the newest snapshot: what is left still answers.
	h.ask(command(messages.CleanupPersistence), 200)
	at = messages.HeaderAtRevision
	check(at, "4", 404, none)
	check(at, "6", 200, "six closed")
	check(at, "7", 200, "seven closed")
}

func TestLeaveDisconnectsInOrder(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
	h.system.Root.Send(h.pid, Leave{})
	if o := h.wait(h.send(command(messages.CloseConnection))); !errors.Is(o.err, ErrStopping) {
		t.Errorf("a command while leaving: %+v", o)
	}
	h.eventually("gone", func() bool { _, ok := h.system.ProcessRegistry.Get(h.pid); return !ok })
	if got := h.broker.events(); got != "start open moving close moving stop" {
		t.Errorf("broker saw %q", got)
	}
	if got := h.store.types("plant-7"); got != "Created" {
		t.Errorf("leaving wrote %s", got)
	}
	h.pid = nil
}

func TestQueueIsBounded(t *testing.T) {
	h := created(t, messages.StatusClosed)
	gate := make(chan struct{})
	h.broker.set(func(b *broker) { b.hold = gate })
	open := h.send(command(messages.OpenConnection))
	h.eventually("connecting", func() bool { return h.broker.count("open") == 1 })
	var waiting []<-chan outcome
	for range maxQueue {
		waiting = append(waiting, h.send(command(messages.RetrieveConnection)))
	}
	h.ask(command(messages.RetrieveConnection), 503)
	close(gate)
	h.wait(open)
	for _, w := range waiting {
		if o := h.wait(w); o.reply.Status != 200 {
			t.Fatalf("%+v", o)
		}
	}
}

func TestPanicEndsTheCommandNotTheEntity(t *testing.T) {
	h := created(t, messages.StatusOpen)
	h.store.fate(func(persistence.Append) (bool, error) { panic("a defect") })
	h.ask(command(messages.CloseConnection), 503)
	h.store.fate(nil)
	h.awake()
	h.ask(command(messages.CloseConnection), 200)
}

// What waits for a client must not wait for a next one that nobody starts, and must not be refused when there is one (O12, O13).
func TestOnlyAClientThatComesBackIsMoving(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(h *house)
		moving int
	}{
		{"close", func(h *house) { h.ask(command(messages.CloseConnection), 200) }, 0},
		{"delete", func(h *house) { h.ask(command(messages.DeleteConnection), 204) }, 0},
		{"modify to closed", func(h *house) { h.ask(with(command(messages.ModifyConnection), messages.StatusClosed), 204) }, 0},
		{"modify to open", func(h *house) { h.ask(with(command(messages.ModifyConnection), messages.StatusOpen), 204) }, 1},
		{"stopped", func(h *house) { h.stop() }, 1},
		{"a failed entity", func(h *house) {
			h.store.fate(func(persistence.Append) (bool, error) { return false, persistence.ErrConflict })
			h.ask(command(messages.CloseConnection), 503)
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := created(t, messages.StatusOpen)
			h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
			tt.do(h)
			h.eventually("the client ended", func() bool { return h.broker.count("stop") == 1 })
			if n := h.broker.count("moving"); n != tt.moving {
				t.Errorf("moving %d times, want %d: %s", n, tt.moving, h.broker.events())
			}
		})
	}
}

// A lease that is lost while the journal is read is not acted on: whoever has it now runs the client.
func TestTheLeaseIsLostWhileTheEntityRecovers(t *testing.T) {
	for name, lose := range map[string]func(*house){
		"given away":    func(h *house) { h.owned = false },
		"claimed again": func(h *house) { h.epoch, h.store.epoch = 3, 3 },
	} {
		t.Run(name, func(t *testing.T) {
			h := created(t, messages.StatusOpen)
			h.eventually("opened", func() bool { return h.broker.count("open") == 1 })
			h.stop()
			h.store.mu.Lock()
			h.store.onRecover = func() error { lose(h); return nil } // under store.mu
			h.store.mu.Unlock()
			h.start()
			h.eventually("ended", func() bool {
				_, running := h.system.ProcessRegistry.GetLocal(h.pid.Id)
				return !running
			})
			h.pid = nil
			if n := h.broker.count("start"); n != 1 {
				t.Errorf("%d clients started, want the first one only", n)
			}
		})
	}
}
