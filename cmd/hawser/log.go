package main

import (
	"context"
	"io"
	"log/slog"
	"math"

	"hawser/cmd/hawser/config"
	"hawser/gateway/devops"
)

// newLog makes the log of a node and the levels of its loggers, which can be changed while it runs.
func newLog(out io.Writer, c *config.Config) (*slog.Logger, *devops.Levels) {
	options := &slog.HandlerOptions{Level: slog.Level(math.MinInt)} // the levels decide
	var handler slog.Handler = slog.NewTextHandler(out, options)
	if c.Log.Format == "json" {
		options.ReplaceAttr = dittoField
		handler = slog.NewJSONHandler(out, options)
	}
	levels := devops.NewLevels(c.Log.Level)
	if c.Log.Application != "" {
		levels.Set("hawser", c.Log.Application)
	}
	return named(slog.New(levels.Handler(handler)), "hawser"), levels
}

// withInstance lets each line name the instance that the node is when the line is written (decision O8).
func withInstance(log *slog.Logger, instance func() string) *slog.Logger {
	return slog.New(instanceHandler{log.Handler(), instance})
}

type instanceHandler struct {
	slog.Handler
	instance func() string
}

// Handle implements slog.Handler.
func (h instanceHandler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(slog.String("instance", h.instance()))
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h instanceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return instanceHandler{h.Handler.WithAttrs(attrs), h.instance}
}

// WithGroup implements slog.Handler.
func (h instanceHandler) WithGroup(name string) slog.Handler {
	return instanceHandler{h.Handler.WithGroup(name), h.instance}
}

// named is the log of a part of the program (contract operations.md 7.4).
func named(log *slog.Logger, name string) *slog.Logger { return log.With(devops.LoggerKey, name) }
