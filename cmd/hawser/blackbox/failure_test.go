package blackbox

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
)

// TestBadInput sends what nobody should: each gets a clear error in the contract's shape, repeats no secret, and leaves
// the service working.
func TestBadInput(t *testing.T) {
	n := startNode(t, stores["sqlite"](t))
	const path = "/devops/piggyback/connectivity"
	secret := "s3cret-in-the-body"
	deep := strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	for name, row := range map[string]struct {
		body   string
		status int // HTTP
		inner  int // the command's own status; 0 when the HTTP status says it
	}{
		"truncated":         {`{"targetActorSelection":"` + secret, 400, 0},
		"deeply nested":     {deep, 400, 0},
		"null":              {`null`, 400, 0},
		"10 MB":             {`{"targetActorSelection":"` + strings.Repeat("x", 10<<20) + `"}`, 413, 0},
		"invalid UTF-8":     {"{\"targetActorSelection\":\"\xff\xfe\"}", 400, 0},
		"headers a list":    {`{"targetActorSelection":"x","headers":[],"piggybackCommand":{}}`, 400, 0},
		"command a string":  {`{"targetActorSelection":"x","headers":{},"piggybackCommand":"` + secret + `"}`, 400, 0},
		"type a number":     {envelope(shardRegion, nil, object{"type": 7}), 200, 400},
		"id a number":       {envelope(shardRegion, nil, object{"type": "connectivity.commands:openConnection", "connectionId": 7}), 200, 400},
		"id with a slash":   {envelope(shardRegion, nil, on("openConnection", "a/b")), 200, 400},
		"connection a list": {envelope(shardRegion, nil, object{"type": "connectivity.commands:createConnection", "connection": []any{}}), 200, 400},
		"client count":      {envelope(shardRegion, nil, with("createConnection", mqttConnection("x", "tcp://u:"+secret+"@h:1", "closed", func(c object) { c["clientCount"] = 0 }))), 200, 400},
		"uri without port":  {envelope(shardRegion, nil, with("createConnection", mqttConnection("x", "tcp://u:"+secret+"@h", "closed"))), 200, 400},
		"foreign scheme":    {envelope(shardRegion, nil, with("createConnection", mqttConnection("x", "ws://u:"+secret+"@h:1", "closed"))), 200, 400},
		"wildcard target": {envelope(shardRegion, nil, with("createConnection", mqttConnection("x", "tcp://h:1", "closed", func(c object) {
			c["targets"].([]any)[0].(object)["address"] = "a/#"
		}))), 200, 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := n.as(t).request(http.MethodPost, path, row.body)
			if a.status != row.status {
				t.Fatalf("HTTP %d, want %d: %.300s", a.status, row.status, a.body)
			}
			reply := a.object(t)
			want := row.inner
			if want == 0 {
				want = row.status
			}
			wantStatus(t, reply, want)
			if strings.Contains(string(a.body), secret) {
				t.Fatalf("the answer repeats a secret: %s", a.body)
			}
		})
	}
	if got := n.ids(); len(got) != 0 {
		t.Fatalf("something refused was kept: %v", got)
	}
	wantStatus(t, n.command(with("createConnection", mqttConnection("good", "tcp://127.0.0.1:1", "closed"))), 201)
	if strings.Contains(n.log.String(), secret) {
		t.Fatal("the log repeats a secret")
	}
}

// TestBrokerRefuses: a wrong password and an unreachable broker show as misconfigured, never with the password.
func TestBrokerRefuses(t *testing.T) {
	uri, user, pass := mosquittoWithPassword(t)
	n := startNode(t, stores["sqlite"](t))
	withUser := func(p string) string {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, p)
		return u.String()
	}
	wantStatus(t, n.command(with("createConnection", mqttConnection("wrong", withUser("wrong-pass-word"), "closed"))), 201)
	failed := n.command(on("openConnection", "wrong"))
	wantError(t, failed, 504, "connectivity:connection.failed")
	n.awaitLive("wrong", "misconfigured")
	status := show(n.command(on("retrieveConnectionStatus", "wrong")))
	if strings.Contains(show(failed)+status+n.log.String(), "wrong-pass-word") {
		t.Fatal("the password shows")
	}
	wantStatus(t, n.command(with("modifyConnection", mqttConnection("wrong", withUser(pass), "open"))), 204)
	n.awaitLive("wrong", "open")
}

// TestBrokerGone is row 77 and R45: the broker dies and comes back; the connection follows by itself.
func TestBrokerGone(t *testing.T) {
	b := startMosquitto(t)
	n := startNode(t, append(stores["sqlite"](t), "CONNECTIVITY_CLIENT_MIN_BACKOFF=200ms"))
	bridge(n, b.URI())
	b.Kill()
	eventually(t, 20*time.Second, "the loss is seen", func() error {
		if s := n.command(on("retrieveConnectionStatus", "to")); s["liveStatus"] == "open" {
			return fmt.Errorf("%s", show(s))
		}
		return nil
	})
	b.Restart()
	n.awaitLive("from", "open")
	n.awaitLive("to", "open")
	arrived := subscribe(t, b.URI(), "b")
	half := make(chan struct{})
	if err := publish(dial(t, b.URI(), "after"), 100, half); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "messages flow again", func() error {
		if m := arrived.missing(100); m > 0 {
			return fmt.Errorf("%d missing", m)
		}
		return nil
	})
}

// TestPostgresGone cuts the node from its database: commands are refused in the contract's shape (D18), nothing
// acknowledged is lost, and the same process recovers by itself.
func TestPostgresGone(t *testing.T) {
	broker := mosquitto(t)
	direct := persistencetest.Schema(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	gate := newProxy(t, u.Host)
	u.Host = gate.addr
	n := startNode(t, []string{"HAWSER_POSTGRES_URL=" + u.String(), "HAWSER_DATA_DIR=" + t.TempDir()})
	bridge(n, broker)
	wantStatus(t, n.command(with("createConnection", mqttConnection("before", broker, "closed"))), 201)

	gate.cut()
	eventually(t, 20*time.Second, "commands are refused", func() error {
		a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"timeout": "1s"}, on("retrieveConnection", "before")))
		if err != nil {
			return err
		}
		if a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("HTTP %d %s", a.status, a.body)
		}
		wantError(t, a.object(t), 503, "gateway:service.unavailable")
		return nil
	})
	for path, want := range map[string]int{"/alive": 200, "/ready": 500} {
		resp, err := http.Get("http://" + n.mgmt + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}

	gate.restore()
	eventually(t, 40*time.Second, "commands work again", func() error {
		a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"timeout": "5s"}, on("retrieveConnection", "before")))
		if err != nil {
			return err
		}
		if a.status != 200 || number(a.object(t)["status"]) != 200 {
			return fmt.Errorf("HTTP %d %s", a.status, a.body)
		}
		return nil
	})
	n.awaitLive("from", "open")
	n.awaitLive("to", "open")
	wantStatus(t, n.command(with("createConnection", mqttConnection("after", broker, "closed"))), 201)
}

// proxy is a TCP gate in front of a server.
type proxy struct {
	addr, server string
	mu           sync.Mutex
	closed       bool
	conns        map[net.Conn]bool
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), server: server, conns: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	return p
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.server, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		_ = client.Close()
		_ = server.Close()
		return
	}
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
	_, _ = io.Copy(client, server)
	_ = client.Close()
}

// cut ends all connections and refuses new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = map[net.Conn]bool{}
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}
