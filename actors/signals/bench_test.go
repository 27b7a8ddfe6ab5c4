package signals

import (
	"testing"

	"hawser/actors/client"
)

// BenchmarkRelay is the signals part of one relayed QoS 1 live event: Consume, mapping in, routing, mapping out, publish,
// outcome, Settle. The budget is 15 µs.
func BenchmarkRelay(b *testing.B) {
	for _, bench := range []struct {
		name string
		text string
	}{
		{"event", liveEvent(1, "correlation-id", "k-1")},
		{"event-1k", envelope("acme/pump-7/things/live/events/modified", "/features/thermo/properties", `{"blob":"`+string(make1k())+`"}`, "correlation-id", "k-1")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			n := newNode(b, Options{})
			from, to := n.open(connection("from", withSource())), n.open(connection("to", withTarget()))
			settled := 0
			last := func(client.Outcome) {}
			to.Connected(func(_ client.Outbound, done func(client.Outcome)) { last = done })
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				in := client.NewInbound(func(client.Settlement) { settled++ })
				in.Address, in.Text, in.HasText = "in", bench.text, true
				from.Consume(in)
				last(client.Outcome{Status: 200}) // after Consume: the hold time runs, as with a real broker
			}
			if settled != b.N {
				b.Fatalf("%d of %d settled", settled, b.N)
			}
		})
	}
}

func make1k() []byte {
	text := make([]byte, 1024)
	for i := range text {
		text[i] = 'x'
	}
	return text
}
