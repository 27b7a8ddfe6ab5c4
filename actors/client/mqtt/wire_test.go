package mqtt

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client/mqttbinding"
)

// fakePeer takes down what a wire tells.
type fakePeer struct {
	messages int
	acks     []byte
	cause    error
}

func (p *fakePeer) Received(mqttbinding.Message) error        { p.messages++; return nil }
func (p *fakePeer) Acknowledged(kind byte, _ uint16, _ error) { p.acks = append(p.acks, kind) }
func (p *fakePeer) Sent([]*mqttbinding.Publication)           {}
func (p *fakePeer) Broken(err error)                          { p.cause = err }

// wired is a wire that reads from in.
func wired(in io.Reader, maxPacket int, peer *fakePeer) *wire {
	return newWire(mqttbinding.NewWire(scripted{in: in}, peer), maxPacket, peer)
}

// scripted is a socket that delivers bytes and takes everything.
type scripted struct {
	net.Conn
	in io.Reader
}

func (s scripted) Read(p []byte) (int, error)      { return s.in.Read(p) }
func (scripted) Write(p []byte) (int, error)       { return len(p), nil }
func (scripted) Close() error                      { return nil }
func (scripted) SetWriteDeadline(time.Time) error  { return nil }
func (scripted) SetReadDeadline(_ time.Time) error { return nil }

const connack = "\x20\x02\x00\x00"

// TestWireRefuses lists what a broker may not send; paho sees none of it.
func TestWireRefuses(t *testing.T) {
	const subscribe = "\x82\x0a\x00\x01\x00\x01a\x01\x00\x01b\x01" // packet 1, two filters
	for name, row := range map[string]struct{ sent, received string }{
		"garbage before CONNACK":     {"", "HTTP/1.1 200 OK"},
		"PUBLISH before CONNACK":     {"", "\x30\x03\x00\x01a"},
		"unknown CONNACK code":       {"", "\x20\x02\x00\x77"},
		"long CONNACK":               {"", "\x20\x03\x00\x00\x00"},
		"two CONNACKs":               {"", connack + connack},
		"SUBACK without SUBSCRIBE":   {"", connack + "\x90\x03\x00\x01\x00"},
		"SUBACK with too many codes": {subscribe, connack + "\x90\x05\x00\x01\x00\x00\x00"},
		"SUBACK with too few codes":  {subscribe, connack + "\x90\x03\x00\x01\x00"},
		"SUBACK for another packet":  {subscribe, connack + "\x90\x04\x00\x02\x00\x00"},
		"two SUBACKs":                {subscribe, connack + "\x90\x04\x00\x01\x00\x00\x90\x04\x00\x01\x00\x00"},
		"SUBACK without id":          {subscribe, connack + "\x90\x01\x00"},
		"huge SUBACK":                {subscribe, connack + "\x90\xff\xff\x7f"},
		"QoS 3":                      {"", connack + "\x36\x05\x00\x01a\x00\x01"},
		"QoS 1 without id":           {"", connack + "\x32\x03\x00\x01a"},
		"QoS 1 with id 0":            {"", connack + "\x32\x05\x00\x01a\x00\x00"},
		"topic longer than packet":   {"", connack + "\x30\x03\x00\x09a"},
		"PUBLISH without topic":      {"", connack + "\x30\x01\x00"},
		"message over the limit":     {"", connack + "\x30\xff\xff\xff\x7f\x00\x01a"},
		"length of five bytes":       {"", connack + "\x30\xff\xff\xff\xff\x01"},
		"PUBACK without id":          {"", connack + "\x40\x00"},
		"CONNECT":                    {"", connack + "\x10\x00"},
		"DISCONNECT":                 {"", connack + "\xe0\x00"},
		"packet type 0":              {"", connack + "\x00\x00"},
		"packet type 15":             {"", connack + "\xf0\x00"},
		"PINGRESP with content":      {"", connack + "\xd0\x01\x00"},
		"end in the middle":          {"", connack + "\x30\x09\x00"},
		"end":                        {"", connack},
	} {
		t.Run(name, func(t *testing.T) {
			peer := &fakePeer{}
			w := wired(strings.NewReader(row.received), 1<<20, peer)
			defer func() { _ = w.Close() }()
			if row.sent != "" {
				if _, err := w.Write([]byte(row.sent)); err != nil {
					t.Fatal(err)
				}
			}
			for {
				if _, err := packets.ReadPacket(w); err != nil {
					break
				}
			}
			if peer.cause == nil || peer.messages > 0 {
				t.Fatalf("cause %v, %d messages", peer.cause, peer.messages)
			}
		})
	}
}

// TestWireHandsOn: messages and acknowledgements go to the link, the rest to paho.
func TestWireHandsOn(t *testing.T) {
	const stream = connack + "\x30\x03\x00\x01a" + "\x32\x06\x00\x01a\x00\x07x" + "\x40\x02\x00\x01" + "\xd0\x00" + "\x50\x02\x00\x01\x62\x02\x00\x01\x70\x02\x00\x01" + "\x34\x05\x00\x01a\x00\x08"
	peer := &fakePeer{}
	w := wired(iotest.OneByteReader(strings.NewReader(stream)), 1<<20, peer)
	defer func() { _ = w.Close() }()
	var seen []byte
	for {
		p, err := packets.ReadPacket(w)
		if err != nil {
			break
		}
		switch p.(type) {
		case *packets.ConnackPacket:
			seen = append(seen, packets.Connack)
		case *packets.PingrespPacket:
			seen = append(seen, packets.Pingresp)
		default:
			t.Errorf("paho sees %v", p)
		}
	}
	if !bytes.Equal(seen, []byte{packets.Connack, packets.Pingresp}) || peer.messages != 3 || !bytes.Equal(peer.acks, []byte{4, 5, 6, 7}) {
		t.Errorf("paho sees %v, the link %d messages and acknowledgements %v", seen, peer.messages, peer.acks)
	}
}

// FuzzWire lets a broker send anything: what passes is readable for paho's codec, and nothing panics.
func FuzzWire(f *testing.F) {
	f.Add([]byte(connack + "\x30\x03\x00\x01a\xd0\x00\x90\x04\x00\x01\x00\x00"))
	f.Add([]byte(connack + "\x32\x06\x00\x01a\x00\x07x\x40\x02\x00\x01"))
	f.Add([]byte("\x20\x02\x00\x05"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		peer := &fakePeer{}
		w := wired(bytes.NewReader(stream), 1<<16, peer)
		_, _ = w.Write([]byte("\x82\x0a\x00\x01\x00\x01a\x01\x00\x01b\x01"))
		for i := 0; ; i++ {
			p, err := packets.ReadPacket(w)
			if err != nil {
				break
			}
			if _, ok := p.(*packets.ConnackPacket); ok != (i == 0) {
				t.Fatalf("packet %d is %v", i, p)
			}
			if s, ok := p.(*packets.SubackPacket); ok && len(s.ReturnCodes) != 2 {
				t.Fatalf("paho would see %v", s)
			}
		}
		_ = w.Close()
		if peer.cause == nil {
			t.Fatal("the stream has ended and nobody is told")
		}
	})
}
