package messages

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// FormatInstant renders t as Java's Instant.toString does: UTC, a fraction of 0, 3, 6 or 9 digits (piggyback.md 0).
func FormatInstant(t time.Time) string { return string(appendInstant(nil, t)) }

func appendInstant(dst []byte, t time.Time) []byte {
	t = t.UTC()
	layout := "2006-01-02T15:04:05.000000000Z"
	switch n := t.Nanosecond(); {
	case n == 0:
		layout = "2006-01-02T15:04:05Z"
	case n%1_000_000 == 0:
		layout = "2006-01-02T15:04:05.000Z"
	case n%1_000 == 0:
		layout = "2006-01-02T15:04:05.000000Z"
	}
	return t.AppendFormat(dst, layout)
}

// ErrDuration says that a text is no duration.
var ErrDuration = errors.New("messages: not a duration")

// durationUnits are the units of piggyback.md 1.3; bare digits are seconds.
var durationUnits = map[string]time.Duration{
	"": time.Second, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "mo": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
}

// ParseDuration reads "<digits><unit>" as the header timeout has it: units s, ms, m, h, d, w, mo, y, none is seconds
// (piggyback.md 1.3). Anything else, negative and too large ones included, is ErrDuration.
func ParseDuration(text string) (time.Duration, error) {
	digits := 0
	var n int64
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		if n > (1<<62)/10 {
			return 0, ErrDuration
		}
		n = n*10 + int64(text[digits]-'0')
		digits++
	}
	unit, ok := durationUnits[text[digits:]]
	if digits == 0 || !ok || n > int64(1<<63-1)/int64(unit) {
		return 0, ErrDuration
	}
	return time.Duration(n) * unit, nil
}

// configUnits are the units of HOCON durations; a bare number is milliseconds (connection-model.md 9).
var configUnits = map[string]time.Duration{
	"": time.Millisecond, "ns": time.Nanosecond, "nano": time.Nanosecond, "nanos": time.Nanosecond, "nanosecond": time.Nanosecond, "nanoseconds": time.Nanosecond,
	"us": time.Microsecond, "micro": time.Microsecond, "micros": time.Microsecond, "microsecond": time.Microsecond, "microseconds": time.Microsecond,
	"ms": time.Millisecond, "milli": time.Millisecond, "millis": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "second": time.Second, "seconds": time.Second, "m": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}

// ParseConfigDuration reads a duration of specificConfig: a number, possibly negative or with a fraction, and a HOCON unit;
// none is milliseconds. Anything else is ErrDuration.
func ParseConfigDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	i := strings.IndexFunc(text, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' })
	if i < 0 {
		i = len(text)
	}
	unit, ok := configUnits[text[i:]]
	n, err := strconv.ParseFloat(strings.TrimSpace(text[:i]), 64)
	if d := n * float64(unit); ok && err == nil && math.Abs(d) < 1<<62 {
		return time.Duration(d), nil
	}
	return 0, ErrDuration
}
