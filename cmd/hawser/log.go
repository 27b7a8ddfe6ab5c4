package main

import (
	"io"
	"log/slog"
	"math"

	"hawser/cmd/hawser/config"
	"hawser/gateway/devops"
)

// newLog makes the log of a node and the levels of its loggers, which can be changed while it runs. Each line names its
// instance.
func newLog(out io.Writer, c *config.Config) (*slog.Logger, *devops.Levels) {
	options := &slog.HandlerOptions{Level: slog.Level(math.MinInt)} // the levels decide
	var handler slog.Handler = slog.NewTextHandler(out, options)
	if c.Log.Format == "json" {
		handler = slog.NewJSONHandler(out, options)
	}
	levels := devops.NewLevels(c.Log.Level)
	if c.Log.Application != "" {
		levels.Set("hawser", c.Log.Application)
	}
	log := slog.New(levels.Handler(handler)).With("instance", c.Instance)
	return named(log, "hawser"), levels
}

// named is the log of a part of the program (contract operations.md 7.4).
func named(log *slog.Logger, name string) *slog.Logger { return log.With(devops.LoggerKey, name) }
