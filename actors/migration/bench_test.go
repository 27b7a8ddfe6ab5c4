package migration

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/persistence"
	"hawser/persistence/encryption"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
	"hawser/persistence/sqlite"
)

// benchRows is the size of the journal that is migrated, benchBytes that of a row (issue 5).
const (
	benchRows  = 100_000
	benchBytes = 900
)

func benchStores() map[string]func(b *testing.B) persistence.Store {
	return map[string]func(b *testing.B) persistence.Store{
		"postgres": func(b *testing.B) persistence.Store {
			s, err := postgres.Open(b.Context(), postgres.Options{URL: persistencetest.Schema(b), Log: quiet()})
			if err != nil {
				b.Fatal(err)
			}
			return s
		},
		"sqlite": func(b *testing.B) persistence.Store {
			s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir(), Log: quiet()})
			if err != nil {
				b.Fatal(err)
			}
			return s
		},
	}
}

// benchFill writes n events of 900 bytes with two secrets, sealed with k, to 512 entities.
func benchFill(b *testing.B, d *database, n int, k *encryption.Keyring) {
	const entities = 512
	var writers sync.WaitGroup
	for e := range entities {
		writers.Go(func() {
			id := fmt.Sprintf("bench-%d", e)
			doc := benchEvent(id)
			for seq := int64(1); seq <= int64(n/entities)+1; seq++ {
				sealed, err := k.Seal(doc)
				if err != nil {
					b.Error(err)
					return
				}
				a := persistencetest.NewAppend(d.lease, id, seq)
				a.Event.Payload, a.Snapshot = sealed, nil
				if err := d.Append(context.Background(), a); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

func benchEvent(id string) json.RawMessage {
	short := modified(fmt.Appendf(nil, `{"id":%q,"uri":"tcp://user:uri-s3cr3t-%s@host:1883","credentials":{"password":"s3cr3t-%s"},"ca":""}`, id, id, id))
	const sealing = 116 // what sealing adds
	filler := strings.Repeat("x", benchBytes-sealing-len(short))
	return json.RawMessage(strings.Replace(string(short), `"ca":""`, `"ca":"`+filler+`"`, 1))
}

// BenchmarkMigrate rotates the key of 100 000 rows of 900 bytes, verification included, and reports rows/s and how much the heap grew.
func BenchmarkMigrate(b *testing.B) {
	for name, open := range benchStores() {
		b.Run(name, func(b *testing.B) {
			d := newDatabase(b, open(b))
			keys := []string{k2, k1, k3}
			benchFill(b, d, benchRows, ring(b, true, keys[0], ""))
			rows := 0
			b.ResetTimer()
			for i := range b.N {
				runtime.GC()
				var before runtime.MemStats
				runtime.ReadMemStats(&before)
				o := with(d, ring(b, true, keys[(i+1)%3], keys[i%3]))
				o.BatchSize = 0
				n := startNode(b, o)
				n.migrate(freshly)
				peak := uint64(0)
				for n.status().MigrationActive {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapAlloc)
					<-time.After(20 * time.Millisecond)
				}
				s := n.completed()
				rows += int(s.JournalEvents.Processed)
				if s.JournalEvents.Processed < benchRows || s.JournalEvents.Failed > 0 {
					b.Fatalf("%+v", s)
				}
				n.Stop()
				b.ReportMetric(float64(peak-min(peak, before.HeapAlloc))/(1<<20), "MiB-heap-growth")
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkLiveAppends shows what a migration does to the appends of live entities: their median and p99 without and with one.
func BenchmarkLiveAppends(b *testing.B) {
	for name, open := range benchStores() {
		for _, migrating := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/migrating=%t", name, migrating), func(b *testing.B) {
				d := newDatabase(b, open(b))
				benchFill(b, d, 40_000, ring(b, true, k2, ""))
				both := ring(b, true, k1, k2)
				n := startNode(b, Options{Store: d, Ring: func() *encryption.Keyring { return both }, Lease: owned})
				b.ResetTimer()
				for i := range b.N {
					if migrating {
						n.migrate(freshly)
					}
					var took []time.Duration
					doc := d.seal(both, benchEvent("live"))
					ticker := time.NewTicker(2 * time.Millisecond) // 500 appends a second
					for seq := int64(1); seq <= 1500; seq++ {
						<-ticker.C
						a := persistencetest.NewAppend(d.lease, fmt.Sprintf("live-%d", i), seq)
						a.Event.Payload, a.Snapshot = doc, nil
						began := time.Now()
						if err := d.Append(context.Background(), a); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(began))
						if migrating && seq%100 == 0 && !n.status().MigrationActive {
							break
						}
					}
					ticker.Stop()
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
				}
			})
		}
	}
}
