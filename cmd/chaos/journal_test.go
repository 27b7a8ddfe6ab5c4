package main

import (
	"strings"
	"testing"
)

func TestOrderOfTheJournal(t *testing.T) {
	row := func(pid string, seq, epoch int64) event { return event{pid: pid, seq: seq, epoch: epoch} }
	for name, c := range map[string]struct {
		events []event
		gaps   int
		back   int
	}{
		"in order":                {events: []event{row("a", 1, 3), row("a", 2, 3), row("a", 3, 5), row("b", 1, 1)}},
		"gap":                     {events: []event{row("a", 1, 1), row("a", 3, 1)}, gaps: 1},
		"does not begin with one": {events: []event{row("a", 2, 1)}, gaps: 1},
		"gap in the second":       {events: []event{row("a", 1, 1), row("b", 1, 1), row("b", 4, 1)}, gaps: 1},
		"epoch goes back":         {events: []event{row("a", 1, 4), row("a", 2, 5), row("a", 3, 4)}, back: 1},
		"back between entities":   {events: []event{row("a", 1, 4), row("b", 1, 1)}},
		"both":                    {events: []event{row("a", 1, 4), row("a", 3, 2)}, gaps: 1, back: 1},
	} {
		t.Run(name, func(t *testing.T) {
			gaps, back := checkOrder(c.events)
			if len(gaps) != c.gaps || len(back) != c.back {
				t.Fatalf("gaps %v, back %v; want %d and %d", gaps, back, c.gaps, c.back)
			}
		})
	}
}

func TestExecutions(t *testing.T) {
	op := func(k kind, correlation string, out outcome) operation {
		return operation{ID: "x", Kind: k, Correlation: correlation, Name: "name-" + correlation, Outcome: out}
	}
	row := func(seq int64, correlation, request, name string) event {
		return event{pid: "connection:x", seq: seq, correlation: correlation, requestID: request, name: name}
	}
	for name, c := range map[string]struct {
		operations []operation
		events     []event
		missing    string
		twice      string
	}{
		"each once": {operations: []operation{op(create, "1", done), op(closeIt, "2", done), op(retrieveIt, "3", done)},
			events: []event{row(1, "1", "r1", "name-1"), row(2, "2", "r2", "")}},
		"acknowledged and missing": {operations: []operation{op(create, "1", done), op(openIt, "2", done)}, events: []event{row(1, "1", "r1", "name-1")}, missing: "open"},
		"executed twice":           {operations: []operation{op(openIt, "1", done)}, events: []event{row(1, "1", "r1", ""), row(2, "1", "r2", "")}, twice: "events 1 and 2 are of open"},
		"unknown, not executed":    {operations: []operation{op(modify, "1", unknown)}},
		"unknown, executed":        {operations: []operation{op(modify, "1", unknown)}, events: []event{row(1, "1", "r1", "name-1")}},
		"unknown, twice":           {operations: []operation{op(modify, "1", unknown)}, events: []event{row(1, "1", "r1", "name-1"), row(2, "1", "r1", "name-1")}, twice: "events 1 and 2 are of modify"},
		"refused, executed":        {operations: []operation{op(modify, "1", refused)}, events: []event{row(1, "1", "r1", "name-1")}, twice: "answered with refused"},
		"absent, executed":         {operations: []operation{op(deleteIt, "1", absent)}, events: []event{row(1, "1", "r1", "")}, twice: "answered with absent"},
		"request id twice":         {events: []event{row(1, "", "r1", ""), row(2, "", "r1", "")}, twice: "the request id r1"},
		"name twice":               {events: []event{row(1, "", "", "n"), row(2, "", "", "n")}, twice: "the name connection:x n"},
		"no header kept":           {events: []event{row(1, "", "r1", "a"), row(2, "", "r2", "b"), row(3, "", "", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			missing, twice := checkExecutions(c.operations, c.events)
			for what, pair := range map[string][2]string{"missing": {strings.Join(missing, "\n"), c.missing}, "twice": {strings.Join(twice, "\n"), c.twice}} {
				if got, want := pair[0], pair[1]; (got == "") != (want == "") || !strings.Contains(got, want) {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			}
		})
	}
}
