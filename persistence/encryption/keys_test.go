package encryption

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// files are two key files in a folder of their own.
type files struct {
	t        testing.TB
	key, old string
}

func newFiles(t testing.TB, key, old string) files {
	f := files{t, filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "old")}
	f.write(f.key, key)
	f.write(f.old, old)
	return f
}

func (f files) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func TestOpenKeys(t *testing.T) {
	f := newFiles(t, k1+"\r\n", k2+"\n")
	empty := newFiles(t, "", "\n")
	bad := newFiles(t, k1[:30], strings.Repeat("A", 5000))
	for _, test := range []struct {
		name     string
		settings Settings
		want     string // part of the error, or the ring that results
	}{
		{"texts", Settings{Enabled: true, Key: NewSecret(k1), OldKey: NewSecret(k2)}, ring(t, true, k1, k2).Fingerprint()},
		{"files", Settings{Enabled: true, KeyFile: f.key, OldKeyFile: f.old}, ring(t, true, k1, k2).Fingerprint()},
		{"one of each", Settings{Enabled: true, Key: NewSecret(k3), OldKeyFile: f.old}, ring(t, true, k3, k2).Fingerprint()},
		{"empty files are no keys", Settings{KeyFile: empty.key, OldKeyFile: empty.old}, ring(t, false, "", "").Fingerprint()},
		{"text and file", Settings{Key: NewSecret(k1), KeyFile: f.key}, KeyVariable + " and " + KeyFileVariable},
		{"old text and file", Settings{OldKey: NewSecret(k1), OldKeyFile: f.key}, OldKeyVariable + " and " + OldKeyFileVariable},
		{"no file", Settings{KeyFile: f.key + "-not-there"}, KeyFileVariable},
		{"bad key in a file", Settings{KeyFile: bad.key}, KeyVariable},
		{"large file", Settings{OldKeyFile: bad.old}, OldKeyFileVariable},
		{"missing", Settings{Enabled: true, KeyFile: empty.key}, "Missing"},
	} {
		keys, err := OpenKeys(test.settings)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = keys.Ring().Fingerprint()
		}
		if !strings.Contains(got, test.want) || strings.Contains(got, k1[:20]) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestReloadRefusesBadKeys(t *testing.T) { // decision D29
	f := newFiles(t, k1, "")
	keys, err := OpenKeys(Settings{Enabled: true, KeyFile: f.key, OldKeyFile: f.old})
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, changes, fails bool, want *Keyring) {
		t.Helper()
		changed, err := keys.Reload()
		if changed != changes || (err != nil) != fails || keys.Ring().Fingerprint() != want.Fingerprint() {
			t.Fatalf("%s: changed %t, error %v, ring %v; want ring %v", what, changed, err, keys.Ring(), want)
		}
	}
	step("nothing", false, false, ring(t, true, k1, ""))
	f.write(f.old, k2)
	step("the next key becomes readable", true, false, ring(t, true, k1, k2))
	f.write(f.key, k2)
	step("half of the exchange", false, true, ring(t, true, k1, k2))
	f.write(f.old, k1)
	step("all of it", true, false, ring(t, true, k2, k1))
	f.write(f.key, "nonsense")
	step("a bad key", false, true, ring(t, true, k2, k1))
	f.write(f.key, "")
	step("no key", false, true, ring(t, true, k2, k1))
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	step("no file", false, true, ring(t, true, k2, k1))
	f.write(f.key, k2)
	f.write(f.old, "")
	step("the rotation is over", true, false, ring(t, true, k2, ""))
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func TestWatch(t *testing.T) {
	f := newFiles(t, k1, "")
	synctest.Test(t, func(t *testing.T) {
		var log lines
		keys, err := OpenKeys(Settings{Enabled: true, KeyFile: f.key, OldKeyFile: f.old, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		hup := make(chan os.Signal)
		ended := make(chan struct{})
		go func() { defer close(ended); keys.Watch(ctx, hup) }()
		want := func(after time.Duration, k *Keyring) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if keys.Ring().Fingerprint() != k.Fingerprint() {
				t.Fatalf("%v later the ring is %v, want %v", after, keys.Ring(), k)
			}
		}
		f.write(f.old, k2)
		want(watchEvery+settle, ring(t, true, k1, k2))

		f.write(f.old, "") // being written in place
		want(watchEvery, ring(t, true, k1, k2))
		f.write(f.old, k3)
		want(2*settle, ring(t, true, k1, k3))

		f.write(f.key, "nonsense")
		want(3*longTime, ring(t, true, k1, k3))
		if n := log.count("were not reloaded"); n != 1 {
			t.Errorf("a bad key was reported %d times", n)
		}
		f.write(f.key, k2)
		hup <- syscall.SIGHUP
		want(0, ring(t, true, k2, k3))
		hup <- syscall.SIGHUP
		want(0, ring(t, true, k2, k3))
		if log.count("unchanged") != 1 || log.count("were reloaded") != 3 || log.count(k2[:10]) > 0 || log.count("nonsense") > 0 {
			t.Errorf("the log is\n%s", log.buf.String())
		}
		if err := os.Remove(f.key); err != nil {
			t.Fatal(err)
		}
		want(90*time.Second, ring(t, true, k2, k3))
		if n := log.count("were not reloaded"); n != 3 {
			t.Errorf("a missing file was reported %d times in 90 s, want 2", n-1)
		}
		cancel()
		<-ended
	})
}

func TestCiphertextWithoutKeysIsSaidOnce(t *testing.T) { // encryption.md 4, first row
	var log lines
	keys, err := OpenKeys(Settings{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{`{"name":"encrypted_x"}`, `{"uri":"` + k1Secret + `"}`, `{"uri":"tcp://u:` + k1Secret + `@h:1"}`} {
		if got, err := keys.Unseal(json.RawMessage(doc)); err != nil || string(got) != doc {
			t.Errorf("%s: %s %v, want it as stored", doc, got, err)
		}
		if doc == `{"name":"encrypted_x"}` && log.count("level=WARN") != 0 {
			t.Error("a name was taken for a secret")
		}
	}
	if n := log.count("level=WARN"); n != 1 || log.count("oKGi") != 0 {
		t.Errorf("warned %d times: %s", n, log.buf.String())
	}
}

func TestSwapUnderLoad(t *testing.T) {
	f := newFiles(t, k1, k2)
	keys, err := OpenKeys(Settings{Enabled: true, KeyFile: f.key, OldKeyFile: f.old})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sealed, err := keys.Seal(json.RawMessage(`{"uri":"s3cr3t"}`))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := keys.Unseal(sealed); err != nil || string(got) != `{"uri":"s3cr3t"}` {
					t.Errorf("%s %v", got, err)
					return
				}
			}
		})
	}
	for i := range 50 {
		key, old := k1, k2
		if i%2 == 0 {
			key, old = k2, k1
		}
		f.write(f.key, key)
		_, _ = keys.Reload() // half of the exchange is refused
		f.write(f.old, old)
		if changed, err := keys.Reload(); !changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	close(stop)
	load.Wait()
}
