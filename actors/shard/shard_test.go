package shard

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"hawser/persistence"
)

// The values are those of operations.md 6.2.
func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		id             string
		twenty, fifty_ int
	}{{"my-conn", 17, 37}, {"connection-1", 10, 0}, {"ditto", 18, 38}} {
		if a, b := Number(tt.id, 20), Number(tt.id, 50); a != tt.twenty || b != tt.fifty_ {
			t.Errorf("%s: %d of 20 and %d of 50, want %d and %d", tt.id, a, b, tt.twenty, tt.fifty_)
		}
	}
	// "polygenelubricants" is the known string whose hash is the smallest int32.
	if n := Number("polygenelubricants", 64); n != 0 {
		t.Errorf("hash MIN_VALUE: shard %d, want 0", n)
	}
}

func TestObserverNext(t *testing.T) {
	start := time.Now()
	o := Observer{TTL: 5 * time.Second}
	read := func(after time.Duration, members ...persistence.Member) {
		o.Observe("me", members, 1, start.Add(after))
	}
	want := func(what string, at, want time.Duration) {
		t.Helper()
		if got := o.Next(start.Add(at)); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("nobody", 0, 0)
	read(0, persistence.Member{ID: "b", Beat: 1}, persistence.Member{ID: "me", Beat: 1})
	want("first read", time.Second, 4*time.Second)
	read(2*time.Second, persistence.Member{ID: "b", Beat: 2}, persistence.Member{ID: "c", Beat: 1})
	read(3*time.Second, persistence.Member{ID: "b", Beat: 3}, persistence.Member{ID: "c", Beat: 1})
	want("the one that beat first", 4*time.Second, 3*time.Second)
	want("one is silent, the other not yet", 7*time.Second, time.Second)
	want("both are silent", 9*time.Second, 0)
}

func TestObserver(t *testing.T) {
	start := time.Now()
	type read struct {
		after   time.Duration
		session int64
		beats   map[persistence.MemberID]int64
		silent  string // the one that is, "" for none
	}
	for _, tt := range []struct {
		name  string
		reads []read
	}{
		{"a beating member is left alone", []read{{0, 1, beats("b", 1), ""}, {4 * time.Second, 1, beats("b", 2), ""}, {8 * time.Second, 1, beats("b", 3), ""}}},
		{"the same beat for a TTL", []read{{0, 1, beats("b", 1), ""}, {5*time.Second - 1, 1, beats("b", 1), ""}, {5 * time.Second, 1, beats("b", 1), "b"}}},
		{"a new session forgets", []read{{0, 1, beats("b", 1), ""}, {6 * time.Second, 2, beats("b", 1), ""}, {10 * time.Second, 2, beats("b", 1), ""}, {11 * time.Second, 2, beats("b", 1), "b"}}},
		{"never oneself", []read{{0, 1, beats("me", 1), ""}, {time.Minute, 1, beats("me", 1), ""}}},
		{"one that went and came", []read{{0, 1, beats("b", 1), ""}, {2 * time.Second, 1, beats("c", 1), ""}, {6 * time.Second, 1, beats("b", 1), ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Observer{TTL: 5 * time.Second}
			for i, r := range tt.reads {
				var members []persistence.Member
				for id, beat := range r.beats {
					members = append(members, persistence.Member{ID: id, Beat: beat})
				}
				got := ""
				for _, s := range o.Observe("me", members, r.session, start.Add(r.after)) {
					got += string(s.ID)
					if s.Beat != r.beats[s.ID] {
						t.Errorf("read %d: beat %d", i, s.Beat)
					}
				}
				if got != r.silent {
					t.Errorf("read %d: silent %q, want %q", i, got, r.silent)
				}
			}
		})
	}
}

func beats(id persistence.MemberID, beat int64) map[persistence.MemberID]int64 {
	return map[persistence.MemberID]int64{id: beat}
}

func TestDead(t *testing.T) {
	const here = "127.0.0.1:2551"
	me := Process()
	if me == "" {
		t.Fatal("this kernel does not tell who we are: the proof of death cannot be tested")
	}
	if Dead(me, here) {
		t.Error("this process is taken for dead")
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	started, _, err := startTime(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(me)
	theirs := strings.Join([]string{fields[0], fields[1], strconv.Itoa(child.Process.Pid), started}, " ")
	if Dead(theirs, here) {
		t.Error("a running process is taken for dead")
	}
	for name, proc := range map[string]string{
		"another boot":      strings.Replace(theirs, fields[0], "0000", 1),
		"another namespace": strings.Replace(theirs, fields[1], "pid:[1]", 1),
		"unknown form":      "x",
		"empty":             "",
	} {
		if Dead(proc, here) {
			t.Errorf("%s: taken for dead", name)
		}
	}
	if !Dead(strings.Join([]string{fields[0], fields[1], strconv.Itoa(child.Process.Pid), started + "1"}, " "), here) {
		t.Error("the pid belongs to another process: dead")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for !Dead(theirs, here) { // a zombie until it is waited for
		if time.Now().After(deadline) {
			t.Fatal("a killed process that nobody waited for is not taken for dead")
		}
	}
	_ = child.Wait()
	if !Dead(theirs, here) {
		t.Error("a process that is gone is not taken for dead")
	}
	if Dead(theirs, "203.0.113.9:2551") {
		t.Error("the address is not of this machine: no proof")
	}
}

func TestTable(t *testing.T) {
	now := time.Now()
	table := newTable(func() time.Time { return now })
	ref := persistence.ShardRef{Kind: persistence.KindConnection, Number: 3}
	other := persistence.ShardRef{Kind: persistence.KindConnection, Number: 4}
	if _, ok := table.Lease(ref); ok || table.Valid() {
		t.Error("an empty table owns something")
	}
	table.join("me", now.Add(4*time.Second))
	if _, ok := table.Lease(ref); ok {
		t.Error("a member owns what it has not claimed")
	}
	table.own([]persistence.Lease{{Shard: ref, Epoch: 7}, {Shard: other, Epoch: 1}})
	if l, ok := table.Lease(ref); !ok || l != (persistence.Lease{Shard: ref, Owner: "me", Epoch: 7}) {
		t.Errorf("%+v %v", l, ok)
	}
	table.extend(now.Add(5 * time.Second))
	if now = now.Add(4 * time.Second); !table.Valid() {
		t.Error("not valid although the deadline was moved")
	}
	now = now.Add(time.Second)
	if _, ok := table.Lease(ref); ok || table.Valid() {
		t.Error("valid at the deadline")
	}
	if table.extend(now.Add(time.Second)); table.Valid() {
		t.Error("a beat that comes after the deadline brings the lease back")
	}
	table.drop([]persistence.ShardRef{ref})
	if _, ok := table.Lease(ref); ok {
		t.Error("owned after it was taken away")
	}
	if got := table.Owned(persistence.KindConnection); len(got) != 1 || got[0] != 4 {
		t.Errorf("owned %v", got)
	}
	table.leave()
	if _, ok := table.Lease(other); ok || table.Valid() {
		t.Error("something is left after leaving")
	}
}
