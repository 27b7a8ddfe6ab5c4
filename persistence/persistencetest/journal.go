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
		if !e.CreatedAt.Equal(w.CreatedAt) || e.CreatedAt.Location() != time.UTC {
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
		{"shard not owned", func(a *persistence.Append) { a.Lease, a.Index.Shard = unowned, 1 }, persistence.ErrFenced},
		{"no JSON", func(a *persistence.Append) { a.Event.Payload = json.RawMessage(`{"secret":"s3cret`) }, nil},
		{"nested too deep", func(a *persistence.Append) {
			a.Event.Payload = json.RawMessage(strings.Repeat("[", 300_000) + strings.Repeat("]", 300_000))
		}, nil},
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
