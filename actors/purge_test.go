package actors

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"hawser/actors/connection"
	"hawser/messages"
	"hawser/persistence"
)

// purgeCommand purges connections.
func purgeCommand(t testing.TB, ids ...string) messages.Command {
	return command(t, map[string]any{"type": messages.PurgeEntities, "entityType": "connection", "entityIds": ids})
}

// purges asks for a purge, within half a minute.
func (m *member) purges(ids ...string) messages.Reply {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	reply, err := m.Ask(ctx, messages.TargetPubSub, purgeCommand(m.t, ids...))
	if err != nil {
		m.t.Fatal(err)
	}
	return reply
}

// lastSeq is the last sequence number that the store knows of a connection.
func (m *member) lastSeq(id string) int64 {
	m.t.Helper()
	for r, err := range m.gate.Store.Recover(m.t.Context(), []string{connection.PID(id)}) {
		if err != nil {
			m.t.Fatal(err)
		}
		return r.LastSeq
	}
	return 0
}

func TestPurge(t *testing.T) {
	b, m := newBroker(t), startAlone(t)
	m.opts.PurgeDelay = 300 * time.Millisecond
	m.want(201, with(t, messages.CreateConnection, "open", b.uri, "open"))
	m.want(201, with(t, messages.CreateConnection, "closed", b.uri, "closed"))
	m.want(204, with(t, messages.ModifyConnection, "closed", b.uri, "closed"))
	m.want(201, with(t, messages.CreateConnection, "kept", b.uri, "open"))
	eventually(t, 5*time.Second, "both are connected", func() error { return count(b, 2) })

	began := time.Now()
	done := make(chan messages.Reply, 1)
	go func() { done <- m.purges("open", "closed", "never-there") }()
	eventually(t, 5*time.Second, "the purged one is disconnected", func() error { return count(b, 1) })
	// A command that comes meanwhile waits, and finds nothing.
	m.want(404, on(t, messages.RetrieveConnection, "open"))
	if took := time.Since(began); took < m.opts.PurgeDelay {
		t.Errorf("a command was executed in the middle of the purge, after %v", took)
	}
	reply := <-done
	if string(reply.Body) != `{"type":"common.responses:purgeEntities","status":200,"entityType":"connection","successful":true}` {
		t.Errorf("%s", reply.Body)
	}
	for _, id := range []string{"open", "closed"} {
		if seq := m.lastSeq(id); seq != 0 {
			t.Errorf("%s is at %d", id, seq)
		}
		m.want(404, on(t, messages.OpenConnection, id))
		m.want(201, with(t, messages.CreateConnection, id, b.uri, "open"))
		if seq := m.lastSeq(id); seq != 1 {
			t.Errorf("%s begins at %d", id, seq)
		}
	}
	m.want(200, on(t, messages.RetrieveConnection, "kept"))
	eventually(t, 5*time.Second, "all are connected", func() error { return count(b, 3) })
	b.wantNoneTwice(t)
}

// TestPurgeOutlivesItsAsker: an asker that stops waiting does not leave a connection half purged.
func TestPurgeOutlivesItsAsker(t *testing.T) {
	b, m := newBroker(t), startAlone(t)
	m.opts.PurgeDelay = 300 * time.Millisecond
	m.want(201, with(t, messages.CreateConnection, "a", b.uri, "closed"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Ask(ctx, messages.TargetPubSub, purgeCommand(t, "a")); err == nil {
		t.Fatal("it was waited for")
	}
	eventually(t, 5*time.Second, "it is purged", func() error {
		if seq := m.lastSeq("a"); seq != 0 {
			return fmt.Errorf("at %d", seq)
		}
		return nil
	})
	m.want(201, with(t, messages.CreateConnection, "a", b.uri, "closed"))
}

// heldPurge is a store whose Purge says that it was called and then waits for its outcome.
type heldPurge struct {
	persistence.Store
	called  chan struct{}
	outcome chan error
}

func (h heldPurge) Purge(ctx context.Context, pid string) error {
	close(h.called)
	if err := <-h.outcome; err != nil {
		return err
	}
	return h.Store.Purge(ctx, pid)
}

// TestPurgeDuringAClaim: a claim that starts the open connections of a shard while one of them is purged does not bring that one
// back. If the purge fails, it is started, as it is without a claim.
func TestPurgeDuringAClaim(t *testing.T) {
	for _, test := range []struct {
		name    string
		claimed bool
		outcome error
	}{
		{"purged", true, nil},
		{"the purge fails", true, persistence.ErrUnavailable},
		{"the purge fails without a claim", false, persistence.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, m := newBroker(t), startAlone(t)
			held := heldPurge{m.gate, make(chan struct{}), make(chan error, 1)}
			m.opts.PurgeDelay, m.opts.Store = time.Millisecond, held
			forget := m.perNode[connectionOps]
			told := 0 // before the purge is answered
			m.perNode[connectionOps] = func(ctx context.Context, c messages.Command) (messages.Reply, error) {
				told++
				return forget(ctx, c)
			}
			m.want(201, with(t, messages.CreateConnection, "c", b.uri, "open"))
			eventually(t, 5*time.Second, "it is connected", func() error { return count(b, 1) })
			done := make(chan messages.Reply, 1)
			go func() { done <- m.purges("c") }()
			<-held.called
			eventually(t, 5*time.Second, "it is disconnected", func() error { return count(b, 0) })
			if test.claimed {
				m.claimed(m.leasesOf("c"))
				eventually(t, 10*time.Second, "the claim is over", func() error {
					if n := m.reviving.Load(); n > 0 {
						return fmt.Errorf("%d claims start connections", n)
					}
					return nil
				})
			}
			held.outcome <- test.outcome
			reply := <-done
			if (told > 0) != (test.outcome == nil) {
				t.Errorf("nodes were told %d times to forget the connection", told)
			}
			if test.outcome != nil {
				if bytes.Contains(reply.Body, []byte(`"successful":true`)) {
					t.Errorf("%s", reply.Body)
				}
				eventually(t, 5*time.Second, "it is connected again", func() error { return count(b, 1) })
				m.want(200, on(t, messages.RetrieveConnection, "c"))
				return
			}
			m.want(404, on(t, messages.RetrieveConnection, "c"))
			if seq := m.lastSeq("c"); seq != 0 {
				t.Errorf("it is at %d", seq)
			}
			if err := count(b, 0); err != nil {
				t.Errorf("a purged connection is connected: %v", err)
			}
		})
	}
}

// TestPurgeAcrossNodes: each connection is purged where it runs, whichever node was asked.
func TestPurgeAcrossNodes(t *testing.T) {
	b := newBroker(t)
	here, there := pair(t, "")
	ids := []string{here.idAt(here.opts.Cluster.Bind, "mine"), here.idAt(there.address, "theirs")}
	for _, id := range ids {
		here.want(201, with(t, messages.CreateConnection, id, b.uri, "closed"))
		here.want(200, on(t, messages.OpenConnection, id))
	}
	here.purges(ids...)
	eventually(t, 5*time.Second, "none is connected", func() error { return count(b, 0) })
	for _, id := range ids {
		if seq := here.lastSeq(id); seq != 0 {
			t.Errorf("%s is at %d", id, seq)
		}
		here.want(404, on(t, messages.RetrieveConnection, id))
		here.want(201, with(t, messages.CreateConnection, id, b.uri, "closed"))
		here.want(200, on(t, messages.OpenConnection, id))
		if seq := here.lastSeq(id); seq != 2 {
			t.Errorf("%s is at %d after create and open", id, seq)
		}
	}
	b.wantNoneTwice(t)
	for _, id := range ids { // the node of this process lives on
		here.want(204, on(t, messages.DeleteConnection, id))
	}
}
