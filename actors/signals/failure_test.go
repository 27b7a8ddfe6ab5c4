package signals

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

// faulty panics for one thing only.
type faulty struct{ SharedSubject }

func (faulty) MayWrite(s *Signal) bool {
	if s.Envelope.Headers.Has("break-in") {
		panic("secret of the message")
	}
	return true
}

func (faulty) Retrieve(string, string, []string) (json.RawMessage, bool) {
	panic("secret of the message")
}

// TestPanic: a bug at one message rejects it with redelivery, logs no payload, and leaves everything working.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	n := newNode(t, Options{Authorizer: faulty{}, Enricher: faulty{}, Log: slog.New(slog.NewTextHandler(&log, nil)), Window: 1})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to", withTarget(func(t *messages.Target) {
		t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveEvents}, {Name: messages.TopicLiveCommands, ExtraFields: "attributes"}}
	})))
	for range 3 {
		from.consume(liveEvent(1, "break-in", "true")).want(client.RejectRedeliver)
		from.consume(envelope("acme/pump-7/things/live/commands/modify", "/attributes/k", "1", "response-required", "false")).want(client.RejectRedeliver)
		from.consume(liveEvent(2)).want(client.Settle)
	}
	to.wantValues("2", "2", "2")
	if !strings.Contains(log.String(), "panic in the data plane") || strings.Contains(log.String(), "secret of the message") {
		t.Errorf("log: %s", log.String())
	}
}

// TestLogEntries is contract runtime.md 12.1: which entries one good message leaves, in which order, and that no header
// value, and no name of a credential header, is in them (O6).
func TestLogEntries(t *testing.T) {
	n := newNode(t, Options{})
	from, to := n.open(connection("from", withSource())), n.open(connection("to", withSource(), withTarget()))
	from.rec.EnableLogs(time.Now())
	to.rec.EnableLogs(time.Now())
	m := from.consume(liveMessage("correlation-id", "c1", "authorization", "Bearer s3cret", "plain", "v4lue"), withHeader("authorization", "Basic s3cret"))
	to.respond(to, 200)
	m.want(client.Settle)
	read := func(p *peer, category string) []string {
		var kinds []string
		for _, e := range p.rec.Logs(time.Now()).Entries {
			if e.Category != category {
				continue
			}
			kinds = append(kinds, e.Type+" "+e.Level)
			if e.CorrelationID != "c1" && e.Type != "consumed" {
				t.Errorf("correlation-id of %+v", e)
			}
			if e.Type != "consumed" && (e.EntityType != "thing" || e.EntityID != "acme:pump-7") {
				t.Errorf("entity of %+v", e)
			}
			for _, secret := range []string{"s3cret", "v4lue", "authorization"} {
				if strings.Contains(e.Message, secret) {
					t.Errorf("%s shows in %q", secret, e.Message)
				}
			}
		}
		return kinds
	}
	for _, row := range []struct {
		peer     *peer
		category string
		want     []string
	}{
		{from, "source", []string{"consumed success", "enforced success", "mapped success", "acknowledged success"}},
		{to, "target", []string{"dispatched success", "filtered success", "mapped success", "published success"}},
		{from, "response", []string{"dispatched success", "mapped success", "published success"}},
	} {
		if got := read(row.peer, row.category); !slices.Equal(got, row.want) {
			t.Errorf("%s of %s: %v, want %v", row.category, row.peer.conn.ID, got, row.want)
		}
	}
}

// TestAttachRefuses: what does not compile is named, with its place.
func TestAttachRefuses(t *testing.T) {
	n := newNode(t, Options{})
	for name, c := range map[string]*messages.Connection{
		"target 0":           connection("x", withTarget(func(t *messages.Target) { t.Address = "{{ fn:nothing() }}" })),
		"filter of target 0": connection("x", withTarget(func(t *messages.Target) { t.Topics[0].Filter = "eq(" })),
		"source 0":           connection("x", withSource(func(s *messages.Source) { s.Enforcement = &messages.Enforcement{Input: "{{ fn:nothing() }}"} })),
		"enforcement filter": connection("x", withSource(func(s *messages.Source) {
			s.Enforcement = &messages.Enforcement{Input: "a", Filters: []string{"{{ fn:nothing() }}"}}
		})),
	} {
		if _, err := n.hub.Attach(c, 0, n.registry.Connection("x", "mqtt")); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(n.hub.endpoints)+len(n.hub.receivers) != 0 {
		t.Error("something was kept")
	}
}

// TestReattach: a second endpoint of one connection takes the targets over; the end of the first does not hurt it.
func TestReattach(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	first := n.open(connection("to", withTarget()))
	second := n.open(connection("to", withTarget(func(t *messages.Target) { t.Topics = t.Topics[:1] })))
	first.Disconnected()
	first.Detach(true)
	from.consume(liveEvent(1)).want(client.Settle)
	from.consume(liveMessage("response-required", "false")).want(client.Settle) // not wanted any more
	first.nothing()
	second.wantValues("1")
	third := n.open(connection("to", withSource())) // a modify took the targets away
	from.consume(liveEvent(2)).want(client.Settle)
	second.wantValues("1")
	second.Detach(true)
	third.Detach(true)
	if size := mapSize(n.hub); size != 0 || len(n.hub.receivers) != 0 {
		t.Errorf("%d keys, %d receivers are left", size, len(n.hub.receivers))
	}
}

// TestManySubjects: a receiver that shares several subjects gets a signal once, one that shares any gets it.
func TestManySubjects(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource(func(s *messages.Source) { s.AuthorizationContext = []string{"a", "b", "c"} })))
	for i, subjects := range [][]string{{"a", "b", "c"}, {"c"}, {"d"}, {"d", "b"}} {
		to := n.open(connection(fmt.Sprintf("to-%d", i), withTarget(func(t *messages.Target) { t.AuthorizationContext = subjects })))
		before := len(to.broker.messages())
		from.consume(liveEvent(i)).want(client.Settle)
		want := 1
		if i == 2 {
			want = 0
		}
		if got := len(to.broker.messages()) - before; got != want {
			t.Errorf("%v: %d", subjects, got)
		}
	}
}
