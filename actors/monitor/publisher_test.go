package monitor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/tinylib/msgp/msgp"
)

// forwarded is one record as a forward receiver reads it: [tag, EventTime, record, option] (message mode of the protocol).
type forwarded struct {
	tag    string
	at     time.Time
	record map[string]any
}

// receiver speaks the receiving side of Fluentd's forward protocol.
type receiver struct {
	t        *testing.T
	listener net.Listener
	ack      bool
	mu       sync.Mutex
	open     []net.Conn
	got      []forwarded
	work     sync.WaitGroup
}

func newReceiver(t *testing.T, l net.Listener, ack bool) *receiver {
	r := &receiver{t: t, listener: l, ack: ack}
	r.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.open = append(r.open, c)
			r.mu.Unlock()
			r.work.Go(func() { r.read(c) })
		}
	})
	t.Cleanup(r.close)
	return r
}

func (r *receiver) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for _, c := range r.open {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.work.Wait()
}

func (r *receiver) read(c net.Conn) {
	reader := msgp.NewReader(c)
	for {
		f, chunk, err := readForward(reader)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && msgp.Cause(err) != io.EOF && !errors.Is(msgp.Cause(err), net.ErrClosed) {
				var reset *net.OpError
				if !errors.As(msgp.Cause(err), &reset) {
					r.t.Errorf("what was received is not the forward protocol: %v", err)
				}
			}
			return
		}
		r.mu.Lock()
		r.got = append(r.got, f)
		r.mu.Unlock()
		if r.ack {
			w := msgp.NewWriter(c)
			_ = w.WriteMapHeader(1)
			_ = w.WriteString("ack")
			_ = w.WriteString(chunk)
			_ = w.Flush()
		}
	}
}

func readForward(r *msgp.Reader) (f forwarded, chunk string, err error) {
	parts, err := r.ReadArrayHeader()
	if err != nil {
		return f, "", err
	}
	if parts < 3 {
		return f, "", fmt.Errorf("an array of %d", parts)
	}
	if f.tag, err = r.ReadString(); err != nil {
		return f, "", err
	}
	at := msgp.RawExtension{Type: 0}
	if err = r.ReadExtension(&at); err != nil {
		return f, "", err
	}
	if len(at.Data) != 8 {
		return f, "", fmt.Errorf("an EventTime of %d bytes", len(at.Data))
	}
	f.at = time.Unix(int64(binary.BigEndian.Uint32(at.Data)), int64(binary.BigEndian.Uint32(at.Data[4:]))).UTC()
	f.record = map[string]any{}
	if err = r.ReadMapStrIntf(f.record); err != nil {
		return f, "", err
	}
	if parts > 3 {
		option := map[string]any{}
		if err = r.ReadMapStrIntf(option); err != nil {
			return f, "", err
		}
		chunk, _ = option["chunk"].(string)
	}
	return f, chunk, nil
}

// wait waits until so many records have arrived and returns them.
func (r *receiver) wait(n int) []forwarded {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		r.mu.Lock()
		got := append([]forwarded(nil), r.got...)
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d records arrived, want %d", len(got), n)
		}
	}
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// publisher starts one for the address of l with small times; change edits its options.
func publisher(t *testing.T, l net.Addr, change func(*PublisherOptions)) *Publisher {
	t.Helper()
	_, portText, _ := net.SplitHostPort(l.String())
	port, _ := strconv.Atoi(portText)
	o := PublisherOptions{
		Host: "127.0.0.1", Port: port, Levels: []string{"success", "failure"}, Instance: func() string { return "i1" }, ConnectTimeout: time.Second,
		ReadTimeout: time.Second, MaxBuffer: 1 << 20, Retries: 7, RetryBase: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond, Flush: 5 * time.Second,
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	p := NewPublisher(o)
	t.Cleanup(p.Close)
	return p
}

func TestPublishedRecords(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*PublisherOptions)
		ack    bool
		log    func(c *Connection)
		want   []forwarded
	}{
		{"all members, muted all the while", nil, false, func(c *Connection) {
			c.Source("in/#").Success(Consumed, Entry{CorrelationID: "c-1", EntityType: "thing", EntityID: "acme:pump", HeaderKeys: []string{"a"}})
		}, []forwarded{{tag: "connection:plant-7", record: map[string]any{
			"connectionId": "plant-7", "level": "success", "category": "source", "type": "consumed", "correlationId": "c-1", "address": "in/#",
			"entityType": "thing", "entityId": "acme:pump", "message": "Received signal.", "instanceId": "i1",
		}}}},
		{"absent members", nil, false, func(c *Connection) { c.Self().Failure(Other, Entry{Message: "broken"}) },
			[]forwarded{{tag: "connection:plant-7", record: map[string]any{
				"connectionId": "plant-7", "level": "failure", "category": "connection", "type": "other", "message": "broken", "instanceId": "i1",
			}}}},
		{"tag, context, header names, one level", func(o *PublisherOptions) {
			o.Tag, o.Context, o.Details, o.Levels = "hawser", map[string]string{"region": "eu"}, true, []string{"failure"}
		}, false, func(c *Connection) {
			c.Target("out").Success(Published, Entry{})
			c.Target("out").Failure(Published, Entry{HeaderKeys: []string{"a", "b"}})
		}, []forwarded{{tag: "hawser", record: map[string]any{
			"connectionId": "plant-7", "level": "failure", "category": "target", "type": "published", "address": "out",
			"message": "Could not publish the signal. - Message header keys: [a, b]", "instanceId": "i1", "region": "eu",
		}}}},
		{"acknowledged", func(o *PublisherOptions) { o.Ack = true }, true, func(c *Connection) {
			c.Self().Success(Other, Entry{Message: "one"})
			c.Self().Success(Other, Entry{Message: "two"})
		}, []forwarded{
			{tag: "connection:plant-7", record: map[string]any{"connectionId": "plant-7", "level": "success", "category": "connection", "type": "other", "message": "one", "instanceId": "i1"}},
			{tag: "connection:plant-7", record: map[string]any{"connectionId": "plant-7", "level": "success", "category": "connection", "type": "other", "message": "two", "instanceId": "i1"}},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			clk := newClock()
			clk.add(123456789)
			r := newReceiver(t, listenLocal(t), row.ack)
			p := publisher(t, r.listener.Addr(), row.change)
			c := NewRegistry(Options{Now: clk.now, Publisher: p}).Connection("plant-7", "mqtt")
			row.log(c)
			for i := range row.want {
				row.want[i].at = clk.now()
			}
			if d := cmp.Diff(row.want, r.wait(len(row.want)), cmp.AllowUnexported(forwarded{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if logs := c.Logs(clk.now()); len(logs.Entries) != 0 || logs.EnabledSince != nil {
				t.Errorf("publishing enabled the logs: %+v", logs)
			}
		})
	}
}

// TestUnreachableFluentd: whoever logs is never held up, the buffer stays bounded, and what is lost is counted. When the
// receiver is there, records arrive again.
func TestUnreachableFluentd(t *testing.T) {
	l := listenLocal(t)
	address := l.Addr()
	_ = l.Close()
	p := publisher(t, address, func(o *PublisherOptions) {
		o.MaxBuffer, o.Retries, o.RetryMax = 20*(overhead+100+len(notProvided)), 1000, 5*time.Millisecond
	})
	c := NewRegistry(Options{Publisher: p}).Connection("plant-7", "mqtt")
	began := time.Now()
	for k := range 10_000 {
		c.Self().Success(Other, Entry{Message: fmt.Sprintf("%0100d", k)})
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("10 000 entries took %v", took)
	}
	if lost := p.lost.Load(); lost < 9_900 || lost > 9_980 {
		t.Errorf("%v lost, want all but the 20 that fit", lost)
	}
	l, err := net.Listen("tcp", address.String())
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	r := newReceiver(t, l, false)
	if got := r.wait(20); got[0].record["message"] != fmt.Sprintf("%0100d", 0) {
		t.Errorf("first record %v", got[0].record)
	}
	c.Self().Success(Other, Entry{Message: "afterwards"})
	if got := r.wait(21); got[20].record["message"] != "afterwards" {
		t.Errorf("last record %v", got[20].record)
	}
}

// TestSlowReceiver: a receiver that takes nothing in for a while holds nobody up; what does not fit into the buffer is lost,
// counted and named in the log, everything else arrives once it reads, and so does what comes afterwards.
func TestSlowReceiver(t *testing.T) {
	const room = 100
	l := &gate{Listener: listenLocal(t), open: make(chan struct{})}
	var log lines
	p := publisher(t, l.Addr(), func(o *PublisherOptions) {
		o.MaxBuffer, o.Log = room*(overhead+100_000+len(notProvided)), slog.New(slog.NewTextHandler(&log, nil))
		o.ConnectTimeout = 10 * time.Second // of a write: it waits for the receiver
	})
	r := newReceiver(t, l, false)
	open := sync.OnceFunc(func() { close(l.open) })
	t.Cleanup(open)
	c := NewRegistry(Options{Publisher: p}).Connection("plant-7", "mqtt")
	entries := 0
	for p.lost.Load() < 10 { // sockets take some entries in, too
		c.Self().Success(Other, Entry{Message: fmt.Sprintf("%0100000d", entries)})
		if entries++; entries > 10_000 {
			t.Fatal("nothing is lost")
		}
	}
	p.mu.Lock()
	waiting := p.bytes
	p.mu.Unlock()
	if waiting > p.opts.MaxBuffer {
		t.Errorf("%d bytes wait in a buffer of %d", waiting, p.opts.MaxBuffer)
	}
	open()
	r.wait(entries - int(p.lost.Load()))
	c.Self().Success(Other, Entry{Message: "afterwards"})
	got := r.wait(entries - int(p.lost.Load()) + 1)
	if last := got[len(got)-1].record["message"]; last != "afterwards" {
		t.Errorf("last record %.20v", last)
	}
	p.Close()
	if lost, sent := p.lost.Load(), int64(testutil.ToFloat64(p.sent)); lost+sent != int64(entries)+1 {
		t.Errorf("%d lost, %d sent of %d", lost, sent, entries+1)
	}
	if !regexp.MustCompile(`level=WARN msg="connection log entries are lost" entries=\d+`).MatchString(log.String()) {
		t.Errorf("the loss is not in the log: %s", log.String())
	}
}

// gate is a listener whose connections give nothing to read until open is closed.
type gate struct {
	net.Listener
	open chan struct{}
}

func (g *gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	return gated{c, g.open}, err
}

type gated struct {
	net.Conn
	open chan struct{}
}

func (g gated) Read(b []byte) (int, error) {
	<-g.open
	return g.Conn.Read(b)
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestReceiverRestarts: a link that breaks is made anew; at most what was on its way in that moment is lost.
func TestReceiverRestarts(t *testing.T) {
	l := listenLocal(t)
	first := newReceiver(t, l, true)
	p := publisher(t, l.Addr(), func(o *PublisherOptions) { o.Ack = true })
	c := NewRegistry(Options{Publisher: p}).Connection("plant-7", "mqtt")
	c.Self().Success(Other, Entry{Message: "before"})
	first.wait(1)
	first.close()
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	second := newReceiver(t, again, true)
	c.Self().Success(Other, Entry{Message: "after"})
	if got := second.wait(1); got[0].record["message"] != "after" {
		t.Errorf("%v", got[0].record)
	}
}

// TestCloseFlushes: what waits is sent before the end; a receiver that is away does not hold it up longer than allowed.
func TestCloseFlushes(t *testing.T) {
	r := newReceiver(t, listenLocal(t), false)
	p := publisher(t, r.listener.Addr(), nil)
	c := NewRegistry(Options{Publisher: p}).Connection("plant-7", "mqtt")
	for range 500 {
		c.Self().Success(Other, Entry{Message: "x"})
	}
	p.Close()
	r.wait(500)

	l := listenLocal(t)
	_ = l.Close()
	p = publisher(t, l.Addr(), func(o *PublisherOptions) {
		o.Flush, o.Retries, o.RetryBase, o.RetryMax = 200*time.Millisecond, 1000, time.Hour, time.Hour
	})
	c = NewRegistry(Options{Publisher: p}).Connection("plant-7", "mqtt")
	c.Self().Success(Other, Entry{Message: "x"})
	began := time.Now()
	p.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("closing took %v", took)
	}
	if lost := p.lost.Load(); lost != 1 {
		t.Errorf("%v lost", lost)
	}
}

// TestForeignCertificate: a certificate that nobody vouches for is refused, and nothing is sent in clear.
func TestForeignCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l := listenLocal(t)
	var mu sync.Mutex
	refused := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			if err := server.Handshake(); err != nil {
				mu.Lock()
				refused++
				mu.Unlock()
			} else if n, _ := server.Read(make([]byte, 1)); n > 0 {
				t.Error("a record was sent to a stranger")
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	p := publisher(t, l.Addr(), func(o *PublisherOptions) { o.TLS, o.Retries = true, 2 })
	NewRegistry(Options{Publisher: p}).Connection("plant-7", "mqtt").Self().Success(Other, Entry{Message: "x"})
	p.Close()
	if lost := p.lost.Load(); lost != 1 {
		t.Errorf("%v lost, want 1", lost)
	}
	deadline := time.After(5 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		mu.Lock()
		n := refused
		mu.Unlock()
		if n == 3 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d refused handshakes, want 3", n)
		}
	}
}
