package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// condition is what has been done to a node.
type condition uint8

const (
	well    condition = iota
	frozen            // SIGSTOP
	severed           // cut off from something
	leaving           // SIGTERM was sent
	down              // not running, as intended
)

// node is one place of the cluster; its process is started and ended by scenarios.
type node struct {
	index   int
	name    string // instance id: n1, n2, …
	place   place
	env     []string
	command []string
	log     string
	spawner *spawner
	network network

	mu        sync.Mutex
	process   *process
	condition condition
	since     time.Time // of the condition
	ready     bool      // /ready answered 200 last time
}

// start runs the process; it does not wait for it to become ready.
func (n *node) start() error {
	p, err := n.spawner.start(program{name: n.name, args: n.command, env: n.env, log: n.log})
	if err != nil {
		return err
	}
	if registry, ok := n.network.(interface{ started(index, pid int) }); ok {
		registry.started(n.index, p.pid())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process, n.condition, n.since = p, well, time.Now()
	return nil
}

func (n *node) set(c condition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.condition, n.since = c, time.Now()
	if c == down || c == frozen {
		n.ready = false
	}
}

// state is the node's condition and since when.
func (n *node) state() (condition, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.condition, n.since
}

func (n *node) proc() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

func (n *node) pid() int {
	if p := n.proc(); p.running() {
		return p.pid()
	}
	return 0
}

// up reports whether the process should be running.
func (n *node) up() bool { c, _ := n.state(); return c != down }

// answering reports whether a load balancer would send requests to the node.
func (n *node) answering() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready && n.condition != down
}

// kill is kill -9.
func (n *node) kill() {
	n.set(down)
	n.proc().stop(syscall.SIGKILL, time.Second)
}

// freeze and thaw are SIGSTOP and SIGCONT.
func (n *node) freeze() {
	n.proc().signal(syscall.SIGSTOP)
	n.set(frozen)
}

func (n *node) thaw() {
	n.set(well) // first: what it does from here on is its own doing
	n.proc().signal(syscall.SIGCONT)
}

// cut separates the node; heal joins it again.
func (n *node) cut(l links) error {
	n.set(severed)
	return n.network.cut(n.index, l)
}

func (n *node) heal() error {
	err := n.network.cut(n.index, 0)
	n.set(well)
	return err
}

// terminate is SIGTERM and waits for an orderly end.
func (n *node) terminate(within time.Duration) error {
	n.set(leaving)
	p := n.proc()
	p.signal(syscall.SIGTERM)
	ended := p.wait(within)
	n.set(down)
	if !ended {
		p.stop(syscall.SIGKILL, time.Second)
		return fmt.Errorf("%s did not end within %v of SIGTERM", n.name, within)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d after SIGTERM", n.name, code)
	}
	return nil
}

// tail is the end of the node's log.
func (n *node) tail(lines int) string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(b), lines)
}

// sign is a text that a node is going to log.
type sign struct {
	text, log string
	from      int64 // what the log had before
}

// waitFor is a sign in what the node logs from now on.
func (n *node) waitFor(text string) *sign {
	s := &sign{text: text, log: n.log}
	if at, err := os.Stat(n.log); err == nil {
		s.from = at.Size()
	}
	return s
}

// wait returns within milliseconds of the sign.
func (s *sign) wait(ctx context.Context, within time.Duration) error {
	f, err := os.Open(s.log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var said []byte
	for end := time.Now().Add(within); time.Now().Before(end); {
		more, err := io.ReadAll(io.NewSectionReader(f, s.from+int64(len(said)), 1<<20))
		if err != nil {
			return err
		}
		if said = append(said, more...); bytes.Contains(said, []byte(s.text)) {
			return nil
		}
		if !pause(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s: no %q within %v", s.log, s.text, within)
}

// watch keeps ready up to date until ctx ends, as a load balancer does.
func (n *node) watch(ctx context.Context) {
	client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	for pause(ctx, 100*time.Millisecond) {
		if !n.up() {
			continue
		}
		ready := false
		if resp, err := client.Get("http://" + n.place.management + "/ready"); err == nil {
			ready = resp.StatusCode == http.StatusOK
			_ = resp.Body.Close()
		}
		n.mu.Lock()
		n.ready = ready && n.condition != down && n.condition != frozen
		n.mu.Unlock()
	}
}

const password = "chaos"

// newNode prepares a node; every node has a data folder of its own that outlives its processes.
func newNode(index int, at place, binary, dir, logs, database string, extra []string, s *spawner, network network) (*node, error) {
	name := fmt.Sprintf("n%d", index)
	data := filepath.Join(dir, name)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
		"INSTANCE_INDEX=" + name, "DEVOPS_PASSWORD=" + password, "HAWSER_DATA_DIR=" + data, "HAWSER_POSTGRES_URL=" + database,
		"HAWSER_HTTP_ADDRESS=" + at.http, "HAWSER_MANAGEMENT_ADDRESS=" + at.management,
		"HAWSER_METRICS_ADDRESS=" + at.metrics, "HAWSER_CLUSTER_ADDRESS=" + at.cluster,
		"HAWSER_CLUSTER_PLAINTEXT=true", // the namespaces lead nowhere else
		// Each event then names the command that made it.
		"CONNECTION_EVENT_HISTORICAL_HEADERS_TO_PERSIST=correlation-id",
	}
	if at.advertised != "" {
		env = append(env, "HAWSER_CLUSTER_ADVERTISED="+at.advertised)
	}
	return &node{
		index: index, name: name, place: at, env: append(env, extra...), command: append(at.prefix, binary, "serve"),
		log: filepath.Join(logs, name+".log"), spawner: s, network: network, condition: down,
	}, nil
}
