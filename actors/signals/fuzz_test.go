package signals

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"hawser/messages"
)

// FuzzConsume feeds anything to a source: nothing panics, each message is settled exactly once, in time, and a header that
// may not leave does not reach a target.
func FuzzConsume(f *testing.F) {
	for _, text := range []string{
		liveEvent(1), liveMessage("correlation-id", "c"), liveMessage("requested-acks", `["to:stored"]`, "timeout", "1ms"),
		withStatus(liveMessage("correlation-id", "c"), 200), withStatus(envelope("acme/pump-7/things/live/acks/from:x", "/", "", "correlation-id", "c"), 200),
		withStatus(envelope("acme/pump-7/things/live/acks", "/", `{"from:x":{"status":200,"headers":{}}}`), 200),
		envelope("acme/pump-7/things/twin/commands/modify", "/attributes/k", "1"), envelope("_/_/things/twin/commands/retrieve", "/", ""),
		`{"topic":"a/b/things/live/events/modified","path":"/","headers":{"timeout":"0","requested-acks":[1]}}`, `[]`, ``,
	} {
		f.Add(text, "device")
	}
	f.Fuzz(func(t *testing.T, text, header string) {
		var log bytes.Buffer
		n := newNode(t, Options{
			Hold: time.Millisecond, AcknowledgementTimeout: time.Millisecond, ResponseTimeout: time.Millisecond, CollectorLifetime: time.Millisecond,
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		from := n.open(connection("from", withSource(func(s *messages.Source) {
			s.DeclaredAcks = []string{"from:x"}
			s.HeaderMapping = map[string]string{"device": "{{header:device}}", "subject": "{{topic:subject}}"}
			s.AcknowledgementRequest = &messages.AcknowledgementRequests{Includes: []string{"to:stored"}}
		})))
		to := n.open(connection("to", withTarget(func(t *messages.Target) {
			t.IssuedAcknowledgementLabel = "to:stored"
			t.Address = "{{thing:id}}/{{topic:subject | fn:default('none')}}"
			t.Topics[0].Filter = `or(exists(attributes/k),not(eq(resource:path,"/x")))`
		})))
		m := from.consume(text, withHeader("device", header))
		deadline := time.Now().Add(5 * time.Second)
		for len(m.settlements()) == 0 {
			if time.Now().After(deadline) {
				t.Fatal("it is not settled")
			}
			<-time.After(time.Millisecond)
		}
		n.hub.Close()
		if got := m.settlements(); len(got) != 1 {
			t.Fatalf("settled %v", got)
		}
		if bytes.Contains(log.Bytes(), []byte("panic")) {
			t.Fatal(log.String())
		}
		for _, e := range to.envelopes() {
			if e.Headers.Has(messages.HeaderOrigin) || e.Headers.Has(messages.HeaderAuthContext) || e.Headers.Has("authorization") {
				t.Fatalf("headers %v", e.Headers)
			}
		}
	})
}
