package persistencetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"hawser/persistence"
)

// childVariable carries the location of the database to the process that is to die.
const childVariable = "HAWSER_PERSISTENCETEST_CHILD"

// writers is the number of entities that the dying process writes.
const writers = 48

// Child is the dying half of Crash: in a process that Crash started it opens the store, writes until it is killed and never
// returns; in any other it returns at once. TestMain calls it first.
func Child(open func(location string) (persistence.Store, error)) {
	location := os.Getenv(childVariable)
	if location == "" {
		return
	}
	if err := writeForEver(location, open); err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	os.Exit(1)
}

func writeForEver(location string, open func(location string) (persistence.Store, error)) error {
	ctx := context.Background()
	s, err := open(location)
	if err != nil {
		return err
	}
	if err := s.Init(ctx, persistence.KindConnection, shards); err != nil {
		return err
	}
	member := persistence.MemberID(fmt.Sprintf("child-%d", os.Getpid()))
	if err := s.Join(ctx, persistence.Member{ID: member}); err != nil {
		return err
	}
	leases, err := s.Claim(ctx, member, shardRefs(0))
	if err != nil || len(leases) != 1 {
		return fmt.Errorf("claimed %v: %w", leases, err)
	}
	fmt.Println("lease", member, leases[0].Epoch)
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			id := fmt.Sprintf("e-%d", w)
			last := int64(0)
			for r, err := range s.Recover(ctx, []string{pid(id)}) {
				if err != nil {
					failed <- err
					return
				}
				last = r.LastSeq
			}
			for {
				last++
				if err := s.Append(ctx, NewAppend(leases[0], id, last)); err != nil {
					failed <- err
					return
				}
				fmt.Println("written", id, last) // one write to the pipe: whole or not at all
			}
		}()
	}
	return <-failed
}

// Crash kills a process with kill -9 while it writes to the database at location, twice, and opens the database afterwards:
// what was acknowledged is there, what was not is there whole or not at all, nothing has a gap, and the dead member's lease is
// worth nothing once it is buried.
func Crash(t *testing.T, location string, database Database) {
	acknowledged := map[string]int64{}
	for round := range 2 {
		dead := kill(t, location, acknowledged)
		store := database(t)
		s := &suite{Store: store, t: t}
		if _, there := s.member(dead.Owner); there { // a store of one node has buried it already
			s.bury(dead.Owner, 0, true, true)
		}
		lease := Own(t, s, persistence.MemberID(fmt.Sprintf("after-%d", round)))
		if lease.Epoch <= dead.Epoch {
			t.Fatalf("epoch %d after %d", lease.Epoch, dead.Epoch)
		}
		unacknowledged := 0
		for w := range writers {
			id := fmt.Sprintf("e-%d", w)
			n := int64(len(s.sequence(id)))
			if acked := acknowledged[id]; n < acked || n > acked+1 {
				t.Fatalf("%s: %d events, %d acknowledged", id, n, acked)
			}
			unacknowledged += int(n - acknowledged[id])
			s.whole(id, n)
			if r := s.recover(id); r.LastSeq != n {
				t.Fatalf("%s: recovered up to %d, want %d", id, r.LastSeq, n)
			}
			s.refused(NewAppend(dead, id, n+1), persistence.ErrFenced)
			s.append(NewAppend(lease, id, n+1))
			acknowledged[id] = n + 1
		}
		t.Logf("round %d: %d rows were written and not acknowledged", round, unacknowledged)
		if err := s.Leave(s.ctx(), lease.Owner); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// kill runs a child until it has acknowledged a thousand rows, kills it, and returns its lease.
func kill(t *testing.T, location string, acknowledged map[string]int64) (lease persistence.Lease) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^$")
	child.Env = append(os.Environ(), childVariable+"="+location)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end := func() { once.Do(func() { _ = child.Process.Kill() }) }
	timer := time.AfterFunc(patience, end)
	defer timer.Stop()
	lease.Shard = persistence.ShardRef{Kind: persistence.KindConnection, Number: 0}
	const enough = 1000
	rows := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() { // to the end of the pipe: what was written before the kill counts
		var id string
		var n int64
		switch line := lines.Text(); {
		case scanned(line, "written %s %d", &id, &n):
			acknowledged[id] = max(acknowledged[id], n)
			if rows++; rows == enough {
				end()
			}
		case scanned(line, "lease %s %d", &lease.Owner, &lease.Epoch):
		default:
			t.Errorf("the child says %q", line)
		}
	}
	_ = child.Wait()
	if rows < enough {
		t.Fatalf("the child acknowledged %d rows only", rows)
	}
	return lease
}

func scanned(line, format string, into ...any) bool {
	n, err := fmt.Sscanf(line, format, into...)
	return err == nil && n == len(into)
}
