package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// wire is the socket that paho reads and writes. It does three things that paho does not:
//
//   - Reading goes through a buffer, and a packet is handed on only when a broker may send it: paho trusts the broker so
//     far that one malformed SUBACK ends the process, and an unknown CONNACK code looks like success.
//   - Writing never blocks: packets are collected while the socket is busy and sent together by one goroutine.
//   - PUBACK and PUBREC packets can be written beside paho, in the order in which the messages arrived.
type wire struct {
	net.Conn
	in        *bufio.Reader
	left      int // bytes of the packet that paho is reading
	connacked bool
	maxPacket int

	mu         sync.Mutex
	room       sync.Cond // out has become short, or the wire is broken
	out        []byte
	err        error          // why nothing can be written or read any more
	subscribes map[uint16]int // packet id of a SUBSCRIBE without answer → its number of filters
	closing    bool

	broken  func(error)   // called once, with the first error, unless the wire was closed before
	wake    chan struct{} // there is something in out, or closing
	flushed chan struct{} // the writing goroutine has ended
}

const (
	readBuffer = 8 << 10
	// A publisher waits while more than this is unsent.
	roomy = 256 << 10
	// One write to the socket takes at most this much and must get on within writeTimeout.
	chunk        = 64 << 10
	writeTimeout = 20 * time.Second
	// Close sends what is unsent for at most this long.
	lastFlush = time.Second
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
	typeUnsuback   = 11
	typePingresp   = 13
	maxHeader      = 5
	maxConnackCode = 5
)

// errCut is what paho sees of a socket that was closed below it. It must not look like net.ErrClosed, which paho takes for
// its own doing and says nothing about.
var errCut = errors.New("the socket was closed")

func newWire(conn net.Conn, maxPacket int, broken func(error)) *wire {
	w := &wire{
		Conn: conn, in: bufio.NewReaderSize(conn, readBuffer), maxPacket: maxPacket, broken: broken,
		subscribes: map[uint16]int{}, wake: make(chan struct{}, 1), flushed: make(chan struct{}),
	}
	w.room.L = &w.mu
	go w.flush()
	return w
}

// Read hands on the bytes of packets that have passed the check.
func (w *wire) Read(p []byte) (int, error) {
	if w.left == 0 {
		if err := w.next(); err != nil {
			return 0, w.fail(err)
		}
	}
	n, err := w.in.Read(p[:min(len(p), w.left)])
	w.left -= n
	if err != nil {
		err = w.fail(err)
	}
	return n, err
}

// next looks at the header of the next packet.
func (w *wire) next() error {
	header, length, err := w.header()
	if err != nil {
		return err
	}
	kind, flags := header[0]>>4, header[0]&0x0f
	fits := length == 2
	switch kind {
	case typeConnack:
		if !fits || w.connacked {
			break
		}
		whole, err := w.in.Peek(len(header) + length)
		if err != nil {
			return err
		}
		if code := whole[len(whole)-1]; code > maxConnackCode {
			return fmt.Errorf("the broker answered CONNECT with the unknown code %d", code)
		}
		w.connacked = true
		w.left = len(header) + length
		return nil
	case typePublish:
		fits = length >= 3 && flags>>1&3 != 3
		if length > w.maxPacket {
			return fmt.Errorf("the broker sent a message of %d bytes, more than the limit of %d", length, w.maxPacket)
		}
	case typeSuback:
		if fits, err = w.suback(len(header), length); err != nil {
			return err
		}
	case typePuback, typePubrec, typePubrel, typePubcomp, typeUnsuback:
	case typePingresp:
		fits = length == 0
	default:
		fits = false
	}
	if !fits || !w.connacked {
		return fmt.Errorf("the peer does not speak MQTT 3.1.1: unexpected packet of type %d", kind)
	}
	w.left = len(header) + length
	return nil
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

// suback reports whether a SUBACK answers one of our SUBSCRIBEs with one code per filter.
func (w *wire) suback(header, length int) (bool, error) {
	if length < 3 || header+length > readBuffer {
		return false, nil
	}
	whole, err := w.in.Peek(header + length)
	if err != nil {
		return false, err
	}
	id := uint16(whole[header])<<8 | uint16(whole[header+1])
	w.mu.Lock()
	defer w.mu.Unlock()
	filters, ok := w.subscribes[id]
	delete(w.subscribes, id)
	return ok && filters == length-2, nil
}

// Write takes one packet over and never blocks.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if len(p) > 4 && p[0]>>4 == typeSubscribe {
		w.subscribed(p)
	}
	w.append(p)
	return len(p), nil
}

// acknowledge writes a PUBACK or PUBREC.
func (w *wire) acknowledge(kind byte, id uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.append([]byte{kind << 4, 2, byte(id >> 8), byte(id)})
	}
}

func (w *wire) append(p []byte) {
	w.out = append(w.out, p...)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// subscribed remembers how many filters a SUBSCRIBE of ours has.
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

// waitRoom waits until little is unsent. It reports false when nothing can be sent any more.
func (w *wire) waitRoom() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.out) > roomy && w.err == nil {
		w.room.Wait()
	}
	return w.err == nil
}

// flush is the goroutine that writes to the socket. Close or an error ends it.
func (w *wire) flush() {
	defer close(w.flushed)
	var sending []byte
	for range w.wake {
		w.mu.Lock()
		sending, w.out = w.out, sending[:0]
		closing := w.closing
		w.room.Broadcast()
		w.mu.Unlock()
		for rest := sending; len(rest) > 0; {
			part := rest[:min(len(rest), chunk)]
			_ = w.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := w.Conn.Write(part); err != nil {
				_ = w.fail(err)
				_ = w.Conn.Close() // wakes the reader
				return
			}
			rest = rest[len(part):]
		}
		if cap(sending) > 2*roomy {
			sending = nil
		}
		if closing {
			return
		}
	}
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
	closing := w.closing
	w.room.Broadcast()
	w.mu.Unlock()
	if !closing {
		w.broken(err)
	}
	return err
}

// cause is the first error, nil while the wire works.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close sends what is unsent, for a moment, and closes the socket.
func (w *wire) Close() error {
	w.mu.Lock()
	first := !w.closing
	w.closing = true
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	last := time.NewTimer(lastFlush)
	defer last.Stop()
	select {
	case <-w.flushed:
	case <-last.C:
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
