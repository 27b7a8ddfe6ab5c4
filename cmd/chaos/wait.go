package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"hawser/persistence/persistencetest/freeport"
)

// errFinal ends eventually before its deadline.
type errFinal struct{ error }

// eventually repeats check until it returns nil; at the deadline it returns check's last error.
func eventually(ctx context.Context, within time.Duration, what string, check func() error) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if final := (errFinal{}); errors.As(err, &final) {
			return fmt.Errorf("%s: %w", what, final.error)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("not within %v: %s: %w", within, what, err)
		case <-tick.C:
		}
	}
}

// pause lets d pass; false: ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// freePorts are n ports of a host that are free, and this process's until it ends.
func freePorts(host string, n int) ([]int, error) {
	ports, _, err := freeport.Reserve(host, n)
	return ports, err
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// passable lets other users through a folder, but not look into it: PostgreSQL runs as one.
func passable(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return os.Chmod(dir, info.Mode().Perm()|0o111)
}

// machineLoad is the load average of the last minute, "?" where it is not known: times measured on a busy machine say little.
func machineLoad() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	load, _, _ := strings.Cut(string(b), " ")
	return load
}
