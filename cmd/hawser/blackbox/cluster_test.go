package blackbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
)

// A cluster is several processes on one database. TTL is the shortest that is allowed, so that what takes a TTL is soon over.

// newMember prepares a node of a cluster on the database at url.
func newMember(t testing.TB, url, instance string, env ...string) *node {
	t.Helper()
	n := newNode(t, append([]string{
		"HAWSER_POSTGRES_URL=" + url, "HAWSER_DATA_DIR=" + t.TempDir(), "HAWSER_LEASE_TTL=3s", "INSTANCE_INDEX=" + instance,
		"CONNECTIVITY_CLIENT_MIN_BACKOFF=200ms", "CONNECTIVITY_CLIENT_DISCONNECT_ANNOUNCEMENT_TIMEOUT=1s",
	}, env...))
	n.instance = instance
	return n
}

// startCluster starts n nodes side by side and waits until they share the shards.
func startCluster(t testing.TB, url string, n int) []*node {
	t.Helper()
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = newMember(t, url, fmt.Sprintf("node-%d", i+1))
		nodes[i].launch()
	}
	for _, n := range nodes {
		n.awaitMember()
	}
	awaitShared(t, url, n)
	return nodes
}

// awaitMember waits until a node that was launched is ready.
func (n *node) awaitMember() {
	n.t.Helper()
	eventually(n.t, 30*time.Second, n.instance+" is ready", func() error {
		select {
		case <-n.exited:
			n.t.Fatalf("%s exited: %s", n.instance, tail(n.log.String(), 20))
		default:
		}
		if status, err := n.readiness(); err != nil || status != http.StatusOK {
			return fmt.Errorf("/ready: %d %w", status, err)
		}
		return nil
	})
}

func (n *node) readiness() (int, error) {
	resp, err := httpClient.Get("http://" + n.mgmt + "/ready")
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// awaitShared waits until each of n members owns shards and none more than its part, as the database says.
func awaitShared(t testing.TB, url string, n int) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%d members share the shards", n), func() error {
		rows := queryStore(t, []string{"HAWSER_POSTGRES_URL=" + url},
			`select coalesce(m.instance, 'nobody'), count(*) from shards s left join members m on m.id = s.owner where s.kind = 'connection' group by 1`)
		if len(rows) != n || slices.ContainsFunc(rows, func(r []string) bool { return r[0] == "nobody" }) {
			return fmt.Errorf("%v", rows)
		}
		for _, r := range rows {
			var owned int
			if _, err := fmt.Sscan(r[1], &owned); err != nil || owned > (64+n-1)/n {
				return fmt.Errorf("%v", rows)
			}
		}
		return nil
	})
}

// home is the instance at which a connection runs, as its status says.
func (n *node) home(id string) string {
	n.t.Helper()
	clients, _ := n.command(on("retrieveConnectionStatus", id))["clientStatus"].([]any)
	if len(clients) != 1 {
		n.t.Fatalf("%d clients of %s", len(clients), id)
	}
	return fmt.Sprint(clients[0].(object)["client"])
}

// TestClusterRunsOnce is rows 28 and 29 of piggyback.md 12, and D2, D3: a command runs exactly once whatever the path and
// is-group-topic say, through each of three nodes; the answering instance is the one named in the path, else the receiving
// node's.
func TestClusterRunsOnce(t *testing.T) {
	t.Parallel()
	url := persistencetest.Schema(t)
	nodes := startCluster(t, url, 3)
	ids := map[string]bool{}
	for i, n := range nodes {
		other := nodes[(i+1)%3]
		for path, at := range map[string]string{
			"none": "/devops/piggyback", "service": "/devops/piggyback/connectivity", "instance": "/devops/piggyback/connectivity/" + n.instance,
			"other": "/devops/piggyback/connectivity/" + other.instance,
		} {
			answering := n
			if path == "other" {
				answering = other
			}
			for _, group := range []bool{false, true} {
				for _, aggregate := range []bool{false, true} {
					id := fmt.Sprintf("%s-%s-%v-%v", n.instance, path, group, aggregate)
					ids[id] = true
					create := envelope(shardRegion, object{"is-group-topic": group, "aggregate": aggregate}, with("createConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed")))
					check := func(t *testing.T, reply object) { wantStatus(t, reply, 201) }
					a := n.request(http.MethodPost, at, create)
					if aggregate {
						aggregated(check)(t, answering, a)
					} else {
						direct(check)(t, n, a)
					}
				}
			}
		}
		e1(404, "devops:instance.notfound", "node-9")(t, n, n.request(http.MethodPost, "/devops/piggyback/connectivity/node-9", envelope(shardRegion, nil, on("retrieveConnection", "x"))))
		// What goes wrong around the target names the receiving node, too.
		e2 := n.request(http.MethodPost, "/devops/piggyback", envelope(shardRegion, nil, object{"type": "no.such:thing"})).object(t)
		if e2["instance"] != n.instance || e2["serviceName"] != "connectivity" {
			t.Errorf("E2 of %s: %s", n.instance, show(e2))
		}
		list := envelope(idsActor, object{"aggregate": true, "is-group-topic": true}, object{"type": "connectivity.commands:retrieveAllConnectionIds"})
		aggregated(func(t *testing.T, reply object) {
			if got := texts(reply["connectionIds"]); len(got) != len(ids) {
				t.Errorf("%s lists %d of %d ids", n.instance, len(got), len(ids))
			}
		})(t, n, n.request(http.MethodPost, "/devops/piggyback", list))
	}
	rows := queryStore(t, nodes[0].env, `select pid, count(*) from journal group by pid`)
	if len(rows) != len(ids) {
		t.Errorf("%d journals of %d connections", len(rows), len(ids))
	}
	for _, r := range rows {
		if r[1] != "1" {
			t.Errorf("%s was created %s times", r[0], r[1])
		}
	}
}

// TestClusterTakesEveryCommandEverywhere sends every command through each of three nodes, each time through another one than
// the command before it.
func TestClusterTakesEveryCommandEverywhere(t *testing.T) {
	t.Parallel()
	broker := mosquitto(t)
	url := persistencetest.Schema(t)
	nodes := startCluster(t, url, 3)
	homes := map[string]int{}
	for k := range 6 {
		id := fmt.Sprintf("c-%d", k)
		open := func(c object) { c["tags"] = []any{"tag-" + id} }
		sudoTags := object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionTags", "connectionId": id}
		byTag := object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag", "tag": "tag-" + id}
		all := object{"type": "connectivity.commands:retrieveAllConnectionIds"}
		for i, step := range []struct {
			target  string
			command object
			status  int
			shows   string // part of the reply
		}{
			{shardRegion, with("createConnection", mqttConnection(id, broker, "closed")), 201, id},
			{shardRegion, with("createConnection", mqttConnection(id, broker, "closed")), 409, "connectivity:connection.conflict"},
			{shardRegion, on("retrieveConnection", id), 200, broker},
			{shardRegion, with("modifyConnection", mqttConnection(id, broker, "closed", open)), 204, ""},
			{shardRegion, sudoTags, 200, `"connectionTags":["tag-` + id + `"]`},
			{idsActor, byTag, 200, id},
			{shardRegion, on("openConnection", id), 200, ""},
			{shardRegion, on("retrieveConnectionStatus", id), 200, `"liveStatus":"open"`},
			{shardRegion, on("retrieveConnectionMetrics", id), 200, `"sourceMetrics"`},
			{shardRegion, on("resetConnectionMetrics", id), 200, ""},
			{shardRegion, on("enableConnectionLogs", id), 200, ""},
			{shardRegion, on("resetConnectionLogs", id), 200, ""},
			{shardRegion, on("retrieveConnectionLogs", id), 200, "Successfully reset the logs."},
			{shardRegion, with("testConnection", mqttConnection(id+"-test", broker, "open")), 200, "successfully connected + initialized mapper"},
			{shardRegion, on("closeConnection", id), 200, ""},
			{shardRegion, on("retrieveConnectionStatus", id), 200, "[DISCONNECTED] connection is closed"},
			{idsActor, all, 200, `"` + id + `"`},
			{shardRegion, on("deleteConnection", id), 204, ""},
			{shardRegion, on("retrieveConnection", id), 404, "connectivity:connection.notfound"},
		} {
			n := nodes[(i+k)%3]
			reply := n.commandAt(step.target, step.command)
			if number(reply["status"]) != step.status || !strings.Contains(show(reply), step.shows) {
				t.Fatalf("%s through %s, status %d with %q wanted: %s", step.command["type"], n.instance, step.status, step.shows, show(reply))
			}
			if step.command["type"] == "connectivity.commands:openConnection" {
				homes[n.home(id)]++
			}
		}
	}
	if len(homes) < 2 {
		t.Errorf("all connections live at %v: nothing was forwarded", homes)
	}
	// Decision D8: the receiving node makes the id, wherever the connection will live.
	homes = map[string]int{}
	for k := range 12 {
		c := mqttConnection("", broker, "closed")
		delete(c, "id")
		reply := nodes[k%3].command(with("createConnection", c))
		wantStatus(t, reply, 201)
		id, _ := reply["connection"].(object)["id"].(string)
		if len(id) != 36 {
			t.Fatalf("id %q is no UUID", id)
		}
		wantStatus(t, nodes[(k+1)%3].command(on("retrieveConnection", id)), 200)
		homes[nodes[(k+2)%3].home(id)]++
	}
	if len(homes) < 2 {
		t.Errorf("all made ids live at %v", homes)
	}
	checkMembers(t, nodes)
}

// checkMembers is operations.md 7.1 on several nodes: all see the same members, one leader, and themselves.
func checkMembers(t *testing.T, nodes []*node) {
	t.Helper()
	type view struct {
		SelfNode, Leader, Oldest string
		Members                  []struct{ Node, NodeUID, Status string }
		Unreachable              []any
	}
	selves := map[string]bool{}
	var first view
	for i, n := range nodes {
		var v view
		status, body := get(t, "http://"+n.mgmt+"/cluster/members")
		if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK {
			t.Fatalf("%d %v %s", status, err, body)
		}
		selves[v.SelfNode] = true
		if i == 0 {
			first = v
		}
		if len(v.Members) != len(nodes) || len(v.Unreachable) != 0 || v.Leader != first.Leader || v.Oldest != v.Leader || show(v.Members) != show(first.Members) {
			t.Errorf("%s sees %s", n.instance, body)
		}
		if status, err := n.readiness(); err != nil || status != http.StatusOK {
			t.Errorf("%s: /ready %d %v", n.instance, status, err)
		}
	}
	uids := map[string]bool{}
	for _, m := range first.Members {
		uids[m.NodeUID] = true
		if !selves[m.Node] || m.Status != "Up" {
			t.Errorf("member %+v is none of %v", m, slices.Collect(maps.Keys(selves)))
		}
	}
	if len(uids) != len(nodes) {
		t.Errorf("%d nodes with %d uids", len(nodes), len(uids))
	}
}

// load issues commands at the nodes it may use, and takes every answer that is not what it must be for a failure.
type load struct {
	mu       sync.RWMutex // held for reading during a command
	nodes    []*node
	done     chan struct{}
	workers  sync.WaitGroup
	commands atomic.Int64
	slowest  atomic.Int64
	failMu   sync.Mutex
	failures []string
}

// startLoad starts workers, each with a connection of its own that it modifies, reads back and asks about.
func startLoad(t *testing.T, nodes ...*node) *load {
	t.Helper()
	const workers = 6
	l := &load{nodes: nodes, done: make(chan struct{})}
	for k := range workers {
		id := fmt.Sprintf("load-%d", k)
		wantStatus(t, nodes[0].command(with("createConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed"))), 201)
		l.workers.Go(func() {
			for i := k; ; i++ {
				select {
				case <-l.done:
					return
				default:
				}
				name := fmt.Sprintf("name-%d", i)
				l.do(i, with("modifyConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed", func(c object) { c["name"] = name })), 204, "")
				l.do(i+1, on("retrieveConnection", id), 200, `"name":"`+name+`"`)
				l.do(i+2, on("retrieveConnectionStatus", id), 200, `"liveStatus":"closed"`)
			}
		})
	}
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) do(turn int, command object, status int, shows string) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := l.nodes[turn%len(l.nodes)]
	began := time.Now()
	a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"ditto-sudo": true, "timeout": "20s"}, command))
	l.commands.Add(1)
	for took := int64(time.Since(began)); ; {
		if old := l.slowest.Load(); took <= old || l.slowest.CompareAndSwap(old, took) {
			break
		}
	}
	var reply object
	if err == nil {
		err = json.Unmarshal(a.body, &reply)
	}
	if err != nil || a.status != http.StatusOK || number(reply["status"]) != status || !strings.Contains(string(a.body), shows) {
		l.failMu.Lock()
		defer l.failMu.Unlock()
		l.failures = append(l.failures, fmt.Sprintf("%s through %s: HTTP %d %v %.300s", command["type"], n.instance, a.status, err, a.body))
	}
}

// only makes the load use these nodes, and returns when no command is left at another.
func (l *load) only(nodes ...*node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes = nodes
}

// check fails the test for every command that failed since the last check.
func (l *load) check(t *testing.T, during string) {
	t.Helper()
	l.failMu.Lock()
	defer l.failMu.Unlock()
	for _, f := range l.failures[:min(len(l.failures), 5)] {
		t.Errorf("%s: %s", during, f)
	}
	t.Logf("%s: %d commands, %d failed, slowest %v", during, l.commands.Swap(0), len(l.failures), time.Duration(l.slowest.Swap(0)).Round(time.Millisecond))
	l.failures = nil
}

func (l *load) end() {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	l.workers.Wait()
}

// opens is how often each client id has connected to a broker; twice lists those that came while they were still there.
func opens(log string) (times map[string]int, twice []string) {
	times = map[string]int{}
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(line, "New client connected from "); ok {
			if _, rest, ok = strings.Cut(rest, " as "); ok {
				times[strings.Fields(rest)[0]]++
			}
		}
		if _, rest, ok := strings.Cut(line, "Client "); ok && strings.Contains(rest, "already connected") {
			twice = append(twice, strings.Fields(rest)[0])
		}
	}
	return times, twice
}

// TestClusterMoves takes three nodes through everything that can be planned, and through a kill, with open connections and a
// stream of commands: no command fails at a node that lives, no connection is open twice.
func TestClusterMoves(t *testing.T) {
	t.Parallel()
	const connections = 30
	broker := startMosquitto(t)
	url := persistencetest.Schema(t)
	nodes := startCluster(t, url, 2)
	for k := range connections {
		c := mqttConnection(fmt.Sprintf("open-%02d", k), broker.URI(), "open", func(c object) {
			if k%10 == 0 { // takes a second to disconnect
				c["targets"].([]any)[0].(object)["topics"] = []any{"_/_/connections/announcements"}
			}
		})
		wantStatus(t, nodes[k%2].command(with("createConnection", c)), 201)
	}
	allOpen := func(n *node, within time.Duration) {
		t.Helper()
		eventually(t, within, "all connections are open", func() error {
			for k := range connections {
				a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"ditto-sudo": true, "timeout": "10s"}, on("retrieveConnectionStatus", fmt.Sprintf("open-%02d", k))))
				if err != nil || !strings.Contains(string(a.body), `"liveStatus":"open"`) {
					return fmt.Errorf("%v %.300s", err, a.body)
				}
			}
			return nil
		})
	}
	allOpen(nodes[0], 20*time.Second)
	l := startLoad(t, nodes...)

	// Join.
	nodes = append(nodes, newMember(t, url, "node-3"))
	nodes[2].start()
	awaitShared(t, url, 3)
	allOpen(nodes[2], 10*time.Second)
	l.check(t, "join")

	// SIGTERM: not ready at once, and gone only when everything is handed over.
	l.only(nodes[1], nodes[2])
	if err := nodes[0].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 500*time.Millisecond, "the leaving node is not ready at once", func() error {
		if status, err := nodes[0].readiness(); err != nil || status != http.StatusInternalServerError {
			return fmt.Errorf("/ready %d %w", status, err)
		}
		return nil
	})
	// As long as it answers, it executes commands where the connections have gone.
	for _, id := range []string{"load-0", "open-01", "open-02"} {
		if a, err := nodes[0].try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, nil, on("retrieveConnection", id))); err == nil && !strings.Contains(string(a.body), `"status":200`) {
			t.Errorf("through the leaving node: %d %s", a.status, a.body)
		}
	}
	nodes[0].stop()
	allOpen(nodes[1], 10*time.Second)
	l.check(t, "SIGTERM")
	nodes[0].start()
	awaitShared(t, url, 3)

	// Rolling restart.
	for i, n := range nodes {
		l.only(slices.Delete(slices.Clone(nodes), i, i+1)...)
		n.stop()
		n.start()
		awaitShared(t, url, 3)
	}
	l.only(nodes...)
	allOpen(nodes[0], 10*time.Second)
	l.check(t, "rolling restart")
	if _, twice := opens(broker.Log()); len(twice) > 0 {
		t.Errorf("connected twice at one time in planned moves: %v", twice)
	}

	// kill -9: the death can be proved on this machine.
	before, _ := opens(broker.Log())
	l.only(nodes[0], nodes[1])
	moved := map[string]bool{}
	for k := range connections {
		if id := fmt.Sprintf("open-%02d", k); nodes[0].home(id) == "node-3" {
			moved[id] = true
		}
	}
	killed := time.Now()
	nodes[2].kill()
	for k := range connections {
		wantStatus(t, nodes[k%2].command(on("retrieveConnection", fmt.Sprintf("open-%02d", k))), 200)
	}
	answered := time.Since(killed)
	allOpen(nodes[0], 10*time.Second)
	t.Logf("kill -9: all commands answered after %v, all %d connections of the dead node reopened after %v", answered.Round(time.Millisecond), len(moved), time.Since(killed).Round(time.Millisecond))
	after, twice := opens(broker.Log())
	for k := range connections {
		id, want := fmt.Sprintf("open-%02d", k), 0
		if moved[id] {
			want = 1
		}
		if got := after[id] - before[id]; got != want {
			t.Errorf("%s was opened %d times after the kill, want %d", id, got, want)
		}
	}
	if len(twice) > 0 {
		t.Errorf("connected twice at one time: %v", twice)
	}
	l.check(t, "kill -9") // through the nodes that live
	nodes[2].start()
	awaitShared(t, url, 3)
	l.only(nodes...)
	allOpen(nodes[2], 10*time.Second)
	l.end()
	l.check(t, "come back")
	checkJournal(t, nodes[0].env)
	checkMembers(t, nodes)
	for _, n := range nodes {
		if k := strings.Count(n.log.String(), "the client connection is closing"); k > 0 {
			t.Errorf("%s took the end of a way to another node that it closed itself for the end of the next, %d times", n.instance, k)
		}
	}
}

// TestClusterMemberCutFromPostgres cuts one of three nodes from the database and not from its peers: it refuses commands
// (D18) and lets go of its connections before the others take them (operations.md S3); when it can, it comes back by itself.
func TestClusterMemberCutFromPostgres(t *testing.T) {
	t.Parallel()
	const connections = 15
	broker := startMosquitto(t)
	direct := persistencetest.Schema(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	gate := newProxy(t, u.Host)
	u.Host = gate.addr
	nodes := startCluster(t, direct, 2)
	cut := newMember(t, u.String(), "cut-off")
	cut.start()
	awaitShared(t, direct, 3)
	for k := range connections {
		wantStatus(t, nodes[0].command(with("createConnection", mqttConnection(fmt.Sprintf("c-%02d", k), broker.URI(), "open"))), 201)
	}
	homes := map[string]int{}
	for k := range connections {
		nodes[1].awaitLive(fmt.Sprintf("c-%02d", k), "open")
		homes[nodes[0].home(fmt.Sprintf("c-%02d", k))]++
	}
	if homes["cut-off"] == 0 {
		t.Fatalf("nothing runs at the node that will be cut off: %v", homes)
	}
	gate.cut()
	at := time.Now()
	eventually(t, 10*time.Second, "the cut node refuses commands", func() error {
		a, err := cut.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"timeout": "1s"}, on("retrieveConnection", "c-00")))
		if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "gateway:service.unavailable") {
			return fmt.Errorf("HTTP %d %v %s", a.status, err, a.body)
		}
		return nil
	})
	refused := time.Since(at)
	for path, want := range map[string]int{"/ready": 500, "/alive": 200, "/cluster/members": 200} {
		if status, body := get(t, "http://"+cut.mgmt+path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	for k := range connections {
		id := fmt.Sprintf("c-%02d", k)
		nodes[k%2].awaitLive(id, "open")
		if home := nodes[k%2].home(id); home == "cut-off" {
			t.Errorf("%s is still at the node that was cut off", id)
		}
	}
	t.Logf("the cut node refused after %v, all connections were open elsewhere after %v", refused.Round(10*time.Millisecond), time.Since(at).Round(10*time.Millisecond))
	times, twice := opens(broker.Log())
	if len(twice) > 0 {
		t.Errorf("connected twice at one time: %v", twice)
	}
	sum := 0
	for _, n := range times {
		sum += n
	}
	if want := connections + homes["cut-off"]; sum != want {
		t.Errorf("%d connects, want %d: %v", sum, want, times)
	}

	gate.restore()
	cut.awaitMember()
	awaitShared(t, direct, 3)
	for k := range connections {
		id := fmt.Sprintf("c-%02d", k)
		wantStatus(t, cut.command(on("retrieveConnection", id)), 200)
		nodes[k%2].awaitLive(id, "open")
	}
	if _, twice := opens(broker.Log()); len(twice) > 0 {
		t.Errorf("connected twice at one time after the return: %v", twice)
	}
}
