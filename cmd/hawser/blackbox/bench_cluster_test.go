package blackbox

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
)

// benchConnections are closed connections, spread over the nodes; ids by the instance at which they live.
func benchConnections(b *testing.B, n *node, count int) map[string][]string {
	b.Helper()
	homes := map[string][]string{}
	for k := range count {
		id := fmt.Sprintf("b-%03d", k)
		wantStatus(b, n.command(with("createConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed"))), 201)
		home := n.home(id)
		homes[home] = append(homes[home], id)
	}
	return homes
}

// drive sends b.N commands with so many clients and reports rate and percentiles.
func drive(b *testing.B, clients int, command func(k int) (n *node, body string), want string) {
	b.Helper()
	latencies := make([]time.Duration, b.N)
	var next, failed atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for k := next.Add(1) - 1; k < int64(b.N); k = next.Add(1) - 1 {
				n, body := command(int(k))
				began := time.Now()
				a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", body)
				latencies[k] = time.Since(began)
				if err != nil || !strings.Contains(string(a.body), want) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	if failed.Load() > 0 {
		b.Fatalf("%d of %d commands failed", failed.Load(), b.N)
	}
	report(b, b.N, latencies)
}

// BenchmarkClusterForward sends commands to connections of one node through that node, and through another one of three.
func BenchmarkClusterForward(b *testing.B) {
	nodes := startCluster(b, persistencetest.Schema(b), 3)
	homes := benchConnections(b, nodes[0], 60)
	ids := homes[nodes[0].instance]
	if len(ids) == 0 {
		b.Fatalf("nothing lives at %s: %v", nodes[0].instance, homes)
	}
	for _, kind := range []struct {
		name, want string
		make       func(id string) object
	}{
		{"retrieve", `"status":200`, func(id string) object { return on("retrieveConnection", id) }},
		{"modify", `"status":204`, func(id string) object {
			return with("modifyConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed"))
		}},
	} {
		for _, clients := range []int{1, 64} {
			for i, path := range []string{"owning", "other"} {
				b.Run(fmt.Sprintf("%s/clients=%d/%s", kind.name, clients, path), func(b *testing.B) {
					drive(b, clients, func(k int) (*node, string) {
						return nodes[i], envelope(shardRegion, object{"ditto-sudo": true}, kind.make(ids[k%len(ids)]))
					}, kind.want)
				})
			}
		}
	}
}

// BenchmarkClusterNodes creates connections with 64 clients at 1, 2 and 3 nodes, which share this machine and one database.
func BenchmarkClusterNodes(b *testing.B) {
	for _, count := range []int{1, 2, 3} {
		nodes := startCluster(b, persistencetest.Schema(b), count)
		run := 0
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) {
			run++
			prefix := fmt.Sprintf("r%d", run)
			drive(b, 64, func(k int) (*node, string) {
				return nodes[k%count], envelope(shardRegion, nil, with("createConnection", mqttConnection(fmt.Sprintf("%s-%d", prefix, k), "tcp://127.0.0.1:1", "closed")))
			}, `"status":201`)
		})
		for _, n := range nodes {
			n.kill()
		}
	}
}

// BenchmarkClusterClaim starts a node on a database with 10 000 open connections whose endpoint refuses, at the default
// opening rate and without a limit: how long until its shards are claimed, and until every entity runs.
func BenchmarkClusterClaim(b *testing.B) {
	const connections = 10_000
	for _, rate := range []struct{ name, entities string }{{"rate=500", "500"}, {"rate=10000", "10000"}} {
		b.Run(rate.name, func(b *testing.B) {
			url := persistencetest.Schema(b)
			n := newMember(b, url, "claimer", "RECONNECT_RATE_ENTITIES="+rate.entities, "CONNECTIVITY_CLIENT_MIN_BACKOFF=60m", "CONNECTIVITY_CLIENT_MAX_BACKOFF=60m", "HAWSER_LEASE_TTL=5s")
			n.start()
			fillStore(b, n, connections)
			queryStore(b, n.env, `update connections set status = 'open', tags = array['always-alive','priority-0']`)
			queryStore(b, n.env, `update journal set payload = replace(payload::text, '"connectionStatus": "closed"', '"connectionStatus": "open"')::jsonb`)
			for range b.N {
				n.kill()
				n.log = &lockedBuffer{}
				began := time.Now()
				n.start()
				ready := time.Since(began)
				done := regexp.MustCompile(`msg="all open connections are started".* took=(\S+)`)
				look := time.NewTicker(time.Second) // not more often, and no scrapes: that would cost more than what is measured
				var took time.Duration
				for took == 0 && time.Since(began) < 2*time.Minute {
					<-look.C
					if m := done.FindStringSubmatch(n.log.String()); m != nil {
						took, _ = time.ParseDuration(m[1])
					}
				}
				look.Stop()
				if _, body := get(b, "http://"+n.metrics+"/metrics"); sum(body, "pa_recovery_seconds_count") < connections {
					b.Errorf("%v entities recovered", sum(body, "pa_recovery_seconds_count"))
				}
				b.ReportMetric(ready.Seconds(), "ready-s")
				b.ReportMetric(took.Seconds(), "all-s")
				b.ReportMetric(n.cpuTime().Seconds()/connections*1e6, "cpu-µs/connection")
			}
		})
	}
}

// BenchmarkClusterMemory compares a node without connections with one that knows 100 000 closed ones, which are passive.
func BenchmarkClusterMemory(b *testing.B) {
	const connections = 100_000
	n := newMember(b, persistencetest.Schema(b), "knower", "LOG_LEVEL=error")
	n.start()
	for range b.N {
		n.stop()
		n.start()
		before := n.resident()
		fillStore(b, n, connections)
		n.stop()
		n.start()
		after := n.resident()
		wantStatus(b, n.command(on("retrieveConnection", "k-77777")), 200)
		b.ReportMetric(float64(before)/(1<<20), "before-MiB")
		b.ReportMetric(float64(after)/(1<<20), "after-MiB")
		b.ReportMetric(float64(after-before)/connections, "B/connection")
	}
}

// fill creates closed connections k-0 … with 64 clients.
func fillStore(b *testing.B, n *node, count int) {
	b.Helper()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for k := next.Add(1) - 1; k < int64(count); k = next.Add(1) - 1 {
				body := envelope(shardRegion, nil, with("createConnection", mqttConnection(fmt.Sprintf("k-%d", k), "tcp://127.0.0.1:1", "closed")))
				a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", body)
				if err != nil || !strings.Contains(string(a.body), `"status":201`) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if failed.Load() > 0 {
		b.Fatalf("%d of %d creates failed", failed.Load(), count)
	}
}

// cpuTime is what the process has used since it started.
func (n *node) cpuTime() time.Duration {
	n.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			n.t.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// resident is the resident memory of the process, in bytes, once it is quiet.
func (n *node) resident() int64 {
	n.t.Helper()
	read := func() int64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
		if err != nil {
			n.t.Fatal(err)
		}
		pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		if err != nil {
			n.t.Fatal(err)
		}
		return pages * int64(os.Getpagesize())
	}
	last, since := read(), time.Now()
	eventually(n.t, 60*time.Second, "memory is steady", func() error {
		now := read()
		if diff := now - last; diff > 1<<20 || diff < -1<<20 {
			last, since = now, time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Errorf("%d B", now)
		}
		return nil
	})
	return read()
}

// sum adds the values of a metric over its labels.
func sum(body, name string) float64 {
	total := 0.0
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, " ")) {
			v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err == nil {
				total += v
			}
		}
	}
	return total
}
