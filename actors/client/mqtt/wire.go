package mqtt

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"hawser/actors/client/mqttbinding"
)

// wire is the socket that paho reads and writes. Paho sees of it CONNECT, SUBSCRIBE, their answers, pings and DISCONNECT.
// Messages and their acknowledgements go past paho, between the wire and its link: through paho each of them crosses five
// goroutines, and an acknowledgement may block.
//
// What the broker sends is checked before anybody sees it: paho trusts the broker so far that one malformed SUBACK ends
// the process, and an unknown CONNACK code looks like success.
type wire struct {
	net.Conn
	out       *mqttbinding.Wire
	link      peer
	in        *bufio.Reader
	left      int // bytes of the packet that paho is reading
	connacked bool
	maxPacket int

	mu         sync.Mutex
	subscribes map[uint16]int // packet id of a SUBSCRIBE without answer → its number of filters
}

// peer is what the wire tells of messages. Calls come from the reading goroutine (paho's); they hold no lock and must not
// block.
type peer interface {
	Received(m mqttbinding.Message) error
	Acknowledged(kind byte, id uint16, refusal error)
}

const (
	readBuffer = 8 << 10
	// Codes of CONNACK beyond this are unknown.
	maxConnackCode = 5
)

func newWire(out *mqttbinding.Wire, maxPacket int, link peer) *wire {
	return &wire{Conn: out.Conn, out: out, link: link, in: bufio.NewReaderSize(out.Conn, readBuffer), maxPacket: maxPacket, subscribes: map[uint16]int{}}
}

// Read hands on the bytes of the packets that are for paho.
func (w *wire) Read(p []byte) (n int, err error) {
	defer w.out.Guard()
	for w.left == 0 {
		if err := w.next(); err != nil {
			return 0, w.out.Fail(err)
		}
	}
	n, err = w.in.Read(p[:min(len(p), w.left)])
	w.left -= n
	if err != nil {
		err = w.out.Fail(err)
	}
	return n, err
}

// next takes the next packet in: a message or an acknowledgement whole, of one that is for paho the header.
func (w *wire) next() error {
	header, length, err := mqttbinding.Header(w.in)
	if err != nil {
		return err
	}
	kind, flags := header[0]>>4, header[0]&0x0f
	if !w.connacked && kind != mqttbinding.TypeConnack {
		return unexpected(kind)
	}
	switch kind {
	case mqttbinding.TypePublish:
		return w.publish(flags, len(header), length)
	case mqttbinding.TypePuback, mqttbinding.TypePubrec, mqttbinding.TypePubrel, mqttbinding.TypePubcomp:
		if length != 2 {
			return unexpected(kind)
		}
		packet, err := w.in.Peek(len(header) + 2)
		if err != nil {
			return err
		}
		id := uint16(packet[len(packet)-2])<<8 | uint16(packet[len(packet)-1])
		_, _ = w.in.Discard(len(packet))
		w.link.Acknowledged(kind, id, nil)
		return nil
	case mqttbinding.TypeConnack:
		err = w.connack(len(header), length)
	case mqttbinding.TypeSuback:
		err = w.suback(len(header), length)
	case mqttbinding.TypePingresp:
		if length != 0 {
			err = unexpected(kind)
		}
	default:
		err = unexpected(kind)
	}
	if err == nil {
		w.left = len(header) + length
	}
	return err
}

func unexpected(kind byte) error {
	return fmt.Errorf("the peer does not speak MQTT 3.1.1: unexpected packet of type %d", kind)
}

func (w *wire) publish(flags byte, header, length int) error {
	qos := flags >> 1 & 3
	if length > w.maxPacket {
		return fmt.Errorf("the broker sent a message of %d bytes, more than the limit of %d", length, w.maxPacket)
	}
	if length < 2 || qos == 3 {
		return unexpected(mqttbinding.TypePublish)
	}
	_, _ = w.in.Discard(header)
	body := make([]byte, length)
	if _, err := io.ReadFull(w.in, body); err != nil {
		return err
	}
	rest := body[2:]
	size := int(body[0])<<8 | int(body[1])
	if size > len(rest) {
		return unexpected(mqttbinding.TypePublish)
	}
	topic, rest := string(rest[:size]), rest[size:]
	var id uint16
	if qos > 0 {
		if len(rest) < 2 {
			return unexpected(mqttbinding.TypePublish)
		}
		id, rest = uint16(rest[0])<<8|uint16(rest[1]), rest[2:]
		if id == 0 {
			return unexpected(mqttbinding.TypePublish)
		}
	}
	return w.link.Received(mqttbinding.Message{Topic: topic, QoS: qos, Retain: flags&1 == 1, ID: id, Payload: rest})
}

func (w *wire) connack(header, length int) error {
	if length != 2 || w.connacked {
		return unexpected(mqttbinding.TypeConnack)
	}
	packet, err := w.in.Peek(header + length)
	if err != nil {
		return err
	}
	if code := packet[len(packet)-1]; code > maxConnackCode {
		return fmt.Errorf("the broker answered CONNECT with the unknown code %d", code)
	}
	w.connacked = true
	return nil
}

// suback checks that a SUBACK answers a SUBSCRIBE of ours with one code per filter.
func (w *wire) suback(header, length int) error {
	if length < 3 || header+length > readBuffer {
		return unexpected(mqttbinding.TypeSuback)
	}
	packet, err := w.in.Peek(header + length)
	if err != nil {
		return err
	}
	id := uint16(packet[header])<<8 | uint16(packet[header+1])
	w.mu.Lock()
	defer w.mu.Unlock()
	filters, ok := w.subscribes[id]
	if !ok || filters != length-2 {
		return unexpected(mqttbinding.TypeSuback)
	}
	delete(w.subscribes, id)
	return nil
}

// Write takes over one packet of paho.
func (w *wire) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, w.out.Cause()
	}
	send := w.out.Send
	switch p[0] >> 4 {
	case mqttbinding.TypeSubscribe:
		w.subscribed(p)
	case mqttbinding.TypeDisconnect:
		send = w.out.Farewell
	}
	if err := send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// subscribed remembers how many filters a SUBSCRIBE has.
func (w *wire) subscribed(p []byte) {
	i := 1
	for i < len(p) && p[i] >= 0x80 {
		i++
	}
	i++
	if i+2 > len(p) {
		return
	}
	id, filters := uint16(p[i])<<8|uint16(p[i+1]), 0
	for i += 2; i+2 <= len(p); filters++ {
		i += 2 + int(p[i])<<8 + int(p[i+1]) + 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscribes[id] = filters
}

// Close implements net.Conn.
func (w *wire) Close() error { return w.out.Close() }

// SetDeadline sets the deadline of reads; the wire has its own for writes.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: the wire has its own.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
