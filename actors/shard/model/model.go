// Package model is a small model of the shard leases (design.md 3.2) and an exhaustive search over it: two nodes, one
// shard, one database, every interleaving of beat, observe, bury, claim, handover, append and pause. README.md says
// how to read it. It imports nothing of Hawser: it is the rules, not their code.
package model

import "strings"

// Clocks are the times of the model in ticks: a beat extends the deadline to Deadline ticks after it was sent; a member is
// silent after TTL ticks without a new beat.
type Clocks struct{ Deadline, TTL uint8 }

// Short is the smallest pair in which a frozen node can wake up with a beat of its own still on the way; Long the smallest in
// which a slow answer to a beat can outlive TTL.
var (
	Short = Clocks{Deadline: 2, TTL: 3}
	Long  = Clocks{Deadline: 3, TTL: 4}
)

// Rules are the rules of design.md 3.2 that can be taken out one at a time. The zero value has all of them.
type Rules struct {
	DeadlineFromReceipt  bool // rule 1 broken: the deadline counts from the answer, not from before the beat was sent
	NoDeadline           bool // rule 2 broken: a node goes on past its deadline
	BuryWithoutBeatCheck bool // rule 5 broken: `and beat=$seen` is missing
	BuryKeepsFences      bool // rule 5 broken: the fences stay, and bury does not wait for batches in flight
	ClaimWithoutFence    bool // rule 6 broken: a buried member may claim
	ReleaseBeforeStop    bool // rule 7 broken: a shard is released while its entities run
	ReleaseBeforeAnswers bool // rule 7 broken: a shard is released with an append in flight

	Clocks Clocks // zero: Short
}

const (
	none = 0 // owner: nobody
	// Owners are 1 + the node's index; ghost is a former incarnation that nobody will ever bury.
	ghost = 3
)

// flight is the state of a statement between the node and the database.
type flight uint8

const (
	idle      flight = iota
	sent             // on its way
	executing        // append: checks passed, locks held; beat and claim: done, the answer is on its way back
	refused          // the answer "0 rows" is on its way back
)

// node is one process with its current incarnation.
type node struct {
	joined   bool // believes that it is a member
	row      bool // its row in members is there
	fence    bool // its row in fences is there
	paused   bool
	deadline uint8 // ticks left

	beat    flight
	beatAge uint8 // ticks since the beat was sent, at most Deadline

	seen bool  // the other's beat is still the one that was read last
	age  uint8 // ticks since it was read first

	claim    flight
	claimOld bool // sent by a former incarnation
	owns     bool // believes that it owns the shard
	stale    bool // the shard's epoch has moved since
	live     bool // entities and broker clients run

	app      flight
	appOld   bool
	appStale bool
}

// state is everything; comparable, so that the search can remember it.
type state struct {
	nodes [2]node
	owner uint8
}

// move names a transition: what happens, with %s for the node.
type move struct {
	what string
	node uint8
}

func (m move) String() string { return strings.ReplaceAll(m.what, "%s", string(rune('A'+m.node))) }

// step is one transition: its name, the state after it, and what it broke, "" if nothing.
type step struct {
	move   move
	next   state
	broken string
}

// start: both nodes have just joined, nobody owns the shard.
func (r Rules) start() state {
	n := node{joined: true, row: true, fence: true, deadline: r.Clocks.Deadline}
	return state{nodes: [2]node{n, n}}
}

// successors lists every step that can happen in s.
func (r Rules) successors(s state) []step {
	steps := make([]step, 0, 32)
	add := func(broken, what string, next state, node int) {
		r.forget(&next)
		if broken == "" {
			broken = invariant(next)
		}
		steps = append(steps, step{move{what, uint8(node)}, next, broken})
	}
	add("", "tick", r.tick(s), 0)
	for i := range s.nodes {
		r.beatSteps(s, i, add)
		r.membershipSteps(s, i, add)
		r.shardSteps(s, i, add)
		r.appendSteps(s, i, add)
		faultSteps(r, s, i, add)
	}
	return steps
}

// forget clears what no later step can read, so that states which differ in nothing that matters are one state.
func (r Rules) forget(s *state) {
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.joined {
			n.deadline, n.beat, n.seen, n.age = 0, idle, false, 0
		}
		if n.beat == idle {
			n.beatAge = 0
		}
		if !n.seen && !r.BuryWithoutBeatCheck || !s.nodes[1-i].row {
			n.age = 0
		}
		if !s.nodes[1-i].row {
			n.seen = false
		}
		if n.claim == idle {
			n.claimOld = false
		}
		if !n.owns {
			n.stale = false
		}
		if n.app == idle {
			n.appOld, n.appStale = false, false
		}
	}
}

type adder = func(broken, what string, next state, node int)

// tick lets one unit of time pass for all clocks; a deadline that runs out is noticed at once by a node that runs.
func (r Rules) tick(s state) state {
	for i := range s.nodes {
		n := &s.nodes[i]
		if n.deadline > 0 {
			n.deadline--
		}
		if n.beat != idle {
			n.beatAge = min(n.beatAge+1, r.Clocks.Deadline)
		}
		n.age = min(n.age+1, r.Clocks.TTL)
		if n.joined && n.deadline == 0 && !n.paused {
			r.pastDeadline(n)
		}
	}
	return s
}

func (r Rules) pastDeadline(n *node) {
	if !r.NoDeadline {
		n.lose()
	}
}

// lose is rule 2: every socket closed, every entity stopped; statements in flight belong to a former incarnation.
func (n *node) lose() {
	n.joined, n.live, n.owns, n.stale = false, false, false, false
	n.claimOld = n.claimOld || n.claim != idle
	n.appOld = n.appOld || n.app != idle
}

func (r Rules) beatSteps(s state, i int, add adder) {
	n := s.nodes[i]
	if n.joined && !n.paused && n.beat == idle {
		next := s
		next.nodes[i].beat, next.nodes[i].beatAge = sent, 0
		add("", "%s sends a beat", next, i)
	}
	if n.beat == sent {
		next := s
		if n.row {
			next.nodes[i].beat = executing
			next.nodes[1-i].seen = false
		} else {
			next.nodes[i].beat = refused
		}
		add("", "the database executes %s's beat", next, i)
	}
	if n.beat == executing && !n.paused {
		next := s
		m := &next.nodes[i]
		left := r.Clocks.Deadline
		if !r.DeadlineFromReceipt {
			left -= min(n.beatAge, left)
		}
		m.beat, m.deadline = idle, max(m.deadline, left)
		if !m.joined {
			m.deadline = 0
		}
		add("", "%s learns that its beat counted", next, i)
	}
	if n.beat == refused && !n.paused {
		next := s
		next.nodes[i].beat = idle
		next.nodes[i].lose()
		add("", "%s learns that it was buried", next, i)
	}
	if n.beat != idle && !n.paused {
		next := s
		next.nodes[i].beat = idle
		add("", "%s gives up its beat", next, i)
	}
}

func (r Rules) membershipSteps(s state, i int, add adder) {
	n, o := s.nodes[i], s.nodes[1-i]
	if !n.joined && !n.paused && n.app != executing {
		next := s
		next.bury(i)
		m := &next.nodes[i]
		*m = node{joined: true, row: true, fence: true, deadline: r.Clocks.Deadline, claim: n.claim, claimOld: n.claim != idle, app: n.app, appOld: n.app != idle}
		next.nodes[1-i].seen, next.nodes[1-i].age = false, 0
		add("", "%s joins again", next, i)
	}
	if !n.joined || n.paused || !o.row {
		return
	}
	if !n.seen {
		next := s
		next.nodes[i].seen, next.nodes[i].age = true, 0
		add("", "%s reads a new beat of the other", next, i)
	}
	silent := n.age >= r.Clocks.TTL && (n.seen || r.BuryWithoutBeatCheck)
	if silent && (o.app != executing || r.BuryKeepsFences) {
		next := s
		next.bury(1 - i)
		if r.BuryKeepsFences {
			next.nodes[1-i].fence = true
		}
		add("", "%s buries the other", next, i)
	}
}

// bury removes a member and its fences and frees its shard.
func (s *state) bury(i int) {
	s.nodes[i].row, s.nodes[i].fence = false, false
	if s.owner == uint8(i)+1 {
		s.owner = none
		s.newEpoch()
	}
}

// newEpoch makes everybody's belief about the shard, and every append under it, stale.
func (s *state) newEpoch() {
	for i := range s.nodes {
		n := &s.nodes[i]
		n.stale = n.owns
		n.appStale = n.appStale || n.app != idle
	}
}

func (r Rules) shardSteps(s state, i int, add adder) {
	n := s.nodes[i]
	if n.joined && !n.paused && s.owner == none && n.claim == idle {
		next := s
		next.nodes[i].claim, next.nodes[i].claimOld = sent, false
		add("", "%s sends a claim", next, i)
	}
	if n.claim == sent && (!n.paused || n.claimOld) {
		next := s
		m := &next.nodes[i]
		fenced := !r.ClaimWithoutFence && (n.claimOld || !n.fence)
		switch {
		case fenced || s.owner != none:
			m.claim = idle
		case n.claimOld || !n.row:
			next.newEpoch()
			next.owner, m.claim = ghost, idle
		default:
			next.newEpoch()
			next.owner, m.claim, m.owns, m.stale = uint8(i)+1, idle, n.joined, false
		}
		add("", "the database executes %s's claim", next, i)
	}
	if n.joined && n.owns && !n.live && !n.paused && (n.deadline > 0 || r.NoDeadline) {
		next := s
		next.nodes[i].live = true
		add("", "%s opens its clients", next, i)
	}
	if n.live && !n.paused {
		next := s
		next.nodes[i].live = false
		add("", "%s stops its clients", next, i)
	}
	mayRelease := (!n.live || r.ReleaseBeforeStop) && (n.app == idle || r.ReleaseBeforeAnswers)
	if n.joined && n.owns && !n.stale && !n.paused && mayRelease {
		next := s
		if s.owner == uint8(i)+1 {
			next.owner = none
			next.newEpoch()
		}
		next.nodes[i].owns, next.nodes[i].stale = false, false
		add("", "%s releases the shard", next, i)
	}
}

func (r Rules) appendSteps(s state, i int, add adder) {
	n := s.nodes[i]
	if n.live && !n.paused && n.app == idle && (n.deadline > 0 || r.NoDeadline) {
		next := s
		m := &next.nodes[i]
		m.app, m.appOld, m.appStale = sent, false, n.stale
		add("", "%s sends an append", next, i)
	}
	if n.app == sent {
		next := s
		fence := n.fence && !n.appOld
		current := s.owner == uint8(i)+1 && !n.appStale
		if fence && current {
			next.nodes[i].app = executing
		} else {
			next.nodes[i].app = idle
		}
		add("", "the database checks %s's append", next, i)
	}
	if n.app == executing {
		next := s
		next.nodes[i].app = idle
		broken := ""
		if n.appStale || s.owner != uint8(i)+1 {
			broken = "an append was committed under an epoch that is over"
		}
		add(broken, "the database commits %s's append", next, i)
	}
}

func faultSteps(r Rules, s state, i int, add adder) {
	n := s.nodes[i]
	next := s
	m := &next.nodes[i]
	if n.paused {
		m.paused = false
		if m.joined && m.deadline == 0 {
			r.pastDeadline(m) // the check comes before whatever the process does next
		}
		add("", "%s goes on", next, i)
	} else {
		m.paused = true
		add("", "%s freezes", next, i)
	}
}

// invariant names what is broken in s, "" if nothing.
func invariant(s state) string {
	live := 0
	for i, n := range s.nodes {
		if n.live && !n.paused {
			live++
		}
		if s.owner == uint8(i)+1 && !n.row {
			return "the owner of the shard is no member"
		}
	}
	switch {
	case live > 1:
		return "two live activations"
	case s.owner == ghost:
		return "the shard belongs to a former incarnation: nobody will ever bury it"
	}
	return ""
}

// Result is what a search found.
type Result struct {
	States int
	Broken string   // "" when every reachable state is sound
	Trace  []string // the shortest way to the broken state
}

// Search visits every reachable state breadth first and stops at the first broken one.
func Search(r Rules) Result {
	type origin struct {
		from state
		move move
	}
	if r.Clocks == (Clocks{}) {
		r.Clocks = Short
	}
	first := r.start()
	seen := map[state]origin{first: {}}
	for queue := []state{first}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		for _, next := range r.successors(s) {
			if next.broken != "" {
				trace := []string{next.move.String()}
				for at := s; at != first; at = seen[at].from {
					trace = append([]string{seen[at].move.String()}, trace...)
				}
				return Result{len(seen), next.broken, trace}
			}
			if _, known := seen[next.next]; !known {
				seen[next.next] = origin{s, next.move}
				queue = append(queue, next.next)
			}
		}
	}
	return Result{States: len(seen)}
}
