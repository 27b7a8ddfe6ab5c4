package blackbox

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// awaitLive waits until a connection has a live status.
func (n *node) awaitLive(id, live string) {
	n.t.Helper()
	eventually(n.t, 15*time.Second, id+" is "+live, func() error {
		if s := n.command(on("retrieveConnectionStatus", id)); s["liveStatus"] != live {
			return fmt.Errorf("%s", show(s))
		}
		return nil
	})
}

func (n *node) ids() []string {
	n.t.Helper()
	return texts(n.commandAt(idsActor, object{"type": "connectivity.commands:retrieveAllConnectionIds"})["connectionIds"])
}

func (n *node) idsByTag(tag string) []string {
	n.t.Helper()
	return texts(n.commandAt(idsActor, object{"type": "connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag", "tag": tag})["connectionIds"])
}

func texts(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

// plain expects an answer of the HTTP layer, shape E4, with its challenge.
func plain(status int, text string) func(*testing.T, *node, answer) {
	return func(t *testing.T, _ *node, a answer) {
		t.Helper()
		if a.status != status || string(a.body) != text || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Fatalf("%d %q %q", a.status, a.header.Get("Content-Type"), a.body)
		}
		if got := a.header.Get("WWW-Authenticate"); got != `Basic realm="DITTO-DEVOPS",charset=UTF-8` {
			t.Fatalf("WWW-Authenticate: %s", got)
		}
	}
}

// e1 expects an error of the gateway itself: HTTP status and body agree; the message names what is given.
func e1(status int, code, names string) func(*testing.T, *node, answer) {
	return func(t *testing.T, _ *node, a answer) {
		t.Helper()
		if a.status != status {
			t.Fatalf("HTTP %d, want %d: %s", a.status, status, a.body)
		}
		reply := a.object(t)
		wantError(t, reply, status, code)
		mention(t, reply, names)
	}
}

// direct expects HTTP 200 and one bare reply.
func direct(check func(*testing.T, object)) func(*testing.T, *node, answer) {
	return func(t *testing.T, _ *node, a answer) {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("HTTP %d: %s", a.status, a.body)
		}
		check(t, a.object(t))
	}
}

// aggregated expects HTTP 200 and the nested map with exactly the node's own entry.
func aggregated(check func(*testing.T, object)) func(*testing.T, *node, answer) {
	return func(t *testing.T, n *node, a answer) {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("HTTP %d: %s", a.status, a.body)
		}
		services := a.object(t)
		instances, _ := services["connectivity"].(object)
		reply, ok := instances[n.instance].(object)
		if !ok || len(services) != 1 || len(instances) != 1 {
			t.Fatalf("not {connectivity:{%s:…}}: %s", n.instance, a.body)
		}
		check(t, reply)
	}
}

// mention expects that message or description of an error names each of names.
func mention(t *testing.T, e object, names ...string) {
	t.Helper()
	for _, name := range names {
		if !strings.Contains(fmt.Sprint(e["message"], " ", e["description"]), name) {
			t.Fatalf("%s is not named in %s", name, show(e))
		}
	}
}

// hangingEndpoint accepts connections and never says a word.
func hangingEndpoint(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	})
	return l.Addr().String()
}
