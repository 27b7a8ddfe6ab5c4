package actors

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/messages"
	"hawser/persistence"
)

// reviver starts the open connections of shards that were claimed (decision D13), or the one client of each that the shard
// stands for: first their interest is made known, so
// that no source relays past a target that is not up yet (decision O13), then the shards are served, then the entities are
// recovered in bulk and started, highest priority first, at a rate that all claims of the node share.
type reviver struct {
	store   persistence.Store
	region  *region
	learn   func(context.Context) error // what the connections of all nodes take
	expect  func(index int, rows []persistence.IndexRow)
	written *written
	home    func(persistence.ShardRef) (number, index int) // of a shard: that of its connections, and which of their clients
	rate    Rate
	pace    *pace
	// late reports that the node's beat is late: it has too much to do already.
	late func() bool
	log  *slog.Logger
}

// Rate limits how fast open connections are started: Entities each Every.
type Rate struct {
	Entities int           // default 500
	Every    time.Duration // default 1s; they are spread over it
}

func (r Rate) withDefaults() Rate {
	if r.Entities <= 0 {
		r.Entities = 500
	}
	if r.Every <= 0 {
		r.Every = time.Second
	}
	return r
}

// portion is how many are started at a time: not all of an Every at once, so that commands and beats get their turn between.
func (r Rate) portion() int { return max(r.Entities/20, 1) }

// pace hands out turns to all that start connections on a node.
type pace struct {
	rate Rate
	mu   sync.Mutex
	next time.Time // of the next turn
}

// waitForBeat is how often a node whose beat is late looks again.
const waitForBeat = 20 * time.Millisecond

// wait waits for the turn to start n connections, and longer while the node is late with its beat: a node that has no time
// to beat must not take on more, or it loses what it has. False: ctx ended.
func (p *pace) wait(ctx context.Context, n int, late func() bool) bool {
	p.mu.Lock()
	at := time.Now()
	if p.next.After(at) {
		at = p.next
	}
	p.next = at.Add(p.rate.Every * time.Duration(n) / time.Duration(p.rate.Entities))
	p.mu.Unlock()
	for ctx.Err() == nil {
		wait := time.Until(at)
		switch {
		case wait > 0:
		case late():
			wait = waitForBeat
		default:
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return false
}

// revive does it for one claim; it ends when all are started, but for those that it returns for follow, or when ctx ends.
func (v *reviver) revive(ctx context.Context, leases []persistence.Lease) (left []unstarted) {
	var numbers []int
	connections := map[int]persistence.Epoch{} // shards of entities
	indexes := map[int][]int{}                 // shard number of connections → which of their clients were claimed
	epochs := make(map[persistence.ShardRef]persistence.Epoch, len(leases))
	for _, l := range leases {
		number, index := v.home(l.Shard)
		if len(indexes[number]) == 0 {
			numbers = append(numbers, number)
		}
		indexes[number] = append(indexes[number], index)
		epochs[l.Shard] = l.Epoch
		if index == 0 {
			connections[number] = l.Epoch
		}
	}
	v.written.begin(connections)
	if !v.insist(ctx, "the interest of the open connections could not be read", v.learn) {
		return nil
	}
	var rows []persistence.IndexRow
	if !v.insist(ctx, "the open connections could not be listed", func(ctx context.Context) (err error) {
		rows, err = v.store.Open(ctx, numbers)
		return err
	}) {
		return nil
	}
	open := make([]persistence.IndexRow, 0, len(rows)) // one for each client; ID is its identity
	for _, row := range rows {
		for _, index := range indexes[row.Shard] {
			if index == 0 || index < row.ClientCount {
				v.expect(index, []persistence.IndexRow{row})
				row := row
				row.ID = client.Identity(row.ID, index)
				open = append(open, row)
			}
		}
	}
	v.region.serve(epochs)
	if len(open) == 0 {
		return nil
	}
	began := time.Now()
	for start, told := 0, 0; start < len(open); {
		batch := open[start:min(start+v.rate.portion(), len(open))]
		if !v.pace.wait(ctx, len(batch), v.late) || !v.startBatch(ctx, batch, &left) {
			return left
		}
		start += len(batch)
		if start-told >= 10*v.rate.Entities {
			told = start
			v.log.Info("started open connections", "started", start, "of", len(open))
		}
	}
	v.log.Info("all open connections are started", "clients", len(open), "waiting", len(left), "took", time.Since(began).Round(time.Millisecond).String())
	return left
}

// follow starts each of those that were left as soon as its wait is over; it ends with the last of them, or when ctx ends.
func (v *reviver) follow(ctx context.Context, left []unstarted) {
	var work sync.WaitGroup
	for _, u := range left {
		work.Go(func() {
			for wait := u.wait; wait != nil; wait = v.start(u.id, u.read) {
				select {
				case <-wait:
				case <-ctx.Done():
					v.region.forget(map[string]*bulkRead{u.id: u.read})
					return
				}
			}
		})
	}
	work.Wait()
}

// unstarted is a connection that has to wait: its entity of a former lease still ends.
type unstarted struct {
	id   string
	read *bulkRead
	wait <-chan struct{}
}

// start starts one connection, or returns what to wait for before.
func (v *reviver) start(id string, read *bulkRead) (wait <-chan struct{}) {
	wait, err := v.region.start(id, read)
	if err != nil && !errors.Is(err, messages.ErrNoLease) { // else its next owner starts it
		v.log.Warn("an open connection was not started", "connection_id", id, "error", err)
	}
	return wait
}

// startBatch recovers one batch in one query and starts it, but for what is left.
func (v *reviver) startBatch(ctx context.Context, rows []persistence.IndexRow, left *[]unstarted) bool {
	pids, ids := make([]string, 0, len(rows)), make([]string, len(rows))
	byPID := make(map[string][]string, len(rows))
	for i, row := range rows {
		id, _ := client.ParseIdentity(row.ID)
		pid := connection.PID(id)
		if byPID[pid] == nil {
			pids = append(pids, pid)
		}
		ids[i], byPID[pid] = row.ID, append(byPID[pid], row.ID)
	}
	reads := v.region.announce(ids)
	batch := make(map[string]*persistence.Recovery, len(rows))
	ok := v.insist(ctx, "open connections could not be recovered", func(ctx context.Context) error {
		for recovery, err := range v.store.Recover(ctx, pids) {
			if err != nil {
				return err
			}
			for _, id := range byPID[recovery.PID] {
				batch[id] = &recovery
			}
		}
		return nil
	})
	if !ok {
		v.region.forget(reads)
		return false
	}
	v.region.offer(reads, batch)
	for _, id := range ids {
		if wait := v.start(id, reads[id]); wait != nil {
			*left = append(*left, unstarted{id, reads[id], wait})
		}
	}
	return true
}

// insist repeats a read until it works or ctx ends, which is when the shards are lost.
func (v *reviver) insist(ctx context.Context, what string, read func(context.Context) error) bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		attempt, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := read(attempt)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		v.log.Warn(what, "error", err, "retry_after", pause.String())
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}
