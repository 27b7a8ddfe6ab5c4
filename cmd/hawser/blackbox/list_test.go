package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	tenThousand = 10_000
	// A list is answered within this on a machine that has nothing else to do. Beside other tests it may take longer, but
	// not more of the processors: two of them do that in listWithin, and what a crowded machine adds.
	listWithin = 2 * time.Second
	listCost   = 5 * time.Second
)

// TestListTenThousand: GET /api/2/connections over 10 000 connections answers all of them in order, in time.
func TestListTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10 000 connections")
	}
	for name, fresh := range stores {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, append(fresh(t), "HAWSER_CONNECTIONS_RETRIEVE_LIMIT=10000"))
			n.fill(tenThousand)
			n.stop()
			n.start()
			before := n.residentBytes()
			for _, state := range []string{"all connections at rest", "all connections known"} {
				began, used := time.Now(), n.processorTime()
				a := n.rest("GET", api, nil).want(t, 200)
				took, cost := time.Since(began), n.processorTime()-used
				var all []struct{ ID, URI string }
				if err := json.Unmarshal(a.body, &all); err != nil {
					t.Fatal(err)
				}
				ids := make([]string, len(all))
				for i, c := range all {
					ids[i] = c.ID
				}
				if len(all) != tenThousand || !slices.IsSorted(ids) || all[tenThousand-1].URI == "" {
					t.Fatalf("%d connections, sorted %v", len(all), slices.IsSorted(ids))
				}
				t.Logf("%s: %v, %v of processor time, %d bytes", state, took, cost, len(a.body))
				if took > listWithin && cost > listCost {
					t.Errorf("%s: took %v and %v of processor time, want within %v", state, took, cost, listWithin)
				}
			}
			t.Logf("memory %d MiB before, %d MiB after", before>>20, n.residentBytes()>>20)
			began := time.Now()
			if ids := n.rest("GET", api+"?ids-only=true", nil).list(t); len(ids) != tenThousand {
				t.Fatalf("%d ids", len(ids))
			}
			t.Logf("ids only: %v", time.Since(began))
		})
	}
}

// fill creates many closed connections.
func (n *node) fill(many int) {
	n.t.Helper()
	document := show(minimal("tcp://u:p@h:1883"))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 32 {
		wg.Go(func() {
			for i := range next {
				if a, err := n.try(http.MethodPut, fmt.Sprintf("%s/plant-%05d", api, i), document); err != nil || a.status != 201 {
					n.t.Errorf("%v %d %s", err, a.status, a.body)
				}
			}
		})
	}
	for i := range many {
		next <- i
	}
	close(next)
	wg.Wait()
}

// processorTime is what the node has used so far.
func (n *node) processorTime() time.Duration {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.cmd.Process.Pid), "stat"))
	if err != nil {
		n.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after the name: state is field 3, utime 14, stime 15
	fields := strings.Fields(rest)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100
}

// resident is the memory of the node in bytes.
func (n *node) residentBytes() int64 {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.cmd.Process.Pid), "statm"))
	if err != nil {
		n.t.Fatal(err)
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
