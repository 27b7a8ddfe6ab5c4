package migration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
	"hawser/persistence/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three keys of encryption.md.
const (
	k1 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	k2 = "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA="
	k3 = "vJFSTPE9PO2BtZlcMAwNjs8jdFvQCk0Ya9MVdYjRJUU="
)

// patience bounds every single wait.
const patience = 30 * time.Second

func ring(t testing.TB, enabled bool, key, old string) *encryption.Keyring {
	t.Helper()
	k, err := encryption.NewKeyring(enabled, encryption.NewSecret(key), encryption.NewSecret(old), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// onStores runs a test on both stores, each new and empty.
func onStores(t *testing.T, test func(t *testing.T, d *database)) {
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		test(t, newDatabase(t, s))
	})
	t.Run("postgres", func(t *testing.T) {
		s, err := postgres.Open(t.Context(), postgres.Options{URL: persistencetest.Schema(t), Lanes: 1, PoolSize: 3, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		test(t, newDatabase(t, s))
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// database is a store with entities that append to it.
type database struct {
	persistence.Store
	t     testing.TB
	lease persistence.Lease
	seqs  map[string]int64
}

func newDatabase(t testing.TB, s persistence.Store) *database {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &database{Store: s, t: t, lease: persistencetest.Own(t, s, "m"), seqs: map[string]int64{}}
}

func (d *database) ctx() context.Context {
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	d.t.Cleanup(cancel)
	return ctx
}

// event appends the next event of an entity, and a snapshot beside it unless snapshot is nil.
func (d *database) event(id string, payload, snapshot json.RawMessage) {
	d.t.Helper()
	d.seqs[id]++
	a := persistencetest.NewAppend(d.lease, id, d.seqs[id])
	a.Event.Payload, a.Snapshot = payload, nil
	if snapshot != nil {
		a.Snapshot = &persistence.Snapshot{PID: a.Event.PID, SeqNr: d.seqs[id], Payload: snapshot, CreatedAt: time.Now()}
	}
	if err := d.Append(d.ctx(), a); err != nil {
		d.t.Fatal(err)
	}
}

// body is a connection with two secrets, one in its URI.
func body(id, secret string) json.RawMessage {
	return fmt.Appendf(nil, `{"id":%q,"uri":"tcp://user:uri-%s@host:1883","credentials":{"type":"plain","username":"u","password":"%s"},"tags":[]}`, id, secret, secret)
}

func modified(body json.RawMessage) json.RawMessage {
	return fmt.Appendf(nil, `{"type":"connectivity.events:connectionModified","connection":%s,"__hh":{}}`, body)
}

// Documents that hold no secret: the first ones have no configured pointer, the last has a URI without password.
var (
	opened  = json.RawMessage(`{"type":"connectivity.events:connectionOpened","connectionId":"x","__hh":{}}`)
	deleted = json.RawMessage(`{"__lifecycle":"DELETED"}`)
	open    = json.RawMessage(`{"id":"x","uri":"tcp://host:1883","credentials":null}`)
)

func (d *database) seal(k *encryption.Keyring, doc json.RawMessage) json.RawMessage {
	d.t.Helper()
	sealed, err := k.Seal(doc)
	if err != nil {
		d.t.Fatal(err)
	}
	return sealed
}

// fill appends n entities with a secret each: an event and a snapshot sealed with k, and an event without a secret.
func (d *database) fill(prefix string, n int, k *encryption.Keyring) {
	d.t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s-%d", prefix, i)
		doc := body(id, "s3cr3t-"+id)
		d.event(id, d.seal(k, modified(doc)), d.seal(k, doc))
		d.event(id, opened, nil)
	}
}

// rows reads a whole table.
func (d *database) rows(t persistence.Table) []persistence.Row {
	d.t.Helper()
	var all []persistence.Row
	for after := int64(0); ; {
		page, err := d.RowsAfter(d.ctx(), t, after, 1000)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}

// everything is both tables as one text, to compare byte by byte and to search.
func (d *database) everything() string {
	var b strings.Builder
	for _, t := range tables {
		for _, row := range d.rows(t) {
			fmt.Fprintf(&b, "%s %d %s %s\n", t, row.ID, row.PID, row.Payload)
		}
	}
	return b.String()
}

// readable demands that the ring reads every row and that each entity's secret is the one it was made with.
func (d *database) readable(k *encryption.Keyring) {
	d.t.Helper()
	for _, t := range tables {
		for _, row := range d.rows(t) {
			clear, err := k.Unseal(row.Payload)
			if err != nil {
				d.t.Fatalf("%s %d: %v", t, row.ID, err)
			}
			id := strings.TrimPrefix(row.PID, "connection:")
			if bytes.Contains(row.Payload, []byte("credentials")) && !bytes.Contains(row.Payload, []byte("tcp://host:1883")) &&
				(!bytes.Contains(clear, []byte(`"s3cr3t-`+id+`"`)) || !bytes.Contains(clear, []byte("tcp://user:uri-s3cr3t-"+id+"@host:1883"))) {
				d.t.Fatalf("%s %d reads as %s", t, row.ID, clear)
			}
		}
	}
}

// under demands that no row holds a secret in clear text, or under another key than that of k.
func (d *database) under(k *encryption.Keyring) {
	d.t.Helper()
	d.readable(k)
	if text := d.everything(); strings.Contains(text, "s3cr3t") {
		d.t.Fatal("a secret is stored in clear text")
	}
}

// node is a runner as one node has it.
type node struct {
	*Runner
	t   testing.TB
	log *lines
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func startNode(t testing.TB, o Options) *node {
	t.Helper()
	n := &node{t: t, log: &lines{}}
	o.Log = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.Runner = New(o)
	n.Start()
	t.Cleanup(func() {
		n.Stop()
		for _, leak := range []string{"s3cr3t", encryption.Prefix, k1[:16], k2[:16], k3[:16]} {
			if strings.Contains(n.log.text(), leak) {
				t.Errorf("the log shows %q:\n%s", leak, n.log.text())
			}
		}
	})
	return n
}

func with(s persistence.Migrations, k *encryption.Keyring) Options {
	return Options{Store: s, Ring: func() *encryption.Keyring { return k }, Lease: owned, BatchSize: 10}
}

// owned is the lease of newDatabase.
func owned() (persistence.Lease, bool) {
	return persistence.Lease{Shard: persistence.ShardRef{Kind: persistence.KindConnection}, Owner: "m", Epoch: 1}, true
}

// command makes a command as the gateway does.
func command(t testing.TB, typ, members string) messages.Command {
	t.Helper()
	c, err := messages.ParseCommand(json.RawMessage(`{"type":"`+typ+`"`+members+`}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	freshly  = ``
	dry      = `,"dryRun":true`
	resuming = `,"resume":true`
)

// reply is the union of the three answers and of an error.
type reply struct {
	Type, Phase, Error, StartedAt, AbortedAt, Message, Description string
	Status                                                         int
	DryRun, Resumed, MigrationActive                               bool
	Snapshots, JournalEvents                                       messages.MigrationCounts
	Progress                                                       struct {
		LastProcessedSnapshotID, LastProcessedSnapshotPid, LastProcessedJournalID, LastProcessedJournalPid *string
	}
	Timing struct{ StartedAt, UpdatedAt *string }
}

func (n *node) ask(c messages.Command) reply {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := n.Ask(ctx, c)
	if err != nil {
		n.t.Fatalf("%s: %v", c.Type, err)
	}
	var r reply
	if err := json.Unmarshal(answer.Body, &r); err != nil || r.Status != answer.Status {
		n.t.Fatalf("%d %s: %v", answer.Status, answer.Body, err)
	}
	return r
}

// migrate starts a migration and demands 202.
func (n *node) migrate(members string) reply {
	n.t.Helper()
	r := n.ask(command(n.t, messages.MigrateEncryption, members))
	if r.Status != 202 {
		n.t.Fatalf("start%s: %+v", members, r)
	}
	return r
}

func (n *node) status() reply {
	n.t.Helper()
	return n.ask(command(n.t, messages.MigrateEncryptionStatus, ""))
}

func (n *node) abort() reply {
	n.t.Helper()
	return n.ask(command(n.t, messages.MigrateEncryptionAbort, ""))
}

// ended waits until nothing is active and returns the status.
func (n *node) ended() reply {
	n.t.Helper()
	var s reply
	n.eventually("the migration ends", func() bool { s = n.status(); return !s.MigrationActive })
	return s
}

// completed waits for a completed end.
func (n *node) completed() reply {
	n.t.Helper()
	s := n.ended()
	if s.Phase != "completed" {
		n.t.Fatalf("ended as %+v\n%s", s, n.log.text())
	}
	return s
}

func (n *node) eventually(what string, holds func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			n.t.Fatalf("not within %v: %s\n%s", patience, what, n.log.text())
		}
		<-time.After(2 * time.Millisecond)
	}
}

// counted compares counters: snapshots and journal, each processed, skipped, failed.
func counted(t testing.TB, r reply, snapshots, journal messages.MigrationCounts) {
	t.Helper()
	if r.Snapshots != snapshots || r.JournalEvents != journal {
		t.Fatalf("snapshots %+v, journal %+v; want %+v and %+v", r.Snapshots, r.JournalEvents, snapshots, journal)
	}
}

func counts(processed, skipped, failed int64) messages.MigrationCounts {
	return messages.MigrationCounts{Processed: processed, Skipped: skipped, Failed: failed}
}

// watched is a store whose calls a test can see and spoil. Its hooks may be nil; they are set before it is used.
type watched struct {
	persistence.Migrations
	read  func(ctx context.Context, t persistence.Table, after int64, limit int) ([]persistence.Row, error) // instead of RowsAfter
	batch func(n int, t persistence.Table, updates []persistence.RowUpdate, apply func() error) error       // around the n-th ApplyBatch

	mu      sync.Mutex
	batches int
	updated map[string]int // by table and id: how often the row was changed
}

func watch(s persistence.Migrations) *watched {
	return &watched{Migrations: s, updated: map[string]int{}}
}

func (w *watched) RowsAfter(ctx context.Context, t persistence.Table, after int64, limit int) ([]persistence.Row, error) {
	if w.read != nil {
		return w.read(ctx, t, after, limit)
	}
	return w.Migrations.RowsAfter(ctx, t, after, limit)
}

func (w *watched) ApplyBatch(ctx context.Context, l persistence.Lease, name string, t persistence.Table, updates []persistence.RowUpdate, progress func([]bool) (json.RawMessage, error)) error {
	w.mu.Lock()
	w.batches++
	n := w.batches
	w.mu.Unlock()
	apply := func() error {
		var landed []bool
		err := w.Migrations.ApplyBatch(ctx, l, name, t, updates, func(changed []bool) (json.RawMessage, error) {
			landed = changed
			return progress(changed)
		})
		if err == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			for i, u := range updates {
				if landed[i] {
					w.updated[fmt.Sprint(t, u.ID)]++
				}
			}
		}
		return err
	}
	if w.batch != nil {
		return w.batch(n, t, updates, apply)
	}
	return apply()
}

// once demands that n rows were changed, each a single time.
func (w *watched) once(t testing.TB, n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for row, times := range w.updated {
		if times != 1 {
			t.Errorf("row %s was changed %d times", row, times)
		}
	}
	if len(w.updated) != n {
		t.Errorf("%d rows were changed, want %d", len(w.updated), n)
	}
}

var errInjected = errors.New("injected")
