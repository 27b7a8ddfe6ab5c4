package actors

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/actors/shard"
	"hawser/messages"
	"hawser/persistence"
)

// spread makes a connection have so many clients.
func spread(clients int) func(map[string]any) {
	return func(c map[string]any) { c["connectionType"], c["clientCount"] = "mqtt-5", clients }
}

// clientsOf is what the broker knows the clients of a connection by, in order of their numbers.
func clientsOf(id string, count int) (ids []string) {
	c := &messages.Connection{ID: id, ClientCount: count}
	for index := range count {
		ids = append(ids, id+client.Suffix(c, index))
	}
	return ids
}

// onlyThere waits a moment, until the broker has noticed too, for exactly these clients to be connected.
func (b *broker) onlyThere(t testing.TB, what string, ids ...string) {
	t.Helper()
	eventually(t, 2*time.Second, what, func() error { return b.wantThere(ids...) })
}

// wantThere returns an error unless exactly these clients are connected.
func (b *broker) wantThere(ids ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var there []string
	for id, sockets := range b.live {
		if sockets > 0 {
			there = append(there, id)
		}
	}
	slices.Sort(there)
	slices.Sort(ids)
	if !slices.Equal(there, ids) {
		return fmt.Errorf("connected %v, want %v", there, ids)
	}
	return nil
}

// liveClients are the live status of a connection and, for each client entry, instance and status.
func liveClients(t testing.TB, m *member, id string) (live string, clients []string) {
	t.Helper()
	var s struct {
		Live    string                            `json:"liveStatus"`
		Clients []struct{ Client, Status string } `json:"clientStatus"`
	}
	if err := json.Unmarshal(m.want(200, on(t, messages.RetrieveConnectionStatus, id)).Body, &s); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Clients {
		clients = append(clients, c.Client+" "+c.Status)
	}
	slices.Sort(clients)
	return s.Live, clients
}

// A connection with clientCount 2 has a client on each of two nodes; all of its commands see to both, and the loss of a node
// leaves as many as there are nodes.
func TestClientsOnSeveralNodes(t *testing.T) {
	b := newBroker(t)
	a, there := pair(t, "")
	ids := map[string]string{"entity here": a.idAt(a.system.Address(), "here"), "entity there": a.idAt(there.address, "there")}
	for name, id := range ids {
		a.want(201, with(t, messages.CreateConnection, id, b.uri, "closed", spread(2)))
		a.want(200, on(t, messages.OpenConnection, id))
		b.onlyThere(t, name+": when open was answered", clientsOf(id, 2)...)
		eventually(t, 10*time.Second, "each node has a client", func() error { // its shard follows when that of the entity has moved
			live, clients := liveClients(t, a, id)
			if live != "open" || !slices.Equal(clients, []string{"here open", "there open"}) {
				return fmt.Errorf("%s: %s %v", name, live, clients)
			}
			return nil
		})
		a.want(204, with(t, messages.ModifyConnection, id, b.uri, "open", spread(1)))
		b.onlyThere(t, name+": with one client", id)
		a.want(204, with(t, messages.ModifyConnection, id, b.uri, "open", spread(2)))
		b.onlyThere(t, name+": with two again", clientsOf(id, 2)...)
		a.want(200, on(t, messages.CloseConnection, id))
		b.onlyThere(t, name+": when close was answered")
	}
	id := ids["entity there"]
	a.want(200, on(t, messages.OpenConnection, id))
	if err := there.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-there.exited
	eventually(t, 15*time.Second, "client 0 runs here, client 1 nowhere", func() error { return b.wantThere(clientsOf(id, 2)[:1]...) })
	live, clients := liveClients(t, a, id)
	if live != "misconfigured" || !slices.Equal(clients, []string{"here open", "unknown-client misconfigured"}) {
		t.Errorf("on one node: %s %v", live, clients)
	}
	startChild(t, childSettings{URL: here.url, Instance: "again", Cluster: freeAddress(t)})
	eventually(t, 15*time.Second, "both run again", func() error { return b.wantThere(clientsOf(id, 2)...) })
	b.wantNoneTwice(t)
	for _, id := range ids {
		a.want(204, on(t, messages.DeleteConnection, id))
	}
	b.onlyThere(t, "when delete was answered")
}

func TestDisagreeing(t *testing.T) {
	rows := []persistence.IndexRow{{ID: "two", ClientCount: 2, Revision: 4}, {ID: "three", ClientCount: 3, Revision: 5}, {ID: "one", ClientCount: 1, Revision: 6}}
	here := []string{"two#1", "one#1", "gone#2"}
	got := disagreeing(rows, here, func(identity string) bool { return identity == "three#2" })
	want := map[string]int64{"two#1": 4, "one#1": math.MaxInt64, "gone#2": math.MaxInt64, "three#2": 5}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whether a client whose shard is nobody's is waited for.
func TestNotRun(t *testing.T) {
	for _, row := range []struct {
		task                  connection.ClientTask
		index, members, hosts int
		fresh, want           bool
	}{
		{connection.ClientOpen, 1, 3, 3, true, false}, // somebody will claim it
		{connection.ClientStatus, 1, 3, 3, true, false},
		{connection.ClientOpen, 1, 1, 1, false, true}, // nobody is there
		{connection.ClientOpen, 3, 3, 3, false, false},
		{connection.ClientOpen, 3, 3, 3, true, true}, // too few nodes
		{connection.ClientClose, 1, 3, 3, false, false},
		{connection.ClientClose, 1, 3, 3, true, true},
		{connection.ClientSync, 1, 3, 3, false, true},
	} {
		if got := notRun(row.task, row.index, row.members, row.hosts, row.fresh); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	before, next, after := &shard.View{}, &shard.View{}, &shard.View{}
	l := looks{last: before}
	for i, view := range []*shard.View{before, before, next, next, after, after} {
		if got := l.again(view); got != (i >= 4) { // the reading of next may have begun before
			t.Errorf("look %d is fresh: %v", i, got)
		}
	}
}
