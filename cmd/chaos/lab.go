package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// lab is one cluster with everything around it.
type lab struct {
	opts    options
	dir     string // data, removed at the end
	logs    string
	began   time.Time
	binary  string
	spawner *spawner

	network     network
	postgres    *postgres
	place       string // URL of this cluster's database or schema
	broker      *broker
	observer    *observer
	tap         *tap
	api         *api
	activations *activations
	relays      relays
	traffic     *traffic

	mu    sync.Mutex
	nodes []*node

	cancel   context.CancelFunc // ends the watchers
	watchers sync.WaitGroup
	watching context.Context
}

// newLab starts everything but the nodes' load: servers, nodes, relays.
func newLab(ctx context.Context, opts options, network network, dir, logs, binary string) (l *lab, err error) {
	l = &lab{opts: opts, dir: dir, logs: logs, began: time.Now(), binary: binary, network: network, spawner: newSpawner(),
		api: newAPI(), activations: newActivations(opts.shapes), relays: relays{n: max(1, opts.connections/2), shapes: opts.shapes}}
	l.watching, l.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if opts.postgres != "" {
		l.postgres, err = givenPostgres(ctx, opts.postgres)
	} else {
		hosts, subnets := network.databaseHosts()
		l.postgres, err = startPostgres(ctx, l.spawner, filepath.Join(dir, "postgres"), logs, hosts, subnets)
	}
	if err != nil {
		return l, err
	}
	if l.place, err = l.postgres.fresh(ctx, fmt.Sprintf("chaos_%d_%d", os.Getpid(), l.began.UnixMilli()%1e6)); err != nil {
		return l, err
	}
	if l.broker, err = startBroker(ctx, l.spawner, dir, logs); err != nil {
		return l, err
	}
	l.observer = newObserver(opts.shapes, l.who)
	if l.tap, err = newTap(network.shared(), l.broker.address, l.observer); err != nil {
		return l, err
	}
	for range opts.nodes {
		n, err := l.addNode()
		if err != nil {
			return l, err
		}
		if err := n.start(); err != nil {
			return l, err
		}
	}
	if err := l.allReady(ctx, time.Minute); err != nil {
		return l, err
	}
	if err := l.populate(ctx); err != nil {
		return l, err
	}
	if err := l.settle(ctx, 2*time.Minute); err != nil {
		return l, err
	}
	l.traffic, err = newTraffic(l.broker.address, l.relays.n)
	return l, err
}

func (l *lab) uri() string { return "tcp://" + l.tap.address() }

// addNode prepares the next node and watches it from now on.
func (l *lab) addNode() (*node, error) {
	l.mu.Lock()
	index := len(l.nodes) + 1
	l.mu.Unlock()
	at, err := l.network.place(index, l.postgres.hosts[0]+":"+l.postgres.port)
	if err != nil {
		return nil, err
	}
	n, err := newNode(index, at, l.binary, l.dir, l.logs, l.postgres.at(l.place, at.postgres), l.opts.nodeEnv(), l.spawner, l.network)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.nodes = append(l.nodes, n)
	l.mu.Unlock()
	l.watchers.Go(func() { n.watch(l.watching) })
	l.watchers.Go(func() { l.activations.scrape(l.watching, n) })
	return n, nil
}

// all are the nodes, running or not.
func (l *lab) all() []*node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*node(nil), l.nodes...)
}

// members are the nodes that should be running.
func (l *lab) members() []*node {
	var out []*node
	for _, n := range l.all() {
		if n.up() {
			out = append(out, n)
		}
	}
	return out
}

// answering are the nodes that a load balancer would use.
func (l *lab) answering() []*node {
	var out []*node
	for _, n := range l.all() {
		if n.answering() {
			out = append(out, n)
		}
	}
	return out
}

// doubtful are the nodes that run, are not frozen, and are not ready.
func (l *lab) doubtful() []*node {
	var out []*node
	for _, n := range l.all() {
		if c, _ := n.state(); c != down && c != frozen && !n.answering() {
			out = append(out, n)
		}
	}
	return out
}

// who identifies the node at the other end of a broker link.
func (l *lab) who(remote netip.AddrPort, expensive bool) (int, condition) {
	index := l.network.index(remote)
	nodes := l.all()
	if index == 0 && expensive {
		pids := make([]int, 0, len(nodes))
		for _, n := range nodes {
			if pid := n.pid(); pid != 0 {
				pids = append(pids, pid)
			}
		}
		if pid := socketOwner(remote, netip.MustParseAddrPort(l.tap.address()), pids); pid != 0 {
			for _, n := range nodes {
				if n.pid() == pid {
					index = n.index
				}
			}
		}
	}
	for _, n := range nodes {
		if n.index == index {
			c, _ := n.state()
			return index, c
		}
	}
	return 0, well
}

// allReady waits until every node that should run is ready.
func (l *lab) allReady(ctx context.Context, within time.Duration) error {
	return eventually(ctx, within, "all nodes are ready", func() error {
		for _, n := range l.members() {
			if !n.proc().running() {
				return errFinal{fmt.Errorf("%s ended:\n%s", n.name, n.tail(20))}
			}
			if !n.answering() {
				return fmt.Errorf("%s is not ready", n.name)
			}
		}
		return nil
	})
}

// populate creates the relays, open.
func (l *lab) populate(ctx context.Context) error {
	slots := make(chan struct{}, 8)
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for i := range l.relays.n {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for _, connection := range l.relays.connections(i, l.uri()) {
				err := eventually(ctx, 30*time.Second, fmt.Sprintf("create %v", connection["id"]), func() error {
					nodes := l.answering()
					if len(nodes) == 0 {
						return errors.New("no node is ready")
					}
					r := l.api.command(ctx, nodes[i%len(nodes)], fmt.Sprintf("populate-%v", connection["id"]), with("createConnection", connection), commandTimeout)
					if r.outcome == refused && !strings.HasPrefix(r.detail, "not connected") {
						return errFinal{errors.New(r.detail)}
					}
					if r.outcome != done && r.outcome != exists {
						return errors.New(r.detail)
					}
					return nil
				})
				if err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
	if len(failed) > 0 {
		return fmt.Errorf("%d relays could not be created: %w", len(failed), failed[0])
	}
	return nil
}

// leases is what the lease tables say.
type leases struct {
	members  int
	orphans  int // connection shards without a member as owner
	largest  int // most connection shards of one member
	shards   int
	complete string // owners and epochs, to see whether anything changes
}

const leasesQuery = `select (select count(*) from members),
  (select count(*) from shards where kind = 'connection' and (owner is null or owner not in (select id from members))),
  (select coalesce(max(n), 0) from (select count(*) n from shards where kind = 'connection' group by owner) x),
  (select count(*) from shards where kind = 'connection'),
  (select coalesce(string_agg(concat_ws(' ', kind, shard, owner, epoch), ',' order by kind, shard), '') from shards)`

func (l *lab) leases(ctx context.Context) (out leases, err error) {
	err = l.postgres.query(ctx, l.place, leasesQuery, func(rows pgx.Rows) error {
		return rows.Scan(&out.members, &out.orphans, &out.largest, &out.shards, &out.complete)
	})
	return out, err
}

// settle waits until the cluster is at rest: all nodes ready, shards shared out and not moving for a second, all clients of
// the relays connected.
func (l *lab) settle(ctx context.Context, within time.Duration) error {
	var last string
	var since time.Time
	return eventually(ctx, within, "the cluster settles", func() error {
		members := l.members()
		for _, n := range members {
			if !n.proc().running() {
				return errFinal{fmt.Errorf("%s has ended", n.name)}
			}
			if !n.answering() {
				return fmt.Errorf("%s is not ready", n.name)
			}
		}
		now, err := l.leases(ctx)
		if err != nil {
			return err
		}
		if now.complete != last {
			last, since = now.complete, time.Now()
		}
		most := (now.shards + len(members) - 1) / max(1, len(members))
		missing := l.observer.incomplete(l.relays.ids(), len(members))
		switch {
		case now.members != len(members):
			return fmt.Errorf("%d members of %d nodes", now.members, len(members))
		case now.orphans > 0:
			return fmt.Errorf("%d shards without owner", now.orphans)
		case now.largest > most:
			return fmt.Errorf("a member owns %d of %d shards, at most %d are its share", now.largest, now.shards, most)
		case len(missing) > 0:
			return fmt.Errorf("%d connections lack a client, %s for one", len(missing), missing[0])
		case time.Since(since) < time.Second:
			return errors.New("shards are still moving")
		}
		return nil
	})
}

// shown says of which relay connections with several clients the status does not show, at a random node, as many open ones as
// there are nodes for them.
func (l *lab) shown(ctx context.Context) (problems []string) {
	nodes := l.answering()
	for i, id := range l.relays.ids() {
		count := l.relays.shapes.count(id)
		if count == 1 || len(nodes) == 0 {
			continue
		}
		err := eventually(ctx, 10*time.Second, "the status of "+id, func() error {
			r := l.api.command(ctx, nodes[i%len(nodes)], "status-"+id, on("retrieveConnectionStatus", id), commandTimeout)
			open := 0
			for _, status := range r.clients {
				if status == "open" {
					open++
				}
			}
			if want := min(count, len(l.members())); r.outcome != done || open != want || len(r.clients) != count {
				return fmt.Errorf("%s %s: clients %v at %s, want %d open of %d", r.outcome, r.detail, r.clients, nodes[i%len(nodes)].name, want, count)
			}
			return nil
		})
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

// revive restarts processes that ended although nobody asked for it, and names them.
func (l *lab) revive() (ended []string) {
	for _, n := range l.members() {
		if p := n.proc(); p.unexpected() {
			ended = append(ended, fmt.Sprintf("%s ended by itself (%s):\n%s", n.name, p.cmd.ProcessState, n.tail(8)))
			l.activations.interrupt(n.index, time.Now())
			if err := n.start(); err != nil {
				ended = append(ended, err.Error())
			}
		}
	}
	return ended
}

// close ends everything that was started and removes what it left.
func (l *lab) close() {
	l.cancel()
	if l.traffic != nil {
		l.traffic.close()
	}
	for _, n := range l.all() {
		n.set(down)
		if p := n.proc(); p.running() {
			p.stop(syscall.SIGKILL, time.Second)
		}
	}
	l.watchers.Wait()
	l.api.close()
	if l.tap != nil {
		l.tap.close()
	}
	if l.broker != nil {
		l.broker.close()
	}
	if l.postgres != nil {
		l.postgres.close()
	}
	l.network.close()
	l.spawner.close()
}
