package messages

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// The replies of encryption.md 6.3 with D20 and D21, byte for byte.
func TestMigrationReplies(t *testing.T) {
	started := time.Date(2026, 8, 4, 9, 12, 31, 120_000_000, time.UTC)
	updated := time.Date(2026, 8, 4, 9, 20, 2, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		reply  Reply
		status int
		want   string
	}{
		{"started", MigrationStartedReply("snapshots", true, false, started), 202,
			`{"type":"connectivity.responses:migrateEncryption","status":202,"phase":"snapshots","dryRun":true,"resumed":false,"startedAt":"2026-08-04T09:12:31.120Z"}`},
		{"nothing to resume", MigrationStartedReply(MigrationAlreadyCompleted, false, true, started), 200,
			`{"type":"connectivity.responses:migrateEncryption","status":200,"phase":"already_completed","dryRun":false,"resumed":true,"startedAt":"2026-08-04T09:12:31.120Z"}`},
		{"status", MigrationStatusReply(MigrationStatus{
			Phase: "in_progress:journal", Snapshots: MigrationCounts{41, 3, 0}, Journal: MigrationCounts{120, 0, 1},
			LastSnapshotID: "9031", LastSnapshotPID: "connection:line-7", LastJournalID: "55210", LastJournalPID: "connection:line-2",
			StartedAt: started, UpdatedAt: updated, Active: true,
		}), 200, `{"type":"connectivity.responses:migrateEncryptionStatus","status":200,"phase":"in_progress:journal",` +
			`"snapshots":{"processed":41,"skipped":3,"failed":0},"journalEvents":{"processed":120,"skipped":0,"failed":1},` +
			`"progress":{"lastProcessedSnapshotId":"9031","lastProcessedSnapshotPid":"connection:line-7","lastProcessedJournalId":"55210","lastProcessedJournalPid":"connection:line-2"},` +
			`"timing":{"startedAt":"2026-08-04T09:12:31.120Z","updatedAt":"2026-08-04T09:20:02Z"},"dryRun":false,"migrationActive":true}`},
		{"status, never run", MigrationStatusReply(MigrationStatus{Phase: "snapshots"}), 200,
			`{"type":"connectivity.responses:migrateEncryptionStatus","status":200,"phase":"snapshots",` +
				`"snapshots":{"processed":0,"skipped":0,"failed":0},"journalEvents":{"processed":0,"skipped":0,"failed":0},` +
				`"progress":{"lastProcessedSnapshotId":null,"lastProcessedSnapshotPid":null,"lastProcessedJournalId":null,"lastProcessedJournalPid":null},` +
				`"timing":{"startedAt":null,"updatedAt":null},"dryRun":false,"migrationActive":false}`},
		{"aborted", MigrationAbortedReply("snapshots", MigrationCounts{20, 0, 0}, MigrationCounts{}, updated), 200,
			`{"type":"connectivity.responses:migrateEncryptionAbort","status":200,"phase":"aborted:snapshots","snapshots":{"processed":20,"skipped":0,"failed":0},` +
				`"journalEvents":{"processed":0,"skipped":0,"failed":0},"abortedAt":"2026-08-04T09:20:02Z"}`},
	} {
		if tt.reply.Status != tt.status || string(tt.reply.Body) != tt.want {
			t.Errorf("%s: %d %s\nwant %d %s", tt.name, tt.reply.Status, tt.reply.Body, tt.status, tt.want)
		}
	}
}

// Codes and statuses of decisions D22, D23 and D29.
func TestMigrationErrors(t *testing.T) {
	for _, tt := range []struct {
		err     *Error
		status  int
		code    string
		mention string
	}{
		{NewEncryptionNotConfigured(), 400, "notconfigured", "not enabled"},
		{NewEncryptionMisconfigured("THE_KEY"), 400, "misconfigured", "THE_KEY"},
		{NewMigrationInProgress(), 409, "migration.inprogress", MigrateEncryptionAbort},
		{NewMigrationNotRunning(), 409, "migration.notrunning", "running"},
		{NewMigrationUnavailable(), 503, "migration.unavailable", "later"},
		{NewKeysDiffer([]string{"b", "a"}), 409, "keys.differ", "a, b"},
	} {
		if tt.err.Status != tt.status || tt.err.Code != "connectivity:encryption."+tt.code || !strings.Contains(tt.err.Error(), tt.mention) {
			t.Errorf("%v, want %s %d mentioning %q", tt.err, tt.code, tt.status, tt.mention)
		}
	}
}

func TestMigrationRequest(t *testing.T) {
	for members, want := range map[string][2]bool{
		`{"type":"connectivity.commands:migrateEncryption"}`:                                   {false, false},
		`{"type":"connectivity.commands:migrateEncryption","dryRun":true}`:                     {true, false},
		`{"type":"connectivity.commands:migrateEncryption","dryRun":false,"resume":true}`:      {false, true},
		`{"type":"connectivity.commands:migrateEncryption","dryRun":true,"resume":true,"x":1}`: {true, true},
	} {
		c, err := ParseCommand(json.RawMessage(members), nil)
		if err != nil {
			t.Fatal(err)
		}
		if dryRun, resume := MigrationRequest(c); dryRun != want[0] || resume != want[1] {
			t.Errorf("%s: %t %t", members, dryRun, resume)
		}
	}
	for _, members := range []string{`{"type":"connectivity.commands:migrateEncryption","dryRun":"yes"}`, `{"type":"connectivity.commands:migrateEncryption","resume":1}`} {
		if _, err := ParseCommand(json.RawMessage(members), nil); err == nil || !strings.Contains(err.Error(), "json.invalid") { // E35
			t.Errorf("%s: %v", members, err)
		}
	}
}
