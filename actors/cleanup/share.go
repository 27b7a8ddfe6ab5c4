package cleanup

import "unicode/utf16"

// Share is a node's part of the work: its place among the live members, sorted by address, and their number. Of 0 means
// that the node is no member now and responsible for nothing.
type Share struct{ Index, Of int }

// Has reports whether a persistence id belongs to the share (operations.md 2.1 item 3).
func (s Share) Has(pid string) bool {
	if s.Of <= 0 {
		return false
	}
	hash := int64(javaHash(pid))
	if hash < 0 {
		hash = -hash
	}
	return hash%int64(s.Of) == int64(s.Index)
}

// javaHash is java.lang.String.hashCode: nodes of both kinds then agree on their shares.
func javaHash(text string) int32 {
	var hash int32
	for _, unit := range utf16.Encode([]rune(text)) {
		hash = 31*hash + int32(unit)
	}
	return hash
}
