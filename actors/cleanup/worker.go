package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hawser/messages"
	"hawser/persistence"
)

// Store is what the cleanup needs of a store.
type Store interface {
	OldSnapshots(ctx context.Context, after string, before time.Time, limit int) ([]persistence.Snapshot, error)
	SnapshotAt(ctx context.Context, pid string, maxSeq int64, maxTime time.Time) (persistence.Snapshot, bool, error)
	DeleteRange(ctx context.Context, pid string, from, to int64, events, snapshots bool) (eventRows, snapshotRows int64, err error)
	Oldest(ctx context.Context, pid string) (event, snapshot int64, err error)
}

// Options of a Worker. Store and Share are required.
type Options struct {
	Store  Store
	Config Config
	// Share is the node's part of the work now; it is asked for each persistence id.
	Share func() Share
	Log   *slog.Logger
	Now   func() time.Time
	// Jitter stretches a quiet period by a factor in [1,2); nil: at random.
	Jitter func() float64
}

// The states of retrieveHealth.
const (
	stateQuiet   = "IN_QUIET_PERIOD"
	stateRunning = "RUNNING"
)

// statementTimeout bounds one statement of the store.
const statementTimeout = 30 * time.Second

// Worker cleans up in the background until Stop. It is a prometheus.Collector.
type Worker struct {
	opts    Options
	log     *slog.Logger
	changes chan struct{} // of capacity 1: config or last pid were changed by a command
	stop    context.CancelFunc
	done    chan struct{}

	events, snapshots prometheus.Counter

	mu      sync.Mutex
	config  Config
	state   string
	lastPID string
	version int // counts the changes, so that a walk that began before one leaves lastPID alone
}

// New makes a worker; Start begins its first quiet period.
func New(opts Options) *Worker {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Jitter == nil {
		opts.Jitter = func() float64 { return 1 + rand.Float64() }
	}
	if opts.Config == (Config{}) {
		opts.Config = Default
	}
	return &Worker{
		opts: opts, log: opts.Log, config: opts.Config, state: stateQuiet, changes: make(chan struct{}, 1), stop: func() {}, done: make(chan struct{}),
		events:    prometheus.NewCounter(prometheus.CounterOpts{Name: "cleanup_delete_events_total", Help: "Journal rows deleted by the background cleanup."}),
		snapshots: prometheus.NewCounter(prometheus.CounterOpts{Name: "cleanup_delete_snapshots_total", Help: "Snapshot rows deleted by the background cleanup."}),
	}
}

// Describe implements prometheus.Collector.
func (w *Worker) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(w, ch) }

// Collect implements prometheus.Collector.
func (w *Worker) Collect(ch chan<- prometheus.Metric) {
	w.events.Collect(ch)
	w.snapshots.Collect(ch)
}

// Start begins to work; once.
func (w *Worker) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go w.run(ctx)
}

// Stop ends the work and returns when the last statement is over. After Start only.
func (w *Worker) Stop() {
	w.stop()
	<-w.done
}

// Answer answers the commands of operations.md 2.2. Reading disturbs nothing.
func (w *Worker) Answer(_ context.Context, c messages.Command) (messages.Reply, error) {
	switch c.Type {
	case messages.RetrieveHealth:
		return messages.HealthReply(w.health()), nil
	case messages.RetrieveConfig:
		w.mu.Lock()
		defer w.mu.Unlock()
		return messages.ConfigReply(c.Type, w.config.JSON(), c.ConfigPath()), nil
	case messages.ModifyConfig:
		return w.modify(c)
	}
	return messages.Reply{}, messages.ErrNotTaken
}

func (w *Worker) health() json.RawMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	type detail struct {
		State string `json:"state"`
		PID   string `json:"pid"`
	}
	b, err := json.Marshal(struct {
		Status  string              `json:"status"`
		Details []map[string]detail `json:"details"`
	}{"UP", []map[string]detail{{"INFO": {w.state, w.lastPID}}}})
	if err != nil { // texts only
		return json.RawMessage(`{"status":"UP"}`)
	}
	return b
}

// modify changes the configuration and has the loop begin anew with a quiet period.
func (w *Worker) modify(c messages.Command) (messages.Reply, error) {
	var members struct {
		Config json.RawMessage `json:"config"`
	}
	_ = json.Unmarshal(c.Members, &members) // ParseCommand has checked it
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted, err := w.config.with(members.Config)
	if err != nil {
		return messages.ErrorReply(err), nil
	}
	w.config = wanted.config
	w.version++
	if wanted.lastPID != nil {
		w.lastPID = *wanted.lastPID
	}
	select {
	case w.changes <- struct{}{}:
	default: // one is waiting already
	}
	return messages.ConfigReply(c.Type, w.config.JSON(), ""), nil
}

func (w *Worker) current() (config Config, lastPID string, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config, w.lastPID, w.version
}

func (w *Worker) enter(state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
}

// run alternates quiet periods and walks. A change during a quiet period begins a plain one anew, during a walk a stretched
// one (operations.md 2.2).
func (w *Worker) run(ctx context.Context) {
	defer close(w.done)
	stretched := true
	for {
		w.enter(stateQuiet)
		config, _, _ := w.current()
		pause := config.Quiet
		if stretched {
			pause = time.Duration(float64(pause) * w.opts.Jitter())
		}
		quiet := time.NewTimer(pause)
		if !config.Enabled {
			quiet.Stop()
		}
		select {
		case <-ctx.Done():
			quiet.Stop()
			return
		case <-w.changes:
			quiet.Stop()
			stretched = false
			continue
		case <-quiet.C:
		}
		stretched = true
		w.enter(stateRunning)
		w.walk(ctx)
	}
}

// errChanged ends a walk whose configuration was changed.
var errChanged = errors.New("cleanup: the configuration was changed")

// walk is one stream through the old snapshots.
func (w *Worker) walk(ctx context.Context) {
	config, last, version := w.current()
	credits := newCredits(config)
	defer credits.stop()
	err := w.stream(ctx, config, last, version, credits)
	switch {
	case err == nil:
		w.note("", version)
	case ctx.Err() != nil, errors.Is(err, errChanged):
	default:
		_, last, _ := w.current()
		w.log.Warn("the cleanup of history failed and goes on after a quiet period", "pid", last, "error", err)
	}
}

// note remembers the last persistence id that was cleaned, unless a command has changed it since.
func (w *Worker) note(pid string, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.version == version {
		w.lastPID = pid
	}
}

func (w *Worker) stream(ctx context.Context, config Config, last string, version int, credits *credits) error {
	for {
		page, err := ask(ctx, func(ctx context.Context) ([]persistence.Snapshot, error) {
			return w.opts.Store.OldSnapshots(ctx, last, w.opts.Now().Add(-config.Retention), config.Reads)
		})
		if err != nil {
			return err
		}
		for _, s := range page {
			last = s.PID
			if !w.opts.Share().Has(s.PID) {
				continue
			}
			if err := w.clean(ctx, config, credits, s); err != nil {
				return err
			}
			w.note(s.PID, version)
		}
		if len(page) < config.Reads {
			return nil
		}
	}
}

// clean deletes the events, then the snapshots before s, range by range; each range costs one credit.
func (w *Worker) clean(ctx context.Context, config Config, credits *credits, s persistence.Snapshot) error {
	oldest, err := ask(ctx, func(ctx context.Context) (o [2]int64, err error) {
		o[0], o[1], err = w.opts.Store.Oldest(ctx, s.PID)
		return o, err
	})
	if err != nil {
		return err
	}
	lastSnapshot := s.SeqNr - 1
	if config.Final && deleted(s.Payload) {
		lastSnapshot = s.SeqNr
	}
	for _, part := range []struct {
		from, to  int64
		snapshots bool
	}{{oldest[0], s.SeqNr - 1, false}, {oldest[1], lastSnapshot, true}} {
		if part.from == 0 {
			continue // no row at all
		}
		for from := part.from; from <= part.to; from += int64(config.Writes) {
			if err := credits.take(ctx, w.changes); err != nil {
				return err
			}
			if gone, err := w.gone(ctx, s); gone || err != nil {
				return err
			}
			to := min(from+int64(config.Writes)-1, part.to)
			rows, err := ask(ctx, func(ctx context.Context) (n [2]int64, err error) {
				n[0], n[1], err = w.opts.Store.DeleteRange(ctx, s.PID, from, to, !part.snapshots, part.snapshots)
				return n, err
			})
			w.events.Add(float64(rows[0]))
			w.snapshots.Add(float64(rows[1]))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// gone reports whether s is not there any more: the connection was purged while a credit was waited for, and may have been
// created again from sequence number 1. What begins there is not history.
func (w *Worker) gone(ctx context.Context, s persistence.Snapshot) (bool, error) {
	found, err := ask(ctx, func(ctx context.Context) (bool, error) {
		now, ok, err := w.opts.Store.SnapshotAt(ctx, s.PID, s.SeqNr, time.Time{})
		return ok && now.ID == s.ID, err
	})
	return !found, err
}

// deleted reports whether a snapshot is that of a deleted connection (operations.md 1.5).
func deleted(payload json.RawMessage) bool {
	var body struct {
		Lifecycle string `json:"__lifecycle"`
	}
	return json.Unmarshal(payload, &body) == nil && body.Lifecycle == "DELETED"
}

// ask is one statement, within its time.
func ask[T any](ctx context.Context, statement func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return statement(ctx)
}

// credits are set, not added, to so many at every tick, the first one at once (operations.md 2.1 item 6).
type credits struct {
	perTick, left int
	tick          *time.Ticker
}

func newCredits(c Config) *credits {
	return &credits{perTick: c.Credits, left: c.Credits, tick: time.NewTicker(c.Interval)}
}

func (c *credits) stop() { c.tick.Stop() }

// take waits for a credit, a change or the end.
func (c *credits) take(ctx context.Context, changes <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changes:
			return errChanged
		case <-c.tick.C:
			c.left = c.perTick
			continue
		default:
		}
		if c.left > 0 {
			c.left--
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changes:
			return errChanged
		case <-c.tick.C:
			c.left = c.perTick
		}
	}
}
