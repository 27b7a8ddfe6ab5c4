package groupcommit

import (
	"slices"
	"sync"
	"time"
)

// Peers are the lanes of one store. They share a machine, and a batch costs more than a dozen rows before it has any: so one in
// the making waits for a batch that a peer is committing, and grows meanwhile. Neither do few callers wait, whom only the
// time of a commit concerns, nor a lane whose batches are large anyway.
type Peers struct {
	longest time.Duration // 0: longestHold

	mu       sync.Mutex
	underway []*commit
}

// commit is a batch that a lane is committing.
type commit struct {
	rows  int
	ended chan struct{}
}

const (
	worthRows   = 8                    // a batch of fewer rows is not waited for
	enoughRows  = 64                   // a batch of as many rows does not wait, nor does the one after it
	longestHold = 5 * time.Millisecond // a peer's session may be stuck
)

// begin notes a batch; end must follow.
func (p *Peers) begin(rows int) *commit {
	c := &commit{rows: rows, ended: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underway = append(p.underway, c)
	return c
}

func (p *Peers) end(c *commit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underway = slices.DeleteFunc(p.underway, func(other *commit) bool { return other == c })
	close(c.ended)
}

// busy is a batch under way that is worth waiting for, nil if there is none.
func (p *Peers) busy() *commit {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.underway {
		if c.rows >= worthRows {
			return c
		}
	}
	return nil
}
