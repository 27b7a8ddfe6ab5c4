package blackbox

import (
	"context"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// pump sends live events to one topic, with QoS 1 and at most so many under way, and takes the time until each arrives on
// another topic: the load of the relay benchmarks.
type pump struct {
	b       testing.TB
	client  mqtt.Client
	in, out string
	free    chan struct{}

	mu        sync.Mutex
	sent      map[int]time.Time // those under way
	latencies []time.Duration   // of those that have arrived
}

func newPump(b testing.TB, broker, in, out string, window int) *pump {
	b.Helper()
	p := &pump{b: b, client: dial(b, broker, "pump-"+in), in: in, out: out, free: make(chan struct{}, window), sent: map[int]time.Time{}}
	token := p.client.Subscribe(out, 1, p.take)
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		b.Fatal(token.Error())
	}
	return p
}

// take is called for each event that arrives; those that arrive again do not count.
func (p *pump) take(_ mqtt.Client, m mqtt.Message) {
	k := benchValue(m.Payload())
	p.mu.Lock()
	began, ok := p.sent[k]
	if ok {
		delete(p.sent, k)
		p.latencies = append(p.latencies, time.Since(began))
	}
	p.mu.Unlock()
	if ok {
		<-p.free
	}
}

// send sends n events, or as many as it can until ctx ends, and waits until all of them have arrived. It is called once.
func (p *pump) send(ctx context.Context, n int) {
	for k := 0; k < n; k++ {
		select {
		case p.free <- struct{}{}:
		case <-ctx.Done():
			n = k
			continue
		}
		p.mu.Lock()
		p.sent[k] = time.Now()
		p.mu.Unlock()
		p.client.Publish(p.in, 1, false, liveEvent(k))
	}
	late := time.After(60 * time.Second)
	for range cap(p.free) {
		select {
		case p.free <- struct{}{}:
		case <-late:
			p.b.Errorf("%d of %d arrived", p.arrived(), n)
			return
		}
	}
}

// arrived is the number of events that have arrived.
func (p *pump) arrived() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.latencies)
}

// end takes no more; it returns the times of all events that have arrived.
func (p *pump) end() []time.Duration {
	p.client.Unsubscribe(p.out).WaitTimeout(5 * time.Second)
	p.client.Disconnect(100)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latencies
}

// benchmarkPump measures b.N events.
func benchmarkPump(b *testing.B, broker, in, out string, window int) {
	p := newPump(b, broker, in, out, window)
	b.ResetTimer()
	p.send(context.Background(), b.N)
	b.StopTimer()
	if latencies := p.end(); !b.Failed() {
		report(b, b.N, latencies)
	}
}
