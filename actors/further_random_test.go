package actors

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hawser/messages"
)

// TestClientsAtRandom gives commands to connections with several clients while nodes come, go and are killed. Whenever a
// command is answered no client runs that the connection does not have; in the end every one runs that it has, and none ever
// ran twice at one time.
func TestClientsAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	b := newBroker(t)
	a, there := pair(t, "")
	stop := make(chan struct{})
	var nodes, workers sync.WaitGroup
	nodes.Go(func() { comeAndGo(t, there, rand.New(rand.NewPCG(1, 1)), stop) })
	addresses := []string{a.system.Address(), there.address}
	var lives []*life
	for i := range 8 {
		l := &life{t: t, member: a, broker: b, id: a.idAt(addresses[i%2], fmt.Sprint("at-random-", i)), rng: rand.New(rand.NewPCG(2, uint64(i)))}
		lives = append(lives, l)
	}
	for _, l := range lives {
		workers.Go(func() {
			for deadline := time.Now().Add(12 * time.Second); time.Now().Before(deadline) && !t.Failed(); {
				l.step()
			}
		})
	}
	workers.Wait()
	close(stop)
	nodes.Wait()
	var want []string
	for i, l := range lives {
		l.insist(with(t, messages.CreateConnection, l.id, b.uri, "closed", spread(2)))
		l.insist(with(t, messages.ModifyConnection, l.id, b.uri, "open", spread(1+i%2)))
		want = append(want, clientsOf(l.id, 1+i%2)...)
	}
	eventually(t, 20*time.Second, "all run", func() error { return b.wantThere(want...) })
	for _, l := range lives {
		l.insist(on(t, messages.DeleteConnection, l.id))
	}
	b.onlyThere(t, "when all deletes were answered")
	b.wantNoneTwice(t)
}

// comeAndGo starts, ends and kills nodes beside the one of the test until stop; two are there in the end.
func comeAndGo(t *testing.T, there *child, rng *rand.Rand, stop chan struct{}) {
	var more *child
	for {
		select {
		case <-stop:
			if more != nil {
				_ = more.stdin.Close()
				<-more.exited
			}
			return
		case <-time.After(time.Duration(1+rng.IntN(2)) * time.Second):
		}
		if more == nil {
			more = startChild(t, childSettings{URL: here.url, Instance: "more", Cluster: freeAddress(t)})
			continue
		}
		if rng.IntN(2) == 0 {
			_ = more.cmd.Process.Signal(syscall.SIGKILL)
		} else {
			_ = more.stdin.Close()
		}
		<-more.exited
		more = nil
	}
}

// life is one connection.
type life struct {
	t      *testing.T
	member *member
	broker *broker
	id     string
	rng    *rand.Rand
}

// step gives one command, or two at a time, and looks at the clients afterwards.
func (l *life) step() {
	var work sync.WaitGroup
	for range 1 + l.rng.IntN(2) {
		c := l.command()
		work.Go(func() { _, _ = l.member.ask(c) }) // it may fail: nodes are killed
		time.Sleep(time.Duration(l.rng.IntN(30)) * time.Millisecond)
	}
	work.Wait()
	allowed, ok := l.allowed()
	if !ok {
		return
	}
	eventually(l.t, 4*time.Second, "only the clients that it has", func() error {
		l.broker.mu.Lock()
		defer l.broker.mu.Unlock()
		for id, sockets := range l.broker.live {
			if sockets > 0 && (id == l.id || strings.HasPrefix(id, l.id+"_")) && !slices.Contains(allowed, id) {
				return fmt.Errorf("%s runs, allowed is %v", id, allowed)
			}
		}
		return nil
	})
}

func (l *life) command() messages.Command {
	count := 1 + l.rng.IntN(3)
	switch l.rng.IntN(8) {
	case 0:
		return with(l.t, messages.CreateConnection, l.id, l.broker.uri, "open", spread(count))
	case 1, 2:
		return on(l.t, messages.OpenConnection, l.id)
	case 3:
		return on(l.t, messages.CloseConnection, l.id)
	case 4:
		return with(l.t, messages.ModifyConnection, l.id, l.broker.uri, "closed", spread(count))
	case 5, 6:
		return with(l.t, messages.ModifyConnection, l.id, l.broker.uri, "open", spread(count))
	default:
		return on(l.t, messages.DeleteConnection, l.id)
	}
}

// allowed are the clients that the connection has, as it says; false: nobody says.
func (l *life) allowed() (ids []string, ok bool) {
	reply, err := l.member.ask(on(l.t, messages.RetrieveConnection, l.id))
	if err != nil || reply.Status != 200 && reply.Status != 404 {
		return nil, false
	}
	var r struct {
		Connection struct {
			Status string `json:"connectionStatus"`
			Count  int    `json:"clientCount"`
		} `json:"connection"`
	}
	if err := json.Unmarshal(reply.Body, &r); err != nil {
		l.t.Error(err)
	}
	if reply.Status == 404 || r.Connection.Status != "open" {
		return nil, true
	}
	return clientsOf(l.id, r.Connection.Count), true
}

// insist repeats a command until it is not unavailable.
func (l *life) insist(c messages.Command) {
	l.t.Helper()
	eventually(l.t, 30*time.Second, c.Type, func() error {
		reply, err := l.member.ask(c)
		if err == nil && reply.Status >= 500 {
			err = errors.New(string(reply.Body))
		}
		return err
	})
}
