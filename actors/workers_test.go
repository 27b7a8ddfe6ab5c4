package actors

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Every mailbox runs, whether or not a worker waits, and after close, too; goleak sees that no worker is left.
func TestWorkers(t *testing.T) {
	t.Parallel()
	w := newWorkers()
	var ran atomic.Int64
	var running sync.WaitGroup
	const mailboxes, rounds = 50, 100
	for range rounds {
		for range mailboxes {
			running.Add(1)
			w.Schedule(func() { ran.Add(1); running.Done() })
		}
		running.Wait()
	}
	w.close()
	running.Add(1)
	w.Schedule(func() { ran.Add(1); running.Done() })
	running.Wait()
	if got := ran.Load(); got != mailboxes*rounds+1 {
		t.Errorf("%d ran", got)
	}
}

// A mailbox that waits holds up no other.
func TestWorkersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	w := newWorkers()
	defer w.close()
	gate, done := make(chan struct{}), make(chan struct{})
	w.Schedule(func() { <-gate; close(done) })
	w.Schedule(func() { close(gate) })
	<-done
}
