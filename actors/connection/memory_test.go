package connection

import (
	"fmt"
	"testing"
	"time"

	"hawser/messages"
)

// What was answered is known by its request until two minutes have passed, however many there are; and what is in work as long
// as it is.
func TestRequestMemory(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	command := func(id int) messages.Command {
		return messages.Command{Type: messages.OpenConnection, RequestID: fmt.Sprintf("r-%d", id)}
	}
	for _, n := range []int{1, few, few + 1, 5 * few} {
		t.Run(fmt.Sprintf("%d requests", n), func(t *testing.T) {
			var m requestMemory
			for i := range n {
				at := began.Add(time.Duration(i) * time.Second)
				r := &run{command: command(i)}
				if r.remembered = m.start(r, at); m.find(r.command, at) != r.remembered || r.remembered.run != r {
					t.Fatalf("%d is not known while it is in work", i)
				}
				m.done(r, messages.Reply{Status: 200, Body: []byte(r.command.RequestID)}, State{}, at)
			}
			last := began.Add(time.Duration(n-1) * time.Second)
			for i := range n {
				known := m.find(command(i), last)
				if known == nil || known.run != nil || string(known.reply.reply().Body) != fmt.Sprintf("r-%d", i) {
					t.Errorf("%d: %+v", i, known)
				}
			}
			if known := m.find(command(n), last); known != nil {
				t.Errorf("a new request is taken for %+v", known)
			}
			if m.find(command(0), began.Add(rememberFor+time.Millisecond)) != nil || n > 1 && m.find(command(n-1), began.Add(rememberFor+time.Millisecond)) == nil {
				t.Error("not just the oldest is forgotten")
			}
			if m.find(command(n-1), last.Add(rememberFor+time.Millisecond)) != nil || len(m.order)+len(m.byID) != 0 {
				t.Errorf("%d are kept for ever", len(m.order))
			}
		})
	}
}

// The answer to a repeated request is the first one, whatever has changed since.
func TestARepeatedCreateIsAnsweredAsAtFirst(t *testing.T) {
	h := newHouse(t)
	create := request(with(command(messages.CreateConnection), messages.StatusClosed), "r-create")
	first := h.ask(create, 201)
	modify := request(with(command(messages.ModifyConnection), messages.StatusClosed), "r-modify")
	modify.Connection.Tags = []string{"changed"}
	h.ask(modify, 204)
	again := h.ask(create, 201)
	if string(again.Body) != string(first.Body) || again.Headers.JSON() != first.Headers.JSON() {
		t.Errorf("%s %s\nat first %s %s", again.Body, again.Headers.JSON(), first.Body, first.Headers.JSON())
	}
	if got := h.store.types("plant-7"); got != "Created Modified" {
		t.Errorf("journal %s", got)
	}
}

// An entity that was certainly never written is not looked up.
func TestAnUnwrittenEntityIsNotRead(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.store.mu.Lock()
	h.store.onRecover = func() error { return fmt.Errorf("read") } // under store.mu
	h.store.mu.Unlock()
	h.deps.Store = knowing{h.store}
	h.start()
	h.ask(command(messages.CreateConnection), 201)
}

type knowing struct{ *memoryStore }

func (knowing) Unwritten(pid string) bool { return pid == PID("plant-7") }
