package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"hawser/persistence"
)

// coalesce is how long a signal waits for others (design.md 3.3).
const coalesce = 20 * time.Millisecond

// channel is the notification channel of this schema: channels belong to the database, schemas side by side must not wake
// each other.
func (s *Store) channel() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.schema))
	return fmt.Sprintf("hawser_%016x", h.Sum64())
}

// notify tells all nodes that members or shards changed, when the transaction commits. Never in an append: notifying
// serialises commits.
func (s *Store) notify(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select pg_notify($1, '')`, s.channel())
	return err
}

// Changes signals changes of members and shards: see persistence.Leases. The channel is closed when ctx or the store ends. A
// listener that lost its session signals once it has a new one, because it may have missed something.
func (s *Store) Changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	s.listeners.Go(func() {
		defer close(changed)
		defer cancel()
		defer stop()
		listener := session{config: s.sessionConfig("listener", s.opts.TTL, nil)}
		defer listener.drop()
		for pause := firstPause; ctx.Err() == nil; {
			heard, err := s.listen(ctx, &listener, changed)
			listener.drop()
			if ctx.Err() != nil {
				return
			}
			if heard {
				pause = firstPause
			}
			s.opts.Log.Debug("the listener has no database session", "error", err)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
			pause = min(2*pause, 4*lastPause)
		}
	})
	return changed
}

// listen signals until the session or ctx ends. heard: it listened for a while.
func (s *Store) listen(ctx context.Context, listener *session, changed chan<- struct{}) (heard bool, err error) {
	conn, err := listener.open(ctx)
	if err != nil {
		return false, err
	}
	if _, err := conn.Exec(ctx, `listen `+pgx.Identifier{s.channel()}.Sanitize()); err != nil {
		return false, err
	}
	for {
		select {
		case changed <- struct{}{}:
		default: // the last signal is still unread
		}
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return true, err
		}
		if err := drain(ctx, conn); err != nil {
			return true, err
		}
	}
}

// drain takes what else is notified within the next moment.
func drain(ctx context.Context, conn *pgx.Conn) error {
	wait, cancel := context.WithTimeout(ctx, coalesce)
	defer cancel()
	for {
		if _, err := conn.WaitForNotification(wait); err != nil {
			if wait.Err() != nil && ctx.Err() == nil && !conn.IsClosed() {
				return nil
			}
			return err
		}
	}
}

var _ persistence.Leases = (*Store)(nil)
