package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// All claims of a node share one rate.
func TestClaimsShareThePace(t *testing.T) {
	t.Parallel()
	p := &pace{rate: Rate{Entities: 100, Every: 200 * time.Millisecond}}
	never := func() bool { return false }
	began := time.Now()
	var claims sync.WaitGroup
	for range 5 {
		claims.Go(func() {
			for range 10 {
				if !p.wait(t.Context(), 5, never) {
					t.Error("no turn")
				}
			}
		})
	}
	claims.Wait() // 250 starts; the first of them need not wait
	if took := time.Since(began); took < 490*time.Millisecond || took > 5*time.Second {
		t.Errorf("250 starts at 100 in 200ms took %v", took)
	}
}

// A node whose beat is late starts nothing before it has beaten, and gives up when the claim is over.
func TestALateBeatComesFirst(t *testing.T) {
	t.Parallel()
	p := &pace{rate: Rate{}.withDefaults()}
	var late atomic.Bool
	late.Store(true)
	turns := make(chan bool, 1)
	go func() { turns <- p.wait(t.Context(), 1, late.Load) }()
	select {
	case <-turns:
		t.Fatal("it went on without a beat")
	case <-time.After(100 * time.Millisecond):
	}
	late.Store(false)
	if !<-turns {
		t.Error("no turn after the beat")
	}
	late.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { turns <- p.wait(ctx, 1, late.Load) }()
	cancel()
	if <-turns {
		t.Error("a turn for a claim that is over")
	}
}
