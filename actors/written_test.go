package actors

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"hawser/persistence"
)

// listing is an index with these ids, whatever the shard. reading, if set, is called before each id.
type listing struct {
	persistence.Index
	ids     []string
	reading func()
	failure error
}

func (l *listing) Written(context.Context, []int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range slices.Clone(l.ids) {
			if l.reading != nil {
				l.reading()
			}
			if !yield(id, nil) {
				return
			}
		}
		if l.failure != nil {
			yield("", l.failure)
		}
	}
}

func TestUnwritten(t *testing.T) {
	index := &listing{ids: []string{"stored", "deleted"}}
	w := newWritten(index, quiet())
	w.close() // the test lists for itself
	under := func(epoch persistence.Epoch) persistence.Lease {
		return persistence.Lease{Shard: persistence.ShardRef{Kind: persistence.KindConnection, Number: 3}, Epoch: epoch}
	}
	want := func(what, id string, epoch persistence.Epoch, want bool) {
		t.Helper()
		if got := w.unwritten(id, under(epoch)); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	want("nothing was claimed", "new", 1, false)
	shards := map[int]persistence.Epoch{3: 1}
	w.begin(shards)
	want("the index was not read", "early", 1, false)
	index.failure = errors.New("the database is away")
	if err := w.load(t.Context(), shards); !errors.Is(err, index.failure) {
		t.Fatal(err)
	}
	want("the index was read in part", "earlier", 1, false)
	index.failure = nil
	index.reading = func() { w.unwritten("while reading", under(1)) } // and is written before the answer is complete
	if err := w.load(t.Context(), shards); err != nil {
		t.Fatal(err)
	}
	want("in the index", "stored", 1, false)
	want("activated before the index was read", "early", 1, false)
	want("activated while it was read", "while reading", 1, false)
	want("never heard of", "new", 1, true)
	want("activated before", "new", 1, false)
	want("another epoch", "newer", 2, false)

	// The shard went to another node and came back: what was known is worth nothing.
	again := map[int]persistence.Epoch{3: 5}
	w.begin(again)
	want("before the index is read again", "written there", 5, false)
	index.reading, index.ids = nil, append(index.ids, "written there too")
	if err := w.load(t.Context(), shards); err != nil { // a late answer for the former epoch
		t.Fatal(err)
	}
	want("after a late answer", "x", 5, false)
	if err := w.load(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	want("in the index again", "written there too", 5, false)
	want("new again", "y", 5, true)
}
