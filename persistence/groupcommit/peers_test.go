package groupcommit

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pair is two lanes of one store; the first is committing a batch of rows, which finish ends.
type pair struct {
	first, second *Lane
	one, two      *committer
	t             *testing.T
	finish        func()
}

func newPair(t *testing.T, longest time.Duration, rows int) *pair {
	t.Helper()
	p := &pair{t: t, one: newCommitter(), two: newCommitter()}
	peers := &Peers{longest: longest}
	p.first, p.second = peers.New(p.one), peers.New(p.two)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, l := range []*Lane{p.first, p.second} {
			if err := l.Close(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	results := []<-chan error{start(t.Context(), t, p.first, event("ahead", 1))}
	ahead := p.one.next(t) // the others queue behind it, so that they are one batch
	for i := range rows {
		results = append(results, start(t.Context(), t, p.first, event(fmt.Sprintf("first-%d", i), 1)))
	}
	p.one.finish(ahead, nil)
	batch := p.one.next(t)
	if len(batch) != rows {
		t.Fatalf("a batch of %d, want %d", len(batch), rows)
	}
	p.finish = func() {
		p.one.finish(batch, nil)
		p.await(results)
	}
	return p
}

func (p *pair) write(id string) <-chan error {
	return start(p.t.Context(), p.t, p.second, event(id, 1))
}

func (p *pair) await(results []<-chan error) {
	p.t.Helper()
	for _, r := range results {
		select {
		case err := <-r:
			if err != nil {
				p.t.Error(err)
			}
		case <-time.After(10 * time.Second):
			p.t.Fatal("no outcome")
		}
	}
}

// A batch waits for one that a peer commits, and takes in what comes meanwhile.
func TestABatchWaitsForAPeersAndGrows(t *testing.T) {
	p := newPair(t, time.Minute, worthRows)
	results := []<-chan error{p.write("a"), p.write("b"), p.write("c")}
	p.finish()
	batch := p.two.next(t)
	if len(batch) != 3 {
		t.Errorf("a batch of %d, want all 3", len(batch))
	}
	p.two.finish(batch, nil)
	p.await(results)
}

// Nobody waits for long, for few rows, or with many.
func TestABatchDoesNotWait(t *testing.T) {
	for _, test := range []struct {
		name    string
		longest time.Duration
		rows    int // that the peer commits
		before  int // in the lane's last batch
	}{
		{"for a peer that is stuck", time.Millisecond, worthRows, 1},
		{"for few rows", time.Minute, worthRows - 1, 1},
		{"where batches are large", time.Minute, worthRows, enoughRows},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, test.longest, test.rows)
			p.second.last = test.before // it waits for a first write and reads this after that
			result := p.write("a")
			batch := p.two.next(t)
			p.two.finish(batch, nil)
			p.await([]<-chan error{result})
			p.finish()
		})
	}
}

// A lane that is told to end does not wait for its peer.
func TestCloseDoesNotWaitForAPeer(t *testing.T) {
	p := newPair(t, time.Minute, worthRows)
	result := p.write("a")
	closed := make(chan error, 1)
	go func() { closed <- p.second.Close(t.Context()) }()
	p.two.finish(p.two.next(t), nil) // it was taken before
	p.await([]<-chan error{result, closed})
	p.finish()
}
