package migration

import (
	"context"
	"time"
)

// pace lets documents pass at a steady rate: one each interval, the first after one interval, and never more at once than 100 ms
// are worth (encryption.md 6.9). A late document does not make the next ones hurry beyond that.
type pace struct {
	interval time.Duration // 0: no throttle
	next     time.Time     // when the next one may pass; zero before the first
}

// allowance is how far behind time documents may catch up at once.
const allowance = 100 * time.Millisecond

func newPace(perMinute int) pace {
	if perMinute <= 0 {
		return pace{}
	}
	return pace{interval: time.Minute / time.Duration(perMinute)}
}

// wait blocks until a document may pass or ctx ends.
func (p *pace) wait(ctx context.Context) error {
	if p.interval == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.IsZero() {
		p.next = now.Add(p.interval)
	}
	if late := now.Add(-allowance); p.next.Before(late) {
		p.next = late
	}
	pause := p.next.Sub(now)
	p.next = p.next.Add(p.interval)
	return sleep(ctx, pause)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
