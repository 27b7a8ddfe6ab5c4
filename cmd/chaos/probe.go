package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// quantiles of times; a time that never came counts as longer than all others.
type quantiles struct {
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	Max   time.Duration `json:"max"`
	N     int           `json:"n"`
	Never int           `json:"never,omitempty"`
}

// never is the length of what did not come.
const never = time.Duration(1<<63 - 1)

func quantilesOf(times []time.Duration) quantiles {
	q := quantiles{N: len(times)}
	if q.N == 0 {
		return q
	}
	sorted := slices.Sorted(slices.Values(times))
	for _, t := range sorted {
		if t == never {
			q.Never++
		}
	}
	// The smallest time that at least p of them do not exceed.
	at := func(percent int) time.Duration { return sorted[(q.N*percent+99)/100-1] }
	q.P50, q.P99, q.Max = at(50), at(99), sorted[q.N-1]
	return q
}

// probe asks for each connection until one of nodes answers and returns how long after t0 that was. It gives up on what is
// not answered within limit.
func probe(ctx context.Context, a *api, ids []string, nodes func() []*node, t0 time.Time, limit time.Duration, tag string) []time.Duration {
	ctx, cancel := context.WithDeadline(ctx, t0.Add(limit))
	defer cancel()
	times := make([]time.Duration, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			times[i] = never
			for k := i; ctx.Err() == nil; k++ {
				at := nodes()
				if len(at) > 0 {
					if r := a.command(ctx, at[k%len(at)], tag+"-"+id, retrieve(id), commandTimeout); r.outcome == done {
						times[i] = time.Since(t0)
						return
					}
				}
				pause(ctx, 50*time.Millisecond)
			}
		})
	}
	all.Wait()
	return times
}
