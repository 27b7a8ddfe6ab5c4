package main

import "log/slog"

// dittoFields are the names that fields have in JSON log lines, as collectors and dashboards made for Ditto look for them
// (contract operations.md 9.1, 10.1). ditto-log-tag has that name everywhere.
var dittoFields = map[string]string{
	slog.TimeKey: "@timestamp", slog.MessageKey: "message", "logger": "logger_name", "correlation_id": "correlation-id",
	"connection_id": "ditto-connection-id", "connection_type": "ditto-connection-type", "stack": "stack_trace",
}

func dittoField(groups []string, a slog.Attr) slog.Attr {
	if name, ok := dittoFields[a.Key]; ok && len(groups) == 0 {
		a.Key = name
	}
	return a
}
