package model

import (
	"strings"
	"testing"
)

// TestRulesHold visits every reachable state with all rules in place.
func TestRulesHold(t *testing.T) {
	result := Search(Rules{})
	if result.Broken != "" {
		t.Fatalf("%s:\n  %s", result.Broken, strings.Join(result.Trace, "\n  "))
	}
	if result.States < 10_000 {
		t.Fatalf("only %d states were reached: the model does not move", result.States)
	}
	t.Logf("%d states", result.States)
}

// TestEveryRuleIsNeeded takes the rules out one at a time: the search must find the mistake each of them prevents.
func TestEveryRuleIsNeeded(t *testing.T) {
	const (
		twoLive = "two live activations"
		late    = "an append was committed under an epoch that is over"
		former  = "the shard belongs to a former incarnation: nobody will ever bury it"
	)
	for name, c := range map[string]struct {
		rules  Rules
		broken string
	}{
		"1 deadline counted from before sending": {Rules{DeadlineFromReceipt: true, Clocks: Long}, twoLive},
		"2 deadline":                             {Rules{NoDeadline: true}, twoLive},
		"5 beat checked by bury":                 {Rules{BuryWithoutBeatCheck: true}, twoLive},
		"5 fences deleted by bury":               {Rules{BuryKeepsFences: true}, late},
		"6 claim under a fence":                  {Rules{ClaimWithoutFence: true}, former},
		"7 stop before release":                  {Rules{ReleaseBeforeStop: true}, twoLive},
		"7 answers before release":               {Rules{ReleaseBeforeAnswers: true}, late},
	} {
		t.Run(name, func(t *testing.T) {
			result := Search(c.rules)
			if result.Broken != c.broken {
				t.Fatalf("found %q in %d states, want %q\n  %s", result.Broken, result.States, c.broken, strings.Join(result.Trace, "\n  "))
			}
			t.Logf("%d steps to %q:\n  %s", len(result.Trace), result.Broken, strings.Join(result.Trace, "\n  "))
		})
	}
}
