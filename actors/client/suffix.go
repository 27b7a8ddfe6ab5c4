package client

import (
	"strconv"

	"github.com/google/uuid"

	"hawser/messages"
)

// suffixes is the name space of Suffix.
var suffixes = uuid.MustParse("6f1d9f0e-57a5-4e0e-9f5c-1f6c8d1c6f0a")

// Suffix is what the broker-visible ids of client number index of c end with: "" for the only client, else "_<uuid>" with
// a UUID (version 5) of connection id and index, so that a broker's session survives a move (decision O18).
func Suffix(c *messages.Connection, index int) string {
	if c.ClientCount <= 1 {
		return ""
	}
	return "_" + uuid.NewSHA1(suffixes, []byte(c.ID+"/"+strconv.Itoa(index))).String()
}
