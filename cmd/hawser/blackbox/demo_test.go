package blackbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo is what `make demo` shows: it relays within seconds, its curls do what they say, Ctrl-C ends it, and nothing
// stays behind. The environment of a real service does not concern it.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	out, problems := &lockedBuffer{}, &lockedBuffer{}
	cmd := exec.Command(binary, "demo")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + dir,
		"HAWSER_POSTGRES_URL=postgres://nobody@127.0.0.1:1/none", "DEVOPS_PASSWORD=of-the-real-one"}
	cmd.Stdout, cmd.Stderr = out, problems
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("demo:\n%s\n%s", out, problems)
		}
	})
	arrived := regexp.MustCompile(`(?m)^\S+\s+arrived\s+erp/pump-\d .*"speed":\d+`)
	eventually(t, 30*time.Second, "two messages arrive", func() error {
		select {
		case <-exited:
			t.Fatalf("the demo ended: %s", problems)
		default:
		}
		if n := len(arrived.FindAllString(out.String(), -1)); n < 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})

	curls := regexp.MustCompile(`curl -sS -u (\S+):(\S+) (\S+) -d '([^']*)'`).FindAllStringSubmatch(out.String(), -1)
	if len(curls) != 5 {
		t.Fatalf("%d curls, want create, create, open, open, status", len(curls))
	}
	want := []string{"connectivity:connection.conflict", "connectivity:connection.conflict", "connectivity.responses:openConnection", "connectivity.responses:openConnection", `"liveStatus":"open"`}
	for i, c := range curls {
		answers := map[string]string{"as a request": post(t, c[3], c[1], c[2], c[4])}
		if _, err := exec.LookPath("curl"); err == nil { // its absence is no failure of the demo; the line above has the same content
			b, err := exec.Command("sh", "-c", c[0]).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v", c[0], err)
			}
			answers["as curl"] = string(b)
		}
		for how, answer := range answers {
			if !strings.Contains(answer, want[i]) {
				t.Errorf("%s %s: %s, want %s", c[4], how, answer, want[i])
			}
		}
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		t.Fatal("Ctrl-C does not end it")
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if problems.String() != "" {
		t.Errorf("said on standard error: %s", problems)
	}
}

func post(t *testing.T, url, user, password, body string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !json.Valid(b) {
		t.Fatalf("HTTP %d %s %v", resp.StatusCode, b, err)
	}
	return string(b)
}
