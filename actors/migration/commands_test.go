package migration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// memory is a persistence.Migrations for tests of what surrounds the work. broken makes every call fail.
type memory struct {
	mu       sync.Mutex
	tables   map[persistence.Table][]persistence.Row
	progress json.RawMessage
	broken   bool
	applied  []time.Time
}

func newMemory(t testing.TB, rows int, k *encryption.Keyring) *memory {
	m := &memory{tables: map[persistence.Table][]persistence.Row{}}
	for _, table := range tables {
		for i := range rows {
			doc, err := k.Seal(body(fmt.Sprint(i), fmt.Sprint("s3cr3t-", i)))
			if err != nil {
				t.Fatal(err)
			}
			m.tables[table] = append(m.tables[table], persistence.Row{ID: int64(i + 1), PID: fmt.Sprintf("connection:%d", i), Payload: doc})
		}
	}
	return m
}

func (m *memory) lock() (func(), error) {
	m.mu.Lock()
	if m.broken {
		m.mu.Unlock()
		return nil, persistence.ErrUnavailable
	}
	return m.mu.Unlock, nil
}

func (m *memory) MigrationProgress(context.Context, string) (json.RawMessage, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return m.progress, nil
}

func (m *memory) SaveProgress(_ context.Context, _ persistence.Lease, _ string, progress json.RawMessage) error {
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	m.progress = progress
	return nil
}

func (m *memory) RowsAfter(_ context.Context, t persistence.Table, after int64, limit int) ([]persistence.Row, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var page []persistence.Row
	for _, row := range m.tables[t] {
		if row.ID > after && len(page) < limit {
			page = append(page, row)
		}
	}
	return page, nil
}

func (m *memory) ApplyBatch(_ context.Context, _ persistence.Lease, _ string, t persistence.Table, updates []persistence.RowUpdate, progress func([]bool) (json.RawMessage, error)) error {
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	landed := make([]bool, len(updates))
	for i, u := range updates {
		landed[i] = string(m.tables[t][u.ID-1].Payload) == string(u.Old)
		m.tables[t][u.ID-1].Payload = u.New
	}
	document, err := progress(landed)
	m.progress = document
	m.applied = append(m.applied, time.Now())
	return err
}

func (m *memory) breakDown(broken bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = broken
}

func TestRefusals(t *testing.T) { // D22, D23, E15, E16, E19, E20
	for _, test := range []struct {
		name   string
		ring   *encryption.Keyring
		status int
		code   string
	}{
		{"nothing configured", ring(t, false, "", ""), 400, "connectivity:encryption.notconfigured"},
		{"disabled with the current key", ring(t, false, k1, ""), 400, "connectivity:encryption.notconfigured"},
		{"disabled with both keys", ring(t, false, k1, k2), 400, "connectivity:encryption.misconfigured"},
	} {
		n := startNode(t, with(newMemory(t, 3, ring(t, false, "", "")), test.ring))
		for _, members := range []string{freshly, dry, resuming} {
			r := n.ask(command(t, messages.MigrateEncryption, members))
			if r.Status != test.status || r.Error != test.code || r.Type != "" {
				t.Errorf("%s%s: %+v", test.name, members, r)
			}
			if test.code == "connectivity:encryption.misconfigured" && !strings.Contains(r.Description, encryption.KeyVariable) {
				t.Errorf("%s does not name the key to remove", r.Description)
			}
		}
		if r := n.abort(); r.Status != 409 || r.Error != "connectivity:encryption.migration.notrunning" {
			t.Errorf("%s, abort: %+v", test.name, r)
		}
		if s := n.status(); s.Status != 200 || s.Phase != "snapshots" || s.MigrationActive || s.Timing.StartedAt != nil || s.Timing.UpdatedAt != nil {
			t.Errorf("%s, status: %+v", test.name, s)
		}
	}
}

func TestStatusBeforeAnyRun(t *testing.T) { // E17, byte for byte
	n := startNode(t, with(newMemory(t, 0, ring(t, false, "", "")), ring(t, true, k1, "")))
	answer, err := n.Ask(t.Context(), command(t, messages.MigrateEncryptionStatus, ""))
	const want = `{"type":"connectivity.responses:migrateEncryptionStatus","status":200,"phase":"snapshots",` +
		`"snapshots":{"processed":0,"skipped":0,"failed":0},"journalEvents":{"processed":0,"skipped":0,"failed":0},` +
		`"progress":{"lastProcessedSnapshotId":null,"lastProcessedSnapshotPid":null,"lastProcessedJournalId":null,"lastProcessedJournalPid":null},` +
		`"timing":{"startedAt":null,"updatedAt":null},"dryRun":false,"migrationActive":false}`
	if err != nil || string(answer.Body) != want {
		t.Errorf("%s %v\nwant %s", answer.Body, err, want)
	}
}

func TestRunningMigration(t *testing.T) { // E18, E19, 6.7 P, D20, D21
	w := watch(newMemory(t, 50, ring(t, true, k2, "")))
	reached, release := blocked(w, 1)
	n := startNode(t, with(w, ring(t, true, k1, k2)))
	answer, err := n.Ask(t.Context(), command(t, messages.MigrateEncryption, freshly))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^\{"type":"connectivity.responses:migrateEncryption","status":202,"phase":"snapshots","dryRun":false,"resumed":false,"startedAt":"20\d\d-[^"]+Z"\}$`).Match(answer.Body) {
		t.Errorf("%s", answer.Body)
	}
	wait(t, "the first batch", reached)
	s := n.status()
	if s.Phase != "in_progress:snapshots" || !s.MigrationActive || s.Snapshots.Processed != 0 || s.Progress.LastProcessedSnapshotID != nil || s.Timing.StartedAt == nil {
		t.Errorf("%+v", s)
	}
	for _, members := range []string{freshly, dry, resuming} {
		if r := n.ask(command(t, messages.MigrateEncryption, members)); r.Status != 409 || r.Error != "connectivity:encryption.migration.inprogress" {
			t.Errorf("%s: %+v", members, r)
		}
	}
	close(release)
	end := n.completed()
	if *end.Progress.LastProcessedSnapshotID != "50" || *end.Progress.LastProcessedJournalPid != "connection:49" || *end.Timing.StartedAt != *s.Timing.StartedAt ||
		*end.Timing.UpdatedAt < *s.Timing.UpdatedAt {
		t.Errorf("%+v", end)
	}
	again := n.status()
	if *again.Timing.UpdatedAt != *end.Timing.UpdatedAt {
		t.Errorf("updatedAt moved from %s to %s without progress", *end.Timing.UpdatedAt, *again.Timing.UpdatedAt)
	}
}

func TestKeysDiffer(t *testing.T) { // D29
	both := ring(t, true, k1, k2)
	m := newMemory(t, 5, ring(t, true, k2, ""))
	others := map[string]string{"n1": both.Fingerprint(), "n2": both.Fingerprint()}
	var failure error
	o := with(m, both)
	o.Fingerprints = func(context.Context) (map[string]string, error) { return others, failure }
	n := startNode(t, o)
	others["n3"], others["n2"] = ring(t, true, k1, "").Fingerprint(), ring(t, false, k1, k2).Fingerprint()
	for _, members := range []string{freshly, dry} {
		r := n.ask(command(t, messages.MigrateEncryption, members))
		if r.Status != 409 || r.Error != "connectivity:encryption.keys.differ" || !strings.Contains(r.Message, "n2, n3") {
			t.Errorf("%+v", r)
		}
	}
	failure = errInjected
	if r := n.ask(command(t, messages.MigrateEncryption, freshly)); r.Status != 503 || r.Error != "connectivity:encryption.migration.unavailable" {
		t.Errorf("%+v", r)
	}
	if m.progress != nil {
		t.Errorf("a refused start stored %s", m.progress)
	}
	failure = nil
	delete(others, "n2")
	delete(others, "n3")
	n.migrate(freshly)
	counted(t, n.completed(), counts(5, 0, 0), counts(5, 0, 0))
}

func TestStoreUnavailable(t *testing.T) { // D22
	m := newMemory(t, 30, ring(t, true, k2, ""))
	n := startNode(t, with(m, ring(t, true, k1, k2)))
	n.status()
	m.breakDown(true)
	for _, c := range []messages.Command{command(t, messages.MigrateEncryptionStatus, ""), command(t, messages.MigrateEncryption, freshly), command(t, messages.MigrateEncryption, resuming)} {
		if r := n.ask(c); r.Status != 503 || r.Error != "connectivity:encryption.migration.unavailable" {
			t.Errorf("%s: %+v", c.Type, r)
		}
	}
	if r := n.abort(); r.Status != 409 {
		t.Errorf("%+v", r)
	}
	m.breakDown(false)
	n.migrate(freshly)
	counted(t, n.completed(), counts(30, 0, 0), counts(30, 0, 0))
}

// lossy is a store whose answer to the first save is lost.
type lossy struct {
	*memory
	saved bool // whether it was done
	once  sync.Once
}

func (l *lossy) SaveProgress(ctx context.Context, lease persistence.Lease, name string, progress json.RawMessage) (err error) {
	l.once.Do(func() {
		if l.saved {
			_ = l.memory.SaveProgress(ctx, lease, name, progress)
		}
		err = errInjected
	})
	if err != nil {
		return err
	}
	return l.memory.SaveProgress(ctx, lease, name, progress)
}

func TestStartWithoutAnAnswerOfTheStore(t *testing.T) { // what is stored as running runs
	for _, saved := range []bool{true, false} {
		l := &lossy{memory: newMemory(t, 30, ring(t, true, k2, "")), saved: saved}
		n := startNode(t, with(l, ring(t, true, k1, k2)))
		if r := n.ask(command(t, messages.MigrateEncryption, freshly)); r.Status != 503 {
			t.Errorf("%+v", r)
		}
		if saved {
			n.eventually("it runs", func() bool { return n.status().Phase == "completed" })
			counted(t, n.completed(), counts(30, 0, 0), counts(30, 0, 0))
			continue
		}
		if s := n.status(); s.MigrationActive || s.Timing.StartedAt != nil {
			t.Errorf("%+v", s)
		}
		n.migrate(freshly)
		counted(t, n.completed(), counts(30, 0, 0), counts(30, 0, 0))
	}
}

func TestOutageInTheMiddle(t *testing.T) {
	m := newMemory(t, 30, ring(t, true, k2, ""))
	w := watch(m)
	w.batch = func(n int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
		if n == 2 {
			m.breakDown(true)
		}
		return apply()
	}
	n := startNode(t, with(w, ring(t, true, k1, k2)))
	n.migrate(freshly)
	n.eventually("the outage is noticed", func() bool { return strings.Contains(n.log.text(), "was not committed") })
	if s := n.status(); !s.MigrationActive || s.Snapshots.Processed != 10 {
		t.Errorf("%+v", s)
	}
	m.breakDown(false)
	counted(t, n.completed(), counts(30, 0, 0), counts(30, 0, 0))
	w.once(t, 60)
}

func TestAbortWaitsForTheStore(t *testing.T) { // an abort that is answered is stored
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 30, ring(t, true, k2, ""))
		w := watch(m)
		w.batch = func(n int, _ persistence.Table, _ []persistence.RowUpdate, apply func() error) error {
			if n == 2 {
				m.breakDown(true)
			}
			return apply()
		}
		n := startNode(t, with(w, ring(t, true, k1, k2)))
		n.migrate(freshly)
		synctest.Wait()
		if r := n.abort(); r.Status != 503 {
			t.Errorf("%+v", r)
		}
		if r := n.ask(command(t, messages.MigrateEncryption, freshly)); r.Status != 409 {
			t.Errorf("start during the tail: %+v", r)
		}
		m.breakDown(false)
		r := n.abort()
		for i := 0; i < 5 && r.Status == 503; i++ {
			r = n.abort()
		}
		if r.Phase != "aborted:snapshots" {
			t.Errorf("%+v", r)
		}
		if p, err := decode(m.progress); err != nil || p.State != Aborted {
			t.Errorf("%+v %v", p, err)
		}
		n.Stop()
	})
}

func TestRequestsAreExecutedOnce(t *testing.T) { // D7
	m := newMemory(t, 30, ring(t, true, k2, ""))
	w := watch(m)
	reached, release := blocked(w, 2)
	n := startNode(t, with(w, ring(t, true, k1, k2)))
	start := command(t, messages.MigrateEncryption, freshly)
	start.RequestID = "r-1"
	first := n.ask(start)
	wait(t, "a batch", reached)
	if again := n.ask(start); again != first || first.Status != 202 {
		t.Errorf("%+v, then %+v", first, again)
	}
	abort := command(t, messages.MigrateEncryptionAbort, "")
	abort.RequestID = "r-2"
	answers := make(chan reply, 2)
	go func() { answers <- n.ask(abort) }()
	go func() { answers <- n.ask(abort) }()
	n.eventually("the abort is noticed", func() bool { x, _ := n.active.last(); return x.isStopped() })
	close(release)
	a, b := <-answers, <-answers
	if a != b || a.Status != 200 {
		t.Errorf("%+v, then %+v", a, b)
	}
	n.Stop()

	// The owner after knows them from the store.
	next := startNode(t, with(w, ring(t, true, k1, k2)))
	if c := next.ask(abort); c != a {
		t.Errorf("%+v, was %+v", c, a)
	}
	resume := command(t, messages.MigrateEncryption, resuming)
	resume.RequestID = "r-3"
	r := next.ask(resume)
	next.completed()
	next.Stop()
	last := startNode(t, with(w, ring(t, true, k1, k2)))
	if again := last.ask(resume); again.Status != 202 || again.StartedAt != r.StartedAt {
		t.Errorf("%+v, was %+v", again, r)
	}
	if s := last.status(); s.MigrationActive || s.Phase != "completed" {
		t.Errorf("%+v", s)
	}
	w.once(t, 60)
}

func TestOwnership(t *testing.T) {
	o := with(newMemory(t, 3, ring(t, true, k2, "")), ring(t, true, k1, k2))
	o.Log = quiet()
	r := New(o)
	c := command(t, messages.MigrateEncryptionStatus, "")
	if _, err := r.Ask(t.Context(), c); !errors.Is(err, messages.ErrNoLease) {
		t.Errorf("before Start: %v", err)
	}
	r.Start()
	r.Start()
	if _, err := r.Ask(t.Context(), c); err != nil {
		t.Error(err)
	}
	if _, err := r.Ask(t.Context(), messages.Command{Type: messages.RetrieveHealth}); !errors.Is(err, messages.ErrNotTaken) {
		t.Errorf("another command: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Ask(ended, command(t, messages.MigrateEncryption, freshly)); err == nil {
		t.Error("a start whose caller is gone was executed")
	}
	r.Stop()
	r.Stop()
	if _, err := r.Ask(t.Context(), c); !errors.Is(err, messages.ErrNoLease) {
		t.Errorf("after Stop: %v", err)
	}
	r.Start()
	defer r.Stop()
	if _, err := r.Ask(t.Context(), c); err != nil {
		t.Errorf("started again: %v", err)
	}
}

// Start, Stop and commands of many callers at random moments: nothing is left running, and what is stored can be gone on with.
func TestOwnershipChangesUnderCommands(t *testing.T) {
	m := newMemory(t, 200, ring(t, true, k2, ""))
	r := New(Options{Store: m, Ring: func() *encryption.Keyring { return ring(t, true, k1, k2) }, Lease: owned, BatchSize: 1, Log: quiet()})
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		callers.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				typ := []string{messages.MigrateEncryption, messages.MigrateEncryptionStatus, messages.MigrateEncryptionAbort, messages.MigrateEncryptionStatus}[(i+j)%4]
				if _, err := r.Ask(context.Background(), command(t, typ, "")); err != nil && !errors.Is(err, messages.ErrNoLease) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 100 {
		r.Start()
		<-time.After(time.Millisecond)
		r.Stop()
	}
	close(stop)
	callers.Wait()
	n := startNode(t, with(m, ring(t, true, k1, k2)))
	if s := n.ended(); s.Phase != "completed" {
		n.migrate(resuming)
		n.completed()
	}
	for _, table := range tables {
		for _, row := range m.tables[table] {
			if _, err := ring(t, true, k1, "").Unseal(row.Payload); err != nil {
				t.Fatal(err)
			}
		}
	}
}
