package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// kind is a command of the random clients.
type kind uint8

const (
	create kind = iota
	modify
	openIt
	closeIt
	deleteIt
	retrieveIt
)

func (k kind) String() string {
	return [...]string{"create", "modify", "open", "close", "delete", "retrieve"}[k]
}

// changes reports whether a successful command of this kind writes exactly one event.
func (k kind) changes() bool { return k != retrieveIt }

// operation is one command as its client saw it. Times are since the start of the program.
type operation struct {
	Client      int           `json:"client"`
	Node        int           `json:"node"`
	ID          string        `json:"id"`
	Kind        kind          `json:"-"`
	Command     string        `json:"command"`
	Correlation string        `json:"correlation"`
	Name        string        `json:"name,omitempty"` // create, modify: the unique name given; retrieve: the name seen
	Open        bool          `json:"open"`           // create, modify: the status asked for; retrieve: the status seen
	Call        time.Duration `json:"call"`
	Return      time.Duration `json:"return"`
	Outcome     outcome       `json:"-"`
	Result      string        `json:"result"`
	Detail      string        `json:"detail,omitempty"`
	Live        bool          `json:"live"` // nothing had been done to the node when the command was sent
}

func (o operation) String() string {
	value := ""
	if o.Name != "" {
		value = fmt.Sprintf("(%s %s)", o.Name, map[bool]string{true: "open", false: "closed"}[o.Open])
	}
	return fmt.Sprintf("%s%s at n%d, client %d, %.3f–%.3f s: %s %s", o.Kind, value, o.Node, o.Client, o.Call.Seconds(), o.Return.Seconds(), o.Outcome, o.Detail)
}

// record is the state of one connection in the model: it is there or not, open or not, and has the name of whoever created
// or modified it last.
type record struct {
	there bool
	open  bool
	name  string
}

// step says whether a connection in state s can answer an operation as it did, and its state afterwards. An operation of
// unknown outcome may have been executed, with whatever result. (One that was never executed is placed at the very end,
// where nobody sees it: its return is not known.)
func step(s record, o operation) (bool, record) {
	after := s
	switch {
	case o.Kind == create && !s.there:
		after = record{true, o.Open, o.Name}
	case o.Kind == create, o.Kind == retrieveIt, !s.there:
	case o.Kind == modify:
		after = record{true, o.Open, o.Name}
	case o.Kind == openIt:
		after.open = true
	case o.Kind == closeIt:
		after.open = false
	case o.Kind == deleteIt:
		after = record{}
	}
	switch o.Outcome {
	case unknown:
		return true, after
	case exists:
		return o.Kind == create && s.there, s
	case absent:
		return o.Kind != create && !s.there, s
	case done:
		switch o.Kind {
		case create:
			return !s.there, after
		case retrieveIt:
			return s == record{true, o.Open, o.Name}, s
		default:
			return s.there, after
		}
	}
	return false, s // refused operations are not part of a history
}

var model = porcupine.Model{
	Init:  func() any { return record{} },
	Step:  func(state, input, _ any) (bool, any) { return stepAny(state, input) },
	Equal: func(a, b any) bool { return a == b },
}

func stepAny(state, input any) (bool, any) { return step(state.(record), input.(operation)) }

// checkHistory looks for connections whose operations no order explains. undecided are those it could not decide within
// limit each. All connections start absent.
func checkHistory(operations []operation, limit time.Duration) (violations, undecided []string) {
	byID := map[string][]operation{}
	for _, o := range operations {
		// What certainly was not executed says nothing; neither does a query without an answer.
		if o.Outcome == refused || o.Kind == retrieveIt && o.Outcome == unknown {
			continue
		}
		byID[o.ID] = append(byID[o.ID], o)
	}
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		history := porcupineHistory(byID[id])
		switch porcupine.CheckOperationsTimeout(model, history, limit) {
		case porcupine.Illegal:
			violations = append(violations, explain(id, byID[id], limit))
		case porcupine.Unknown:
			undecided = append(undecided, id)
		}
	}
	return violations, undecided
}

func porcupineHistory(operations []operation) []porcupine.Operation {
	var out []porcupine.Operation
	for _, o := range operations {
		p := porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Call), Return: int64(o.Return)}
		if o.Outcome == unknown {
			p.Return = math.MaxInt64
		}
		out = append(out, p)
	}
	return out
}

// explain names the operations around the first point at which a history cannot be explained any more: it finds the
// shortest beginning of it (by return) that is not linearizable.
func explain(id string, operations []operation, limit time.Duration) string {
	sorted := slices.Clone(operations)
	slices.SortFunc(sorted, func(a, b operation) int { return int(a.Return - b.Return) })
	// The beginning up to i holds what had returned by then; what had only been called is of unknown outcome.
	beginning := func(i int) []operation {
		part := slices.Clone(sorted[:i+1])
		for _, o := range sorted[i+1:] {
			if o.Call <= sorted[i].Return && o.Kind != retrieveIt {
				o.Outcome = unknown
				part = append(part, o)
			}
		}
		return part
	}
	low, high := 0, len(sorted)-1
	for low < high {
		middle := (low + high) / 2
		if porcupine.CheckOperationsTimeout(model, porcupineHistory(beginning(middle)), limit) == porcupine.Illegal {
			high = middle
		} else {
			low = middle + 1
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: no order explains", id)
	for _, o := range sorted[max(0, high-6):min(len(sorted), high+2)] {
		fmt.Fprintf(&text, "\n      %s", o)
	}
	return text.String()
}
