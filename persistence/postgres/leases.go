package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"hawser/persistence"
)

// transaction runs one transaction of the leases on a pooled session. Its deadline is ctx's, or two lease times.
func (s *Store) transaction(ctx context.Context, what string, do func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.opts.TTL)
	defer cancel()
	tx, err := s.begin(ctx)
	if err != nil {
		return failed(what, err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // does nothing after a commit
	if err := do(ctx, tx); err != nil {
		return failed(what, err)
	}
	return failed(what, tx.Commit(ctx))
}

// begin takes the next pooled session where one proves to be dead, as all of them are after a restart of the database.
func (s *Store) begin(ctx context.Context) (tx pgx.Tx, err error) {
	for range s.opts.PoolSize + 1 {
		tx, err = s.pool.Begin(ctx)
		var unreachable *pgconn.ConnectError
		if err == nil || errors.As(err, &unreachable) || ctx.Err() != nil {
			break
		}
	}
	return tx, err
}

// Init makes the shards of a kind: see persistence.Leases.
func (s *Store) Init(ctx context.Context, kind string, shards int) error {
	fixed := shards
	err := s.transaction(ctx, "make the shards", func(ctx context.Context, tx pgx.Tx) error {
		if kind == persistence.KindConnection {
			name := "shards." + kind
			if _, err := tx.Exec(ctx, `insert into settings (name, value) values ($1, $2) on conflict do nothing`, name, strconv.Itoa(shards)); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, `select value::int from settings where name = $1`, name).Scan(&fixed); err != nil || fixed != shards {
				return err
			}
		}
		_, err := tx.Exec(ctx, `insert into shards (kind, shard, epoch) select $1, n, 0 from generate_series(0, $2::int - 1) n on conflict do nothing`, kind, shards)
		return err
	})
	if err == nil && fixed != shards {
		return fmt.Errorf("%w: it has %d, configured are %d", persistence.ErrShardCount, fixed, shards)
	}
	return err
}

// Join inserts a member with its fences, and the lanes learn them: see persistence.Leases. Joining twice is joining once.
func (s *Store) Join(ctx context.Context, m persistence.Member) error {
	fences := map[int]int64{}
	kinds := m.Kinds
	if kinds == nil {
		kinds = []string{}
	}
	err := s.transaction(ctx, "join", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into members (id, beat, address, instance, kinds, draining, proc) values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
			string(m.ID), m.Beat, m.Address, m.Instance, kinds, m.Draining, m.Proc)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into fences (member, lane, session) select $1, n, 1 from generate_series(0, $2::int - 1) n on conflict do nothing`, string(m.ID), len(s.lanes))
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select lane, session from fences where member = $1`, string(m.ID))
		if err != nil {
			return err
		}
		var lane int
		var session int64
		if _, err := pgx.ForEachRow(rows, []any{&lane, &session}, func() error { fences[lane] = session; return nil }); err != nil {
			return err
		}
		return s.notify(ctx, tx)
	})
	if err != nil {
		return err
	}
	for _, l := range s.lanes {
		l.learn(m.ID, fences[l.number])
	}
	return nil
}

// Beat says that a member lives: see persistence.Leases. It has a session of its own, which any error ends.
func (s *Store) Beat(ctx context.Context, id persistence.MemberID, unreachable []persistence.MemberID) (bool, error) {
	if unreachable == nil {
		unreachable = []persistence.MemberID{} // not null
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.TTL)
	defer cancel()
	s.beatMu.Lock()
	defer s.beatMu.Unlock()
	conn, err := s.beat.open(ctx)
	if err != nil {
		return false, failed("beat", err)
	}
	tag, err := conn.Exec(ctx, `update members set beat = beat + 1, unreachable = $2 where id = $1`, string(id), unreachable)
	if err != nil {
		s.beat.drop()
		return false, failed("beat", err)
	}
	return tag.RowsAffected() == 1, nil
}

// Members reads all members on the observing session: see persistence.Leases.
func (s *Store) Members(ctx context.Context) ([]persistence.Member, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.TTL)
	defer cancel()
	s.observerMu.Lock()
	defer s.observerMu.Unlock()
	conn, err := s.observer.open(ctx)
	if err != nil {
		return nil, 0, failed("read the members", err)
	}
	members, err := readMembers(ctx, conn)
	if err != nil {
		s.observer.drop()
		return nil, 0, failed("read the members", err)
	}
	return members, s.observer.number, nil
}

func readMembers(ctx context.Context, conn *pgx.Conn) ([]persistence.Member, error) {
	rows, err := conn.Query(ctx, `select id, beat, address, instance, kinds, draining, proc, unreachable from members order by id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (persistence.Member, error) {
		var m persistence.Member
		err := row.Scan(&m.ID, &m.Beat, &m.Address, &m.Instance, &m.Kinds, &m.Draining, &m.Proc, &m.Unreachable)
		return m, err
	})
}

// Bury removes a member: see persistence.Leases. Without proof it does so only on the very session that Members read:
// beats are committed without waiting for the disk, so after a crash of the database an old beat may be seen again.
func (s *Store) Bury(ctx context.Context, id persistence.MemberID, seen int64, proof bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.opts.TTL)
	defer cancel()
	s.observerMu.Lock()
	defer s.observerMu.Unlock()
	if !proof && (s.observer.conn == nil || s.observer.conn.IsClosed()) {
		return false, fmt.Errorf("postgres: bury: the session that saw the beat has ended: %w", persistence.ErrUnavailable)
	}
	conn, err := s.observer.open(ctx)
	if err != nil {
		return false, failed("bury", err)
	}
	buried := false
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from members where id = $1 and (beat = $2 or $3)`, string(id), seen, proof)
		if err != nil || tag.RowsAffected() == 0 && !proof {
			return err
		}
		gone, err := removeMember(ctx, tx, id)
		buried = gone || tag.RowsAffected() > 0
		if err != nil || !buried {
			return err
		}
		return s.notify(ctx, tx)
	})
	if err != nil {
		s.observer.drop() // and with it what was seen through it
		return false, failed("bury", err)
	}
	return buried, nil
}

// removeMember deletes a member's fences, which waits for its batches in flight, and frees its shards.
func removeMember(ctx context.Context, tx pgx.Tx, id persistence.MemberID) (found bool, err error) {
	fences, err := tx.Exec(ctx, `delete from fences where member = $1`, string(id))
	if err != nil {
		return false, err
	}
	shards, err := tx.Exec(ctx, `with o as (select kind, shard from shards where owner = $1 order by kind, shard for update)
		update shards s set owner = null, epoch = epoch + 1 from o where s.kind = o.kind and s.shard = o.shard`, string(id))
	return fences.RowsAffected()+shards.RowsAffected() > 0, err
}

// Shards reads all owners: see persistence.Leases.
func (s *Store) Shards(ctx context.Context) ([]persistence.Lease, error) {
	rows, err := s.pool.Query(ctx, `select kind, shard, coalesce(owner, ''), epoch from shards order by kind, shard`)
	if err != nil {
		return nil, failed("read the shards", err)
	}
	leases, err := pgx.CollectRows(rows, scanLease)
	return leases, failed("read the shards", err)
}

func scanLease(row pgx.CollectableRow) (persistence.Lease, error) {
	var l persistence.Lease
	err := row.Scan(&l.Shard.Kind, &l.Shard.Number, &l.Owner, &l.Epoch)
	return l, err
}

// Claim takes free shards: see persistence.Leases. Rows that another transaction holds are left to it, so claims never wait
// for each other.
func (s *Store) Claim(ctx context.Context, id persistence.MemberID, want []persistence.ShardRef) (taken []persistence.Lease, err error) {
	kinds, numbers := split(want)
	err = s.transaction(ctx, "claim", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			with f as materialized (select 1 from fences where member = $1 and lane = 0 for share),
			w as (select kind, shard from shards where owner is null and (kind, shard) in (select * from unnest($2::text[], $3::int[]))
				order by kind, shard for update skip locked)
			update shards s set owner = $1, epoch = epoch + 1 from f, w where s.kind = w.kind and s.shard = w.shard
			returning s.kind, s.shard, s.owner, s.epoch`, string(id), kinds, numbers)
		if err != nil {
			return err
		}
		if taken, err = pgx.CollectRows(rows, scanLease); err != nil || len(taken) == 0 {
			return err
		}
		return s.notify(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// Release gives shards back: see persistence.Leases. It waits for the batches under way: a batch that began before and
// ended after the release could otherwise still write under the lease that is gone.
func (s *Store) Release(ctx context.Context, id persistence.MemberID, shards []persistence.ShardRef) error {
	ctx, cancel := context.WithTimeout(ctx, 3*s.opts.TTL)
	defer cancel()
	for _, l := range s.lanes {
		resume, err := l.queue.Pause(ctx)
		if err != nil {
			return failed("release: wait for the appends under way", err)
		}
		defer resume()
	}
	kinds, numbers := split(shards)
	return s.transaction(ctx, "release", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			with o as (select kind, shard from shards where owner = $1 and (kind, shard) in (select * from unnest($2::text[], $3::int[]))
				order by kind, shard for update)
			update shards s set owner = null, epoch = epoch + 1 from o where s.kind = o.kind and s.shard = o.shard`, string(id), kinds, numbers)
		if err != nil {
			return err
		}
		return s.notify(ctx, tx)
	})
}

func split(shards []persistence.ShardRef) (kinds []string, numbers []int) {
	kinds, numbers = make([]string, len(shards)), make([]int, len(shards))
	for i, r := range shards {
		kinds[i], numbers[i] = r.Kind, r.Number
	}
	return kinds, numbers
}

// SetDraining marks a member: see persistence.Leases.
func (s *Store) SetDraining(ctx context.Context, id persistence.MemberID) error {
	return s.transaction(ctx, "mark the member as leaving", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update members set draining = true where id = $1`, string(id)); err != nil {
			return err
		}
		return s.notify(ctx, tx)
	})
}

// Leave ends a membership: see persistence.Leases.
func (s *Store) Leave(ctx context.Context, id persistence.MemberID) error {
	err := s.transaction(ctx, "leave", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from members where id = $1`, string(id)); err != nil {
			return err
		}
		if _, err := removeMember(ctx, tx, id); err != nil {
			return err
		}
		return s.notify(ctx, tx)
	})
	if err == nil {
		for _, l := range s.lanes {
			l.forget(id)
		}
	}
	return err
}
