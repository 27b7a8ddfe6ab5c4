package mqttbinding

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Wire is the socket of a link, and its writing half: packets are collected while the socket is busy, and one goroutine
// sends them together, so that writing never blocks. Reading is the session's.
type Wire struct {
	Conn net.Conn // for reading: only the wire writes
	link Peer

	mu       sync.Mutex
	out      []byte
	unsent   []*Publication // of QoS 0 in out
	err      error          // why nothing can be written or read any more
	closing  bool
	farewell bool // DISCONNECT was written

	wake    chan struct{} // there is something in out, or closing
	flushed chan struct{} // the writing goroutine has ended
	failed  chan struct{} // err is set
}

// Peer is what the wire tells of itself. Calls hold no lock and must not block.
type Peer interface {
	// Sent: publishes of QoS 0 have been written to the socket. It comes from the writing goroutine.
	Sent([]*Publication)
	// Broken is called once, with the first error, unless the wire was closed before.
	Broken(error)
}

const (
	// One write to the socket takes at most this much and must get on within writeTimeout.
	chunk        = 64 << 10
	writeTimeout = 20 * time.Second
	// A buffer that grew beyond this is not kept.
	keepBuffer = 256 << 10
	// How long a failed write waits for the reader to say why.
	readerFirst = 100 * time.Millisecond
	// How long Close sends what is unsent, and waits for the broker to close the connection.
	farewellTimeout = time.Second
	// A fixed header has at most this many bytes, and a packet this many after it.
	maxHeader = 5
	maxLength = 1<<28 - 1
)

// The packet types (MQTT 3.1.1, 2.2.1; MQTT 5, 2.1.2).
const (
	TypeConnack    = 2
	TypePublish    = 3
	TypePuback     = 4
	TypePubrec     = 5
	TypePubrel     = 6
	TypePubcomp    = 7
	TypeSubscribe  = 8
	TypeSuback     = 9
	TypePingresp   = 13
	TypeDisconnect = 14
)

// errCut is what is read from a socket that was closed below its reader. It must not look like net.ErrClosed, which paho
// takes for its own doing and says nothing about.
var errCut = errors.New("the socket was closed")

// NewWire starts the writing goroutine; Close or an error ends it.
func NewWire(conn net.Conn, link Peer) *Wire {
	w := &Wire{Conn: conn, link: link, wake: make(chan struct{}, 1), flushed: make(chan struct{}), failed: make(chan struct{})}
	go w.flush()
	return w
}

// Header waits for a fixed header; it stays in the buffer of in.
func Header(in *bufio.Reader) (header []byte, length int, err error) {
	for n := 2; n <= maxHeader; n++ {
		if header, err = in.Peek(n); err != nil {
			return nil, 0, err
		}
		b := header[n-1]
		length |= int(b&0x7f) << (7 * (n - 2))
		if b < 0x80 {
			return header, length, nil
		}
	}
	return nil, 0, errors.New("the peer does not speak MQTT: malformed packet length")
}

// Guard is deferred where packets are taken in: it turns a panic of whoever is told of one into a broken wire, which must
// not end the process. The socket is closed, so that the next read fails.
func (w *Wire) Guard() {
	if p := recover(); p != nil {
		slog.Error("panic while taking in an MQTT packet", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		_ = w.Fail(errPanic)
		_ = w.Conn.Close()
	}
}

var errPanic = errors.New("the driver failed unexpectedly")

// Send appends a packet. The error is that of Cause.
func (w *Wire) Send(packet []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.out = append(w.out, packet...)
		w.signal()
	}
	return w.err
}

// Farewell is Send for DISCONNECT: Close then lets the broker close first.
func (w *Wire) Farewell(packet []byte) error {
	w.mu.Lock()
	w.farewell = true
	w.mu.Unlock()
	return w.Send(packet)
}

// writePublish appends a PUBLISH; id is of no meaning with QoS 0, whose outcome is reported by Sent. false: the wire is
// broken.
func (w *Wire) writePublish(p *Publication, id uint16) bool {
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

// writeAck appends a packet that consists of a packet id; PUBREL has a flag. In MQTT 5 the short form means success.
func (w *Wire) writeAck(kind byte, id uint16) {
	first := kind << 4
	if kind == TypePubrel {
		first |= 2
	}
	_ = w.Send([]byte{first, 2, byte(id >> 8), byte(id)})
}

func (w *Wire) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// flush is the goroutine that writes to the socket. Close or an error ends it.
func (w *Wire) flush() {
	defer close(w.flushed)
	defer w.Guard()
	var sending []byte
	var unsent []*Publication
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
				_ = w.Fail(err)
				_ = w.Conn.Close() // wakes the reader
				w.mu.Lock()
				w.unsent = append(unsent, w.unsent...)
				w.mu.Unlock()
				return
			}
			rest = rest[len(part):]
		}
		if len(unsent) > 0 {
			w.link.Sent(unsent)
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
func (w *Wire) abandoned() []*Publication {
	w.mu.Lock()
	defer w.mu.Unlock()
	unsent := w.unsent
	w.unsent = nil
	return unsent
}

// Fail keeps the first error.
func (w *Wire) Fail(err error) error {
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
		w.link.Broken(err)
	}
	return err
}

// Cause is the first error, nil while the wire works.
func (w *Wire) Cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close sends what is unsent and closes the socket. After a DISCONNECT it lets the broker close first: one that sees the
// next CONNECT before it has read our last acknowledgements would deliver those messages again.
func (w *Wire) Close() error {
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
	_ = w.Fail(errCut)
	err := w.Conn.Close()
	<-w.flushed
	return err
}
