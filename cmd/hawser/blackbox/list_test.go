package blackbox

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shownInList is what a list shows: the connections by id, after checking that they are in order and each there once.
func (n *node) shownInList(query string) map[string]any {
	n.t.Helper()
	all := map[string]any{}
	var ids []string
	for _, c := range n.rest("GET", api+query, nil).list(n.t) {
		id := c.(object)["id"].(string)
		ids, all[id] = append(ids, id), c
	}
	if !slices.IsSorted(ids) || len(ids) != len(all) {
		n.t.Fatalf("not in order, or twice: %v", ids)
	}
	return all
}

// TestList: a list shows of each connection what its entry shows, whatever became of it and whether its entity runs or not,
// and wakes none that is at rest.
func TestList(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		n := startNode(t, append(env, "HAWSER_CONNECTIONS_RETRIEVE_LIMIT=1000", "CONNECTIVITY_CONNECTION_ENCRYPTION_ENABLED=true",
			"CONNECTIVITY_CONNECTION_ENCRYPTION_KEY="+base64.URLEncoding.EncodeToString(key)))
		const dead = "tcp://u:s3cret@127.0.0.1:1"
		n.fill(300)
		put := func(id string, status int, change ...func(object)) {
			t.Helper()
			n.rest("PUT", api+"/"+id, minimal(dead, change...)).want(t, status)
		}
		for i := range 25 { // with events after a snapshot
			put("busy", map[bool]int{true: 201, false: 204}[i == 0], field("name", fmt.Sprint("version ", i)))
		}
		put("large", 201, field("name", strings.Repeat("x", 900<<10)))
		put("gone", 201)
		n.rest("DELETE", api+"/gone", nil).want(t, 204)
		put("again", 201)
		n.rest("DELETE", api+"/again", nil).want(t, 204)
		put("again", 201, field("name", "second"))
		put("opened", 201)
		n.rest("POST", api+"/opened/command", "connectivity.commands:openConnection", header("Content-Type", "text/plain")).want(t, 504)
		put("closed", 201)
		n.rest("POST", api+"/closed/command", "connectivity.commands:closeConnection", header("Content-Type", "text/plain")).want(t, 200)

		running := n.shownInList("")
		n.stop()
		n.start()
		atRest := n.shownInList("")
		hidden := n.shownInList("?fields=id,_revision,_created,sources(addresses)")
		none := n.shownInList("?ids-only=false&fields=id,nothing")
		// The connection whose stored status is open was started by itself.
		if _, body := get(t, "http://"+n.metrics+"/metrics"); sum(body, "pa_recovery_seconds_count") > 1 {
			t.Errorf("a list woke entities: %v recoveries", sum(body, "pa_recovery_seconds_count"))
		}

		var ids []string
		if err := json.Unmarshal(n.rest("GET", api+"?ids-only=true", nil).want(t, 200).body, &ids); err != nil || len(ids) != 305 || slices.Contains(ids, "gone") {
			t.Fatalf("%d ids, %v", len(ids), err)
		}
		for _, id := range ids {
			want := n.rest("GET", api+"/"+id, nil).want(t, 200).object(t)
			for name, got := range map[string]any{"before the restart": running[id], "at rest": atRest[id]} {
				if !reflect.DeepEqual(got, any(want)) {
					t.Errorf("%s %s: %.300s, want %.300s", id, name, show(got), show(want))
				}
			}
			want = n.rest("GET", api+"/"+id+"?fields=id,_revision,_created,sources(addresses)", nil).want(t, 200).object(t)
			if !reflect.DeepEqual(hidden[id], any(want)) || want["_revision"] == nil {
				t.Errorf("%s: %.300s, want %.300s", id, show(hidden[id]), show(want))
			}
		}
		if len(running) != len(ids) || len(atRest) != len(ids) || len(hidden) != len(ids) || len(none) != len(ids) {
			t.Errorf("%d, %d, %d, %d listed of %d", len(running), len(atRest), len(hidden), len(none), len(ids))
		}
		if _, body := get(t, "http://"+n.metrics+"/metrics"); sum(body, "pa_recovery_seconds_count") < float64(len(ids)) {
			t.Error("the recoveries are not counted: what was checked above shows nothing")
		}

		n.listUnreadable(key)
	})
}

// listUnreadable: connections that the node cannot decrypt are not left out of a list (decision O5), their ids are known.
func (n *node) listUnreadable(key []byte) {
	t := n.t
	n.stop()
	other := slices.Clone(key)
	other[0] ^= 1
	n.env = append(n.env, "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY="+base64.URLEncoding.EncodeToString(other))
	n.start()
	e := n.rest("GET", api, nil).want(t, 503).object(t)
	if e["error"] != "connectivity:connection.unavailable" || !strings.Contains(show(e), "again") { // the first of all
		t.Error(show(e))
	}
	if ids := n.rest("GET", api+"?ids-only=true", nil).list(t); len(ids) != 305 {
		t.Errorf("%d ids", len(ids))
	}
}

// TestListShowsWhatWasAnswered: a change is in every list that is asked for after its answer, at whatever node.
func TestListShowsWhatWasAnswered(t *testing.T) {
	for name, start := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := start(t)
			var clients sync.WaitGroup
			for c := range 4 {
				clients.Go(func() {
					for i := range 40 {
						id := fmt.Sprintf("c-%d", c)
						write, read := nodes[(c+i)%len(nodes)], nodes[(c+i/2)%len(nodes)]
						method, status := "PUT", 204
						switch i % 10 {
						case 0:
							status = 201
						case 9:
							method = "DELETE"
						}
						if a, err := write.try(method, api+"/"+id, show(minimal("tcp://h:1", field("name", fmt.Sprint(i))))); err != nil || a.status != status {
							t.Errorf("%s %d: %v %d %s", method, i, err, a.status, a.body)
							return
						}
						a, err := read.try("GET", api, "")
						if err != nil || a.status != 200 {
							t.Errorf("list: %v %d %s", err, a.status, a.body)
							return
						}
						shown := strings.Contains(string(a.body), fmt.Sprintf(`"id":"%s","name":"%d"`, id, i))
						gone := !strings.Contains(string(a.body), fmt.Sprintf(`"id":"%s"`, id))
						if (method == "PUT") != shown || (method == "DELETE") != gone {
							t.Errorf("after %s number %d: %s", method, i, a.body)
						}
					}
				})
			}
			clients.Wait()
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

// BenchmarkList is GET /api/2/connections over 10 000 connections (issue 6: within 2 s, bounded in memory), right after a
// restart and again: milliseconds, milliseconds of processor time, and the memory that the node has taken on by then.
func BenchmarkList(b *testing.B) {
	const many = 10_000
	for name, fresh := range stores {
		b.Run(name, func(b *testing.B) {
			n := startNode(b, append(fresh(b), fmt.Sprint("HAWSER_CONNECTIONS_RETRIEVE_LIMIT=", many)))
			n.fill(many)
			for b.Loop() {
				n.stop()
				n.start()
				before := n.resident()
				for _, state := range []string{"first", "again"} {
					began, used := time.Now(), n.cpuTime()
					a := n.rest("GET", api, nil).want(b, 200)
					b.ReportMetric(float64(time.Since(began).Milliseconds()), state+"-ms")
					b.ReportMetric(float64((n.cpuTime() - used).Milliseconds()), state+"-cpu-ms")
					if all := a.list(b); len(all) != many {
						b.Fatalf("%d connections", len(all))
					}
				}
				b.ReportMetric(float64(n.resident()-before)/(1<<20), "grown-MiB")
			}
		})
	}
}
