package client

import (
	"strconv"
	"strings"

	"github.com/google/uuid"

	"hawser/messages"
)

// MaxClients is the most clients that one connection has at once, whatever its clientCount: Ditto's API allows no more, and
// each needs a node of its own (design.md 3.3).
const MaxClients = 9

// Identity names client number index of a connection in the cluster: the connection's id for client 0, which lives with the
// entity, "<id>#<index>" for the others. No connection id holds a '#'.
func Identity(id string, index int) string {
	if index == 0 {
		return id
	}
	return id + "#" + strconv.Itoa(index)
}

// ParseIdentity reads what Identity has written.
func ParseIdentity(identity string) (id string, index int) {
	id, number, numbered := strings.Cut(identity, "#")
	if numbered {
		index, _ = strconv.Atoi(number) // else it is nobody's identity
	}
	return id, index
}

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
