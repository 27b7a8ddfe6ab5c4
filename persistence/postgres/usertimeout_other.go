//go:build !linux

package postgres

import (
	"syscall"
	"time"
)

// userTimeout: other systems have no such option; the deadline of each batch ends the wait there.
func userTimeout(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
