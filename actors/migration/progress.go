package migration

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// Phase is how far a migration is. Verification is a phase of ours (decision D28): outside and in the store it shows as
// journal, the phase it follows.
type Phase string

// The phases in their order.
const (
	Snapshots    Phase = "snapshots"
	Journal      Phase = "journal"
	Verification Phase = "verification"
	Completed    Phase = "completed"
)

// public is the phase as answers and the stored document name it.
func (p Phase) public() string {
	if p == Verification {
		return string(Journal)
	}
	return string(p)
}

// State says whether somebody works on a migration that is stored (decision D24).
type State string

// The states.
const (
	Running State = "running"
	Aborted State = "aborted" // waits for resume:true
	Ended   State = "ended"
)

// Keys are what a migration was started with; it goes on by itself only with the same (decision D24).
type Keys struct {
	Mode     encryption.Mode
	Key, Old string // fingerprints, "" for none
}

// keysOf reads a ring. The error is encryption.ErrNotConfigured or ErrMisconfigured.
func keysOf(ring *encryption.Keyring) (Keys, error) {
	mode, err := ring.Mode()
	f := ring.Fingerprints()
	return Keys{Mode: mode, Key: f.Key, Old: f.Old}, err
}

// Table is how far one table is: counters, and the last document that was counted.
type Table struct {
	messages.MigrationCounts
	LastID  int64 // 0: none yet
	LastPID string
}

// Progress is the state of a migration. It is a value: every step makes a new one.
type Progress struct {
	Phase     Phase
	State     State
	DryRun    bool // never stored
	Keys      Keys
	Snapshots Table
	Journal   Table
	StartedAt time.Time
	UpdatedAt time.Time
	RequestID string // of the command that changed State last (decision D7)
}

// Begin is the progress of a new migration.
func Begin(keys Keys, dryRun bool, requestID string, now time.Time) Progress {
	now = instant(now)
	return Progress{Phase: Snapshots, State: Running, DryRun: dryRun, Keys: keys, StartedAt: now, UpdatedAt: now, RequestID: requestID}
}

// Resumable reports whether there is something that resume:true can go on with.
func (p Progress) Resumable() bool { return p.Phase != "" && p.Phase != Completed }

// Resume goes on where p stopped, with the keys of now.
func (p Progress) Resume(keys Keys, dryRun bool, requestID string, now time.Time) Progress {
	p.State, p.DryRun, p.Keys, p.RequestID, p.UpdatedAt = Running, dryRun, keys, requestID, instant(now)
	return p
}

// Abort stops p where it is.
func (p Progress) Abort(requestID string, now time.Time) Progress {
	p.State, p.RequestID, p.UpdatedAt = Aborted, requestID, instant(now)
	return p
}

// Enter starts the next phase.
func (p Progress) Enter(phase Phase, now time.Time) Progress {
	p.Phase, p.UpdatedAt = phase, instant(now)
	if phase == Completed {
		p.State = Ended
	}
	return p
}

// Count adds what a batch of a table did and moves the position there. A batch without a last document leaves it.
func (p Progress) Count(t persistence.Table, c messages.MigrationCounts, lastID int64, lastPID string, now time.Time) Progress {
	table := p.table(t)
	table.Processed += c.Processed
	table.Skipped += c.Skipped
	table.Failed += c.Failed
	if lastID != 0 {
		table.LastID, table.LastPID = lastID, lastPID
	}
	return p.with(t, table, now)
}

// Remain sets the failed documents of a table to those that the verification found.
func (p Progress) Remain(t persistence.Table, failed int64, now time.Time) Progress {
	table := p.table(t)
	table.Failed = failed
	return p.with(t, table, now)
}

func (p Progress) table(t persistence.Table) Table {
	if t == persistence.TableSnapshots {
		return p.Snapshots
	}
	return p.Journal
}

func (p Progress) with(t persistence.Table, table Table, now time.Time) Progress {
	if t == persistence.TableSnapshots {
		p.Snapshots = table
	} else {
		p.Journal = table
	}
	p.UpdatedAt = instant(now)
	return p
}

// failed is the number of documents that could not be migrated.
func (p Progress) failed() int64 { return p.Snapshots.Failed + p.Journal.Failed }

// Status is what an answer shows of p (encryption.md 6.7, D20, D21). The zero Progress is "never run".
func (p Progress) Status(active bool) messages.MigrationStatus {
	s := messages.MigrationStatus{
		Phase: p.Phase.public(), Snapshots: p.Snapshots.MigrationCounts, Journal: p.Journal.MigrationCounts,
		LastSnapshotID: idText(p.Snapshots.LastID), LastSnapshotPID: p.Snapshots.LastPID,
		LastJournalID: idText(p.Journal.LastID), LastJournalPID: p.Journal.LastPID,
		StartedAt: p.StartedAt, UpdatedAt: p.UpdatedAt, DryRun: p.DryRun, Active: active,
	}
	if s.Phase == "" {
		s.Phase = string(Snapshots)
	}
	if active {
		s.Phase = "in_progress:" + s.Phase
	}
	return s
}

func idText(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// instant is a time as it is stored and shown, so that what comes back from the store is the same.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// document is the stored form (encryption.md 6.9, and what D24 needs).
type document struct {
	Phase                    string    `json:"phase"`
	LastProcessedSnapshotID  *string   `json:"lastProcessedSnapshotId"`
	LastProcessedSnapshotPID *string   `json:"lastProcessedSnapshotPid"`
	LastProcessedJournalID   *string   `json:"lastProcessedJournalId"`
	LastProcessedJournalPID  *string   `json:"lastProcessedJournalPid"`
	SnapshotsProcessed       int64     `json:"snapshotsProcessed"`
	SnapshotsSkipped         int64     `json:"snapshotsSkipped"`
	SnapshotsFailed          int64     `json:"snapshotsFailed"`
	JournalProcessed         int64     `json:"journalProcessed"`
	JournalSkipped           int64     `json:"journalSkipped"`
	JournalFailed            int64     `json:"journalFailed"`
	StartedAt                time.Time `json:"startedAt"`
	UpdatedAt                time.Time `json:"updatedAt"`
	State                    State     `json:"state"`
	Verifying                bool      `json:"verifying"`
	Mode                     string    `json:"mode"`
	KeyFingerprint           string    `json:"keyFingerprint"`
	OldKeyFingerprint        string    `json:"oldKeyFingerprint"`
	RequestID                string    `json:"requestId"`
}

// encode renders the document to store. It holds no secret.
func (p Progress) encode() (json.RawMessage, error) {
	text, err := json.Marshal(document{
		Phase: p.Phase.public(), Verifying: p.Phase == Verification, State: p.State,
		LastProcessedSnapshotID: optional(idText(p.Snapshots.LastID)), LastProcessedSnapshotPID: optional(p.Snapshots.LastPID),
		LastProcessedJournalID: optional(idText(p.Journal.LastID)), LastProcessedJournalPID: optional(p.Journal.LastPID),
		SnapshotsProcessed: p.Snapshots.Processed, SnapshotsSkipped: p.Snapshots.Skipped, SnapshotsFailed: p.Snapshots.Failed,
		JournalProcessed: p.Journal.Processed, JournalSkipped: p.Journal.Skipped, JournalFailed: p.Journal.Failed,
		StartedAt: p.StartedAt, UpdatedAt: p.UpdatedAt,
		Mode: string(p.Keys.Mode), KeyFingerprint: p.Keys.Key, OldKeyFingerprint: p.Keys.Old, RequestID: p.RequestID,
	})
	if err != nil {
		return nil, fmt.Errorf("migration: encode the progress: %w", err)
	}
	return text, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// errDocument says that what is stored is no progress.
var errDocument = errors.New("migration: the stored progress cannot be read")

// decode reads a stored document; nothing is the zero Progress. Prefixes of the phase are stripped, and an unknown phase
// counts as completed (encryption.md 6.7).
func decode(text json.RawMessage) (Progress, error) {
	if len(text) == 0 {
		return Progress{}, nil
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Progress{}, fmt.Errorf("%w: %w", errDocument, err)
	}
	p := Progress{
		State: d.State, Keys: Keys{encryption.Mode(d.Mode), d.KeyFingerprint, d.OldKeyFingerprint},
		Snapshots: Table{MigrationCounts: messages.MigrationCounts{Processed: d.SnapshotsProcessed, Skipped: d.SnapshotsSkipped, Failed: d.SnapshotsFailed}},
		Journal:   Table{MigrationCounts: messages.MigrationCounts{Processed: d.JournalProcessed, Skipped: d.JournalSkipped, Failed: d.JournalFailed}},
		StartedAt: d.StartedAt.UTC(), UpdatedAt: d.UpdatedAt.UTC(), RequestID: d.RequestID,
	}
	phase := strings.TrimPrefix(strings.TrimPrefix(d.Phase, "aborted:"), "in_progress:")
	switch {
	case phase == string(Journal) && d.Verifying:
		p.Phase = Verification
	case phase == string(Snapshots), phase == string(Journal):
		p.Phase = Phase(phase)
	default:
		p.Phase, p.State = Completed, Ended
	}
	for _, t := range []struct {
		table   *Table
		id, pid *string
	}{{&p.Snapshots, d.LastProcessedSnapshotID, d.LastProcessedSnapshotPID}, {&p.Journal, d.LastProcessedJournalID, d.LastProcessedJournalPID}} {
		if t.id == nil {
			continue
		}
		n, err := strconv.ParseInt(*t.id, 10, 64)
		if err != nil || n <= 0 {
			return Progress{}, fmt.Errorf("%w: a position is no number", errDocument)
		}
		t.table.LastID = n
		if t.pid != nil {
			t.table.LastPID = *t.pid
		}
	}
	return p, nil
}

// same reports whether p and q are stored as the same document.
func (p Progress) same(q Progress) bool {
	equal := p.StartedAt.Equal(q.StartedAt) && p.UpdatedAt.Equal(q.UpdatedAt)
	p.StartedAt, p.UpdatedAt, q.StartedAt, q.UpdatedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return equal && p == q
}
