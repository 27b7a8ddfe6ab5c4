package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// Pauses between attempts of a lane to open its session.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// lane is a Committer: one session and one row of fences per member that joined through this store.
type lane struct {
	store      *Store
	number     int
	queue      *groupcommit.Lane
	session    session
	statements *statements
	marks      [groupcommit.MaxRows]mark

	pause time.Duration // before the next attempt to connect; 0 after a success
	until time.Time     // no attempt before

	mu     sync.Mutex
	fences map[persistence.MemberID]int64 // session number of this lane's fence
}

func newLane(s *Store, number int) *lane {
	l := &lane{store: s, number: number, statements: newStatements(), fences: map[persistence.MemberID]int64{}}
	l.session.config = s.sessionConfig(fmt.Sprintf("lane %d", number), s.opts.TTL, laneSettings)
	l.queue = s.peers.New(l)
	return l
}

// learn sets the session number of a member's fence; forget ends it.
func (l *lane) learn(m persistence.MemberID, session int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fences[m] = session
}

func (l *lane) forget(m persistence.MemberID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.fences, m)
}

func (l *lane) fence(m persistence.MemberID) (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, ok := l.fences[m]
	return n, ok
}

// Commit writes one batch. It returns when each write's fate is known, or nobody waits for it any more.
func (l *lane) Commit(batch []*groupcommit.Write) {
	l.isolate(l.statements.of(batch), batch, true)
}

// isolate writes a batch; a row that the server refuses fails alone.
func (l *lane) isolate(st *statement, batch []*groupcommit.Write, again bool) {
	groupcommit.Isolate(batch, func(part []*groupcommit.Write) error { return l.write(st, part, again) })
}

// write runs a batch statement. It settles all, or returns the refusal of the whole. again: a batch that certainly was not
// written because the session broke is sent once more; an idle session may have been dead for long.
func (l *lane) write(st *statement, batch []*groupcommit.Write, again bool) (refused error) {
	if err := l.connect(); err != nil {
		settle(batch, err)
		l.queue.Refuse(err) // they would only wait for the same answer
		return nil
	}
	owner := batch[0].Lease.Owner
	number, joined := l.fence(owner)
	if !joined {
		settle(batch, persistence.ErrFenced)
		return nil
	}
	p := st.parameters(batch, []byte(owner), int4Param(l.number), int8Param(number), []byte(batch[0].Lease.Shard.Kind))
	began := time.Now()
	left, err := l.exec(st, p, len(batch))
	if refused = refusal(err); refused != nil {
		return refused
	}
	l.store.opts.Observe(persistence.OpAppend, len(batch), time.Since(began), err)
	switch {
	case err == nil:
		l.verdict(st, batch, left, again)
	case l.session.conn.IsClosed() || !answered(err):
		l.resolve(st, batch, again)
	default: // the server answered that it did not do it
		settle(batch, fmt.Errorf("%w: %w", persistence.ErrUnavailable, err))
	}
	return nil
}

// answered reports an error answer after which the session goes on: the statement was rolled back.
func answered(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && !fatal(e)
}

// mark is what the answer of a batch statement says of one write.
type mark uint8

const (
	unnamed  mark = iota // not in the answer
	named                // in it
	outOfSeq             // in it, and its lease held: the sequence number was not the next
)

// verdict settles a batch whose statement committed and left marks on what it left out. Rows out of sequence get a second
// look in case their index row was lost.
func (l *lane) verdict(st *statement, batch []*groupcommit.Write, marks []mark, again bool) {
	var doubtful []*groupcommit.Write
	for i, w := range batch {
		switch {
		case marks[i] == unnamed:
			w.Settle(nil)
		case marks[i] == named:
			w.Settle(persistence.ErrFenced)
		case w.Event.SeqNr > 1 && st != &l.statements.lost:
			doubtful = append(doubtful, w)
		default:
			w.Settle(persistence.ErrConflict)
		}
	}
	if len(doubtful) > 0 {
		l.isolate(&l.statements.lost, doubtful, again)
	}
}

// exec runs a batch statement with binary parameters and marks the n writes by the rows of its answer. It waits longer than
// the server lets the statement run, so that the server's own verdict comes first.
func (l *lane) exec(st *statement, parameters [][]byte, n int) ([]mark, error) {
	ctx, cancel := context.WithTimeout(l.store.ctx, l.store.opts.TTL+time.Second)
	defer cancel()
	answer := l.session.conn.PgConn().ExecPrepared(ctx, st.name, parameters, binaryFormat, nil)
	marks := l.marks[:n]
	clear(marks)
	var unreadable error
	for answer.NextRow() {
		v := answer.Values()
		ord, err := strconv.Atoi(string(v[0]))
		if err != nil || ord < 1 || ord > n { // never taken for "written": what is there will be read back
			unreadable = fmt.Errorf("postgres: the answer to a batch of %d names row %q", n, v[0])
			continue
		}
		marks[ord-1] = named
		if len(v) > 1 && string(v[1]) == "t" {
			marks[ord-1] = outOfSeq
		}
	}
	_, err := answer.Close()
	return marks, cmp.Or(err, unreadable)
}

var binaryFormat = []int16{1}

// resolve finds out what became of a batch whose session broke between send and answer (design.md 5): with a new session it
// renumbers the fence, which waits for the old batch if that still runs and voids it if it has not begun; then what is in
// the tables is the truth. It goes on until it knows, or nobody waits for it.
func (l *lane) resolve(st *statement, batch []*groupcommit.Write, again bool) {
	there, err := l.reread(batch)
	for ; err != nil; there, err = l.reread(batch) {
		l.queue.Refuse(err) // nothing of theirs was sent
		l.lost(err)
		if !l.wait() || !slices.ContainsFunc(batch, func(w *groupcommit.Write) bool { return !w.Abandoned() }) {
			settle(batch, persistence.ErrUnknownOutcome)
			return
		}
	}
	var missing []*groupcommit.Write
	for i, w := range batch {
		switch {
		case there[i] == named:
			w.Settle(nil)
		case again && !w.Abandoned():
			missing = append(missing, w)
		default:
			w.Settle(fmt.Errorf("%w: the session broke before the commit", persistence.ErrUnavailable))
		}
	}
	if len(missing) > 0 {
		l.isolate(st, missing, false)
	}
}

// reread opens a new session, renumbers the fences and reads which rows of the batch are there.
func (l *lane) reread(batch []*groupcommit.Write) ([]mark, error) {
	l.session.drop()
	if err := l.connect(); err != nil {
		return nil, err
	}
	st := &l.statements.eventsThere
	if batch[0].SnapshotOnly() {
		st = &l.statements.snapshotsThere
	}
	there, err := l.exec(st, st.parameters(batch), len(batch))
	if err != nil {
		return nil, fmt.Errorf("%w: read back a batch: %w", persistence.ErrUnavailable, err)
	}
	return there, nil
}

// connect opens the lane's session unless it is open: prepares the statements and renumbers the fences, so that nothing a
// former session sent can take effect later. After a failure it refuses for a pause without trying.
func (l *lane) connect() error {
	if l.session.conn != nil && !l.session.conn.IsClosed() {
		return nil
	}
	if time.Now().Before(l.until) {
		return fmt.Errorf("%w: no session", persistence.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(l.store.ctx, dialTimeout+l.store.opts.TTL)
	defer cancel()
	if err := l.prepare(ctx); err != nil {
		l.session.drop()
		l.lost(err)
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
	if l.pause > 0 {
		l.store.opts.Log.Info("the journal has a database session again", "lane", l.number)
	}
	l.pause, l.until = 0, time.Time{}
	return nil
}

// lost sets the pause before the next attempt.
func (l *lane) lost(err error) {
	if time.Now().Before(l.until) {
		return
	}
	if l.pause == 0 {
		l.store.opts.Log.Warn("the journal has no database session", "lane", l.number, "error", err)
	}
	l.pause = min(max(2*l.pause, firstPause), lastPause)
	l.until = time.Now().Add(l.pause)
}

func (l *lane) prepare(ctx context.Context) error {
	conn, err := l.session.open(ctx)
	if err != nil {
		return err
	}
	for _, st := range l.statements.all() {
		if _, err := conn.PgConn().Prepare(ctx, st.name, st.sql, nil); err != nil {
			return err
		}
	}
	l.mu.Lock()
	members := make([]string, 0, len(l.fences))
	for m := range l.fences {
		members = append(members, string(m))
	}
	l.mu.Unlock()
	rows, err := conn.Query(ctx, `update fences set session = session + 1 where member = any($1) and lane = $2 returning member, session`, members, l.number)
	if err != nil {
		return err
	}
	defer rows.Close()
	renumbered := map[persistence.MemberID]int64{}
	for rows.Next() {
		var m string
		var session int64
		if err := rows.Scan(&m, &session); err != nil {
			return err
		}
		renumbered[persistence.MemberID(m)] = session
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, m := range members {
		if session, there := renumbered[persistence.MemberID(m)]; there {
			l.learn(persistence.MemberID(m), session)
		} else {
			l.forget(persistence.MemberID(m)) // buried: whatever it wrote has ended
		}
	}
	return nil
}

// wait sits out the pause before the next attempt; false: the store is closing.
func (l *lane) wait() bool {
	timer := time.NewTimer(time.Until(l.until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.queue.Closing():
		return false
	}
}

func settle(batch []*groupcommit.Write, err error) {
	for _, w := range batch {
		w.Settle(err)
	}
}
