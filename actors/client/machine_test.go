package client

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"hawser/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rewrite = flag.Bool("rewrite", false, "write what comes out into testdata/*.txt; read the difference before you keep it")

// TestTranscripts plays testdata/*.txt: a line "> 2s input arguments" is an input two seconds after the one before, the
// lines below it are the outputs, and "= …" is state, timer and status afterwards. "elapsed" fires the timer that runs,
// after the time for which it was armed. Lines of # are comments.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := (&player{t: t, now: began}).play(string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(text), got); d != "" {
				t.Errorf("-in the file +came out:\n%s", d)
			}
		})
	}
}

var began = time.Date(2026, 8, 18, 9, 0, 0, 0, time.UTC)

type player struct {
	t       *testing.T
	machine *machine
	now     time.Time
	after   time.Duration // of the timer that runs
}

func (p *player) play(text string) string {
	p.machine = newMachine("plant-7", Settings{ConnectingMaxTries: 3}, p.now)
	p.machine.step(p.now, initialize{})
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			out.WriteString(line)
			continue
		}
		if !strings.HasPrefix(line, ">") {
			continue
		}
		out.WriteString(line)
		for _, o := range p.machine.step(p.input(strings.Fields(line)[1:])) {
			if a, ok := o.(arm); ok {
				p.after = a.after
			}
			out.WriteString(describeOutput(o) + "\n")
		}
		s := p.machine.status
		fmt.Fprintf(&out, "= %s timer=%s %s/%s since=%s %q\n", p.machine.state, strings.ReplaceAll(p.machine.timer.String(), " ", "-"), s.status, s.recovery,
			s.since.Sub(began), s.details)
	}
	return out.String()
}

func (p *player) input(words []string) (time.Time, input) {
	p.t.Helper()
	advance, err := time.ParseDuration(words[0])
	name, args := words[1], words[2:]
	if name == "elapsed" {
		advance = p.after
	}
	p.now = p.now.Add(advance)
	attempt := func() int {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			p.t.Fatalf("%v: %v", words, err)
		}
		return n
	}
	if err != nil {
		p.t.Fatalf("%v: %v", words, err)
	}
	failure := func() *Failure {
		f := &Failure{Text: strings.Join(args[2:], " "), UserIndicated: args[1] == "user", Unauthorized: args[1] == "unauthorized"}
		if args[1] == "unreachable" {
			f = unreachable("h:1", nil)
		}
		return f
	}
	switch name {
	case "open":
		return p.now, openRequested{}
	case "close":
		return p.now, closeRequested{}
	case "test":
		return p.now, testRequested{}
	case "opened":
		return p.now, opened{attempt()}
	case "failed":
		return p.now, failed{attempt(), failure()}
	case "interrupted":
		return p.now, interrupted{attempt(), failure()}
	case "recovered":
		return p.now, recovered{attempt()}
	case "announced":
		return p.now, announced{args[0] == "wanted"}
	case "closed":
		var err error
		if len(args) > 1 {
			err = fmt.Errorf("%s", args[1])
		}
		return p.now, closed{attempt(), err}
	case "elapsed":
		return p.now, elapsed{p.machine.timer}
	}
	p.t.Fatalf("no such input: %v", words)
	return p.now, nil
}

func describeOutput(o output) string {
	answer := func(what string, err error) string {
		if e, ok := err.(*messages.Error); ok {
			return fmt.Sprintf("%s %d %s: %s", what, e.Status, e.Code, e.Description)
		}
		return what + " ok"
	}
	switch o := o.(type) {
	case startAttempt:
		return fmt.Sprintf("start attempt %d", o.attempt)
	case endAttempt:
		if o.orderly {
			return fmt.Sprintf("end attempt %d in order", o.attempt)
		}
		return fmt.Sprintf("end attempt %d at once", o.attempt)
	case arm:
		return fmt.Sprintf("arm %s %s", o.timer, o.after)
	case disarm:
		return "disarm"
	case answerOpen:
		return answer("answer open", o.err)
	case answerClose:
		return answer("answer close", o.err)
	case answerTest:
		return answer("answer test", o.err)
	case tellConnected:
		return "tell connected"
	case tellAttemptEnded:
		return "tell attempt ended"
	case tellDisconnected:
		return "tell disconnected"
	case announce:
		return "announce " + o.kind
	case log:
		return fmt.Sprintf("log success=%v %s", o.success, o.message)
	}
	return fmt.Sprintf("%#v", o)
}

// TestMachineKeepsItsPromises feeds the machine anything in any order: the sink hears of links in pairs, no attempt starts
// beside another, a timer that runs is of use in its state, and an idle machine always answers.
func TestMachineKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine("x", Settings{ConnectingMaxTries: 2}, began)
		now, linked, running := began, false, 0
		step := func(in input) (answers map[string]int) {
			answers = map[string]int{}
			now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "seconds")) * time.Second)
			for _, o := range m.step(now, in) {
				switch o := o.(type) {
				case startAttempt:
					if running != 0 {
						rt.Fatalf("attempt %d starts beside %d", o.attempt, running)
					}
					running = o.attempt
				case endAttempt:
					if running == o.attempt {
						running = 0
					}
				case tellConnected:
					if linked {
						rt.Fatal("connected twice")
					}
					linked = true
				case tellDisconnected:
					if !linked {
						rt.Fatal("disconnected without a link")
					}
					linked = false
				case answerOpen:
					answers["open"]++
				case answerClose:
					answers["close"]++
				}
			}
			return answers
		}
		m.step(now, initialize{})
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			attempt := max(0, m.attempt-rapid.IntRange(0, 1).Draw(rt, "age"))
			f := &Failure{Text: "x", UserIndicated: rapid.Bool().Draw(rt, "user")}
			in := rapid.SampledFrom([]input{
				openRequested{}, closeRequested{}, testRequested{}, opened{attempt}, failed{attempt, f}, interrupted{attempt, f}, recovered{attempt},
				announced{rapid.Bool().Draw(rt, "wanted")}, closed{attempt: attempt}, elapsed{m.timer}, elapsed{backoff},
			}).Draw(rt, "input")
			if _, ok := in.(opened); ok && running != attempt {
				continue // nobody opens what does not run
			}
			step(in)
			if linked != (m.state == stateConnected || m.state == stateDisconnecting && !m.closing) {
				rt.Fatalf("linked is %v in %s", linked, m.state)
			}
			if (m.state == stateConnecting) != (m.timer == backoff || m.timer == attemptLimit) && m.state == stateConnecting {
				rt.Fatalf("connecting without a timer")
			}
		}
		// Whatever happened: a close is answered in the end, and then an open.
		answered := step(closeRequested{})["close"]
		for range 3 {
			answered += step(announced{false})["close"] + step(closed{attempt: m.attempt})["close"]
		}
		if answered != 1 || m.state != stateDisconnected || linked {
			rt.Fatalf("close has %d answers in %s", answered, m.state)
		}
	})
}

func TestSettings(t *testing.T) {
	s := Settings{}.withDefaults()
	var limits, waits []string
	for tries := range 9 {
		limits, waits = append(limits, s.limit(tries).String()), append(waits, s.backoff(tries).String())
	}
	if got, want := strings.Join(limits, " "), "50s 1m40s 3m20s 6m40s 13m20s 26m40s 53m20s 1h0m0s 1h0m0s"; got != want {
		t.Errorf("limits %s", got)
	}
	if got, want := strings.Join(waits, " "), "5s 10s 20s 40s 1m20s 2m40s 5m20s 10m40s 21m20s"; got != want {
		t.Errorf("backoffs %s", got)
	}
	if s.backoff(1_000_000) != time.Hour || s.ConnectingMaxTries != 50 {
		t.Errorf("%v, %d", s.backoff(1_000_000), s.ConnectingMaxTries)
	}
}

func TestISODuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * time.Second: "PT5S", 80 * time.Second: "PT1M20S", time.Hour: "PT1H", 200 * time.Millisecond: "PT0.2S", 0: "PT0S", 3*time.Hour + time.Second: "PT3H1S",
	} {
		if got := isoDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
