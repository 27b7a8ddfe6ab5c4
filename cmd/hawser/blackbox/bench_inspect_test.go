package blackbox

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkInspect retrieves status and metrics of the source of a relay: while nothing is sent, while it relays as fast as
// it can, and while the broker of yet another connection hangs. The same request for a connection that is closed stands
// beside it: what it takes under load is what everything takes then. p99 is to stay under 50 ms.
func BenchmarkInspect(b *testing.B) {
	broker, hanging := mosquitto(b), hangingEndpoint(b)
	n := startNode(b, sqliteStore(b))
	bridge(n, broker)
	wantStatus(b, n.command(with("createConnection", mqttConnection("idle", broker, "closed"))), 201)
	wantStatus(b, n.command(with("createConnection", mqttConnection("hangs", "tcp://"+hanging, "open"))), 201)
	for _, load := range []struct {
		name   string
		window int
	}{{"quiet", 0}, {"relaying", 200}} {
		for _, id := range []string{"idle", "from", "hangs"} {
			for _, name := range []string{"retrieveConnectionStatus", "retrieveConnectionMetrics"} {
				b.Run(fmt.Sprintf("%s/%s/%s", load.name, id, strings.TrimPrefix(name, "retrieveConnection")), func(b *testing.B) {
					relayed := func() float64 { return 0 }
					if load.window > 0 {
						relayed = keepRelaying(b, broker, load.window)
					}
					body, latencies := envelope(shardRegion, object{"ditto-sudo": true}, on(name, id)), make([]time.Duration, b.N)
					pace := time.NewTicker(2 * time.Millisecond) // an operator who looks often, no load of its own
					defer pace.Stop()
					b.ResetTimer()
					for k := range b.N {
						<-pace.C
						began := time.Now()
						a, err := n.try(http.MethodPost, piggyback, body)
						latencies[k] = time.Since(began)
						if err != nil || !strings.Contains(string(a.body), `"status":200`) {
							b.Fatalf("%v %s", err, a.body)
						}
					}
					b.StopTimer()
					report(b, b.N, latencies)
					b.ReportMetric(relayed()/b.Elapsed().Seconds(), "relayed/s")
				})
			}
		}
	}
}

// keepRelaying sends events through bridge until the test ends; relayed says how many have arrived since it returned.
func keepRelaying(b testing.TB, broker string, window int) (relayed func() float64) {
	b.Helper()
	p := newPump(b, broker, "a/1", "b", window)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { p.send(ctx, math.MaxInt) })
	b.Cleanup(func() { cancel(); work.Wait(); p.end() })
	eventually(b, 20*time.Second, "the relay is under way", func() error {
		if got := p.arrived(); got < 10*window {
			return fmt.Errorf("%d arrived", got)
		}
		return nil
	})
	before := p.arrived()
	return func() float64 { return float64(p.arrived() - before) }
}
