package messages

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// MigrationRequest reads the members of a migrateEncryption command that ParseCommand has accepted.
func MigrationRequest(c Command) (dryRun, resume bool) {
	v, err := parseJSON(c.Members)
	if err != nil {
		return false, false
	}
	r := &jsonReader{jsonValue: v}
	return r.boolean("dryRun", false), r.boolean("resume", false)
}

// MigrationCounts are the documents of one table that an encryption migration has looked at.
type MigrationCounts struct{ Processed, Skipped, Failed int64 }

// MigrationStatus is what migrateEncryptionStatus answers (encryption.md 6.3, decision D21). Texts that are "" and times that
// are zero are null.
type MigrationStatus struct {
	Phase                           string // snapshots, journal, completed, or in_progress: and one of them
	Snapshots, Journal              MigrationCounts
	LastSnapshotID, LastSnapshotPID string
	LastJournalID, LastJournalPID   string
	StartedAt, UpdatedAt            time.Time
	DryRun, Active                  bool
}

// MigrationAlreadyCompleted is the phase in the answer to a resume that finds nothing to do; its status is 200.
const MigrationAlreadyCompleted = "already_completed"

// MigrationStartedReply answers migrateEncryption: 202 with the phase it starts in, or 200 when there is nothing to resume
// (decision D20).
func MigrationStartedReply(phase string, dryRun, resumed bool, startedAt time.Time) Reply {
	status := 202
	if phase == MigrationAlreadyCompleted {
		status = 200
	}
	return reply(ResponseType(MigrateEncryption), status, func(w *objectWriter) {
		w.string("phase", phase)
		w.boolean("dryRun", dryRun)
		w.boolean("resumed", resumed)
		w.instant("startedAt", startedAt)
	})
}

// MigrationStatusReply answers migrateEncryptionStatus.
func MigrationStatusReply(s MigrationStatus) Reply {
	return reply(ResponseType(MigrateEncryptionStatus), 200, func(w *objectWriter) {
		w.string("phase", s.Phase)
		w.counts("snapshots", s.Snapshots)
		w.counts("journalEvents", s.Journal)
		w.object("progress", func(w *objectWriter) {
			w.orNull("lastProcessedSnapshotId", s.LastSnapshotID)
			w.orNull("lastProcessedSnapshotPid", s.LastSnapshotPID)
			w.orNull("lastProcessedJournalId", s.LastJournalID)
			w.orNull("lastProcessedJournalPid", s.LastJournalPID)
		})
		w.object("timing", func(w *objectWriter) {
			w.instantOrNull("startedAt", s.StartedAt)
			w.instantOrNull("updatedAt", s.UpdatedAt)
		})
		w.boolean("dryRun", s.DryRun)
		w.boolean("migrationActive", s.Active)
	})
}

// MigrationAbortedReply answers migrateEncryptionAbort; phase is the one that was aborted, snapshots or journal.
func MigrationAbortedReply(phase string, snapshots, journal MigrationCounts, abortedAt time.Time) Reply {
	return reply(ResponseType(MigrateEncryptionAbort), 200, func(w *objectWriter) {
		w.string("phase", "aborted:"+phase)
		w.counts("snapshots", snapshots)
		w.counts("journalEvents", journal)
		w.instant("abortedAt", abortedAt)
	})
}

func (w *objectWriter) counts(name string, c MigrationCounts) {
	w.object(name, func(w *objectWriter) {
		w.integer("processed", c.Processed)
		w.integer("skipped", c.Skipped)
		w.integer("failed", c.Failed)
	})
}

func (w *objectWriter) object(name string, members func(*objectWriter)) {
	w.key(name)
	inner := objectWriter{dst: w.dst}
	inner.open()
	members(&inner)
	w.dst = inner.close()
}

func (w *objectWriter) orNull(name, value string) {
	if value == "" {
		w.raw(name, nil)
		return
	}
	w.string(name, value)
}

func (w *objectWriter) instantOrNull(name string, at time.Time) {
	if at.IsZero() {
		w.raw(name, nil)
		return
	}
	w.instant(name, at)
}

// NewEncryptionNotConfigured: nothing can be migrated, encryption is disabled and there is no old key (decision D22).
func NewEncryptionNotConfigured() *Error {
	return &Error{
		Status: 400, Code: "connectivity:encryption.notconfigured",
		Message:     "There is nothing to migrate: encryption is not enabled and no old key is configured.",
		Description: "Enable encryption with a key to encrypt, add the old key to rotate, or configure the old key alone to decrypt.",
	}
}

// NewEncryptionMisconfigured: disabled with both keys; remove is the variable of the key to remove (decision D23).
func NewEncryptionMisconfigured(remove string) *Error {
	return &Error{
		Status: 400, Code: "connectivity:encryption.misconfigured",
		Message:     "Encryption is not enabled, but both a current and an old key are configured.",
		Description: fmt.Sprintf("To decrypt what is stored under the old key, remove the current one (%s); to rotate the keys, enable encryption.", remove),
	}
}

// NewMigrationInProgress: a start while a migration runs (decision D22).
func NewMigrationInProgress() *Error {
	return &Error{
		Status: 409, Code: "connectivity:encryption.migration.inprogress",
		Message:     "A migration is already in progress.",
		Description: fmt.Sprintf("Query it with '%s', or stop it with '%s'.", MigrateEncryptionStatus, MigrateEncryptionAbort),
	}
}

// NewMigrationNotRunning: an abort while none runs (decision D22).
func NewMigrationNotRunning() *Error {
	return &Error{
		Status: 409, Code: "connectivity:encryption.migration.notrunning",
		Message:     "No migration is currently running.",
		Description: fmt.Sprintf("Query the last one with '%s'.", MigrateEncryptionStatus),
	}
}

// NewMigrationUnavailable: the progress cannot be read or written now (decision D22).
func NewMigrationUnavailable() *Error {
	return &Error{
		Status: 503, Code: "connectivity:encryption.migration.unavailable",
		Message:     "The progress of the migration is not available now.",
		Description: "Try again later.",
	}
}

// NewKeysDiffer: live members hold other keys than the one that migrates (decision D29).
func NewKeysDiffer(instances []string) *Error {
	instances = slices.Sorted(slices.Values(instances))
	return &Error{
		Status: 409, Code: "connectivity:encryption.keys.differ",
		Message:     fmt.Sprintf("The encryption keys or settings of these instances differ: %s.", strings.Join(instances, ", ")),
		Description: "Give all instances the same keys, then start the migration again.",
	}
}
