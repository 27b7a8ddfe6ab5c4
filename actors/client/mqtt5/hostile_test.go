package mqtt5

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqttbinding"
)

const connack = "\x20\x03\x00\x00\x00"

// TestHostilePeer: whatever a peer answers or leaves unanswered, the transport fails in time, nothing of it is left, and
// the next one opens.
func TestHostilePeer(t *testing.T) {
	b := newFakeBroker(t)
	for name, answer := range map[string]string{
		"nothing":                       "",
		"half a CONNACK":                "\x20\x03\x00",
		"garbage":                       "HTTP/1.1 400 Bad Request\r\n\r\n",
		"length without end":            strings.Repeat("\xff", 1<<16),
		"huge CONNACK":                  "\x20\xff\xff\xff\x7f\x00\x00\x00",
		"CONNACK without properties":    "\x20\x02\x00\x00",
		"CONNACK with unknown property": "\x20\x05\x00\x00\x02\x7f\x00",
		"CONNACK with authentication":   "\x20\x09\x00\x00\x06\x15\x00\x03abc" + connack,
		"AUTH":                          "\xf0\x02\x18\x00",
		"PUBLISH before CONNACK":        "\x30\x04\x00\x01a\x00",
		"two CONNACKs":                  connack + connack,
		"no SUBACK":                     connack,
		"half a SUBACK":                 connack + "\x90\x04\x00",
		"SUBACK for another packet":     connack + "\x90\x04\x00\x09\x00\x01",
		"SUBACK with too many codes":    connack + "\x90\x05\x00\x01\x00\x01\x01",
		"SUBACK without codes":          connack + "\x90\x03\x00\x01\x00",
		"message without SUBACK":        connack + "\x32\x06\x00\x01a\x00\x01\x00",
		"zeros":                         strings.Repeat("\x00", 1<<16),
		"short DISCONNECT":              connack + "\xe0\x00",
		"acknowledgements of nothing":   connack + "\x40\x02\x7f\xff\x50\x02\x7f\xff\x62\x02\x7f\xff\x70\x02\x7f\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c := at(b, sources(1, "a"))
			var end func()
			c.URI.Port, end = play(t, answer)
			o := clienttest.OpenWithin(t, 300*time.Millisecond, Factory(Config{}), c)
			if o.Err() == nil {
				t.Error("open succeeded")
			}
			if n := o.Dialer.Sockets(); n != 0 {
				t.Errorf("%d sockets are left after a failed open", n)
			}
			o.Shut(5 * time.Second)
			end()
		})
	}
	stillUsable(t, b)
}

// TestHostileMessages: what an established peer may not send ends the link, none of it is handed on, and the next one opens.
func TestHostileMessages(t *testing.T) {
	b := newFakeBroker(t)
	for name, packet := range map[string]string{
		"QoS 3":                        "\x36\x06\x00\x01a\x00\x01\x00",
		"message without packet id":    "\x32\x06\x00\x01a\x00\x00\x00",
		"message without topic":        "\x30\x03\x00\x00\x00",
		"topic alias":                  "\x30\x07\x00\x01a\x03\x23\x00\x01",
		"topic that is not UTF-8":      "\x30\x04\x00\x01\xff\x00",
		"topic longer than the packet": "\x30\x03\x00\x09a",
		"message over the limit":       "\x30\xe8\x07\x00\x01a\x00" + strings.Repeat("x", 996),
		"PUBACK without id":            "\x40\x00",
		"CONNECT":                      "\x10\x00",
		"SUBSCRIBE":                    "\x82\x07\x00\x01\x00\x00\x01a\x01",
		"packet type 0":                "\x00\x00",
		"second CONNACK":               connack,
		"SUBACK without SUBSCRIBE":     "\x90\x04\x00\x01\x00\x01",
		"AUTH":                         "\xf0\x02\x18\x00",
	} {
		t.Run(name, func(t *testing.T) {
			o, s := connected(t, b, Config{Config: mqttbinding.Config{MaxPacketSize: 999}}, welcome(), sources(1, "#"))
			if _, err := io.WriteString(s.Conn, packet); err != nil {
				t.Fatal(err)
			}
			if e := o.Event(); !strings.HasPrefix(e, "lost: ") {
				t.Error(e)
			}
			s.Closed()
			o.Shut(5 * time.Second)
			if len(o.Received) > 0 {
				t.Error("a message was handed on")
			}
		})
	}
	stillUsable(t, b)
}

// TestNoPuback: a broker that never acknowledges holds up neither Close nor the next transport.
func TestNoPuback(t *testing.T) {
	b := newFakeBroker(t)
	o, s := connected(t, b, Config{}, welcome(), sources(1, "a"))
	outcome := o.Send(client.Outbound{Address: "t", QoS: 1})
	expect[*packets.Publish](s)
	o.Shut(3 * time.Second)
	if got := clienttest.Await(t, outcome); got.Status != 503 || got.Err == nil {
		t.Errorf("%+v", got)
	}
	if n := o.Dialer.Sockets(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
	stillUsable(t, b)
}

// stillUsable opens a transport at a proper broker and sends a message each way.
func stillUsable(t *testing.T, b *fakeBroker) {
	t.Helper()
	o, s := connected(t, b, Config{}, welcome(), sources(1, "a"))
	s.publish("a", 1, 1, "in")
	o.Next().Settle(client.Settle)
	if p := expect[*packets.Puback](s); p.PacketID != 1 {
		t.Errorf("%v", p)
	}
	outcome := o.Send(client.Outbound{Address: "t", QoS: 1})
	s.puback(expect[*packets.Publish](s).PacketID, 0)
	if got := clienttest.Await(t, outcome); got.Err != nil {
		t.Errorf("%+v", got)
	}
}

// play is a peer that answers whatever it is sent with the same bytes, and then only reads.
func play(t *testing.T, answer string) (port int, end func()) {
	t.Helper()
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = c.Read(make([]byte, 1))
				_, _ = io.WriteString(c, answer)
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	return l.Addr().(*net.TCPAddr).Port, func() { _ = l.Close(); all.Wait() }
}

// scripted is a socket that delivers bytes.
type scripted struct {
	net.Conn
	in io.Reader
}

func (s scripted) Read(p []byte) (int, error) { return s.in.Read(p) }

// TestReader: packets arrive whole whatever the pieces are in which they come.
func TestReader(t *testing.T) {
	const stream = connack + "\x30\x05\x00\x01a\x00x" + "\xd0\x00" + "\x40\x02\x00\x01" + "\xe0\x00"
	r := newReader(scripted{in: iotest.OneByteReader(strings.NewReader(stream))}, 1<<20)
	for _, want := range []byte{packets.CONNACK, packets.PUBLISH, packets.PINGRESP, packets.PUBACK, packets.DISCONNECT} {
		p, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		var kind bytes.Buffer
		if _, err := p.WriteTo(&kind); err != nil || kind.Bytes()[0]>>4 != want {
			t.Fatalf("%T, %v, want type %d", p, err, want)
		}
	}
	if _, err := r.next(); err == nil {
		t.Error("a packet after the end")
	}
}

// FuzzReader lets a broker send anything: nothing panics, and the headers of a message are text.
func FuzzReader(f *testing.F) {
	f.Add([]byte(connack + "\x30\x05\x00\x01a\x00x\xd0\x00\x40\x02\x00\x01\xe0\x00"))
	f.Add([]byte("\x32\x16\x00\x01a\x00\x01\x10\x26\x00\x01a\x00\x01b\x09\x00\x01c\x08\x00\x01d"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newReader(scripted{in: bytes.NewReader(stream)}, 1<<16)
		for {
			p, err := r.next()
			if err != nil {
				return
			}
			if m, ok := p.(*packets.Publish); ok {
				for name, value := range headers(m.Properties) {
					if name != readable(name) || value != readable(value) {
						t.Fatalf("%q: %q", name, value)
					}
				}
			}
		}
	})
}
