package blackbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
	"hawser/persistence/persistencetest/freeport"
)

const password = "black-box"

// binary is the hawser under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hawser-blackbox")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "hawser")
	build := exec.Command("go", "build", "-o", binary, "hawser/cmd/hawser")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "blackbox: the binary does not build:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// stores are the two that every journey is tested on. The value makes the environment of one fresh, empty store.
var stores = map[string]func(t testing.TB) []string{"sqlite": sqliteStore, "postgres": postgresStore}

func sqliteStore(t testing.TB) []string { return []string{"HAWSER_DATA_DIR=" + t.TempDir()} }

func postgresStore(t testing.TB) []string {
	return []string{"HAWSER_POSTGRES_URL=" + persistencetest.Schema(t), "HAWSER_DATA_DIR=" + t.TempDir()}
}

// onBothStores runs a test once per store.
func onBothStores(t *testing.T, test func(t *testing.T, env []string)) {
	for name, fresh := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

// node is one process of the binary.
type node struct {
	t        testing.TB
	env      []string
	http     string // host:port of the API
	mgmt     string
	metrics  string
	instance string
	cmd      *exec.Cmd
	exited   chan struct{}
	log      *lockedBuffer

	peers []*node       // of a cluster: commands go to each in turn
	turn  *atomic.Int64 // counts them
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// as is the same node speaking for a subtest.
func (n *node) as(t testing.TB) *node {
	c := *n
	c.t = t
	return &c
}

// newNode prepares a node on free ports; start runs it.
func newNode(t testing.TB, env []string) *node {
	t.Helper()
	ports := freePorts(t, 4)
	n := &node{t: t, http: ports[0], mgmt: ports[1], metrics: ports[2], instance: "box-1", log: &lockedBuffer{}}
	n.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
		"HAWSER_HTTP_ADDRESS=" + ports[0], "HAWSER_MANAGEMENT_ADDRESS=" + ports[1], "HAWSER_METRICS_ADDRESS=" + ports[2],
		"HAWSER_CLUSTER_ADDRESS=" + ports[3], "INSTANCE_INDEX=" + n.instance, "DEVOPS_PASSWORD=" + password,
	}, env...)
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("log of the node:\n%s", tail(n.log.String(), 80))
		}
	})
	return n
}

// startNode is newNode and start.
func startNode(t testing.TB, env []string) *node {
	t.Helper()
	n := newNode(t, env)
	n.start()
	return n
}

// launch starts the process; start waits until it is ready, too.
func (n *node) launch() {
	n.t.Helper()
	n.cmd = exec.Command(binary, "serve")
	n.cmd.Env = n.env
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	exited := make(chan struct{})
	n.exited = exited
	go func(cmd *exec.Cmd) { _ = cmd.Wait(); close(exited) }(n.cmd)
}

func (n *node) start() {
	n.t.Helper()
	n.launch()
	exited := n.exited
	eventually(n.t, 30*time.Second, "the node is ready", func() error {
		select {
		case <-exited:
			n.t.Fatalf("the node exited: %s", tail(n.log.String(), 20))
		default:
		}
		resp, err := http.Get("http://" + n.mgmt + "/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/ready: %d", resp.StatusCode)
		}
		return nil
	})
}

// stop sends SIGTERM and waits for an orderly end.
func (n *node) stop() {
	n.t.Helper()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(40 * time.Second):
		n.t.Fatal("the node did not stop within 40 s of SIGTERM")
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.t.Fatalf("exit code after SIGTERM: %d, want 0", code)
	}
}

// kill is kill -9.
func (n *node) kill() {
	if n.cmd == nil || n.cmd.Process == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	<-n.exited
}

// answer is one HTTP answer.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("no JSON object in the answer %d: %q", a.status, a.body)
	}
	return m
}

// request sends one HTTP request with the operator's credentials.
func (n *node) request(method, path, body string, change ...func(*http.Request)) answer {
	n.t.Helper()
	a, err := n.try(method, path, body, change...)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

var httpClient = &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 128}}

func (n *node) try(method, path, body string, change ...func(*http.Request)) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+n.http+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.SetBasicAuth("devops", password)
	req.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(req)
	}
	began := time.Now()
	resp, err := httpClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{resp.StatusCode, resp.Header, b, time.Since(began)}, nil
}

type object = map[string]any

// envelope builds the body of a piggyback request as the seed shows it.
func envelope(target string, headers, command object) string {
	h := object{"aggregate": false, "is-group-topic": false}
	for k, v := range headers {
		if v == nil {
			delete(h, k)
			continue
		}
		h[k] = v
	}
	b, err := json.Marshal(object{"targetActorSelection": target, "headers": h, "piggybackCommand": command})
	if err != nil {
		panic(err)
	}
	return string(b)
}

const (
	shardRegion = "/system/sharding/connection"
	idsActor    = "/user/connectivityRoot/connectionIdsRetrieval"
)

// command posts one inner command to the shard region, as sudo and without aggregation, and returns the reply.
func (n *node) command(command object, headers ...object) object {
	n.t.Helper()
	return n.commandAt(shardRegion, command, headers...)
}

func (n *node) commandAt(target string, command object, headers ...object) object {
	n.t.Helper()
	h := object{"ditto-sudo": true, "timeout": "60s"}
	for _, more := range headers {
		for k, v := range more {
			h[k] = v
		}
	}
	a := n.next().request(http.MethodPost, "/devops/piggyback/connectivity", envelope(target, h, command))
	if a.status != http.StatusOK {
		n.t.Fatalf("%v: HTTP %d %s", command["type"], a.status, a.body)
	}
	return a.object(n.t)
}

// next is the node that the next command goes to.
func (n *node) next() *node {
	if len(n.peers) == 0 {
		return n
	}
	return n.peers[int(n.turn.Add(1))%len(n.peers)].as(n.t)
}

// on is a command with an id.
func on(name, id string) object {
	return object{"type": "connectivity.commands:" + name, "connectionId": id}
}

// with is a command with a connection.
func with(name string, connection object) object {
	return object{"type": "connectivity.commands:" + name, "connection": connection}
}

// mqttConnection is a valid MQTT connection: one source, one target; change edits it.
func mqttConnection(id, uri, status string, change ...func(object)) object {
	c := object{
		"id": id, "connectionType": "mqtt", "connectionStatus": status, "uri": uri,
		"sources": []any{object{"addresses": []any{id + "/in/#"}, "qos": 1, "authorizationContext": []any{"box:" + id}}},
		"targets": []any{object{"address": id + "/out", "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": []any{"box:" + id}}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// wantStatus checks the command's own status (a reply's or an error's).
func wantStatus(t testing.TB, reply object, status int) {
	t.Helper()
	if got := number(reply["status"]); got != status {
		t.Fatalf("status %d, want %d: %s", got, status, show(reply))
	}
}

// wantError checks a bare error E1.
func wantError(t *testing.T, reply object, status int, code string) {
	t.Helper()
	wantStatus(t, reply, status)
	if reply["error"] != code {
		t.Fatalf("error %v, want %s: %s", reply["error"], code, show(reply))
	}
	_, typed := reply["type"]
	_, around := reply["payload"]
	if message, ok := reply["message"].(string); typed || around || !ok || message == "" {
		t.Fatalf("no bare error: %s", show(reply))
	}
}

// wantE2 checks an error around the target, shape E2, and returns its payload.
func wantE2(t *testing.T, reply object, status int, code string) object {
	t.Helper()
	if instance, ok := reply["instance"].(string); reply["type"] != "devops.responses:errorResponse" || reply["serviceName"] != "connectivity" || !ok || instance == "" || len(reply) != 5 {
		t.Fatalf("no E2: %s", show(reply))
	}
	wantStatus(t, reply, status)
	payload, _ := reply["payload"].(object)
	wantError(t, payload, status, code)
	return payload
}

func number(v any) int {
	f, ok := v.(float64)
	if !ok {
		return -1
	}
	return int(f)
}

func show(v any) string { b, _ := json.Marshal(v); return string(b) }

var eventually = persistencetest.Eventually // short: it is everywhere

// freePorts returns n loopback addresses that are free, and this test's until it ends.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	ports, release, err := freeport.Reserve("127.0.0.1", n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	addrs := make([]string, n)
	for i, port := range ports {
		addrs[i] = "127.0.0.1:" + strconv.Itoa(port)
	}
	return addrs
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
