package persistencetest

import (
	"encoding/json"
	"errors"
	"slices"
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
