package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// links are what a node can be cut from.
type links uint8

const (
	toPostgres links = 1 << iota
	toPeers
	toOnePeer // one direction only: from the node to one of the others
)

func (l links) String() string {
	switch l {
	case toPostgres:
		return "PostgreSQL"
	case toPeers:
		return "peers"
	case toOnePeer:
		return "one peer"
	case toPostgres | toPeers:
		return "PostgreSQL and peers"
	}
	return "nothing"
}

// place is where a node runs: the addresses it listens on and reaches others at.
type place struct {
	http, management, metrics, cluster string
	advertised                         string // cluster address for the others where it is not the same
	postgres                           string // host:port
	prefix                             []string
}

// network is what lies between the nodes, PostgreSQL, the broker and this program.
type network interface {
	name() string
	// shared is the host on which the tap listens for the nodes.
	shared() string
	// databaseHosts are the hosts on which a private PostgreSQL listens, this program's own first, and the subnets of the nodes.
	databaseHosts() (hosts, subnets []string)
	// place makes room for node index, 1 and up; postgres is the server's address.
	place(index int, postgres string) (place, error)
	// cut separates a node from what l says, and only from that; 0 heals.
	cut(index int, l links) error
	cuts(l links) bool
	// proves reports whether the nodes can prove each other's death (design.md 3.2 rule 4a).
	proves() bool
	// index is the node that an address belongs to, 0 if the network cannot tell by the address alone.
	index(remote netip.AddrPort) int
	close()
}

// loopback is everything on 127.0.0.1, without cuts.
type loopback struct{}

func (loopback) name() string   { return "loopback" }
func (loopback) shared() string { return "127.0.0.1" }
func (loopback) databaseHosts() (hosts, subnets []string) {
	return []string{"127.0.0.1"}, nil
}

func (loopback) place(_ int, postgres string) (place, error) {
	ports, err := freePorts("127.0.0.1", 4)
	if err != nil {
		return place{}, err
	}
	at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
	return place{http: at(0), management: at(1), metrics: at(2), cluster: at(3), postgres: postgres}, nil
}

func (loopback) cut(int, links) error     { return fmt.Errorf("the loopback cannot be cut") }
func (loopback) cuts(l links) bool        { return l == 0 }
func (loopback) proves() bool             { return true }
func (loopback) index(netip.AddrPort) int { return 0 }
func (loopback) close()                   {}

// socketOwner finds which of several processes of this machine holds the local end of a TCP link, by /proc; 0 if none.
func socketOwner(local, remote netip.AddrPort, pids []int) int {
	for range 3 { // the kernel's table may lose a line while others come and go
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return 0
		}
		inode := inodeOf(string(table), local, remote)
		if inode == "" {
			continue
		}
		for _, pid := range pids {
			files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
			for _, f := range files {
				if target, err := os.Readlink(f); err == nil && target == "socket:["+inode+"]" {
					return pid
				}
			}
		}
	}
	return 0
}

// inodeOf reads the inode of the socket of an IPv4 link from the text of /proc/net/tcp, "" if there is none. Both ends count:
// one local port may serve several links.
func inodeOf(table string, local, remote netip.AddrPort) string {
	text := func(a netip.AddrPort) string {
		ip := a.Addr().Unmap().As4()
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port())
	}
	_, line, ok := strings.Cut(table, ": "+text(local)+" "+text(remote)+" ")
	if !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	if fields := strings.Fields(line); len(fields) > 6 {
		return fields[6]
	}
	return ""
}

// chooseNetwork makes the network that was asked for; auto is namespaces for root, else proxies.
func chooseNetwork(ctx context.Context, kind string, given bool) (network, error) {
	if kind == "auto" {
		kind = "proxies"
		if os.Getuid() == 0 && !given {
			kind = "namespaces"
		}
	}
	switch kind {
	case "loopback":
		return loopback{}, nil
	case "proxies":
		return newProxies(), nil
	case "namespaces":
		return newNamespaces(ctx)
	}
	return nil, fmt.Errorf("-network %s: want auto, namespaces, proxies or loopback", kind)
}
