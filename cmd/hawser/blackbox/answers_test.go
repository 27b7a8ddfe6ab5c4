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

// awaitStored waits until a connection has a stored status.
func (n *node) awaitStored(id, stored string) {
	n.t.Helper()
	eventually(n.t, 15*time.Second, id+" is stored as "+stored, func() error {
		if s := n.command(on("retrieveConnectionStatus", id)); s["connectionStatus"] != stored {
			return fmt.Errorf("%s", show(s))
		}
		return nil
	})
}

// journalOf are the types of the events of a connection, in their order.
func (n *node) journalOf(id string) (types []string) {
	n.t.Helper()
	for _, row := range queryStore(n.t, n.env, `select type from journal where pid = 'connection:`+id+`' order by seq_nr`) {
		types = append(types, strings.TrimPrefix(row[0], "connectivity.events:connection"))
	}
	return types
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
		readable(t, a)
	}
}

// omits expects that an answer that is right otherwise is without a member.
func omits(name string, check func(*testing.T, *node, answer)) func(*testing.T, *node, answer) {
	return func(t *testing.T, n *node, a answer) {
		t.Helper()
		check(t, n, a)
		if _, there := a.object(t)[name]; there {
			t.Fatalf("%s is there: %s", name, a.body)
		}
	}
}

// names expects the header that an error is about.
func names(header string, check func(*testing.T, *node, answer)) func(*testing.T, *node, answer) {
	return func(t *testing.T, n *node, a answer) {
		t.Helper()
		check(t, n, a)
		if got := a.object(t)["invalidHeaderKey"]; got != header {
			t.Fatalf("invalidHeaderKey %v, want %s: %s", got, header, a.body)
		}
	}
}

// atOnce expects an answer long before its timeout is over, which is at least 10 s.
func atOnce(check func(*testing.T, *node, answer)) func(*testing.T, *node, answer) {
	return func(t *testing.T, n *node, a answer) {
		t.Helper()
		if a.took > 8*time.Second {
			t.Fatalf("answered after %v", a.took)
		}
		check(t, n, a)
	}
}

// own expects an E2 of the node that was asked (decision D3).
func own(status int, code string, mentioned ...string) func(*testing.T, *node, answer) {
	return func(t *testing.T, n *node, a answer) {
		t.Helper()
		direct(func(t *testing.T, reply object) {
			mention(t, wantE2(t, reply, status, code), mentioned...)
			if reply["instance"] != n.instance {
				t.Fatalf("instance %v, want %s", reply["instance"], n.instance)
			}
		})(t, n, a)
		readable(t, a)
	}
}

// readable expects an answer that shows angle brackets as they are.
func readable(t testing.TB, a answer) {
	t.Helper()
	if strings.Contains(string(a.body), `\u003c`) {
		t.Fatalf("escaped: %s", a.body)
	}
}

// bare expects exactly the members of a reply that says no more than that a command was executed.
func bare(t testing.TB, reply object, name, id string, status int) {
	t.Helper()
	if got, want := show(reply), fmt.Sprintf(`{"connectionId":"%s","status":%d,"type":"connectivity.responses:%s"}`, id, status, name); got != want {
		t.Fatalf("%s, want %s", got, want)
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
