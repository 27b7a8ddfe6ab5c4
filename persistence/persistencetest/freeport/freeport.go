// Package freeport finds ports for servers that tests and cmd/chaos start as processes of their own, before these listen.
//
// A port of the kernel's own choice (":0") may be given, until the server listens, to any outgoing connection of the machine;
// where many tests run that happens every few hundred starts. These ports lie below those that the kernel gives away, and a lock
// in a file in the temporary folder keeps other users of this package off them.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The ports from which is chosen: below ephemeral, where the kernel of Linux starts to give away its own by default, and above those
// of servers that are likely to run here.
const (
	lowest    = 16_000
	ephemeral = 32_768
)

// held are the ports of this process. POSIX locks belong to a process and to a file, and closing the file anywhere ends all of
// them: it is opened once and stays open.
var held struct {
	mu    sync.Mutex
	file  *os.File // byte n is port n
	ports map[int]bool
}

// Reserve finds n ports on which nobody listens at a host, an address of this machine. They are not given away again, by any
// process of this user, until release is called or the process ends.
func Reserve(host string, n int) (ports []int, release func(), err error) {
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.file == nil {
		name := filepath.Join(os.TempDir(), fmt.Sprintf("hawser-test-ports-%d", os.Getuid()))
		if held.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return nil, nil, err
		}
		held.ports = map[int]bool{}
	}
	for range 100*n + 1000 {
		if len(ports) == n {
			break
		}
		port := lowest + rand.IntN(ephemeral-lowest)
		if held.ports[port] || lock(port, syscall.F_WRLCK) != nil {
			continue
		}
		if !free(host, port) {
			_ = lock(port, syscall.F_UNLCK)
			continue
		}
		held.ports[port] = true
		ports = append(ports, port)
	}
	if len(ports) < n {
		giveBack(ports)
		return nil, nil, fmt.Errorf("%d free ports were not found at %s", n, host)
	}
	return ports, sync.OnceFunc(func() {
		held.mu.Lock()
		defer held.mu.Unlock()
		giveBack(ports)
	}), nil
}

// giveBack lets others have ports. held.mu is held.
func giveBack(ports []int) {
	for _, port := range ports {
		delete(held.ports, port)
		_ = lock(port, syscall.F_UNLCK)
	}
}

// lock locks or unlocks the byte of a port, or fails at once.
func lock(port int, how int16) error {
	return syscall.FcntlFlock(held.file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: how, Start: int64(port), Len: 1})
}

func free(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
