package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"hawser/cmd/hawser/config"
	"hawser/cmd/hawser/demo"
)

type demoCommand struct{}

// Run runs a node on an embedded store in a temporary folder, and the demo against it. The environment does not count: a
// demo must not end up in somebody's database.
func (demoCommand) Run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "hawser-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	broker, err := demo.StartBroker()
	if err != nil {
		return err
	}
	defer func() { _ = broker.Close() }()
	loaded, err := config.Load(config.Sources{Flags: map[string]string{
		"data-dir": dir, "instance": "demo", "log.level": "warn",
		"http.address": free("127.0.0.1:8080"), "metrics.address": free("127.0.0.1:9095"), "management.address": free("127.0.0.1:7626"),
	}})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	log, levels := newLog(os.Stderr, &loaded.Config)
	n, err := startNode(ctx, &loaded.Config, log, levels)
	if err != nil {
		return err
	}
	defer n.stop()
	if err := n.awaitReady(ctx); err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{
		URL: n.apiURL(), User: "devops", Password: loaded.DevOps.Password.Reveal(), Broker: broker, DataDir: dir, Out: out,
	})
}

// free is the usual address if nobody has it, else one with a free port.
func free(usual string) string {
	l, err := net.Listen("tcp", usual)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return usual
}

// readyWithin is how long a node may take to get its lease.
const readyWithin = 30 * time.Second

// awaitReady waits until the node can execute commands.
func (n *node) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := n.core.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", readyWithin, err)
		case <-tick.C:
		}
	}
}
