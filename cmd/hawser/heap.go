package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"hawser/cmd/hawser/config"
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

// heapReserveOf is heap-reserve in bytes; auto where nobody knows the memory: 256 MiB.
func heapReserveOf(c *config.Config) uint64 {
	const part, most, unknown = 16, 1 << 30, 256 << 20
	size, auto, _ := c.Reserve() // it was checked
	if !auto {
		return uint64(size)
	}
	memory, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return unknown
	}
	return min(memory/part, most)
}

// reserveHeap starts it; 0 bytes: nothing is changed.
func reserveHeap(bytes uint64) *heapReserve {
	r := &heapReserve{bytes: bytes, percent: 100}
	if _, set := os.LookupEnv("GOGC"); set || bytes == 0 {
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
