package persistencetest

import (
	"errors"
	"testing"
	"time"
)

// Eventually repeats check until it returns nil; it fails the test at the deadline with the last error.
func Eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
		<-time.After(pause)
	}
}

var errNotYet = errors.New("not yet")

// Until is Eventually for what is just so or not, within patience.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Eventually(t, patience, what, func() error {
		if holds() {
			return nil
		}
		return errNotYet
	})
}
