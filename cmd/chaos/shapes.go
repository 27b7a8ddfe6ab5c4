package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// shapes says which connections have two clients (clientCount 2, which takes MQTT 5): with two, every fifth target, every
// eighth source and every fourth connection of the command clients. A connection keeps its shape for ever.
type shapes struct {
	two bool
}

// count is the clientCount of a connection.
func (s shapes) count(id string) int {
	name, digits, _ := cutLast(id, "-")
	number, err := strconv.Atoi(digits)
	if !s.two || err != nil {
		return 1
	}
	every := 4
	switch name {
	case "target":
		every = 5
	case "source":
		every = 8 // some of them relay to a target with two clients, others to one with a single client
	}
	if number%every == 0 {
		return 2
	}
	return 1
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// kind is the type of a connection.
func (s shapes) kind(id string) string {
	if s.count(id) > 1 {
		return "mqtt-5"
	}
	return "mqtt"
}

// filter is the source address of a connection that reads topics. Two clients share a subscription: with one of its own each of
// them would get every message.
func (s shapes) filter(id, topics string) string {
	if s.count(id) > 1 {
		return "$share/chaos/" + topics
	}
	return topics
}

// owner is the connection of a broker client: the client id is the connection's, with clientCount > 1 it has a suffix (decision O18).
func owner(client string) (connection string) {
	connection, _, _ = strings.Cut(client, "_")
	return connection
}

// stranger says what is wrong with a client id of a connection, "" if nothing is, known being the ids that its clients have had: they
// are as many as it has clients, for ever, so that there are never more clients and none leaves its session behind.
func (s shapes) stranger(client string, known []string) string {
	connection, suffix, suffixed := strings.Cut(client, "_")
	count := s.count(connection)
	switch {
	case count == 1 && suffixed:
		return "a suffix that the client id of a single client has not"
	case count > 1 && uuid.Validate(suffix) != nil:
		return "no UUID behind the connection's id"
	case len(known) >= count:
		return fmt.Sprintf("one more client id than the %d of its clients: %s", count, strings.Join(known, ", "))
	}
	return ""
}
