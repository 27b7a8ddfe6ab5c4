package connection

import (
	"fmt"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/persistence"
)

// Phase says whether there is a connection.
type Phase uint8

// The phases. Absent and Deleted answer alike, but a connection deleted in this activation still refuses a test
// (piggyback.md 4.8) and wants a snapshot of its deletion before it is passivated (5.5).
const (
	Absent Phase = iota
	Active
	Deleted
)

func (p Phase) String() string { return [...]string{"absent", "active", "deleted"}[p] }

// State is what an entity knows. All but Testing follows from its journal.
type State struct {
	ID          string
	Phase       Phase
	Connection  *messages.Connection // nil unless Active; with hidden members; never changed in place
	Seq         int64                // sequence number of the newest event, 0 when never written
	SnapshotSeq int64                // sequence number of the newest snapshot, 0 for none
	Priority    int                  // n of the tag priority-<n> (piggyback.md 5.7)
	Testing     bool                 // a testConnection is running
}

// Open reports whether the stored status wants clients to run.
func (s State) Open() bool { return s.Phase == Active && s.Connection.Status == messages.StatusOpen }

// EntityTag is the strong tag that if-match and if-none-match compare, "" when there is no connection.
func (s State) EntityTag() string {
	if s.Phase != Active {
		return ""
	}
	return entityTag(s.Connection.Revision)
}

func entityTag(revision int64) string { return `"rev:` + strconv.FormatInt(revision, 10) + `"` }

// headers are what a reply says of the connection beside its body.
func (s State) headers() messages.Headers { return s.version().headers() }

// version is what headers are made of.
type version struct {
	seq      int64 // of the newest event, 0 when never written
	active   bool
	revision int64 // of the connection, when there is one
}

func (s State) version() version {
	if s.Phase != Active {
		return version{seq: s.Seq}
	}
	return version{s.Seq, true, s.Connection.Revision}
}

// headers are the sequence number of the newest event and the entity tag (http-api.md 3.2). Nil when the connection was never
// written.
func (v version) headers() messages.Headers {
	if v.seq == 0 {
		return nil
	}
	h := messages.Headers{messages.HeaderEntityRevision: strconv.FormatInt(v.seq, 10)}
	if v.active {
		h[messages.HeaderETag] = entityTag(v.revision)
	}
	return h
}

// AlwaysAlive is the internal journal tag of open connections.
const AlwaysAlive = "always-alive"

// Tags are the journal tags of an event that leaves the entity in state s (piggyback.md 6.2).
func (s State) Tags() []string {
	if s.Phase != Active {
		return []string{}
	}
	tags := append([]string{}, s.Connection.Tags...)
	if s.Open() {
		tags = append(tags, AlwaysAlive, fmt.Sprintf("priority-%d", s.Priority))
	}
	return tags
}

// Index is the row of the index table that goes with the newest event (decision O2).
func (s State) Index(shard int) persistence.IndexRow {
	row := persistence.IndexRow{
		ID: s.ID, Shard: shard, Status: string(messages.StatusClosed), Deleted: true, Tags: s.Tags(), Priority: s.Priority, Revision: s.Seq,
	}
	if s.Phase == Active {
		row.Status, row.Deleted, row.ClientCount = string(s.Connection.Status), false, s.Connection.ClientCount
	}
	return row
}

// PID is the persistence id of a connection.
func PID(id string) string { return pidPrefix + id }

// ID is the connection of a persistence id.
func ID(pid string) string { return strings.TrimPrefix(pid, pidPrefix) }

const pidPrefix = "connection:"
