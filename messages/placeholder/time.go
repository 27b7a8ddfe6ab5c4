package placeholder

import (
	"strconv"
	"strings"
	"time"

	"hawser/messages"
)

// Time resolves the names of prefix time: now and now_epoch_millis with optional offset and truncation, for instance
// "now-2d[d]" (contract runtime.md 9.1). Weeks, months and years are cut in now's location, all else in UTC; the text is
// an ISO-8601 instant in UTC or milliseconds since the epoch. False: no such name.
func Time(now time.Time, name string) ([]string, bool) {
	rest, millis := strings.CutPrefix(name, "now_epoch_millis")
	if !millis {
		var ok bool
		if rest, ok = strings.CutPrefix(name, "now"); !ok {
			return nil, false
		}
	}
	unit := ""
	if body, ok := strings.CutSuffix(rest, "]"); ok {
		if rest, unit, ok = strings.Cut(body, "["); !ok {
			return nil, false
		}
		if !truncatable(unit) {
			return nil, false
		}
	}
	if rest != "" {
		d, err := messages.ParseDuration(rest[1:])
		switch {
		case err != nil || d > maxOffset:
			return nil, false
		case rest[0] == '+':
			now = now.Add(d)
		case rest[0] == '-':
			now = now.Add(-d)
		default:
			return nil, false
		}
	}
	if unit != "" {
		now = truncate(now, unit)
	}
	if millis {
		return []string{strconv.FormatInt(now.UnixMilli(), 10)}, true
	}
	return []string{messages.FormatInstant(now)}, true
}

// maxOffset keeps the result within the years that an instant can be written in.
const maxOffset = 200 * 365 * 24 * time.Hour

func truncatable(unit string) bool {
	switch unit {
	case "ms", "s", "m", "h", "d", "w", "mo", "y":
		return true
	}
	return false
}

func truncate(t time.Time, unit string) time.Time {
	switch unit {
	case "ms":
		return t.Truncate(time.Millisecond)
	case "s":
		return t.Truncate(time.Second)
	case "m":
		return t.Truncate(time.Minute)
	case "h":
		return t.Truncate(time.Hour)
	case "d":
		return t.UTC().Truncate(24 * time.Hour)
	}
	year, month, day := t.Date()
	switch unit {
	case "w":
		day -= (int(t.Weekday()) + 6) % 7 // weeks start on Monday
	case "mo":
		day = 1
	case "y":
		month, day = time.January, 1
	}
	return time.Date(year, month, day, 0, 0, 0, 0, t.Location())
}
