package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hawser/persistence"
)

// storeMetrics are histograms of what the store does, beside those of the entities (contract operations.md 9): a batch of
// appends serves many entities, a page of a recovery as well.
type storeMetrics struct {
	took *prometheus.HistogramVec
	rows *prometheus.HistogramVec
}

func newStoreMetrics() storeMetrics {
	labels := []string{"operation", "success"}
	return storeMetrics{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "store_operation_seconds", Help: "Duration of one batch of journal appends or one page of a recovery.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels),
		rows: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "store_operation_rows", Help: "Rows of one batch of journal appends, entities of one page of a recovery.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}, labels),
	}
}

// observe implements persistence.Observe.
func (m storeMetrics) observe(op persistence.Operation, rows int, took time.Duration, err error) {
	success := strconv.FormatBool(err == nil)
	m.took.WithLabelValues(string(op), success).Observe(took.Seconds())
	m.rows.WithLabelValues(string(op), success).Observe(float64(rows))
}

// newRegistry makes a registry with the runtime's and the process' own series; prefix stands in front of every name that is
// registered through the Registerer.
func newRegistry(prefix string) (*prometheus.Registry, prometheus.Registerer) {
	registry := prometheus.NewRegistry()
	prefixed := prometheus.WrapRegistererWithPrefix(prefix, registry)
	prefixed.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry, prefixed
}
