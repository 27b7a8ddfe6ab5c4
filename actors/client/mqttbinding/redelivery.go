package mqttbinding

import (
	"context"
	"time"

	"hawser/actors/client"
)

// redeliver reconnects the consuming client after a while, so that the broker sends again what is not acknowledged.
func (t *Transport) redeliver(l *Link) {
	l.restart.Do(func() {
		t.spawn(func() {
			delay := time.NewTimer(t.opts.redeliverDelay)
			defer delay.Stop()
			select {
			case <-delay.C:
				t.replace(l)
			case <-l.dead:
			case <-t.ctx.Done():
			}
		})
	})
}

// replace closes the consuming link and opens another.
func (t *Transport) replace(old *Link) {
	t.handler.Interrupted(&client.Failure{Text: "The client reconnects so that the broker delivers again what was rejected."})
	if !t.opts.separate {
		t.pause()
		defer t.resume()
		t.drain(t.ctx, old)
	}
	old.close()
	ctx, cancel := context.WithTimeout(t.ctx, restartTimeout)
	defer cancel()
	l, err := t.consuming(ctx)
	if err == nil {
		err = l.subscribe(ctx)
	}
	if err == nil && !l.alive() {
		err = LinkFailure("The link to the broker broke", l.cause)
	}
	switch {
	case t.ctx.Err() != nil:
	case err != nil:
		t.handler.Lost(err)
	default:
		t.handler.Recovered()
	}
}

// pause lets publishes wait for the next link.
func (t *Transport) pause() {
	t.order.Lock()
	defer t.order.Unlock()
	t.paused = true
}

// resume gives what waits to the link that there is now.
func (t *Transport) resume() {
	type refusal struct {
		p *Publication
		o client.Outcome
	}
	var refusals []refusal
	t.order.Lock()
	t.paused = false
	l := t.publisher.Load()
	for _, p := range t.waiting {
		if o, refused := l.publish(p); refused {
			refusals = append(refusals, refusal{p, o})
		}
	}
	t.waiting = nil
	t.order.Unlock()
	for _, r := range refusals {
		t.outcome(r.p, r.o)
	}
}
