package clienttest

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hawser/persistence/persistencetest/freeport"
)

// MosquittoOptions configure a private Mosquitto; the zero value is an open broker without TLS.
type MosquittoOptions struct {
	User, Password string // both set: no anonymous access
	TLS            bool   // URI is ssl://, CA signs the certificate for 127.0.0.1 and localhost
	ClientCert     bool   // with TLS: a client certificate is required, see ClientCertificate
	MaxInflight    int    // max_inflight_messages per client, default Mosquitto's 20
	Subscribe      string // the one topic filter below which clients may subscribe, default any
	Config         string // more lines of mosquitto.conf
}

// Broker is a running Mosquitto with a directory of its own. Sessions and queued messages survive Kill and Restart; a
// session queues without limit (Mosquitto's default drops what is beyond 1000).
type Broker struct {
	t    testing.TB
	dir  string
	port int
	opts MosquittoOptions
	pki  *authority // nil without TLS

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer
}

// Mosquitto starts a broker for one test. Without the program mosquitto the test fails.
func Mosquitto(t testing.TB, opts MosquittoOptions) *Broker {
	t.Helper()
	b := &Broker{t: t, dir: t.TempDir(), opts: opts}
	if opts.TLS {
		b.pki = newAuthority(t, b.dir)
	}
	t.Cleanup(func() {
		b.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("log of the broker:\n%s", b.Log())
		}
	})
	var err error
	for range 5 { // another test may take the port meanwhile
		b.port = freePort(t)
		if err = b.start(); err == nil {
			return b
		}
	}
	t.Fatal(err)
	return nil
}

// URI is how a connection reaches the broker, without credentials.
func (b *Broker) URI() string {
	scheme := "tcp"
	if b.opts.TLS {
		scheme = "ssl"
	}
	return fmt.Sprintf("%s://%s", scheme, b.Address())
}

// Address is the broker's host:port.
func (b *Broker) Address() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

// CA is the certificate, in PEM, that signed the broker's; "" without TLS.
func (b *Broker) CA() string {
	if b.pki == nil {
		return ""
	}
	return b.pki.caPEM
}

// ClientCertificate is a certificate that the broker accepts, with its PKCS #8 key, in PEM.
func (b *Broker) ClientCertificate() (cert, key string) {
	b.t.Helper()
	return b.pki.issue(b.t, "client")
}

// Kill ends the broker without ceremony. What it has accepted is on disk.
func (b *Broker) Kill() {
	b.t.Helper()
	b.save()
	b.end(syscall.SIGKILL)
}

// Restart starts the broker again at its old address, after Kill, or Stop; one that runs is stopped first.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Stop()
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
}

// Stop ends the broker in an orderly way.
func (b *Broker) Stop() { b.end(syscall.SIGTERM) }

// Pause freezes the broker: its sockets stay open and nothing is answered. Resume ends that.
func (b *Broker) Pause() { b.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (b *Broker) Resume() { b.signal(syscall.SIGCONT) }

// Log is what the broker has logged.
func (b *Broker) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// Write takes the log in.
func (b *Broker) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *Broker) signal(s syscall.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd != nil {
		_ = b.cmd.Process.Signal(s)
	}
}

// end sends a signal and waits for the end.
func (b *Broker) end(s syscall.Signal) {
	b.mu.Lock()
	cmd, exited := b.cmd, b.exited
	b.cmd = nil
	b.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(s)
	select {
	case <-exited:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-exited
	}
}

// save makes the broker write its database now (SIGUSR1), and waits until it has.
func (b *Broker) save() {
	b.mu.Lock()
	cmd := b.cmd
	b.mu.Unlock()
	if cmd == nil {
		return
	}
	file := filepath.Join(b.dir, "mosquitto.db")
	before := modified(file)
	_ = cmd.Process.Signal(syscall.SIGUSR1)
	await(b.t, 10*time.Second, "the broker saves its database", func() bool { return modified(file).After(before) })
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (b *Broker) start() error {
	program, err := exec.LookPath("mosquitto")
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"} {
		if err != nil {
			program, err = exec.LookPath(filepath.Join(dir, "mosquitto"))
		}
	}
	if err != nil {
		b.t.Fatal("the program mosquitto is missing: apt-get install mosquitto")
	}
	config := filepath.Join(b.dir, "mosquitto.conf")
	if err := os.WriteFile(config, []byte(b.config()), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(program, "-c", config)
	cmd.Stdout, cmd.Stderr = b, b
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	b.mu.Lock()
	b.cmd, b.exited = cmd, exited
	b.mu.Unlock()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.DialTimeout("tcp", b.Address(), time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("mosquitto has exited: %s", b.Log())
		case <-deadline:
			return fmt.Errorf("mosquitto does not listen: %s", b.Log())
		}
	}
}

func (b *Broker) config() string {
	var c strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&c, format+"\n", args...) }
	if os.Getuid() == 0 {
		line("user root") // else it becomes the user mosquitto, who cannot read the directory
	}
	line("listener %d 127.0.0.1", b.port)
	line("persistence true")
	line("persistence_location %s/", b.dir)
	line("autosave_interval 1")
	line("max_queued_messages 0")
	line("set_tcp_nodelay true") // else an acknowledgement and a message in a row wait 40 ms for each other
	line("log_dest stderr")
	if b.opts.MaxInflight > 0 {
		line("max_inflight_messages %d", b.opts.MaxInflight)
	}
	if b.opts.User == "" {
		line("allow_anonymous true")
	} else {
		line("allow_anonymous false")
		file := filepath.Join(b.dir, "passwords")
		if err := os.WriteFile(file, []byte(passwordLine(b.t, b.opts.User, b.opts.Password)), 0o600); err != nil {
			b.t.Fatal(err)
		}
		line("password_file %s", file)
	}
	if b.pki != nil {
		cert, key := b.pki.files(b.t)
		line("certfile %s\nkeyfile %s", cert, key)
		if b.opts.ClientCert {
			line("cafile %s\nrequire_certificate true", b.pki.caFile)
		}
	}
	if b.opts.Subscribe != "" {
		file := filepath.Join(b.dir, "dynamic-security.json")
		rules := fmt.Sprintf(accessRules, b.opts.Subscribe)
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
			b.t.Fatal(err)
		}
		line("plugin %s\nplugin_opt_config_file %s", accessPlugin(b.t), file)
	}
	c.WriteString(b.opts.Config)
	return c.String()
}

// accessRules let anonymous clients do anything but subscribe outside of one filter. An acl_file cannot: Mosquitto grants
// all subscriptions then, and only sends nothing.
const accessRules = `{
	"defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true, "subscribe": false, "unsubscribe": true},
	"roles": [{"rolename": "reader", "acls": [{"acltype": "subscribePattern", "topic": %q, "allow": true}]}],
	"groups": [{"groupname": "anyone", "roles": [{"rolename": "reader"}]}],
	"anonymousGroup": "anyone"
}`

// accessPlugin is Mosquitto's own plugin for such rules, which comes with it.
func accessPlugin(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/*/", "/usr/lib/", "/usr/local/lib/", "/opt/homebrew/lib/"} {
		if found, _ := filepath.Glob(pattern + "mosquitto_dynamic_security.so"); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("mosquitto_dynamic_security.so is missing: it comes with mosquitto 2")
	return ""
}

// passwordLine is a line of Mosquitto's password file.
func passwordLine(t testing.TB, user, password string) string {
	t.Helper()
	const iterations = 101
	salt := make([]byte, 12)
	_, _ = rand.Read(salt) // never fails
	hash, err := pbkdf2.Key(sha512.New, password, salt, iterations, sha512.Size)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:$7$%d$%s$%s\n", user, iterations, base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(hash))
}

func freePort(t testing.TB) int {
	t.Helper()
	ports, release, err := freeport.Reserve("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return ports[0]
}

// await waits for a condition.
func await(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
