package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"hawser/cmd/hawser/config"
)

// TestJSONLogFields: the field names of operations.md 10.1.
func TestJSONLogFields(t *testing.T) {
	var out bytes.Buffer
	c := &config.Config{}
	c.Log.Level, c.Log.Format = "info", "json"
	log, _ := newLog(&out, c)
	log.Info("live status of the connection", "ditto-log-tag", "connection-live-status-open", "connection_id", "a", "connection_type", "mqtt", "correlation_id", "c")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "instance")
	want := []string{"@timestamp", "correlation-id", "ditto-connection-id", "ditto-connection-type", "ditto-log-tag", "level", "logger_name", "message"}
	if got := slices.Sorted(maps.Keys(line)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
