package persistencetest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"hawser/persistence"
)

// shards is the number of shards that the tests' databases have.
const shards = 8

// filler brings an event to the size of a usual one, about 300 bytes.
var filler = strings.Repeat("x", 150)

// NewAppend makes the append of an entity's event number seq, with the index row after it and, for every tenth, a snapshot.
func NewAppend(l persistence.Lease, id string, seq int64) persistence.Append {
	now := time.Now().UTC().Truncate(time.Microsecond)
	pid := "connection:" + id
	a := persistence.Append{
		Lease: l,
		Event: persistence.Event{
			PID: pid, SeqNr: seq, Epoch: l.Epoch, Type: "connectivity.events:connectionModified",
			Payload: fmt.Appendf(nil, `{"type":"connectivity.events:connectionModified","revision":%d,"connectionId":%q,"connection":{"id":%q,"name":"%s"},"__hh":{}}`, seq, id, id, filler),
			Tags:    []string{"plant", "always-alive", "priority-0"}, RequestID: fmt.Sprintf("request-%s-%d", id, seq), CreatedAt: now,
		},
		Index: persistence.IndexRow{
			ID: id, Shard: l.Shard.Number, Status: "open", Tags: []string{"plant", "always-alive", "priority-0"}, ClientCount: 1, Revision: seq,
		},
	}
	if seq%10 == 0 {
		a.Snapshot = &persistence.Snapshot{PID: pid, SeqNr: seq, Payload: json.RawMessage(fmt.Sprintf(`{"id":%q,"revision":%d}`, id, seq)), CreatedAt: now}
	}
	return a
}

// Own makes the shards, joins as a member and claims shard 0.
func Own(t testing.TB, s persistence.Leases, member persistence.MemberID) persistence.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Init(ctx, persistence.KindConnection, shards); err != nil {
		t.Fatal(err)
	}
	if err := s.Join(ctx, persistence.Member{ID: member, Instance: string(member)}); err != nil {
		t.Fatal(err)
	}
	leases, err := s.Claim(ctx, member, []persistence.ShardRef{{Kind: persistence.KindConnection, Number: 0}})
	if err != nil {
		t.Fatal(err)
	}
	if len(leases) != 1 {
		t.Fatalf("claimed %v, want shard 0", leases)
	}
	return leases[0]
}

// patience bounds every single wait of the suite.
const patience = 30 * time.Second
