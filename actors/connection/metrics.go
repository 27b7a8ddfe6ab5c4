package connection

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the series of operations.md 9 that entities feed; register it once per node. A nil *Metrics counts nothing.
type Metrics struct {
	live      *prometheus.CounterVec
	sudos     *prometheus.CounterVec
	recovery  prometheus.Observer
	appends   *prometheus.HistogramVec
	unread    prometheus.Counter
	collected []prometheus.Collector

	mu       sync.Mutex
	reported map[string]map[liveLabels]bool // by connection id, what live has of it: searching it would look at all series
}

type liveLabels struct{ typ, status string }

// NewMetrics makes the series.
func NewMetrics() *Metrics {
	buckets := []float64{.001, .003, .005, .01, .025, .05, .075, .1, .15, .2, .25, .3, .35, .4, .45, .5, .75, 1, 1.25, 1.5, 1.75,
		2, 2.5, 3, 5, 7.5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60}
	recovery := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pa_recovery_seconds", Help: "Recovery of a connection entity.", Buckets: buckets,
		ConstLabels: prometheus.Labels{"ditto_signal_type": "connection", "segment": "overall"},
	})
	m := &Metrics{
		reported: map[string]map[liveLabels]bool{},
		live: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "connection_live_status_reported_total", Help: "Live status reports of connections whose stored status is open.",
		}, []string{"connectionId", "connectionType", "status"}),
		sudos: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sudo_commands_total", Help: "Commands that took the direct route to the entity.",
		}, []string{"type"}),
		recovery: recovery,
		appends: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "connection_persistence_seconds", Help: "Journal writes of connection entities.", Buckets: buckets,
		}, []string{"operation", "success"}),
		unread: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "connection_recovery_unreadable_total", Help: "Recoveries that failed because stored data could not be read.",
		}),
	}
	m.collected = []prometheus.Collector{m.live, m.sudos, recovery, m.appends, m.unread}
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collected {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collected {
		c.Collect(ch)
	}
}

func (m *Metrics) sudo(commandType string) {
	if m != nil {
		m.sudos.WithLabelValues(commandType).Inc()
	}
}

func (m *Metrics) recovered(d time.Duration) {
	if m != nil {
		m.recovery.Observe(d.Seconds())
	}
}

func (m *Metrics) unreadable() {
	if m != nil {
		m.unread.Inc()
	}
}

func (m *Metrics) appended(d time.Duration, err error) {
	if m == nil {
		return
	}
	success := "true"
	if err != nil {
		success = "false"
	}
	m.appends.WithLabelValues("append", success).Observe(d.Seconds())
}

func (m *Metrics) liveStatus(id, typ, status string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reported[id] == nil {
		m.reported[id] = map[liveLabels]bool{}
	}
	m.reported[id][liveLabels{typ, status}] = true
	m.live.WithLabelValues(id, typ, status).Inc()
}

// forget drops the series of a connection that is no longer here.
func (m *Metrics) forget(id string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for labels := range m.reported[id] {
		m.live.DeleteLabelValues(id, labels.typ, labels.status)
	}
	delete(m.reported, id)
}
