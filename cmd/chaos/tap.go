package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tap is the one way from the nodes to the broker. It copies bytes and tells an observer when a link of an MQTT client
// begins and ends.
type tap struct {
	listener net.Listener
	broker   string
	observer *observer

	mu   sync.Mutex
	ends map[net.Conn]bool // nil: closed
	all  sync.WaitGroup
}

// newTap listens on a free port of host.
func newTap(host, broker string, o *observer) (*tap, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	t := &tap{listener: l, broker: broker, observer: o, ends: map[net.Conn]bool{}}
	t.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.all.Go(func() { t.serve(c.(*net.TCPConn)) })
		}
	})
	return t, nil
}

func (t *tap) address() string { return t.listener.Addr().String() }

func (t *tap) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	for c := range t.ends {
		_ = c.Close()
	}
	t.ends = nil
	t.mu.Unlock()
	t.all.Wait()
}

func (t *tap) add(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ends == nil {
		_ = c.Close()
		return false
	}
	t.ends[c] = true
	return true
}

func (t *tap) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = c.Close()
	delete(t.ends, c)
}

// serve relays one link.
func (t *tap) serve(c *net.TCPConn) {
	defer t.remove(c)
	if !t.add(c) {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	packet, client, err := readConnect(c)
	if err != nil {
		return // no MQTT client, or gone before it said who it is
	}
	_ = c.SetReadDeadline(time.Time{})
	remote, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	l := t.observer.connecting(client, remote, func() bool { return established(c) })
	defer close(l.finished)
	defer t.observer.ended(l)
	// The broker must see the links of a client in the order in which the node used them, however this program's goroutines
	// are scheduled: a CONNECT whose link is over would take over the one that followed it.
	for _, earlier := range l.after {
		select {
		case <-earlier.finished:
		case <-time.After(5 * time.Second):
		}
	}
	l.after = nil // else each link would keep all its predecessors
	b, err := net.DialTimeout("tcp", t.broker, 5*time.Second)
	if err != nil {
		return
	}
	defer t.remove(b)
	if !t.add(b) {
		return
	}
	if !established(c) {
		return
	}
	if _, err := b.Write(packet); err != nil {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer func() { _ = c.Close() }() // the broker closed it: taken over
		answer, accepted, err := readConnack(b)
		if err != nil {
			return
		}
		if accepted {
			t.observer.connected(l)
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
		_, _ = io.Copy(c, b)
	}()
	_, _ = io.Copy(b, c)
	t.observer.ended(l) // what the node closed is over, whatever the broker still sends
	_ = b.Close()
	<-back
}

// readConnect reads the CONNECT packet with which each MQTT link begins, versions 3.1, 3.1.1 and 5.
func readConnect(r io.Reader) (packet []byte, client string, err error) {
	head, body, err := readPacket(r, 0x10)
	if err != nil {
		return nil, "", err
	}
	client, err = clientID(body)
	return append(head, body...), client, err
}

// readConnack reads the broker's answer to it: flags, code, and in version 5 properties.
func readConnack(r io.Reader) (packet []byte, accepted bool, err error) {
	head, body, err := readPacket(r, 0x20)
	if err != nil {
		return nil, false, err
	}
	return append(head, body...), len(body) >= 2 && body[1] == 0, nil
}

// readPacket reads a control packet that must begin with first: its fixed header and what follows.
func readPacket(r io.Reader, first byte) (head, body []byte, err error) {
	const most = 64 << 10
	head = make([]byte, 1, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	if head[0] != first {
		return nil, nil, fmt.Errorf("packet type 0x%02x, want 0x%02x", head[0], first)
	}
	length := 0
	for shift := 0; ; shift += 7 {
		b := make([]byte, 1)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, nil, err
		}
		head = append(head, b[0])
		length |= int(b[0]&0x7f) << shift
		if b[0]&0x80 == 0 {
			break
		}
		if shift == 21 {
			return nil, nil, errors.New("malformed length")
		}
	}
	if length > most {
		return nil, nil, fmt.Errorf("a packet of %d bytes", length)
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, nil, err
	}
	return head, body, nil
}

// clientID reads the client id from what follows a CONNECT packet's fixed header.
func clientID(body []byte) (string, error) {
	short := errors.New("CONNECT is too short")
	text := func(b []byte) (s, rest []byte, ok bool) {
		if len(b) < 2 {
			return nil, nil, false
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return nil, nil, false
		}
		return b[2 : 2+n], b[2+n:], true
	}
	_, b, ok := text(body) // protocol name
	if !ok || len(b) < 4 { // level, flags, keep alive
		return "", short
	}
	level := b[0]
	b = b[4:]
	if level == 5 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return "", short
		}
		b = b[size+int(n):]
	}
	id, _, ok := text(b)
	if !ok {
		return "", short
	}
	return string(id), nil
}

// established asks the kernel whether the other side has neither closed nor reset a link. It is the truth at this instant:
// a close of the node's side is known to the kernel before anybody has read it.
func established(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	up := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		up = err == nil && info.State == unix.BPF_TCP_ESTABLISHED
	})
	return err == nil && up
}
