package signals

import (
	"slices"
	"sync"
)

// line does what takes long, one after the other, for an endpoint whose mappers run scripts: whoever has a signal or response for it
// serves others, too, and does not wait. An endpoint has one for each runtime of its scripts; what concerns one entity goes
// into the same one, to stay in order (O16). Its goroutine lives as long as something is in line; once the endpoint is detached
// each of that is over at once.
type line struct {
	// panicked is told of a bug in what was done; it must not take the node down.
	panicked func(p any)

	mu      sync.Mutex
	waiting []func()
	running bool
}

// longestLine bounds what waits, for whom nothing else does. Relays are bounded by the windows of their receivers.
const longestLine = 4096

// do has f done when its turn comes.
func (l *line) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.insert(len(l.waiting), f)
}

// doNext has f done before what waits.
func (l *line) doNext(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.insert(0, f)
}

// finish does what waits, here: it is over at once.
func (l *line) finish() {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, f := range waiting {
		l.one(f)
	}
}

// offer is do unless too much waits: false.
func (l *line) offer(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= longestLine {
		return false
	}
	l.insert(len(l.waiting), f)
	return true
}

// insert puts f at a place in line. l.mu is held.
func (l *line) insert(place int, f func()) {
	l.waiting = slices.Insert(l.waiting, place, f)
	if !l.running {
		l.running = true
		go l.run()
	}
}

func (l *line) run() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.waiting, l.running = nil, false
			l.mu.Unlock()
			return
		}
		f := l.waiting[0]
		l.waiting[0], l.waiting = nil, l.waiting[1:]
		l.mu.Unlock()
		l.one(f)
	}
}

func (l *line) one(f func()) {
	defer func() {
		if p := recover(); p != nil {
			l.panicked(p)
		}
	}()
	f()
}
