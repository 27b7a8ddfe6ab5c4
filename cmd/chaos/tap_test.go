package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
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
	o := newObserver(shapes{two: true}, func(netip.AddrPort, bool) (int, condition) { return 1, *c })
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
			got, _ := o.taken()
			if len(got) != row.overlaps {
				t.Fatalf("%d overlaps, want %d: %+v", len(got), row.overlaps, got)
			}
			for _, x := range got {
				if x.client != "plant-7" || x.cause != row.cause {
					t.Fatalf("%+v", x)
				}
			}
			if again, _ := o.taken(); len(again) != 0 {
				t.Fatalf("told twice: %+v", again)
			}
		})
	}
}

// TestObserverKnowsLateReads: a CONNECT that is read after its link is over is no overlap with the link that followed.
func TestObserverKnowsLateReads(t *testing.T) {
	o := newObserver(shapes{two: true}, func(netip.AddrPort, bool) (int, condition) { return 1, well })
	second := o.connecting("x", netip.AddrPort{}, func() bool { return true })
	first := o.connecting("x", netip.AddrPort{}, func() bool { return false })
	if got, _ := o.taken(); len(got) != 0 || len(first.after) != 0 {
		t.Fatalf("%+v", got)
	}
	third := o.connecting("x", netip.AddrPort{}, func() bool { return true })
	if got, _ := o.taken(); len(got) != 1 || len(third.after) != 1 || third.after[0] != first {
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
	if got, _ := o.taken(); len(got) != 0 {
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

// TestReadConnack: both versions, with and without properties.
func TestReadConnack(t *testing.T) {
	properties := make([]byte, 200)
	for name, row := range map[string]struct {
		packet        []byte
		accepted, bad bool
	}{
		"3.1.1":          {packet: []byte{0x20, 2, 1, 0}, accepted: true},
		"3.1.1, refused": {packet: []byte{0x20, 2, 0, 5}},
		"5":              {packet: []byte{0x20, 3, 0, 0, 0}, accepted: true},
		"5, refused":     {packet: []byte{0x20, 3, 0, 0x87, 0}},
		"5, long":        {packet: append([]byte{0x20, 0xcc, 1, 0, 0, 0xc8, 1}, properties...), accepted: true},
		"something else": {packet: []byte{0x30, 2, 0, 0}, bad: true},
		"nothing in it":  {packet: []byte{0x20, 0}},
		"cut off":        {packet: []byte{0x20, 3, 0}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			packet, accepted, err := readConnack(bytes.NewReader(row.packet))
			if (err != nil) != row.bad || accepted != row.accepted || err == nil && !bytes.Equal(packet, row.packet) {
				t.Fatalf("%x, accepted %v, %v", packet, accepted, err)
			}
		})
	}
}

// TestSharedSubscription: what doc.go says of Mosquitto. Each message of a shared subscription goes to one of its two sessions, also while that one is
// away, and comes when it is back.
func TestSharedSubscription(t *testing.T) {
	s := newSpawner()
	defer s.close()
	dir := t.TempDir()
	b, err := startBroker(t.Context(), s, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	var mu sync.Mutex
	got := map[string][]string{} // by client
	client := func(id string) mqtt.Client {
		m := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.address).SetClientID(id).SetAutoReconnect(false).SetCleanSession(false).
			SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
				mu.Lock()
				defer mu.Unlock()
				got[id] = append(got[id], string(m.Payload()))
			}))
		if err := settled(m.Connect(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		return m
	}
	received := func(what string, first, second int) {
		t.Helper()
		err := eventually(t.Context(), 10*time.Second, what, func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(got["first"]) != first || len(got["second"]) != second {
				return fmt.Errorf("%v, want %d and %d", got, first, second)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	first, second := client("first"), client("second")
	defer first.Disconnect(100)
	filter := shapes{two: true}.filter("source-0000", "in/#")
	for _, m := range []mqtt.Client{first, second} {
		if err := settled(m.Subscribe(filter, 1, nil), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	publish := func() {
		for i := range 6 {
			if err := settled(first.Publish("in/x", 1, false, fmt.Sprint(i)), 10*time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish()
	received("both are there", 3, 3)
	second.Disconnect(100)
	publish()
	received("the second is away", 6, 3)
	second = client("second")
	defer second.Disconnect(100)
	received("the second is back", 6, 6)
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
	if n, _ := o.taken(); len(n) != 0 {
		t.Fatalf("a reconnect is no overlap: %+v", n)
	}
	third := client(tp.address(), "x") // takes over: Mosquitto closes the second link
	if n, _ := o.taken(); len(n) != 1 {
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
