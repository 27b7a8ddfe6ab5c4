package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// heapReserve lets garbage pile up to a number of bytes, at least, before it is collected. Go's own pace, as much garbage as
// there is live data, has a node with little live data collect many times a second when it is busy. Close gives the pace
// back; GOGC, if set, is left alone, and GOMEMLIMIT bounds all of it.
type heapReserve struct {
	bytes   uint64
	percent int
	before  int // what Close puts back
	closed  atomic.Bool
}

// reserveHeap starts it; 0 bytes: nothing is changed.
func reserveHeap(bytes int64) *heapReserve {
	r := &heapReserve{bytes: uint64(max(bytes, 0)), percent: 100}
	if _, set := os.LookupEnv("GOGC"); set || bytes <= 0 {
		r.closed.Store(true)
		return r
	}
	r.before = debug.SetGCPercent(r.percent)
	r.pace()
	return r
}

// pace sets the pace for the next collection and has itself called after it.
func (r *heapReserve) pace() {
	if r.closed.Load() {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := reservePercent(r.bytes, live[0].Value.Uint64())
	if percent > r.percent*11/10 || percent < r.percent*9/10 { // setting it stops the world for a moment
		r.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.AddCleanup(new(sentinel), func(r *heapReserve) { r.pace() }, r)
}

// sentinel is garbage from the beginning: it goes with the next collection. It is not empty, nor tiny, so that it has memory
// of its own.
type sentinel struct{ _ [64]byte }

// Close ends it.
func (r *heapReserve) Close() {
	if !r.closed.Swap(true) {
		debug.SetGCPercent(r.before)
	}
}

// leastHeap is the heap at which Go's first collection comes at 100 %: the pace counts from it where less is live.
const leastHeap = 4 << 20

// reservePercent is the pace that lets reserve bytes of garbage pile up beside live ones: never below Go's default.
func reservePercent(reserve, live uint64) int {
	return int(max(reserve*100/max(live, leastHeap), 100))
}
