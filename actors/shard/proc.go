package shard

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Process identifies a process of one kernel: "<boot id> <pid namespace> <pid> <start time>". It is what members.proc
// holds. "" where the kernel does not tell (not Linux): such a member's death cannot be proved, only awaited.
func Process() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	started, _, err := startTime(os.Getpid())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %s %d %s", strings.TrimSpace(string(boot)), namespace, os.Getpid(), started)
}

// Dead reports whether a member's process is certainly gone (design.md 3.2 rule 4a): it ran under this kernel and in this
// pid namespace, its address is one of this machine, and its pid is free, a zombie's or another's.
func Dead(proc, address string) bool {
	theirs, ours := strings.Fields(proc), strings.Fields(Process())
	if len(theirs) != 4 || len(ours) != 4 || theirs[0] != ours[0] || theirs[1] != ours[1] || !local(address) {
		return false
	}
	pid, err := strconv.Atoi(theirs[2])
	if err != nil {
		return false
	}
	started, state, err := startTime(pid)
	switch {
	case os.IsNotExist(err):
		return true
	case err != nil:
		return false
	}
	return started != theirs[3] || state == "Z" || state == "X"
}

// startTime reads fields 22 and 3 of /proc/<pid>/stat; the command name before them may hold anything, so it is cut at its end.
func startTime(pid int) (started, state string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	end := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 20 {
		return "", "", fmt.Errorf("shard: /proc/%d/stat has an unknown form", pid)
	}
	return fields[19], fields[0], nil
}

func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}
