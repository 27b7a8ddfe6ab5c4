package monitor

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestTimers: names, labels and buckets of the timers of operations.md 9; those of a client that stops are gone.
func TestTimers(t *testing.T) {
	r := NewRegistry(Options{})
	c := r.Connection("plant-7", "mqtt")
	c.SetRunning(0, true)
	in := c.Source("in")
	in.Arrived()
	in.Arrived()
	in.Arrived()
	in.Settled(true, false, 2*time.Millisecond)
	in.Settled(false, true, time.Hour)
	c.MappingTook(false, SegmentPayload, "Ditto", true, time.Millisecond) // a bound belongs to its bucket
	c.MappingTook(true, SegmentOverall, "", false, 0)
	const acks = `# HELP connectivity_ack_handling_counter Messages that wait for their settlement.
# TYPE connectivity_ack_handling_counter gauge
connectivity_ack_handling_counter{ditto_connection_id="plant-7",ditto_connection_type="mqtt"} 1
`
	if err := testutil.CollectAndCompare(r, strings.NewReader(acks), "connectivity_ack_handling_counter"); err != nil {
		t.Error(err)
	}
	registry, page := prometheus.NewRegistry(), httptest.NewRecorder()
	registry.MustRegister(r)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/", nil))
	text := page.Body.String()
	const id = `ditto_connection_id="plant-7",ditto_connection_type="mqtt",`
	for _, want := range []string{
		`connectivity_ack_handling_seconds_bucket{ditto_ack_redeliver="false",ditto_ack_success="true",` + id + `segment="overall",le="0.001"} 0`,
		`connectivity_ack_handling_seconds_bucket{ditto_ack_redeliver="false",ditto_ack_success="true",` + id + `segment="overall",le="0.003"} 1`,
		`connectivity_ack_handling_seconds_sum{ditto_ack_redeliver="false",ditto_ack_success="true",` + id + `segment="overall"} 0.002`,
		`connectivity_ack_handling_seconds_bucket{ditto_ack_redeliver="true",ditto_ack_success="false",` + id + `segment="overall",le="60"} 0`,
		`connectivity_ack_handling_seconds_bucket{ditto_ack_redeliver="true",ditto_ack_success="false",` + id + `segment="overall",le="+Inf"} 1`,
		`connectivity_ack_handling_seconds_count{ditto_ack_redeliver="true",ditto_ack_success="false",` + id + `segment="overall"} 1`,
		`message_mapping_seconds_bucket{direction="inbound",` + id + `ditto_mapping_success="true",mapper="Ditto",segment="payload",le="0.001"} 1`,
		`message_mapping_seconds_count{direction="outbound",` + id + `ditto_mapping_success="false",mapper="",segment="overall"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	c.SetRunning(0, false)
	if n := testutil.CollectAndCount(r, "message_mapping_seconds", "connectivity_ack_handling_seconds", "connectivity_ack_handling_counter"); n != 0 {
		t.Errorf("%d series of a stopped client", n)
	}
}

// TestTimersAtOnce: goroutines that observe a new timer at the same time lose nothing.
func TestTimersAtOnce(t *testing.T) {
	c := NewRegistry(Options{}).Connection("a", "mqtt")
	var work sync.WaitGroup
	for k := range 8 {
		work.Go(func() {
			for range 100 {
				c.MappingTook(k%2 == 0, SegmentOverall, "", true, time.Second)
			}
		})
	}
	work.Wait()
	for _, outbound := range []bool{false, true} {
		if got := time.Duration(c.timer(timed{outbound: outbound, segment: SegmentOverall, success: true}).nanos.Load()); got != 400*time.Second {
			t.Errorf("outbound %v: %v", outbound, got)
		}
	}
}

// BenchmarkMappingTook: what timing one segment costs; it allocates nothing.
func BenchmarkMappingTook(b *testing.B) {
	c := NewRegistry(Options{}).Connection("a", "mqtt")
	b.ReportAllocs()
	for b.Loop() {
		c.MappingTook(true, SegmentPayload, "Ditto", true, 50*time.Microsecond)
	}
}
