package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"hawser/actors"
	"hawser/actors/cleanup"
	"hawser/actors/client"
	"hawser/actors/client/mqtt"
	"hawser/actors/client/mqtt5"
	"hawser/actors/client/mqttbinding"
	"hawser/actors/connection"
	"hawser/actors/monitor"
	"hawser/actors/signals"
	"hawser/cmd/hawser/config"
	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/mapping/javascript"
	"hawser/messages/validation"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// resolveWithin bounds looking up a host name while a connection is validated.
const resolveWithin = 3 * time.Second

// nodeOptions says where each key of the configuration goes.
func nodeOptions(c *config.Config, store persistence.Store, keys *encryption.Keys, log *slog.Logger) (actors.Options, error) {
	hosts, err := client.ParseHostRules(strings.Join(c.Connection.AllowedHostnames, ","), strings.Join(c.Connection.BlockedHostnames, ","),
		strings.Join(c.Connection.BlockedSubnets, ","), c.Connection.BlockedHostRegex)
	if err != nil {
		return actors.Options{}, err
	}
	limits := mapping.DefaultLimits
	limits.MaxInbound, limits.MaxOutbound = c.Mapping.InboundMessages, c.Mapping.OutboundMessages
	limits.MaxHeaderBytes, limits.MaxSubjects, limits.MaxMessageBytes = int(c.Limits.HeadersSize), c.Limits.Subjects, int(c.Limits.MessageSize)
	limits.MaxMembers, limits.MaxScriptCharacters = c.Mapping.Pool, c.Mapping.MaxScript
	limits.Script = javascript.Limits{Time: c.Mapping.ScriptTime, StackDepth: c.Mapping.ScriptDepth, Unsafe: c.Mapping.UnsafeScripts}
	rules := validation.Rules{
		RequestTimeout: c.Connection.HTTPPush.RequestTimeout, InsecureTokenEndpoints: !c.Connection.HTTPPush.EnforceHTTPS, HMACAlgorithms: c.Connection.HTTPPush.HMACAlgorithms,
		MaxSources: c.Connection.MaxSources, MaxTargets: c.Connection.MaxTargets,
		MaxSourceMappers: c.Mapping.SourceMappers, MaxTargetMappers: c.Mapping.TargetMappers, Mapping: limits,
		Host: func(host string) error {
			ctx, cancel := context.WithTimeout(context.Background(), resolveWithin)
			defer cancel()
			return hosts.Check(ctx, host)
		},
	}
	cluster, err := clusterOptions(c)
	if err != nil {
		return actors.Options{}, err
	}
	return actors.Options{
		Cluster: cluster, Store: store, Exclusive: c.Postgres.URL.Empty(), Instance: c.Instance, Shards: c.Cluster.Shards, TTL: c.Cluster.LeaseTTL,
		Transports: map[messages.ConnectionType]client.Factory{
			messages.TypeMQTT: mqtt.Factory(mqttDefaults(c, named(log, "hawser/actors/client/mqtt"))),
			messages.TypeMQTT5: mqtt5.Factory(mqtt5.Config{
				Config:        mqttDefaults(c, named(log, "hawser/actors/client/mqtt5")),
				SessionExpiry: c.Connection.MQTT.SessionExpiry, ReceiveMaximum: c.Connection.MQTT.ReceiveMaximum, OmitHeaders: !c.Features.KnownMQTTHeaders,
			}),
		},
		Rules: connection.Rules{
			Validate: rules.Validate, SnapshotThreshold: int64(c.Connection.SnapshotEvents), HistoricalHeaders: c.Connection.HistoricalHeader,
			NoHistory: !c.Features.HistoricalAPIs,
		},
		Timings: connection.Timings{
			LocalAsk: c.Connection.LocalAskTimeout, ClientAsk: c.Connection.ClientAskTimeout, SnapshotInterval: c.Connection.SnapshotInterval,
			InactiveInterval: c.Connection.InactiveInterval, DeletedInterval: c.Connection.DeletedInterval,
			PriorityInterval: c.Connection.PriorityInterval, LogCheckInterval: c.Logger.CheckInterval, LiveStatusInterval: c.Reconnect.Interval,
			BackoffMin: c.Connection.BackoffMin, BackoffMax: c.Connection.BackoffMax, CorruptedTimeout: c.Connection.CorruptedTimeout,
		},
		Client: client.Settings{
			ConnectingMinTimeout: c.Client.ConnectingMin, ConnectingMaxTimeout: c.Client.ConnectingMax, ConnectingMaxTries: c.Client.ConnectingTries,
			MinBackoff: c.Client.BackoffMin, MaxBackoff: c.Client.BackoffMax,
			DisconnectAnnouncementTimeout: c.Client.AnnouncementTimeout, DisconnectingMaxTimeout: c.Client.DisconnectingMax,
			TestingTimeout: c.Client.TestingTimeout,
		},
		Monitor: monitor.Options{
			SuccessCapacity: c.Logger.SuccessCapacity, FailureCapacity: c.Logger.FailureCapacity,
			MaxLogSizeBytes: int(c.Logger.MaxLogSize), LogDuration: c.Logger.LogDuration,
		},
		Hosts: hosts,
		Signals: signals.Options{
			Authorizer: authorizer(c), Limits: limits, AcknowledgementTimeout: c.Connection.AckTimeout, CollectorLifetime: c.Connection.AckLifetime,
			Log: named(log, "hawser/actors/signals"),
		},
		OpenRate: actors.Rate{Entities: c.Reconnect.Entities, Every: c.Reconnect.Frequency},
		Cleanup: cleanup.Config{
			Enabled: c.Cleanup.Enabled, Retention: c.Cleanup.Retention, Quiet: c.Cleanup.Quiet, Interval: c.Cleanup.Interval, Threshold: c.Cleanup.Threshold,
			Credits: c.Cleanup.Credits, Reads: c.Cleanup.Reads, Writes: c.Cleanup.Writes, Final: c.Cleanup.Final,
		},
		PurgeDelay: c.Operations.PurgeDelay,
		Encryption: actors.EncryptionOptions{Keys: keys, BatchSize: c.Encryption.BatchSize, PerMinute: c.Encryption.PerMinute, LiveShare: c.Encryption.LiveShare},
		Log:        log,
	}, nil
}

// mqttDefaults are the keys that both versions of MQTT have.
func mqttDefaults(c *config.Config, log *slog.Logger) mqttbinding.Config {
	m := &c.Connection.MQTT
	return mqttbinding.Config{
		CleanSession: m.CleanSession, SeparatePublisherClient: m.SeparatePublisher,
		ReconnectForRedelivery: m.Redeliver, ReconnectForRedeliveryDelay: m.RedeliverDelay, MaxQueueSize: m.MaxQueue, Log: log,
	}
}

// encryptionKeys reads and checks the keys (contract encryption.md 1.1).
func encryptionKeys(c *config.Config, log *slog.Logger) (*encryption.Keys, error) {
	e := &c.Encryption
	pointers, err := encryption.ParsePointers(e.Pointers)
	if err != nil {
		return nil, fmt.Errorf("connection.encryption.json-pointers: %w", err)
	}
	return encryption.OpenKeys(encryption.Settings{
		Enabled: e.Enabled, Key: encryption.NewSecret(e.Key.Reveal()), OldKey: encryption.NewSecret(e.OldKey.Reveal()),
		KeyFile: e.KeyFile, OldKeyFile: e.OldKeyFile, Pointers: pointers, Log: named(log, "hawser/persistence/encryption"),
	})
}

// publisherOptions says where connection logs are published (contract runtime.md 12.4).
func publisherOptions(c *config.Config, instance func() string, log *slog.Logger) monitor.PublisherOptions {
	p := &c.Publisher
	members := map[string]string{}
	for _, pair := range p.Context {
		name, value, _ := strings.Cut(pair, "=")
		members[name] = value
	}
	return monitor.PublisherOptions{
		Host: p.Host, Port: p.Port, TLS: p.TLS, Tag: p.Tag, Levels: p.Levels, Details: p.Details, Context: members, Instance: instance,
		ConnectTimeout: p.Connect, ReadTimeout: p.ReadTimeout, Ack: p.Ack, MaxBuffer: int(p.MaxBuffer), Retries: p.Retries,
		RetryBase: p.RetryBase, RetryMax: p.RetryMax, Flush: p.Flush, Log: named(log, "hawser/actors/monitor"),
	}
}

// clusterOptions says how other nodes on the same database reach this one; nil on the embedded store.
func clusterOptions(c *config.Config) (*actors.ClusterOptions, error) {
	if c.Postgres.URL.Empty() {
		return nil, nil
	}
	o := &actors.ClusterOptions{Bind: string(c.Cluster.Address), Advertised: c.Cluster.Advertised}
	files := c.Cluster.TLS
	if files.Cert == "" {
		return o, nil
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("cluster.tls.cert, cluster.tls.key: %w", err)
	}
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("cluster.tls.ca: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cluster.tls.ca: no certificate in %s", files.CA)
	}
	o.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: authorities, ClientCAs: authorities,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
	return o, nil
}

// authorizer says who may receive relayed signals (contract runtime.md 14.2 B).
func authorizer(c *config.Config) signals.Authorizer {
	switch c.Standalone.Authorization {
	case "grants":
		grants := make(signals.Grants, 0, len(c.Standalone.Grants))
		for _, g := range c.Standalone.Grants {
			grants = append(grants, signals.Grant{Namespaces: g.Namespaces, Read: g.Read, Write: g.Write})
		}
		return grants
	case "open":
		return signals.Open{}
	}
	return signals.SharedSubject{}
}
