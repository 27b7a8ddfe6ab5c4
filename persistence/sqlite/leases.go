package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"hawser/persistence"
)

// clearMembers removes all members and frees their shards; epochs grow as with any burial. The folder's lock proves that
// they are dead.
func (s *Store) clearMembers(ctx context.Context) error {
	return s.inTransaction(ctx, func() error {
		for _, sql := range []string{
			`delete from members`, `delete from fences`, `update shards set owner = null, epoch = epoch + 1 where owner is not null`,
		} {
			if _, err := s.writer.ExecContext(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// Init makes the shards of a kind: see persistence.Leases.
func (s *Store) Init(ctx context.Context, kind string, shards int) error {
	fixed := shards
	err := s.transaction(ctx, "make the shards", func(ctx context.Context, c *sql.Conn) error {
		if kind == persistence.KindConnection {
			name := "shards." + kind
			if _, err := c.ExecContext(ctx, `insert into settings (name, value) values (?1, ?2) on conflict do nothing`, name, strconv.Itoa(shards)); err != nil {
				return err
			}
			if err := c.QueryRowContext(ctx, `select cast(value as integer) from settings where name = ?1`, name).Scan(&fixed); err != nil || fixed != shards {
				return err
			}
		}
		for n := range shards {
			if _, err := c.ExecContext(ctx, `insert into shards (kind, shard, epoch) values (?1, ?2, 0) on conflict do nothing`, kind, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && fixed != shards {
		return fmt.Errorf("%w: it has %d, configured are %d", persistence.ErrShardCount, fixed, shards)
	}
	return err
}

// Join inserts a member with its fence: see persistence.Leases. Joining twice is joining once.
func (s *Store) Join(ctx context.Context, m persistence.Member) error {
	err := s.transaction(ctx, "join", func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, `insert into members (id, address, instance, kinds, draining, proc) values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing`,
			string(m.ID), m.Address, m.Instance, list(m.Kinds), m.Draining, m.Proc)
		if err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, `insert into fences (member, lane) values (?1, 0) on conflict do nothing`, string(m.ID))
		return err
	})
	if err != nil {
		return err
	}
	s.beatMu.Lock()
	defer s.beatMu.Unlock()
	if _, again := s.beats[m.ID]; !again {
		s.beats[m.ID] = beat{count: m.Beat}
	}
	return nil
}

// Beat says that a member lives: see persistence.Leases. It waits for no disk.
func (s *Store) Beat(ctx context.Context, id persistence.MemberID, unreachable []persistence.MemberID) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, failed("beat", err)
	}
	s.beatMu.Lock()
	defer s.beatMu.Unlock()
	last, alive := s.beats[id]
	if !alive {
		return false, nil
	}
	s.beats[id] = beat{last.count + 1, slices.Clone(unreachable)}
	return true, nil
}

// Members reads all members: see persistence.Leases. There is one session, the process's.
func (s *Store) Members(ctx context.Context) ([]persistence.Member, int64, error) {
	members, err := collect(ctx, s, "read the members", func(row scanner) (persistence.Member, error) {
		var m persistence.Member
		var kinds string
		if err := row.Scan(&m.ID, &m.Address, &m.Instance, &kinds, &m.Draining, &m.Proc); err != nil {
			return m, err
		}
		return m, json.Unmarshal([]byte(kinds), &m.Kinds)
	}, `select id, address, instance, kinds, draining, proc from members order by id`)
	if err != nil {
		return nil, 0, err
	}
	s.beatMu.Lock()
	defer s.beatMu.Unlock()
	for i := range members {
		last := s.beats[members[i].ID]
		members[i].Beat, members[i].Unreachable = last.count, last.unreachable
	}
	return members, 1, nil
}

// Bury removes a member: see persistence.Leases.
func (s *Store) Bury(ctx context.Context, id persistence.MemberID, seen int64, proof bool) (buried bool, err error) {
	err = s.transaction(ctx, "bury", func(ctx context.Context, c *sql.Conn) error {
		s.beatMu.Lock()
		defer s.beatMu.Unlock()
		last, alive := s.beats[id]
		if !proof && (!alive || last.count != seen) {
			return nil
		}
		if buried, err = removeMember(ctx, c, id); err != nil {
			return err
		}
		delete(s.beats, id) // before the commit: who is being buried must not beat any more
		return nil
	})
	return buried && err == nil, err
}

func removeMember(ctx context.Context, c *sql.Conn, id persistence.MemberID) (found bool, err error) {
	for _, query := range []string{
		`delete from members where id = ?1`, `delete from fences where member = ?1`, `update shards set owner = null, epoch = epoch + 1 where owner = ?1`,
	} {
		result, err := c.ExecContext(ctx, query, string(id))
		if err != nil {
			return false, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return false, err
		}
		found = found || n > 0
	}
	return found, nil
}

// Shards reads all owners: see persistence.Leases.
func (s *Store) Shards(ctx context.Context) ([]persistence.Lease, error) {
	return collect(ctx, s, "read the shards", scanLease, `select kind, shard, coalesce(owner, ''), epoch from shards order by kind, shard`)
}

func scanLease(row scanner) (l persistence.Lease, err error) {
	err = row.Scan(&l.Shard.Kind, &l.Shard.Number, &l.Owner, &l.Epoch)
	return l, err
}

// Claim takes free shards: see persistence.Leases.
func (s *Store) Claim(ctx context.Context, id persistence.MemberID, want []persistence.ShardRef) (taken []persistence.Lease, err error) {
	err = s.transaction(ctx, "claim", func(ctx context.Context, c *sql.Conn) error {
		for _, r := range want {
			l, err := scanLease(c.QueryRowContext(ctx, `update shards set owner = ?1, epoch = epoch + 1
				where kind = ?2 and shard = ?3 and owner is null and exists (select 1 from fences where member = ?1 and lane = 0)
				returning kind, shard, owner, epoch`, string(id), r.Kind, r.Number))
			switch {
			case errors.Is(err, sql.ErrNoRows):
			case err != nil:
				return err
			default:
				taken = append(taken, l)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// Release gives shards back: see persistence.Leases. It takes turns with the batches, so none is under way.
func (s *Store) Release(ctx context.Context, id persistence.MemberID, shards []persistence.ShardRef) error {
	return s.transaction(ctx, "release", func(ctx context.Context, c *sql.Conn) error {
		for _, r := range shards {
			if _, err := c.ExecContext(ctx, `update shards set owner = null, epoch = epoch + 1 where kind = ?1 and shard = ?2 and owner = ?3`, r.Kind, r.Number, string(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetDraining marks a member: see persistence.Leases.
func (s *Store) SetDraining(ctx context.Context, id persistence.MemberID) error {
	return s.transaction(ctx, "mark the member as leaving", func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, `update members set draining = 1 where id = ?1`, string(id))
		return err
	})
}

// Leave ends a membership: see persistence.Leases.
func (s *Store) Leave(ctx context.Context, id persistence.MemberID) error {
	err := s.transaction(ctx, "leave", func(ctx context.Context, c *sql.Conn) error {
		_, err := removeMember(ctx, c, id)
		return err
	})
	if err == nil {
		s.beatMu.Lock()
		defer s.beatMu.Unlock()
		delete(s.beats, id)
	}
	return err
}

// Changes is nil: the only node knows what it changed.
func (s *Store) Changes(context.Context) <-chan struct{} { return nil }
