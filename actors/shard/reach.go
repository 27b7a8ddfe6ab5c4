package shard

import (
	"slices"

	"hawser/persistence"
)

// Reach says whom a node cannot reach, from what became of its probes. A probe goes to every other member each half of a beat
// (TTL/10); Tick is called then, Answered when an answer comes, however late.
//
// A member is unreachable when it lives and does not answer: unansweredProbes in a row without answer (three fifths of the
// TTL: as long as the outage of the database that is ridden out) and livingBeats of it seen meanwhile. Who does not beat
// either is frozen, dead or cut from the database: that is rule 3's business, and nobody need step aside for it. It is
// reachable again when it has answered for goodProbes in a row, which is two beats. Counting probes, not time, keeps a node
// that was frozen itself from blaming the others.
type Reach struct {
	ways map[persistence.MemberID]*way
}

const (
	unansweredProbes = 6
	livingBeats      = 2
	goodProbes       = 4
)

// way is the way to one member.
type way struct {
	beat       int64 // seen last
	beats      int   // seen since it answered last
	unanswered int   // probes sent since it answered last
	answered   int   // ticks in a row at which the probe before was answered
	bad        bool
}

// Tick takes in who is to be probed now: the other members as they were read last.
func (r *Reach) Tick(others []persistence.Member) {
	if r.ways == nil {
		r.ways = map[persistence.MemberID]*way{}
	}
	for id := range r.ways {
		if !slices.ContainsFunc(others, func(m persistence.Member) bool { return m.ID == id }) {
			delete(r.ways, id)
		}
	}
	for _, m := range others {
		w := r.ways[m.ID]
		if w == nil {
			w = &way{beat: m.Beat}
			r.ways[m.ID] = w
		}
		if m.Beat != w.beat {
			w.beat = m.Beat
			w.beats++
		}
		if w.unanswered == 0 {
			w.answered++
		} else {
			w.answered = 0
		}
		switch {
		case w.unanswered >= unansweredProbes && w.beats >= livingBeats:
			w.bad = true
		case w.answered > goodProbes: // the first of them may be the answer to a probe of long ago
			w.bad = false
		}
		w.unanswered++
	}
}

// Answered says that a member has answered a probe.
func (r *Reach) Answered(id persistence.MemberID) {
	if w := r.ways[id]; w != nil {
		w.unanswered, w.beats = 0, 0
	}
}

// Unreachable lists the members that cannot be reached, in order.
func (r *Reach) Unreachable() (ids []persistence.MemberID) {
	for id, w := range r.ways {
		if w.bad {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
