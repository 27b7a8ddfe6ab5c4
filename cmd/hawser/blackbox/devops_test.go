package blackbox

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// TestCleanupOfHistory: the background cleanup on both stores leaves the newest snapshot and what comes after it; the
// connection goes on as before, and so does its history from there on.
func TestCleanupOfHistory(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, append(env, "CLEANUP_HISTORY_RETENTION_DURATION=0", "CLEANUP_QUIET_PERIOD=1h", "CLEANUP_INTERVAL=10ms", "CLEANUP_WRITES_PER_CREDIT=7"))
		const revisions = 25 // snapshots at 10 and 20
		create := func(id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed"))), 201)
			for k := range revisions - 1 {
				wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed", func(c object) { c["name"] = fmt.Sprint("n", k) }))), 204)
			}
		}
		create("a")
		create("b")
		rows := func(table string) string {
			return fmt.Sprint(queryStore(t, env, `select pid, min(seq_nr), max(seq_nr), count(*) from `+table+` group by pid order by pid`))
		}
		if got := rows("journal"); got != "[[connection:a 1 25 25] [connection:b 1 25 25]]" {
			t.Fatalf("before: %s", got)
		}
		started := n.commandAt(cleanupActor, object{"type": "common.commands:modifyConfig", "config": object{"quiet-period": "100ms"}})
		if number(at(started, "config", "quiet-period")) != 100 {
			t.Fatal(show(started))
		}
		eventually(t, 20*time.Second, "the history is cleaned up", func() error {
			if got := rows("journal") + rows("snapshots"); got != "[[connection:a 20 25 6] [connection:b 20 25 6]][[connection:a 20 20 1] [connection:b 20 20 1]]" {
				return fmt.Errorf("%s", got)
			}
			return nil
		})
		get := on("retrieveConnection", "a")
		wantError(t, n.command(get, object{"at-historical-revision": 19}), 404, "connectivity:connection.history.notfound")
		wantStatus(t, n.command(get, object{"at-historical-revision": 20}), 200)
		wantStatus(t, n.command(with("modifyConnection", mqttConnection("a", "tcp://127.0.0.1:1", "closed"))), 204)
		n.stop()
		n.start()
		get["selectedFields"] = "_revision"
		if got := number(at(n.command(get), "connection", "_revision")); got != revisions+1 {
			t.Errorf("revision %d", got)
		}
		resp, err := http.Get("http://" + n.metrics)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("metrics: %d", resp.StatusCode)
		}
	})
}

// TestLogLevelsChangeAtRunTime: what is logged follows PUT /devops/logging, and LOG_LEVEL_APPLICATION is where it begins.
func TestLogLevelsChangeAtRunTime(t *testing.T) {
	n := startNode(t, append(sqliteStore(t), "LOG_LEVEL=info", "LOG_LEVEL_APPLICATION=warn"))
	// Each step sends a command that is a debug line of the gateway, marked with its correlation-id.
	send := func(mark string) {
		t.Helper()
		wantError(t, n.command(on("retrieveConnection", "nobody"), object{"correlation-id": mark}), 404, "connectivity:connection.notfound")
	}
	level := func(to string) {
		t.Helper()
		a := n.request(http.MethodPut, "/devops/logging/gateway/"+n.instance, `{"level":"`+to+`","logger":"org.eclipse.ditto.gateway"}`)
		if got := a.object(t); got["successful"] != true {
			t.Fatalf("%s", a.body)
		}
	}
	send("mark-start")
	steps := []struct {
		level  string
		logged bool
	}{{"debug", true}, {"info", false}, {"all", true}, {"off", false}, {"debug", true}}
	for i, step := range steps {
		level(step.level)
		send(fmt.Sprint("mark-", i))
	}
	// The lines come in order: when the last one is there, none before it can still come.
	eventually(t, 10*time.Second, "the last line is written", func() error {
		if last := fmt.Sprint("mark-", len(steps)-1); !strings.Contains(n.log.String(), last) {
			return fmt.Errorf("no %s yet", last)
		}
		return nil
	})
	log := n.log.String()
	if strings.Contains(log, "level=INFO") || strings.Contains(log, "mark-start") {
		t.Errorf("the application begins at warn, yet: %s", log)
	}
	for i, step := range steps {
		if got := strings.Contains(log, fmt.Sprint("mark-", i)); got != step.logged {
			t.Errorf("step %d, %s: logged %v, want %v", i, step.level, got, step.logged)
		}
	}
}

// TestLogsReachFluentd: the connection logs of the running binary arrive at a forward receiver, in clear and over TLS, also
// without enableConnectionLogs; a receiver that is away changes nothing for connections.
func TestLogsReachFluentd(t *testing.T) {
	for _, row := range []struct {
		name string
		open func(t *testing.T, l net.Listener) (receiver net.Listener, env []string)
	}{
		{"tcp", func(_ *testing.T, l net.Listener) (net.Listener, []string) { return l, nil }},
		{"tls", func(t *testing.T, l net.Listener) (net.Listener, []string) {
			s := httptest.NewTLSServer(nil) // just for its certificate, which is one for 127.0.0.1
			s.Close()
			trusted := filepath.Join(t.TempDir(), "ca.pem")
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			if err := os.WriteFile(trusted, text, 0o600); err != nil {
				t.Fatal(err)
			}
			return tls.NewListener(l, &tls.Config{Certificates: s.TLS.Certificates}),
				[]string{"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_SSL_ENABLED=true", "SSL_CERT_FILE=" + trusted}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			receiver, env := row.open(t, l)
			logsReachFluentd(t, receiver, env)
		})
	}
}

func logsReachFluentd(t *testing.T, l net.Listener, env []string) {
	broker := mosquitto(t)
	var mu sync.Mutex
	var records []object
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			readers.Go(func() {
				defer c.Close()
				r := msgp.NewReader(c)
				for {
					message, err := r.ReadIntf()
					if err != nil {
						return
					}
					parts, _ := message.([]any)
					if len(parts) < 3 {
						t.Errorf("no forward message: %v", message)
						return
					}
					record, _ := parts[2].(map[string]any)
					record["tag"] = parts[0]
					mu.Lock()
					records = append(records, record)
					mu.Unlock()
				}
			})
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n := startNode(t, append(append(sqliteStore(t), env...), "CONNECTIVITY_LOGGER_PUBLISHER_ENABLED=true", "CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_HOST=127.0.0.1",
		"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_PORT="+port, "CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_WAIT_UNTIL_ALL_BUFFER_FLUSHED_DURATION_ON_CLOSE=500ms"))
	opened(t, n, mqttConnection("plant-7", broker, ""))
	n.stop()
	n.start() // logs are muted from here on
	n.awaitLive("plant-7", "open")
	mu.Lock()
	if len(records) == 0 {
		t.Error("nothing arrived while the logs were enabled")
	}
	records = nil
	mu.Unlock()
	consume(t, n, broker, "plant-7", 0, 1)
	want := object{
		"connectionId": "plant-7", "level": "success", "category": "source", "type": "consumed", "address": "plant-7/in/#", "message": "Received signal.",
		"instanceId": n.instance, "tag": "connection:plant-7",
	}
	eventually(t, 10*time.Second, "the consumed message is published", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records {
			matches := true
			for name, value := range want {
				matches = matches && r[name] == value
			}
			if matches {
				return nil
			}
		}
		return fmt.Errorf("%v", records)
	})
	if reply := n.command(on("retrieveConnectionLogs", "plant-7")); reply["enabledSince"] != nil {
		t.Errorf("publishing enabled the logs: %s", show(reply))
	}
	_, metrics := get(t, "http://"+n.metrics)
	if sent, lost := sum(metrics, "connection_log_publisher_sent_total"), sum(metrics, "connection_log_publisher_lost_total"); sent == 0 || lost != 0 {
		t.Errorf("%v sent, %v lost", sent, lost)
	}
	_ = l.Close()
	wantStatus(t, n.command(on("closeConnection", "plant-7")), 200)
	wantStatus(t, n.command(on("openConnection", "plant-7")), 200)
	n.stop()
	readers.Wait()
}

// TestInspectionUnderLoad: status, metrics and logs are answered while a connection relays as fast as it can, and for a
// connection whose broker hangs. How long that takes says BenchmarkInspect.
func TestInspectionUnderLoad(t *testing.T) {
	broker := mosquitto(t)
	n := startNode(t, sqliteStore(t))
	bridge(n, broker)
	wantStatus(t, n.command(with("createConnection", mqttConnection("hangs", "tcp://"+hangingEndpoint(t), "open"))), 201)
	relayed := keepRelaying(t, broker, 200)
	for _, name := range []string{"retrieveConnectionStatus", "retrieveConnectionMetrics", "retrieveConnectionLogs"} {
		for _, id := range []string{"from", "to", "hangs"} {
			before := relayed()
			eventually(t, 20*time.Second, name+" is answered beside a relay", func() error {
				wantStatus(t, n.command(on(name, id)), 200)
				if got := relayed() - before; got < 200 {
					return fmt.Errorf("%v relayed", got)
				}
				return nil
			})
		}
	}
	m := n.command(on("retrieveConnectionMetrics", "to"))
	if got := number(at(m, "connectionMetrics", "outbound", "published", "success", "PT1H")); float64(got) < relayed() {
		t.Errorf("%d published, %v arrived", got, relayed())
	}
	if s := n.command(on("retrieveConnectionStatus", "hangs")); s["connectionStatus"] != "open" || s["liveStatus"] == "open" {
		t.Errorf("%s", show(s))
	}
}
