package blackbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"hawser/persistence/persistencetest"
)

// The benchmarks use the built binary with the load generator, the database and the broker on the same machine, so only
// their ratios within one run mean something: `make bench` prints them as one table.

// BenchmarkPiggybackCreate creates closed connections over HTTP, and BenchmarkPiggybackModify changes them, each time durable
// before the answer.
func BenchmarkPiggybackCreate(b *testing.B) { benchmarkCommands(b, "createConnection", 201) }

func BenchmarkPiggybackModify(b *testing.B) { benchmarkCommands(b, "modifyConnection", 204) }

func benchmarkCommands(b *testing.B, command string, status int) {
	for _, store := range []struct {
		name  string
		fresh func(testing.TB) []string
	}{{"postgres", postgresStore}, {"sqlite", sqliteStore}} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", store.name, clients), func(b *testing.B) {
				n := startNode(b, store.fresh(b))
				each := func(command string, status int) []time.Duration {
					latencies := make([]time.Duration, b.N)
					wanted := fmt.Sprintf(`"status":%d`, status)
					var next, failed atomic.Int64
					var all sync.WaitGroup
					for range clients {
						p := newPoster(b, n, "/devops/piggyback/connectivity")
						all.Go(func() {
							for k := next.Add(1) - 1; k < int64(b.N); k = next.Add(1) - 1 {
								body := envelope(shardRegion, nil, with(command, mqttConnection(fmt.Sprintf("c-%d", k), "tcp://127.0.0.1:1", "closed")))
								began := time.Now()
								_, answer, err := p.post(body)
								latencies[k] = time.Since(began)
								if err != nil || !strings.Contains(string(answer), wanted) {
									failed.Add(1)
								}
							}
						})
					}
					all.Wait()
					if failed.Load() > 0 {
						b.Fatalf("%d of %d commands failed", failed.Load(), b.N)
					}
					return latencies
				}
				if command != "createConnection" {
					each("createConnection", 201)
				}
				b.ResetTimer()
				latencies := each(command, status)
				b.StopTimer()
				report(b, b.N, latencies)
			})
		}
	}
}

// BenchmarkPgbenchCommit is the yardstick beside it: pgbench committing one row at a time with as many clients.
func BenchmarkPgbenchCommit(b *testing.B) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
		if len(found) == 0 {
			b.Fatal("pgbench is not installed")
		}
		pgbench = found[0]
	}
	url := persistencetest.Schema(b)
	script := filepath.Join(b.TempDir(), "insert.sql")
	// About the size of a created event; without colons, which pgbench takes for variables.
	statement := "insert into yardstick(pid, payload) values ('connection-' || :client_id, '" + strings.Repeat("x", 900) + "');"
	if err := os.WriteFile(script, []byte(statement), 0o600); err != nil {
		b.Fatal(err)
	}
	create := exec.Command("psql", url, "-qc", "create table yardstick(id bigserial primary key, pid text, payload text)")
	if out, err := create.CombinedOutput(); err != nil {
		b.Fatalf("psql: %v: %s", err, out)
	}
	tps := regexp.MustCompile(`tps = ([0-9.]+)`)
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			for range b.N {
				out, err := exec.Command(pgbench, "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", "2", "-T", "4", "-f", script, url).CombinedOutput()
				m := tps.FindSubmatch(out)
				if err != nil || m == nil {
					b.Fatalf("pgbench: %v: %s", err, out)
				}
				rate, _ := strconv.ParseFloat(string(m[1]), 64)
				b.ReportMetric(rate, "ops/s")
			}
		})
	}
}

// BenchmarkRelay sends QoS 1 live events through Hawser (source connection, Ditto mapper, target connection) and through a
// bare paho loop that republishes them: throughput with a full window, latency with one message in flight.
func BenchmarkRelay(b *testing.B) {
	broker := mosquitto(b)
	n := startNode(b, sqliteStore(b))
	bridge(n, broker)
	bareLoop(b, broker)
	for _, path := range []struct{ name, in, out string }{{"hawser", "a/1", "b"}, {"bare-paho", "x/1", "y"}} {
		for _, window := range []int{1, 200} {
			b.Run(fmt.Sprintf("%s/window=%d", path.name, window), func(b *testing.B) {
				benchmarkPump(b, broker, path.in, path.out, window)
			})
		}
	}
}

// BenchmarkRelayMQTT5 is the line hawser of BenchmarkRelay with connections of type mqtt-5.
func BenchmarkRelayMQTT5(b *testing.B) {
	broker := mosquitto(b)
	bridge(startNode(b, sqliteStore(b)), broker, overMQTT5)
	for _, window := range []int{1, 200} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) { benchmarkPump(b, broker, "a/1", "b", window) })
	}
}

// bareLoop republishes x/# on y, nothing else.
func bareLoop(b *testing.B, broker string) {
	c := dial(b, broker, "bare-loop")
	token := c.Subscribe("x/#", 1, func(c mqtt.Client, m mqtt.Message) { c.Publish("y", 1, false, m.Payload()) })
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		b.Fatal(token.Error())
	}
}

// benchValue reads the value of liveEvent without the cost of parsing the envelope.
func benchValue(payload []byte) int {
	s := string(payload)
	i := strings.LastIndex(s, `"value":`)
	if i < 0 {
		return -1
	}
	digits := strings.TrimRight(s[i+len(`"value":`):], "}")
	k, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return k
}

// report adds the rate and the latency percentiles of a run to its line.
func report(b *testing.B, n int, latencies []time.Duration) {
	slices.Sort(latencies)
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-µs")
}
