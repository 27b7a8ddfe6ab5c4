package actors

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"hawser/messages"
)

// BenchmarkRevive starts a node on a database with 10 000 open connections whose endpoint refuses, without a limit of the
// rate: the time until every entity has recovered and its client has failed once.
func BenchmarkRevive(b *testing.B) {
	const connections = 10_000
	url := schema(b)
	first := startMember(b, url, "first")
	first.ready()
	var all sync.WaitGroup
	for k := range 64 {
		all.Go(func() {
			for i := k; i < connections; i += 64 {
				if reply, err := first.ask(with(b, messages.CreateConnection, fmt.Sprintf("c-%d", i), "tcp://127.0.0.1:1", "closed")); err != nil || reply.Status != 201 {
					b.Errorf("%d %v", reply.Status, err)
					return
				}
			}
		})
	}
	all.Wait()
	first.Stop()
	sql(b, url, `update connections set status = 'open', tags = array['always-alive','priority-0']`)
	sql(b, url, `update journal set payload = replace(payload::text, '"connectionStatus": "closed"', '"connectionStatus": "open"')::jsonb, created_at = created_at - interval '1 hour'`)
	b.ResetTimer()
	spent := cpuTime(b)
	for range b.N {
		m := startMember(b, url, "next", func(o *Options) {
			o.OpenRate = Rate{Entities: 1_000_000, Every: time.Second}
			o.Exclusive, o.TTL = true, 30*time.Second // alone, and in no danger on a busy machine
			o.Client.MinBackoff, o.Client.MaxBackoff = time.Hour, time.Hour
		})
		eventually(b, 2*time.Minute, "every entity runs", func() error {
			if n := m.region.running(); n < connections {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		for i := range connections { // asked in turn, each has recovered and tried
			id := fmt.Sprintf("c-%d", i)
			eventually(b, time.Minute, "every client has tried", func() error {
				reply, err := m.ask(on(b, messages.RetrieveConnectionStatus, id))
				if err != nil || reply.Status != 200 {
					return fmt.Errorf("%d %w", reply.Status, err)
				}
				return nil
			})
		}
		b.StopTimer()
		before := cpuTime(b)
		m.Stop()
		spent += cpuTime(b) - before
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/connections*1e6, "µs/connection")
	b.ReportMetric((cpuTime(b)-spent).Seconds()/float64(b.N)/connections*1e6, "cpu-µs/connection")
}

// cpuTime is what this process has used; unlike the time that passes it says something on a busy machine.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
