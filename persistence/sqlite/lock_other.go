//go:build unix && !linux

package sqlite

// Local reports whether the folder is on a local disk, so that the lock proves that no other process uses it. Here nobody knows.
func (l *Lock) Local() bool { return false }
