package client

import (
	"fmt"
	"strings"
	"time"

	"hawser/messages"
)

// state is a state of the client (runtime.md 10).
type state uint8

const (
	stateUnknown state = iota
	stateInitialized
	stateConnecting // an attempt runs, or the backoff after one
	stateConnected
	stateDisconnecting // announcing, then closing the transport
	stateDisconnected
	stateTesting
)

func (s state) String() string {
	return [...]string{"UNKNOWN", "INITIALIZED", "CONNECTING", "CONNECTED", "DISCONNECTING", "DISCONNECTED", "TESTING"}[s]
}

// timer says what the one timer of the machine is running for.
type timer uint8

const (
	noTimer         timer = iota
	attemptLimit          // of the attempt that runs
	backoff               // until the next attempt
	announcement          // between the closed announcement and the disconnect
	disconnectLimit       // of an orderly disconnect
	testLimit
)

func (t timer) String() string {
	return [...]string{"none", "attempt limit", "backoff", "announcement", "disconnect limit", "test limit"}[t]
}

// input is what happens to the machine. Attempts are numbered; what an older one reports is of no interest.
type input interface{ input() }

type (
	initialize     struct{}
	openRequested  struct{}
	closeRequested struct{}
	testRequested  struct{}
	// opened: the attempt succeeded.
	opened struct{ attempt int }
	// failed: the attempt failed, or its link broke after it had succeeded.
	failed struct {
		attempt int
		failure *Failure
	}
	// interrupted and recovered: the driver reconnects by itself.
	interrupted struct {
		attempt int
		failure *Failure
	}
	recovered struct{ attempt int }
	// announced: the closed announcement is on its way, if a target wants it.
	announced struct{ wanted bool }
	// closed: the transport of the attempt is closed.
	closed struct {
		attempt int
		err     error
	}
	elapsed struct{ timer timer }
)

func (initialize) input()     {}
func (openRequested) input()  {}
func (closeRequested) input() {}
func (testRequested) input()  {}
func (opened) input()         {}
func (failed) input()         {}
func (interrupted) input()    {}
func (recovered) input()      {}
func (announced) input()      {}
func (closed) input()         {}
func (elapsed) input()        {}

// output is what is to be done, in the order given.
type output interface{ output() }

type (
	// startAttempt: probe, make a transport, open it; report opened or failed.
	startAttempt struct{ attempt int }
	// endAttempt: close the transport and its sockets; report closed. Orderly: the transport first.
	endAttempt struct {
		attempt int
		orderly bool
	}
	// arm replaces the timer that runs; disarm stops it.
	arm struct {
		timer timer
		after time.Duration
	}
	disarm struct{}
	// answers to everybody who waits for an open, a close, a test.
	answerOpen  struct{ err error }
	answerClose struct{ err error }
	answerTest  struct{ err error }
	// what the sink is told.
	tellConnected    struct{ attempt int }
	tellAttemptEnded struct{}
	tellDisconnected struct{}
	// announce "opened" or "closed"; of the latter report announced.
	announce struct{ kind string }
	// log is an entry of category connection, type other.
	log struct {
		success bool
		message string
	}
)

func (startAttempt) output()     {}
func (endAttempt) output()       {}
func (arm) output()              {}
func (disarm) output()           {}
func (answerOpen) output()       {}
func (answerClose) output()      {}
func (answerTest) output()       {}
func (tellConnected) output()    {}
func (tellAttemptEnded) output() {}
func (tellDisconnected) output() {}
func (announce) output()         {}
func (log) output()              {}

// clientStatus is the status entry of the client itself (piggyback.md 4.11).
type clientStatus struct {
	status   messages.ConnectivityStatus
	recovery messages.RecoveryStatus
	details  string
	since    time.Time
}

// machine decides what a client does next. It is pure: no clock, no I/O; the Runner feeds it and does what it says.
type machine struct {
	id       string
	settings Settings

	state       state
	status      clientStatus
	timer       timer
	attempt     int       // number of the newest attempt
	running     bool      // in connecting: the attempt runs, no backoff
	linked      bool      // the sink was told connected, and not yet disconnected
	closing     bool      // in disconnecting: the announcement is over, the transport is closing
	tries       int       // attempts after the first since the counters were reset
	lastAttempt time.Time // its start
	further     int       // failures during a backoff

	out []output
}

func newMachine(id string, settings Settings, now time.Time) *machine {
	return &machine{id: id, settings: settings.withDefaults(), status: fresh(now)}
}

func fresh(now time.Time) clientStatus {
	return clientStatus{status: messages.StatusUnknown, recovery: messages.RecoveryUnknown, details: "initialized", since: now}
}

// step takes one input in and returns what it leads to. The result is valid until the next step.
func (m *machine) step(now time.Time, in input) []output {
	m.out = m.out[:0]
	switch in := in.(type) {
	case initialize:
		if m.state == stateUnknown {
			m.state = stateInitialized
		}
	case openRequested:
		m.open(now)
	case closeRequested:
		m.close(now)
	case testRequested:
		m.test(now)
	case opened:
		m.opened(now, in.attempt)
	case failed:
		m.failed(now, in)
	case interrupted:
		m.interrupted(now, in)
	case recovered:
		if m.state == stateConnected && in.attempt == m.attempt && m.status.status != messages.StatusOpen {
			m.status = openSince(now)
			m.log(true, "The driver has reconnected.")
		}
	case announced:
		m.announced(now, in.wanted)
	case closed:
		m.closed(now, in)
	case elapsed:
		m.elapsed(now, in.timer)
	}
	return m.out
}

func (m *machine) do(o ...output) { m.out = append(m.out, o...) }

func (m *machine) log(success bool, format string, args ...any) {
	m.do(log{success, fmt.Sprintf(format, args...)})
}

func (m *machine) arm(t timer, after time.Duration) {
	m.timer = t
	m.do(arm{t, after})
}

func (m *machine) disarm() {
	if m.timer != noTimer {
		m.timer = noTimer
		m.do(disarm{})
	}
}

func openSince(now time.Time) clientStatus {
	return clientStatus{status: messages.StatusOpen, recovery: messages.RecoverySucceeded, details: "CONNECTED", since: now}
}

func (m *machine) open(now time.Time) {
	switch m.state {
	case stateConnected:
		m.do(answerOpen{})
	case stateDisconnecting, stateTesting:
		m.do(answerOpen{messages.NewSignalIllegal(m.id, messages.OpenConnection, strings.ToLower(m.state.String()))})
	case stateConnecting:
		m.tries = 0
		if !m.running { // no attempt to join: the operator does not wait for the backoff
			m.start(now)
		}
	default: // resting, or disconnected
		m.tries = 0
		switch {
		case m.state == stateDisconnected:
			m.status = fresh(now)
		case m.status.recovery == messages.RecoveryBackOffLimitReached:
			m.status.recovery = messages.RecoveryOngoing
		}
		m.start(now)
	}
}

// start begins an attempt.
func (m *machine) start(now time.Time) {
	m.state = stateConnecting
	m.begin(now)
	m.arm(attemptLimit, m.settings.limit(m.tries))
	if m.tries == 0 {
		m.log(true, "Connecting.")
	} else {
		m.log(true, "Trying to reconnect, try %d of %d.", m.tries, m.settings.ConnectingMaxTries)
	}
	m.do(startAttempt{m.attempt})
}

func (m *machine) begin(now time.Time) {
	m.attempt++
	m.running, m.further, m.lastAttempt = true, 0, now
}

func (m *machine) test(now time.Time) {
	if m.state > stateInitialized {
		m.do(answerTest{messages.NewSignalIllegal(m.id, messages.TestConnection, strings.ToLower(m.state.String()))})
		return
	}
	m.state = stateTesting
	m.begin(now)
	m.arm(testLimit, m.settings.TestingTimeout)
	m.do(startAttempt{m.attempt})
}

func (m *machine) opened(now time.Time, attempt int) {
	if attempt != m.attempt || !m.running {
		return // it was ended meanwhile
	}
	m.running = false
	m.disarm()
	if m.state == stateTesting {
		m.do(answerTest{})
		return
	}
	m.state, m.linked, m.tries = stateConnected, true, 0
	m.status = openSince(now)
	m.do(tellConnected{attempt})
	m.log(true, "Connection successful") // whoever is answered finds it in the logs
	m.do(answerOpen{}, announce{"opened"})
}

func (m *machine) failed(now time.Time, in failed) {
	if in.attempt != m.attempt {
		return
	}
	switch m.state {
	case stateTesting:
		if m.running {
			m.running = false
			m.disarm()
			m.do(answerTest{in.failure.asError(m.id)}, endAttempt{attempt: m.attempt})
		}
	case stateConnecting:
		if !m.running {
			m.further++
			return
		}
		m.disarm()
		m.classify(now, in.failure)
		m.retry(now, in.failure.asError(m.id), in.failure.Text)
	case stateConnected:
		m.classify(now, in.failure)
		m.retry(now, in.failure.asError(m.id), in.failure.Text)
	case stateDisconnecting:
		if !m.closing {
			m.disconnect(now)
		}
	}
}

// classify shows a failure as the status of the client; since when is left (piggyback.md 4.11).
func (m *machine) classify(now time.Time, f *Failure) {
	m.status.status = messages.StatusFailed
	if f.UserIndicated {
		m.status.status = messages.StatusMisconfigured
	}
	m.status.recovery = messages.RecoveryOngoing
	m.status.details = f.Text + " At " + messages.FormatInstant(now)
}

// retry cleans up after an attempt or a link, waits for the next try unless there were too many, and answers who waits for
// the attempt.
func (m *machine) retry(now time.Time, answer *messages.Error, cause string) {
	if m.linked {
		m.linked = false
		m.do(tellDisconnected{})
	}
	m.do(endAttempt{attempt: m.attempt})
	if m.running {
		m.running = false
		m.do(tellAttemptEnded{})
	}
	defer m.do(answerOpen{answer}) // whoever is answered finds the entry in the logs
	if stale := 2 * (m.settings.ConnectingMaxTimeout + m.settings.MaxBackoff); now.Sub(m.lastAttempt) > stale {
		m.tries = 0
	}
	if m.tries >= m.settings.ConnectingMaxTries {
		m.state = stateInitialized
		m.status.recovery = messages.RecoveryBackOffLimitReached
		m.status.details += fmt.Sprintf(" Reached maximum retries: after %d tries the client rests until the connection is opened again.", m.tries)
		m.log(false, "Connection failed due to: %s Reached maximum retries after %d tries.", cause, m.tries)
		return
	}
	m.state = stateConnecting
	wait := m.settings.backoff(m.tries)
	m.log(false, "Connection failed due to: %s Will reconnect after %s", cause, isoDuration(wait))
	m.arm(backoff, wait)
}

func (m *machine) interrupted(now time.Time, in interrupted) {
	if m.state == stateConnected && in.attempt == m.attempt {
		m.classify(now, in.failure)
		m.log(false, "%s", in.failure.Text)
	}
}

func (m *machine) close(now time.Time) {
	switch m.state {
	case stateConnected:
		m.state, m.closing = stateDisconnecting, false
		m.status.details = "cleaning up before closing or deleting connection at " + messages.FormatInstant(now)
		m.do(announce{"closed"})
	case stateConnecting:
		m.do(answerOpen{messages.NewConnectionFailed(m.id, "The connection was closed while it was connecting.")})
		m.closeAttempt(now)
	case stateTesting:
		m.closeAttempt(now)
	case stateDisconnecting: // joins
	default:
		m.gone(now, nil)
	}
}

// closeAttempt ends the attempt or link that there may be without ceremony for the sink.
func (m *machine) closeAttempt(now time.Time) {
	if m.state == stateConnecting && !m.running {
		m.disarm()
		m.gone(now, nil)
		return
	}
	cut := m.running
	m.state, m.closing, m.running = stateDisconnecting, true, false
	m.status.details = "disconnecting connection at " + messages.FormatInstant(now)
	m.do(endAttempt{attempt: m.attempt, orderly: !cut})
	m.arm(disconnectLimit, m.settings.DisconnectingMaxTimeout)
}

func (m *machine) announced(now time.Time, wanted bool) {
	switch {
	case m.state != stateDisconnecting || m.closing: // the link broke meanwhile
	case wanted:
		m.arm(announcement, m.settings.DisconnectAnnouncementTimeout)
	default:
		m.disconnect(now)
	}
}

func (m *machine) disconnect(now time.Time) {
	m.closing, m.linked = true, false
	m.status.details = "disconnecting connection at " + messages.FormatInstant(now)
	m.do(tellDisconnected{}, endAttempt{attempt: m.attempt, orderly: true})
	m.arm(disconnectLimit, m.settings.DisconnectingMaxTimeout)
}

func (m *machine) closed(now time.Time, in closed) {
	if m.state != stateDisconnecting || !m.closing || in.attempt != m.attempt {
		return
	}
	m.disarm()
	if in.err != nil {
		m.gone(now, m.notDisconnected())
		return
	}
	m.gone(now, nil)
}

func (m *machine) notDisconnected() *messages.Error {
	return messages.NewConnectionFailed(m.id, fmt.Sprintf("The client did not disconnect within %s.", m.settings.DisconnectingMaxTimeout))
}

// gone is the end of a close.
func (m *machine) gone(now time.Time, err *messages.Error) {
	if m.state != stateDisconnected {
		m.state = stateDisconnected
		m.status = clientStatus{
			status: messages.StatusClosed, recovery: messages.RecoveryUnknown, details: "Disconnected at " + messages.FormatInstant(now), since: now,
		}
	}
	if err != nil {
		m.log(false, "%s", err.Description)
		m.do(answerClose{err})
		return
	}
	m.log(true, "Disconnected.")
	m.do(answerClose{})
}

func (m *machine) elapsed(now time.Time, t timer) {
	if t != m.timer || t == noTimer {
		return
	}
	m.timer = noTimer
	switch t {
	case attemptLimit:
		limit := m.settings.limit(m.tries)
		m.status.details = fmt.Sprintf("Connection timed out at %s while CONNECTING. Will try to reconnect.", messages.FormatInstant(now))
		text := fmt.Sprintf("The connection could not be established within %s.", limit)
		m.retry(now, messages.NewConnectionFailed(m.id, text), text)
	case backoff:
		if m.further > 0 {
			m.log(false, "%d further failures were reported during the backoff.", m.further)
		}
		m.tries++
		m.start(now)
	case announcement:
		m.disconnect(now)
	case disconnectLimit:
		m.do(endAttempt{attempt: m.attempt})
		m.gone(now, m.notDisconnected())
	case testLimit:
		m.running = false
		text := fmt.Sprintf("Failed to open requested connection within <%d> seconds!", int(m.settings.TestingTimeout.Seconds()))
		m.do(answerTest{messages.NewConnectionFailed(m.id, text)}, endAttempt{attempt: m.attempt})
	}
}

// isoDuration renders d as Java's Duration.toString does: PT5S, PT1M20S, PT0.2S.
func isoDuration(d time.Duration) string {
	if d == 0 {
		return "PT0S"
	}
	var b strings.Builder
	b.WriteString("PT")
	if h := d / time.Hour; h > 0 {
		fmt.Fprintf(&b, "%dH", h)
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		fmt.Fprintf(&b, "%dM", m)
	}
	if s := d % time.Minute; s > 0 {
		b.WriteString(strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.9f", s.Seconds()), "0"), "."))
		b.WriteByte('S')
	}
	return b.String()
}
