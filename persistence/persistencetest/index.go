package persistencetest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hawser/persistence"
)

func index(t *testing.T, s *suite) {
	own := Own(t, s, "m")
	all, err := s.Claim(s.ctx(), "m", shardRefs(1, 2))
	if err != nil || len(all) != 2 {
		t.Fatalf("claimed %v %v, want shards 1 and 2", all, err)
	}
	byShard := map[int]persistence.Lease{0: own, all[0].Shard.Number: all[0], all[1].Shard.Number: all[1]}
	revisions := map[string]int64{}
	write := func(row persistence.IndexRow) persistence.IndexRow {
		revisions[row.ID]++
		row.Revision = revisions[row.ID]
		a := NewAppend(byShard[row.Shard], row.ID, row.Revision)
		a.Index, a.Event.Tags = row, row.Tags
		s.append(a)
		return row
	}
	live := json.RawMessage(`{"topics":["live"]}`)
	a := write(persistence.IndexRow{ID: "a", Shard: 0, Status: "open", Tags: []string{"plant", "always-alive", "priority-3"}, Priority: 3, ClientCount: 2, Interest: live})
	big := write(persistence.IndexRow{ID: "B", Shard: 0, Status: "closed", Tags: []string{"plant"}})
	c := write(persistence.IndexRow{ID: "c", Shard: 1, Status: "open", Priority: 5_000_000_000})
	d := write(persistence.IndexRow{ID: "d", Shard: 1, Status: "open", Tags: []string{"plant"}, Interest: live})
	e := write(persistence.IndexRow{ID: "e", Shard: 2, Status: "open", Priority: 1})

	check := func(what string, got, want []string, err error) {
		t.Helper()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v, want %v", what, got, err, want)
		}
	}
	list := func(after string, limit int) []string {
		t.Helper()
		ids, err := s.IDs(s.ctx(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	check("ids, byte by byte", list("", 0), []string{"B", "a", "c", "d", "e"}, nil)
	check("ids after c", list("c", 0), []string{"d", "e"}, nil)
	check("two ids after B", list("B", 2), []string{"a", "c"}, nil)
	got, err := s.IDsByTag(s.ctx(), "plant")
	check("tag", got, []string{"B", "a", "d"}, err)
	got, err = s.IDsByTag(s.ctx(), "always-alive")
	check("internal tag", got, []string{"a"}, err)
	got, err = s.IDsByTag(s.ctx(), "pla")
	check("part of a tag", got, nil, err)

	rows := func(what string, got []persistence.IndexRow, err error, want ...persistence.IndexRow) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append([]persistence.IndexRow{}, want...), append([]persistence.IndexRow{}, got...), cmp.Comparer(slices.Equal[[]string]), cmp.Comparer(equalJSON)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	open, err := s.Open(s.ctx(), []int{0, 1})
	rows("open, highest priority first", open, err, c, a, d)
	open, err = s.Open(s.ctx(), []int{2})
	rows("open of one shard", open, err, e)
	open, err = s.Open(s.ctx(), nil)
	rows("open of no shard", open, err)
	interests, err := s.Interests(s.ctx())
	rows("interests", interests, err, a, d)
	row, found, err := s.Row(s.ctx(), "B")
	if !found {
		t.Fatal("no row B")
	}
	rows("one row", []persistence.IndexRow{row}, err, big)
	if _, found, err = s.Row(s.ctx(), "never"); found || err != nil {
		t.Errorf("row of nothing: %v %v", found, err)
	}

	write(persistence.IndexRow{ID: "a", Shard: 0, Status: "closed", Tags: []string{"other"}, Deleted: false})
	write(persistence.IndexRow{ID: "d", Shard: 1, Status: "closed", Deleted: true})
	written := func(shards ...int) (ids []string) {
		t.Helper()
		for id, err := range s.Written(s.ctx(), shards) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return ids
	}
	check("written, the deleted included", written(0, 1), []string{"B", "a", "c", "d"}, nil)
	check("written in one shard", written(2), []string{"e"}, nil)
	check("written in no shard", written(), nil, nil)
	check("ids without the deleted", list("", 0), []string{"B", "a", "c", "e"}, nil)
	got, err = s.IDsByTag(s.ctx(), "plant")
	check("tag of the newest event", got, []string{"B"}, err)
	open, err = s.Open(s.ctx(), []int{0, 1})
	rows("open after closing", open, err, c)
	interests, err = s.Interests(s.ctx())
	rows("interests after closing", interests, err)
	again := write(persistence.IndexRow{ID: "d", Shard: 1, Status: "open", Tags: []string{"plant"}})
	if row, _, err = s.Row(s.ctx(), "d"); row.Revision != 3 {
		t.Errorf("created again: revision %d, want 3", row.Revision)
	}
	rows("created again", []persistence.IndexRow{row}, err, again)
}

func equalJSON(a, b json.RawMessage) bool {
	var x, y any
	if (len(a) == 0) != (len(b) == 0) {
		return false
	}
	if len(a) == 0 {
		return true
	}
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && cmp.Equal(x, y)
}
