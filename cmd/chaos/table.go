package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// findings counts what must not happen, with the first of its causes.
type findings struct {
	Count int      `json:"count"`
	First []string `json:"first,omitempty"`
}

// result is what one round showed.
type result struct {
	Scenario    string `json:"scenario"`
	Title       string `json:"title"`
	Round       int    `json:"round"`
	Network     string `json:"network"`
	Nodes       int    `json:"nodes"`
	Connections int    `json:"connections"`
	Victim      string `json:"victim,omitempty"`
	Planned     bool   `json:"planned"`

	DoubleClients   findings `json:"doubleClients"` // live and cut
	Severed         int      `json:"doubleClientsCut"`
	Frozen          int      `json:"takeoversOfFrozenLinks"`
	DoubleActive    findings `json:"doubleActive"`
	Missing         findings `json:"missing"`
	Twice           findings `json:"twice"`
	NotLinearizable findings `json:"notLinearizable"`
	Undecided       int      `json:"undecided"`
	Gaps            findings `json:"journalGaps"`
	EpochBack       findings `json:"epochBack"`
	Lost            findings `json:"lost"`
	Failed          findings `json:"failedInPlannedMoves"`
	AtLeaving       int      `json:"failedAtLeavingNode"`
	NotBack         findings `json:"notBack"`
	Errors          findings `json:"errors"` // of this program: nothing was proved

	Commands  map[string]int `json:"commands"`
	Events    int            `json:"events"`
	Published int            `json:"published"`
	Arrived   int            `json:"arrived"`
	Again     int            `json:"again"`

	Affected int           `json:"affected"`
	Answered quantiles     `json:"answered"`
	Reopened quantiles     `json:"reopened"`
	Budget   budget        `json:"budget"`
	Took     time.Duration `json:"took"`
	Load     string        `json:"load"` // of the machine in the last minute, runnable processes

	operations []operation
}

// shown is how many causes of one kind are kept.
const shown = 3

func (r *result) fail(f *findings, text string) { r.failMany(f, 1, []string{text}) }

func (r *result) failAll(f *findings, texts []string) { r.failMany(f, len(texts), texts) }

func (r *result) failMany(f *findings, n int, texts []string) {
	f.Count += n
	f.First = append(f.First, texts[:min(len(texts), max(0, shown-len(f.First)))]...)
}

// invariant is a count that must be 0.
type invariant struct {
	name string
	of   func(*result) *findings
}

var invariants = []invariant{
	{"double clients", func(r *result) *findings { return &r.DoubleClients }},
	{"double active", func(r *result) *findings { return &r.DoubleActive }},
	{"missing", func(r *result) *findings { return &r.Missing }},
	{"twice", func(r *result) *findings { return &r.Twice }},
	{"not linear.", func(r *result) *findings { return &r.NotLinearizable }},
	{"journal gaps", func(r *result) *findings { return &r.Gaps }},
	{"epoch back", func(r *result) *findings { return &r.EpochBack }},
	{"lost", func(r *result) *findings { return &r.Lost }},
	{"failed", func(r *result) *findings { return &r.Failed }},
	{"not back", func(r *result) *findings { return &r.NotBack }},
	{"errors", func(r *result) *findings { return &r.Errors }},
}

// broken names the invariants that a round broke.
func (r *result) broken() []string {
	var out []string
	for _, i := range invariants {
		if n := i.of(r).Count; n > 0 {
			out = append(out, fmt.Sprintf("%s %d", i.name, n))
		}
	}
	return out
}

// late names the times of a round that are over their budget.
func (r *result) late() []string {
	var out []string
	if b := r.Budget.Answered; b > 0 && r.Answered.N > 0 && r.Answered.P99 > b {
		out = append(out, fmt.Sprintf("answered p99 %s > %s", short(r.Answered.P99), short(b)))
	}
	if b := r.Budget.Reopened; b > 0 && r.Reopened.N > 0 && r.Reopened.Max > b {
		out = append(out, fmt.Sprintf("reopened %s > %s", short(r.Reopened.Max), short(b)))
	}
	return out
}

// line is the progress line of a round.
func (r *result) line(judgeTimes bool) string {
	verdict := "ok"
	broken, late := r.broken(), r.late()
	if judgeTimes {
		broken, late = append(broken, late...), nil
	}
	if len(late) > 0 {
		verdict = "late: " + strings.Join(late, ", ")
	}
	if len(broken) > 0 {
		verdict = "BROKEN: " + strings.Join(append(broken, late...), ", ")
	}
	return fmt.Sprintf("%-17s %d  %-10s %3.0f s  %s; %d commands (%d unknown), %d messages (%d again), answered %s, reopened %s, load %s",
		r.Scenario, r.Round, r.Network, r.Took.Seconds(), verdict, r.total(), r.Commands[unknown.String()], r.Published, r.Again, r.Answered, r.Reopened, r.Load)
}

func (r *result) total() (n int) {
	for _, count := range r.Commands {
		n += count
	}
	return n
}

func (q quantiles) String() string {
	if q.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%s/%s/%s", short(q.P50), short(q.P99), short(q.Max))
}

// short is a time with the digits that matter.
func short(d time.Duration) string {
	switch {
	case d == never:
		return "never"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	default:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
}

// line of the table: the rounds of one scenario together.
type summary struct {
	result
	rounds int
	skip   string // why it did not run
}

// summarize adds up the rounds of each scenario, in order, and takes the worst times.
func summarize(results []result) []summary {
	var out []summary
	for _, r := range results {
		if len(out) == 0 || out[len(out)-1].Scenario != r.Scenario {
			out = append(out, summary{result: result{Scenario: r.Scenario, Title: r.Title, Network: r.Network, Planned: r.Planned, Budget: r.Budget, Commands: map[string]int{}}})
		}
		s := &out[len(out)-1]
		s.rounds++
		for _, i := range invariants {
			from := i.of(&r)
			s.failMany(i.of(&s.result), from.Count, from.First)
		}
		s.Frozen, s.Severed, s.Undecided, s.AtLeaving = s.Frozen+r.Frozen, s.Severed+r.Severed, s.Undecided+r.Undecided, s.AtLeaving+r.AtLeaving
		s.Published, s.Again, s.Events = s.Published+r.Published, s.Again+r.Again, s.Events+r.Events
		for outcome, n := range r.Commands {
			s.Commands[outcome] += n
		}
		s.Answered, s.Reopened = worse(s.Answered, r.Answered), worse(s.Reopened, r.Reopened)
	}
	return out
}

func worse(a, b quantiles) quantiles {
	return quantiles{P50: max(a.P50, b.P50), P99: max(a.P99, b.P99), Max: max(a.Max, b.Max), N: a.N + b.N, Never: a.Never + b.Never}
}

// printTable writes the table and, below it, the causes of what is not 0.
func printTable(w io.Writer, lines []summary, judgeTimes bool) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")+"\t") }
	row("scenario", "rounds", "double", "double", "miss-", "", "not", "journal", "", "", "not", "answered p50/p99/max", "reopened p50/p99/max", "commands", "messages", "")
	row("", "", "clients", "active", "ing", "twice", "linear.", "gap/epoch", "lost", "failed", "back", "(limit of p99)", "(limit of max)", "(unknown)", "(again)", "")
	row("allowed", "", "0", "0", "0", "0", "0", "0", "0", "0", "0", "", "", "", "", "")
	for _, s := range lines {
		if s.skip != "" {
			row(s.Scenario, "not run", "", "", "", "", "", "", "", "", "", s.skip, "", "", "", "")
			continue
		}
		clients := strconv.Itoa(s.DoubleClients.Count - s.Severed)
		if s.Severed > 0 {
			clients += fmt.Sprintf("+%dc", s.Severed)
		}
		if s.Frozen > 0 {
			clients += fmt.Sprintf("+%df", s.Frozen)
		}
		linear := strconv.Itoa(s.NotLinearizable.Count)
		if s.Undecided > 0 {
			linear += fmt.Sprintf("+%d?", s.Undecided)
		}
		failed := "-"
		if s.Planned {
			failed = strconv.Itoa(s.Failed.Count)
		}
		verdict := "ok"
		if len(s.broken()) > 0 || judgeTimes && len(s.late()) > 0 {
			verdict = "BROKEN"
		} else if len(s.late()) > 0 {
			verdict = "ok, late"
		}
		row(s.Scenario, strconv.Itoa(s.rounds), clients, strconv.Itoa(s.DoubleActive.Count), strconv.Itoa(s.Missing.Count), strconv.Itoa(s.Twice.Count),
			linear, fmt.Sprintf("%d/%d", s.Gaps.Count, s.EpochBack.Count), strconv.Itoa(s.Lost.Count), failed, strconv.Itoa(s.NotBack.Count),
			withLimit(s.Answered, s.Budget.Answered), withLimit(s.Reopened, s.Budget.Reopened),
			fmt.Sprintf("%d (%d)", s.total(), s.Commands[unknown.String()]), fmt.Sprintf("%d (%d)", s.Published, s.Again), verdict)
	}
	_ = table.Flush()
	for _, s := range lines {
		for _, i := range invariants {
			f := i.of(&s.result)
			if f.Count == 0 {
				continue
			}
			fmt.Fprintf(w, "\n%s: %s: %d\n", s.Scenario, i.name, f.Count)
			for _, text := range f.First {
				fmt.Fprintf(w, "   %s\n", strings.ReplaceAll(text, "\n", "\n   "))
			}
		}
		for _, text := range s.late() {
			fmt.Fprintf(w, "\n%s: %s\n", s.Scenario, text)
		}
	}
}

func withLimit(q quantiles, limit time.Duration) string {
	if limit == 0 || q.N == 0 {
		return q.String()
	}
	return fmt.Sprintf("%s (%s)", q, short(limit))
}

// report is the form for machines.
type report struct {
	Seed     uint64    `json:"seed"`
	Machine  string    `json:"machine"`
	Began    time.Time `json:"began"`
	Took     string    `json:"took"`
	Broken   bool      `json:"broken"`
	NotRun   []string  `json:"notRun,omitempty"`
	Rounds   []result  `json:"rounds"`
	Settings []string  `json:"settings"`
}

func printJSON(w io.Writer, r report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
