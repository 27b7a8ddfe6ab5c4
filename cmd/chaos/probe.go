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

// Probing. A connection that answers late, or not, was interrupted; a node that has been cut off still answers until its
// deadline, so the first answer is not the end of it.
const (
	probeEvery = time.Second
	prompt     = time.Second // an answer that takes longer is an interruption: less may be a busy machine
)

// recovery is the time since t0 at which a connection answered for good: the end of its last interruption, or the first
// answer when there was none.
type recovery struct {
	first, last time.Duration
	longest     time.Duration // from asking to the answer, failures between included
	since       time.Duration // of the first of the failures under way
	failing     bool
}

// answer takes the next probe, sent and ended at these times since t0.
func (r *recovery) answer(sent, ended time.Duration, ok bool) {
	if !r.failing {
		r.since = sent
	}
	if !ok {
		r.failing = true
		return
	}
	r.longest = max(r.longest, ended-r.since)
	if r.first == 0 {
		r.first = ended
	}
	if r.failing || ended-sent > prompt {
		r.last = ended
	}
	r.failing = false
}

// length is the longest that an answer was waited for.
func (r *recovery) length() time.Duration {
	if r.failing || r.first == 0 {
		return never
	}
	return r.longest
}

func (r *recovery) time() time.Duration {
	switch {
	case r.failing || r.first == 0:
		return never
	case r.last > 0:
		return r.last
	default:
		return r.first
	}
}

// probe asks one of nodes for each connection about once a second from t0 on, until enough says so and then until it
// answers. It gives up on what has not answered limit after that.
func probe(ctx context.Context, a *api, ids []string, nodes func() []*node, t0 time.Time, enough func() bool, limit time.Duration) []recovery {
	out := make([]recovery, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			r := &out[i]
			end := never
			for k := i; ctx.Err() == nil && time.Since(t0) < end; k++ {
				if end == never && enough() {
					end = time.Since(t0) + limit
				}
				if end != never && !r.failing && r.first > 0 {
					return
				}
				at := nodes()
				sent := time.Since(t0)
				ok := len(at) > 0 && a.command(ctx, at[k%len(at)], "probe-"+id, retrieve(id), commandTimeout).outcome == done
				r.answer(sent, time.Since(t0), ok)
				if ok {
					// The connections are asked in turn, not all at once again.
					pause(ctx, probeEvery/2+probeEvery*time.Duration(i)/time.Duration(len(ids)))
				} else {
					pause(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	return out
}
