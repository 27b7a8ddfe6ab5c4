package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run runs the binary to its end with nothing in its environment but env.
func run(t testing.TB, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	cmd.Dir = t.TempDir()
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("hawser %v: %v %v\n%s", args, err, ctx.Err(), problems.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// TestStartRefused: a configuration that is not right stops the start with one line that names the key or the variable and
// shows no secret.
func TestStartRefused(t *testing.T) {
	const secret = "s3cret-of-the-start"
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, row := range map[string]struct {
		env   []string
		args  []string
		names []string
	}{
		"unknown variable":    {[]string{"HAWSER_HTPP_ADDRESS=127.0.0.1:1"}, nil, []string{"HAWSER_HTPP_ADDRESS", "HAWSER_HTTP_ADDRESS"}},
		"bad value":           {[]string{"CONNECTION_SOURCE_NUMBER=many"}, nil, []string{"CONNECTION_SOURCE_NUMBER", "connection.max-source-number", "many"}},
		"bad duration":        {[]string{"CONNECTIVITY_CLIENT_MIN_BACKOFF=soon"}, nil, []string{"client.min-backoff", "soon"}},
		"lease out of bounds": {[]string{"HAWSER_LEASE_TTL=1s"}, nil, []string{"HAWSER_LEASE_TTL", "3s"}},
		"unknown key in file": {[]string{"HAWSER_CONFIG=" + file("unknown.yaml", "devops:\n  pasword: "+secret+"\n")}, nil, []string{"devops.pasword", "devops.password"}},
		"broken file":         {nil, []string{"--config", file("broken.yaml", secret+": {\n")}, []string{"broken.yaml"}},
		"missing file":        {nil, []string{"--config", filepath.Join(dir, "none.yaml")}, []string{"none.yaml"}},
		"unknown flag":        {nil, []string{"-Dno.such=" + secret}, []string{"no.such"}},
		"reachable without password": {[]string{"HAWSER_HTTP_ADDRESS=0.0.0.0:0"}, nil,
			[]string{"http.address", "0.0.0.0", "DEVOPS_PASSWORD"}},
		"reachable with bad switch": {[]string{"HAWSER_HTTP_ADDRESS=0.0.0.0:0", "DEVOPS_PASSWORD=" + secret, "DEVOPS_SECURED=" + "perhaps"}, nil, []string{"DEVOPS_SECURED"}},
		"bad database URL":          {[]string{"HAWSER_POSTGRES_URL=nonsense://u:" + secret + "@h:port/d"}, nil, []string{"postgres"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			free := []string{"HAWSER_MANAGEMENT_ADDRESS=127.0.0.1:0", "HAWSER_METRICS_ADDRESS=127.0.0.1:0", "HAWSER_DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error"}
			if !strings.HasPrefix(name, "reachable") {
				free = append(free, "HAWSER_HTTP_ADDRESS=127.0.0.1:0")
			}
			code, stdout, stderr := run(t, append(free, row.env...), append([]string{"serve"}, row.args...)...)
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Fatalf("exit code %d, want 1 and one line\n%s%s", code, stdout, stderr)
			}
			for _, n := range row.names {
				if !strings.Contains(stderr, n) {
					t.Errorf("%q is not named: %s", n, stderr)
				}
			}
			if strings.Contains(stderr, secret) {
				t.Errorf("a secret shows: %s", stderr)
			}
		})
	}
}

// TestConfigCommands: what an operator sees of the configuration.
func TestConfigCommands(t *testing.T) {
	const secret = "s3cret-of-the-config"
	file := filepath.Join(t.TempDir(), "hawser.yaml")
	content := "connection:\n  max-source-number: 5\n  max-target-number: 6\nclient:\n  min-backoff: 7s\npostgres:\n  url: postgres://u:" + secret + "@h/d\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HAWSER_CONFIG=" + file, "CONNECTION_TARGET_NUMBER=8", "CONNECTIVITY_CLIENT_MIN_BACKOFF=9s", "DEVOPS_PASSWORD=" + secret, "STATUS_PASSWORD=" + secret}

	code, stdout, stderr := run(t, env, "config", "print", "-Dclient.min-backoff=10s")
	if code != 0 || stderr != "" || strings.Contains(stdout, secret) || strings.Count(stdout, "*****") != 3 {
		t.Fatalf("print: exit code %d %s\n%s", code, stderr, stdout)
	}
	for setting, origin := range map[string]string{
		"connection.max-source-number: 5": "file", "connection.max-target-number: 8": "CONNECTION_TARGET_NUMBER", "client.min-backoff: 10s": "-D", "client.max-backoff: 1h": "default",
	} {
		if !slices.ContainsFunc(strings.Split(stdout, "\n"), func(l string) bool { return strings.HasPrefix(l, setting+" ") && strings.HasSuffix(l, "# "+origin) }) {
			t.Errorf("print does not show %q from %s:\n%s", setting, origin, stdout)
		}
	}

	if code, stdout, stderr := run(t, env, "config", "check"); code != 0 || stderr != "" || strings.Contains(stdout, secret) {
		t.Errorf("check: exit code %d %s %s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, append(env, "HAWSER_NO_SUCH=1", "CONNECTION_SOURCE_NUMBER=x", "LOG_LEVEL="+"y"), "config", "check")
	if code != 1 || strings.Contains(stdout, secret) {
		t.Errorf("check of what is wrong: exit code %d", code)
	}
	for _, name := range []string{"HAWSER_NO_SUCH", "CONNECTION_SOURCE_NUMBER", "LOG_LEVEL"} {
		if strings.Count(stdout, name) != 1 {
			t.Errorf("check does not name %s once:\n%s", name, stdout)
		}
	}

	if code, stdout, _ := run(t, nil, "config", "doc"); code != 0 || !strings.Contains(stdout, "| `HAWSER_POSTGRES_URL` |") || !strings.Contains(stdout, "| `client.min-backoff` |") {
		t.Errorf("doc: exit code %d\n%s", code, stdout)
	}
	if code, stdout, _ := run(t, nil, "version"); code != 0 || !strings.HasPrefix(stdout, "hawser ") {
		t.Errorf("version: exit code %d %s", code, stdout)
	}
}

// TestAddressInUse: a second node at the same address says so in one line, and the first one does not notice.
func TestAddressInUse(t *testing.T) {
	n := startNode(t, sqliteStore(t))
	for variable, address := range map[string]string{"HAWSER_HTTP_ADDRESS": n.http, "HAWSER_MANAGEMENT_ADDRESS": n.mgmt, "HAWSER_METRICS_ADDRESS": n.metrics} {
		env := append([]string{"HAWSER_HTTP_ADDRESS=127.0.0.1:0", "HAWSER_MANAGEMENT_ADDRESS=127.0.0.1:0", "HAWSER_METRICS_ADDRESS=127.0.0.1:0",
			"HAWSER_DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error"}, variable+"="+address)
		code, _, stderr := run(t, env, "serve")
		if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, address+" is in use") {
			t.Errorf("%s: exit code %d: %s", variable, code, stderr)
		}
	}
	if got := n.ids(); len(got) != 0 {
		t.Fatal(got)
	}
}

// TestDataDirInUse: the embedded store has one process (decision O1).
func TestDataDirInUse(t *testing.T) {
	env := sqliteStore(t)
	n := startNode(t, env)
	code, _, stderr := run(t, append([]string{"HAWSER_HTTP_ADDRESS=127.0.0.1:0", "HAWSER_MANAGEMENT_ADDRESS=127.0.0.1:0", "HAWSER_METRICS_ADDRESS=127.0.0.1:0", "LOG_LEVEL=error"}, env...), "serve")
	if code != 1 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	wantStatus(t, n.command(with("createConnection", mqttConnection("still", "tcp://127.0.0.1:1", "closed"))), 201)
}

// TestStartWithoutDatabase: while the database is away a starting node is alive, not ready, refuses commands in the
// contract's shape (D18), and ends in order when told to.
func TestStartWithoutDatabase(t *testing.T) {
	n := newNode(t, []string{"HAWSER_POSTGRES_URL=postgres://nobody:" + password + "@" + freePorts(t, 1)[0] + "/none", "HAWSER_DATA_DIR=" + t.TempDir()})
	n.launch()
	eventually(t, 10*time.Second, "it answers", func() error {
		resp, err := http.Get("http://" + n.mgmt + "/alive")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/alive: %d", resp.StatusCode)
		}
		return nil
	})
	if status, _ := get(t, "http://"+n.mgmt+"/ready"); status != 500 {
		t.Errorf("/ready: %d", status)
	}
	eventually(t, 10*time.Second, "commands are refused", func() error {
		a, err := n.try(http.MethodPost, "/devops/piggyback", envelope(shardRegion, nil, on("retrieveConnection", "x")))
		if err != nil {
			return err
		}
		if a.status != 503 {
			return fmt.Errorf("HTTP %d %s", a.status, a.body)
		}
		wantError(t, a.object(t), 503, "gateway:service.unavailable")
		return nil
	})
	for _, r := range []struct{ method, path, body string }{
		{"GET", api, ""}, {"GET", api + "?ids-only=true", ""}, {"POST", api, show(minimal("tcp://h:1"))}, {"POST", api + "?dry-run=true", show(minimal("tcp://h:1"))},
		{"GET", api + "/x", ""}, {"PUT", api + "/x", show(minimal("tcp://h:1"))}, {"DELETE", api + "/x", ""}, {"GET", api + "/x/status", ""},
		{"GET", api + "/x/metrics", ""}, {"GET", api + "/x/logs", ""},
	} {
		n.rest(r.method, r.path, r.body).refused(t, 503, "gateway:service.unavailable")
	}
	n.rest("POST", api+"/x/command", "connectivity.commands:openConnection", header("Content-Type", textBody)).refused(t, 503, "gateway:service.unavailable")
	for _, path := range []string{"/devops/logging", "/devops/config", "/status", "/stats/things/details", "/api/2/openapi.json"} {
		n.rest("GET", path, nil).want(t, 200)
	}
	n.stop()
	if strings.Contains(n.log.String(), password) {
		t.Error("the log shows the password of the database")
	}
}

// TestSignals: Ctrl-C is as good as SIGTERM.
func TestSignals(t *testing.T) {
	n := startNode(t, sqliteStore(t))
	_ = n.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-n.exited:
	case <-time.After(40 * time.Second):
		t.Fatal("still running")
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
}
