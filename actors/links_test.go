package actors

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"hawser/actors/shard"
	"hawser/actors/signals"
	"hawser/messages"
	"hawser/messages/protocol"
	"hawser/persistence"
	hawserv1 "hawser/proto/hawser/v1"
)

// TestFrameCodec: what one node sends, the other one reads, to the last header.
func TestFrameCodec(t *testing.T) {
	parse := func(text string) *protocol.Envelope {
		e, err := protocol.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	event := parse(`{"topic":"acme/pump-7/things/live/events/modified","path":"/attributes/k","value":{"a":[1,2.50,"ü"]},"extra":{"x":null},"timestamp":"2026-01-01T00:00:00Z","revision":7}`)
	// Texts that look like other JSON values, and names that clash with nothing.
	event.Headers = messages.Headers{"correlation-id": "c-1", "requested-acks": `[ "a:b" ]`, "x-number": "007", "x-empty": "", "response-required": "false"}
	response := parse(`{"topic":"acme/pump-7/things/live/messages/restart","path":"/outbox/messages/restart","status":204,"headers":{"correlation-id":"c"}}`)
	for _, f := range []*signals.Frame{
		{Kind: signals.FrameRelay, Link: 1 << 63, Seq: 9, Base: 4, Target: "to", Wait: 1500 * time.Millisecond, Origin: "from",
			Subjects: []string{"s"}, Readers: []string{"r", "q"}, Everyone: true, Asked: true, Labels: []string{"a:b", "live-response"}, Envelope: event},
		{Kind: signals.FrameVoid, Link: 5, Seq: 3, Base: 3},
		{Kind: signals.FrameAsk, Link: 5, Seq: 30, Base: 3},
		{Kind: signals.FrameAgain, Link: 5, Seq: 3},
		{Kind: signals.FrameAnswer, Origin: "from", Envelope: response},
		{Kind: signals.FrameFates, Link: 5, Outcomes: []signals.FrameOutcome{
			{Seq: 1, Fate: signals.FateDone, Acks: []protocol.Ack{
				{Label: "a:b", Status: 503, Payload: []byte(`{"message":"no"}`)}, {Label: "c", Status: 200, Headers: messages.Headers{"ditto-weak-ack": "true"}},
			}},
			{Seq: 2, Fate: signals.FateMoved}, {Seq: 1 << 40, Fate: signals.FateExpired},
		}},
	} {
		t.Run(string(f.Kind), func(t *testing.T) {
			b, err := proto.Marshal(encodeFrame(f))
			if err != nil {
				t.Fatal(err)
			}
			var e hawserv1.Envelope
			if err := proto.Unmarshal(b, &e); err != nil {
				t.Fatal(err)
			}
			got, err := decodeFrame(&e)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(f, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzDecodeFrame: nothing that another node sends brings this one down.
func FuzzDecodeFrame(f *testing.F) {
	for _, e := range []*hawserv1.Envelope{
		{Type: "relay", Seq: 1, Base: 1, Payload: []byte(`{"topic":"a/b/things/live/events/modified","path":"/"}`)},
		{Type: "outcome", Outcomes: []*hawserv1.Outcome{{Seq: 1, Fate: 9}}}, {Type: "answer", Payload: []byte(`{}`)}, {Type: "query"},
	} {
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e hawserv1.Envelope
		if proto.Unmarshal(b, &e) != nil {
			return
		}
		hub := signals.NewHub(signals.Options{})
		defer hub.Close()
		if frame, err := decodeFrame(&e); err == nil {
			hub.Receive("127.0.0.1:1", frame)
		}
	})
}

// TestChanged: the hub is told when other members are there, not when the same ones beat.
func TestChanged(t *testing.T) {
	view := func(beat int64, ids ...persistence.MemberID) *shard.View {
		v := &shard.View{}
		for _, id := range ids {
			v.Members = append(v.Members, persistence.Member{ID: id, Beat: beat})
		}
		return v
	}
	for _, test := range []struct {
		before, after *shard.View
		want          bool
	}{
		{view(1, "a", "b"), view(2, "a", "b"), false}, {view(1, "a"), view(2, "a", "b"), true},
		{view(1, "a", "b"), view(2, "a"), true}, {view(1, "a", "b"), view(2, "a", "c"), true},
	} {
		if got := changed(test.before, test.after); got != test.want {
			t.Errorf("%v, then %v: %v", test.before.Members, test.after.Members, got)
		}
	}
}
