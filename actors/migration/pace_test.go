package migration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"hawser/persistence"
)

func TestThrottle(t *testing.T) { // E31: 100 rows, 200 per minute, batches of 10
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 100, ring(t, true, k2, ""))
		o := with(m, ring(t, true, k1, k2))
		o.PerMinute = 200
		n := startNode(t, o)
		began := time.Now()
		n.migrate(freshly)
		time.Sleep(75 * time.Second)
		if s := n.status(); s.Phase != "completed" {
			t.Fatalf("%+v", s)
		}
		if len(m.applied) != 20 {
			t.Fatalf("%d batches, want 20", len(m.applied))
		}
		for _, check := range []struct {
			what     string
			took     time.Duration
			min, max time.Duration
		}{
			{"first progress", m.applied[0].Sub(began), 2900 * time.Millisecond, 3100 * time.Millisecond},
			{"snapshots", m.applied[9].Sub(began), 29 * time.Second, 31 * time.Second},
			{"journal", m.applied[19].Sub(m.applied[9]), 29 * time.Second, 31 * time.Second},
		} {
			if check.took < check.min || check.took > check.max {
				t.Errorf("%s after %v, want %v to %v", check.what, check.took, check.min, check.max)
			}
		}
		n.Stop()
	})
}

func TestThrottledDocumentsThatAreSkipped(t *testing.T) { // 6.9: skipped documents and dry runs are throttled, too
	synctest.Test(t, func(t *testing.T) {
		o := with(newMemory(t, 50, ring(t, true, k1, "")), ring(t, true, k1, k2))
		o.PerMinute = 60
		n := startNode(t, o)
		n.migrate(dry)
		time.Sleep(49 * time.Second)
		if s := n.status(); s.Phase != "in_progress:snapshots" || s.Snapshots.Skipped != 40 || !s.DryRun {
			t.Errorf("%+v", s)
		}
		if r := n.abort(); r.Phase != "aborted:snapshots" || r.Snapshots.Skipped != 40 {
			t.Errorf("%+v", r)
		}
		if s := n.status(); s.Phase != "snapshots" || s.MigrationActive || !s.DryRun {
			t.Errorf("%+v", s)
		}
		n.Stop()
	})
}

// A migration makes way while somebody writes to the journal, and runs at full speed while nobody does.
func TestMakesWayForLiveWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 3000, ring(t, true, k2, ""))
		w := watch(m)
		type one struct {
			at time.Time
			n  int
		}
		var batches []one
		w.batch = func(_ int, _ persistence.Table, updates []persistence.RowUpdate, apply func() error) error {
			batches = append(batches, one{time.Now(), len(updates)})
			time.Sleep(time.Millisecond) // one of twenty: the default of LiveShare
			return apply()
		}
		write := func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			journal := m.tables[persistence.TableJournal]
			m.tables[persistence.TableJournal] = append(journal, persistence.Row{ID: int64(len(journal) + 1), PID: "connection:live", Payload: opened})
		}
		o := with(w, ring(t, true, k1, k2))
		o.BatchSize = 100
		n := startNode(t, o)
		began := time.Now()
		n.migrate(freshly)
		time.Sleep(50 * time.Millisecond)
		for range 20 { // live for 2 s, from before the first look on
			write()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if s := n.status(); s.Phase != "completed" || s.Snapshots.Processed != 3000 || s.JournalEvents.Processed != 3000 {
			t.Fatalf("%+v", s)
		}
		live, full := 0, 0
		for i, b := range batches {
			at := b.at.Sub(began)
			if at < 2*time.Second+lookEvery*(quietFor-1) { // the last write, and as long as somebody may still be there
				live++
				if b.n > liveSlice || i > 0 && b.at.Sub(batches[i-1].at) < 20*time.Millisecond {
					t.Errorf("%v: %d documents, %v after the ones before", at, b.n, b.at.Sub(batches[i-1].at))
				}
			} else if b.n == 100 {
				full++
			}
		}
		if live < 125 || full < 25 {
			t.Errorf("%d batches while others wrote, %d full ones after", live, full)
		}
		if last := batches[len(batches)-1].at.Sub(began); last > 5*time.Second {
			t.Errorf("took %v", last)
		}
		n.Stop()
	})
}

func TestPace(t *testing.T) {
	for _, test := range []struct {
		perMinute int
		n         int
		want      time.Duration
	}{{0, 1000, 0}, {60, 10, 10 * time.Second}, {200, 100, 30 * time.Second}, {60_000, 500, 500 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace(test.perMinute)
			began := time.Now()
			for range test.n {
				if err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took != test.want {
				t.Errorf("%d at %d per minute took %v, want %v", test.n, test.perMinute, took, test.want)
			}
			if test.perMinute == 0 {
				return
			}
			time.Sleep(time.Hour) // what was not used is lost, beyond 100 ms
			began = time.Now()
			for range test.n {
				if err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took > test.want || took < test.want-allowance-time.Minute/time.Duration(test.perMinute) {
				t.Errorf("after a pause %d at %d per minute took %v, want %v", test.n, test.perMinute, took, test.want)
			}
		})
	}
}

func TestLogAndMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 100, ring(t, true, k2, ""))
		m.tables[persistence.TableJournal][7].Payload = json.RawMessage(`{"uri":"encrypted_AAAA"}`)
		o := with(m, ring(t, true, k1, k2))
		o.PerMinute = 600 // 10 s for each table
		n := startNode(t, o)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(n.Runner)
		idle := `
# HELP encryption_migration_active 1 while an encryption migration runs on this node.
# TYPE encryption_migration_active gauge
encryption_migration_active 0
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(idle)); err != nil {
			t.Error(err)
		}
		began := time.Now()
		n.migrate(freshly)
		time.Sleep(15*time.Second + 50*time.Millisecond)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				key := f.GetName()
				for _, l := range metric.GetLabel() {
					key += " " + l.GetValue()
				}
				if metric.GetCounter() != nil {
					got[key] = metric.GetCounter().GetValue()
				} else {
					got[key] = metric.GetGauge().GetValue()
				}
			}
		}
		for key, want := range map[string]float64{
			"encryption_migration_active": 1, "encryption_migration_progress_ratio": 0.75, "encryption_migration_documents_per_second": 10,
			"encryption_migration_documents_total false processed snapshots": 100, "encryption_migration_documents_total false processed journal": 49,
			"encryption_migration_documents_total false failed journal": 1, "encryption_migration_documents_total false skipped journal": 0,
			"encryption_migration_estimated_end_timestamp_seconds": float64(began.Add(20*time.Second).UnixMilli()) / 1000,
		} {
			if have, ok := got[key]; !ok || have < want*0.99-0.01 || have > want*1.01+0.01 && !strings.Contains(key, "timestamp") {
				t.Errorf("%s is %v, want %v", key, have, want)
			} else if strings.Contains(key, "timestamp") && (have-want > 1 || want-have > 1) {
				t.Errorf("the estimated end is %v s off", have-want)
			}
		}
		time.Sleep(10 * time.Second)
		if s := n.status(); s.Phase != "completed" || s.JournalEvents.Failed != 1 {
			t.Errorf("%+v", s)
		}
		log := n.log.text()
		for percent := 10; percent <= 100; percent += 10 {
			if strings.Count(log, fmt.Sprintf("percent=%d ", percent)) < 1 {
				t.Errorf("no line for %d %%:\n%s", percent, log)
			}
		}
		if !regexp.MustCompile(`percent=50 rate=10 estimated_end=`).MatchString(log) || strings.Count(log, "cannot be migrated") != 1 {
			t.Errorf("the log is\n%s", log)
		}
		if count := testutil.CollectAndCount(n.Runner); count != 7 {
			t.Errorf("%d series after the end, want active and the counters", count)
		}
		n.Stop()
	})
}
