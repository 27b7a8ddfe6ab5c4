package monitor

import (
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"
)

// UnmarshalText reads what MarshalText has written.
func (i *Instant) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	*i = Instant(t)
	return err
}

// MergeLogs puts the logs of several clients of a connection into one answer, as Logs would: in ascending order of time, the
// newest entries up to the size limit. The period is the longest of theirs.
func (c *Connection) MergeLogs(parts ...Logs) Logs {
	sum := NoLogs()
	for _, p := range parts {
		sum.Entries = append(sum.Entries, p.Entries...)
		if p.EnabledSince != nil && (sum.EnabledSince == nil || p.EnabledSince.Time().Before(sum.EnabledSince.Time())) {
			sum.EnabledSince = p.EnabledSince
		}
		if p.EnabledUntil != nil && (sum.EnabledUntil == nil || p.EnabledUntil.Time().After(sum.EnabledUntil.Time())) {
			sum.EnabledUntil = p.EnabledUntil
		}
	}
	slices.SortStableFunc(sum.Entries, func(a, b LogEntry) int { return a.Timestamp.Time().Compare(b.Timestamp.Time()) })
	size, first := 0, len(sum.Entries)
	for first > 0 {
		b, err := json.Marshal(sum.Entries[first-1])
		if size += utf8.RuneCount(b); err != nil || size > c.registry.opts.MaxLogSizeBytes {
			break
		}
		first--
	}
	sum.Entries = sum.Entries[first:]
	return sum
}
