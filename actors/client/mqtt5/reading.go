package mqtt5

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client/mqttbinding"
)

// reader takes packets from the socket. The codec trusts the length that the peer says; the reader does not.
type reader struct {
	conn      net.Conn
	patience  time.Duration // something must come within this time, 0: whenever it likes
	in        *bufio.Reader
	maxPacket int
}

const readBuffer = 8 << 10

var errSilent = errors.New("the broker does not answer")

func newReader(conn net.Conn, maxPacket int) *reader {
	r := &reader{conn: conn, maxPacket: maxPacket}
	r.in = bufio.NewReaderSize(r, readBuffer)
	return r
}

// Read implements io.Reader, for the buffer.
func (r *reader) Read(p []byte) (int, error) {
	if r.patience > 0 {
		_ = r.conn.SetReadDeadline(time.Now().Add(r.patience))
	}
	n, err := r.conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errSilent
	}
	return n, err
}

// next waits for a packet.
func (r *reader) next() (packets.Packet, error) {
	header, length, err := mqttbinding.Header(r.in)
	if err != nil {
		return nil, err
	}
	kind, flags := header[0]>>4, header[0]&0x0f
	if length > r.maxPacket {
		return nil, fmt.Errorf("the broker sent a packet of %d bytes, more than the limit of %d", length, r.maxPacket)
	}
	packet := packets.NewControlPacket(kind)
	if packet == nil {
		return nil, fmt.Errorf("the peer does not speak MQTT 5: packet of type %d", kind)
	}
	if p, ok := packet.Content.(*packets.Publish); ok {
		p.QoS, p.Retain, p.Duplicate = flags>>1&3, flags&1 != 0, flags&8 != 0
	}
	_, _ = r.in.Discard(len(header))
	body := make([]byte, length)
	if _, err := io.ReadFull(r.in, body); err != nil {
		return nil, err
	}
	if length == 0 && kind == packets.DISCONNECT { // short for the reason 0, which the codec does not know
		return packet.Content, nil
	}
	if err := packet.Content.Unpack(bytes.NewBuffer(body)); err != nil {
		return nil, fmt.Errorf("the peer does not speak MQTT 5: malformed packet of type %d", kind) // the codec's error would look like the end of the stream
	}
	return packet.Content, nil
}

// read is the goroutine that takes in what the broker sends. The end of the wire ends it.
func (s *session) read() {
	defer s.wire.Guard()
	for {
		p, err := s.in.next()
		if err == nil {
			err = s.take(p)
		}
		if err != nil {
			_ = s.wire.Fail(err)
			_ = s.wire.Conn.Close() // nothing is read any more
			return
		}
	}
}

// take tells the link of a packet; an error ends it.
func (s *session) take(p packets.Packet) error {
	switch p := p.(type) {
	case *packets.Publish:
		return s.publish(p)
	case *packets.Puback:
		s.link.Acknowledged(mqttbinding.TypePuback, p.PacketID, refused(p.ReasonCode, p.Properties))
	case *packets.Pubrec:
		s.link.Acknowledged(mqttbinding.TypePubrec, p.PacketID, refused(p.ReasonCode, p.Properties))
	case *packets.Pubrel:
		s.link.Acknowledged(mqttbinding.TypePubrel, p.PacketID, nil)
	case *packets.Pubcomp: // the broker has the message since its PUBREC
		s.link.Acknowledged(mqttbinding.TypePubcomp, p.PacketID, nil)
	case *packets.Suback:
		return s.suback(p)
	case *packets.Pingresp:
	case *packets.Disconnect:
		return refusal("The broker ended the link", p.ReasonCode, p.Properties)
	default:
		return unexpected(p)
	}
	return nil
}

func unexpected(p packets.Packet) error {
	return fmt.Errorf("the peer does not speak MQTT 5: unexpected packet %T", p)
}

func (s *session) publish(p *packets.Publish) error {
	switch {
	case p.QoS > 2:
		return errors.New("the broker sent a message of QoS 3")
	case p.QoS > 0 && p.PacketID == 0:
		return errors.New("the broker sent a message without packet id")
	case p.Properties.TopicAlias != nil, p.Topic == "", !utf8.ValidString(p.Topic): // we allow no aliases
		return errors.New("the broker sent a message without topic")
	}
	return s.link.Received(mqttbinding.Message{
		Topic: p.Topic, QoS: p.QoS, Retain: p.Retain, ID: p.PacketID, Headers: headers(p.Properties), Payload: p.Payload,
	})
}

// suback checks that a SUBACK answers the SUBSCRIBE of ours with one code per filter.
func (s *session) suback(p *packets.Suback) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscribing
	if sub == nil || p.PacketID != sub.id || len(p.Reasons) != sub.filters {
		return unexpected(p)
	}
	s.subscribing = nil
	sub.answer <- p
	return nil
}
