package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// wire is the socket that paho reads and writes. Paho sees of it CONNECT, SUBSCRIBE, their answers, pings and DISCONNECT.
// Messages and their acknowledgements go past paho, between the wire and its link: through paho each of them crosses five
// goroutines, and an acknowledgement may block.
//
//   - What the broker sends is checked before anybody sees it: paho trusts the broker so far that one malformed SUBACK ends
//     the process, and an unknown CONNACK code looks like success.
//   - Writing never blocks: packets are collected while the socket is busy, and one goroutine sends them together.
type wire struct {
	net.Conn
	link      peer
	in        *bufio.Reader
	left      int // bytes of the packet that paho is reading
	connacked bool
	maxPacket int

	mu         sync.Mutex
	out        []byte
	unsent     []*publication // of QoS 0 in out
	err        error          // why nothing can be written or read any more
	subscribes map[uint16]int // packet id of a SUBSCRIBE without answer → its number of filters
	closing    bool
	farewell   bool // DISCONNECT was written

	wake    chan struct{} // there is something in out, or closing
	flushed chan struct{} // the writing goroutine has ended
	failed  chan struct{} // err is set
}

// peer is what the wire tells of messages. Calls come from the reading goroutine (paho's), sent from the writing one; they
// hold no lock and must not block.
type peer interface {
	// received: a PUBLISH; payload may be kept.
	received(topic string, qos byte, retain bool, id uint16, payload []byte) error
	// acknowledged: a PUBACK, PUBREC, PUBREL or PUBCOMP.
	acknowledged(kind byte, id uint16)
	// sent: publishes of QoS 0 have been written to the socket.
	sent([]*publication)
	// broken is called once, with the first error, unless the wire was closed before.
	broken(error)
}

const (
	readBuffer = 8 << 10
	// One write to the socket takes at most this much and must get on within writeTimeout.
	chunk        = 64 << 10
	writeTimeout = 20 * time.Second
	// A buffer that grew beyond this is not kept.
	keepBuffer = 256 << 10
	// How long a failed write waits for the reader to say why.
	readerFirst = 100 * time.Millisecond
	// How long Close sends what is unsent, and waits for the broker to close the connection.
	farewellTimeout = time.Second
)

// The packet types that matter here (MQTT 3.1.1, 2.2.1).
const (
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typePubrec     = 5
	typePubrel     = 6
	typePubcomp    = 7
	typeSubscribe  = 8
	typeSuback     = 9
	typePingresp   = 13
	typeDisconnect = 14
	maxHeader      = 5
	maxLength      = 1<<28 - 1
	maxConnackCode = 5
)

// errCut is what paho sees of a socket that was closed below it. It must not look like net.ErrClosed, which paho takes for
// its own doing and says nothing about.
var errCut = errors.New("the socket was closed")

func newWire(conn net.Conn, maxPacket int, link peer) *wire {
	w := &wire{
		Conn: conn, link: link, in: bufio.NewReaderSize(conn, readBuffer), maxPacket: maxPacket,
		subscribes: map[uint16]int{}, wake: make(chan struct{}, 1), flushed: make(chan struct{}), failed: make(chan struct{}),
	}
	go w.flush()
	return w
}

// Read hands on the bytes of the packets that are for paho.
func (w *wire) Read(p []byte) (n int, err error) {
	defer w.guard()
	for w.left == 0 {
		if err := w.next(); err != nil {
			return 0, w.fail(err)
		}
	}
	n, err = w.in.Read(p[:min(len(p), w.left)])
	w.left -= n
	if err != nil {
		err = w.fail(err)
	}
	return n, err
}

// guard turns a panic of whoever is told of a message or an outcome into a broken wire: it must not end the process. The
// socket is closed, so that the next read says so to paho.
func (w *wire) guard() {
	if p := recover(); p != nil {
		slog.Error("panic while taking in an MQTT packet", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		_ = w.fail(errPanic)
		_ = w.Conn.Close()
	}
}

var errPanic = errors.New("the driver failed unexpectedly")

// next takes the next packet in: a message or an acknowledgement whole, of one that is for paho the header.
func (w *wire) next() error {
	header, length, err := w.header()
	if err != nil {
		return err
	}
	kind, flags := header[0]>>4, header[0]&0x0f
	if !w.connacked && kind != typeConnack {
		return unexpected(kind)
	}
	switch kind {
	case typePublish:
		return w.publish(flags, len(header), length)
	case typePuback, typePubrec, typePubrel, typePubcomp:
		if length != 2 {
			return unexpected(kind)
		}
		packet, err := w.in.Peek(len(header) + 2)
		if err != nil {
			return err
		}
		id := uint16(packet[len(packet)-2])<<8 | uint16(packet[len(packet)-1])
		_, _ = w.in.Discard(len(packet))
		w.link.acknowledged(kind, id)
		return nil
	case typeConnack:
		err = w.connack(len(header), length)
	case typeSuback:
		err = w.suback(len(header), length)
	case typePingresp:
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

// header waits for a fixed header; it stays in the buffer.
func (w *wire) header() (header []byte, length int, err error) {
	for n := 2; n <= maxHeader; n++ {
		if header, err = w.in.Peek(n); err != nil {
			return nil, 0, err
		}
		b := header[n-1]
		length |= int(b&0x7f) << (7 * (n - 2))
		if b < 0x80 {
			return header, length, nil
		}
	}
	return nil, 0, errors.New("the peer does not speak MQTT 3.1.1: malformed packet length")
}

func (w *wire) publish(flags byte, header, length int) error {
	qos := flags >> 1 & 3
	if length > w.maxPacket {
		return fmt.Errorf("the broker sent a message of %d bytes, more than the limit of %d", length, w.maxPacket)
	}
	if length < 2 || qos == 3 {
		return unexpected(typePublish)
	}
	_, _ = w.in.Discard(header)
	body := make([]byte, length)
	if _, err := io.ReadFull(w.in, body); err != nil {
		return err
	}
	rest := body[2:]
	size := int(body[0])<<8 | int(body[1])
	if size > len(rest) {
		return unexpected(typePublish)
	}
	topic, rest := string(rest[:size]), rest[size:]
	var id uint16
	if qos > 0 {
		if len(rest) < 2 {
			return unexpected(typePublish)
		}
		id, rest = uint16(rest[0])<<8|uint16(rest[1]), rest[2:]
		if id == 0 {
			return unexpected(typePublish)
		}
	}
	return w.link.received(topic, qos, flags&1 == 1, id, rest)
}

func (w *wire) connack(header, length int) error {
	if length != 2 || w.connacked {
		return unexpected(typeConnack)
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
		return unexpected(typeSuback)
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
		return unexpected(typeSuback)
	}
	delete(w.subscribes, id)
	return nil
}

// Write takes over one packet of paho.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(p) == 0 {
		return 0, w.err
	}
	switch p[0] >> 4 {
	case typeSubscribe:
		w.subscribed(p)
	case typeDisconnect:
		w.farewell = true
	}
	w.out = append(w.out, p...)
	w.signal()
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
	w.subscribes[id] = filters
}

// writePublish appends a PUBLISH; id is of no meaning with QoS 0, whose outcome is reported by sent. false: the wire is
// broken.
func (w *wire) writePublish(p *publication, id uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false
	}
	w.out = p.append(w.out, id)
	if p.qos == 0 {
		w.unsent = append(w.unsent, p)
	}
	w.signal()
	return true
}

// writeAck appends a packet that consists of a packet id; PUBREL has a flag.
func (w *wire) writeAck(kind byte, id uint16) {
	first := kind << 4
	if kind == typePubrel {
		first |= 2
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.out = append(w.out, first, 2, byte(id>>8), byte(id))
		w.signal()
	}
}

func (w *wire) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// flush is the goroutine that writes to the socket. Close or an error ends it.
func (w *wire) flush() {
	defer close(w.flushed)
	defer w.guard()
	var sending []byte
	var unsent []*publication
	for range w.wake {
		runtime.Gosched() // whoever is about to write more does so first: fewer, larger writes under load
		w.mu.Lock()
		sending, w.out = w.out, sending[:0]
		unsent, w.unsent = w.unsent, unsent[:0]
		closing := w.closing
		w.mu.Unlock()
		for rest := sending; len(rest) > 0; {
			part := rest[:min(len(rest), chunk)]
			_ = w.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := w.Conn.Write(part); err != nil {
				select { // the reader may know better why: a TLS alert, say
				case <-w.failed:
				case <-time.After(readerFirst):
				}
				_ = w.fail(err)
				_ = w.Conn.Close() // wakes the reader
				w.mu.Lock()
				w.unsent = append(unsent, w.unsent...)
				w.mu.Unlock()
				return
			}
			rest = rest[len(part):]
		}
		if len(unsent) > 0 {
			w.link.sent(unsent)
			clear(unsent)
		}
		if cap(sending) > keepBuffer {
			sending = nil
		}
		if closing {
			return
		}
	}
}

// abandoned are the publishes of QoS 0 that were not sent before the wire was closed.
func (w *wire) abandoned() []*publication {
	w.mu.Lock()
	defer w.mu.Unlock()
	unsent := w.unsent
	w.unsent = nil
	return unsent
}

// fail keeps the first error.
func (w *wire) fail(err error) error {
	if errors.Is(err, net.ErrClosed) {
		err = errCut
	}
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	w.err = err
	close(w.failed)
	closing := w.closing
	w.mu.Unlock()
	if !closing {
		w.link.broken(err)
	}
	return err
}

// cause is the first error, nil while the wire works.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close sends what is unsent and closes the socket. After a DISCONNECT it lets the broker close first: one that sees the
// next CONNECT before it has read our last acknowledgements would deliver those messages again.
func (w *wire) Close() error {
	w.mu.Lock()
	w.closing = true
	farewell := w.farewell
	w.signal()
	w.mu.Unlock()
	limit := time.NewTimer(farewellTimeout)
	defer limit.Stop()
	select {
	case <-w.flushed:
		if farewell {
			select {
			case <-w.failed:
			case <-limit.C:
			}
		}
	case <-limit.C:
	}
	_ = w.fail(errCut)
	err := w.Conn.Close()
	<-w.flushed
	return err
}

// SetDeadline sets the deadline of reads; the wire has its own for writes.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: the wire has its own.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
