package main

import (
	"io"
	"log/slog"
	"math"
)

// levels are the names of log.level.
var levels = map[string]slog.Level{
	"off": math.MaxInt, "error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	"trace": slog.LevelDebug - 4, "all": math.MinInt,
}

// newLog makes the log of a node; each line names its instance.
func newLog(out io.Writer, level, format, instance string) *slog.Logger {
	options := &slog.HandlerOptions{Level: levels[level]}
	var handler slog.Handler = slog.NewTextHandler(out, options)
	if format == "json" {
		handler = slog.NewJSONHandler(out, options)
	}
	return slog.New(handler).With("instance", instance)
}
