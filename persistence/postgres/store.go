package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// Options say where the database is and how patient the store is with it.
type Options struct {
	// URL is a PostgreSQL connection URL (HAWSER_POSTGRES_URL). It may name several hosts, of which the primary is used,
	// and carry a search_path, whose first schema then holds all tables.
	URL string
	// TTL is the lease time (design.md 3.2), default 5 s. No batch and no transaction of the leases outlives it, and a
	// session whose peer is silent for as long is given up.
	TTL time.Duration
	// Lanes is the number of append lanes, default 2.
	Lanes int
	// PoolSize bounds the sessions for reading and for what is not an append, default 8. Lanes and leases have their own.
	PoolSize int
	// Log takes what an operator should know; nil: slog.Default.
	Log *slog.Logger
	// Observe, if set, is told of each batch of appends and each page of a recovery.
	Observe persistence.Observe
	// Dial, if set, opens the network connections instead of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	if o.TTL <= 0 {
		o.TTL = 5 * time.Second
	}
	if o.Lanes <= 0 {
		o.Lanes = 2
	}
	if o.PoolSize <= 0 {
		o.PoolSize = 8
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Observe == nil {
		o.Observe = func(persistence.Operation, int, time.Duration, error) {}
	}
	return o
}

// Store is a persistence.Store on PostgreSQL. Safe for concurrent use.
type Store struct {
	opts   Options
	base   *pgx.ConnConfig
	schema string
	pool   *pgxpool.Pool
	lanes  []*lane
	peers  groupcommit.Peers // of the lanes
	seed   maphash.Seed

	beatMu sync.Mutex
	beat   session

	observerMu sync.Mutex
	observer   session

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	listeners sync.WaitGroup
	closing   sync.Once
	closed    error
}

var _ persistence.Store = (*Store)(nil)

// closeTimeout bounds the wait of Close for batches under way.
const closeTimeout = 5 * time.Second

// Open connects, brings the schema up to date and starts the lanes. Several nodes may open a new database at once. ctx
// bounds the opening only.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	base, err := parse(o)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, base: base, seed: maphash.MakeSeed()}
	if s.schema, err = migrate(ctx, s.sessionConfig("migration", 0, nil), o.Log); err != nil {
		return nil, err
	}
	if err := s.openPool(ctx); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	beat := s.sessionConfig("beat", o.TTL, map[string]string{"synchronous_commit": "off"})
	beat.AfterConnect = nil // a stalled disk must not stall the beat
	s.beat.config = beat
	s.observer.config = s.sessionConfig("observer", o.TTL, nil)
	for i := range o.Lanes {
		s.lanes = append(s.lanes, newLane(s, i))
	}
	return s, nil
}

func (s *Store) openPool(ctx context.Context) error {
	c, err := pgxpool.ParseConfig("")
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	// A node that freezes inside a transaction must not keep its rows locked for the next owner.
	c.ConnConfig = s.sessionConfig("pool", time.Minute, map[string]string{"idle_in_transaction_session_timeout": milliseconds(s.opts.TTL)})
	c.MaxConns = int32(s.opts.PoolSize)
	c.MinConns = 0
	c.MaxConnIdleTime = 5 * time.Minute
	if s.pool, err = pgxpool.NewWithConfig(ctx, c); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := s.Ping(ctx); err != nil {
		s.pool.Close()
		return err
	}
	return nil
}

// Ping reads one row.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	return failed("ping", s.pool.QueryRow(ctx, `select count(*) from settings`).Scan(&n))
}

// Close lets batches under way end, for 5 s at most, refuses what waits behind them and ends all sessions. Leases are kept:
// a node that goes for good calls Leave before.
func (s *Store) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		for _, l := range s.lanes {
			go func() { _ = l.queue.Close(ctx) }() // all at once; each is waited for below
		}
		for _, l := range s.lanes {
			if err := l.queue.Close(ctx); err != nil {
				s.closed = errors.Join(s.closed, fmt.Errorf("postgres: close lane %d: %w", l.number, err))
			}
		}
		s.cancel() // a batch that is still under way loses its session now
		for _, l := range s.lanes {
			<-l.queue.Ended()
			l.session.drop()
		}
		s.listeners.Wait()
		s.beatMu.Lock()
		s.beat.drop()
		s.beatMu.Unlock()
		s.observerMu.Lock()
		s.observer.drop()
		s.observerMu.Unlock()
		s.pool.Close()
	})
	return s.closed
}

// Append writes one event: see persistence.Journal.
func (s *Store) Append(ctx context.Context, a persistence.Append) error {
	if err := groupcommit.Check(&a); err != nil {
		return err
	}
	return s.lane(a.Event.PID).queue.Do(ctx, groupcommit.NewAppend(a))
}

// SaveSnapshot writes a snapshot alone: see persistence.Journal.
func (s *Store) SaveSnapshot(ctx context.Context, l persistence.Lease, snap persistence.Snapshot) error {
	return s.lane(snap.PID).queue.Do(ctx, groupcommit.NewSnapshot(l, snap))
}

// lane of an entity: always the same one, so that its writes keep their order.
func (s *Store) lane(pid string) *lane {
	return s.lanes[maphash.String(s.seed, pid)%uint64(len(s.lanes))]
}
