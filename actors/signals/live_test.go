package signals

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/protocol"
)

// respond answers the newest signal that the peer got, through its own source.
func (p *peer) respond(via *peer, status int, change ...string) *message {
	p.t.Helper()
	all := p.envelopes()
	got := all[len(all)-1]
	text := withStatus(envelope(got.Topic.String(), got.Path, `"done"`, append([]string{"correlation-id", got.Headers["correlation-id"], "content-type", "text/plain"}, change...)...), status)
	return via.consume(text)
}

// acknowledgements reads aggregated acknowledgements: label → status.
func acknowledgements(t testing.TB, e *protocol.Envelope) map[string]int {
	t.Helper()
	var v map[string]struct {
		Status  int             `json:"status"`
		Headers map[string]any  `json:"headers"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		t.Fatalf("no acknowledgements: %s", e.Value)
	}
	out := map[string]int{}
	for label, a := range v {
		out[label] = a.Status
		if a.Headers["ditto-weak-ack"] == true {
			out[label+" weak"] = a.Status
		}
	}
	return out
}

// TestResponse is R21, R59, R61: any answer settles positively and reaches the requester, even through a third connection.
func TestResponse(t *testing.T) {
	for _, status := range []int{200, 404, 500} {
		for _, third := range []bool{false, true} {
			t.Run(fmt.Sprint(status, third), func(t *testing.T) {
				n := newNode(t, Options{})
				from := n.open(connection("from", withSource()))
				to := n.open(connection("to", withSource(), withTarget()))
				via := to
				if third {
					via = n.open(connection("third", withSource()))
				}
				m := from.consume(liveMessage("correlation-id", "c1"))
				got := to.sole()
				if got.Headers["response-required"] != "true" || got.Headers["correlation-id"] != "c1" || string(got.Value) != `{"now":true}` {
					t.Errorf("headers %v value %s", got.Headers, got.Value)
				}
				m.unsettled()
				to.respond(via, status).want(client.Settle)
				m.want(client.Settle)
				answer := from.sole()
				if answer.Status != status || answer.Headers["correlation-id"] != "c1" || answer.Topic.String() != "acme/pump-7/things/live/messages/restart" || string(answer.Value) != `"done"` {
					t.Errorf("answer %d %v %s %s", answer.Status, answer.Headers, answer.Topic, answer.Value)
				}
				level := "success"
				if status >= 400 {
					level = "failure"
				}
				from.counted(map[string]int{"response dispatched " + level: 1, "response mapped success": 1, "response published success": 1})
				to.respond(via, status).want(client.Settle) // the second one is nobody's
				from.sole()
			})
		}
	}
}

// TestLiveCommand: commands take the same way, and their response must have the same action.
func TestLiveCommand(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to", withSource(), withTarget()))
	m := from.consume(envelope("acme/pump-7/things/live/commands/retrieve", "/attributes/k", "", "correlation-id", "c1"))
	to.sole()
	to.consume(withStatus(envelope("acme/pump-7/things/live/commands/modify", "/attributes/k", "", "correlation-id", "c1"), 204)).want(client.Settle)
	to.consume(withStatus(envelope("acme/pump-7/things/live/commands/retrieve", "/attributes/other", "1", "correlation-id", "c1"), 200)).want(client.Settle)
	m.unsettled()
	from.nothing()
	from.counted(map[string]int{"response other failure": 2})
	to.respond(to, 200).want(client.Settle)
	m.want(client.Settle)
	if e := from.sole(); e.Status != 200 {
		t.Error(e.Status)
	}
}

// TestNobodyAnswers is R22, R60 and the description after an unsuitable response (4.2).
func TestNobodyAnswers(t *testing.T) {
	for _, row := range []struct {
		name        string
		targets     []string // subject
		timeout     []string
		after       time.Duration
		unsuitable  bool
		description string
	}{
		{"timeout 2s (R22)", []string{"box:shared"}, []string{"timeout", "2s"}, 2 * time.Second, false, "receiver"},
		{"no shared subject (R60)", []string{"box:other"}, []string{"timeout", "2s"}, 2 * time.Second, false, "receiver"},
		{"default timeout", nil, nil, 60 * time.Second, false, "receiver"},
		{"timeout above the bound", nil, []string{"timeout", "5m"}, 65 * time.Second, false, "receiver"},
		{"unsuitable response", []string{"box:shared"}, []string{"timeout", "2s"}, 2 * time.Second, true, "does not suit"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, Options{})
				defer n.hub.Close()
				from := n.open(connection("from", withSource()))
				for _, subject := range row.targets {
					n.open(connection("to", withSource(), withTarget(func(t *messages.Target) { t.AuthorizationContext = []string{subject} })))
				}
				m := from.consume(liveMessage(append([]string{"correlation-id", "c1"}, row.timeout...)...))
				if row.unsuitable {
					from.consume(withStatus(envelope("acme/pump-7/things/live/messages/restart", "/outbox/messages/restart", "", "correlation-id", "c1"), 200))
				}
				pass(row.after - time.Millisecond)
				m.unsettled()
				from.nothing()
				pass(time.Millisecond)
				m.want(client.RejectRedeliver)
				e := from.sole()
				if errorCode(t, e) != "command.timeout" || e.Status != 408 || e.Headers["correlation-id"] != "c1" || e.Topic.String() != "acme/pump-7/things/live/errors" {
					t.Errorf("%d %s %s %v", e.Status, e.Value, e.Topic, e.Headers)
				}
				if !strings.Contains(string(e.Value), row.description) {
					t.Errorf("description of %s", e.Value)
				}
				from.counted(map[string]int{"source in acknowledged failure": 1})
			})
		})
	}
}

// TestResponseRequiredWithoutAcks is the row "true, empty, >0" of 4.1: settled at once, a response or 408 follows.
func TestResponseRequiredWithoutAcks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		defer n.hub.Close()
		from := n.open(connection("from", withSource()))
		to := n.open(connection("to", withSource(), withTarget()))
		from.consume(liveMessage("requested-acks", "[]", "response-required", "true", "correlation-id", "c1")).want(client.Settle)
		to.respond(to, 200)
		if e := from.sole(); e.Status != 200 {
			t.Error(e.Status)
		}
		from.consume(liveMessage("requested-acks", "[]", "response-required", "true", "timeout", "1s")).want(client.Settle)
		pass(time.Second)
		if all := from.envelopes(); len(all) != 2 || all[1].Status != 408 {
			t.Error(all)
		}
	})
}

// TestAcks is R23, R28, R29, R30 and the issuers of 4.4.
func TestAcks(t *testing.T) {
	issuing := func(label string) func(*messages.Target) {
		return func(t *messages.Target) { t.IssuedAcknowledgementLabel = label }
	}
	for _, row := range []struct {
		name       string
		requested  string
		issued     func(*messages.Target)
		declared   []string // by the receiver's source
		nacks      bool     // the reply target expects them
		fail       bool     // publishes of the receiver
		ack        string   // label acknowledged by the receiver's application
		respond    int      // status of the response
		settlement client.Settlement
		want       map[string]int // of the answer; nil: none
		status     int
	}{
		{"two labels, both 200 (R30)", `["to:stored","to:app"]`, issuing("to:stored"), []string{"to:app"}, false, false, "to:app", 200,
			client.Settle, map[string]int{"to:stored": 200, "to:app": 200, "live-response": 200}, 200},
		{"the responder answers 500 (4.3)", `["to:stored"]`, issuing("to:stored"), nil, true, false, "", 500,
			client.Settle, map[string]int{"to:stored": 200, "live-response": 500}, 424},
		{"nobody declared the label (R28)", `["none:x","to:stored"]`, issuing("to:stored"), nil, true, false, "", 200,
			client.RejectRedeliver, map[string]int{"none:x": 408, "to:stored": 200, "live-response": 200}, 424},
		{"failing labels are not expected (R23)", `["none:x"]`, nil, nil, false, false, "", 200, client.RejectRedeliver, nil, 0},
		{"publish fails", `["to:stored"]`, issuing("to:stored"), nil, true, true, "", 200,
			client.RejectRedeliver, map[string]int{"to:stored": 503, "live-response": 200}, 424},
		{"filter refuses: weak (R29)", `["to:stored","to:app"]`, func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "to:stored"
			t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveMessages, Filter: `eq(topic:subject,"other")`}}
		}, []string{"to:app"}, false, false, "", 200,
			client.Settle, map[string]int{"to:stored": 200, "to:stored weak": 200, "to:app": 200, "to:app weak": 200, "live-response": 200}, 200},
		{"not authorized: weak", `["to:stored"]`, func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "to:stored"
			t.AuthorizationContext = []string{"box:other"}
		}, nil, false, false, "", 200, client.Settle, map[string]int{"to:stored": 200, "to:stored weak": 200, "live-response": 200}, 200},
		{"namespace: weak", `["to:stored"]`, func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "to:stored"
			t.Topics = []messages.FilteredTopic{{Name: messages.TopicLiveMessages, Namespaces: []string{"other"}}}
		}, nil, false, false, "", 200, client.Settle, map[string]int{"to:stored": 200, "to:stored weak": 200, "live-response": 200}, 200},
		{"no address: nobody acknowledges", `["to:stored"]`, func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "to:stored"
			t.Address = "{{header:absent}}"
		}, nil, true, false, "", 200, client.RejectRedeliver, map[string]int{"to:stored": 408, "live-response": 200}, 424},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, Options{})
				defer n.hub.Close()
				from := n.open(connection("from", withSource(func(s *messages.Source) {
					if row.nacks {
						s.ReplyTarget.ExpectedResponseTypes = []string{"response", "error", "nack"}
					}
				})))
				var change []func(*messages.Target)
				if row.issued != nil {
					change = append(change, row.issued)
				}
				to := n.open(connection("to", withSource(func(s *messages.Source) { s.DeclaredAcks = row.declared }), withTarget(change...)))
				if row.fail {
					to.broker.set(func(b *broker) { b.failure = errBroker })
				}
				m := from.consume(liveMessage("correlation-id", "c1", "timeout", "5s", "requested-acks", row.requested))
				if row.ack != "" {
					to.consume(withStatus(envelope("acme/pump-7/things/live/acks/"+row.ack, "/", `"kept"`, "correlation-id", "c1"), 200)).want(client.Settle)
				}
				if row.respond > 0 {
					from.consume(withStatus(liveMessage("correlation-id", "c1"), row.respond)).want(client.Settle)
				}
				pass(5 * time.Second)
				m.want(row.settlement)
				if row.want == nil {
					from.nothing()
					from.counted(map[string]int{"response dropped success": 1})
					return
				}
				e := from.sole()
				if got := acknowledgements(t, e); e.Status != row.status || fmt.Sprint(got) != fmt.Sprint(row.want) {
					t.Errorf("status %d %v, want %d %v", e.Status, got, row.status, row.want)
				}
				if e.Topic.String() != "acme/pump-7/things/live/acks" || e.Headers["correlation-id"] != "c1" {
					t.Errorf("%s %v", e.Topic, e.Headers)
				}
			})
		})
	}
}

// TestAcksWithoutResponse: response-required false leaves only the labels, and nothing is published.
func TestAcksWithoutResponse(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to", withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"{{connection:id}}:app"} }), withTarget()))
	m := from.consume(liveMessage("correlation-id", "c1", "response-required", "false", "requested-acks", `["to:app","else:x","live-response"]`))
	if got := to.sole().Headers["requested-acks"]; got != `["to:app"]` { // O-4: only what this connection can issue
		t.Errorf("requested-acks %s", got)
	}
	m.unsettled()
	other := n.open(connection("else", withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"else:x"} })))
	for _, status := range []int{400, 503, 200} { // the first one counts
		other.consume(withStatus(envelope("acme/pump-7/things/live/acks/else:x", "/", "", "correlation-id", "c1"), status)).want(client.Settle)
	}
	m.unsettled()
	to.consume(withStatus(envelope("acme/pump-7/things/live/acks", "/", `{"to:app":{"status":200,"headers":{}}}`, "correlation-id", "c1"), 200)).want(client.Settle)
	m.want(client.Reject)
	from.nothing()
}

// TestUndeclaredAck is R26.
func TestUndeclaredAck(t *testing.T) {
	n := newNode(t, Options{})
	p := n.open(connection("from", withSource(func(s *messages.Source) { s.DeclaredAcks = []string{"from:mine"} })))
	p.consume(withStatus(envelope("acme/pump-7/things/live/acks/from:other", "/", "", "correlation-id", "c1", "response-required", "false"), 200)).want(client.Settle)
	if code := errorCode(t, p.sole()); code != "acknowledgement:label.not.declared" {
		t.Error(code)
	}
	p.consume(withStatus(envelope("acme/pump-7/things/live/acks/from:mine", "/", "", "correlation-id", "nobody"), 200)).want(client.Settle)
	p.sole()
}

// TestReplyPath is R24 and 6.4: addresses and header mapping of the reply target, responses without one.
func TestReplyPath(t *testing.T) {
	address := func(a string) func(*messages.Source) {
		return func(s *messages.Source) {
			s.ReplyTarget.Address = &a
			s.ReplyTarget.HeaderMapping = map[string]string{"x": "{{topic:channel}}", "content-type": "fixed", "y": "{{header:absent}}"}
		}
	}
	for _, row := range []struct {
		name    string
		source  func(*messages.Source)
		address string // "": not published
		counts  map[string]int
	}{
		{"address with placeholder", address("r/{{header:reply-to}}"), "r/back", map[string]int{"response published success": 1}},
		{"address absent (R24)", address("{{header:absent}}"), "", map[string]int{"response dispatched success": 1, "response dropped success": 1, "response published success": 0}},
		{"response not expected", func(s *messages.Source) { s.ReplyTarget.ExpectedResponseTypes = []string{"error"} }, "", map[string]int{"response dispatched success": 1, "response dropped success": 1}},
		{"no reply target", func(s *messages.Source) { s.ReplyTarget.Enabled = false }, "", map[string]int{"response dispatched success": 0, "response dropped success": 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, Options{})
			from := n.open(connection("from", withSource(row.source)))
			to := n.open(connection("to", withSource(), withTarget()))
			m := from.consume(liveMessage("correlation-id", "c1", "reply-to", "back"))
			to.respond(to, 200)
			m.want(client.Settle)
			from.counted(row.counts)
			if row.address == "" {
				from.nothing()
				return
			}
			out := from.broker.messages()[0]
			if out.Address != row.address || out.QoS != 0 || out.TargetAddress != "" || out.Headers["x"] != "live" || out.Headers["content-type"] != "fixed" || out.Headers["correlation-id"] != "c1" {
				t.Errorf("%+v", out)
			}
			if _, there := out.Headers["y"]; there {
				t.Error("an unresolved header is there")
			}
		})
	}
}

// TestSameCorrelationID is 14.3: the second request leaves with a suffix, which its requester does not see.
func TestSameCorrelationID(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.open(connection("to", withSource(), withTarget()))
	first := from.consume(liveMessage("correlation-id", "c1"))
	second := from.consume(liveMessage("correlation-id", "c1"))
	all := to.envelopes()
	if all[0].Headers["correlation-id"] != "c1" || !strings.HasPrefix(all[1].Headers["correlation-id"], "c1_") {
		t.Fatalf("%v %v", all[0].Headers, all[1].Headers)
	}
	to.respond(to, 200)
	first.unsettled()
	second.want(client.Settle)
	to.consume(withStatus(liveMessage("correlation-id", "c1"), 201))
	first.want(client.Settle)
	answers := from.envelopes()
	if len(answers) != 2 || answers[0].Headers["correlation-id"] != "c1" || answers[1].Headers["correlation-id"] != "c1" || answers[0].Status != 200 || answers[1].Status != 201 {
		t.Fatal(answers)
	}
}

// TestRefusals is contract runtime.md 14.3, R57, R58, R64, R65.
func TestRefusals(t *testing.T) {
	const things, live = "acme/pump-7/things/twin/errors", "acme/pump-7/things/live/errors"
	for _, row := range []struct {
		name       string
		text       string
		settlement client.Settlement
		topic      string // of the error; "": no reply
		code       string // also logged
	}{
		{"modify (R57)", envelope("acme/pump-7/things/twin/commands/modify", "/attributes/k", "1"), client.Reject, things, "things:thing.notfound"},
		{"merge", envelope("acme/pump-7/things/twin/commands/merge", "/", "{}"), client.Reject, things, "things:thing.notfound"},
		{"delete, whatever is requested", envelope("acme/pump-7/things/twin/commands/delete", "/", "", "requested-acks", `["a:bc"]`), client.Reject, things, "things:thing.notfound"},
		{"modify without acks", envelope("acme/pump-7/things/twin/commands/modify", "/attributes/k", "1", "requested-acks", "[]", "response-required", "true"), client.Settle, things, "things:thing.notfound"},
		{"modify without reply", envelope("acme/pump-7/things/twin/commands/modify", "/attributes/k", "1", "response-required", "false"), client.Settle, "", "things:thing.notfound"},
		{"create (R58)", envelope("acme/pump-7/things/twin/commands/create", "/", `{"thingId":"acme:pump-7"}`), client.Reject, things, "things:thing.notcreatable"},
		{"retrieve", envelope("acme/pump-7/things/twin/commands/retrieve", "/", ""), client.Settle, things, "things:thing.notfound"},
		{"retrieve over the smart channel", envelope("acme/pump-7/things/twin/commands/retrieve", "/", "", "live-channel-condition", "exists(attributes)"), client.Reject, things, "things:thing.notfound"},
		{"message with condition (R65)", liveMessage("condition", "eq(attributes/k,1)"), client.Reject, live, "things:thing.notfound"},
		{"message with condition, no acks", liveMessage("condition", "eq(attributes/k,1)", "response-required", "false"), client.Settle, "", "things:thing.notfound"},
		{"event with condition", liveEvent(1, "condition", "eq(attributes/k,1)"), client.Settle, "", "things:thing.notfound"},
		{"twin event", envelope("acme/pump-7/things/twin/events/modified", "/attributes/k", "1"), client.Settle, "", ""},
		{"twin response", withStatus(envelope("acme/pump-7/things/twin/commands/modify", "/attributes/k", ""), 204), client.Settle, "", ""},
		{"policies command (R64)", envelope("acme/p/policies/commands/modify", "/", "{}"), client.Settle, "acme/p/policies/errors", "policies:policy.notfound"},
		{"search", envelope("_/_/things/twin/search/subscribe", "/", `{}`), client.Settle, "_/_/things/twin/errors", "signal.unsupported"},
		{"connection announcement", envelope("_/from/connections/announcements/opened", "/", "{}"), client.Settle, "_/from/things/twin/errors", "signal.unsupported"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, Options{})
			from := n.open(connection("from", withSource()))
			to := n.open(connection("to", withTarget()))
			from.rec.EnableLogs(time.Now())
			from.consume(row.text).want(row.settlement)
			to.nothing()
			refused := 0
			for _, e := range from.rec.Logs(time.Now()).Entries {
				if e.Category == "source" && e.Type == "other" && e.Level == "failure" {
					refused++
					if !strings.Contains(e.Message, row.code) {
						t.Errorf("the log says %q", e.Message)
					}
				}
			}
			if want := min(len(row.code), 1); refused != want {
				t.Errorf("%d entries of a refusal, want %d", refused, want)
			}
			if row.topic == "" {
				from.nothing()
				return
			}
			e := from.sole()
			if errorCode(t, e) != row.code || e.Topic.String() != row.topic {
				t.Errorf("%s on %s", e.Value, e.Topic)
			}
		})
	}
	t.Run("retrieve of many", func(t *testing.T) {
		n := newNode(t, Options{})
		from := n.open(connection("from", withSource()))
		from.consume(envelope("_/_/things/twin/commands/retrieve", "/", `{"thingIds":["a:b"]}`, "correlation-id", "c1")).want(client.Settle)
		if e := from.sole(); e.Status != 200 || string(e.Value) != "[]" || e.Topic.String() != "_/_/things/twin/commands/retrieve" || e.Headers["correlation-id"] != "c1" {
			t.Errorf("%d %s %s %v", e.Status, e.Value, e.Topic, e.Headers)
		}
	})
}

// TestAuthorizers is 14.2 B through the whole way.
func TestAuthorizers(t *testing.T) {
	for _, row := range []struct {
		name       string
		authorizer Authorizer
		text       string
		reader     string
		delivered  bool
		settlement client.Settlement
		code       string
	}{
		{"open", Open{}, liveEvent(1), "box:other", true, client.Settle, ""},
		{"grant", Grants{{Namespaces: []string{"acme"}, Read: []string{"box:other"}, Write: []string{"box:shared"}}}, liveEvent(1), "box:other", true, client.Settle, ""},
		{"no grant to read", Grants{{Namespaces: []string{"acme"}, Write: []string{"box:shared"}}}, liveEvent(1), "box:other", false, client.Settle, ""},
		{"no grant to write an event", Grants{}, liveEvent(1, "response-required", "true"), "box:other", false, client.Settle, "things:event.notallowed"},
		{"no grant to write a message", Grants{}, liveMessage(), "box:other", false, client.Reject, "messages:send.notallowed"},
		{"no grant to write a command", Grants{}, envelope("acme/pump-7/things/live/commands/modify", "/attributes/k", "1"), "box:other", false, client.Reject, "things:thing.notfound"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, Options{Authorizer: row.authorizer})
			from := n.open(connection("from", withSource()))
			to := n.open(connection("to", withTarget(func(t *messages.Target) { t.AuthorizationContext = []string{row.reader} })))
			from.consume(row.text).want(row.settlement)
			if row.delivered {
				to.sole()
			} else {
				to.nothing()
			}
			if row.code != "" {
				if e := from.sole(); errorCode(t, e) != row.code {
					t.Errorf("%s", e.Value)
				}
			}
		})
	}
}

// TestNotConnected is R43 and O-1: a target whose first attempt has failed refuses without a word.
func TestNotConnected(t *testing.T) {
	n := newNode(t, Options{})
	from := n.open(connection("from", withSource()))
	to := n.attach(connection("to", withTarget()))
	to.rec.EnableLogs(time.Now())
	to.AttemptEnded()
	from.consume(liveEvent(1)).want(client.Settle)
	to.Connected(to.broker.publish)
	from.consume(liveEvent(2)).want(client.Settle)
	to.Disconnected()
	from.consume(liveEvent(3)).want(client.Settle)
	if e := to.sole(); string(e.Value) != "2" {
		t.Errorf("%s", e.Value)
	}
	for _, e := range to.rec.Logs(time.Now()).Entries {
		if e.Level == "failure" {
			t.Errorf("%+v", e)
		}
	}
}

// TestAnnouncements is R53 and 13.
func TestAnnouncements(t *testing.T) {
	n := newNode(t, Options{})
	wanting := withTarget(func(t *messages.Target) {
		t.Address = "announced"
		t.AuthorizationContext = []string{"box:nobody"}
		t.Topics = []messages.FilteredTopic{{Name: messages.TopicConnectionAnnouncements}}
		t.HeaderMapping = map[string]string{"kind": "{{topic:subject}}"}
	})
	p := n.open(connection("from", withTarget(), wanting))
	p.broker.set(func(b *broker) { b.slow = true })
	for i, kind := range []string{"opened", "closed"} {
		calls := 0
		if !p.Announce(kind, func() { calls++ }) {
			t.Fatal("not wanted")
		}
		if calls != 0 {
			t.Fatal("done before the outcome")
		}
		p.broker.answer(-1, nil)
		if calls != 1 {
			t.Fatalf("done called %d times", calls)
		}
		e := p.envelopes()[i]
		if e.Topic.String() != "_/from/connections/announcements/"+kind || e.Path != "/" || !strings.Contains(string(e.Value), kind+"At") {
			t.Errorf("%s %s %s", e.Topic, e.Path, e.Value)
		}
		if _, there := e.Headers["correlation-id"]; there {
			t.Error("an announcement has no correlation-id")
		}
		if out := p.broker.messages()[i]; out.Address != "announced" || out.Headers["kind"] != kind {
			t.Errorf("%+v", out)
		}
	}
	p.counted(map[string]int{"target announced published success": 2, "target announced dispatched success": 2})
	other := n.open(connection("other", withTarget()))
	calls := 0
	if other.Announce("opened", func() { calls++ }) || calls != 1 {
		t.Errorf("wanted, or done %d times", calls)
	}
}
