package messages

import (
	"fmt"
	"testing"
	"time"
)

// TestParseConfigDuration is HOCON's form (bindings.md 1.2: a bare number means milliseconds).
func TestParseConfigDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"60s": time.Minute, "500ms": 500 * time.Millisecond, "1m": time.Minute, "30": 30 * time.Millisecond, "0": 0, " 2 h ": 2 * time.Hour,
		"1.5s": 1500 * time.Millisecond, "1d": 24 * time.Hour, "3 seconds": 3 * time.Second, "10us": 10 * time.Microsecond, "7ns": 7,
	} {
		if got, err := ParseConfigDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "1x", "1 2", "ten", "1s2", "99999999999999999999d", "NaN", "Inf", "1e", "0x10s"} {
		if got, err := ParseConfigDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func FuzzParseConfigDuration(f *testing.F) {
	for _, s := range []string{"60s", "30", "1.5 m", "-1s", "1e3ms"} {
		f.Add(s, int32(30))
	}
	f.Fuzz(func(t *testing.T, text string, n int32) {
		_, _ = ParseConfigDuration(text)
		if d, err := ParseConfigDuration(fmt.Sprint(n)); err != nil || d != time.Duration(n)*time.Millisecond {
			t.Fatalf("%d: %v, %v", n, d, err)
		}
	})
}
