package persistencetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hawser/persistence"
)

func orderAndContent(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	at := time.Date(2026, 8, 18, 10, 12, 1, 4_000_000, time.UTC)
	var want []persistence.Append
	for i, change := range []func(a *persistence.Append){
		func(*persistence.Append) {},
		func(a *persistence.Append) { a.Event.Tags, a.Index.Tags = nil, nil },
		func(a *persistence.Append) {
			tags := []string{"plain", `quo"te`, `back\slash`, "com,ma", "{brace}", " blank ", "NULL", "", "Größe", "日本"}
			a.Event.Tags, a.Index.Tags = tags, tags
		},
		func(a *persistence.Append) { a.Event.RequestID = "" },
		func(a *persistence.Append) { a.Event.Payload = json.RawMessage(`{"effect":"priorityUpdate"}`) },
		func(a *persistence.Append) {
			a.Event.Payload = json.RawMessage(`{"text":"a\"b\\u0000\t\u00e9 日本 \ud83d\ude00","n":[1,-2.5,1e3,null,true],"o":{}}`)
		},
		func(a *persistence.Append) {
			a.Event.Payload = json.RawMessage(`{"big":"` + strings.Repeat("x", 2<<20) + `"}`)
		},
		func(a *persistence.Append) { a.Index.Interest = json.RawMessage(`{"topics":["live"]}`) },
	} {
		a := NewAppend(lease, "plant-7", int64(i)+1)
		a.Event.CreatedAt = at.Add(time.Duration(i) * time.Millisecond)
		change(&a)
		s.append(a)
		want = append(want, a)
	}
	got := s.events("plant-7", 1, 0)
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, e := range got {
		w := want[i].Event
		sameJSON(t, e.Payload, w.Payload)
		if !e.CreatedAt.Equal(w.CreatedAt) {
			t.Errorf("created at %v, want %v", e.CreatedAt, w.CreatedAt)
		}
		if !slices.Equal(e.Tags, w.Tags) {
			t.Errorf("tags %q, want %q", e.Tags, w.Tags)
		}
		if e.PID != w.PID || e.SeqNr != w.SeqNr || e.Epoch != lease.Epoch || e.Type != w.Type || e.RequestID != w.RequestID {
			t.Errorf("got %+v, want %+v", e, w)
		}
		if i > 0 && e.ID <= got[i-1].ID {
			t.Errorf("ids %d, %d: no order", got[i-1].ID, e.ID)
		}
	}
	s.whole("plant-7", int64(len(want)))
}

func gapsAndDuplicates(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.refused(NewAppend(lease, "a", 2), persistence.ErrConflict) // never written: 1 comes first
	s.appendTo(lease, "a", 1, 3)
	for _, seq := range []int64{1, 3, 5, 1 << 40} {
		s.refused(NewAppend(lease, "a", seq), persistence.ErrConflict)
	}
	for _, seq := range []int64{0, -1} {
		rejected(t, s.Append(s.ctx(), NewAppend(lease, "a", seq)))
	}
	mixed := NewAppend(lease, "a", 4)
	mixed.Index.ID = "b"
	rejected(t, s.Append(s.ctx(), mixed))
	mixed = NewAppend(lease, "a", 4)
	mixed.Index.Revision = 3
	rejected(t, s.Append(s.ctx(), mixed))
	s.whole("a", 3)
	s.append(NewAppend(lease, "a", 4))
	s.whole("a", 4)
}

// badRowsAlone sends all kinds of bad rows among good ones, so many at once that they share batches.
func badRowsAlone(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.appendTo(lease, "twice", 1, 1)
	stale := lease
	stale.Epoch--
	foreign := lease
	foreign.Owner = "somebody-else"
	unowned := lease
	unowned.Shard.Number = 1
	bad := []struct {
		what   string
		change func(a *persistence.Append)
		want   error // nil: a RejectedError
	}{
		{"conflict", func(a *persistence.Append) { *a = NewAppend(lease, "twice", 1) }, persistence.ErrConflict},
		{"gap", func(a *persistence.Append) { *a = NewAppend(lease, a.Index.ID, 2) }, persistence.ErrConflict},
		{"stale epoch", func(a *persistence.Append) { a.Lease = stale }, persistence.ErrFenced},
		{"foreign owner", func(a *persistence.Append) { a.Lease = foreign }, persistence.ErrFenced},
		{"shard not owned", func(a *persistence.Append) { a.Lease = unowned }, persistence.ErrFenced},
		{"no JSON", func(a *persistence.Append) { a.Event.Payload = json.RawMessage(`{"secret":"s3cret`) }, nil},
		{"no payload", func(a *persistence.Append) { a.Event.Payload = nil }, nil},
		{"escaped NUL", func(a *persistence.Append) { a.Event.Payload = json.RawMessage(`{"s3cret":"\u0000"}`) }, nil},
		{"invalid UTF-8", func(a *persistence.Append) { a.Event.Payload = json.RawMessage("{\"s3cret\":\"\xff\"}") }, nil},
		{"NUL in a tag", func(a *persistence.Append) { a.Event.Tags = []string{"a\x00b"} }, nil},
		{"interest no JSON", func(a *persistence.Append) { a.Index.Interest = json.RawMessage(`{s3cret}`) }, nil},
		{"snapshot no JSON", func(a *persistence.Append) {
			a.Snapshot = &persistence.Snapshot{PID: a.Event.PID, SeqNr: a.Event.SeqNr, Payload: json.RawMessage(`s3cret`), CreatedAt: a.Event.CreatedAt}
		}, nil},
	}
	const rounds, good = 3, 150
	for round := range rounds {
		errs := make([]error, good+len(bad))
		together(len(errs), func(i int) {
			a := NewAppend(lease, fmt.Sprintf("good-%d-%d", round, i), 1)
			if i >= good {
				a = NewAppend(lease, fmt.Sprintf("bad-%d-%d", round, i), 1)
				bad[i-good].change(&a)
			}
			errs[i] = s.Append(s.ctx(), a)
		})
		for i, err := range errs {
			if i < good {
				if err != nil {
					t.Fatalf("a good row failed with its batch: %v", err)
				}
				continue
			}
			b := bad[i-good]
			var r *persistence.RejectedError
			if b.want == nil && !errors.As(err, &r) || b.want != nil && !errors.Is(err, b.want) {
				t.Fatalf("%s: %v, want %v", b.what, err, b.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Fatalf("%s: the error repeats the data: %v", b.what, err)
			}
		}
		for i := range good {
			s.whole(fmt.Sprintf("good-%d-%d", round, i), 1)
		}
		for i := range bad {
			s.whole(fmt.Sprintf("bad-%d-%d", round, good+i), 0)
		}
	}
	s.whole("twice", 1)
	s.works(lease, "afterwards")
}

// visibleTogether reads index and journal in both orders while events are written: neither is ever behind the other.
func visibleTogether(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.append(NewAppend(lease, "a", 1))
	ctx, cancel := context.WithCancel(s.ctx())
	defer cancel()
	var reads atomic.Int64
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			row, _, err := s.Row(ctx, "a")
			if err != nil {
				return // the test is over
			}
			newest := int64(0)
			for e, err := range s.Events(ctx, pid("a"), 1, 0) {
				if err != nil {
					return
				}
				newest = e.SeqNr
			}
			if newest < row.Revision {
				failed <- fmt.Errorf("index at %d, journal at %d", row.Revision, newest)
				return
			}
			if row, _, err = s.Row(ctx, "a"); err != nil {
				return
			}
			if row.Revision < newest {
				failed <- fmt.Errorf("journal at %d, index at %d", newest, row.Revision)
				return
			}
			reads.Add(1)
		}
	}()
	last := int64(1)
	for last < 200 || reads.Load() < 20 {
		last++
		s.append(NewAppend(lease, "a", last))
	}
	cancel()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	s.whole("a", last)
}

func snapshots(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.appendTo(lease, "a", 1, 12) // the tenth carries a snapshot
	if r := s.recover("a"); r.Snapshot == nil || r.Snapshot.SeqNr != 10 || len(r.Events) != 2 || r.LastSeq != 12 {
		t.Fatalf("recovered %+v", r)
	}
	at := time.Date(2026, 8, 18, 10, 0, 0, 0, time.UTC)
	deleted := persistence.Snapshot{PID: pid("a"), SeqNr: 12, Payload: json.RawMessage(`{"__lifecycle":"DELETED"}`), CreatedAt: at}
	if err := s.SaveSnapshot(s.ctx(), lease, deleted); err != nil {
		t.Fatal(err)
	}
	r := s.recover("a")
	if r.Snapshot == nil || r.Snapshot.SeqNr != 12 || len(r.Events) != 0 || r.LastSeq != 12 || !r.Snapshot.CreatedAt.Equal(at) {
		t.Fatalf("recovered %+v", r)
	}
	sameJSON(t, r.Snapshot.Payload, deleted.Payload)

	again := deleted
	again.Payload = json.RawMessage(`{"other":1}`)
	if err := s.SaveSnapshot(s.ctx(), lease, again); err != nil {
		t.Fatalf("a snapshot that is there: %v, want nil", err)
	}
	sameJSON(t, s.recover("a").Snapshot.Payload, deleted.Payload)

	ahead := deleted
	ahead.SeqNr = 13
	if err := s.SaveSnapshot(s.ctx(), lease, ahead); !errors.Is(err, persistence.ErrConflict) {
		t.Fatalf("a snapshot of a state that was never written: %v, want ErrConflict", err)
	}
	broken := deleted
	broken.SeqNr, broken.Payload = 11, json.RawMessage(`{`)
	rejected(t, s.SaveSnapshot(s.ctx(), lease, broken))
	stale := lease
	stale.Epoch--
	fenced := deleted
	fenced.SeqNr = 11
	if err := s.SaveSnapshot(s.ctx(), stale, fenced); !errors.Is(err, persistence.ErrFenced) {
		t.Fatalf("a fenced snapshot: %v, want ErrFenced", err)
	}
	if r := s.recover("a"); r.Snapshot.SeqNr != 12 {
		t.Fatalf("recovered %+v", r)
	}
	s.append(NewAppend(lease, "a", 13))
	s.whole("a", 13)
}

func recovery(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.appendTo(lease, "events", 1, 3)
	s.appendTo(lease, "both", 1, 11)
	s.appendTo(lease, "snapshot", 1, 10)
	s.appendTo(lease, "cleaned", 1, 12)
	if _, _, err := s.DeleteRange(s.ctx(), pid("cleaned"), 1, 11, true, false); err != nil {
		t.Fatal(err)
	}
	ids := []string{"never", "events", "both", "snapshot", "cleaned"}
	want := map[string]struct {
		snapshot, last int64
		events         []int64
	}{
		"never":    {0, 0, nil},
		"events":   {0, 3, []int64{1, 2, 3}},
		"both":     {10, 11, []int64{11}},
		"snapshot": {10, 10, nil},
		"cleaned":  {10, 12, []int64{12}},
	}
	var pids []string
	for _, id := range ids {
		pids = append(pids, pid(id))
	}
	seen := 0
	for r, err := range s.Recover(s.ctx(), pids) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		w := want[strings.TrimPrefix(r.PID, "connection:")]
		var events []int64
		for _, e := range r.Events {
			events = append(events, e.SeqNr)
		}
		snapshot := int64(0)
		if r.Snapshot != nil {
			snapshot = r.Snapshot.SeqNr
		}
		if snapshot != w.snapshot || r.LastSeq != w.last || !slices.Equal(events, w.events) {
			t.Errorf("%s: snapshot %d, events %v, last %d, want %+v", r.PID, snapshot, events, r.LastSeq, w)
		}
	}
	if seen != len(ids) {
		t.Fatalf("%d recovered, want %d", seen, len(ids))
	}
	for range s.Recover(s.ctx(), pids) { // whoever stops reading holds nothing back
		break
	}
	for r, err := range s.Recover(s.ctx(), nil) {
		t.Fatalf("recovered %v %v of nothing", r, err)
	}
	s.works(lease, "afterwards")
}

func bulkRecovery(t *testing.T, s *suite) {
	const n = 10_000
	pids := Populate(t, s, Own(t, s, "m"), n)
	began := time.Now()
	seen, events := 0, 0
	for r, err := range s.Recover(s.ctx(), pids) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Snapshot == nil || r.LastSeq != 2 {
			t.Fatalf("recovered %+v", r)
		}
		seen++
		events += len(r.Events)
	}
	t.Logf("%d entities with %d events recovered in %v", seen, events, time.Since(began).Round(time.Millisecond))
	if seen != n || events != n {
		t.Fatalf("%d entities with %d events, want %d of each", seen, events, n)
	}
}

// Populate writes n entities with two events and a snapshot of the first each, and returns their pids.
func Populate(t testing.TB, s persistence.Store, l persistence.Lease, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	pids := make([]string, n)
	for i := range pids {
		pids[i] = pid(fmt.Sprintf("entity-%d", i))
	}
	const writers = 500
	var failed atomic.Pointer[error]
	together(writers, func(w int) {
		for i := w; i < n; i += writers {
			for seq := int64(1); seq <= 2; seq++ {
				a := NewAppend(l, fmt.Sprintf("entity-%d", i), seq)
				if seq == 1 {
					a.Snapshot = &persistence.Snapshot{PID: a.Event.PID, SeqNr: 1, Payload: a.Event.Payload, CreatedAt: a.Event.CreatedAt}
				}
				if err := s.Append(ctx, a); err != nil {
					failed.Store(&err)
					return
				}
			}
		}
	})
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	return pids
}

func history(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	base := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int64) time.Time { return base.AddDate(0, 0, int(n)) }
	for seq := int64(1); seq <= 25; seq++ {
		a := NewAppend(lease, "a", seq)
		a.Event.CreatedAt = day(seq)
		if a.Snapshot != nil {
			a.Snapshot.CreatedAt = day(seq)
		}
		if seq%2 == 0 {
			a.Event.RequestID = ""
		}
		s.append(a)
	}
	for _, c := range []struct{ from, to, first, last int64 }{{1, 0, 1, 25}, {5, 7, 5, 7}, {24, 0, 24, 25}, {26, 0, 0, 0}, {20, 99, 20, 25}, {3, 3, 3, 3}} {
		got := s.events("a", c.from, c.to)
		if c.first == 0 && len(got) > 0 || c.first > 0 && (int64(len(got)) != c.last-c.first+1 || got[0].SeqNr != c.first) {
			t.Errorf("events %d to %d: %d of them", c.from, c.to, len(got))
		}
	}
	for range s.Events(s.ctx(), pid("a"), 1, 0) { // whoever stops reading holds nothing back
		break
	}
	for _, c := range []struct {
		seq  int64
		time time.Time
		want int64 // 0: none
	}{
		{0, time.Time{}, 20}, {20, time.Time{}, 20}, {19, time.Time{}, 10}, {9, time.Time{}, 0},
		{0, day(15), 10}, {0, day(20), 20}, {0, day(20).Add(-time.Millisecond), 10}, {0, day(1), 0}, {15, day(99), 10}, {0, day(99), 20},
	} {
		snap, found, err := s.SnapshotAt(s.ctx(), pid("a"), c.seq, c.time)
		if err != nil || found != (c.want > 0) || snap.SeqNr != c.want {
			t.Errorf("snapshot at %d, %v: %d %v %v, want %d", c.seq, c.time, snap.SeqNr, found, err, c.want)
		}
	}
	recent, err := s.RecentRequests(s.ctx(), pid("a"), day(20))
	if err != nil {
		t.Fatal(err)
	}
	var seqs []int64
	for _, e := range recent {
		seqs = append(seqs, e.SeqNr)
		if e.RequestID != fmt.Sprintf("request-a-%d", e.SeqNr) {
			t.Errorf("request id %q of %d", e.RequestID, e.SeqNr)
		}
	}
	if !slices.Equal(seqs, []int64{21, 23, 25}) {
		t.Errorf("recent requests %v, want 21, 23, 25", seqs)
	}
}

func cleanup(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	old := time.Now().AddDate(0, 0, -40).UTC()
	for _, id := range []string{"a", "b", "c"} {
		for seq := int64(1); seq <= 25; seq++ {
			a := NewAppend(lease, id, seq)
			if a.Snapshot != nil && seq == 10 {
				a.Snapshot.CreatedAt = old
			}
			s.append(a)
		}
	}
	s.appendTo(lease, "young", 1, 10)

	month := time.Now().AddDate(0, 0, -30)
	var listed []string
	for after := ""; ; { // in pages of two
		page, err := s.OldSnapshots(s.ctx(), after, month, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, snap := range page {
			listed = append(listed, fmt.Sprintf("%s@%d", snap.PID, snap.SeqNr))
			after = snap.PID
			sameJSON(t, snap.Payload, json.RawMessage(fmt.Sprintf(`{"id":%q,"revision":10}`, strings.TrimPrefix(snap.PID, "connection:"))))
		}
	}
	if want := []string{"connection:a@10", "connection:b@10", "connection:c@10"}; !slices.Equal(listed, want) {
		t.Fatalf("old snapshots %v, want %v", listed, want)
	}
	if newest, err := s.OldSnapshots(s.ctx(), "connection:b", time.Now().Add(time.Hour), 1); err != nil || len(newest) != 1 || newest[0].SeqNr != 20 {
		t.Fatalf("newest snapshot %v %v, want 20", newest, err)
	}

	events, snaps, err := s.DeleteRange(s.ctx(), pid("a"), 1, 19, true, false)
	if err != nil || events != 19 || snaps != 0 {
		t.Fatalf("deleted %d, %d, %v, want 19, 0", events, snaps, err)
	}
	events, snaps, err = s.DeleteRange(s.ctx(), pid("a"), 1, 19, false, true)
	if err != nil || events != 0 || snaps != 1 {
		t.Fatalf("deleted %d, %d, %v, want 0, 1", events, snaps, err)
	}
	if events, snaps, err = s.DeleteRange(s.ctx(), pid("a"), 1, 19, true, true); err != nil || events+snaps != 0 {
		t.Fatalf("deleted %d, %d, %v, want nothing", events, snaps, err)
	}
	if got := s.sequence("a"); len(got) != 6 || got[0] != 20 {
		t.Fatalf("left %v, want 20 to 25", got)
	}
	// Cleaning takes nothing from the sequence: even an entity of which nothing is left continues after its last event.
	if _, _, err = s.DeleteRange(s.ctx(), pid("b"), 1, 25, true, true); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		s.refused(NewAppend(lease, id, 1), persistence.ErrConflict)
		s.refused(NewAppend(lease, id, 27), persistence.ErrConflict)
		if r := s.recover(id); r.LastSeq != 25 {
			t.Fatalf("%s: last sequence number %d, want 25", id, r.LastSeq)
		}
		s.append(NewAppend(lease, id, 26))
	}

	if err := s.Purge(s.ctx(), pid("c")); err != nil {
		t.Fatal(err)
	}
	if r := s.recover("c"); r.Snapshot != nil || len(r.Events) != 0 || r.LastSeq != 0 {
		t.Fatalf("purged and recovered %+v", r)
	}
	s.whole("c", 0)
	if err := s.SaveSnapshot(s.ctx(), lease, persistence.Snapshot{PID: pid("c"), SeqNr: 25, Payload: json.RawMessage(`{}`), CreatedAt: old}); !errors.Is(err, persistence.ErrConflict) {
		t.Fatalf("a snapshot after the purge: %v, want ErrConflict", err)
	}
	s.refused(NewAppend(lease, "c", 26), persistence.ErrConflict)
	s.appendTo(lease, "c", 1, 2)
	s.whole("c", 2)
	if err := s.Purge(s.ctx(), pid("never")); err != nil {
		t.Fatal(err)
	}
}

func endedWaits(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ended, NewAppend(lease, "a", 1)); !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("append after its wait: %v, want ErrUnavailable", err)
	}
	s.whole("a", 0)
	// Waits that end in the middle: whatever the caller is told must be so.
	s.works(lease, "before")
	const n = 300
	errs := make([]error, n)
	together(n, func(i int) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		defer cancel()
		errs[i] = s.Append(ctx, NewAppend(lease, fmt.Sprintf("e-%d", i), 1))
	})
	s.works(lease, "afterwards") // and with it everything before it in its lane
	counts := map[string]int{}
	for i, err := range errs {
		id := fmt.Sprintf("e-%d", i)
		switch {
		case err == nil:
			counts["written"]++
			s.whole(id, 1)
		case errors.Is(err, persistence.ErrUnavailable):
			counts["not written"]++
			s.whole(id, 0)
		case errors.Is(err, persistence.ErrUnknownOutcome):
			counts["unknown"]++
		default:
			t.Fatalf("append %d: %v", i, err)
		}
	}
	t.Log(counts)
}

func closedStore(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	const n = 100
	errs := make([]error, n+1)
	together(n+1, func(i int) { // in the middle of appends
		if i == n {
			errs[n] = s.Close()
			return
		}
		errs[i] = s.Append(s.ctx(), NewAppend(lease, fmt.Sprintf("e-%d", i), 1))
	})
	if errs[n] != nil {
		t.Fatal(errs[n])
	}
	if err := s.Close(); err != nil {
		t.Fatalf("closing twice: %v", err)
	}
	if err := s.Append(s.ctx(), NewAppend(lease, "late", 1)); !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("append to a closed store: %v, want ErrUnavailable", err)
	}
	if err := s.Ping(s.ctx()); err == nil {
		t.Fatal("a closed store answers a ping")
	}
	s.Store = s.database(t)
	for i, err := range errs[:n] {
		switch id := fmt.Sprintf("e-%d", i); {
		case err == nil:
			s.whole(id, 1)
		case errors.Is(err, persistence.ErrUnavailable):
			s.whole(id, 0)
		default:
			t.Fatalf("append while closing: %v", err)
		}
	}
}

func migrations(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.appendTo(lease, "a", 1, 20)
	if p, err := s.MigrationProgress(s.ctx(), "encryption"); err != nil || p != nil {
		t.Fatalf("progress %s %v before any", p, err)
	}
	for table, n := range map[persistence.Table]int{persistence.TableJournal: 20, persistence.TableSnapshots: 2} {
		var rows []persistence.Row
		for after := int64(0); ; {
			page, err := s.RowsAfter(s.ctx(), table, after, 7)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			rows = append(rows, page...)
			after = page[len(page)-1].ID
		}
		if len(rows) != n {
			t.Fatalf("%d rows in %s, want %d", len(rows), table, n)
		}
		first, second := rows[0], rows[1]
		sealed := json.RawMessage(`{"sealed":true}`)
		updates := []persistence.RowUpdate{
			{ID: first.ID, Old: first.Payload, New: sealed},
			{ID: second.ID, Old: json.RawMessage(`{"changed":"meanwhile"}`), New: sealed},
			{ID: 1 << 40, Old: json.RawMessage(`{}`), New: sealed}, // gone
		}
		stop := errors.New("stop")
		err := s.ApplyBatch(s.ctx(), "encryption", table, updates, func([]bool) (json.RawMessage, error) { return nil, stop })
		if !errors.Is(err, stop) {
			t.Fatalf("a batch that was stopped: %v", err)
		}
		again, err := s.RowsAfter(s.ctx(), table, first.ID-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, again[0].Payload, first.Payload)
		progress := json.RawMessage(`{"table":"` + string(table) + `"}`)
		err = s.ApplyBatch(s.ctx(), "encryption", table, updates, func(changed []bool) (json.RawMessage, error) {
			if !slices.Equal(changed, []bool{true, false, false}) {
				t.Errorf("changed %v, want only the first", changed)
			}
			return progress, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if again, err = s.RowsAfter(s.ctx(), table, first.ID-1, 2); err != nil {
			t.Fatal(err)
		}
		sameJSON(t, again[0].Payload, sealed)
		sameJSON(t, again[1].Payload, second.Payload)
		stored, err := s.MigrationProgress(s.ctx(), "encryption")
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, stored, progress)
		rejected(t, s.ApplyBatch(s.ctx(), "encryption", table, []persistence.RowUpdate{{ID: second.ID, Old: second.Payload, New: json.RawMessage(`{`)}},
			func([]bool) (json.RawMessage, error) { return progress, nil }))
	}
	if err := s.SaveProgress(s.ctx(), "encryption", json.RawMessage(`{"phase":"completed"}`)); err != nil {
		t.Fatal(err)
	}
	stored, err := s.MigrationProgress(s.ctx(), "encryption")
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, stored, json.RawMessage(`{"phase":"completed"}`))
	if _, err := s.RowsAfter(s.ctx(), "members", 0, 1); err == nil {
		t.Fatal("a table that no migration walks was read")
	}
	if err := s.ApplyBatch(s.ctx(), "encryption", persistence.TableJournal, nil, func([]bool) (json.RawMessage, error) { return json.RawMessage(`{}`), nil }); err != nil {
		t.Fatalf("an empty batch: %v", err)
	}
	s.append(NewAppend(lease, "a", 21))
}
