package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// namespaces gives each node a network namespace with three interfaces, each on a bridge of its own: c (common: HTTP,
// metrics, broker), d (database), p (peers). A cut takes the node's port off the bridge: what is sent is gone, nobody is
// told, and the node keeps its addresses and routes, as when a switch fails. The way to one peer is cut by a route to nowhere.
type namespaces struct {
	prefix string // of all interfaces and namespaces: hwc<pid>
	net    int    // second octet: 10.<net>.{0,1,2}.0/24 for c, d, p

	mu    sync.Mutex
	nodes map[int]bool
	mute  map[int]bool // cut from one peer
}

const linkLetters = "cdp"

// newNamespaces makes the bridges. It first removes what a killed predecessor left.
func newNamespaces(ctx context.Context) (*namespaces, error) {
	removeStale()
	n := &namespaces{prefix: fmt.Sprintf("hwc%d", os.Getpid()), net: freeNet(), nodes: map[int]bool{}, mute: map[int]bool{}}
	if n.net == 0 {
		return nil, errors.New("no free network among 10.200.0.0/14 … 10.250.0.0/14")
	}
	for i, letter := range linkLetters {
		bridge := n.prefix + string(letter)
		// With an address of its own: else it has that of one of its ports, and what the node of this port sends after a cut
		// would still reach the machine, though no answer comes back.
		if err := ip(ctx, "link", "add", bridge, "address", fmt.Sprintf("02:68:77:%02x:%02x:01", n.net, i), "type", "bridge"); err != nil {
			n.close()
			return nil, err
		}
		// Only this machine's side of the common and the database network has an address: peers are no business of ours.
		if letter != 'p' {
			if err := ip(ctx, "addr", "add", fmt.Sprintf("10.%d.%d.1/24", n.net, i), "dev", bridge); err != nil {
				n.close()
				return nil, err
			}
		}
		if err := ip(ctx, "link", "set", bridge, "up"); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

func (n *namespaces) name() string    { return "namespaces" }
func (n *namespaces) cuts(links) bool { return true }
func (n *namespaces) proves() bool    { return false }
func (n *namespaces) shared() string  { return fmt.Sprintf("10.%d.0.1", n.net) }

func (n *namespaces) databaseHosts() (hosts, subnets []string) {
	return []string{fmt.Sprintf("10.%d.1.1", n.net)}, []string{fmt.Sprintf("10.%d.1.0/24", n.net)}
}

func (n *namespaces) namespace(index int) string { return fmt.Sprintf("%s-%d", n.prefix, index) }

// port is the bridge's end of a node's link.
func (n *namespaces) port(index int, letter rune) string {
	return fmt.Sprintf("%s%c%d", n.prefix, letter, index)
}

func (n *namespaces) place(index int, postgres string) (place, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ns := n.namespace(index)
	n.mu.Lock()
	n.nodes[index] = true
	n.mu.Unlock()
	steps := [][]string{{"netns", "add", ns}, {"-n", ns, "link", "set", "lo", "up"}}
	for i, letter := range linkLetters {
		inner := string(letter) + "0"
		steps = append(steps,
			[]string{"link", "add", n.port(index, letter), "type", "veth", "peer", "name", inner, "netns", ns},
			[]string{"-n", ns, "addr", "add", fmt.Sprintf("10.%d.%d.%d/24", n.net, i, 10+index), "dev", inner},
			[]string{"-n", ns, "link", "set", inner, "up"},
			[]string{"link", "set", n.port(index, letter), "master", n.prefix + string(letter), "up"})
	}
	for _, step := range steps {
		if err := ip(ctx, step...); err != nil {
			return place{}, err
		}
	}
	common := fmt.Sprintf("10.%d.0.%d", n.net, 10+index)
	return place{
		http: common + ":8080", management: common + ":7626", metrics: common + ":9095",
		cluster: fmt.Sprintf("10.%d.2.%d:2551", n.net, 10+index), postgres: postgres,
		prefix: []string{ipProgram(), "netns", "exec", ns},
	}, nil
}

func (n *namespaces) cut(index int, l links) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for letter, link := range map[rune]links{'d': toPostgres, 'p': toPeers} {
		state := []string{"master", n.prefix + string(letter)}
		if l&link != 0 {
			state = []string{"nomaster"}
		}
		if err := ip(ctx, append([]string{"link", "set", n.port(index, letter)}, state...)...); err != nil {
			return err
		}
	}
	command := "del"
	if l&toOnePeer != 0 {
		command = "add"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mute[index] == (l&toOnePeer != 0) {
		return nil
	}
	n.mute[index] = !n.mute[index]
	peer := 1
	if index == peer {
		peer = 2
	}
	return ip(ctx, "-n", n.namespace(index), "route", command, "blackhole", fmt.Sprintf("10.%d.2.%d/32", n.net, 10+peer))
}

func (n *namespaces) index(remote netip.AddrPort) int {
	a := remote.Addr().Unmap().As4()
	if a[0] != 10 || int(a[1]) != n.net || a[2] != 0 || a[3] <= 10 {
		return 0
	}
	return int(a[3]) - 10
}

// close removes namespaces (their interfaces go with them) and bridges.
func (n *namespaces) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	n.mu.Lock()
	defer n.mu.Unlock()
	for index := range n.nodes {
		_ = ip(ctx, "netns", "del", n.namespace(index))
		for _, letter := range linkLetters {
			_ = ip(ctx, "link", "del", n.port(index, letter)) // gone with the namespace, unless a process holds that
		}
	}
	for _, letter := range linkLetters {
		_ = ip(ctx, "link", "del", n.prefix+string(letter))
	}
}

func ipProgram() string {
	for _, path := range []string{"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "ip"
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, ipProgram(), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, lastLines(string(out), 1))
	}
	return nil
}

// freeNet is a second octet of 10.x that no interface of this machine uses, 0 if there is none.
func freeNet() int {
	used := map[int]bool{}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			if v4 := n.IP.To4(); v4 != nil && v4[0] == 10 {
				used[int(v4[1])] = true
			}
		}
	}
	for i := range 50 {
		if x := 200 + (os.Getpid()+i)%50; !used[x] {
			return x
		}
	}
	return 0
}

var ours = regexp.MustCompile(`\bhwc(\d+)(?:[cdp]\d*|-\d+)\b`)

// removeStale removes namespaces and interfaces of runs whose process is gone.
func removeStale() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for list, remove := range map[string]string{"netns": "netns", "link": "link"} {
		out, err := exec.CommandContext(ctx, ipProgram(), "-o", list, "list").Output()
		if err != nil {
			continue
		}
		for _, found := range ours.FindAllStringSubmatch(string(out), -1) {
			pid, err := strconv.Atoi(found[1])
			if err != nil {
				continue
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
				_ = ip(ctx, remove, "del", found[0])
			}
		}
	}
}
