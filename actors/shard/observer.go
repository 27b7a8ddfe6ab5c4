package shard

import (
	"time"

	"hawser/persistence"
)

// Observer tells which members are silent (design.md 3.2 rule 3): the same beat read twice, TTL apart on this node's
// monotonic clock, in one database session. A new session forgets everything, so that a database that was away takes
// nothing from anybody.
type Observer struct {
	TTL     time.Duration
	session int64
	seen    map[persistence.MemberID]sighting
}

type sighting struct {
	beat  int64
	since time.Time
}

// Silent is a member to bury, with the beat that it must still have.
type Silent struct {
	ID   persistence.MemberID
	Beat int64
}

// Next is how long it is from now until a member that does not beat is silent; 0: nobody is watched, or somebody is silent
// already.
func (o *Observer) Next(now time.Time) time.Duration {
	var next time.Duration
	for _, s := range o.seen {
		if left := o.TTL - now.Sub(s.since); left > 0 && (next == 0 || left < next) {
			next = left
		}
	}
	return next
}

// Observe takes in one read of members at now and returns those that are silent by it, never me.
func (o *Observer) Observe(me persistence.MemberID, members []persistence.Member, session int64, now time.Time) []Silent {
	if session != o.session || o.seen == nil {
		o.session, o.seen = session, map[persistence.MemberID]sighting{}
	}
	present := make(map[persistence.MemberID]bool, len(members))
	var silent []Silent
	for _, m := range members {
		if m.ID == me {
			continue
		}
		present[m.ID] = true
		last, known := o.seen[m.ID]
		switch {
		case !known || last.beat != m.Beat:
			o.seen[m.ID] = sighting{m.Beat, now}
		case now.Sub(last.since) >= o.TTL:
			silent = append(silent, Silent{m.ID, m.Beat})
		}
	}
	for id := range o.seen {
		if !present[id] {
			delete(o.seen, id)
		}
	}
	return silent
}
