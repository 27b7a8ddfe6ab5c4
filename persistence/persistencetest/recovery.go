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
		last := int64(len(r.Events))
		if r.Snapshot != nil {
			last += r.Snapshot.SeqNr
		}
		if r.LastSeq < 1 || r.LastSeq != last {
			t.Fatalf("recovered %+v", r)
		}
		seen++
		events += len(r.Events)
	}
	t.Logf("%d entities with %d events recovered in %v", seen, events, time.Since(began).Round(time.Millisecond))
	if want := n/2 + n/10; seen != n || events != want {
		t.Fatalf("%d entities with %d events, want %d with %d", seen, events, n, want)
	}
}

// Populate writes n entities and returns their pids: half of them one event, half one event with a snapshot, and a fifth of
// the latter an event after it. Recovering them reads n/2 + n/10 events.
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
			for seq := int64(1); seq == 1 || seq == 2 && i%10 == 0; seq++ {
				a := NewAppend(l, fmt.Sprintf("entity-%d", i), seq)
				if seq == 1 && i%2 == 0 {
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
	oldest := func(id string, wantEvent, wantSnapshot int64) {
		t.Helper()
		if event, snapshot, err := s.Oldest(s.ctx(), pid(id)); err != nil || event != wantEvent || snapshot != wantSnapshot {
			t.Fatalf("oldest of %s: %d, %d, %v, want %d, %d", id, event, snapshot, err, wantEvent, wantSnapshot)
		}
	}
	oldest("a", 20, 20)
	oldest("b", 1, 10)
	oldest("never", 0, 0)
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
	oldest("b", 26, 0)

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
