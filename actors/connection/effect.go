package connection

import (
	"time"

	"hawser/messages"
)

// Effect is one step of what a command leads to. The shell runs the steps of a command in order. A step that waits for a
// client or the store (openClients, closeClients, stopClients, testClient, readHistory, cleanup) suspends that command
// only. When a step fails, its error is the answer and a later Reply is dropped, but the other steps still run: clients
// that would not disconnect are stopped all the same, a failed test still passivates (piggyback.md 3, 4.6).
type Effect interface{ effect() }

// Persist appends the event under the next sequence number and applies it. Priority is the number that its tags carry.
// Snapshot says that a snapshot of the state after it is due. If it fails nothing that follows runs.
type Persist struct {
	Event    messages.Event
	Priority int
	Snapshot bool
}

// Reply answers the command; only the first answer counts.
type Reply struct{ Reply messages.Reply }

// OpenClients starts the clients unless they run and waits for the connect. With Detached the command was answered
// before, and a failure is only logged.
type OpenClients struct{ Detached bool }

// TestClient opens a throw-away client for the connection of a test and waits for the result.
type TestClient struct{ Connection *messages.Connection }

// ReadHistory reads the state at Revision, or if that is 0 at the instant At, out of the journal, and answers Command from it.
type ReadHistory struct {
	Command  messages.Command
	Revision int64
	At       time.Time
}

// Inspect answers a command about the running clients: status, metrics, logs.
type Inspect struct{ Command messages.Command }

// Steps without data.
type (
	// EnableLogs starts the period in which connection logs are kept; while no client runs it is remembered for the next one.
	EnableLogs struct{}
	// ResetLogs empties the connection logs.
	ResetLogs struct{ CorrelationID string }
	// ResetMetrics zeroes the counters.
	ResetMetrics struct{}
	// CloseClients disconnects in an orderly way, with announcements, and waits for it.
	CloseClients struct{}
	// StopClients ends the clients that CloseClients disconnected, or failed to.
	StopClients struct{}
	// SettleFurther has the further clients, whichever there may be, do what the journal says, and waits for those that end.
	SettleFurther struct{}
	// MeasurePriority counts what passed within a day, at all clients, and goes on with UpdatePriority.
	MeasurePriority struct{}
	// ReportStatus counts and logs the live status.
	ReportStatus struct{}
	// Forget drops logs and counters of a deleted connection.
	Forget struct{}
	// TakeSnapshot saves a snapshot apart from an event.
	TakeSnapshot struct{}
	// Cleanup deletes the history before the newest snapshot (operations.md 2.4) and answers.
	Cleanup struct{}
	// Passivate stops the entity After a while unless it comes to life before.
	Passivate struct{ After time.Duration }
	// Resolve answers retrieveResolvedHonoConnection.
	Resolve struct{ Command messages.Command }
)

func (Persist) effect()         {}
func (Reply) effect()           {}
func (OpenClients) effect()     {}
func (TestClient) effect()      {}
func (ReadHistory) effect()     {}
func (Inspect) effect()         {}
func (EnableLogs) effect()      {}
func (ResetLogs) effect()       {}
func (ResetMetrics) effect()    {}
func (CloseClients) effect()    {}
func (StopClients) effect()     {}
func (SettleFurther) effect()   {}
func (Forget) effect()          {}
func (TakeSnapshot) effect()    {}
func (Cleanup) effect()         {}
func (Passivate) effect()       {}
func (MeasurePriority) effect() {}
func (ReportStatus) effect()    {}
func (Resolve) effect()         {}
