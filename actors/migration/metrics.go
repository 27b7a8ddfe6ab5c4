package migration

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"hawser/messages"
)

// The series of a migration. Upstream has none (operations.md 9).
var (
	activeDesc = prometheus.NewDesc("encryption_migration_active", "1 while an encryption migration runs on this node.", nil, nil)
	rowsDesc   = prometheus.NewDesc("encryption_migration_documents_total",
		"Documents that the last migration of this node has looked at, by table and by what happened to them.", []string{"table", "outcome", "dry_run"}, nil)
	shareDesc = prometheus.NewDesc("encryption_migration_progress_ratio", "Share of the walk that is done, by ids; the verification counts anew.", nil, nil)
	rateDesc  = prometheus.NewDesc("encryption_migration_documents_per_second", "Speed of the running migration.", nil, nil)
	endDesc   = prometheus.NewDesc("encryption_migration_estimated_end_timestamp_seconds", "When the running migration will end at its present speed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (r *Runner) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{activeDesc, rowsDesc, shareDesc, rateDesc, endDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. A node that does not own the migration, or on which none has run, has
// encryption_migration_active only.
func (r *Runner) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	a := r.active
	r.mu.Unlock()
	var x *run
	running := false
	if a != nil {
		x, running = a.last()
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	if !running {
		gauge(activeDesc, 0)
	} else {
		gauge(activeDesc, 1)
	}
	if x == nil {
		return
	}
	p := x.now()
	for table, c := range map[string]messages.MigrationCounts{"snapshots": p.Snapshots.MigrationCounts, "journal": p.Journal.MigrationCounts} {
		for outcome, n := range map[string]int64{"processed": c.Processed, "skipped": c.Skipped, "failed": c.Failed} {
			ch <- prometheus.MustNewConstMetric(rowsDesc, prometheus.CounterValue, float64(n), table, outcome, strconv.FormatBool(p.DryRun))
		}
	}
	if !running {
		return
	}
	x.mu.Lock()
	share, rate := x.meter.now.share, x.meter.rate()
	end, known := x.meter.end()
	x.mu.Unlock()
	gauge(shareDesc, share)
	gauge(rateDesc, rate)
	if known {
		gauge(endDesc, float64(end.UnixMilli())/1000)
	}
}
