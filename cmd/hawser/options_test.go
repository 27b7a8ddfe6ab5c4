package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"hawser/actors"
	"hawser/actors/signals"
	"hawser/cmd/hawser/config"
)

func load(t *testing.T, flags map[string]string) *config.Config {
	t.Helper()
	l, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return &l.Config
}

// TestKeysArrive sets keys and looks where the node gets them: a key that arrives nowhere would be a lie in the documentation.
func TestKeysArrive(t *testing.T) {
	for key, row := range map[string]struct {
		value string
		got   func(o actors.Options) any
		want  string
	}{
		"instance":                                                            {"i-7", func(o actors.Options) any { return o.Instance }, "i-7"},
		"cluster.number-of-shards":                                            {"7", func(o actors.Options) any { return o.Shards }, "7"},
		"cluster.lease-ttl":                                                   {"7s", func(o actors.Options) any { return o.TTL }, "7s"},
		"connection.snapshot.threshold":                                       {"7", func(o actors.Options) any { return o.Rules.SnapshotThreshold }, "7"},
		"connection.snapshot.interval":                                        {"7s", func(o actors.Options) any { return o.Timings.SnapshotInterval }, "7s"},
		"connection.event.historical-headers-to-persist":                      {"a,b", func(o actors.Options) any { return o.Rules.HistoricalHeaders }, "[a b]"},
		"connection.supervisor.local-ask.timeout":                             {"7s", func(o actors.Options) any { return o.Timings.LocalAsk }, "7s"},
		"connection.client-actor-ask-timeout":                                 {"7s", func(o actors.Options) any { return o.Timings.ClientAsk }, "7s"},
		"connection.activity-check.inactive-interval":                         {"7s", func(o actors.Options) any { return o.Timings.InactiveInterval }, "7s"},
		"connection.activity-check.deleted-interval":                          {"7s", func(o actors.Options) any { return o.Timings.DeletedInterval }, "7s"},
		"connection.priority-update-interval":                                 {"7s", func(o actors.Options) any { return o.Timings.PriorityInterval }, "7s"},
		"connection.supervisor.exponential-backoff.min":                       {"7s", func(o actors.Options) any { return o.Timings.BackoffMin }, "7s"},
		"connection.supervisor.exponential-backoff.max":                       {"7s", func(o actors.Options) any { return o.Timings.BackoffMax }, "7s"},
		"connection.supervisor.exponential-backoff.corrupted-receive-timeout": {"7s", func(o actors.Options) any { return o.Timings.CorruptedTimeout }, "7s"},
		"connection.acknowledgement.forwarder-fallback-timeout":               {"7s", func(o actors.Options) any { return o.Signals.AcknowledgementTimeout }, "7s"},
		"connection.acknowledgement.collector-fallback-lifetime":              {"7s", func(o actors.Options) any { return o.Signals.CollectorLifetime }, "7s"},
		"connection.blocked-hostnames":                                        {"a,b", func(o actors.Options) any { return o.Hosts.Blocked }, "[a b]"},
		"connection.allowed-hostnames":                                        {"a", func(o actors.Options) any { return o.Hosts.Allowed }, "[a]"},
		"connection.blocked-subnets":                                          {"10.0.0.0/8", func(o actors.Options) any { return o.Hosts.Subnets }, "[10.0.0.0/8]"},
		"connection.blocked-host-regex": {"a.*", func(o actors.Options) any {
			return o.Hosts.Regex.MatchString("abc") && !o.Hosts.Regex.MatchString("xabc")
		}, "true"},
		"persistence-ping.interval":                          {"7s", func(o actors.Options) any { return o.Timings.LiveStatusInterval }, "7s"},
		"persistence-ping.rate.entities":                     {"7", func(o actors.Options) any { return o.OpenRate.Entities }, "7"},
		"persistence-ping.rate.frequency":                    {"7s", func(o actors.Options) any { return o.OpenRate.Every }, "7s"},
		"client.connecting-min-timeout":                      {"7s", func(o actors.Options) any { return o.Client.ConnectingMinTimeout }, "7s"},
		"client.connecting-max-timeout":                      {"7h", func(o actors.Options) any { return o.Client.ConnectingMaxTimeout }, "7h0m0s"},
		"client.connecting-max-tries":                        {"7", func(o actors.Options) any { return o.Client.ConnectingMaxTries }, "7"},
		"client.min-backoff":                                 {"7s", func(o actors.Options) any { return o.Client.MinBackoff }, "7s"},
		"client.max-backoff":                                 {"7h", func(o actors.Options) any { return o.Client.MaxBackoff }, "7h0m0s"},
		"client.disconnecting-max-timeout":                   {"7s", func(o actors.Options) any { return o.Client.DisconnectingMaxTimeout }, "7s"},
		"client.disconnect-announcement-timeout":             {"7s", func(o actors.Options) any { return o.Client.DisconnectAnnouncementTimeout }, "7s"},
		"client.testing-timeout":                             {"7s", func(o actors.Options) any { return o.Client.TestingTimeout }, "7s"},
		"monitoring.logger.successCapacity":                  {"7", func(o actors.Options) any { return o.Monitor.SuccessCapacity }, "7"},
		"monitoring.logger.failureCapacity":                  {"7", func(o actors.Options) any { return o.Monitor.FailureCapacity }, "7"},
		"monitoring.logger.maxLogSizeBytes":                  {"7", func(o actors.Options) any { return o.Monitor.MaxLogSizeBytes }, "7"},
		"monitoring.logger.logDuration":                      {"7s", func(o actors.Options) any { return o.Monitor.LogDuration }, "7s"},
		"monitoring.logger.loggingActiveCheckInterval":       {"7s", func(o actors.Options) any { return o.Timings.LogCheckInterval }, "7s"},
		"mapping.mapper-limits.max-mapped-inbound-messages":  {"7", func(o actors.Options) any { return o.Signals.Limits.MaxInbound }, "7"},
		"mapping.mapper-limits.max-mapped-outbound-messages": {"7", func(o actors.Options) any { return o.Signals.Limits.MaxOutbound }, "7"},
		"limits.messages.max-size":                           {"7k", func(o actors.Options) any { return o.Signals.Limits.MaxMessageBytes }, "7168"},
		"limits.messages.headers-size":                       {"7k", func(o actors.Options) any { return o.Signals.Limits.MaxHeaderBytes }, "7168"},
		"standalone.authorization":                           {"open", func(o actors.Options) any { _, ok := o.Signals.Authorizer.(signals.Open); return ok }, "true"},
	} {
		t.Run(key, func(t *testing.T) {
			o, err := nodeOptions(load(t, map[string]string{key: row.value}), nil, nil, slog.Default())
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(row.got(o)); got != row.want {
				t.Fatalf("%s, want %s", got, row.want)
			}
		})
	}
	o, err := nodeOptions(load(t, map[string]string{"standalone.authorization": "grants", "standalone.grants": `[{"namespaces":["a.*"],"read":["r"],"write":["w"]}]`}), nil, nil, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(o.Signals.Authorizer); got != "[{[a.*] [r] [w]}]" {
		t.Errorf("grants: %s", got)
	}
	if !o.Exclusive || o.Cluster != nil {
		t.Error("the embedded store has one process")
	}
}

// TestLog: each line names the instance that the node is by then, and only lines of the wanted level show.
func TestLog(t *testing.T) {
	for level, want := range map[string]int{"off": 0, "error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5, "all": 6} {
		for _, format := range []string{"text", "json"} {
			var out bytes.Buffer
			log, _ := newLog(&out, load(t, map[string]string{"log.level": level, "log.format": format}))
			instance := "first"
			log = withInstance(log, func() string { return instance }).With("more", 1)
			instance = "i1"
			for _, l := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug, slog.LevelDebug - 4, slog.LevelDebug - 100} {
				log.Log(context.Background(), l, "line")
			}
			if got := strings.Count(out.String(), "\n"); got != want || want > 0 && strings.Count(out.String(), "i1") != want {
				t.Errorf("%s %s: %d lines, want %d:\n%s", level, format, got, want, out.String())
			}
		}
	}
}
