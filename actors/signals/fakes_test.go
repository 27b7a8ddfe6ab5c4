package signals

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hawser/actors/client"
	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inBubble runs f with a clock of its own, which stands still while anything can run: pass moves it.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// pass lets the time of the bubble pass and waits until everything that this started has come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// node is a hub with the monitor beside it.
type node struct {
	t        testing.TB
	hub      *Hub
	registry *monitor.Registry
}

func newNode(t testing.TB, o Options) *node {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &node{t: t, hub: NewHub(o), registry: monitor.NewRegistry(monitor.Options{})}
	t.Cleanup(n.hub.Close)
	return n
}

// peer is one attached connection with the broker behind it.
type peer struct {
	*Endpoint
	t      testing.TB
	conn   *messages.Connection
	rec    *monitor.Connection
	broker *broker
}

// attach attaches c; it is not connected yet.
func (n *node) attach(c *messages.Connection) *peer {
	n.t.Helper()
	rec := n.registry.Connection(c.ID, string(c.Type))
	e, err := n.hub.Attach(c, 0, rec)
	if err != nil {
		n.t.Fatalf("attach %s: %v", c.ID, err)
	}
	return &peer{Endpoint: e, t: n.t, conn: c, rec: rec, broker: &broker{}}
}

// open attaches c and connects it.
func (n *node) open(c *messages.Connection) *peer {
	n.t.Helper()
	p := n.attach(c)
	p.Connected(p.broker.publish)
	return p
}

// broker is the broker that a connection publishes to. Pending publishes are answered by answer.
type broker struct {
	mu      sync.Mutex
	slow    bool  // keeps outcomes back
	failure error // of every publish
	status  int   // of the outcomes
	sent    []client.Outbound
	pending []func(client.Outcome)
}

var errBroker = errors.New("the broker said no")

func (b *broker) publish(m client.Outbound, done func(client.Outcome)) {
	b.mu.Lock()
	b.sent = append(b.sent, m)
	if b.slow {
		b.pending = append(b.pending, done)
		b.mu.Unlock()
		return
	}
	o := client.Outcome{Err: b.failure, Status: b.status}
	b.mu.Unlock()
	if o.Status == 0 {
		o.Status = 200
		if o.Err != nil {
			o.Status = 503
		}
	}
	done(o)
}

func (b *broker) set(f func(*broker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

// answer ends the n oldest pending publishes; n < 0: all.
func (b *broker) answer(n int, err error) {
	b.mu.Lock()
	if n < 0 || n > len(b.pending) {
		n = len(b.pending)
	}
	batch := b.pending[:n]
	b.pending = b.pending[n:]
	b.mu.Unlock()
	status := 200
	if err != nil {
		status = 503
	}
	for _, done := range batch {
		done(client.Outcome{Status: status, Err: err})
	}
}

func (b *broker) messages() []client.Outbound {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]client.Outbound(nil), b.sent...)
}

// envelopes are what was published, parsed.
func (p *peer) envelopes() []*protocol.Envelope {
	p.t.Helper()
	var all []*protocol.Envelope
	for _, m := range p.broker.messages() {
		e, err := protocol.Parse([]byte(m.Text))
		if err != nil {
			p.t.Fatalf("%s published no envelope: %v: %q", p.conn.ID, err, m.Text)
		}
		all = append(all, e)
	}
	return all
}

// sole is the one envelope that was published.
func (p *peer) sole() *protocol.Envelope {
	p.t.Helper()
	all := p.envelopes()
	if len(all) != 1 {
		p.t.Fatalf("%s published %d messages, want 1: %v", p.conn.ID, len(all), p.broker.messages())
	}
	return all[0]
}

func (p *peer) nothing() {
	p.t.Helper()
	if sent := p.broker.messages(); len(sent) != 0 {
		p.t.Fatalf("%s published %d messages, want none: %v", p.conn.ID, len(sent), sent)
	}
}

// message is a broker message and how it was settled.
type message struct {
	t       testing.TB
	in      *client.Inbound
	mu      sync.Mutex
	settled []client.Settlement
}

// message makes a message of the peer's first source; text is its payload.
func (p *peer) message(text string, change ...func(*client.Inbound)) *message {
	m := &message{t: p.t}
	m.in = client.NewInbound(func(s client.Settlement) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.settled = append(m.settled, s)
	})
	m.in.Address, m.in.Topic = p.conn.Sources[0].Addresses[0], "actual/topic"
	m.in.Headers = messages.Headers{}
	m.in.Text, m.in.HasText = text, true
	for _, f := range change {
		f(m.in)
	}
	return m
}

// consume lets the peer consume a message.
func (p *peer) consume(text string, change ...func(*client.Inbound)) *message {
	m := p.message(text, change...)
	p.Consume(m.in)
	return m
}

func (m *message) settlements() []client.Settlement {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]client.Settlement(nil), m.settled...)
}

func (m *message) want(s client.Settlement) {
	m.t.Helper()
	if got := m.settlements(); len(got) != 1 || got[0] != s {
		m.t.Fatalf("settled %v, want [%v]", got, s)
	}
}

func (m *message) unsettled() {
	m.t.Helper()
	if got := m.settlements(); len(got) != 0 {
		m.t.Fatalf("settled %v, want nothing yet", got)
	}
}

// withHeader is a broker header.
func withHeader(name, value string) func(*client.Inbound) {
	return func(in *client.Inbound) { in.Headers[name] = value }
}

func atMostOnce(in *client.Inbound) { in.AtMostOnce = true }

// counted checks counters: "source in consumed success", "target out published failure", "response dropped success".
func (p *peer) counted(want map[string]int) {
	p.t.Helper()
	m := p.rec.Metrics(time.Now())
	for key, n := range want {
		var direction, address, metric, level string
		if _, err := fmt.Sscan(key, &direction, &address, &metric, &level); err != nil {
			address = monitor.ResponsesAddress
			if _, err := fmt.Sscan(key, &direction, &metric, &level); err != nil {
				p.t.Fatalf("bad key %q", key)
			}
		}
		counts := m.Targets[address][metric]
		if direction == "source" {
			counts = m.Sources[address][metric]
		}
		got := counts.Success.PT24H
		if level == "failure" {
			got = counts.Failure.PT24H
		}
		if got != int64(n) {
			p.t.Errorf("%s: %s counted %d times, want %d", p.conn.ID, key, got, n)
		}
	}
}

// connection makes a connection of a type whose sources carry headers.
func connection(id string, change ...func(*messages.Connection)) *messages.Connection {
	c := &messages.Connection{ID: id, Type: messages.TypeAMQP091, Status: messages.StatusOpen, ClientCount: 1}
	for _, f := range change {
		f(c)
	}
	return c
}

// withSource adds a source at address "in" with the subject "box:shared" and a reply target "replies".
func withSource(change ...func(*messages.Source)) func(*messages.Connection) {
	return func(c *messages.Connection) {
		address := "replies"
		s := messages.Source{
			Addresses: []string{"in"}, ConsumerCount: 1, AuthorizationContext: []string{"box:shared"},
			ReplyTarget: messages.ReplyTarget{Enabled: true, Address: &address, ExpectedResponseTypes: []string{"response", "error"}},
		}
		for _, f := range change {
			f(&s)
		}
		c.Sources = append(c.Sources, s)
	}
}

// withTarget adds a target at address "out" with the subject "box:shared" that takes all live signals.
func withTarget(change ...func(*messages.Target)) func(*messages.Connection) {
	return func(c *messages.Connection) {
		qos := 1
		t := messages.Target{Address: "out", QoS: &qos, AuthorizationContext: []string{"box:shared"}, Topics: []messages.FilteredTopic{
			{Name: messages.TopicLiveEvents}, {Name: messages.TopicLiveCommands}, {Name: messages.TopicLiveMessages},
		}}
		for _, f := range change {
			f(&t)
		}
		c.Targets = append(c.Targets, t)
	}
}

// envelope renders an envelope; headers by pairs, values are JSON texts where they look like it.
func envelope(topic, path, value string, headers ...string) string {
	h := map[string]any{}
	for i := 0; i < len(headers); i += 2 {
		var v any
		if json.Unmarshal([]byte(headers[i+1]), &v) != nil {
			v = headers[i+1]
		}
		h[headers[i]] = v
	}
	e := map[string]any{"topic": topic, "path": path, "headers": h}
	if value != "" {
		e["value"] = json.RawMessage(value)
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// withStatus makes a response of an envelope.
func withStatus(text string, status int) string {
	var e map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		panic(err)
	}
	e["status"] = json.RawMessage(fmt.Sprint(status))
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// liveEvent is a live event with k as its value.
func liveEvent(k int, headers ...string) string {
	return envelope("acme/pump-7/things/live/events/modified", "/attributes/k", fmt.Sprint(k), headers...)
}

// liveMessage is a message to a thing.
func liveMessage(headers ...string) string {
	return envelope("acme/pump-7/things/live/messages/restart", "/inbox/messages/restart", `{"now":true}`, append([]string{"content-type", "application/json"}, headers...)...)
}

// errorCode is the code in an error envelope.
func errorCode(t testing.TB, e *protocol.Envelope) string {
	t.Helper()
	var v struct {
		Status int    `json:"status"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		t.Fatalf("no error: %s", e.Value)
	}
	if v.Status != e.Status || e.Path != "/" {
		t.Fatalf("status %d beside %d, path %q", v.Status, e.Status, e.Path)
	}
	return v.Error
}
