package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// connect is a CONNECT packet of MQTT 3.1.1 (level 4) or 5.
func connect(level byte, client string) []byte {
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', level, 2, 0, 60}
	if level == 5 {
		body = append(body, 5, 0x11, 0, 0, 0, 60) // session expiry interval
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(client)))
	body = append(body, client...)
	return append([]byte{0x10, byte(len(body))}, body...)
}

func TestReadConnect(t *testing.T) {
	long := string(bytes.Repeat([]byte("i"), 90))
	for name, row := range map[string]struct {
		packet []byte
		client string
		bad    bool
	}{
		"3.1.1":         {packet: connect(4, "plant-7"), client: "plant-7"},
		"5":             {packet: connect(5, "plant-7"), client: "plant-7"},
		"long id":       {packet: connect(4, long), client: long},
		"empty id":      {packet: connect(4, ""), client: ""},
		"no CONNECT":    {packet: []byte{0x30, 0}, bad: true},
		"truncated":     {packet: connect(4, "plant-7")[:12], bad: true},
		"id too long":   {packet: []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 1, 0}, bad: true},
		"endless":       {packet: []byte{0x10, 0xff, 0xff, 0xff, 0xff, 0xff}, bad: true},
		"very large":    {packet: []byte{0x10, 0xff, 0xff, 0xff, 0x7f}, bad: true},
		"bad props":     {packet: []byte{0x10, 11, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0x7f}, bad: true},
		"nothing":       {packet: nil, bad: true},
		"after connect": {packet: append(connect(4, "x"), 0xc0, 0), client: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			r := bytes.NewReader(row.packet)
			packet, client, err := readConnect(r)
			if (err != nil) != row.bad {
				t.Fatalf("%q, %v", client, err)
			}
			if err != nil {
				return
			}
			rest, _ := io.ReadAll(r)
			if client != row.client || !bytes.Equal(append(packet, rest...), row.packet) {
				t.Fatalf("client %q; what was read is not what was sent: %x + %x", client, packet, rest)
			}
		})
	}
}

func FuzzReadConnect(f *testing.F) {
	f.Add(connect(4, "plant-7"))
	f.Add(connect(5, ""))
	f.Add([]byte{0x10, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		packet, _, err := readConnect(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, packet) {
			t.Fatalf("%x is no beginning of %x", packet, b)
		}
	})
}

// acceptingBroker answers each CONNECT with CONNACK and then reads for ever.
func acceptingBroker(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if _, _, err := readConnect(c); err == nil {
					_, _ = c.Write([]byte{0x20, 2, 0, 0})
					_, _ = io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// tapped is a tap whose nodes all have one condition.
func tapped(t *testing.T, broker string, c *condition) (*tap, *observer) {
	t.Helper()
	o := newObserver(func(netip.AddrPort, bool) (int, condition) { return 1, *c })
	tp, err := newTap("127.0.0.1", broker, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tp.close)
	return tp, o
}

// dialTap connects a client and waits for its CONNACK.
func dialTap(t *testing.T, tp *tap, client string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", tp.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(connect(4, client)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatalf("no CONNACK: %v", err)
	}
	return c.(*net.TCPConn)
}

// TestObserverFindsOverlaps plants the cases: who was up when the next CONNECT came, and whether its node could act.
func TestObserverFindsOverlaps(t *testing.T) {
	broker := acceptingBroker(t)
	for name, row := range map[string]struct {
		end      func(first *net.TCPConn) error // what the first link's node does before the second CONNECT
		cause    condition
		overlaps int
	}{
		"the first link stays":        {end: func(*net.TCPConn) error { return nil }, overlaps: 1},
		"of a frozen node":            {end: func(*net.TCPConn) error { return nil }, cause: frozen, overlaps: 1},
		"of a node that is cut off":   {end: func(*net.TCPConn) error { return nil }, cause: severed, overlaps: 1},
		"closed before":               {end: (*net.TCPConn).Close},
		"closed for writing only":     {end: (*net.TCPConn).CloseWrite},
		"reset before":                {end: func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() }},
		"closed with data on its way": {end: func(c *net.TCPConn) error { _, _ = c.Write(make([]byte, 1<<10)); return c.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			c := row.cause
			tp, o := tapped(t, broker, &c)
			first := dialTap(t, tp, "plant-7")
			dialTap(t, tp, "plant-8") // another client is no overlap
			if err := row.end(first); err != nil {
				t.Fatal(err)
			}
			dialTap(t, tp, "plant-7")
			got := o.taken()
			if len(got) != row.overlaps {
				t.Fatalf("%d overlaps, want %d: %+v", len(got), row.overlaps, got)
			}
			for _, x := range got {
				if x.client != "plant-7" || x.cause != row.cause {
					t.Fatalf("%+v", x)
				}
			}
			if again := o.taken(); len(again) != 0 {
				t.Fatalf("told twice: %+v", again)
			}
		})
	}
}

// TestObserverKnowsLateReads: a CONNECT that is read after its link is over is no overlap with the link that followed.
func TestObserverKnowsLateReads(t *testing.T) {
	o := newObserver(func(netip.AddrPort, bool) (int, condition) { return 1, well })
	second := o.connecting("x", netip.AddrPort{}, func() bool { return true })
	first := o.connecting("x", netip.AddrPort{}, func() bool { return false })
	if got := o.taken(); len(got) != 0 || len(first.after) != 0 {
		t.Fatalf("%+v", got)
	}
	if third := o.connecting("x", netip.AddrPort{}, func() bool { return true }); len(o.taken()) != 1 || len(third.after) != 1 || third.after[0] != first {
		t.Fatalf("the third overlaps the second (%p) and comes after the first (%p): %+v", second, first, third.after)
	}
}

// TestTapKeepsTheOrder: the broker has seen the end of a client's link before its next CONNECT.
func TestTapKeepsTheOrder(t *testing.T) {
	var events []string
	arrived := make(chan string, 100)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if _, _, err := readConnect(c); err != nil {
					return
				}
				arrived <- "connect"
				_, _ = c.Write([]byte{0x20, 2, 0, 0})
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	c := well
	tp, o := tapped(t, l.Addr().String(), &c)
	const links = 20
	for range links {
		_ = dialTap(t, tp, "x").Close()
	}
	for range links {
		select {
		case e := <-arrived:
			events = append(events, e)
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d links arrived", len(events), links)
		}
	}
	if got := o.taken(); len(got) != 0 {
		t.Fatalf("%d overlaps", len(got))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, link := range o.links["x"] {
		if i > 0 && link.acked.Before(o.links["x"][i-1].ended) {
			t.Fatalf("link %d was acknowledged before link %d had ended", i, i-1)
		}
	}
}

// TestObserverTimes checks what is read from the links: gaps, and when a client was up again.
func TestObserverTimes(t *testing.T) {
	clock := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	up := map[*link]bool{}
	o := newObserver(func(netip.AddrPort, bool) (int, condition) { return 1, well })
	o.now = func() time.Time { return clock }
	var last *link
	begin := func() *link {
		var l *link
		l = o.connecting("x", netip.AddrPort{}, func() bool { return up[l] })
		up[l] = true
		o.connected(l)
		last = l
		return l
	}
	end := func() { up[last] = false; o.ended(last) }
	sleep := func(d time.Duration) { clock = clock.Add(d) }

	first := begin()
	sleep(time.Second)
	t0 := clock
	if _, moved, lost := o.reopened("x", t0); moved || lost {
		t.Fatal("the link lasts")
	}
	sleep(2 * time.Second)
	end()
	if _, moved, lost := o.reopened("x", t0); !moved || !lost {
		t.Fatal("the link is gone and nothing followed")
	}
	if missing := o.connectedClients([]string{"x"}); len(missing) != 1 {
		t.Fatal("nobody is connected")
	}
	sleep(500 * time.Millisecond)
	begin()
	if after, moved, lost := o.reopened("x", t0); after != 2500*time.Millisecond || !moved || lost {
		t.Fatalf("%v %v %v", after, moved, lost)
	}
	gaps, now := o.gaps("x", t0)
	if len(gaps) != 1 || gaps[0] != 500*time.Millisecond || !now {
		t.Fatalf("%v %v", gaps, now)
	}
	if gaps, _ := o.gaps("x", clock); len(gaps) != 0 {
		t.Fatalf("%v lies before", gaps)
	}
	o.forget(clock)
	if n := len(o.links["x"]); n != 1 || o.links["x"][0] == first {
		t.Fatalf("%d links are remembered", n)
	}
	if missing := o.connectedClients([]string{"x", "y"}); len(missing) != 1 || missing[0] != "y" {
		t.Fatalf("missing %v", missing)
	}
}

// TestTapBeforeMosquitto uses the real broker: messages pass, a take-over is seen, a reconnect after a close is none.
func TestTapBeforeMosquitto(t *testing.T) {
	s := newSpawner()
	defer s.close()
	dir := t.TempDir()
	b, err := startBroker(t.Context(), s, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	c := well
	tp, o := tapped(t, b.address, &c)

	client := func(address, id string) mqtt.Client {
		m := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID(id).SetAutoReconnect(false).SetCleanSession(false))
		if err := settled(m.Connect(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		return m
	}
	got := make(chan string, 10)
	subscribe := func(m mqtt.Client) {
		if err := settled(m.Subscribe("a/#", 1, func(_ mqtt.Client, m mqtt.Message) { got <- string(m.Payload()) }), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	publisher := client(b.address, "publisher")
	defer publisher.Disconnect(100)
	expect := func(text string) {
		t.Helper()
		if err := settled(publisher.Publish("a/b", 1, false, text), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(10 * time.Second)
		for {
			select {
			case m := <-got:
				if m == text {
					return
				} // else a repetition: the acknowledgement was on its way when the client left
			case <-deadline:
				t.Fatalf("%q did not arrive", text)
			}
		}
	}
	first := client(tp.address(), "x")
	subscribe(first)
	expect("one")
	first.Disconnect(100)
	second := client(tp.address(), "x")
	subscribe(second)
	expect("two")
	if n := o.taken(); len(n) != 0 {
		t.Fatalf("a reconnect is no overlap: %+v", n)
	}
	third := client(tp.address(), "x") // takes over: Mosquitto closes the second link
	if n := o.taken(); len(n) != 1 {
		t.Fatalf("%d overlaps, want 1", len(n))
	}
	err = eventually(t.Context(), 10*time.Second, "the second is closed", func() error {
		if second.IsConnectionOpen() {
			return context.DeadlineExceeded
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	third.Disconnect(100)
	second.Disconnect(100)
}
