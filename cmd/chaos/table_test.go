package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	good := result{Scenario: "kill", Commands: map[string]int{"done": 90, "unknown": 10}, Published: 500, Again: 7, Budget: unproved,
		Answered: quantiles{P50: 4 * time.Second, P99: 5 * time.Second, Max: 5500 * time.Millisecond, N: 10}, Reopened: quantiles{P50: 5 * time.Second, P99: 6 * time.Second, Max: 7 * time.Second, N: 10}}
	worse := good
	worse.Answered.P99, worse.Reopened.Max, worse.Reopened.Never = 7*time.Second, never, 1
	frozenOnly := result{Scenario: "stop", Commands: map[string]int{"done": 1}, Frozen: 40}
	bad := result{Scenario: "term", Planned: true, Commands: map[string]int{"done": 1}}
	bad.fail(&bad.DoubleClients, "x: two links")
	bad.fail(&bad.DoubleClients, "y: two links (cut)")
	bad.Severed = 1
	bad.failMany(&bad.Lost, 12, []string{"a", "b", "c", "d"})

	print := func(judge bool, results ...result) string {
		var out bytes.Buffer
		printTable(&out, append(summarize(results), summary{result: result{Scenario: "steal"}, skip: "needs 2 nodes"}), judge)
		return out.String()
	}
	// cells are the columns of a line, found by its first.
	cells := func(table, name string) []string {
		t.Helper()
		for line := range strings.Lines(table) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == name {
				return f
			}
		}
		t.Fatalf("no line %s in\n%s", name, table)
		return nil
	}
	last := func(f []string) string { return f[len(f)-1] }

	text := print(true, good, good)
	f := cells(text, "kill")
	if f[1] != "2" || last(f) != "ok" || !strings.Contains(text, "200 (20)") || !strings.Contains(text, "1000 (14)") || !strings.Contains(text, "4.0s/5.0s/5.5s (6.0s)") {
		t.Errorf("two good rounds:\n%s", text)
	}
	if text := print(true, good, worse); last(cells(text, "kill")) != "BROKEN" || !strings.Contains(text, "answered p99 7.0s > 6.0s") || !strings.Contains(text, "reopened never > 10.0s") {
		t.Errorf("late, judged:\n%s", text)
	}
	if text := print(false, good, worse); last(cells(text, "kill")) != "late" {
		t.Errorf("late, reported:\n%s", text)
	}
	if f := cells(print(true, frozenOnly), "stop"); f[2] != "0+40f" || last(f) != "ok" {
		t.Errorf("take-overs of frozen links: %v", f)
	}
	text = print(true, bad)
	if f := cells(text, "term"); f[2] != "1+1c" || f[8] != "12" || last(f) != "BROKEN" {
		t.Errorf("broken: %v", f)
	}
	for _, want := range []string{"term: lost: 12", "x: two links", "needs 2 nodes"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if len(bad.Lost.First) != shown {
		t.Errorf("%d causes are kept, want %d", len(bad.Lost.First), shown)
	}
	if line := bad.line(true); !strings.Contains(line, "BROKEN: double clients 2, lost 12") {
		t.Error(line)
	}
	if line := worse.line(false); !strings.Contains(line, " late: answered p99 7.0s > 6.0s") || strings.Contains(line, "BROKEN") {
		t.Error(line)
	}
}

// TestEveryInvariantBreaks: a count in any of the columns makes a round broken.
func TestEveryInvariantBreaks(t *testing.T) {
	for _, i := range invariants {
		r := result{Commands: map[string]int{}}
		if len(r.broken()) != 0 {
			t.Fatal("a round without findings is broken")
		}
		r.fail(i.of(&r), "planted")
		if got := r.broken(); len(got) != 1 || got[0] != i.name+" 1" {
			t.Errorf("%s: %v", i.name, got)
		}
	}
}

func TestRecovery(t *testing.T) {
	type answer struct {
		sent, ended int // ms since the fault
		ok          bool
	}
	for name, row := range map[string]struct {
		answers []answer
		want    time.Duration
		longest time.Duration
	}{
		"not interrupted":            {[]answer{{0, 5, true}, {1000, 1004, true}, {2000, 2003, true}}, 5 * time.Millisecond, 5 * time.Millisecond},
		"one slow answer":            {[]answer{{0, 4800, true}, {5800, 5803, true}}, 4800 * time.Millisecond, 4800 * time.Millisecond},
		"answers, then interrupted":  {[]answer{{0, 5, true}, {1000, 1005, true}, {4000, 4100, false}, {4150, 5200, true}, {6200, 6203, true}}, 5200 * time.Millisecond, 1200 * time.Millisecond},
		"interrupted for short only": {[]answer{{0, 5, true}, {1000, 1010, false}, {1060, 1063, true}, {2000, 2002, true}}, 1063 * time.Millisecond, 63 * time.Millisecond},
		"never":                      {[]answer{{0, 10000, false}, {10050, 20000, false}}, never, never},
		"lost again at the end":      {[]answer{{0, 5, true}, {1000, 11000, false}}, never, never},
		"not asked":                  {nil, never, never},
	} {
		t.Run(name, func(t *testing.T) {
			var r recovery
			for _, a := range row.answers {
				r.answer(time.Duration(a.sent)*time.Millisecond, time.Duration(a.ended)*time.Millisecond, a.ok)
			}
			if got := r.time(); got != row.want {
				t.Fatalf("%v, want %v", got, row.want)
			}
			if got := r.length(); got != row.longest {
				t.Fatalf("longest %v, want %v", got, row.longest)
			}
		})
	}
}

func TestQuantiles(t *testing.T) {
	var times []time.Duration
	for i := 100; i > 0; i-- {
		times = append(times, time.Duration(i)*time.Millisecond)
	}
	q := quantilesOf(times)
	if q.P50 != 50*time.Millisecond || q.P99 != 99*time.Millisecond || q.Max != 100*time.Millisecond || q.N != 100 {
		t.Fatalf("%+v", q)
	}
	if q := quantilesOf([]time.Duration{time.Second, never}); q.Max != never || q.Never != 1 || q.P50 != time.Second {
		t.Fatalf("%+v", q)
	}
	if q := quantilesOf(nil); q.String() != "-" {
		t.Fatal(q)
	}
}
