package actors

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"hawser/actors/signals"
	"hawser/messages"
	"hawser/persistence"
	hawserv1 "hawser/proto/hawser/v1"
)

// Types of envelopes about interest.
const (
	envelopeInterest      = "interest"       // the interest of a connection, no payload: it is not open
	envelopeInterestKnown = "interest-known" // the answer: the sender's hub knows it
)

// The times of interests.
const (
	publishWait   = 5 * time.Second        // the longest that open waits for the other nodes
	publishRepeat = 500 * time.Millisecond // until a node that does not answer is told again
	healEvery     = 30 * time.Second       // the index is read again
	recheckAfter  = 2 * time.Second        // a client that was to come back is looked for
)

// interests keep the hub's knowledge of the open connections of the whole cluster (design.md 6.1): it is read from the index
// before a source of this node opens, each change is told to all live members before open is answered, and what was missed
// nevertheless is healed from the index.
type interests struct {
	hub interface {
		Learn(id string, raw json.RawMessage)
		Forget(id string)
	}
	index persistence.Index
	peers func() []signals.Peer
	send  func(address string, e *hawserv1.Envelope)
	alone bool // there can be no other node
	// loaded, if set, is told of all rows that were read.
	loaded func([]persistence.IndexRow)
	log    *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	stale  chan struct{} // capacity 1: read the index

	mu      sync.Mutex
	known   map[string]known
	changes uint64 // counts what was noted
	calls   map[uint64]chan string
	call    uint64
	recheck map[string]time.Time
}

// known is what was heard last of a connection.
type known struct {
	revision int64
	open     bool
	change   uint64 // number of the note
	at       time.Time
}

// newInterests starts to heal; close ends it.
func newInterests(i *interests) *interests {
	i.stale, i.known = make(chan struct{}, 1), map[string]known{}
	i.calls, i.recheck = map[uint64]chan string{}, map[string]time.Time{}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	i.work.Go(i.heal)
	return i
}

func (i *interests) close() {
	i.cancel()
	i.work.Wait()
}

// load reads the index: afterwards the hub knows every connection that was open before.
func (i *interests) load(ctx context.Context) error {
	if i.alone {
		return nil
	}
	i.mu.Lock()
	before := i.changes
	i.mu.Unlock()
	rows, err := i.index.Interests(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(rows))
	for _, row := range rows {
		there[row.ID] = true
		i.note(row, before)
	}
	if i.loaded != nil {
		i.loaded(rows)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	old := time.Now().Add(-10 * time.Minute)
	for id, k := range i.known {
		switch {
		case there[id] || k.change > before:
		case k.open:
			k.open, k.at = false, time.Now()
			i.known[id] = k
			i.hub.Forget(id)
		case k.at.Before(old):
			delete(i.known, id)
		}
	}
	return nil
}

// note takes in what a row says, unless something newer is known. What was noted up to change number before was so when the row
// was read, so that a row with a smaller revision is that of a connection that was purged and created again.
func (i *interests) note(row persistence.IndexRow, before uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if k, ok := i.known[row.ID]; ok && k.revision > row.Revision && k.change > before {
		return
	}
	open := row.Status == string(messages.StatusOpen) && !row.Deleted && len(row.Interest) > 0
	i.changes++
	i.known[row.ID] = known{revision: row.Revision, open: open, change: i.changes, at: time.Now()}
	if open {
		i.hub.Learn(row.ID, row.Interest)
	} else {
		i.hub.Forget(row.ID)
	}
}

// refresh reads the index soon.
func (i *interests) refresh() {
	select {
	case i.stale <- struct{}{}:
	default:
	}
}

// heal reads the index again and again, and looks for clients that did not come back.
func (i *interests) heal() {
	ticker, recheck := time.NewTicker(healEvery), time.NewTicker(recheckAfter/2)
	defer ticker.Stop()
	defer recheck.Stop()
	for {
		select {
		case <-i.ctx.Done():
			return
		case now := <-recheck.C:
			for _, id := range i.due(now) {
				i.look(i.ctx, id)
			}
			continue
		case <-i.stale:
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(i.ctx, healEvery)
		if err := i.load(ctx); err != nil && i.ctx.Err() == nil {
			i.log.Warn("the interest of open connections could not be read", "error", err)
		}
		cancel()
	}
}

// expectBack notes that a client of this node ended that is to be followed by another one here. If its connection is closed
// meanwhile, nobody else says so.
func (i *interests) expectBack(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recheck[id] = time.Now().Add(recheckAfter)
}

func (i *interests) due(now time.Time) (ids []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, at := range i.recheck {
		if !now.Before(at) {
			ids = append(ids, id)
			delete(i.recheck, id)
		}
	}
	return ids
}

// look reads one row and notes it.
func (i *interests) look(ctx context.Context, id string) (persistence.IndexRow, bool) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	row, ok, err := i.index.Row(ctx, id)
	if err != nil {
		if i.ctx.Err() == nil {
			i.log.Warn("the interest of a connection could not be read", "connection_id", id, "error", err)
		}
		return row, false
	}
	if !ok { // purged
		i.mu.Lock()
		row = persistence.IndexRow{ID: id, Deleted: true, Revision: i.known[id].revision}
		i.mu.Unlock()
	}
	i.note(row, 0)
	return row, true
}

// publish tells all live members what a connection of this node takes now, and returns when they know it, but not later
// than publishWait: then the rest is up to heal. A member that dies meanwhile does not count.
func (i *interests) publish(ctx context.Context, id string) {
	if i.alone {
		return
	}
	peers := i.peers()
	if len(peers) == 0 { // who joins reads the index before its sources open
		return
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	row, ok := i.look(ctx, id)
	if !ok {
		return
	}
	e := &hawserv1.Envelope{Type: envelopeInterest, EntityId: id, Revision: row.Revision}
	if row.Status == string(messages.StatusOpen) && !row.Deleted {
		e.Payload = row.Interest
	}
	answers := make(chan string, 16)
	i.mu.Lock()
	i.call++
	e.Call = i.call
	i.calls[e.Call] = answers
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		delete(i.calls, e.Call)
		i.mu.Unlock()
	}()
	missing := map[string]bool{}
	for _, p := range peers {
		missing[p.Address] = true
		i.send(p.Address, e)
	}
	ticker := time.NewTicker(publishRepeat / 5)
	defer ticker.Stop()
	for told := time.Now(); len(missing) > 0; {
		select {
		case address := <-answers:
			delete(missing, address)
		case now := <-ticker.C:
			live := map[string]bool{}
			for _, p := range i.peers() {
				live[p.Address] = true
			}
			for address := range missing {
				if !live[address] {
					delete(missing, address)
				} else if now.Sub(told) >= publishRepeat {
					i.send(address, e)
				}
			}
			if now.Sub(told) >= publishRepeat {
				told = now
			}
		case <-ctx.Done():
			if i.ctx.Err() == nil {
				i.log.Warn("not all members know yet what a connection takes", "connection_id", id, "missing", len(missing))
			}
			return
		}
	}
}

// withdraw tells the others, in its own time, that a connection of this node is not open any more.
func (i *interests) withdraw(id string) {
	if i.ctx.Err() == nil {
		i.work.Go(func() { i.publish(i.ctx, id) })
	}
}

// receive takes what other nodes say.
func (i *interests) receive(from string, e *hawserv1.Envelope) {
	if e.Type == envelopeInterestKnown {
		i.mu.Lock()
		defer i.mu.Unlock()
		if answers := i.calls[e.Call]; answers != nil {
			select {
			case answers <- from:
			default: // told again meanwhile: it answers again
			}
		}
		return
	}
	row := persistence.IndexRow{ID: e.EntityId, Revision: e.Revision, Status: string(messages.StatusClosed)}
	if len(e.Payload) > 0 {
		row.Status, row.Interest = string(messages.StatusOpen), e.Payload
	}
	i.note(row, 0)
	i.send(from, &hawserv1.Envelope{Type: envelopeInterestKnown, Call: e.Call, EntityId: e.EntityId})
}
