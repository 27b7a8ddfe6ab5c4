package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"hawser/cmd/hawser/config"
)

func TestReservePercent(t *testing.T) {
	for _, test := range []struct {
		reserve, live uint64
		want          int
	}{
		{128 << 20, 0, 3_200}, {128 << 20, 1 << 20, 3_200}, {128 << 20, 16 << 20, 800}, {128 << 20, 128 << 20, 100}, {128 << 20, 4 << 30, 100}, {1 << 10, 64 << 20, 100},
	} {
		if got := reservePercent(test.reserve, test.live); got != test.want {
			t.Errorf("%d MiB live, %d in reserve: %d %%, want %d", test.live>>20, test.reserve>>20, got, test.want)
		}
	}
}

// auto is a part of what there is, a size is that size, 0 is nothing.
func TestHeapReserveOf(t *testing.T) {
	for _, test := range []struct {
		setting     string
		least, most uint64
	}{{"auto", 16 << 20, 1 << 30}, {"300m", 300 << 20, 300 << 20}, {"0", 0, 0}} {
		if got := heapReserveOf(&config.Config{HeapReserve: test.setting}); got < test.least || got > test.most {
			t.Errorf("%s: %d", test.setting, got)
		}
	}
}

// The pace follows what lives, collection by collection, and Close gives it back.
func TestHeapReserve(t *testing.T) {
	if _, set := os.LookupEnv("GOGC"); set {
		t.Setenv("GOGC", "") // remembers it
		_ = os.Unsetenv("GOGC")
	}
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	r := reserveHeap(512 << 20)
	small := percent()
	live := make([]byte, 256<<20)
	for deadline := time.Now().Add(10 * time.Second); percent() >= small; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("%d %% beside 256 MiB, as before", percent())
		}
	}
	runtime.KeepAlive(live)
	r.Close()
	if got := percent(); got != 77 {
		t.Errorf("%d %% after Close", got)
	}
	t.Setenv("GOGC", "50")
	r = reserveHeap(512 << 20)
	if got := percent(); got != 77 {
		t.Errorf("%d %% although GOGC is set", got)
	}
	r.Close()
}
