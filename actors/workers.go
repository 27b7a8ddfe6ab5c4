package actors

import "time"

// workers runs the mailboxes of entities on goroutines that are kept for a while. A new goroutine begins with a small stack,
// and that of a command grows twice on its way to the journal, which costs as much as the command itself does in many places.
// It implements actor.Dispatcher. There is one worker for each mailbox that has something to do now, as without it.
type workers struct {
	mailboxes chan func()
	quit      chan struct{}
}

// workerIdle is how long a worker waits for another mailbox.
const workerIdle = time.Second

func newWorkers() *workers {
	return &workers{mailboxes: make(chan func()), quit: make(chan struct{})}
}

// close ends the workers that wait. What is scheduled later still runs.
func (w *workers) close() { close(w.quit) }

// Schedule implements actor.Dispatcher.
func (w *workers) Schedule(mailbox func()) {
	select {
	case w.mailboxes <- mailbox: // a worker waits
	default:
		go w.work(mailbox)
	}
}

// Throughput implements actor.Dispatcher: as many messages of one mailbox are processed before others get a turn.
func (*workers) Throughput() int { return 300 }

func (w *workers) work(mailbox func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		mailbox()
		idle.Reset(workerIdle)
		select {
		case mailbox = <-w.mailboxes:
		case <-idle.C:
			return
		case <-w.quit:
			return
		}
	}
}
