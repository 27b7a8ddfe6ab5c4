package connection

import (
	"math/rand/v2"
	"time"
)

// The timers of an entity (piggyback.md 5.4).
const (
	timerActivity = iota
	timerSnapshot
	timerPriority
	timerLogs
	timerLiveStatus
	timerPassivate
	timerRecover
	timerCorrupted
	numTimers
)

// timers are the deadlines of an entity, zero when not set; one runtime timer serves the earliest of them.
type timers struct {
	due   [numTimers]time.Time
	armed time.Time
	timer *time.Timer
}

func (t *timers) set(i int, at time.Time) { t.due[i] = at }

func (t *timers) clear(i int) { t.due[i] = time.Time{} }

// reset forgets all deadlines.
func (t *timers) reset() { t.due = [numTimers]time.Time{} }

func (t *timers) unset(i int) bool { return t.due[i].IsZero() }

func (t *timers) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// arm makes the runtime timer fire at the earliest deadline.
func (e *entity) arm() {
	var earliest time.Time
	for _, at := range e.timers.due {
		if !at.IsZero() && (earliest.IsZero() || at.Before(earliest)) {
			earliest = at
		}
	}
	if earliest.Equal(e.timers.armed) {
		return
	}
	e.timers.armed = earliest
	switch d := earliest.Sub(e.now()); {
	case earliest.IsZero():
		e.timers.stop()
	case e.timers.timer == nil:
		e.timers.timer = time.AfterFunc(d, func() { e.send(tick{}) })
	default:
		e.timers.timer.Reset(d)
	}
}

// schedule sets the deadlines that the state asks for and clears those it does not.
func (e *entity) schedule() {
	if e.mode != ready {
		return
	}
	now := e.now()
	want := func(i int, wanted bool, after time.Duration) {
		switch {
		case !wanted:
			e.timers.clear(i)
		case e.timers.unset(i):
			e.timers.set(i, now.Add(after))
		}
	}
	if e.checkedPhase != e.state.Phase {
		e.checkedPhase = e.state.Phase
		e.timers.clear(timerActivity)
	}
	interval := e.timings.DeletedInterval
	if e.state.Phase == Active {
		interval = e.timings.InactiveInterval
	}
	want(timerActivity, true, interval)
	want(timerSnapshot, len(CheckSnapshot(e.state)) > 0, e.timings.SnapshotInterval)
	want(timerPriority, e.state.Phase == Active, jitter(e.timings.PriorityInterval))
	want(timerLogs, e.client != nil && e.state.Phase == Active && !e.record().LogsMuted(), e.timings.LogCheckInterval)
	report := e.timings.LiveStatusInterval
	if e.reported = e.reported && e.state.Open(); !e.reported {
		report = e.timings.FirstLiveStatus // since it was opened, or recovered as open
	}
	want(timerLiveStatus, e.state.Open(), report)
	if e.state.Phase != Absent {
		e.timers.clear(timerPassivate)
	}
	e.arm()
}

// jitter is d ± 5 %.
func jitter(d time.Duration) time.Duration { return d - d/20 + rand.N(d/10+1) }

// tick does what is due.
func (e *entity) tick() {
	now := e.now()
	due := func(i int) bool {
		at := e.timers.due[i]
		if at.IsZero() || at.After(now) {
			return false
		}
		e.timers.clear(i)
		return true
	}
	e.timers.armed = time.Time{}
	switch e.mode {
	case down:
		if due(timerRecover) {
			e.recover()
		}
	case corrupted:
		if due(timerCorrupted) {
			e.mode, e.quit = leaving, true
		}
	case ready:
		e.tickReady(due, now)
	}
	if e.mode == ready {
		e.schedule()
	}
	e.arm()
}

func (e *entity) tickReady(due func(int) bool, now time.Time) {
	if due(timerSnapshot) {
		e.begin(CheckSnapshot(e.state))
	}
	if due(timerPriority) && e.state.Phase == Active {
		e.begin([]Effect{MeasurePriority{}})
	}
	if due(timerLogs) && e.state.Phase == Active {
		e.record().ExpireLogs(now)
	}
	if due(timerLiveStatus) && e.mode == ready && e.state.Open() {
		e.reported = true
		e.begin([]Effect{ReportStatus{}})
	}
	if due(timerPassivate) && e.mode == ready && e.state.Phase == Absent && len(e.runs) == 0 {
		e.mode, e.quit = leaving, true
	}
	if due(timerActivity) && e.mode == ready {
		accessed := e.accessed
		e.accessed = false
		e.begin(CheckActivity(e.state, accessed))
	}
}
