package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crypto/x509"

	"hawser/messages"
)

// names resolves from a table.
func names(table map[string]string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		if a, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{a}, nil
		}
		text, ok := table[host]
		if !ok {
			return nil, &net.DNSError{Name: host, IsNotFound: true}
		}
		var out []netip.Addr
		for _, s := range strings.Fields(text) {
			out = append(out, netip.MustParseAddr(s))
		}
		return out, nil
	}
}

// TestHostRules is connection-model.md 14.3 as decision O7 changes it.
func TestHostRules(t *testing.T) {
	table := map[string]string{
		"public": "93.184.216.34", "local": "127.0.0.1", "site": "10.1.2.3", "both": "93.184.216.34 192.168.0.1", "evil": "203.0.113.7", "alias": "203.0.113.7",
		"mapped": "::ffff:127.0.0.1", "unique": "fd00::1", "link": "169.254.169.254", "link6": "fe80::1%eth0", "any": "0.0.0.0", "multi": "224.0.0.1", "site6": "fec0::1",
		"public6": "2606:2800:220:1::1", "subnet6": "2001:db8::5",
	}
	type rules struct{ allowed, blocked, subnets, regex string }
	for _, row := range []struct {
		rules rules
		host  string
		names string // in the error; "" for allowed
	}{
		{rules{}, "local", ""},
		{rules{}, "nowhere", ""}, // not even resolved
		{rules{allowed: "hono-endpoint"}, "local", ""},
		{rules{blocked: "evil"}, "public", ""},
		{rules{blocked: "evil"}, "public6", ""},
		{rules{blocked: "evil"}, "evil", "evil"},
		{rules{blocked: "Evil."}, "evil", "evil"},
		{rules{blocked: "evil"}, "alias", "203.0.113.7"},
		{rules{blocked: "evil"}, "203.0.113.7", "203.0.113.7"},
		{rules{blocked: "nowhere"}, "nowhere", "nowhere"},
		{rules{blocked: "evil"}, "nowhere", "resolved"},
		{rules{blocked: "evil"}, "local", "127.0.0.1"},
		{rules{blocked: "evil"}, "mapped", "127.0.0.1"},
		{rules{blocked: "evil"}, "site", "10.1.2.3"},
		{rules{blocked: "evil"}, "both", "192.168.0.1"},
		{rules{blocked: "evil"}, "any", "0.0.0.0"},
		{rules{blocked: "evil"}, "multi", "224.0.0.1"},
		{rules{blocked: "evil"}, "site6", "fec0::1"},
		{rules{blocked: "evil"}, "unique", "fd00::1"},
		{rules{blocked: "evil"}, "link", "169.254.169.254"},
		{rules{blocked: "evil"}, "link6", "fe80::1"},
		{rules{allowed: "other, local", blocked: "evil"}, "local", ""},
		{rules{allowed: "evil", blocked: "evil"}, "evil", ""},
		{rules{subnets: "93.184.0.0/16"}, "public", "93.184.0.0/16"}, // works by itself (O7)
		{rules{subnets: "93.184.0.0/16"}, "local", "127.0.0.1"},
		{rules{subnets: "2001:db8::/32, 1.2.3.4/8"}, "subnet6", "2001:db8::/32"},
		{rules{subnets: "2001:db8::/32"}, "public", ""},
		{rules{regex: "pub.*"}, "public", "public"}, // likewise
		{rules{regex: "pub"}, "public", ""},         // completely
		{rules{regex: "pub|public"}, "public", "public"},
		{rules{regex: "x", allowed: "public"}, "public", ""},
	} {
		t.Run(fmt.Sprintf("%+v %s", row.rules, row.host), func(t *testing.T) {
			h, err := ParseHostRules(row.rules.allowed, row.rules.blocked, row.rules.subnets, row.rules.regex)
			if err != nil {
				t.Fatal(err)
			}
			h.Resolve = names(table)
			err = h.Check(context.Background(), row.host)
			var refused *HostError
			switch {
			case row.names == "" && err != nil:
				t.Fatal(err)
			case row.names != "" && (!errors.As(err, &refused) || refused.Host != row.host || !strings.Contains(err.Error(), row.names)):
				t.Fatalf("%v, want a refusal that names %s", err, row.names)
			}
		})
	}
}

func TestParseHostRulesRefuses(t *testing.T) {
	for _, args := range [][2]string{{"10.0.0.0", ""}, {"10.0.0.0/33", ""}, {"", "("}} {
		if _, err := ParseHostRules("", "", args[0], args[1]); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

// TestDialerChecksEachDial: what a name resolves to is checked at the dial, and the checked address is dialled.
func TestDialerChecksEachDial(t *testing.T) {
	e := listen(t)
	_, port, _ := net.SplitHostPort(e.address())
	rules, err := ParseHostRules("friend", "evil", "", "")
	if err != nil {
		t.Fatal(err)
	}
	resolved := 0
	rules.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		resolved++
		return names(map[string]string{"rebound": "127.0.0.1", "evil": "203.0.113.7"})(ctx, host)
	}
	d := NewDialer(rules)
	var refused *HostError
	if _, err := d.Dial(context.Background(), "tcp", net.JoinHostPort("rebound", port)); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	if _, err := d.Dial(context.Background(), "tcp", e.address()); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	if resolved == 0 || d.Sockets() != 0 {
		t.Errorf("%d look-ups, %d sockets", resolved, d.Sockets())
	}
	if _, err := d.Dial(context.Background(), "tcp", "no port"); err == nil {
		t.Error("an address without a port is dialled")
	}
}

func TestDialCheckedTriesAllAddresses(t *testing.T) {
	e := listen(t)
	_, port, _ := net.SplitHostPort(e.address())
	d := NewDialer(HostRules{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := d.dialChecked(ctx, "tcp", port, []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestCloseAll(t *testing.T) {
	e := listen(t)
	d := NewDialer(HostRules{})
	conn, err := d.Dial(context.Background(), "tcp", e.address())
	if err != nil || d.Sockets() != 1 {
		t.Fatal(err, d.Sockets())
	}
	reading := make(chan error, 1)
	go func() { _, err := conn.Read(make([]byte, 1)); reading <- err }()
	d.CloseAll()
	if err := <-reading; !errors.Is(err, net.ErrClosed) || d.Sockets() != 0 {
		t.Errorf("%v, %d sockets", err, d.Sockets())
	}
	if _, err := d.Dial(context.Background(), "tcp", e.address()); !errors.Is(err, ErrClosed) {
		t.Errorf("dial after CloseAll: %v", err)
	}
	d.CloseAll() // idempotent
	d.Resume()
	again, err := d.Dial(context.Background(), "tcp", e.address())
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	_ = again.Close()
	if n := d.Sockets(); n != 0 {
		t.Errorf("%d sockets after close", n)
	}
}

// TestCloseCancelsDials: a dial in progress ends, and one that ignores that does not get through.
func TestCloseCancelsDials(t *testing.T) {
	e := listen(t)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	for name, dial := range map[string]dialFunc{
		"heeds its context": func(ctx context.Context, _, _ string) (net.Conn, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"does not": func(_ context.Context, network, address string) (net.Conn, error) {
			begun <- struct{}{}
			<-release
			return net.Dial(network, address)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSockets(dial)
			result := make(chan error, 1)
			go func() { _, err := s.Dial(context.Background(), "tcp", e.address()); result <- err }()
			<-begun
			s.close(false)
			s.open()
			if name == "does not" {
				close(release)
			}
			if err := <-result; !errors.Is(err, ErrClosed) || s.count() != 0 {
				t.Errorf("%v, %d sockets", err, s.count())
			}
		})
	}
}

func TestDialerInParallel(t *testing.T) {
	e := listen(t)
	d := NewDialer(HostRules{})
	var all sync.WaitGroup
	for k := range 8 {
		all.Go(func() {
			for range 20 {
				conn, err := d.Dial(context.Background(), "tcp", e.address())
				if err == nil && k%2 == 0 {
					_ = conn.Close()
				}
				if k == 0 {
					d.CloseAll()
					d.Resume()
				}
			}
		})
	}
	all.Wait()
	d.CloseAll()
	if n := d.Sockets(); n != 0 {
		t.Errorf("%d sockets", n)
	}
}

// TestUserIndicated is the list of runtime.md 11.
func TestUserIndicated(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want bool
	}{
		"name resolution":   {fmt.Errorf("dial: %w", &net.DNSError{}), true},
		"refused":           {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		"certificate":       {x509.UnknownAuthorityError{}, true},
		"host name":         {x509.HostnameError{Certificate: &x509.Certificate{}}, true},
		"TLS alert":         {&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, true},
		"blocked host":      {&HostError{}, true},
		"end of connection": {io.EOF, false},
		"reset":             {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, false},
		"timeout":           {context.DeadlineExceeded, false},
		"own word":          {fmt.Errorf("open: %w", &Failure{UserIndicated: true}), true},
		"own word not":      {&Failure{Cause: &net.DNSError{}}, false},
		"none":              {nil, false},
	} {
		if got := UserIndicated(row.err); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRedactor(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----"
	uri, err := messages.ParseURI("tcp://u:p%40ss-word@h:1")
	if err != nil {
		t.Fatal(err)
	}
	r := newRedactor(&messages.Connection{URI: uri, Credentials: &messages.Credentials{Key: &key, Password: "other-word"}})
	for _, text := range []string{"p@ss-word", "p%40ss-word", key, "other-word"} {
		if got := r.text("before " + text + " after"); got != "before ***** after" {
			t.Error(got)
		}
	}
	if got := newRedactor(&messages.Connection{}).text("as it is"); got != "as it is" {
		t.Error(got)
	}
}

func TestSuffix(t *testing.T) {
	c := &messages.Connection{ID: "x", ClientCount: 1}
	if s := Suffix(c, 0); s != "" {
		t.Error(s)
	}
	c.ClientCount = 2
	if a, b := Suffix(c, 0), Suffix(c, 1); a == b || a != Suffix(&messages.Connection{ID: "x", ClientCount: 3}, 0) || a == Suffix(&messages.Connection{ID: "y", ClientCount: 2}, 0) {
		t.Error(a, b)
	}
}
