package blackbox

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"testing"
	"time"
)

// poster sends POST requests over one kept connection with as little work as can be: the load generator shares the machine
// with what it measures.
type poster struct {
	conn    net.Conn
	answers *textproto.Reader
	head    string
	request []byte
}

func newPoster(b *testing.B, n *node, path string) *poster {
	b.Helper()
	conn, err := net.Dial("tcp", n.http)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	credentials := base64.StdEncoding.EncodeToString([]byte("devops:" + password))
	head := "POST " + path + " HTTP/1.1\r\nHost: hawser\r\nAuthorization: Basic " + credentials + "\r\nContent-Type: application/json\r\nContent-Length: "
	return &poster{conn: conn, answers: textproto.NewReader(bufio.NewReader(conn)), head: head}
}

// post returns the HTTP status and the body of the answer.
func (p *poster) post(body string) (status int, answer []byte, err error) {
	if err = p.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, nil, err
	}
	p.request = append(p.request[:0], p.head...)
	p.request = strconv.AppendInt(p.request, int64(len(body)), 10)
	p.request = append(append(p.request, "\r\n\r\n"...), body...)
	if _, err = p.conn.Write(p.request); err != nil {
		return 0, nil, err
	}
	line, err := p.answers.ReadLine()
	if err != nil {
		return 0, nil, err
	}
	if _, err = fmt.Sscanf(line, "HTTP/1.1 %d", &status); err != nil {
		return 0, nil, fmt.Errorf("%q: %w", line, err)
	}
	length := 0
	for {
		line, err := p.answers.ReadLineBytes()
		if err != nil {
			return 0, nil, err
		}
		if len(line) == 0 {
			break
		}
		if name := "Content-Length: "; len(line) > len(name) && string(line[:len(name)]) == name {
			if length, err = strconv.Atoi(string(line[len(name):])); err != nil {
				return 0, nil, err
			}
		}
	}
	answer = make([]byte, length)
	_, err = io.ReadFull(p.answers.R, answer)
	return status, answer, err
}
