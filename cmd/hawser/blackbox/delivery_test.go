package blackbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // reads the journal of the embedded store as an operator would
)

// bridge creates and opens two connections: what arrives on "a/#" as a live event goes out on "b". change edits both.
func bridge(n *node, broker string, change ...func(object)) {
	n.t.Helper()
	source := mqttConnection("from", broker, "open", func(c object) {
		c["targets"] = []any{}
		c["sources"] = []any{object{"addresses": []any{"a/#"}, "qos": 1, "authorizationContext": []any{"box:shared"}}}
	})
	target := mqttConnection("to", broker, "open", func(c object) {
		c["sources"] = []any{}
		c["targets"] = []any{object{"address": "b", "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": []any{"box:shared"}}}
	})
	for _, c := range []object{target, source} {
		for _, f := range change {
			f(c)
		}
		wantStatus(n.t, n.command(with("createConnection", c)), 201)
		n.awaitLive(c["id"].(string), "open")
	}
}

// liveEvent is one Ditto protocol envelope of a live event, with k as its value.
func liveEvent(k int) string {
	return fmt.Sprintf(`{"topic":"acme/pump-%d/things/live/events/modified","headers":{"correlation-id":"k-%d"},"path":"/attributes/k","value":%d}`, k%50, k, k)
}

// subscriber collects the values that arrive on a topic.
type subscriber struct {
	mu    sync.Mutex
	seen  map[int]int // value → how often
	total atomic.Int64
}

func subscribe(t testing.TB, broker, topic string) *subscriber {
	t.Helper()
	s := &subscriber{seen: map[int]int{}}
	c := dial(t, broker, "subscriber-"+topic)
	token := c.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) {
		var envelope struct {
			Value int `json:"value"`
		}
		if err := json.Unmarshal(m.Payload(), &envelope); err != nil {
			t.Errorf("no envelope: %q", m.Payload())
			return
		}
		s.mu.Lock()
		s.seen[envelope.Value]++
		s.mu.Unlock()
		s.total.Add(1)
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("subscribe: %v", token.Error())
	}
	return s
}

// missing counts the values of [0,n) that have not arrived.
func (s *subscriber) missing(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := 0
	for k := range n {
		if s.seen[k] == 0 {
			missing++
		}
	}
	return missing
}

func dial(t testing.TB, broker, id string) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetClientID(id).SetConnectTimeout(10 * time.Second))
	token := c.Connect()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("connect to %s: %v", broker, token.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

// TestNothingIsLostOverRestarts publishes 10 000 live events with QoS 1 while the process is stopped and started again,
// once in order and once by kill -9: each arrives at least once (O11–O15).
func TestNothingIsLostOverRestarts(t *testing.T) {
	const messages = 10_000
	for name, end := range map[string]func(n *node){"SIGTERM": (*node).stop, "kill -9": (*node).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothStores(t, func(t *testing.T, env []string) {
				broker := mosquitto(t)
				n := startNode(t, env)
				bridge(n, broker)
				arrived := subscribe(t, broker, "b")
				publisher := dial(t, broker, "publisher")

				half := make(chan struct{})
				published := make(chan error, 1)
				go func() { published <- publish(publisher, messages, half) }()
				<-half
				end(n)
				n.start()
				if err := <-published; err != nil {
					t.Fatal(err)
				}
				eventually(t, 90*time.Second, "all messages arrived", func() error {
					if m := arrived.missing(messages); m > 0 {
						return fmt.Errorf("%d of %d missing, %d arrived", m, messages, arrived.total.Load())
					}
					return nil
				})
				t.Logf("%d messages, %d deliveries", messages, arrived.total.Load())
			})
		})
	}
}

// publish sends n live events with QoS 1, at most 100 without acknowledgement; half is closed in the middle.
func publish(c mqtt.Client, n int, half chan struct{}) error {
	window := make([]mqtt.Token, 0, 100)
	for k := range n {
		if k == n/2 {
			close(half)
		}
		window = append(window, c.Publish(fmt.Sprintf("a/%d", k%7), 1, false, liveEvent(k)))
		if len(window) == cap(window) {
			for _, token := range window {
				if !token.WaitTimeout(60 * time.Second) {
					return fmt.Errorf("publish %d: no acknowledgement", k)
				}
				if token.Error() != nil {
					return token.Error()
				}
			}
			window = window[:0]
		}
	}
	for _, token := range window {
		if !token.WaitTimeout(60*time.Second) || token.Error() != nil {
			return fmt.Errorf("publish: %v", token.Error())
		}
	}
	return nil
}

// TestKillDuringCreates kills the process in the middle of 500 concurrent creates: every acknowledged connection exists,
// every other exists whole or not at all, and no journal has a gap.
func TestKillDuringCreates(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		const creates = 500
		var acknowledged sync.Map
		var count atomic.Int64
		middle := make(chan struct{})
		var all sync.WaitGroup
		for k := range creates {
			all.Add(1)
			go func() {
				defer all.Done()
				id := fmt.Sprintf("k-%03d", k)
				body := envelope(shardRegion, object{"ditto-sudo": true}, with("createConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed")))
				a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", body)
				if err != nil || a.status != http.StatusOK {
					return // killed
				}
				var reply object
				if json.Unmarshal(a.body, &reply) == nil && number(reply["status"]) == 201 {
					acknowledged.Store(id, true)
					if count.Add(1) == 100 {
						close(middle)
					}
				}
			}()
		}
		<-middle
		n.kill()
		all.Wait()
		n.start()

		listed := map[string]bool{}
		for _, id := range n.ids() {
			listed[id] = true
			c := n.command(on("retrieveConnection", id))
			wantStatus(t, c, 200)
			if len(c["connection"].(object)["sources"].([]any)) != 1 {
				t.Fatalf("%s is not whole: %s", id, show(c))
			}
		}
		acknowledged.Range(func(id, _ any) bool {
			if !listed[id.(string)] {
				t.Errorf("%s was acknowledged and is gone", id)
			}
			return true
		})
		t.Logf("%d acknowledged before the kill, %d exist", count.Load(), len(listed))
		checkJournal(t, env)
		wantStatus(t, n.command(with("createConnection", mqttConnection("afterwards", "tcp://127.0.0.1:1", "closed"))), 201)
	})
}

// checkJournal reads the journal as an operator does and looks for gaps and rows without their index row.
func checkJournal(t testing.TB, env []string) {
	t.Helper()
	rows := queryStore(t, env, `select pid, count(*), min(seq_nr), max(seq_nr) from journal group by pid`)
	if len(rows) == 0 {
		t.Fatal("the journal is empty")
	}
	for _, r := range rows {
		if r[1] != r[3] || r[2] != "1" {
			t.Errorf("gap in %s: %s rows from %s to %s", r[0], r[1], r[2], r[3])
		}
	}
	for _, r := range queryStore(t, env, `select j.pid from journal j left join connections c on 'connection:' || c.id = j.pid where c.id is null`) {
		t.Errorf("%s is in the journal and not in the index", r[0])
	}
}

// TestRowsAreReadable is what an operator sees with psql.
func TestRowsAreReadable(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		wantStatus(t, n.command(with("createConnection", mqttConnection("plant-7", "tcp://127.0.0.1:1", "closed"))), 201)
		wantStatus(t, n.command(on("closeConnection", "plant-7")), 200)
		rows := queryStore(t, env, `select seq_nr, type, payload from journal where pid = 'connection:plant-7' order by seq_nr`)
		if len(rows) != 2 || rows[0][1] != "connectivity.events:connectionCreated" || rows[1][1] != "connectivity.events:connectionClosed" {
			t.Fatalf("%v", rows)
		}
		var created object
		if err := json.Unmarshal([]byte(rows[0][2]), &created); err != nil {
			t.Fatalf("payload is no JSON: %v", err)
		}
		if created["connection"].(object)["uri"] != "tcp://127.0.0.1:1" || number(created["revision"]) != 1 {
			t.Fatal(show(created))
		}
	})
}

// queryStore runs a query on the store of env; every column comes back as text.
func queryStore(t testing.TB, env []string, query string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, e := range env {
		if url, ok := strings.CutPrefix(e, "HAWSER_POSTGRES_URL="); ok {
			conn, err := pgx.Connect(ctx, url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }()
			rows, err := conn.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(err)
			}
			var out [][]string
			for rows.Next() {
				var line []string
				for _, raw := range rows.RawValues() {
					line = append(line, string(raw))
				}
				out = append(out, line)
			}
			if rows.Err() != nil {
				t.Fatal(rows.Err())
			}
			return out
		}
	}
	for _, e := range env {
		if dir, ok := strings.CutPrefix(e, "HAWSER_DATA_DIR="); ok {
			return querySQLite(t, ctx, dir, query)
		}
	}
	t.Fatal("no store in the environment")
	return nil
}

func querySQLite(t testing.TB, ctx context.Context, dir, query string) [][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(files) != 1 {
		entries, _ := os.ReadDir(dir)
		t.Fatalf("no database file in %s: %v", dir, entries)
	}
	db, err := sql.Open("sqlite", "file:"+files[0]+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for rows.Next() {
		line := make([]string, len(columns))
		targets := make([]any, len(columns))
		for i := range line {
			targets[i] = &line[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return out
}
