package signals

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/mapping"
)

// endless is a connection whose only script runtime is busy until the time of a script is over.
func endless(c *messages.Connection) {
	c.ProcessorPoolSize = 1
	c.MappingDefinitions = map[string]messages.MappingDefinition{
		"m": {Engine: "JavaScript", Options: json.RawMessage(`{"incomingScript":"function mapToDittoProtocolMsg() { for (;;); }"}`)},
	}
}

// TestBusyMapperAtDisconnect: Consume does not wait for a busy mapper beyond the link; the broker delivers the message again.
func TestBusyMapperAtDisconnect(t *testing.T) {
	limits := mapping.DefaultLimits
	limits.Script.Time = 3 * time.Second
	n := newNode(t, Options{Limits: limits})
	p := n.open(connection("from", withSource(func(s *messages.Source) { s.PayloadMapping = []string{"m"} }), endless))
	ended := make(chan *message, 2)
	for range 2 {
		m := p.message(liveEvent(1))
		go func() {
			p.Consume(m.in)
			ended <- m
		}()
	}
	began := time.Now()
	for p.rec.Metrics(time.Now()).Sources["in"]["consumed"].Success.PT24H < 2 {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the messages were not consumed")
		}
		time.Sleep(time.Millisecond)
	}
	p.Disconnected()
	// One of the messages is in the hands of the script, the other one does not wait for it.
	for _, want := range []int{0, 1} {
		select {
		case m := <-ended:
			if got := m.settlements(); len(got) != want {
				t.Errorf("settled %v, want %d settlements", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Consume did not return")
		}
	}
	p.counted(map[string]int{"source in mapped failure": 1})
}

// TestUntried: a message that no mapper looked at comes again, unless its broker delivers at most once; and then nothing is
// routed of what another mapper made of it.
func TestUntried(t *testing.T) {
	n := newNode(t, Options{})
	p := n.open(connection("from", withSource()))
	for _, row := range []struct {
		name    string
		reason  error
		change  []func(*client.Inbound)
		untried bool
		want    []client.Settlement
	}{
		{"busy", mapping.ErrBusy, nil, true, []client.Settlement{client.RejectRedeliver}},
		{"busy, at most once", mapping.ErrBusy, []func(*client.Inbound){atMostOnce}, false, []client.Settlement{client.Settle}},
		{"abandoned", mapping.ErrAbandoned, nil, true, nil},
		{"bad message", nil, nil, false, []client.Settlement{client.Settle}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := p.message("", row.change...)
			i := &intake{endpoint: p.Endpoint, source: p.source(0), scope: p.source(0).scopes["in"], in: m.in}
			i.collector = newCollector(m.in, i.scope, time.Now())
			failed := mapping.Inbound{Err: mapping.NewMappingFailed("", "no"), Untried: row.reason}
			if got := i.untried([]mapping.Inbound{{Dropped: true}, failed}); got != row.untried {
				t.Errorf("got %v", got)
			}
			i.collector.part(client.Settle)
			if got := m.settlements(); len(got) != len(row.want) || len(got) == 1 && got[0] != row.want[0] {
				t.Errorf("settled %v, want %v", got, row.want)
			}
		})
	}
	if errors.Is(mapping.ErrBusy, mapping.ErrAbandoned) {
		t.Error("they are the same")
	}
}
