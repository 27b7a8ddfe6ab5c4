package actors

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hawser/persistence"
	"hawser/persistence/persistencetest/freeport"
	"hawser/persistence/postgres"
)

// A child is a node in a process of its own: this test binary, started again. Two nodes with remote in one process race
// inside the library (protoactor.md 0), and only a process can be killed.

// childVariable holds the child's settings in its environment.
const childVariable = "HAWSER_TEST_CHILD"

type childSettings struct {
	URL, Instance, Cluster string
	// DieAfter is a type of event, as events lists it: once a row of this type is written the process kills itself, before
	// it learns of it.
	DieAfter string
}

// runChild is the child's main: it says "ready" and runs until its standard input is closed.
func runChild(settings string) int {
	var s childSettings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		fmt.Println(err)
		return 2
	}
	store, err := postgres.Open(context.Background(), postgres.Options{URL: s.URL, TTL: testTTL, Log: quiet()})
	if err != nil {
		fmt.Println(err)
		return 2
	}
	g := &gate{Store: store}
	if s.DieAfter != "" {
		g.appended = func(_ context.Context, a persistence.Append) error {
			if strings.HasSuffix(a.Event.Type, ":connection"+s.DieAfter) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		}
	}
	o := options(g, s.Instance)
	o.Cluster = &ClusterOptions{Bind: s.Cluster}
	n, err := Start(context.Background(), o)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	for !n.Ready() || len(n.membership.Table().Owned(persistence.KindConnection)) == 0 {
		time.Sleep(5 * time.Millisecond) // no test: the parent waits with a deadline
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	n.Stop()
	_ = store.Close()
	return 0
}

// child is the parent's side.
type child struct {
	t       testing.TB
	address string // node to node
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	exited  chan struct{}
	ready   chan struct{}
	mu      sync.Mutex
	said    strings.Builder
}

// startChild starts a node process and waits until it owns shards.
func startChild(t testing.TB, s childSettings) *child {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, address: s.Cluster, cmd: exec.Command(os.Args[0]), exited: make(chan struct{}), ready: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.exited)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.mu.Lock()
			c.said.WriteString(lines.Text() + "\n")
			c.mu.Unlock()
			if lines.Text() == "ready" {
				close(c.ready)
			}
		}
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = c.stdin.Close()
		select {
		case <-c.exited:
		case <-time.After(20 * time.Second):
			_ = c.cmd.Process.Kill()
			<-c.exited
			t.Error("the child did not end by itself")
		}
	})
	select {
	case <-c.ready:
	case <-c.exited:
		t.Fatalf("the child ended: %s", c.output())
	case <-time.After(20 * time.Second):
		t.Fatal("the child is not ready")
	}
	return c
}

func (c *child) output() string { c.mu.Lock(); defer c.mu.Unlock(); return c.said.String() }

// alive reports whether the process runs.
func (c *child) alive() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// freeAddress is a loopback address that is free, and this test's until it ends.
func freeAddress(t testing.TB) string {
	t.Helper()
	ports, release, err := freeport.Reserve("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
}

// here is the one node of this process that other nodes can reach. The library's remote races with what a former one has
// left behind, so it is started once, by the first test that needs it, and ended by TestMain. One test at a time has it.
var here struct {
	sync.Mutex
	*member
	url string
	end []func() // last first
}

// lifelong stands for the first test after its end.
type lifelong struct{ testing.TB }

// Cleanup implements testing.TB.
func (lifelong) Cleanup(f func()) { here.end = append(here.end, f) }

// Context implements testing.TB.
func (lifelong) Context() context.Context { return context.Background() }

func endHere() {
	for _, f := range slices.Backward(here.end) {
		f()
	}
}

// pair is the node of this process and a child, on one database, that share the shards.
func pair(t testing.TB, dieAfter string) (*member, *child) {
	t.Helper()
	here.Lock()
	t.Cleanup(here.Unlock)
	if here.member == nil {
		all := lifelong{t}
		here.url = schema(all)
		here.member = startMember(all, here.url, "here", func(o *Options) { o.Cluster = &ClusterOptions{Bind: freeAddress(t)} })
	}
	url, here := here.url, &member{Node: here.Node, t: t, gate: here.gate}
	eventually(t, 15*time.Second, "this node is alone", func() error {
		if members := len(here.Members()); members != 1 || here.owns() != 16 || !here.Ready() {
			return fmt.Errorf("%d members, %d shards", members, here.owns())
		}
		return nil
	})
	there := startChild(t, childSettings{URL: url, Instance: "there", Cluster: freeAddress(t), DieAfter: dieAfter})
	eventually(t, 15*time.Second, "the shards are shared", func() error {
		theirs := 0
		for k := range 16 {
			if m, ok := here.membership.View().Owner(persistence.ShardRef{Kind: persistence.KindConnection, Number: k}); ok && m.Address == there.address {
				theirs++
			}
		}
		if here.owns() != 8 || theirs != 8 {
			return fmt.Errorf("%d shards of mine, %d of the child", here.owns(), theirs)
		}
		return nil
	})
	return here, there
}

// idsTried counts the ids that were ever tried.
var idsTried atomic.Int64

// idAt makes an id that the node at address owns and that nothing else uses: no other test, and no earlier run of this one,
// whose connections may still be in the store of the node of this process.
func (m *member) idAt(address, prefix string) string {
	m.t.Helper()
	for range 10_000 {
		id := fmt.Sprintf("%s-%s-%d", m.t.Name(), prefix, idsTried.Add(1))
		if at, ok := m.owner(persistence.KindConnection, id); ok && at == address {
			return id
		}
	}
	m.t.Fatalf("%s owns nothing", address)
	return ""
}
