package persistencetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"hawser/persistence"
)

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
		err := s.ApplyBatch(s.ctx(), lease, "encryption", table, updates, func([]bool) (json.RawMessage, error) { return nil, stop })
		if !errors.Is(err, stop) {
			t.Fatalf("a batch that was stopped: %v", err)
		}
		again, err := s.RowsAfter(s.ctx(), table, first.ID-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, again[0].Payload, first.Payload)
		progress := json.RawMessage(`{"table":"` + string(table) + `"}`)
		err = s.ApplyBatch(s.ctx(), lease, "encryption", table, updates, func(changed []bool) (json.RawMessage, error) {
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
		rejected(t, s.ApplyBatch(s.ctx(), lease, "encryption", table, []persistence.RowUpdate{{ID: second.ID, Old: second.Payload, New: json.RawMessage(`{`)}},
			func([]bool) (json.RawMessage, error) { return progress, nil }))
	}
	if err := s.SaveProgress(s.ctx(), lease, "encryption", json.RawMessage(`{"phase":"completed"}`)); err != nil {
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
	if err := s.ApplyBatch(s.ctx(), lease, "encryption", persistence.TableJournal, nil, func([]bool) (json.RawMessage, error) { return json.RawMessage(`{}`), nil }); err != nil {
		t.Fatalf("an empty batch: %v", err)
	}
	s.append(NewAppend(lease, "a", 21))
}

// migrationFences: a lease that does not hold writes neither rows nor progress, whatever it was that ended it.
func migrationFences(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.append(NewAppend(lease, "a", 1))
	rows, err := s.RowsAfter(s.ctx(), persistence.TableJournal, 0, 1)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	const own, foreign = `{"by":"the owner"}`, `{"by":"somebody else"}`
	if err := s.SaveProgress(s.ctx(), lease, "encryption", json.RawMessage(own)); err != nil {
		t.Fatal(err)
	}
	refused := func(l persistence.Lease, what string) {
		t.Helper()
		update := []persistence.RowUpdate{{ID: rows[0].ID, Old: rows[0].Payload, New: json.RawMessage(`{"sealed":true}`)}}
		for _, updates := range [][]persistence.RowUpdate{update, nil} {
			err := s.ApplyBatch(s.ctx(), l, "encryption", persistence.TableJournal, updates, func([]bool) (json.RawMessage, error) { return json.RawMessage(foreign), nil })
			if !errors.Is(err, persistence.ErrFenced) || errors.Is(err, persistence.ErrUnavailable) {
				t.Errorf("a batch of %d %s: %v, want ErrFenced", len(updates), what, err)
			}
		}
		if err := s.SaveProgress(s.ctx(), l, "encryption", json.RawMessage(foreign)); !errors.Is(err, persistence.ErrFenced) || errors.Is(err, persistence.ErrUnavailable) {
			t.Errorf("progress %s: %v, want ErrFenced", what, err)
		}
		stored, err := s.MigrationProgress(s.ctx(), "encryption")
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, stored, json.RawMessage(own))
		again, err := s.RowsAfter(s.ctx(), persistence.TableJournal, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, again[0].Payload, rows[0].Payload)
	}
	other := lease
	other.Owner = "nobody"
	refused(other, "of another member")
	other = lease
	other.Epoch--
	refused(other, "of the epoch before")
	other = lease
	other.Shard.Number = 1
	refused(other, "of a shard that nobody owns")
	if err := s.Release(s.ctx(), "m", shardRefs(0)); err != nil {
		t.Fatal(err)
	}
	refused(lease, "after the release")
	again := s.claim("m", []int{0}, []int{0})[0]
	refused(lease, "after the member's next claim")
	s.bury("m", 0, true, true)
	refused(again, "after the burial")
	s.join("m2")
	next := s.claim("m2", []int{0}, []int{0})[0]
	refused(again, "after the claim of another member")
	if err := s.SaveProgress(s.ctx(), next, "encryption", json.RawMessage(own)); err != nil {
		t.Fatal(err)
	}
	refused(again, "after the next owner's first word")
}

// deposed lets an owner write batch after batch while it is buried: when the next owner has its lease, nothing more of the
// one before appears, not even of a transaction that had begun.
func deposed(t *testing.T, s *suite) {
	if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
		t.Fatal(err)
	}
	s.join("m-0")
	lease := s.claim("m-0", []int{0}, []int{0})[0]
	s.append(NewAppend(lease, "a", 1))
	for round := 1; round <= 20; round++ {
		var committed atomic.Int64
		var writer sync.WaitGroup
		old := lease
		writer.Go(func() {
			for n := int64(1); ; n++ {
				rows, err := s.RowsAfter(s.ctx(), persistence.TableJournal, 0, 1)
				if err != nil {
					t.Error(err)
					return
				}
				text := fmt.Appendf(nil, `{"round":%d,"batch":%d}`, round, n)
				err = s.ApplyBatch(s.ctx(), old, "encryption", persistence.TableJournal, []persistence.RowUpdate{{ID: rows[0].ID, Old: rows[0].Payload, New: text}},
					func([]bool) (json.RawMessage, error) { return text, nil })
				if err != nil {
					if !errors.Is(err, persistence.ErrFenced) {
						t.Error(err)
					}
					return
				}
				committed.Store(n)
			}
		})
		Until(t, "the owner writes", func() bool { return committed.Load() >= 3 || t.Failed() })
		s.bury(old.Owner, 0, true, true)
		member := persistence.MemberID(fmt.Sprintf("m-%d", round))
		s.join(member)
		Until(t, "the next owner claims", func() bool { // a batch that is being refused may hold the shard for a moment
			leases, err := s.Claim(s.ctx(), member, shardRefs(0))
			if err != nil {
				t.Fatal(err)
			}
			if len(leases) == 1 {
				lease = leases[0]
			}
			return len(leases) == 1
		})
		before, err := s.MigrationProgress(s.ctx(), "encryption")
		if err != nil {
			t.Fatal(err)
		}
		writer.Wait()
		after, err := s.MigrationProgress(s.ctx(), "encryption")
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, after, before)
		sameJSON(t, after, fmt.Appendf(nil, `{"round":%d,"batch":%d}`, round, committed.Load()))
		rows, err := s.RowsAfter(s.ctx(), persistence.TableJournal, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, rows[0].Payload, after)
	}
}
