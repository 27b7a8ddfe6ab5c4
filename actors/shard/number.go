package shard

import "unicode/utf16"

// Number is the shard of a connection id: |hash| mod shards with Java's string hash, so that a shard id seen in an old
// Ditto log means the same connection here (contract operations.md 6.2).
func Number(id string, shards int) int {
	var h int32
	for _, unit := range utf16.Encode([]rune(id)) {
		h = 31*h + int32(unit)
	}
	if h == -1<<31 {
		return 0
	}
	return int(max(h, -h)) % shards
}
