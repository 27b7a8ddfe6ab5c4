package shard

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Number is the shard of a connection id: |hash| mod shards with Java's string hash, so that a shard id seen in an old
// Ditto log means the same connection here (contract operations.md 6.2).
func Number(id string, shards int) int {
	var h int32
	for _, r := range id {
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			h = 31*h + high
			r = low
		}
		h = 31*h + r
	}
	if h == -1<<31 {
		return 0
	}
	return int(max(h, -h)) % shards
}
