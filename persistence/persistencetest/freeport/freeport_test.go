package freeport

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// TestMain can be the other process of TestReservedForOthers: it ends with 3 if it cannot have a port.
func TestMain(m *testing.M) {
	port, err := strconv.Atoi(os.Getenv("FREEPORT_TEST_PORT"))
	if err != nil {
		os.Exit(m.Run())
	}
	if _, _, err := Reserve("127.0.0.1", 1); err != nil {
		os.Exit(1)
	}
	if lock(port, syscall.F_WRLCK) != nil {
		os.Exit(3)
	}
}

// TestReservedForOthers: what one process has another one does not get, until it is released.
func TestReservedForOthers(t *testing.T) {
	ports, release, err := Reserve("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	other := func() int {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FREEPORT_TEST_PORT="+strconv.Itoa(ports[0]))
		_ = cmd.Run() // the exit code says it
		return cmd.ProcessState.ExitCode()
	}
	if got := other(); got != 3 {
		t.Errorf("while it is reserved the other process ends with %d", got)
	}
	release()
	if got := other(); got != 0 {
		t.Errorf("after its release the other process ends with %d", got)
	}
}

// TestReserve: no port is given away twice before it is released, none on which somebody listens, and on each one can.
func TestReserve(t *testing.T) {
	const host, each = "127.0.0.1", 500
	seen := map[int]bool{}
	var releases []func()
	for range 4 {
		ports, release, err := Reserve(host, each)
		if err != nil || len(ports) != each {
			t.Fatalf("%d ports, %v", len(ports), err)
		}
		releases = append(releases, release)
		for _, port := range ports {
			if seen[port] {
				t.Errorf("port %d is given away twice", port)
			}
			seen[port] = true
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(ports[0])))
		if err != nil {
			t.Error(err)
			continue
		}
		defer func() { _ = l.Close() }()
		if free(host, ports[0]) {
			t.Errorf("port %d passes for free while somebody listens", ports[0])
		}
	}
	for _, release := range releases {
		release()
		release() // idempotent
	}
}
