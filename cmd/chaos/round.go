package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Times of a round. arrivals is longer than a message may be held (O14: 65 s).
const (
	steady      = 3 * time.Second // under load before the fault, and after it
	settling    = 60 * time.Second
	arrivals    = 90 * time.Second
	probing     = 40 * time.Second // a connection that has not answered by then after all is over counts as never answered
	undecidable = 20 * time.Second // per connection, for porcupine
)

// round is one injection of a scenario into a running lab.
type round struct {
	lab      *lab
	scenario scenario
	rng      *rand.Rand
	result   *result

	from     time.Time // start of the round: gaps are looked for from here
	t0       time.Time // of the fault; zero: none
	affected hit       // whose recovery is timed
	answered []recovery
	over     atomic.Bool // the fault and its repair are over: planned moves are watched until then
	probes   sync.WaitGroup
}

// play runs one round: load, fault, rest, and then every check.
func (l *lab) play(ctx context.Context, s scenario, number, run int, seed uint64) result {
	res := result{Scenario: s.name, Title: s.title, Round: number, Network: l.network.name(), Nodes: len(l.members()),
		Connections: 2 * l.relays.n, Planned: s.planned, Budget: s.budget, Commands: map[string]int{}}
	if l.opts.nodes == 1 {
		res.Budget = budget{} // they hold where another node takes over
	}
	began := time.Now()
	r := &round{lab: l, scenario: s, rng: rand.New(rand.NewPCG(seed, uint64(run))), result: &res, from: began}
	r.settle(ctx)
	l.observer.taken()
	l.activations.taken()
	l.observer.forget(began)

	c := &commands{ctx: ctx, api: l.api, nodes: l.answering, began: l.began, uri: l.uri(), shapes: l.opts.shapes, prefix: fmt.Sprintf("c%d", run)}
	if !s.planned {
		c.others = l.doubtful
	}
	load, unload := context.WithCancel(ctx)
	defer unload()
	var working sync.WaitGroup
	working.Go(func() { c.run(load, l.opts.clients, l.opts.ids, seed+uint64(run)) })
	published := make(chan *ledger, 1)
	traffic, halt := context.WithCancel(ctx)
	defer halt()
	go func() { published <- l.traffic.run(traffic, run, l.opts.rate) }()

	if pause(ctx, steady) {
		if err := s.run(ctx, r); err != nil && ctx.Err() == nil {
			res.fail(&res.Errors, err.Error())
		}
		r.settle(ctx)
		pause(ctx, steady)
	}
	r.over.Store(true)
	r.probes.Wait()
	unload()
	working.Wait()
	halt()
	sent := <-published
	if ctx.Err() != nil {
		res.fail(&res.Errors, "interrupted")
		return res
	}
	_ = eventually(ctx, arrivals, "all messages arrive", func() error {
		if _, _, _, _, lost := sent.balance(); len(lost) > 0 {
			return fmt.Errorf("%d have not", len(lost))
		}
		return nil
	})
	if ctx.Err() != nil {
		res.fail(&res.Errors, "interrupted")
		return res
	}
	res.failAll(&res.NotBack, l.shown(ctx))
	res.failAll(&res.NotBack, c.finish(l.opts.ids))
	r.cleared(ctx, c.prefix)
	for _, ended := range l.revive() {
		res.fail(&res.NotBack, ended)
	}
	r.judge(ctx, c, sent)
	res.Took, res.Load = time.Since(began), machineLoad()
	return res
}

// cleared looks for clients of the deleted connections.
func (r *round) cleared(ctx context.Context, prefix string) {
	var still []string
	_ = eventually(ctx, 5*time.Second, "no client of a deleted connection is up", func() error {
		if still = r.lab.observer.up(prefix + "-"); len(still) > 0 {
			return errors.New(still[0])
		}
		return nil
	})
	for _, client := range still {
		r.result.fail(&r.result.DoubleClients, client+": up although its connection is deleted")
	}
}

// judge fills in the result.
func (r *round) judge(ctx context.Context, c *commands, sent *ledger) {
	l, res := r.lab, r.result
	overlaps, strangers := l.observer.taken()
	res.failAll(&res.DoubleClients, strangers)
	for _, o := range overlaps {
		text := fmt.Sprintf("%s: CONNECT from n%d (%s) while the link of n%d (%s), %v old, was up, %s", o.client, o.newNode, o.new, o.oldNode, o.old,
			o.age.Round(time.Millisecond), r.when(o.at))
		switch o.cause {
		case frozen:
			res.Frozen++
		case severed:
			res.Severed++
			res.fail(&res.DoubleClients, text+" (cut)")
		default:
			res.fail(&res.DoubleClients, text)
		}
	}
	for _, text := range l.activations.taken() {
		res.fail(&res.DoubleActive, text)
	}

	operations := c.history()
	res.operations = operations
	for _, o := range operations {
		res.Commands[o.Outcome.String()]++
		if o.Outcome != unknown && o.Outcome != refused {
			continue
		}
		if r.scenario.planned && o.Live {
			res.fail(&res.Failed, fmt.Sprintf("%s: %s", o.ID, o))
		} else if r.scenario.planned {
			res.AtLeaving++
		}
	}
	own, err := readJournal(ctx, l.postgres, l.place, c.prefix+"-%")
	if err != nil {
		res.fail(&res.Errors, "journal: "+err.Error())
		return
	}
	sources, err1 := readJournal(ctx, l.postgres, l.place, "source-%")
	targets, err2 := readJournal(ctx, l.postgres, l.place, "target-%")
	if err := errors.Join(err1, err2); err != nil {
		res.fail(&res.Errors, "journal: "+err.Error())
		return
	}
	res.Events = len(own)
	missing, twice := checkExecutions(operations, own)
	res.failAll(&res.Missing, missing)
	res.failAll(&res.Twice, twice)
	for _, events := range [][]event{own, sources, targets} {
		gaps, back := checkOrder(events)
		res.failAll(&res.Gaps, gaps)
		res.failAll(&res.EpochBack, back)
	}
	violations, undecided := checkHistory(operations, undecidable)
	res.failAll(&res.NotLinearizable, violations)
	res.Undecided = len(undecided)

	var alien int
	var lost []lostMessage
	res.Published, res.Arrived, res.Again, alien, lost = sent.balance()
	for _, m := range lost {
		res.fail(&res.Lost, fmt.Sprintf("message %d of relay %04d, acknowledged by the broker %s", m.number, m.relay, r.when(m.at)))
	}
	if alien > 0 {
		res.fail(&res.Errors, fmt.Sprintf("%d messages arrived that nobody sent", alien))
	}
	r.times()
}

// times fills in how long commands and clients were away.
func (r *round) times() {
	res := r.result
	var answered, away []time.Duration
	for _, a := range r.answered {
		if r.scenario.planned {
			answered = append(answered, a.length())
		} else {
			answered = append(answered, a.time())
		}
	}
	res.Answered = quantilesOf(answered)
	if r.scenario.planned {
		for _, id := range r.clients(r.lab.relays.ids()) {
			away = append(away, r.gaps(id, r.from)...)
		}
	} else {
		for _, id := range r.clients(r.affected.connections) {
			if r.affected.clients != nil && !r.affected.clients[id] {
				away = append(away, r.gaps(id, r.t0)...)
				continue
			}
			after, moved, lost := r.lab.observer.reopened(id, r.t0)
			switch {
			case lost:
				away = append(away, never)
			case moved:
				away = append(away, after)
			}
		}
	}
	res.Reopened = quantilesOf(away)
}

// gaps are the times that a client was away for since t0.
func (r *round) gaps(client string, t0 time.Time) []time.Duration {
	gaps, up := r.lab.observer.gaps(client, t0)
	if !up {
		gaps = append(gaps, never)
	}
	return gaps
}

// clients are those of connections, by client id. Connections of which not all can run while nodes are away are left out.
func (r *round) clients(connections []string) (clients []string) {
	for _, connection := range connections {
		if r.lab.opts.shapes.count(connection) <= max(1, r.lab.opts.nodes-max(1, r.scenario.away)) {
			clients = append(clients, r.lab.observer.clientsOf(connection)...)
		}
	}
	return clients
}

func (r *round) when(t time.Time) string {
	if r.t0.IsZero() {
		return t.Format("15:04:05.000")
	}
	if t.Before(r.t0) {
		return fmt.Sprintf("%.3f s before the fault", r.t0.Sub(t).Seconds())
	}
	return fmt.Sprintf("%.3f s after the fault", t.Sub(r.t0).Seconds())
}

// victim is a random node.
func (r *round) victim() *node {
	members := r.lab.members()
	return members[r.rng.IntN(len(members))]
}

// hit is what a fault concerns.
type hit struct {
	connections []string
	clients     map[string]bool // by client id: others of these connections were elsewhere, and move only because of the first; nil: all
}

// two are two random nodes.
func (r *round) two() (first, second *node) {
	members := r.lab.members()
	order := r.rng.Perm(len(members))
	return members[order[0]], members[order[1]]
}

// at are the relay connections that have clients on one of the nodes, and which.
func (r *round) at(nodes ...*node) hit {
	h := hit{clients: map[string]bool{}}
	var names []string
	for _, n := range nodes {
		names = append(names, n.name)
		for _, id := range r.lab.activations.at(n.index) {
			if !strings.HasPrefix(id, "source-") && !strings.HasPrefix(id, "target-") {
				continue
			}
			h.connections = append(h.connections, id)
			clients := r.lab.observer.clientsOf(id)
			if len(clients) > 1 {
				clients = r.lab.observer.from(n.index, clients)
			}
			for _, client := range clients {
				h.clients[client] = true
			}
		}
	}
	slices.Sort(h.connections)
	h.connections = slices.Compact(h.connections)
	r.result.Victim = strings.Join(names, ", ")
	return h
}

// offset is how long after its sign a second fault comes: at once in the first round, up to 100 ms later in the others.
func (r *round) offset() time.Duration {
	if r.result.Round == 1 {
		return 0
	}
	return time.Duration(r.rng.IntN(100)) * time.Millisecond
}

// moment waits until it is time for a second fault.
func (r *round) moment(ctx context.Context, sign *sign) error {
	err := sign.wait(ctx, r.lab.opts.watch())
	pause(ctx, r.offset())
	return err
}

// everywhere are all relay connections.
func (r *round) everywhere() hit { return hit{connections: r.lab.relays.ids()} }

// measure times the recovery of connections since t0. They are asked for through nodes other than not.
func (r *round) measure(ctx context.Context, t0 time.Time, h hit, not ...*node) {
	ids := h.connections
	r.t0, r.affected = t0, h
	r.result.Affected = len(ids)
	nodes := func() []*node {
		var out []*node
		for _, n := range r.lab.answering() {
			if !slices.Contains(not, n) || r.lab.opts.nodes == 1 {
				out = append(out, n)
			}
		}
		return out
	}
	enough := func() bool { return time.Since(t0) > r.lab.opts.watch() }
	if r.scenario.planned {
		enough = r.over.Load
		// Watching all the time must not become the load: a hundred of them tell enough.
		ids = slices.Collect(everyNth(ids, 1+len(ids)/100))
	}
	r.probes.Go(func() { r.answered = probe(ctx, r.lab.api, ids, nodes, t0, enough, probing) })
}

// recovered waits until all connections concerned are answered and have a client again, or limit is over; the numbers show
// which it was.
func (r *round) recovered(ctx context.Context, limit time.Duration) {
	answered := make(chan struct{})
	go func() { r.probes.Wait(); close(answered) }()
	_ = eventually(ctx, limit, "recovery", func() error {
		select {
		case <-answered:
		default:
			if !r.scenario.planned {
				return fmt.Errorf("not all connections are answered")
			}
		}
		if missing := r.lab.observer.incomplete(r.affected.connections, len(r.lab.members())); len(missing) > 0 {
			return fmt.Errorf("%d connections lack a client", len(missing))
		}
		return nil
	})
}

func everyNth(ids []string, n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i < len(ids); i += n {
			if !yield(ids[i]) {
				return
			}
		}
	}
}

// hold keeps the fault for d.
func (r *round) hold(ctx context.Context, d time.Duration) error {
	if !pause(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// restart starts a node's process again.
func (r *round) restart(n *node) error {
	r.lab.activations.interrupt(n.index, time.Now())
	return n.start()
}

// replace starts nodes again that are down, once the others have recovered.
func (r *round) replace(ctx context.Context, nodes ...*node) (err error) {
	r.recovered(ctx, 20*time.Second)
	for _, n := range nodes {
		err = errors.Join(err, r.restart(n))
	}
	return err
}

// newcomer is a node beyond the configured ones, made when first wanted.
func (r *round) newcomer() (*node, error) {
	if nodes := r.lab.all(); len(nodes) > r.lab.opts.nodes {
		return nodes[len(nodes)-1], nil
	}
	return r.lab.addNode()
}

// settle waits for rest; what does not come to rest is counted as not back. Processes that have ended by themselves are
// counted and started again.
func (r *round) settle(ctx context.Context) {
	for range 3 {
		ended := r.lab.revive()
		for _, text := range ended {
			r.result.fail(&r.result.NotBack, text)
		}
		err := r.lab.settle(ctx, settling)
		if err == nil || ctx.Err() != nil {
			return
		}
		if again := r.lab.revive(); len(again) > 0 {
			for _, text := range again {
				r.result.fail(&r.result.NotBack, text)
			}
			continue
		}
		r.result.fail(&r.result.NotBack, err.Error())
		return
	}
}

// broken counts an orderly end that was none.
func (r *round) broken(err error) {
	if err != nil {
		r.result.fail(&r.result.NotBack, err.Error())
	}
}
