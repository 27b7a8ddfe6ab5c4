package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func host() (string, error) { return "this-host", nil }

// load reads a file's content, an environment and flags as a node does.
func load(t testing.TB, yaml string, environ []string, flags map[string]string) (*Loaded, error) {
	t.Helper()
	s := Sources{Environ: environ, Flags: flags, Hostname: host}
	if yaml != "" {
		s.File = filepath.Join(t.TempDir(), "hawser.yaml")
		if err := os.WriteFile(s.File, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(s)
}

func good(t testing.TB, yaml string, environ []string, flags map[string]string) *Loaded {
	t.Helper()
	l, err := load(t, yaml, environ, flags)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestDefaults compares the defaults with the contract: operations.md 8, piggyback.md 5.4, decisions O1, O8–O10, D9, D13.
func TestDefaults(t *testing.T) {
	c := good(t, "", nil, nil)
	for name, pair := range map[string][2]any{
		"http":          {c.HTTP.Address, Address("127.0.0.1:8080")},
		"metrics":       {c.Metrics.Address, Address("127.0.0.1:9095")},
		"management":    {c.Management.Address, Address("127.0.0.1:7626")},
		"cluster":       {c.Cluster.Address, Address("127.0.0.1:2551")},
		"body":          {c.HTTP.MaxBody, Size(1 << 20)},
		"idle":          {c.HTTP.IdleTimeout, 610 * time.Second},
		"request":       {c.HTTP.RequestTimeout, time.Minute},
		"maximum":       {c.HTTP.MaxTimeout, time.Minute},
		"shards":        {c.Cluster.Shards, 64},
		"lease":         {c.Cluster.LeaseTTL, 5 * time.Second},
		"password":      {c.DevOps.Password.Reveal(), "foobar"},
		"status":        {c.DevOps.StatusPassword.Reveal(), "status"},
		"secured":       {c.DevOps.Secured, true},
		"data":          {c.DataDir, "./data"},
		"postgres":      {c.Postgres.URL.Empty(), true},
		"instance":      {c.Instance, "this-host"},
		"sources":       {c.Connection.MaxSources, 4},
		"targets":       {c.Connection.MaxTargets, 4},
		"ask":           {c.Connection.ClientAskTimeout, 55 * time.Second},
		"inactive":      {c.Connection.InactiveInterval, 45 * time.Minute},
		"snapshot":      {c.Connection.SnapshotInterval, 15 * time.Minute},
		"threshold":     {c.Connection.SnapshotEvents, 10},
		"headers":       {len(c.Connection.HistoricalHeader), 0},
		"allowed":       {fmt.Sprint(c.Connection.AllowedHostnames), "[hono-endpoint]"},
		"min backoff":   {c.Client.BackoffMin, 5 * time.Second},
		"max backoff":   {c.Client.BackoffMax, time.Hour},
		"connecting":    {c.Client.ConnectingMin, 50 * time.Second},
		"tries":         {c.Client.ConnectingTries, 50},
		"testing":       {c.Client.TestingTimeout, 10 * time.Second},
		"queue":         {c.Connection.MQTT.MaxQueue, 1000},
		"redelivery":    {c.Connection.MQTT.RedeliverDelay, 10 * time.Second},
		"log capacity":  {c.Logger.SuccessCapacity, 10},
		"log size":      {c.Logger.MaxLogSize, Size(250_000)},
		"log duration":  {c.Logger.LogDuration, 24 * time.Hour},
		"mappers":       {c.Mapping.SourceMappers, 10},
		"script":        {fmt.Sprint(c.Mapping.MaxScript, c.Mapping.ScriptTime, c.Mapping.ScriptDepth, c.Mapping.UnsafeScripts, c.Mapping.Pool), "50000 500ms 25 false 5"},
		"message":       {c.Limits.MessageSize, Size(250 << 10)},
		"reconnect":     {c.Reconnect.Entities, 500},
		"authorization": {c.Standalone.Authorization, "shared-subject"},
		"grants":        {len(c.Standalone.Grants), 0},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v, want %v", name, pair[0], pair[1])
		}
	}
}

// TestPrecedence: flag > environment > file > default.
func TestPrecedence(t *testing.T) {
	const yaml = "connection:\n  max-source-number: 5\n  max-target-number: 6\nclient.min-backoff: 1s\n"
	env := []string{"CONNECTION_TARGET_NUMBER=7", "CONNECTIVITY_CLIENT_MIN_BACKOFF=2s"}
	l := good(t, yaml, env, map[string]string{"client.min-backoff": "3s"})
	if l.Connection.MaxSources != 5 || l.Connection.MaxTargets != 7 || l.Client.BackoffMin != 3*time.Second || l.Client.BackoffMax != time.Hour {
		t.Errorf("%d %d %v %v", l.Connection.MaxSources, l.Connection.MaxTargets, l.Client.BackoffMin, l.Client.BackoffMax)
	}
	for key, want := range map[string]string{
		"connection.max-source-number": "file", "connection.max-target-number": "CONNECTION_TARGET_NUMBER", "client.min-backoff": "-D", "client.max-backoff": "default",
	} {
		if l.Origins[key] != want {
			t.Errorf("%s comes from %q, want %q", key, l.Origins[key], want)
		}
	}
}

// TestFileVariable: HAWSER_CONFIG names the file, the flag wins.
func TestFileVariable(t *testing.T) {
	dir := t.TempDir()
	for name, shards := range map[string]string{"env.yaml": "8", "flag.yaml": "16"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("cluster:\n  number-of-shards: "+shards), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{FileVariable + "=" + filepath.Join(dir, "env.yaml")}
	for file, want := range map[string]int{"": 8, filepath.Join(dir, "flag.yaml"): 16} {
		l, err := Load(Sources{File: file, Environ: env, Hostname: host})
		if err != nil || l.Cluster.Shards != want {
			t.Errorf("%q: %d %v, want %d", file, l.Cluster.Shards, err, want)
		}
	}
}

// TestAddresses is decision O9.
func TestAddresses(t *testing.T) {
	for _, row := range []struct {
		name                               string
		env                                []string
		http, metrics, management, cluster Address
	}{
		{"HTTP_PORT", []string{"HTTP_PORT=81"}, "127.0.0.1:81", "127.0.0.1:9095", "127.0.0.1:7626", "127.0.0.1:2551"},
		{"PORT over HTTP_PORT", []string{"PORT=82", "HTTP_PORT=81"}, "127.0.0.1:82", "127.0.0.1:9095", "127.0.0.1:7626", "127.0.0.1:2551"},
		{"BIND_HOSTNAME", []string{"BIND_HOSTNAME=::1"}, "[::1]:8080", "[::1]:9095", "[::1]:7626", "[::1]:2551"},
		{"PROMETHEUS_HOSTNAME", []string{"BIND_HOSTNAME=127.0.0.2", "PROMETHEUS_HOSTNAME=127.0.0.3", "PROMETHEUS_PORT=90"},
			"127.0.0.2:8080", "127.0.0.3:90", "127.0.0.2:7626", "127.0.0.2:2551"},
		{"BIND_REMOTE_PORT over REMOTE_PORT", []string{"BIND_REMOTE_PORT=3", "REMOTE_PORT=2"}, "127.0.0.1:8080", "127.0.0.1:9095", "127.0.0.1:7626", "127.0.0.1:3"},
		{"HAWSER_… over all", []string{"HAWSER_HTTP_ADDRESS=127.0.0.9:1", "HAWSER_METRICS_ADDRESS=127.0.0.9:2", "HAWSER_MANAGEMENT_ADDRESS=127.0.0.9:3",
			"HAWSER_CLUSTER_ADDRESS=127.0.0.9:4", "BIND_HOSTNAME=10.0.0.1", "PORT=9", "PROMETHEUS_PORT=9", "REMOTE_PORT=9"},
			"127.0.0.9:1", "127.0.0.9:2", "127.0.0.9:3", "127.0.0.9:4"},
		{"HOSTNAME is no address", []string{"HOSTNAME=10.0.0.1"}, "127.0.0.1:8080", "127.0.0.1:9095", "127.0.0.1:7626", "127.0.0.1:2551"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := good(t, "", row.env, nil)
			for name, pair := range map[string][2]Address{"http": {c.HTTP.Address, row.http}, "metrics": {c.Metrics.Address, row.metrics},
				"management": {c.Management.Address, row.management}, "cluster": {c.Cluster.Address, row.cluster}} {
				if pair[0] != pair[1] {
					t.Errorf("%s: %s, want %s", name, pair[0], pair[1])
				}
			}
		})
	}
	if c := good(t, "http:\n  address: 127.0.0.1:1000\n", []string{"PORT=2000"}, nil); c.HTTP.Address != "127.0.0.1:2000" {
		t.Errorf("a variable over the file: %s", c.HTTP.Address)
	}
}

// TestInstance is decision O8 as far as one node can tell.
func TestInstance(t *testing.T) {
	for want, env := range map[string][]string{
		"7": {"INSTANCE_INDEX=7", "HOSTNAME=pod"}, "pod": {"HOSTNAME=pod"}, "this-host": nil,
	} {
		if c := good(t, "", env, nil); c.Instance != want {
			t.Errorf("%v: %q, want %q", env, c.Instance, want)
		}
	}
}

// TestReach is the rest of decision O9: beyond loopback somebody must have chosen a password. Between nodes it is TLS, or
// plaintext by name.
func TestReach(t *testing.T) {
	const database = "HAWSER_POSTGRES_URL=postgres://h/d"
	for name, row := range map[string]struct {
		env     []string
		refused string // key, "" when it is allowed
	}{
		"all interfaces":                 {[]string{"HAWSER_HTTP_ADDRESS=:8080"}, "http.address"},
		"any":                            {[]string{"BIND_HOSTNAME=0.0.0.0"}, "http.address"},
		"a name":                         {[]string{"HAWSER_HTTP_ADDRESS=example.org:80"}, "http.address"},
		"metrics":                        {[]string{"PROMETHEUS_HOSTNAME=0.0.0.0"}, "metrics.address"},
		"metrics off":                    {[]string{"PROMETHEUS_HOSTNAME=0.0.0.0", "PROMETHEUS_ENABLED=false"}, ""},
		"management":                     {[]string{"HAWSER_MANAGEMENT_ADDRESS=192.168.0.1:1"}, "management.address"},
		"cluster":                        {[]string{"HAWSER_CLUSTER_ADDRESS=[::]:1", database, "HAWSER_CLUSTER_PLAINTEXT=true"}, "cluster.address"},
		"cluster is not opened":          {[]string{"HAWSER_CLUSTER_ADDRESS=[::]:1"}, ""},
		"cluster in plaintext":           {[]string{"HAWSER_CLUSTER_ADDRESS=10.1.1.1:1", database, "DEVOPS_PASSWORD=x"}, "cluster.address"},
		"cluster by name":                {[]string{"HAWSER_CLUSTER_ADDRESS=10.1.1.1:1", database, "DEVOPS_PASSWORD=x", "HAWSER_CLUSTER_PLAINTEXT=true"}, ""},
		"cluster everywhere":             {[]string{"HAWSER_CLUSTER_ADDRESS=0.0.0.0:1", database, "DEVOPS_PASSWORD=x", "HAWSER_CLUSTER_PLAINTEXT=true"}, "cluster.address"},
		"cluster, where to dial":         {[]string{"HAWSER_CLUSTER_ADDRESS=:1", database, "DEVOPS_PASSWORD=x", "HAWSER_CLUSTER_PLAINTEXT=true", "HAWSER_CLUSTER_ADVERTISED=node-1:1"}, ""},
		"cluster with TLS":               {[]string{"HAWSER_CLUSTER_ADDRESS=10.1.1.1:1", database, "DEVOPS_PASSWORD=x", "HAWSER_CLUSTER_TLS_CERT=a", "HAWSER_CLUSTER_TLS_KEY=b", "HAWSER_CLUSTER_TLS_CA=c"}, ""},
		"half of TLS":                    {[]string{database, "HAWSER_CLUSTER_TLS_CERT=a", "HAWSER_CLUSTER_TLS_CA=c"}, "cluster.tls.cert"},
		"with password":                  {[]string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_PASSWORD=x"}, ""},
		"the default, but set":           {[]string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_PASSWORD=foobar"}, ""},
		"switched off":                   {[]string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_SECURED=false"}, ""},
		"tokens only":                    {[]string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_AUTHENTICATION_METHOD=oauth2", "STATUS_AUTHENTICATION_METHOD=oauth2", "HAWSER_DEVOPS_OAUTH2_ISSUERS=ops=id.example.com"}, ""},
		"tokens, but not for the status": {[]string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_AUTHENTICATION_METHOD=oauth2", "HAWSER_DEVOPS_OAUTH2_ISSUERS=ops=id.example.com"}, "http.address"},
		"empty password":                 {[]string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_PASSWORD="}, "devops.password"},
		"localhost":                      {[]string{"BIND_HOSTNAME=localhost"}, ""},
		"other loopback":                 {[]string{"BIND_HOSTNAME=127.1.2.3"}, ""},
		"loopback of version 6":          {[]string{"BIND_HOSTNAME=[::1]"}, ""},
		"mapped":                         {[]string{"HAWSER_HTTP_ADDRESS=[::ffff:127.0.0.1]:1"}, ""},
		"looks like, but is not":         {[]string{"HAWSER_HTTP_ADDRESS=127.0.0.1.example.org:1"}, "http.address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, "", row.env, nil)
			var p Problems
			switch {
			case row.refused == "" && err != nil:
				t.Fatal(err)
			case row.refused != "" && (!errors.As(err, &p) || p[0].Key != row.refused):
				t.Fatalf("%v, want a problem with %s", err, row.refused)
			}
		})
	}
}

// TestPasswordFiles: a file gives a password and makes it one that somebody chose.
func TestPasswordFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("fr0m a file \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := good(t, "", []string{"BIND_HOSTNAME=0.0.0.0", "DEVOPS_PASSWORD_FILE=" + file, "STATUS_PASSWORD=x", "STATUS_PASSWORD_FILE=" + file}, nil)
	if l.DevOps.Password.Reveal() != "fr0m a file " || l.DevOps.StatusPassword.Reveal() != "fr0m a file " || l.Origins["devops.password"] != "devops.password-file" {
		t.Errorf("%q %q %v", l.DevOps.Password.Reveal(), l.DevOps.StatusPassword.Reveal(), l.Origins["devops.password"])
	}
	var p Problems
	if _, err := load(t, "", []string{"DEVOPS_PASSWORD_FILE=" + file + "x"}, nil); !errors.As(err, &p) || p[0].Key != "devops.password-file" {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, "", []string{"DEVOPS_PASSWORD_FILE=" + file}, nil); !errors.As(err, &p) || p[0].Key != "devops.password" {
		t.Errorf("empty: %v", err)
	}
}

// TestProblems: what is unknown or unreadable is named with its place, in one line, and no secret shows.
func TestProblems(t *testing.T) {
	const secret = "s3cret-value"
	for _, row := range []struct {
		name, yaml string
		env        []string
		flags      map[string]string
		names      []string
	}{
		{"unknown key", "conection:\n  max-source-number: 4\n", nil, nil, []string{"conection.max-source-number", "hawser.yaml", "connection.max-source-number?"}},
		{"unknown section", "nosuch:\n", nil, nil, []string{"nosuch", "hawser.yaml"}},
		{"key without value", "devops:\n  secured:\n", nil, nil, []string{"devops.secured", "file", "has no value"}},
		{"section where a value belongs", "instance:\n  a: 1\n", nil, nil, []string{"instance.a"}},
		{"value where a section belongs", "devops: " + secret + "\n", nil, nil, []string{"devops"}},
		{"list where a value belongs", "instance: [a, b]\n", nil, nil, []string{"instance", "no single value"}},
		{"no YAML", "a: 1\nb: {\n", nil, nil, []string{"hawser.yaml", "is no YAML", "line "}},
		{"a text as YAML", secret, nil, nil, []string{"hawser.yaml", "is no YAML"}},
		{"unknown variable", "", []string{"HAWSER_HTTP_ADRESS=x"}, nil, []string{"HAWSER_HTTP_ADRESS", "HAWSER_HTTP_ADDRESS?"}},
		{"unknown flag", "", nil, map[string]string{"http.adress": "x"}, []string{"http.adress", "-D", "http.address?"}},
		{"no number", "", []string{"CONNECTION_SOURCE_NUMBER=four"}, nil, []string{"connection.max-source-number", "CONNECTION_SOURCE_NUMBER", `"four"`}},
		{"empty number", "", []string{"CONNECTION_SOURCE_NUMBER="}, nil, []string{"CONNECTION_SOURCE_NUMBER", `""`}},
		{"negative", "", []string{"CONNECTION_SOURCE_NUMBER=-1"}, nil, []string{"CONNECTION_SOURCE_NUMBER", "at least 1"}},
		{"no duration", "", []string{"CONNECTIVITY_CLIENT_MIN_BACKOFF=5x"}, nil, []string{"CONNECTIVITY_CLIENT_MIN_BACKOFF", `"5x"`}},
		{"no boolean", "", []string{"DEVOPS_SECURED=maybe"}, nil, []string{"DEVOPS_SECURED", `"maybe"`}},
		{"no size", "", []string{"LIMITS_MESSAGES_MAX_SIZE=big"}, nil, []string{"LIMITS_MESSAGES_MAX_SIZE", `"big"`}},
		{"no port", "", []string{"PORT=http"}, nil, []string{"http.address", "PORT", "port between"}},
		{"port too large", "", []string{"HAWSER_HTTP_ADDRESS=127.0.0.1:65536"}, nil, []string{"HAWSER_HTTP_ADDRESS", "port between"}},
		{"no address", "", []string{"HAWSER_HTTP_ADDRESS=8080"}, nil, []string{"HAWSER_HTTP_ADDRESS", `"8080"`}},
		{"lease too short", "", []string{"HAWSER_LEASE_TTL=2s"}, nil, []string{"HAWSER_LEASE_TTL", "at least 3s"}},
		{"lease too long", "", []string{"HAWSER_LEASE_TTL=61s"}, nil, []string{"HAWSER_LEASE_TTL", "at most 60s"}},
		{"method not there", "", []string{"DEVOPS_AUTHENTICATION_METHOD=digest"}, nil, []string{"DEVOPS_AUTHENTICATION_METHOD", "basic"}},
		{"no issuers", "", []string{"DEVOPS_AUTHENTICATION_METHOD=oauth2"}, nil, []string{"devops.oauth.openid-connect-issuers"}},
		{"no issuers of the status", "", []string{"STATUS_AUTHENTICATION_METHOD=oauth2"}, nil, []string{"devops.oauth.openid-connect-issuers"}},
		{"issuer without name", "", []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS=id.example.com"}, nil, []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS", "ops=id.example.com"}},
		{"issuer with protocol", "", []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS=ops=https://id.example.com"}, nil, []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS", "ops=id.example.com"}},
		{"issuers of one name", "", []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS=ops=a.example,ops=b.example"}, nil, []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS", "ops", "twice"}},
		{"names of one issuer", "", []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS=ops=a.example,dev=a.example"}, nil, []string{"HAWSER_DEVOPS_OAUTH2_ISSUERS", "dev", "twice"}},
		{"log level", "", []string{"LOG_LEVEL=loud"}, nil, []string{"LOG_LEVEL", "warn"}},
		{"subnet", "", []string{"CONNECTIVITY_CONNECTION_BLOCKED_SUBNETS=10.0.0.0"}, nil, []string{"connection.blocked-subnets"}},
		{"modules of scripts", "", []string{"CONNECTIVITY_MESSAGE_MAPPING_JS_COMMON_JS_MODULE_PATH=/x"}, nil, []string{"mapping.javascript.commonJsModulePath", "CONNECTIVITY_MESSAGE_MAPPING_JS_COMMON_JS_MODULE_PATH", "require"}},
		{"time of scripts", "", []string{"CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_EXECUTION_TIME=0"}, nil, []string{"CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_EXECUTION_TIME"}},
		{"expression", "", []string{"CONNECTIVITY_CONNECTION_BLOCKED_HOST_REGEX=("}, nil, []string{"connection.blocked-host-regex"}},
		{"order", "", []string{"CONNECTIVITY_CLIENT_MIN_BACKOFF=2h"}, nil, []string{"client.min-backoff", "client.max-backoff"}},
		{"grants", "", []string{`HAWSER_STANDALONE_GRANTS=[{"namespace":["a"]}]`}, nil, []string{"HAWSER_STANDALONE_GRANTS"}},
		{"authorization", "standalone:\n  authorization: anybody\n", nil, nil, []string{"standalone.authorization", "shared-subject"}},
		{"empty instance", "", []string{"INSTANCE_INDEX="}, nil, []string{"instance", "INSTANCE_INDEX"}},
		{"a secret as a list", "devops:\n  password: [" + secret + "]\n", nil, nil, []string{"devops.password", "no single value"}},
		{"a secret in the wrong place", "postgres: postgres://u:" + secret + "@h/d\n", nil, nil, []string{"postgres"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := load(t, row.yaml, row.env, row.flags)
			if err == nil {
				t.Fatal("accepted")
			}
			text := err.Error()
			for _, name := range row.names {
				if !strings.Contains(text, name) {
					t.Errorf("%q is not named in: %s", name, text)
				}
			}
			if strings.Contains(text, "\n") || strings.Contains(text, secret) {
				t.Errorf("not one line without secrets: %s", text)
			}
		})
	}
}

// TestProblemsTogether: all are found, and the one line says how many more there are.
func TestProblemsTogether(t *testing.T) {
	_, err := load(t, "a: 1\n", []string{"HAWSER_B=1", "DEVOPS_SECURED=x", "LOG_LEVEL=y"}, map[string]string{"c": "1"})
	var p Problems
	if !errors.As(err, &p) || len(p) != 5 || !strings.Contains(err.Error(), "and 4 more") {
		t.Fatalf("%v: %v", p, err)
	}
}

// TestForeignVariables: what is not ours is nobody's business (operations.md 8.4).
func TestForeignVariables(t *testing.T) {
	good(t, "", []string{"MONGO_DB_URI=x", "PEKKO_X=1", "PATH=/bin", "HAWSER_TEST_POSTGRES_URL=postgres://x", "WITHOUT_VALUE"}, nil)
}

// TestMissingFile: a file that was named must be there.
func TestMissingFile(t *testing.T) {
	_, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.yaml"), Hostname: host})
	if err == nil || !strings.Contains(err.Error(), "none.yaml") || !strings.Contains(err.Error(), "no such file") {
		t.Fatal(err)
	}
}

// TestValues: how values are written (operations.md 8).
func TestValues(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "5m": 5 * time.Minute, "250ms": 250 * time.Millisecond, "1d": 24 * time.Hour, "1500": 1500 * time.Millisecond,
		"0": 0, "1.5s": 1500 * time.Millisecond, " 2 h ": 2 * time.Hour, "30 seconds": 30 * time.Second, "7us": 7 * time.Microsecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("duration %q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "1x", "1 2s", "1h30m", "ten", "0x10", "1e3", "NaN", "Inf", "999999999999d", "--1s", "1..2s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("duration %q: %v, want an error", text, got)
		}
	}
	for text, want := range map[string]Size{"250000": 250_000, "250k": 250 << 10, "256 KiB": 256 << 10, "1m": 1 << 20, "1M": 1 << 20, "2kB": 2000, "0": 0} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("size %q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "k", "-1", "1x", "1e9", "99999999999g"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("size %q: %v, want an error", text, got)
		}
	}
	l := good(t, `
connection:
  blocked-hostnames: [a, " b "]
  blocked-subnets: 10.0.0.0/8, 192.168.0.0/16
  snapshot: {interval: 1000, threshold: 3}
standalone:
  authorization: GRANTS
  grants:
    - {namespaces: [acme.*], read: [s1], write: [s2]}
log: {level: WARN}
devops: {secured: yes}
`, []string{"CONNECTIVITY_CONNECTION_ALLOWED_HOSTNAMES="}, nil)
	if got := fmt.Sprintln(l.Connection.BlockedHostnames, l.Connection.BlockedSubnets, l.Connection.SnapshotInterval, l.Connection.SnapshotEvents,
		l.Standalone.Authorization, l.Standalone.Grants, l.Log.Level, l.DevOps.Secured, len(l.Connection.AllowedHostnames)); got !=
		"[a b] [10.0.0.0/8 192.168.0.0/16] 1s 3 grants [{[acme.*] [s1] [s2]}] warn true 0\n" {
		t.Error(got)
	}
	l = good(t, "", []string{`HAWSER_STANDALONE_GRANTS=[{"namespaces":["a"],"read":["b"]}]`}, nil)
	if got := fmt.Sprint(l.Standalone.Grants); got != "[{[a] [b] []}]" {
		t.Error(got)
	}
}

// TestSecret: however it is printed, it does not show.
func TestSecret(t *testing.T) {
	const text = "hush"
	s := NewSecret(text)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "all", struct{ S Secret }{s}, "list", []Secret{s})
	marshalled, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %q %x %d %v %+v", s, s, s, s, s, s, s, struct{ S Secret }{s}, &struct{ S Secret }{s}) + log.String() + string(marshalled)
	if strings.Contains(shown, text) || strings.Contains(shown, "68757368") || !strings.Contains(shown, "*****") {
		t.Fatal(shown)
	}
	if s.Reveal() != text || NewSecret("").String() != "" {
		t.Fatal("lost")
	}
}

// TestPrint: the output is a configuration file with the same meaning, except for the secrets, which are masked.
func TestPrint(t *testing.T) {
	const secret = "hush-hush"
	env := []string{"DEVOPS_PASSWORD=" + secret, "HAWSER_POSTGRES_URL=postgres://u:" + secret + "@h/d", "STATUS_PASSWORD=" + secret,
		"CONNECTIVITY_CLIENT_MIN_BACKOFF=1500", `HAWSER_STANDALONE_GRANTS=[{"namespaces":["a.*"],"read":["b: c # d"]}]`,
		"CONNECTIVITY_CONNECTION_BLOCKED_HOST_REGEX=a\\.b\"c", "BIND_HOSTNAME=::1"}
	l := good(t, "", env, nil)
	var out strings.Builder
	if err := l.Print(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, secret) || strings.Count(text, `"*****"`) != 3 {
		t.Fatalf("secrets are not masked:\n%s", text)
	}
	if !strings.Contains(text, "client.min-backoff: 1500ms") || !strings.Contains(text, "# CONNECTIVITY_CLIENT_MIN_BACKOFF") {
		t.Fatalf("value and origin are not shown:\n%s", text)
	}
	again := good(t, text, []string{"DEVOPS_PASSWORD=" + secret, "HAWSER_POSTGRES_URL=postgres://u:" + secret + "@h/d", "STATUS_PASSWORD=" + secret}, nil)
	if a, b := fmt.Sprintf("%+v", l.Config), fmt.Sprintf("%+v", again.Config); a != b {
		t.Fatalf("read again it differs:\n%s\n%s", a, b)
	}
}

// TestDoc: the table has every key, and every key is documented.
func TestDoc(t *testing.T) {
	var out strings.Builder
	if err := WriteDoc(&out); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, k := range Keys() {
		if !strings.Contains(out.String(), "| `"+k.Name+"` |") || k.Doc == "" || k.Type == "" {
			t.Errorf("%s is not documented: %+v", k.Name, k)
		}
		for _, name := range append(slices.Clone(k.Env), k.Name) {
			if other := seen[name]; other != "" {
				t.Errorf("%s belongs to %s and %s", name, other, k.Name)
			}
			seen[name] = k.Name
		}
	}
	for l := range strings.SplitSeq(out.String(), "\n") {
		if strings.HasPrefix(l, "| `") && strings.Count(strings.ReplaceAll(l, `\|`, ""), "|") != 6 {
			t.Errorf("broken row: %s", l)
		}
	}
}

// FuzzLoad: no file content and no value crashes the loader, and its problems stay one line.
func FuzzLoad(f *testing.F) {
	f.Add("http:\n  address: 127.0.0.1:1\n", "10s")
	f.Add("a: [1, {b: c}]\n", "")
	f.Add("- 1\n- 2\n", "1e400")
	f.Add("standalone.grants: [{read: [1]}]\n", "[")
	f.Fuzz(func(t *testing.T, yaml, value string) {
		_, err := load(t, yaml, []string{"REQUEST_TIMEOUT=" + value, "LIMITS_MESSAGES_MAX_SIZE=" + value, "HAWSER_STANDALONE_GRANTS=" + value, "PORT=" + value}, nil)
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("not one line: %q", err)
		}
	})
}
