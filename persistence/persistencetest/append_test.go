package persistencetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
	"hawser/persistence/sqlite"
)

var quiet = slog.New(slog.DiscardHandler)

// entities are the numbers of entities that append at the same time.
var entities = []int{1, 32, 512}

// BenchmarkAppend appends events of a usual size, each entity its next one as soon as the last is durable, every tenth with
// a snapshot. The yardstick beside it commits one row per transaction, from as many clients, on the same server.
func BenchmarkAppend(b *testing.B) {
	for _, n := range entities {
		b.Run(fmt.Sprintf("postgres/entities=%d", n), func(b *testing.B) {
			store, err := postgres.Open(b.Context(), postgres.Options{URL: persistencetest.Schema(b), Log: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			benchmarkAppend(b, store, n)
		})
	}
	for _, n := range entities {
		b.Run(fmt.Sprintf("sqlite/entities=%d", n), func(b *testing.B) {
			store, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir(), Log: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			benchmarkAppend(b, store, n)
		})
	}
	for _, n := range []int{1, 32, 64} { // a server has 100 sessions to give
		b.Run(fmt.Sprintf("yardstick/clients=%d", n), func(b *testing.B) { benchmarkCommit(b, n) })
	}
}

// BenchmarkRecover reads 10 000 entities back.
func BenchmarkRecover(b *testing.B) {
	const n = 10_000
	for name, open := range map[string]func() (persistence.Store, error){
		"postgres": func() (persistence.Store, error) {
			return postgres.Open(b.Context(), postgres.Options{URL: persistencetest.Schema(b), Log: quiet})
		},
		"sqlite": func() (persistence.Store, error) {
			return sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir(), Log: quiet})
		},
	} {
		b.Run(fmt.Sprintf("%s/entities=%d", name, n), func(b *testing.B) {
			store, err := open()
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			pids := persistencetest.Populate(b, store, persistencetest.Own(b, store, "bench"), n)
			for b.Loop() {
				recovered := 0
				for _, err := range store.Recover(b.Context(), pids) {
					if err != nil {
						b.Fatal(err)
					}
					recovered++
				}
				if recovered != n {
					b.Fatalf("%d entities, want %d", recovered, n)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

func benchmarkAppend(b *testing.B, store persistence.Store, n int) {
	lease := persistencetest.Own(b, store, "bench")
	measure(b, n, func(ctx context.Context, entity, k int) error {
		return store.Append(ctx, persistencetest.NewAppend(lease, fmt.Sprintf("entity-%d", entity), int64(k)))
	})
}

func benchmarkCommit(b *testing.B, n int) {
	url := persistencetest.Schema(b)
	conns := make([]*pgx.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = pgx.Connect(b.Context(), url); err != nil {
			b.Fatal(err)
		}
		defer conns[i].Close(context.Background())
	}
	if _, err := conns[0].Exec(b.Context(), `create table yardstick (pid text, seq_nr bigint, payload jsonb, primary key (pid, seq_nr))`); err != nil {
		b.Fatal(err)
	}
	payload := string(persistencetest.NewAppend(persistence.Lease{}, "x", 1).Event.Payload)
	measure(b, n, func(ctx context.Context, entity, k int) error {
		_, err := conns[entity].Exec(ctx, `insert into yardstick values ($1, $2, $3)`, fmt.Sprintf("entity-%d", entity), k, payload)
		return err
	})
}

// measure runs b.N operations in n goroutines; each counts its own from 1.
func measure(b *testing.B, n int, do func(ctx context.Context, entity, k int) error) {
	latencies := make([]time.Duration, b.N)
	var next, failed atomic.Int64
	var all sync.WaitGroup
	ctx := b.Context()
	b.ResetTimer()
	for entity := range n {
		all.Go(func() {
			for k := 1; ; k++ {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				began := time.Now()
				if err := do(ctx, entity, k); err != nil && failed.Add(1) == 1 {
					b.Error(err)
				}
				latencies[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(latencies[len(latencies)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Nanoseconds())/1e3, "p99-µs")
}
