package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

// named gives the sessions of a URL a name.
func named(t testing.TB, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("application_name", name)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

// admin is a session beside the store's.
func admin(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// terminate ends the sessions of a name.
func terminate(t testing.TB, url, name string) {
	t.Helper()
	var n int
	err := admin(t, url).QueryRow(t.Context(), `select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = $1`, name).Scan(&n)
	if err != nil || n == 0 {
		t.Fatalf("terminated %d sessions: %v", n, err)
	}
}

// TestThreeMembers lets three members write, claim, release and bury each other at random. The journal stays without gap,
// epochs never go back, nobody deadlocks, and whoever holds a lease never collides with its predecessor.
func TestThreeMembers(t *testing.T) {
	const shards, perShard = 8, 6
	url := persistencetest.Schema(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var rows, fenced, burials, claims atomic.Int64
	var slowest atomic.Int64
	until := time.Now().Add(4 * time.Second)

	// write appends to an entity until its lease ends.
	write := func(s persistence.Store, l persistence.Lease, id string) {
		pid := "connection:" + id
		last := int64(-1)
		for r, err := range s.Recover(ctx, []string{pid}) {
			if err != nil {
				t.Errorf("recover: %v", err)
				return
			}
			last = r.LastSeq
		}
		for time.Now().Before(until) {
			a := persistencetest.NewAppend(l, id, last+1)
			switch err := s.Append(ctx, a); {
			case err == nil:
				last++
				rows.Add(1)
			case errors.Is(err, persistence.ErrFenced):
				fenced.Add(1)
				return
			default:
				t.Errorf("append %s %d in epoch %d: %v", id, last+1, l.Epoch, err)
				return
			}
		}
	}
	var members [3]atomic.Pointer[persistence.MemberID]
	var all sync.WaitGroup
	for m := range members {
		s := open(t, postgres.Options{URL: url})
		if err := s.Init(ctx, persistence.KindConnection, shards); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			incarnation := 0
			join := func() persistence.MemberID {
				incarnation++
				id := persistence.MemberID(fmt.Sprintf("m%d-%d", m, incarnation))
				if err := s.Join(ctx, persistence.Member{ID: id}); err != nil {
					t.Errorf("join: %v", err)
				}
				members[m].Store(&id)
				return id
			}
			me := join()
			var writers sync.WaitGroup
			defer writers.Wait()
			owned := map[persistence.ShardRef]bool{}
			for time.Now().Before(until) && !t.Failed() {
				alive, err := s.Beat(ctx, me, nil)
				if err != nil {
					t.Errorf("beat: %v", err)
					return
				}
				if !alive {
					me = join()
					clear(owned)
				}
				var want, give []persistence.ShardRef
				for n := range shards {
					if r := (persistence.ShardRef{Kind: persistence.KindConnection, Number: n}); rand.IntN(2) == 0 {
						want = append(want, r)
					} else if owned[r] && rand.IntN(4) == 0 {
						give = append(give, r)
						delete(owned, r)
					}
				}
				if len(give) > 0 {
					if err := s.Release(ctx, me, give); err != nil {
						t.Errorf("release: %v", err)
						return
					}
				}
				leases, err := s.Claim(ctx, me, want)
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				claims.Add(int64(len(leases)))
				for _, l := range leases {
					owned[l.Shard] = true
					for e := range perShard {
						writers.Go(func() { write(s, l, fmt.Sprintf("s%d-e%d", l.Shard.Number, e)) })
					}
				}
				if victim := members[rand.IntN(len(members))].Load(); victim != nil && *victim != me && rand.IntN(6) == 0 {
					began := time.Now()
					buried, err := s.Bury(ctx, *victim, 0, true)
					if err != nil {
						t.Errorf("bury: %v", err)
						return
					}
					if buried {
						burials.Add(1)
						slowest.Store(max(slowest.Load(), int64(time.Since(began))))
					}
				}
				timer := time.NewTimer(time.Duration(rand.IntN(30)) * time.Millisecond)
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d rows, %d fenced, %d claims, %d burials, slowest %v", rows.Load(), fenced.Load(), claims.Load(), burials.Load(), time.Duration(slowest.Load()))
	if rows.Load() < 100 || fenced.Load() == 0 || burials.Load() < 3 {
		t.Error("too little happened")
	}
	c := admin(t, url)
	for what, query := range map[string]string{
		"gaps":                    `select count(*) from (select pid from journal group by pid having count(*) <> max(seq_nr) or min(seq_nr) <> 1) x`,
		"epochs going back":       `select count(*) from (select epoch < lag(epoch) over (partition by pid order by seq_nr) as back from journal) x where back`,
		"index behind or ahead":   `select count(*) from connections c where c.revision <> (select max(seq_nr) from journal j where j.pid = 'connection:' || c.id)`,
		"entities without index":  `select count(distinct pid) from journal where substr(pid, 12) not in (select id from connections)`,
		"more or fewer than told": fmt.Sprintf(`select count(*) - %d from journal`, rows.Load()),
	} {
		var n int
		if err := c.QueryRow(ctx, query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d %v", what, n, err)
		}
	}
}

// ownerAndSuccessor are two stores of one database: member "old" owns the lease and has written the first event of "a", member
// "new" has joined.
func ownerAndSuccessor(t *testing.T) (ctx context.Context, url string, old, successor *postgres.Store, lease persistence.Lease) {
	t.Helper()
	url = persistencetest.Schema(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	old, successor = open(t, postgres.Options{URL: url}), open(t, postgres.Options{URL: url})
	lease = persistencetest.Own(t, old, "old")
	if err := old.Append(ctx, persistencetest.NewAppend(lease, "a", 1)); err != nil {
		t.Fatal(err)
	}
	if err := successor.Join(ctx, persistence.Member{ID: "new"}); err != nil {
		t.Fatal(err)
	}
	return ctx, url, old, successor, lease
}

// TestBurialWaitsForBatch holds a batch in the database while its member is buried: the burial waits for it, and the new
// owner finds the row.
func TestBurialWaitsForBatch(t *testing.T) {
	ctx, url, old, successor, lease := ownerAndSuccessor(t)
	holder := admin(t, url)
	tx, err := holder.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `select from connections where id = 'a' for update`); err != nil {
		t.Fatal(err)
	}
	appended := make(chan error, 1)
	go func() { appended <- old.Append(ctx, persistencetest.NewAppend(lease, "a", 2)) }()
	c := admin(t, url)
	waiting := func(what string) bool {
		var n int
		if err := c.QueryRow(ctx, `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%' || $1 || '%' and pid <> pg_backend_pid()
			and exists (select from pg_locks l where l.pid = pg_stat_activity.pid and l.relation = any(array['connections'::regclass, 'fences'::regclass]))`, what).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	persistencetest.Until(t, "the batch waits in the database", func() bool { return waiting("with f as materialized") })
	buried := make(chan error, 1)
	go func() {
		ok, err := successor.Bury(ctx, "old", 0, true)
		if err == nil && !ok {
			err = errors.New("not buried")
		}
		buried <- err
	}()
	persistencetest.Until(t, "the burial waits for the batch", func() bool { return waiting("delete from fences") })
	select {
	case err := <-buried:
		t.Fatalf("buried with a batch in flight: %v", err)
	default:
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-appended; err != nil {
		t.Fatalf("the batch that was first: %v", err)
	}
	if err := <-buried; err != nil {
		t.Fatal(err)
	}
	leases, err := successor.Claim(ctx, "new", []persistence.ShardRef{{Kind: persistence.KindConnection, Number: 0}})
	if err != nil || len(leases) != 1 {
		t.Fatalf("claimed %v %v", leases, err)
	}
	for r, err := range successor.Recover(ctx, []string{"connection:a"}) {
		if err != nil || r.LastSeq != 2 {
			t.Fatalf("recovered %d %v, want 2", r.LastSeq, err)
		}
	}
	if err := old.Append(ctx, persistencetest.NewAppend(lease, "a", 3)); !errors.Is(err, persistence.ErrFenced) {
		t.Fatalf("the buried one: %v, want ErrFenced", err)
	}
	if err := successor.Append(ctx, persistencetest.NewAppend(leases[0], "a", 3)); err != nil {
		t.Fatal(err)
	}
}

// TestChanges: every change of members and shards is signalled, several at once as one, those of another schema not, and a
// listener that lost its session has a new one soon.
func TestChanges(t *testing.T) {
	url := persistencetest.Schema(t)
	s := open(t, postgres.Options{URL: named(t, url, "changes-"+t.Name())})
	other := open(t, postgres.Options{URL: persistencetest.Schema(t)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	listening, stop := context.WithCancel(ctx)
	changed := s.Changes(listening)
	signal := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no signal: %s", what)
		}
	}
	silence := func(what string) {
		t.Helper()
		timer := time.NewTimer(200 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-changed:
			t.Fatalf("a signal: %s", what)
		case <-timer.C:
		}
	}
	signal("it listens")
	if err := s.Init(ctx, persistence.KindConnection, 8); err != nil {
		t.Fatal(err)
	}
	shards := []persistence.ShardRef{{Kind: persistence.KindConnection, Number: 0}}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"join", func() error { return s.Join(ctx, persistence.Member{ID: "m"}) }},
		{"claim", func() error { _, err := s.Claim(ctx, "m", shards); return err }},
		{"release", func() error { return s.Release(ctx, "m", shards) }},
		{"draining", func() error { return s.SetDraining(ctx, "m") }},
		{"leave", func() error { return s.Leave(ctx, "m") }},
		{"join again", func() error { return s.Join(ctx, persistence.Member{ID: "m2"}) }},
		{"bury", func() error { _, err := s.Bury(ctx, "m2", 0, true); return err }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.what, err)
		}
		signal(step.what)
	}
	silence("nothing changed")
	lease := persistencetest.Own(t, other, "o")
	silence("another schema changed")
	if err := other.Append(ctx, persistencetest.NewAppend(lease, "a", 1)); err != nil {
		t.Fatal(err)
	}
	terminate(t, url, "changes-"+t.Name())
	signal("after the session was lost")
	if err := s.Join(ctx, persistence.Member{ID: "m3"}); err != nil { // although the pool's sessions are dead
		t.Fatal(err)
	}
	signal("join after the session was lost")
	stop()
	for range changed { // it is closed, if need be after a last signal
	}
}

// TestLostIndexRow removes an index row by hand. The sequence goes on from the journal and the row is made anew.
func TestLostIndexRow(t *testing.T) {
	url := persistencetest.Schema(t)
	s := open(t, postgres.Options{URL: url})
	lease := persistencetest.Own(t, s, "m")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for seq := int64(1); seq <= 3; seq++ {
		if err := s.Append(ctx, persistencetest.NewAppend(lease, "a", seq)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin(t, url).Exec(ctx, `delete from connections`); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []int64{1, 3, 5} {
		if err := s.Append(ctx, persistencetest.NewAppend(lease, "a", seq)); !errors.Is(err, persistence.ErrConflict) {
			t.Fatalf("append %d: %v, want ErrConflict", seq, err)
		}
	}
	if err := s.Append(ctx, persistencetest.NewAppend(lease, "a", 4)); err != nil {
		t.Fatal(err)
	}
	if row, found, err := s.Row(ctx, "a"); err != nil || !found || row.Revision != 4 {
		t.Fatalf("row %v %v %v, want revision 4", row, found, err)
	}
}
