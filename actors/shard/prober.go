package shard

import (
	"context"
	"slices"
	"sync"
	"time"

	"hawser/persistence"
)

// prober is the part of an incarnation that finds out whom it cannot reach; the beat says so to all.
type prober struct {
	*Membership
	id persistence.MemberID
	// changed asks for a beat at once; of capacity 1.
	changed chan struct{}

	mu          sync.Mutex
	reach       Reach
	unreachable []persistence.MemberID
}

// probesPerBeat: see Reach.
const probesPerBeat = 2

func (m *Membership) newProber(id persistence.MemberID) *prober {
	return &prober{Membership: m, id: id, changed: make(chan struct{}, 1)}
}

// run probes until ctx ends; at once when there is nobody to probe.
func (p *prober) run(ctx context.Context) {
	if p.opts.Probe == nil {
		return
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	ticker := time.NewTicker(p.part() / probesPerBeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, other := range p.tick() {
			asking.Go(func() {
				// An answer counts however late: the way may be long behind what is on it. So each has a score of probes at most.
				ctx, cancel := context.WithTimeout(ctx, 2*p.opts.TTL)
				defer cancel()
				if p.opts.Probe(ctx, other) {
					p.mu.Lock()
					p.reach.Answered(other.ID)
					p.mu.Unlock()
				}
			})
		}
	}
}

// tick judges the probes before and returns whom to probe now.
func (p *prober) tick() []persistence.Member {
	var others []persistence.Member
	for _, m := range p.View().Members {
		if m.ID != p.id && m.Address != "" && m.Address != p.opts.Member.Address { // nor what this node was before
			others = append(others, m)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reach.Tick(others)
	if now := p.reach.Unreachable(); !slices.Equal(now, p.unreachable) {
		p.log.Warn("which members beat but do not answer has changed", "member", p.id, "unreachable", now, "before", p.unreachable)
		p.unreachable = now
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	return others
}

// missing is whom the member cannot reach now.
func (p *prober) missing() []persistence.MemberID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unreachable
}
