package monitor

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// LogEntry is one entry of retrieveConnectionLogs (piggyback.md 4.15, runtime.md 12.1).
type LogEntry struct {
	CorrelationID string  `json:"correlationId"`
	Timestamp     Instant `json:"timestamp"`
	Category      string  `json:"category"`
	Type          string  `json:"type"`
	Level         string  `json:"level"`
	Message       string  `json:"message"`
	Address       string  `json:"address,omitempty"`
	EntityType    string  `json:"entityType,omitempty"`
	EntityID      string  `json:"entityId,omitempty"`
}

// Logs are the members enabledSince, enabledUntil and connectionLogs; the instants are null while logging is not active.
type Logs struct {
	EnabledSince *Instant   `json:"enabledSince"`
	EnabledUntil *Instant   `json:"enabledUntil"`
	Entries      []LogEntry `json:"connectionLogs"`
}

// NoLogs is the answer while logging is not active or no client runs.
func NoLogs() Logs { return Logs{Entries: []LogEntry{}} }

// logs are the rings of a connection and the period in which they are filled.
type logs struct {
	active atomic.Bool // read on every message without the lock

	mu           sync.Mutex
	since, until time.Time
	seq          uint64
	filled       map[*Scope]struct{} // scopes whose rings hold something
}

// ring keeps the newest entries of one (category, type, address) and level.
type ring struct {
	entries []kept
	next    int // of the oldest entry once the ring is full
}

type kept struct {
	at    int64
	seq   uint64 // order among equal timestamps
	entry Entry
}

func (r *ring) add(k kept, capacity int) {
	if len(r.entries) < capacity {
		r.entries = append(r.entries, k)
		return
	}
	r.entries[r.next] = k
	r.next = (r.next + 1) % capacity
}

func (l *logs) add(s *Scope, m Metric, success bool, now int64, e Entry) {
	opts := &s.conn.registry.opts
	capacity := opts.FailureCapacity
	if success {
		capacity = opts.SuccessCapacity
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.active.Load() {
		return // muted since the caller looked
	}
	if s.rings == nil {
		s.rings = &[numMetrics][2]ring{}
		if l.filled == nil {
			l.filled = map[*Scope]struct{}{}
		}
		l.filled[s] = struct{}{}
	}
	l.seq++
	s.rings[m][outcome(success)].add(kept{at: now, seq: l.seq, entry: e}, capacity)
}

// clear empties all rings; l.mu is held.
func (l *logs) clear() {
	for s := range l.filled {
		s.rings = nil
	}
	l.filled = nil
}

// EnableLogs starts, or prolongs, the period in which entries are kept: from now for the log duration (decision D9). It
// returns the end of the period.
func (c *Connection) EnableLogs(now time.Time) (until time.Time) {
	l := &c.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.until = now, now.Add(c.registry.opts.LogDuration)
	l.active.Store(true)
	return l.until
}

// MuteLogs ends the period and empties all rings.
func (c *Connection) MuteLogs() {
	l := &c.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active.Store(false)
	l.clear()
}

// LogsMuted reports whether no entries are kept now.
func (c *Connection) LogsMuted() bool { return !c.logs.active.Load() }

// ExpireLogs mutes and empties the logs when their period is over at now, and reports whether it did.
func (c *Connection) ExpireLogs(now time.Time) bool {
	l := &c.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.active.Load() || now.Before(l.until) {
		return false
	}
	l.active.Store(false)
	l.clear()
	return true
}

// FreshLogs empties all rings without a trace: a client starts with fresh ones.
func (c *Connection) FreshLogs() {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	c.logs.clear()
}

// ResetLogs empties all rings; while logging is active one entry says so.
func (c *Connection) ResetLogs(correlationID string) {
	c.FreshLogs()
	c.Self().Success(Other, Entry{CorrelationID: correlationID, EntityType: "connection", EntityID: c.id, Message: "Successfully reset the logs."})
}

// Logs returns the kept entries in ascending order of time, the newest ones up to the size limit. While logging is active
// asking prolongs it, so EnabledSince is now; otherwise NoLogs.
func (c *Connection) Logs(now time.Time) Logs {
	if c.LogsMuted() {
		return NoLogs()
	}
	end := c.EnableLogs(now)
	since, until := Instant(now), Instant(end)
	return Logs{EnabledSince: &since, EnabledUntil: &until, Entries: c.logs.newest(c.registry.opts.MaxLogSizeBytes)}
}

type located struct {
	kept
	scope   *Scope
	metric  Metric
	success bool
}

// newest renders entries from the newest on while their JSON fits into limit characters, then turns them around.
func (l *logs) newest(limit int) []LogEntry {
	l.mu.Lock()
	var all []located
	for s := range l.filled {
		for m := range s.rings {
			for o := range s.rings[m] {
				for _, k := range s.rings[m][o].entries {
					all = append(all, located{kept: k, scope: s, metric: Metric(m), success: o == 1})
				}
			}
		}
	}
	l.mu.Unlock()
	sort.Slice(all, func(i, j int) bool {
		if all[i].at != all[j].at {
			return all[i].at > all[j].at
		}
		return all[i].seq > all[j].seq
	})
	out := make([]LogEntry, 0, len(all))
	size := 0
	for i := range all {
		e := all[i].render(true)
		b, err := json.Marshal(e)
		if err != nil {
			continue // strings and an instant always marshal
		}
		if size += utf8.RuneCount(b); size > limit {
			break
		}
		out = append(out, e)
	}
	slices.Reverse(out)
	return out
}

// notProvided stands for an unknown correlation id (piggyback.md 4.15).
const notProvided = "<not-provided>"

// render is the entry as it is answered or published; details: with the names of the headers.
func (e *located) render(details bool) LogEntry {
	out := LogEntry{
		CorrelationID: e.entry.CorrelationID,
		Timestamp:     Instant(time.Unix(0, e.at)),
		Category:      categoryNames[e.scope.category],
		Type:          metricNames[e.metric],
		Level:         "failure",
		Message:       e.entry.Message,
		Address:       e.scope.address,
	}
	if out.CorrelationID == "" {
		out.CorrelationID = notProvided
	}
	if e.success {
		out.Level = "success"
	}
	if out.Message == "" {
		out.Message = defaultText(e.scope.category, e.metric, e.success)
	}
	if details && e.entry.HeaderKeys != nil {
		out.Message += " - Message header keys: [" + strings.Join(e.entry.HeaderKeys, ", ") + "]"
	}
	if e.entry.EntityType != "" && e.entry.EntityID != "" {
		out.EntityType, out.EntityID = e.entry.EntityType, e.entry.EntityID
	}
	return out
}

type textKey struct {
	category category
	metric   Metric
	success  bool
}

// defaultTexts are the messages of entries that bring none (successes: piggyback.md 4.15; failures: ours).
var defaultTexts = map[textKey]string{
	{categorySource, Consumed, true}:       "Received signal.",
	{categorySource, Mapped, true}:         "Mapped incoming signal.",
	{categorySource, Enforced, true}:       "Successfully applied enforcement on incoming signal.",
	{categorySource, Acknowledged, true}:   "Successfully acknowledged incoming signal.",
	{categoryTarget, Dispatched, true}:     "Successfully dispatched signal.",
	{categoryTarget, Filtered, true}:       "Signal successfully passed possible filters.",
	{categoryTarget, Mapped, true}:         "Successfully mapped outgoing signal.",
	{categoryTarget, Published, true}:      "Successfully published signal.",
	{categoryTarget, Acknowledged, true}:   "Successfully issued acknowledgement for published signal.",
	{categoryResponse, Dispatched, true}:   "Received response.",
	{categoryResponse, Mapped, true}:       "Successfully mapped outbound response.",
	{categoryResponse, Published, true}:    "Successfully published response.",
	{categoryResponse, Acknowledged, true}: "Successfully issued acknowledgement for published response.",

	{categorySource, Consumed, false}:       "Could not read the received message.",
	{categorySource, Mapped, false}:         "Could not map the incoming signal.",
	{categorySource, Enforced, false}:       "Enforcement refused the incoming signal.",
	{categorySource, Acknowledged, false}:   "Could not acknowledge the incoming signal.",
	{categorySource, Throttled, false}:      "The source was throttled: too many messages arrived.",
	{categoryTarget, Dispatched, false}:     "Could not dispatch the signal.",
	{categoryTarget, Filtered, false}:       "The signal did not pass the filters.",
	{categoryTarget, Mapped, false}:         "Could not map the outgoing signal.",
	{categoryTarget, Published, false}:      "Could not publish the signal.",
	{categoryTarget, Acknowledged, false}:   "The published signal was not acknowledged.",
	{categoryResponse, Dispatched, false}:   "Received an error response.",
	{categoryResponse, Filtered, false}:     "The response did not pass the filters.",
	{categoryResponse, Mapped, false}:       "Could not map the outbound response.",
	{categoryResponse, Published, false}:    "Could not publish the response.",
	{categoryResponse, Acknowledged, false}: "The published response was not acknowledged.",
}

func defaultText(c category, m Metric, success bool) string {
	switch text, ok := defaultTexts[textKey{c, m, success}]; {
	case ok:
		return text
	case m == Dropped:
		return "Payload mapping returned null, message is dropped."
	case m == Throttled:
		return "The source was throttled: too many messages arrived."
	case success:
		return "Success."
	default:
		return "Failure."
	}
}
