package cleanup

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"hawser/messages"
)

// Config is operations.md 2.3.
type Config struct {
	Enabled   bool          // start the walk at all
	Retention time.Duration // how long history stays readable; 0: only the newest snapshot is kept
	Quiet     time.Duration // pause before each walk
	Interval  time.Duration // of credits
	Threshold time.Duration // accepted, without effect
	Credits   int           // per interval
	Reads     int           // snapshot rows per query
	Writes    int           // sequence numbers per delete
	Final     bool          // delete the final snapshot of a deleted connection, too
}

// Default is the configuration without any setting.
var Default = Config{
	Enabled: true, Retention: 30 * 24 * time.Hour, Quiet: 5 * time.Minute, Interval: 10 * time.Second, Threshold: 150 * time.Millisecond,
	Credits: 1, Reads: 100, Writes: 100,
}

// JSON renders the configuration; durations are milliseconds (operations.md 2.2).
func (c Config) JSON() json.RawMessage {
	b, err := json.Marshal(struct {
		Enabled   bool  `json:"enabled"`
		Retention int64 `json:"history-retention-duration"`
		Quiet     int64 `json:"quiet-period"`
		Interval  int64 `json:"interval"`
		Threshold int64 `json:"timer-threshold"`
		Credits   int   `json:"credits-per-batch"`
		Reads     int   `json:"reads-per-query"`
		Writes    int   `json:"writes-per-credit"`
		Final     bool  `json:"delete-final-deleted-snapshot"`
	}{
		c.Enabled, c.Retention.Milliseconds(), c.Quiet.Milliseconds(), c.Interval.Milliseconds(), c.Threshold.Milliseconds(),
		c.Credits, c.Reads, c.Writes, c.Final,
	})
	if err != nil { // numbers and booleans
		return json.RawMessage("{}")
	}
	return b
}

// change is what a modifyConfig asks for.
type change struct {
	config  Config
	lastPID *string // nil: the walk goes on where it was
}

// with lays the members of an object over c. Unknown ones are ignored; a value that is wrong changes nothing.
func (c Config) with(object json.RawMessage) (change, *messages.Error) {
	out := change{config: c}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return out, messages.NewJSONInvalid("The config is no JSON object.")
	}
	n := &out.config
	var last string
	for _, m := range []struct {
		name string
		read func(json.RawMessage) bool
	}{
		{"enabled", boolean(&n.Enabled)},
		{"history-retention-duration", duration(&n.Retention, 0)},
		{"quiet-period", duration(&n.Quiet, 1)},
		{"interval", duration(&n.Interval, 1)},
		{"timer-threshold", duration(&n.Threshold, 1)},
		{"credits-per-batch", positive(&n.Credits)},
		{"reads-per-query", positive(&n.Reads)},
		{"writes-per-credit", positive(&n.Writes)},
		{"delete-final-deleted-snapshot", boolean(&n.Final)},
		{"last-pid", func(v json.RawMessage) bool {
			out.lastPID = &last
			return v[0] == '"' && json.Unmarshal(v, &last) == nil
		}},
	} {
		if value, there := members[m.name]; there && !m.read(value) {
			return change{config: c}, messages.NewJSONInvalid("The value of </config/" + m.name + "> is not valid.")
		}
	}
	return out, nil
}

func boolean(into *bool) func(json.RawMessage) bool {
	return func(v json.RawMessage) bool {
		return (v[0] == 't' || v[0] == 'f') && json.Unmarshal(v, into) == nil
	}
}

// most bounds the numbers: larger ones are typing errors.
const most = 1_000_000

func positive(into *int) func(json.RawMessage) bool {
	return func(v json.RawMessage) bool {
		n, err := strconv.Atoi(string(v))
		if err != nil || n < 1 || n > most {
			return false
		}
		*into = n
		return true
	}
}

// duration reads a number of milliseconds or a text such as 30s, at least so many milliseconds.
func duration(into *time.Duration, least time.Duration) func(json.RawMessage) bool {
	return func(v json.RawMessage) bool {
		text := string(v)
		if v[0] == '"' && json.Unmarshal(v, &text) != nil {
			return false
		}
		d, ok := parseDuration(text)
		if !ok || d < least*time.Millisecond {
			return false
		}
		*into = d
		return true
	}
}

// units are those of HOCON (operations.md 8).
var units = map[string]time.Duration{
	"": time.Millisecond, "ns": time.Nanosecond, "nano": time.Nanosecond, "nanos": time.Nanosecond, "nanosecond": time.Nanosecond, "nanoseconds": time.Nanosecond,
	"us": time.Microsecond, "micro": time.Microsecond, "micros": time.Microsecond, "microsecond": time.Microsecond, "microseconds": time.Microsecond,
	"ms": time.Millisecond, "milli": time.Millisecond, "millis": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "second": time.Second, "seconds": time.Second, "m": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}

func parseDuration(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	number := strings.TrimRightFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	unit, known := units[strings.TrimSpace(text[len(number):])]
	if strings.ContainsAny(number, "eExXpPnN_") {
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || math.Abs(n)*float64(unit) > math.MaxInt64/4 {
		return 0, false
	}
	return time.Duration(n * float64(unit)), true
}
