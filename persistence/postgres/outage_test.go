package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

// TestOutage cuts the store from its database and back: refused, not hung, while it is away; as before when it is back.
func TestOutage(t *testing.T) {
	gate, address := newGate(t, persistencetest.Schema(t))
	s := open(t, postgres.Options{URL: address, TTL: 2 * time.Second})
	lease := persistencetest.Own(t, s, "m")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Append(ctx, persistencetest.NewAppend(lease, "a", 1)); err != nil {
		t.Fatal(err)
	}
	seen, session := members(t, s)

	gate.cut()
	soon := func(what string, do func(ctx context.Context) error) {
		t.Helper()
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		began := time.Now()
		err := do(short)
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s took %v: %v", what, took, err)
		}
	}
	var outcomes []error
	for round := range 3 { // the first finds a session that looks alive
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		began := time.Now()
		err := s.Append(short, persistencetest.NewAppend(lease, "a", 2))
		cancel()
		if !errors.Is(err, persistence.ErrUnavailable) && !(round == 0 && errors.Is(err, persistence.ErrUnknownOutcome)) {
			t.Fatalf("append in the outage: %v", err)
		}
		if took := time.Since(began); round > 0 && took > time.Second {
			t.Errorf("append in the outage took %v", took)
		}
		outcomes = append(outcomes, err)
	}
	t.Log(outcomes[0])
	soon("ping", s.Ping)
	soon("beat", func(ctx context.Context) error { _, err := s.Beat(ctx, "m", nil); return err })
	soon("members", func(ctx context.Context) error { _, _, err := s.Members(ctx); return err })
	soon("bury without proof", func(ctx context.Context) error { _, err := s.Bury(ctx, "m", seen, false); return err })
	soon("claim", func(ctx context.Context) error { _, err := s.Claim(ctx, "m", nil); return err })
	soon("release", func(ctx context.Context) error { return s.Release(ctx, "m", nil) })
	soon("ids", func(ctx context.Context) error { _, err := s.IDs(ctx, "", 0); return err })
	soon("recover", func(ctx context.Context) error {
		for _, err := range s.Recover(ctx, []string{"connection:a"}) {
			return err
		}
		return nil
	})

	gate.restore()
	// The session that saw the beat is gone: without a new look nobody is buried, whatever the beat.
	if buried, err := s.Bury(ctx, "m", seen, false); buried || err == nil {
		t.Errorf("buried on a new session: %v %v", buried, err)
	}
	persistencetest.Until(t, "appends work again", func() bool {
		err := s.Append(ctx, persistencetest.NewAppend(lease, "a", 2))
		if errors.Is(err, persistence.ErrConflict) {
			t.Fatal("a row that was refused is there")
		}
		return err == nil
	})
	persistencetest.Until(t, "everything works again", func() bool { return s.Ping(ctx) == nil })
	if alive, err := s.Beat(ctx, "m", nil); err != nil || !alive {
		t.Errorf("beat: %v %v", alive, err)
	}
	if _, again := members(t, s); again == session {
		t.Error("the number of a session that was lost is used again")
	}
	for r, err := range s.Recover(ctx, []string{"connection:a"}) {
		if err != nil || r.LastSeq != 2 {
			t.Errorf("recovered %d %v, want 2", r.LastSeq, err)
		}
	}
}

// TestSilence stalls the wire without closing anything, longer than a lease lasts. Callers get their answer when their wait
// ends, and what became of their rows is known as soon as the wire works again.
func TestSilence(t *testing.T) {
	gate, address := newGate(t, persistencetest.Schema(t))
	s := open(t, postgres.Options{URL: address, TTL: time.Second})
	lease := persistencetest.Own(t, s, "m")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const n = 20
	for i := range n {
		if err := s.Append(ctx, persistencetest.NewAppend(lease, fmt.Sprintf("e-%d", i), 1)); err != nil {
			t.Fatal(err)
		}
	}
	gate.stall()
	patient := make([]error, n/2) // these wait for the verdict
	var all sync.WaitGroup
	for i := range n / 2 {
		all.Go(func() { patient[i] = s.Append(ctx, persistencetest.NewAppend(lease, fmt.Sprintf("e-%d", i), 2)) })
	}
	for i := n / 2; i < n; i++ { // these do not
		all.Go(func() {
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			began := time.Now()
			err := s.Append(short, persistencetest.NewAppend(lease, fmt.Sprintf("e-%d", i), 2))
			if !errors.Is(err, persistence.ErrUnknownOutcome) && !errors.Is(err, persistence.ErrUnavailable) {
				t.Errorf("append into silence: %v", err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("append into silence took %v", took)
			}
		})
	}
	stalled := time.NewTimer(3 * time.Second) // longer than TTL and the batch's own deadline: part of the fault
	<-stalled.C
	gate.flow()
	all.Wait()
	for i := range n {
		id := fmt.Sprintf("e-%d", i)
		var last int64
		for r, err := range s.Recover(ctx, []string{"connection:" + id}) {
			if err != nil {
				t.Fatal(err)
			}
			last = r.LastSeq
		}
		if i < n/2 {
			switch err := patient[i]; {
			case err == nil && last != 2, errors.Is(err, persistence.ErrUnavailable) && last != 1:
				t.Errorf("%s: told %v, the journal ends at %d", id, err, last)
			case err != nil && !errors.Is(err, persistence.ErrUnavailable):
				t.Errorf("%s: %v", id, err)
			}
		}
		persistencetest.Until(t, "appends work again", func() bool {
			return s.Append(ctx, persistencetest.NewAppend(lease, id, last+1)) == nil
		})
	}
}

// TestOpenErrors: what cannot be opened says why in one line, without the password.
func TestOpenErrors(t *testing.T) {
	if os.Getenv("PGPASSWORD") != "" {
		t.Setenv("PGPASSWORD", "")
	}
	good := persistencetest.Schema(t)
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(u *url.URL)) string {
		c := *u
		c.User = url.UserPassword(u.User.Username(), "s3cret")
		f(&c)
		return c.String()
	}
	for name, row := range map[string]struct{ url, want string }{
		"no URL":        {"postgres://u:s3cret@host:port:port/x", "cannot be parsed"},
		"bad escape":    {"postgres://u:%zzs3cret@host/x", "cannot be parsed"},
		"nobody there":  {change(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "connect"},
		"no database":   {change(func(u *url.URL) { u.Path = "/no_such_database" }), "no_such_database"},
		"no schema":     {change(func(u *url.URL) { u.RawQuery = "sslmode=disable&options=-csearch_path%3Dno_such_schema" }), "search_path"},
		"no such host":  {change(func(u *url.URL) { u.Host = "no-such-host.invalid" }), "connect"},
		"bad parameter": {change(func(u *url.URL) { u.RawQuery += "&sslmode=s3cret" }), "cannot be parsed"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			s, err := postgres.Open(ctx, postgres.Options{URL: row.url, Log: quiet})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "s3cret") {
				t.Fatalf("%v, want %q", err, row.want)
			}
		})
	}
}

// TestOpenTogether opens a new schema from many nodes at once; one migrates it, all work.
func TestOpenTogether(t *testing.T) {
	url := persistencetest.Schema(t)
	const n = 6
	stores := make([]*postgres.Store, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			stores[i], errs[i] = postgres.Open(t.Context(), postgres.Options{URL: url, Log: quiet})
			if errs[i] == nil {
				errs[i] = stores[i].Init(t.Context(), persistence.KindConnection, 8)
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		if stores[i] != nil {
			defer stores[i].Close()
		}
	}
	if !t.Failed() {
		lease := persistencetest.Own(t, stores[n-1], "m")
		if err := stores[n-1].Append(t.Context(), persistencetest.NewAppend(lease, "a", 1)); err != nil {
			t.Error(err)
		}
	}
}

// TestNewerSchema: a database that a newer hawser migrated is left alone.
func TestNewerSchema(t *testing.T) {
	url := persistencetest.Schema(t)
	_ = open(t, postgres.Options{URL: url}).Close()
	if _, err := admin(t, url).Exec(t.Context(), `insert into goose_db_version (version_id, is_applied) values (999, true)`); err != nil {
		t.Fatal(err)
	}
	if s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Log: quiet}); err == nil {
		_ = s.Close()
		t.Fatal("opened a schema of the future")
	} else if !strings.Contains(err.Error(), "999") {
		t.Fatal(err)
	}
}

func members(t *testing.T, s persistence.Store) (beat, session int64) {
	t.Helper()
	all, session, err := s.Members(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("members %v %v", all, err)
	}
	return all[0].Beat, session
}
