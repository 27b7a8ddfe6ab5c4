package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echo answers what it is sent, until the test ends.
func echo(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer func() { _ = c.Close() }(); _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

// TestProxiesCut: bytes wait while a node is cut, nobody is told, and go on afterwards; other nodes are not concerned.
func TestProxiesCut(t *testing.T) {
	server := echo(t, "127.0.0.1:0")
	p := newProxies()
	defer p.close()
	var conns []net.Conn
	for index := 1; index <= 2; index++ {
		at, err := p.place(index, server)
		if err != nil {
			t.Fatal(err)
		}
		if at.postgres == server || at.advertised == at.cluster {
			t.Fatal("the node is not behind the relay")
		}
		c, err := net.Dial("tcp", at.postgres)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conns = append(conns, c)
	}
	ask := func(c net.Conn, text string, within time.Duration) error {
		_ = c.SetDeadline(time.Now().Add(within))
		if text != "" {
			if _, err := io.WriteString(c, text); err != nil {
				return err
			}
		}
		_, err := io.ReadFull(c, make([]byte, 3))
		return err
	}
	for _, c := range conns {
		if err := ask(c, "one", 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.cut(1, toPostgres); err != nil {
		t.Fatal(err)
	}
	if err := ask(conns[0], "two", 200*time.Millisecond); !os.IsTimeout(err) {
		t.Fatalf("through a cut: %v", err)
	}
	if err := ask(conns[1], "two", 10*time.Second); err != nil {
		t.Fatalf("the other node: %v", err)
	}
	if err := p.cut(1, toPeers); err != nil { // heals the one, cuts the other
		t.Fatal(err)
	}
	if err := ask(conns[0], "", 10*time.Second); err != nil {
		t.Fatalf("after the cut: %v", err)
	}
}

// TestSocketOwner finds this process behind one of its own links.
func TestSocketOwner(t *testing.T) {
	c, err := net.Dial("tcp", echo(t, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	local, remote := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(c.RemoteAddr().String())
	if pid := socketOwner(local, remote, []int{1, os.Getpid()}); pid != os.Getpid() {
		t.Fatalf("owner %d, want %d", pid, os.Getpid())
	}
	if pid := socketOwner(netip.MustParseAddrPort("127.0.0.1:1"), remote, []int{os.Getpid()}); pid != 0 {
		t.Fatalf("owner %d of a link that is not there", pid)
	}
}

func TestInodeOf(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:E4A6 0100007F:1F90 06 00000000:00000000 03:00000F2A 00000000     0        0 0 3 0000000000000000
  17: 0100007F:E4A6 0100007F:A5B1 01 00000000:00000000 00:00000000 00000000     0        0 41531 1 0000000000000000 20 4 30 10 -1
`
	local := netip.MustParseAddrPort("127.0.0.1:58534")
	for remote, want := range map[string]string{"127.0.0.1:42417": "41531", "127.0.0.1:8080": "0", "127.0.0.1:1": ""} {
		if got := inodeOf(table, local, netip.MustParseAddrPort(remote)); got != want {
			t.Errorf("link to %s: inode %q, want %q", remote, got, want)
		}
	}
}

// TestNamespacesCut uses real namespaces: a node reaches what it is not cut from, and nothing is left afterwards.
func TestNamespacesCut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root; the program uses proxies without (TestProxiesCut)")
	}
	n, err := newNamespaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	prefix := n.prefix
	defer func() {
		n.close()
		for _, list := range []string{"netns", "link"} {
			out, err := exec.Command(ipProgram(), "-o", list, "list").Output()
			if err != nil || strings.Contains(string(out), prefix) {
				t.Errorf("left behind: %s, %v", out, err)
			}
		}
	}()
	databases, _ := n.databaseHosts()
	database, shared := echo(t, databases[0]+":0"), echo(t, n.shared()+":0")
	places := map[int]place{}
	for index := 1; index <= 2; index++ {
		if places[index], err = n.place(index, database); err != nil {
			t.Fatal(err)
		}
	}
	reach := func(index int, address string, want bool) string {
		within := "15s"
		if !want {
			within = "500ms"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		args := append(places[index].prefix[1:], os.Args[0])
		cmd := exec.CommandContext(ctx, places[index].prefix[0], args...)
		cmd.Env = append(os.Environ(), dialVariable+"="+address+" "+within)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	up := func(index int, address string, want bool) {
		t.Helper()
		if got := reach(index, address, want); strings.HasPrefix(got, "connected") != want {
			t.Errorf("node %d to %s: %s", index, address, got)
		}
	}
	// Nothing listens on the peers' addresses, but a refusal shows that the packet got there.
	peer := func(index, other int, want bool) {
		t.Helper()
		if got := reach(index, places[other].cluster, want); strings.Contains(got, syscall.ECONNREFUSED.Error()) != want {
			t.Errorf("node %d to node %d: %s", index, other, got)
		}
	}
	for _, l := range []links{0, toPostgres, toPeers, toOnePeer, toPostgres | toPeers, 0} {
		if err := n.cut(1, l); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("cut from %s", l), func(t *testing.T) {
			up(1, database, l&toPostgres == 0)
			peer(1, 2, l&(toPeers|toOnePeer) == 0)
			peer(2, 1, l&(toPeers|toOnePeer) == 0)
			up(1, shared, true)
			up(2, database, true)
		})
	}
	from := netip.MustParseAddrPort(strings.TrimSpace(strings.TrimPrefix(reach(2, shared, true), "connected from ")))
	if n.index(from) != 2 || n.index(netip.MustParseAddrPort("127.0.0.1:5")) != 0 {
		t.Errorf("%s is node %d", from, n.index(from))
	}
}
