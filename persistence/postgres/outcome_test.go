package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

// cut is a way to lose a connection around a batch.
type cut int

const (
	beforeSend  cut = iota // nothing reached the server
	amidSend               // a part of the batch did
	afterSend              // all of it; the connection is closed at once
	duringWork             // all of it; closed while the server works
	duringReply            // closed after a part of the answer
	late                   // the client sees an error now, the server gets the batch later
	cuts
)

func (c cut) String() string {
	return [...]string{"before send", "amid send", "after send", "during work", "during reply", "late"}[c]
}

// faults dials connections of which those of the lanes are cut at one batch in three, in all ways in turn.
type faults struct {
	on    atomic.Bool
	again [2]atomic.Bool // by lane: the next batch is cut, too, so that the store gives up on a batch that it sent twice
	next  atomic.Int64
	count [cuts]atomic.Int64
	late  sync.WaitGroup // batches still to be delivered
}

func (f *faults) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: c, faults: f}, nil
}

type faultyConn struct {
	net.Conn
	faults *faults
	lane   int          // 1, 2; 0: no lane's connection
	reply  atomic.Int64 // bytes of the answer that may still be read; 0: no limit
}

var errCut = errors.New("cut by the test")

func (c *faultyConn) Write(b []byte) (int, error) {
	if at := bytes.Index(b, []byte("hawser lane ")); at >= 0 { // the start-up message
		c.lane = int(b[at+len("hawser lane ")]-'0') + 1
	}
	isBatch := c.lane > 0 && len(b) > 0 && b[0] == 'B' && bytes.Contains(b[:min(len(b), 32)], []byte("append"))
	again := isBatch && c.faults.again[c.lane-1].CompareAndSwap(true, false)
	if !isBatch || !c.faults.on.Load() || !again && rand.IntN(3) > 0 {
		return c.Conn.Write(b)
	}
	how := beforeSend
	if !again {
		how = cut(c.faults.next.Add(1) % int64(cuts))
	}
	c.faults.count[how].Add(1)
	switch how {
	case beforeSend:
		_ = c.Close()
		return 0, errCut
	case amidSend:
		n, _ := c.Conn.Write(b[:1+rand.IntN(len(b)-1)])
		_ = c.Close()
		return n, errCut
	case afterSend:
		n, _ := c.Conn.Write(b)
		_ = c.Close()
		return n, nil // the error shows when the answer is read
	case duringWork:
		n, err := c.Conn.Write(b)
		time.AfterFunc(time.Duration(rand.IntN(4000))*time.Microsecond, func() { _ = c.Close() })
		return n, err
	case duringReply:
		c.reply.Store(int64(1 + rand.IntN(30)))
		return c.Conn.Write(b)
	default: // late
		batch := bytes.Clone(b)
		c.faults.again[c.lane-1].Store(true)
		c.faults.late.Go(func() {
			time.Sleep(time.Duration(rand.IntN(15000)) * time.Microsecond) // part of the fault, nothing waits for it
			_ = c.SetDeadline(time.Time{})
			_, _ = c.Conn.Write(batch)
			time.Sleep(50 * time.Millisecond)
			_ = c.Conn.Close()
		})
		return 0, errCut
	}
}

func (c *faultyConn) Close() error {
	if c.reply.Load() < 0 {
		return nil
	}
	return c.Conn.Close()
}

func (c *faultyConn) Read(b []byte) (int, error) {
	left := c.reply.Load()
	if left == 0 {
		return c.Conn.Read(b)
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), left)])
	if c.reply.Add(-int64(n)) == 0 {
		_ = c.Conn.Close()
	}
	return n, err
}

// TestUnknownOutcome cuts the lanes' connections around their batches. Whatever Append says is so: nil means that the row
// is there, ErrUnavailable that it is not and never will be.
func TestUnknownOutcome(t *testing.T) {
	f := &faults{}
	s := open(t, postgres.Options{URL: persistencetest.Schema(t), Dial: f.dial})
	lease := persistencetest.Own(t, s, "m")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	const writers, wanted = 24, 25 // cuts of each kind
	enough := func() bool {
		for i := range f.count {
			if f.count[i].Load() < wanted {
				return false
			}
		}
		return true
	}
	f.on.Store(true)
	var written, unwritten atomic.Int64
	acknowledged := make([][]string, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			id := fmt.Sprintf("e-%d", w)
			for attempt := 0; !enough() && ctx.Err() == nil; attempt++ {
				a := persistencetest.NewAppend(lease, id, int64(len(acknowledged[w])+1))
				a.Event.RequestID = fmt.Sprintf("%s-%d", id, attempt)
				switch err := s.Append(ctx, a); {
				case err == nil:
					written.Add(1)
					acknowledged[w] = append(acknowledged[w], a.Event.RequestID)
				case errors.Is(err, persistence.ErrUnavailable):
					unwritten.Add(1) // and the next attempt would collide with it, if it came late
					timer := time.NewTimer(time.Duration(rand.IntN(20)) * time.Millisecond)
					<-timer.C
				default:
					t.Errorf("%s: attempt %d: %v", id, attempt, err)
					return
				}
			}
		})
	}
	all.Wait()
	f.on.Store(false)
	f.late.Wait() // also what arrives late must find the door shut
	if !enough() {
		t.Fatal("too few cuts")
	}
	for w := range writers {
		id := fmt.Sprintf("e-%d", w)
		var got []string
		for e, err := range s.Events(ctx, "connection:"+id, 1, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if e.SeqNr != int64(len(got)+1) {
				t.Fatalf("%s: a gap before %d", id, e.SeqNr)
			}
			got = append(got, e.RequestID)
		}
		if fmt.Sprint(got) != fmt.Sprint(acknowledged[w]) {
			t.Errorf("%s: written %v, acknowledged %v", id, got, acknowledged[w])
		}
		if err := s.Append(ctx, persistencetest.NewAppend(lease, id, int64(len(got)+1))); err != nil {
			t.Errorf("%s: afterwards: %v", id, err)
		}
	}
	for i := range f.count {
		t.Logf("cut %v: %d", cut(i), f.count[i].Load())
	}
	t.Logf("%d acknowledged, %d certainly not written", written.Load(), unwritten.Load())
}

// TestTerminatedSessions ends all sessions of a store on the server while it is idle. The next use of each notices nothing
// or says so, and no append is lost or refused.
func TestTerminatedSessions(t *testing.T) {
	url := persistencetest.Schema(t)
	s := open(t, postgres.Options{URL: named(t, url, "terminated-"+t.Name())})
	lease := persistencetest.Own(t, s, "m")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for round := range 20 {
		for lane := range 8 { // both lanes
			id := fmt.Sprintf("e-%d", lane)
			if err := s.Append(ctx, persistencetest.NewAppend(lease, id, int64(round+1))); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if _, err := s.Beat(ctx, "m", nil); err != nil && round == 0 {
			t.Fatal(err)
		}
		terminate(t, url, "terminated-"+t.Name())
	}
}
