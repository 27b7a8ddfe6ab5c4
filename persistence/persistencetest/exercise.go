package persistencetest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"testing"

	"hawser/persistence"
)

// Database opens a store on one database. The store is closed when the test ends, if not before; the database stays and can
// be opened again then. A store that several processes may share can be opened several times at once.
type Database func(t testing.TB) persistence.Store

// Exercise is what every store must pass. newDatabase makes a new, empty database each time.
func Exercise(t *testing.T, newDatabase func(t testing.TB) Database) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"events keep order and content", orderAndContent},
		{"gaps and duplicates are refused", gapsAndDuplicates},
		{"a bad row fails alone in its batch", badRowsAlone},
		{"index and event are visible together", visibleTogether},
		{"snapshots", snapshots},
		{"recovery", recovery},
		{"recovery of 10 000 entities", bulkRecovery},
		{"history", history},
		{"cleanup and purge", cleanup},
		{"a wait that ends", endedWaits},
		{"a closed store", closedStore},
		{"index", index},
		{"number of shards", shardCount},
		{"claim, release, leave", claims},
		{"burial", burials},
		{"release waits for appends", releaseWaits},
		{"epochs never go back", epochs},
		{"migrations", migrations},
		{"migrations under a lease that does not hold", migrationFences},
		{"a deposed owner of the migration", deposed},
		{"reopening", reopening},
		{"two databases side by side", sideBySide},
	} {
		t.Run(test.name, func(t *testing.T) {
			database := newDatabase(t)
			test.run(t, &suite{Store: database(t), t: t, database: database, newDatabase: newDatabase})
		})
	}
}

// suite is one test's store with the words the tests are written in. Each waits no longer than patience.
type suite struct {
	persistence.Store
	t           testing.TB
	database    Database
	newDatabase func(t testing.TB) Database
}

func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// append writes and demands success.
func (s *suite) append(a persistence.Append) {
	s.t.Helper()
	if err := s.Append(s.ctx(), a); err != nil {
		s.t.Fatalf("append %s %d: %v", a.Event.PID, a.Event.SeqNr, err)
	}
}

// appendTo writes the entity's events from..to.
func (s *suite) appendTo(l persistence.Lease, id string, from, to int64) {
	s.t.Helper()
	for seq := from; seq <= to; seq++ {
		s.append(NewAppend(l, id, seq))
	}
}

// refused demands an error of an append.
func (s *suite) refused(a persistence.Append, want error) {
	s.t.Helper()
	if err := s.Append(s.ctx(), a); !errors.Is(err, want) {
		s.t.Fatalf("append %s %d: %v, want %v", a.Event.PID, a.Event.SeqNr, err, want)
	}
}

// rejected demands a RejectedError.
func rejected(t testing.TB, err error) {
	t.Helper()
	var r *persistence.RejectedError
	if !errors.As(err, &r) {
		t.Fatalf("%v, want a RejectedError", err)
	}
}

// works proves that the store still does its work: a new entity is written and read.
func (s *suite) works(l persistence.Lease, id string) {
	s.t.Helper()
	s.append(NewAppend(l, id, 1))
	if got := s.sequence(id); len(got) != 1 || got[0] != 1 {
		s.t.Fatalf("the journal of %s is %v, want [1]", id, got)
	}
}

// events reads an entity's journal.
func (s *suite) events(id string, from, to int64) []persistence.Event {
	s.t.Helper()
	var all []persistence.Event
	for e, err := range s.Events(s.ctx(), pid(id), from, to) {
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// sequence is the sequence numbers of an entity's journal.
func (s *suite) sequence(id string) []int64 {
	s.t.Helper()
	var all []int64
	for _, e := range s.events(id, 1, 0) {
		all = append(all, e.SeqNr)
	}
	return all
}

// whole demands that the journal of id is 1..n without gap and the index row agrees.
func (s *suite) whole(id string, n int64) {
	s.t.Helper()
	got := s.sequence(id)
	for i, seq := range got {
		if seq != int64(i)+1 {
			s.t.Fatalf("the journal of %s is %v: a gap or a wrong order", id, got)
		}
	}
	if int64(len(got)) != n {
		s.t.Fatalf("%s has %d events, want %d", id, len(got), n)
	}
	row, found, err := s.Row(s.ctx(), id)
	if err != nil || found != (n > 0) || row.Revision != n {
		s.t.Fatalf("index row of %s: %v %v %v, want revision %d", id, row, found, err, n)
	}
}

// recover reads one entity.
func (s *suite) recover(id string) persistence.Recovery {
	s.t.Helper()
	for r, err := range s.Recover(s.ctx(), []string{pid(id)}) {
		if err != nil {
			s.t.Fatal(err)
		}
		return r
	}
	s.t.Fatal("Recover gave nothing")
	return persistence.Recovery{}
}

func pid(id string) string { return "connection:" + id }

// sameJSON compares documents by meaning: a store may keep them in a form of its own.
func sameJSON(t testing.TB, got, want json.RawMessage) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("no JSON came back: %q", got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// together calls f(0) … f(n-1) at the same moment and waits for all.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}
