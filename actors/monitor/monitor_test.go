package monitor

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// clock is a settable time; 09:00:00 is the start of a slot of every window.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 8, 18, 9, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestWindowsSlide(t *testing.T) {
	tests := []struct {
		name   string
		after  time.Duration // from a message at 09:00:00 to the reading
		counts [3]int64
	}{
		{"at once", 0, [3]int64{1, 1, 1}},
		{"one minute", time.Minute, [3]int64{1, 1, 1}},
		{"the slot that reaches back one minute has passed", 70 * time.Second, [3]int64{0, 1, 1}},
		{"one hour", time.Hour, [3]int64{0, 1, 1}},
		{"past one hour", 61 * time.Minute, [3]int64{0, 0, 1}},
		{"one day", 24 * time.Hour, [3]int64{0, 0, 1}},
		{"past one day", 25 * time.Hour, [3]int64{0, 0, 0}},
	}
	for _, tt := range tests {
		for _, laterMessage := range []bool{false, true} { // a message that begins new slots must not revive old ones
			t.Run(fmt.Sprintf("%s, later message %v", tt.name, laterMessage), func(t *testing.T) {
				clk := newClock()
				c := NewRegistry(Options{Now: clk.now}).Connection("a", "mqtt")
				c.Source("in").Record(Consumed, true)
				clk.add(tt.after)
				want := tt.counts
				if laterMessage {
					c.Source("in").Record(Consumed, true)
					want = [3]int64{want[0] + 1, want[1] + 1, want[2] + 1}
				}
				w := c.Metrics(clk.now()).Inbound["consumed"].Success
				if got := [3]int64{w.PT1M, w.PT1H, w.PT24H}; got != want {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
}

func TestClockSetBackStartsTheWindowsAnew(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("a", "mqtt")
	c.Source("in").Record(Consumed, true)
	clk.add(-48 * time.Hour)
	c.Source("in").Record(Consumed, true)
	if got := c.Metrics(clk.now()).Inbound["consumed"].Success; got.PT1M != 1 || got.PT24H != 1 {
		t.Errorf("got %+v, want the one message after the step", got)
	}
}

func TestThrottledCountsMinutes(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("a", "kafka")
	for range 5 { // 09:00:00 … 09:00:40: one minute; 09:01:20: another
		c.Source("in").Record(Throttled, false)
		clk.add(10 * time.Second)
	}
	clk.add(30 * time.Second)
	c.Source("in").Record(Throttled, false)
	read := func() [3]int64 {
		w := c.Metrics(clk.now()).Inbound["throttled"].Failure
		return [3]int64{w.PT1M, w.PT1H, w.PT24H}
	}
	if got, want := read(), [3]int64{1, 2, 2}; got != want {
		t.Errorf("now: got %v, want %v", got, want)
	}
	clk.add(59 * time.Second)
	if got := read()[0]; got != 1 {
		t.Errorf("59 s later: PT1M %d, want 1", got)
	}
	clk.add(time.Second)
	if got := read()[0]; got != 0 {
		t.Errorf("60 s later: PT1M %d, want 0", got)
	}
}

func TestConcurrentRecordsLoseNothing(t *testing.T) {
	clk := newClock()
	r := NewRegistry(Options{Now: clk.now})
	s := r.Connection("a", "mqtt").Target("out")
	const workers, each = 8, 2000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				s.Record(Published, true)
				if i%100 == 0 {
					clk.add(250 * time.Millisecond) // 40 s in all: slots begin while others count
				}
			}
		})
	}
	wg.Wait()
	w := r.Connection("a", "mqtt").Metrics(clk.now()).Outbound["published"].Success
	if got, want := [3]int64{w.PT1M, w.PT1H, w.PT24H}, [3]int64{workers * each, workers * each, workers * each}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// emptyDirection is what 4.13 shows for metrics without messages, as JSON written by hand.
func emptyDirection(names string) string {
	const zero = `{"PT1M":0,"PT1H":0,"PT24H":0,"lastMessageAt":null}`
	var b strings.Builder
	for i, n := range strings.Fields(names) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s":{"success":%s,"failure":%s}`, n, zero, zero)
	}
	return "{" + b.String() + "}"
}

func TestMetricsJSON(t *testing.T) {
	const in, out = "consumed mapped other dropped enforced acknowledged throttled", "dispatched filtered mapped other dropped published acknowledged"
	tests := []struct {
		name string
		give func(c *Connection, clk *clock)
		none bool
		want string
	}{
		{name: "no client", none: true,
			want: `{"containsFailures":false,"connectionMetrics":{"inbound":null,"outbound":null},"sourceMetrics":{"addressMetrics":null},"targetMetrics":{"addressMetrics":null}}`},
		{name: "started, no source", give: func(c *Connection, _ *clock) {},
			want: `{"containsFailures":false,"connectionMetrics":{"inbound":null,"outbound":` + emptyDirection(out) + `},
			 "sourceMetrics":{"addressMetrics":null},"targetMetrics":{"addressMetrics":{"_responses":` + emptyDirection(out) + `}}}`},
		{name: "empty target address", give: func(c *Connection, _ *clock) { c.Target("") },
			want: `{"containsFailures":false,"connectionMetrics":{"inbound":null,"outbound":` + emptyDirection(out) + `},
			 "sourceMetrics":{"addressMetrics":null},"targetMetrics":{"addressMetrics":{"<empty>":` + emptyDirection(out) + `,"_responses":` + emptyDirection(out) + `}}}`},
		{name: "a failure, after 250 ms", give: func(c *Connection, clk *clock) {
			clk.add(250 * time.Millisecond)
			c.Source("a/b").Record(Consumed, false)
		}, want: `{"containsFailures":true,
			 "connectionMetrics":{"inbound":{"consumed":{"success":{"PT1M":0,"PT1H":0,"PT24H":0,"lastMessageAt":null},"failure":{"PT1M":1,"PT1H":1,"PT24H":1,"lastMessageAt":"2026-08-18T09:00:00.250Z"}},` + emptyDirection(in[9:])[1:] + `,"outbound":` + emptyDirection(out) + `},
			 "sourceMetrics":{"addressMetrics":{"a/b":{"consumed":{"success":{"PT1M":0,"PT1H":0,"PT24H":0,"lastMessageAt":null},"failure":{"PT1M":1,"PT1H":1,"PT24H":1,"lastMessageAt":"2026-08-18T09:00:00.250Z"}},` + emptyDirection(in[9:])[1:] + `}},
			 "targetMetrics":{"addressMetrics":{"_responses":` + emptyDirection(out) + `}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clk := newClock()
			var m Metrics
			if !tt.none {
				c := NewRegistry(Options{Now: clk.now}).Connection("x", "mqtt")
				tt.give(c, clk)
				m = c.Metrics(clk.now())
			}
			compareJSON(t, m, tt.want)
		})
	}
}

func compareJSON(t *testing.T, got any, want string) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("expectation: %v", err)
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestMergeAddsCountsAndTakesTheLatestMessage(t *testing.T) {
	clk := newClock()
	part := func(n int) Metrics {
		c := NewRegistry(Options{Now: clk.now}).Connection("x", "mqtt")
		c.Source("in")
		for range n {
			c.Source("in").Record(Consumed, true)
		}
		return c.Metrics(clk.now())
	}
	first := part(2)
	clk.add(time.Second)
	second := part(3)
	for _, sum := range []Metrics{MergeMetrics(first, second), MergeMetrics(second, first), MergeMetrics(Metrics{}, first, second, part(0))} {
		for where, w := range map[string]Windows{"connection": sum.Inbound["consumed"].Success, "address": sum.Sources["in"]["consumed"].Success} {
			if w.PT1M != 5 || w.PT1H != 5 || w.PT24H != 5 || w.LastMessageAt.String() != "2026-08-18T09:00:01Z" {
				t.Errorf("%s: %+v at %v", where, w, w.LastMessageAt)
			}
		}
	}
	if first.Inbound["consumed"].Success.PT1M != 2 {
		t.Error("merging changed its input")
	}
}

func TestResetClearsCountsAndLastMessageButNotPrometheus(t *testing.T) {
	clk := newClock()
	r := NewRegistry(Options{Now: clk.now})
	c := r.Connection("x", "mqtt")
	c.SetRunning(0, true)
	c.Source("in").Record(Consumed, true)
	c.Source("in").Record(Throttled, false)
	c.Reset()
	m := c.Metrics(clk.now())
	for name, counts := range m.Inbound {
		if d := cmp.Diff(Counts{}, counts); d != "" {
			t.Errorf("%s after reset: %s", name, d)
		}
	}
	if got := total(t, r, "consumed", "inbound", "true"); got != 1 {
		t.Errorf("connection_messages_total after reset %v, want 1", got)
	}
	c.Source("in").Record(Consumed, true)
	if got := c.Metrics(clk.now()).Inbound["consumed"].Success.PT1M; got != 1 {
		t.Errorf("first message after reset counts %d, want 1", got)
	}
}

func total(t *testing.T, r *Registry, category, direction, success string) float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(r)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "connection_messages_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["category"] == category && labels["direction"] == direction && labels["success"] == success {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestPrometheusSeriesLiveAsLongAsTheClient(t *testing.T) {
	r := NewRegistry(Options{})
	c := r.Connection("plant-7", "mqtt-5")
	r.Connection("never-started", "mqtt")
	c.Source("in")
	c.Responses()
	if n := testutil.CollectAndCount(r); n != 0 {
		t.Errorf("%d series before the client started", n)
	}
	c.SetRunning(0, true)
	c.SetClient(0, true, false)
	c.Source("in").Record(Enforced, true)
	const want = `
# HELP connecting_client Clients of the connection that are connecting on this instance.
# TYPE connecting_client gauge
connecting_client{id="plant-7",type="mqtt-5"} 0
# HELP connection_client Clients of the connection that are connected on this instance.
# TYPE connection_client gauge
connection_client{id="plant-7",type="mqtt-5"} 1
`
	if err := testutil.CollectAndCompare(r, strings.NewReader(want), "connection_client", "connecting_client"); err != nil {
		t.Error(err)
	}
	if n, want := testutil.CollectAndCount(r, "connection_messages_total"), 2*7*2; n != want {
		t.Errorf("%d message series, want %d: 7 metrics, 2 directions, 2 outcomes", n, want)
	}
	if got := total(t, r, "enforced", "inbound", "true"); got != 1 {
		t.Errorf("enforced %v, want 1", got)
	}
	if got := total(t, r, "published", "outbound", "false"); got != 0 {
		t.Errorf("published failures %v, want 0", got)
	}
	c.SetRunning(0, false)
	if n := testutil.CollectAndCount(r); n != 0 {
		t.Errorf("%d series after the client stopped", n)
	}
}

// A client that leaves the node where another one of the connection has just come takes the series of that one not away.
func TestPrometheusCountsEachClient(t *testing.T) {
	r := NewRegistry(Options{})
	c := r.Connection("plant-7", "mqtt-5")
	connected := func(want string) {
		t.Helper()
		const head = "# HELP connection_client Clients of the connection that are connected on this instance.\n# TYPE connection_client gauge\n"
		if err := testutil.CollectAndCompare(r, strings.NewReader(head+`connection_client{id="plant-7",type="mqtt-5"} `+want+"\n"), "connection_client"); err != nil {
			t.Error(err)
		}
	}
	c.SetRunning(1, true)
	c.SetClient(1, true, false)
	connected("1")
	c.SetRunning(0, true)
	c.SetClient(0, false, true)
	connected("1")
	c.SetClient(0, true, false)
	connected("2")
	c.SetRunning(1, false)
	c.SetClient(1, true, false) // its last word comes late
	connected("1")
	c.SetRunning(0, false)
	if n := testutil.CollectAndCount(r); n != 0 {
		t.Errorf("%d series after both stopped", n)
	}
}

func TestPriority(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("x", "mqtt")
	if got := c.Metrics(clk.now()).Priority(); got != 0 {
		t.Errorf("fresh: %d", got)
	}
	c.Source("a").Record(Consumed, true)
	c.Source("b").Record(Consumed, true)
	c.Source("b").Record(Consumed, false)
	c.Source("b").Record(Mapped, true)
	c.Target("t").Record(Published, true)
	c.Target("t").Record(Dispatched, true)
	if got := c.Metrics(clk.now()).Priority(); got != 3 {
		t.Errorf("got %d, want 2 consumed + 1 published", got)
	}
	clk.add(26 * time.Hour)
	if got := c.Metrics(clk.now()).Priority(); got != 0 {
		t.Errorf("a day later: %d", got)
	}
}

func TestInstant(t *testing.T) {
	for ns, want := range map[int]string{
		0: "2026-08-18T09:00:00Z", 120_000_000: "2026-08-18T09:00:00.120Z", 123_400_000: "2026-08-18T09:00:00.123400Z", 1: "2026-08-18T09:00:00.000000001Z",
	} {
		if got := Instant(time.Date(2026, 8, 18, 9, 0, 0, ns, time.UTC)).String(); got != want {
			t.Errorf("%d ns: %s, want %s", ns, got, want)
		}
	}
}

// A busy connection: one source and one target, every success metric of both and of the responses counting.
func busy(r *Registry, i int) *Connection {
	c := r.Connection(fmt.Sprintf("connection-%05d", i), "mqtt")
	src, dst := c.Source("telemetry/#"), c.Target("events/out")
	for _, m := range []Metric{Consumed, Enforced, Mapped, Acknowledged} {
		src.Record(m, true)
	}
	for _, m := range []Metric{Dispatched, Filtered, Mapped, Published, Acknowledged} {
		dst.Record(m, true)
	}
	for _, m := range []Metric{Dispatched, Mapped, Published} {
		c.Responses().Record(m, true)
	}
	src.Arrived()
	src.Settled(true, false, time.Millisecond)
	for _, outbound := range []bool{false, true} {
		c.MappingTook(outbound, SegmentOverall, "", true, time.Millisecond)
		c.MappingTook(outbound, SegmentPayload, "Ditto", true, time.Millisecond)
		c.MappingTook(outbound, SegmentProtocol, "", true, time.Millisecond)
	}
	return c
}

func TestTenThousandConnectionsFitInto100MiB(t *testing.T) {
	const n = 10_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := NewRegistry(Options{})
	for i := range n {
		busy(r, i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
	t.Logf("%d connections with 12 counters and 7 timers each: %.1f MiB", n, used)
	if used > 100 {
		t.Errorf("%.1f MiB", used)
	}
	runtime.KeepAlive(r)
}

func TestRecordAllocatesNothing(t *testing.T) {
	s := NewRegistry(Options{}).Connection("a", "mqtt").Source("in")
	s.Record(Consumed, true)
	e := Entry{CorrelationID: "c"}
	if n := testing.AllocsPerRun(1000, func() { s.Record(Consumed, true); s.Success(Consumed, e) }); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	s := NewRegistry(Options{}).Connection("a", "mqtt").Source("in")
	b.ReportAllocs()
	for b.Loop() {
		s.Record(Consumed, true)
	}
}

func BenchmarkRecordParallelOneScope(b *testing.B) {
	s := NewRegistry(Options{}).Connection("a", "mqtt").Source("in")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Record(Consumed, true)
		}
	})
}

func BenchmarkSuccessWhileLogging(b *testing.B) {
	c := NewRegistry(Options{}).Connection("a", "mqtt")
	c.EnableLogs(time.Now())
	s := c.Source("in")
	e := Entry{CorrelationID: "c"}
	b.ReportAllocs()
	for b.Loop() {
		s.Success(Consumed, e)
	}
}

func BenchmarkCollect1000Connections(b *testing.B) {
	r := NewRegistry(Options{})
	for i := range 1000 {
		busy(r, i).SetRunning(0, true)
	}
	b.ReportAllocs()
	for b.Loop() {
		ch := make(chan prometheus.Metric, 1024)
		go func() { r.Collect(ch); close(ch) }()
		for range ch { //nolint:revive // drained, as a registry would
		}
	}
}
