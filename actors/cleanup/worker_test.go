package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"hawser/messages"
	"hawser/persistence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history is a store in memory: rows by pid. Deletes are noted with their time.
type history struct {
	mu        sync.Mutex
	events    map[string][]int64
	snapshots map[string][]persistence.Snapshot
	deletes   []string
	at        []time.Time
	fail      error
	reads     int
}

func newHistory() *history {
	return &history{events: map[string][]int64{}, snapshots: map[string][]persistence.Snapshot{}}
}

// entity writes events 1..last and snapshots at the given sequence numbers, so many days old.
func (h *history) entity(pid string, last int64, snapshots map[int64]int) {
	for s := int64(1); s <= last; s++ {
		h.events[pid] = append(h.events[pid], s)
	}
	for seq, days := range snapshots {
		h.snapshots[pid] = append(h.snapshots[pid], persistence.Snapshot{
			ID: seq, PID: pid, SeqNr: seq, CreatedAt: time.Now().Add(-time.Duration(days) * 24 * time.Hour), Payload: json.RawMessage(`{"__lifecycle":"ACTIVE"}`),
		})
	}
	slices.SortFunc(h.snapshots[pid], func(a, b persistence.Snapshot) int { return int(a.SeqNr - b.SeqNr) })
}

func (h *history) OldSnapshots(_ context.Context, after string, before time.Time, limit int) ([]persistence.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	if h.fail != nil {
		return nil, h.fail
	}
	var page []persistence.Snapshot
	for pid, all := range h.snapshots {
		for _, s := range slices.Backward(all) {
			if pid > after && s.CreatedAt.Before(before) {
				page = append(page, s)
				break
			}
		}
	}
	slices.SortFunc(page, func(a, b persistence.Snapshot) int { return strings.Compare(a.PID, b.PID) })
	return page[:min(limit, len(page))], nil
}

func (h *history) SnapshotAt(_ context.Context, pid string, maxSeq int64, _ time.Time) (persistence.Snapshot, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range slices.Backward(h.snapshots[pid]) {
		if s.SeqNr <= maxSeq {
			return s, true, nil
		}
	}
	return persistence.Snapshot{}, false, nil
}

func (h *history) Oldest(_ context.Context, pid string) (event, snapshot int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.events[pid]; len(e) > 0 {
		event = e[0]
	}
	if s := h.snapshots[pid]; len(s) > 0 {
		snapshot = s[0].SeqNr
	}
	return event, snapshot, nil
}

func (h *history) DeleteRange(_ context.Context, pid string, from, to int64, events, snapshots bool) (eventRows, snapshotRows int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deletes = append(h.deletes, fmt.Sprintf("%s %d-%d %v", pid, from, to, map[bool]string{true: "events", false: "snapshots"}[events]))
	h.at = append(h.at, time.Now())
	in := func(seq int64) bool { return from <= seq && seq <= to }
	if events {
		before := len(h.events[pid])
		h.events[pid] = slices.DeleteFunc(h.events[pid], in)
		eventRows = int64(before - len(h.events[pid]))
	}
	if snapshots {
		before := len(h.snapshots[pid])
		h.snapshots[pid] = slices.DeleteFunc(h.snapshots[pid], func(s persistence.Snapshot) bool { return in(s.SeqNr) })
		snapshotRows = int64(before - len(h.snapshots[pid]))
	}
	return eventRows, snapshotRows, nil
}

func (h *history) left(pid string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var snapshots []int64
	for _, s := range h.snapshots[pid] {
		snapshots = append(snapshots, s.SeqNr)
	}
	return fmt.Sprint(h.events[pid], snapshots)
}

func (h *history) done() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.deletes)
}

// begin starts a worker on h whose random factor is 1.5; change edits its configuration. Inside a synctest bubble.
func begin(t *testing.T, h *history, share Share, change func(*Config)) *Worker {
	t.Helper()
	config := Default
	if change != nil {
		change(&config)
	}
	w := New(Options{Store: h, Config: config, Share: func() Share { return share }, Log: slog.New(slog.DiscardHandler), Jitter: func() float64 { return 1.5 }})
	w.Start()
	t.Cleanup(w.Stop)
	return w
}

func send(t *testing.T, w *Worker, commandType, members string) map[string]any {
	t.Helper()
	reply, err := w.Answer(t.Context(), messages.Command{Type: commandType, Members: json.RawMessage(members)})
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(reply.Body, &o); err != nil || o["status"] != float64(reply.Status) {
		t.Fatalf("%s %d %v", reply.Body, reply.Status, err)
	}
	return o
}

func state(t *testing.T, w *Worker) string {
	t.Helper()
	info := send(t, w, messages.RetrieveHealth, `{}`)["statusInfo"].(map[string]any)
	detail := info["details"].([]any)[0].(map[string]any)["INFO"].(map[string]any)
	return fmt.Sprint(info["status"], " ", detail["state"], " ", detail["pid"])
}

var whole = Share{0, 1}

// wait lets the bubble's time pass and everything come to rest.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestKeepsWhatIsYoung is checklist row C5 of operations.md and its neighbours.
func TestKeepsWhatIsYoung(t *testing.T) {
	gone := func(h *history) {
		h.snapshots["connection:a"][0].Payload = json.RawMessage(`{"__lifecycle":"DELETED"}`)
	}
	upTo := func(from, to int64) string {
		var all []int64
		for s := from; s <= to; s++ {
			all = append(all, s)
		}
		return fmt.Sprint(all)
	}
	for _, row := range []struct {
		name      string
		last      int64
		snapshots map[int64]int
		prepare   func(*history)
		change    func(*Config)
		left      string
	}{
		{"the newest of the old ones stays, and all after it", 14, map[int64]int{5: 40, 9: 31, 12: 1}, nil, nil, upTo(9, 14) + "[9 12]"},
		{"nothing is old", 14, map[int64]int{5: 3, 9: 2}, nil, nil, upTo(1, 14) + "[5 9]"},
		{"retention 0 keeps the newest snapshot", 14, map[int64]int{5: 40, 12: 1}, nil, func(c *Config) { c.Retention = 0 }, upTo(12, 14) + "[12]"},
		{"a snapshot at the last event", 9, map[int64]int{9: 31}, nil, nil, "[9][9]"},
		{"the final snapshot of a deleted one stays", 9, map[int64]int{9: 31}, gone, nil, "[9][9]"},
		{"unless it is to go", 9, map[int64]int{9: 31}, gone, func(c *Config) { c.Final = true }, "[9][]"},
		{"which does not concern a living one", 9, map[int64]int{9: 31}, nil, func(c *Config) { c.Final = true }, "[9][9]"},
		{"switched off", 14, map[int64]int{9: 31}, nil, func(c *Config) { c.Enabled = false }, upTo(1, 14) + "[9]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHistory()
				h.entity("connection:a", row.last, row.snapshots)
				if row.prepare != nil {
					row.prepare(h)
				}
				w := begin(t, h, whole, row.change)
				wait(time.Hour)
				left := h.left("connection:a")
				if want := strings.ReplaceAll(row.left, "][", "] ["); left != want {
					t.Errorf("left %s, want %s", left, want)
				}
				if n := testutil.ToFloat64(w.events); n != float64(row.last)-float64(len(h.events["connection:a"])) {
					t.Errorf("%v events counted", n)
				}
			})
		})
	}
}

// TestCredits is row C6: 250 old events at one credit a minute are three statements within two minutes; there is no saving up.
func TestCredits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.entity("connection:a", 251, map[int64]int{251: 31})
		h.entity("connection:b", 10, map[int64]int{10: 31})
		h.entity("connection:c", 10, map[int64]int{1: 31}) // nothing to delete costs nothing
		h.entity("connection:d", 10, map[int64]int{10: 31})
		began := time.Now()
		w := begin(t, h, whole, func(c *Config) { c.Interval = time.Minute })
		if got := state(t, w); got != "UP IN_QUIET_PERIOD " {
			t.Error(got)
		}
		wait(5*time.Minute*3/2 + 30*time.Second)
		if got := state(t, w); got != "UP RUNNING " {
			t.Errorf("in the middle of the first: %s", got)
		}
		wait(2 * time.Minute)
		if got := state(t, w); got != "UP RUNNING connection:a" {
			t.Errorf("after the first: %s", got)
		}
		wait(3 * time.Minute)
		want := []string{"connection:a 1-100 events", "connection:a 101-200 events", "connection:a 201-250 events", "connection:a 251-250 snapshots"}
		want = want[:3]
		want = append(want, "connection:b 1-9 events", "connection:d 1-9 events")
		if got := h.done(); !slices.Equal(got, want) {
			t.Fatalf("deletes %v, want %v", got, want)
		}
		for i, at := range h.at {
			if want := 5*time.Minute*3/2 + time.Duration(i)*time.Minute; at.Sub(began) != want {
				t.Errorf("delete %d after %v, want %v", i, at.Sub(began), want)
			}
		}
		if got := state(t, w); got != "UP IN_QUIET_PERIOD " {
			t.Errorf("at the end: %s", got)
		}
	})
}

// TestShare: each persistence id is somebody's, and only somebody's; a node that is no member does nothing.
func TestShare(t *testing.T) {
	owners := map[int]int{}
	for k := range 1000 {
		pid := fmt.Sprint("connection:plant-", k)
		n := 0
		for index := range 3 {
			if (Share{index, 3}).Has(pid) {
				n++
				owners[index]++
			}
		}
		if n != 1 || (Share{}).Has(pid) {
			t.Fatalf("%s has %d owners", pid, n)
		}
	}
	for index, n := range owners {
		if n < 250 {
			t.Errorf("share %d has %d of 1000", index, n)
		}
	}
	// From the definition s[0]*31^(n-1) + … + s[n-1] in 32 bits: "polygenelubricants" is known for the smallest int.
	for text, want := range map[string]int32{"": 0, "a": 97, "ab": 3105, "polygenelubricants": -2147483648} {
		if got := javaHash(text); got != want {
			t.Errorf("hash of %q: %d, want %d", text, got, want)
		}
	}
	if !(Share{int(int64(2147483648) % 7), 7}).Has("polygenelubricants") {
		t.Error("the smallest hash belongs to nobody")
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.entity("connection:a", 10, map[int64]int{10: 31})
		begin(t, h, Share{}, nil)
		wait(time.Hour)
		if got := h.done(); len(got) > 0 {
			t.Errorf("deleted %v", got)
		}
	})
}

// TestModify is rows C2 to C4 and C7.
func TestModify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		for _, pid := range []string{"connection:a", "connection:m", "connection:z"} {
			h.entity(pid, 10, map[int64]int{10: 31})
		}
		w := begin(t, h, whole, nil)
		const before = `{"credits-per-batch":1,"delete-final-deleted-snapshot":false,"enabled":true,"history-retention-duration":2592000000,"interval":10000,"quiet-period":300000,"reads-per-query":100,"timer-threshold":150,"writes-per-credit":100}`
		shown := func(path string) string {
			b, _ := json.Marshal(send(t, w, messages.RetrieveConfig, path)["config"])
			return string(b)
		}
		if got := shown(`{}`); got != before {
			t.Errorf("config %s", got)
		}
		if got := shown(`{"path":"quiet-period"}`); got != "300000" {
			t.Errorf("quiet-period %s", got)
		}
		if got := shown(`{"path":"a.b"}`); !strings.HasPrefix(got, `{"error":"`) {
			t.Errorf("bad path %s", got)
		}
		for _, bad := range []string{
			`{"interval":"-1s"}`, `{"interval":0}`, `{"quiet-period":"0s"}`, `{"timer-threshold":-1}`, `{"history-retention-duration":-1}`, `{"writes-per-credit":0}`,
			`{"credits-per-batch":"2"}`, `{"reads-per-query":1.5}`, `{"enabled":"yes"}`, `{"enabled":null}`, `{"interval":"5 parsecs"}`, `{"interval":{}}`, `{"interval":""}`,
			`{"last-pid":5}`, `{"delete-final-deleted-snapshot":1}`, `{"quiet-period":"1s","interval":"-1s"}`, `{"interval":"1e300s"}`, `[]`, `5`,
		} {
			if o := send(t, w, messages.ModifyConfig, `{"config":`+bad+`}`); o["status"] != 400. || o["error"] != "json.invalid" {
				t.Errorf("%s: %v", bad, o)
			}
		}
		if got := shown(`{}`); got != before {
			t.Errorf("after refused changes: %s", got)
		}
		// Reading does not put the walk off: it begins on time.
		wait(5*time.Minute*3/2 - time.Second)
		state(t, w)
		if len(h.done()) != 0 {
			t.Fatal("too early")
		}
		wait(time.Second)
		if got := h.done(); !slices.Equal(got, []string{"connection:a 1-9 events"}) {
			t.Fatalf("deletes %v", got)
		}
		// A change while it runs: the walk ends, and the next begins after a stretched quiet period, after the pid that was given.
		o := send(t, w, messages.ModifyConfig, `{"config":{"quiet-period":"2s","last-pid":"connection:m","interval":1000,"history-retention-duration":0,"unknown":1}}`)
		config := o["config"].(map[string]any)
		if config["quiet-period"] != 2000. || config["interval"] != 1000. || config["history-retention-duration"] != 0. || config["last-pid"] != nil || len(config) != 9 {
			t.Errorf("effective %v", config)
		}
		synctest.Wait()
		if got := state(t, w); got != "UP IN_QUIET_PERIOD connection:m" {
			t.Error(got)
		}
		wait(3*time.Second - time.Millisecond)
		if n := len(h.done()); n != 1 {
			t.Fatal("the quiet period was not stretched")
		}
		wait(time.Millisecond)
		if got := h.done(); !slices.Equal(got[1:], []string{"connection:z 1-9 events"}) {
			t.Fatalf("deletes %v", got)
		}
		// A change while it is quiet: a plain quiet period. The walk begins at the start again.
		wait(time.Second)
		send(t, w, messages.ModifyConfig, `{"config":{"quiet-period":"4s"}}`)
		wait(4*time.Second + time.Millisecond)
		if got := h.done(); !slices.Equal(got[2:], []string{"connection:m 1-9 events"}) {
			t.Fatalf("deletes %v", got)
		}
		// Off, and on again.
		wait(time.Second)
		send(t, w, messages.ModifyConfig, `{"config":{"enabled":false}}`)
		reads := h.reads
		wait(time.Hour)
		if h.reads != reads {
			t.Error("it walks although it is off")
		}
		send(t, w, messages.ModifyConfig, `{"config":{"enabled":true}}`)
		wait(5 * time.Second)
		if h.reads == reads {
			t.Error("it does not walk although it is on")
		}
		if _, err := w.Answer(t.Context(), messages.Command{Type: messages.PurgeEntities}); !errors.Is(err, messages.ErrNotTaken) {
			t.Errorf("another command: %v", err)
		}
	})
}

// TestResumesAfterAFailure: the store fails in the middle; the walk goes on where it was, after a quiet period.
func TestResumesAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		for _, pid := range []string{"connection:a", "connection:b", "connection:c"} {
			h.entity(pid, 10, map[int64]int{10: 31})
		}
		w := begin(t, h, whole, func(c *Config) { c.Reads = 1 })
		wait(5*time.Minute*3/2 + time.Second)
		h.mu.Lock()
		h.fail = persistence.ErrUnavailable
		h.mu.Unlock()
		wait(time.Minute)
		if got := state(t, w); !strings.HasPrefix(got, "UP IN_QUIET_PERIOD connection:") {
			t.Errorf("after the failure: %s", got)
		}
		h.mu.Lock()
		h.fail = nil
		h.mu.Unlock()
		wait(20 * time.Minute)
		if got := h.done(); !slices.Equal(got, []string{"connection:a 1-9 events", "connection:b 1-9 events", "connection:c 1-9 events"}) {
			t.Errorf("deletes %v", got)
		}
	})
}

// TestPurgedMeanwhile: what was purged and created again while a credit was waited for keeps its new events.
func TestPurgedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.entity("connection:a", 251, map[int64]int{251: 31})
		begin(t, h, whole, nil)
		wait(5*time.Minute*3/2 + time.Second) // the first of three
		h.mu.Lock()
		h.events["connection:a"], h.snapshots["connection:a"] = []int64{1, 2, 3}, nil
		h.mu.Unlock()
		wait(time.Hour)
		if got := h.left("connection:a"); got != "[1 2 3] []" {
			t.Errorf("left %s", got)
		}
	})
}
