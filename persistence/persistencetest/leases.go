package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"hawser/persistence"
)

func shardRefs(numbers ...int) []persistence.ShardRef {
	refs := make([]persistence.ShardRef, len(numbers))
	for i, n := range numbers {
		refs[i] = persistence.ShardRef{Kind: persistence.KindConnection, Number: n}
	}
	return refs
}

// join makes a member.
func (s *suite) join(id persistence.MemberID) {
	s.t.Helper()
	m := persistence.Member{ID: id, Address: "127.0.0.1:2551", Instance: "box-1", Kinds: []string{"connection", "singleton"}, Proc: "boot:ns:1:2"}
	if err := s.Join(s.ctx(), m); err != nil {
		s.t.Fatal(err)
	}
}

// claim takes shards and demands exactly those that are expected.
func (s *suite) claim(id persistence.MemberID, want, expect []int) []persistence.Lease {
	s.t.Helper()
	leases, err := s.Claim(s.ctx(), id, shardRefs(want...))
	if err != nil {
		s.t.Fatal(err)
	}
	var got []int
	for _, l := range leases {
		if l.Owner != id {
			s.t.Fatalf("claimed for %q, want %q", l.Owner, id)
		}
		got = append(got, l.Shard.Number)
	}
	slices.Sort(got)
	if !slices.Equal(got, expect) {
		s.t.Fatalf("%s claimed %v, want %v", id, got, expect)
	}
	return leases
}

// member reads one member.
func (s *suite) member(id persistence.MemberID) (persistence.Member, bool) {
	s.t.Helper()
	members, _, err := s.Members(s.ctx())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range members {
		if m.ID == id {
			return m, true
		}
	}
	return persistence.Member{}, false
}

// alive beats, naming whom the member cannot reach, and demands the answer.
func (s *suite) alive(id persistence.MemberID, want bool, unreachable ...persistence.MemberID) {
	s.t.Helper()
	if alive, err := s.Beat(s.ctx(), id, unreachable); err != nil || alive != want {
		s.t.Fatalf("beat of %s: %v %v, want %v", id, alive, err, want)
	}
}

// bury demands the answer of a burial.
func (s *suite) bury(id persistence.MemberID, seen int64, proof, want bool) {
	s.t.Helper()
	if buried, err := s.Bury(s.ctx(), id, seen, proof); err != nil || buried != want {
		s.t.Fatalf("burial of %s: %v %v, want %v", id, buried, err, want)
	}
}

// owners reads the epochs by shard, and the owner.
func (s *suite) owners() map[int]persistence.Lease {
	s.t.Helper()
	leases, err := s.Shards(s.ctx())
	if err != nil {
		s.t.Fatal(err)
	}
	owners := map[int]persistence.Lease{}
	for _, l := range leases {
		if l.Shard.Kind == persistence.KindConnection {
			owners[l.Shard.Number] = l
		}
	}
	return owners
}

func shardCount(t *testing.T, s *suite) {
	if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
		t.Fatal(err)
	}
	if err := s.Init(s.ctx(), persistence.KindSingleton, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
		t.Fatalf("the same number again: %v", err)
	}
	for _, other := range []int{shards - 1, shards + 1} {
		if err := s.Init(s.ctx(), persistence.KindConnection, other); !errors.Is(err, persistence.ErrShardCount) {
			t.Fatalf("another number: %v, want ErrShardCount", err)
		}
	}
	if got := len(s.owners()); got != shards {
		t.Fatalf("%d shards, want %d", got, shards)
	}
	if err := s.Init(s.ctx(), persistence.KindSingleton, 3); err != nil { // a newer hawser has more of them
		t.Fatal(err)
	}
	all, err := s.Shards(s.ctx())
	if err != nil || len(all) != shards+3 {
		t.Fatalf("%d shards %v, want %d", len(all), err, shards+3)
	}
}

func claims(t *testing.T, s *suite) {
	if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
		t.Fatal(err)
	}
	s.claim("stranger", []int{0}, nil) // never joined
	s.join("m1")
	s.join("m2")
	first := s.claim("m1", []int{0, 1, 2}, []int{0, 1, 2})
	s.claim("m1", []int{0, 1, 2}, nil) // owned already
	s.claim("m2", []int{2, 3, 99}, []int{3})
	for _, l := range first {
		if l.Epoch < 1 {
			t.Fatalf("epoch %d of a claim", l.Epoch)
		}
	}

	s.append(NewAppend(first[0], "a", 1))
	if err := s.Release(s.ctx(), "m2", shardRefs(0)); err != nil { // not his
		t.Fatal(err)
	}
	s.append(NewAppend(first[0], "a", 2))
	if err := s.Release(s.ctx(), "m1", shardRefs(0, 1)); err != nil {
		t.Fatal(err)
	}
	s.refused(NewAppend(first[0], "a", 3), persistence.ErrFenced)
	second := s.claim("m2", []int{0, 1, 2}, []int{0, 1})
	if second[0].Epoch <= first[0].Epoch {
		t.Fatalf("epoch %d after %d", second[0].Epoch, first[0].Epoch)
	}
	s.refused(NewAppend(first[0], "a", 3), persistence.ErrFenced)
	stolen := second[0]
	stolen.Owner = "m1"
	s.refused(NewAppend(stolen, "a", 3), persistence.ErrFenced)
	s.append(NewAppend(second[0], "a", 3))

	if err := s.SetDraining(s.ctx(), "m2"); err != nil {
		t.Fatal(err)
	}
	m, _ := s.member("m2")
	if !m.Draining || m.Instance != "box-1" || m.Address != "127.0.0.1:2551" || !slices.Equal(m.Kinds, []string{"connection", "singleton"}) || m.Proc != "boot:ns:1:2" {
		t.Fatalf("member %+v", m)
	}
	s.append(NewAppend(second[0], "a", 4)) // draining, but still the owner
	if err := s.Leave(s.ctx(), "m2"); err != nil {
		t.Fatal(err)
	}
	s.refused(NewAppend(second[0], "a", 5), persistence.ErrFenced)
	s.alive("m2", false)
	if _, there := s.member("m2"); there {
		t.Fatal("m2 left and is still a member")
	}
	s.claim("m2", []int{0}, nil)
	third := s.claim("m1", []int{0, 1, 3}, []int{0, 1, 3})
	s.append(NewAppend(third[slices.IndexFunc(third, func(l persistence.Lease) bool { return l.Shard.Number == 0 })], "a", 5))
	s.whole("a", 5)
	if err := s.Leave(s.ctx(), "m2"); err != nil {
		t.Fatalf("leaving twice: %v", err)
	}
}

func burials(t *testing.T, s *suite) {
	if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
		t.Fatal(err)
	}
	s.join("m1")
	s.join("m2")
	lease := s.claim("m1", []int{0}, []int{0})[0]
	s.append(NewAppend(lease, "a", 1))
	s.alive("m1", true)
	seen, _ := s.member("m1")
	s.alive("m1", true)
	if now, _ := s.member("m1"); now.Beat <= seen.Beat {
		t.Fatalf("beat %d after %d", now.Beat, seen.Beat)
	}
	s.bury("m1", seen.Beat, false, false) // it has beaten since
	s.append(NewAppend(lease, "a", 2))
	seen, _ = s.member("m1")
	if len(seen.Unreachable) != 0 {
		t.Fatalf("m1 reaches all and is read as %+v", seen)
	}
	s.alive("m1", true, "m2", "m'3")
	seen, _ = s.member("m1")
	if !slices.Equal(seen.Unreachable, []persistence.MemberID{"m2", "m'3"}) {
		t.Fatalf("m1 reaches neither m2 nor m'3 and is read as %+v", seen)
	}
	s.alive("m1", true)
	if seen, _ = s.member("m1"); len(seen.Unreachable) != 0 {
		t.Fatalf("m1 reaches all again and is read as %+v", seen)
	}
	s.bury("m1", seen.Beat, false, true)
	s.bury("m1", seen.Beat, false, false)
	s.bury("m1", seen.Beat, true, false)
	s.refused(NewAppend(lease, "a", 3), persistence.ErrFenced)
	if err := s.SaveSnapshot(s.ctx(), lease, persistence.Snapshot{PID: pid("a"), SeqNr: 2, Payload: []byte(`{}`)}); !errors.Is(err, persistence.ErrFenced) {
		t.Fatalf("snapshot of a buried member: %v, want ErrFenced", err)
	}
	s.alive("m1", false)
	s.claim("m1", []int{0, 1}, nil)
	lease = s.claim("m2", []int{0}, []int{0})[0]
	s.append(NewAppend(lease, "a", 3))

	s.join("m3") // the buried one again, as a new incarnation
	s.alive("m3", true)
	s.bury("m2", -1, true, true) // with proof, whatever its beat
	s.refused(NewAppend(lease, "a", 4), persistence.ErrFenced)
	lease = s.claim("m3", []int{0}, []int{0})[0]
	s.append(NewAppend(lease, "a", 4))
	s.whole("a", 4)

	_, session, err := s.Members(s.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := s.Members(s.ctx()); err != nil || again != session {
		t.Fatalf("session %d, then %d %v: an undisturbed session changed its number", session, again, err)
	}
}

// releaseWaits releases a shard while its entities append: once Release has returned nothing more appears under the old lease.
func releaseWaits(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	const writers = 16
	ctx, stop := context.WithCancel(s.ctx())
	defer stop()
	var all sync.WaitGroup
	var written [writers]atomic.Int64
	var wrong atomic.Pointer[error]
	for w := range writers {
		all.Go(func() {
			for seq := int64(1); ctx.Err() == nil; seq++ {
				err := s.Append(s.ctx(), NewAppend(lease, fmt.Sprintf("e-%d", w), seq))
				if err != nil {
					if !errors.Is(err, persistence.ErrFenced) {
						wrong.Store(&err)
					}
					return
				}
				written[w].Store(seq)
			}
		})
	}
	Until(t, "all write", func() bool {
		for w := range writers {
			if written[w].Load() < 5 && wrong.Load() == nil {
				return false
			}
		}
		return true
	})
	if err := s.Release(s.ctx(), "m", shardRefs(0)); err != nil {
		t.Fatal(err)
	}
	var after [writers]int64
	for w := range writers {
		after[w] = int64(len(s.sequence(fmt.Sprintf("e-%d", w))))
	}
	all.Wait()
	if err := wrong.Load(); err != nil {
		t.Fatal(*err)
	}
	again := s.claim("m", []int{0}, []int{0})[0]
	for w := range writers {
		id := fmt.Sprintf("e-%d", w)
		s.whole(id, after[w])
		if written[w].Load() != after[w] {
			t.Fatalf("%s: %d acknowledged, %d written", id, written[w].Load(), after[w])
		}
		s.append(NewAppend(again, id, after[w]+1))
	}
}

// epochs drives shards through every way of changing hands and watches their epochs.
func epochs(t *testing.T, s *suite) {
	if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
		t.Fatal(err)
	}
	highest := map[int]persistence.Epoch{}
	step := func(what string, grows bool) {
		t.Helper()
		for n, l := range s.owners() {
			if l.Epoch < highest[n] || n == 0 && grows && l.Epoch == highest[n] {
				t.Fatalf("%s: epoch %d of shard %d after %d", what, l.Epoch, n, highest[n])
			}
			highest[n] = l.Epoch
		}
	}
	step("start", false)
	seq := int64(0)
	for round := range 5 {
		m := persistence.MemberID(fmt.Sprintf("m-%d", round))
		s.join(m)
		step("join", false)
		lease := s.claim(m, []int{0, 1}, []int{0, 1})[0]
		step("claim", true)
		if err := s.Init(s.ctx(), persistence.KindConnection, shards); err != nil {
			t.Fatal(err)
		}
		step("init", false)
		if err := s.Release(s.ctx(), m, shardRefs(0, 1)); err != nil {
			t.Fatal(err)
		}
		step("release", true)
		s.refused(NewAppend(lease, "a", seq+1), persistence.ErrFenced)
		leases := s.claim(m, []int{0, 1}, []int{0, 1})
		step("claim again", true)
		lease = leases[slices.IndexFunc(leases, func(l persistence.Lease) bool { return l.Shard.Number == 0 })]
		seq++
		s.append(NewAppend(lease, "a", seq))
		if round%2 == 0 {
			s.bury(m, 0, true, true)
			step("burial", true)
		} else {
			if err := s.Leave(s.ctx(), m); err != nil {
				t.Fatal(err)
			}
			step("leave", true)
		}
	}
	last := persistence.Epoch(0)
	for _, e := range s.events("a", 1, 0) {
		if e.Epoch <= last {
			t.Fatalf("event %d was written in epoch %d, the one before in %d", e.SeqNr, e.Epoch, last)
		}
		last = e.Epoch
	}
}

func reopening(t *testing.T, s *suite) {
	lease := Own(t, s, "m")
	s.appendTo(lease, "a", 1, 12)
	before := s.owners()[0].Epoch
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Store = s.database(t)
	s.whole("a", 12)
	if r := s.recover("a"); r.Snapshot == nil || r.Snapshot.SeqNr != 10 || len(r.Events) != 2 {
		t.Fatalf("recovered %+v", r)
	}
	if _, there := s.member("m"); there { // a store of one node may have buried it already
		s.bury("m", 0, true, true)
	}
	s.refused(NewAppend(lease, "a", 13), persistence.ErrFenced)
	if err := s.Init(s.ctx(), persistence.KindConnection, shards+1); !errors.Is(err, persistence.ErrShardCount) {
		t.Fatalf("another number of shards: %v, want ErrShardCount", err)
	}
	lease = Own(t, s, "m'")
	if lease.Epoch <= before {
		t.Fatalf("epoch %d after %d", lease.Epoch, before)
	}
	s.append(NewAppend(lease, "a", 13))
	s.whole("a", 13)
}

func sideBySide(t *testing.T, s *suite) {
	other := &suite{Store: s.newDatabase(t)(t), t: t}
	here, there := Own(t, s, "m"), Own(t, other, "m")
	together(2, func(i int) {
		if i == 0 {
			s.appendTo(here, "a", 1, 50)
		} else {
			other.appendTo(there, "a", 1, 30)
		}
	})
	s.whole("a", 50)
	other.whole("a", 30)
	s.bury("m", 0, true, true)
	s.refused(NewAppend(here, "a", 51), persistence.ErrFenced)
	other.append(NewAppend(there, "a", 31))
	if err := other.Purge(s.ctx(), pid("a")); err != nil {
		t.Fatal(err)
	}
	s.whole("a", 50)
	other.whole("a", 0)
}
