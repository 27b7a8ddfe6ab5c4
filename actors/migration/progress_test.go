package migration

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

var noon = time.Date(2026, 8, 4, 12, 0, 0, 123_456_789, time.UTC)

func TestStoredProgress(t *testing.T) { // encryption.md 6.9
	p := Begin(Keys{encryption.ModeRotation, "aa", "bb"}, false, "r-1", noon)
	p = p.Count(persistence.TableSnapshots, messages.MigrationCounts{Processed: 9, Skipped: 1}, 9031, "connection:line-7", noon.Add(time.Second))
	p = p.Enter(Journal, noon.Add(2*time.Second))
	text, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"phase":"journal","lastProcessedSnapshotId":"9031","lastProcessedSnapshotPid":"connection:line-7","lastProcessedJournalId":null,` +
		`"lastProcessedJournalPid":null,"snapshotsProcessed":9,"snapshotsSkipped":1,"snapshotsFailed":0,"journalProcessed":0,"journalSkipped":0,"journalFailed":0,` +
		`"startedAt":"2026-08-04T12:00:00.123Z","updatedAt":"2026-08-04T12:00:02.123Z","state":"running","verifying":false,"mode":"rotation","keyFingerprint":"aa",` +
		`"oldKeyFingerprint":"bb","requestId":"r-1"}`
	if string(text) != want {
		t.Errorf("%s\nwant %s", text, want)
	}
}

func TestProgressComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<40)
		word := rapid.StringMatching(`[a-z:]{0,9}`)
		table := func() Table {
			c := Table{MigrationCounts: messages.MigrationCounts{Processed: n.Draw(t, "p"), Skipped: n.Draw(t, "s"), Failed: n.Draw(t, "f")}}
			if c.LastID = n.Draw(t, "id"); c.LastID > 0 {
				c.LastPID = word.Draw(t, "pid")
			}
			return c
		}
		p := Progress{
			Phase: rapid.SampledFrom([]Phase{Snapshots, Journal, Verification, Completed}).Draw(t, "phase"), State: Running,
			Keys:      Keys{encryption.Mode(word.Draw(t, "mode")), word.Draw(t, "key"), word.Draw(t, "old")},
			Snapshots: table(), Journal: table(), RequestID: word.Draw(t, "request"),
			StartedAt: instant(noon.Add(time.Duration(n.Draw(t, "t")))), UpdatedAt: instant(noon.Add(time.Duration(n.Draw(t, "u")))),
		}
		if p.Phase == Completed {
			p.State = Ended
		}
		text, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(text); err != nil || !back.same(p) {
			t.Fatalf("%+v came back as %+v %v", p, back, err)
		}
	})
}

func TestTolerantReading(t *testing.T) { // 6.7: prefixes are stripped, an unknown phase counts as completed
	for text, want := range map[string]Phase{
		`{"phase":"snapshots"}`: Snapshots, `{"phase":"aborted:journal"}`: Journal, `{"phase":"in_progress:snapshots"}`: Snapshots,
		`{"phase":"completed"}`: Completed, `{"phase":"whatever"}`: Completed, `{}`: Completed, `{"phase":"journal","verifying":true}`: Verification, ``: "",
	} {
		if p, err := decode(json.RawMessage(text)); err != nil || p.Phase != want {
			t.Errorf("%s: %q %v, want %q", text, p.Phase, err, want)
		}
	}
	for _, text := range []string{`[]`, `{`, `{"phase":"journal","lastProcessedJournalId":"x"}`, `{"phase":"journal","lastProcessedJournalId":"-1"}`, `{"startedAt":"x"}`} {
		if p, err := decode(json.RawMessage(text)); err == nil {
			t.Errorf("%s: %+v", text, p)
		}
	}
}

func FuzzProgress(f *testing.F) {
	text, err := Begin(Keys{encryption.ModeInitial, "aa", ""}, false, "", noon).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text))
	f.Add([]byte(`{"phase":"journal","lastProcessedJournalId":"7","verifying":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := decode(text)
		if err != nil || p.StartedAt.Year() > 9999 || p.UpdatedAt.Year() > 9999 || p.StartedAt.Year() < 0 || p.UpdatedAt.Year() < 0 {
			return
		}
		again, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); p.Phase != "" && (err != nil || !back.same(p)) {
			t.Fatalf("%s was read as %+v, stored as %s, and read as %+v %v", text, p, again, back, err)
		}
	})
}

func TestStatusPhases(t *testing.T) { // 6.7
	for _, test := range []struct {
		phase  Phase
		active bool
		want   string
	}{
		{"", false, "snapshots"}, {Snapshots, true, "in_progress:snapshots"}, {Journal, true, "in_progress:journal"}, {Verification, true, "in_progress:journal"},
		{Snapshots, false, "snapshots"}, {Journal, false, "journal"}, {Verification, false, "journal"}, {Completed, false, "completed"},
	} {
		if got := (Progress{Phase: test.phase}).Status(test.active); got.Phase != test.want || got.Active != test.active {
			t.Errorf("%q, active %t: %+v, want %s", test.phase, test.active, got, test.want)
		}
	}
}

// ids is a store that has rows with these ids, growing by grow at each look.
type ids struct {
	persistence.Migrations
	rows  []int64
	looks int
	grow  bool
}

func (s *ids) RowsAfter(_ context.Context, _ persistence.Table, after int64, limit int) ([]persistence.Row, error) {
	s.looks++
	i, found := slices.BinarySearch(s.rows, after)
	if found {
		i++
	}
	if s.grow {
		s.rows = append(s.rows, s.rows[len(s.rows)-1]+1)
	}
	if i >= len(s.rows) {
		return nil, nil
	}
	return []persistence.Row{{ID: s.rows[i]}}, nil
}

func TestMeasure(t *testing.T) {
	for range 2000 {
		s := &ids{}
		at := rand.Int64N(1 << rand.IntN(62))
		for range rand.IntN(20) {
			at += 1 + rand.Int64N(1<<rand.IntN(30))
			s.rows = append(s.rows, at)
		}
		got, err := measure(t.Context(), s, persistence.TableJournal)
		want := extent{}
		if len(s.rows) > 0 {
			want = extent{s.rows[0] - 1, s.rows[len(s.rows)-1]}
		}
		if err != nil || got != want && at < 1<<60 || s.looks > 130 {
			t.Fatalf("%v: %+v %v after %d looks, want %+v", s.rows, got, err, s.looks, want)
		}
	}
	growing := &ids{rows: []int64{5, 9}, grow: true}
	if e, err := measure(t.Context(), growing, persistence.TableJournal); err != nil || e.before != 4 || e.last < 9 {
		t.Errorf("%+v %v", e, err)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	if _, known := m.end(); known || m.rate() != 0 {
		t.Error("knows something at the beginning")
	}
	for i := range 31 { // 100 rows a second, 1 % a second
		m.move(mark{noon.Add(time.Duration(i) * time.Second), int64(i * 100), float64(i) / 100})
	}
	end, known := m.end()
	if off := end.Sub(noon.Add(100 * time.Second)); !known || off.Abs() > time.Second || m.rate() != 100 {
		t.Errorf("rate %v, end %v", m.rate(), end)
	}
	for i := 31; i < 61; i++ { // then half as fast
		m.move(mark{noon.Add(time.Duration(i) * time.Second), int64(3000 + (i-30)*50), 0.3 + float64(i-30)/200})
	}
	if r := m.rate(); r != 50 {
		t.Errorf("rate %v, want that of late, 50", r)
	}
}
