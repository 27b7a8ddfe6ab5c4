package connection

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"hawser/messages"
)

// Rules is what Decide needs to know besides state and command.
type Rules struct {
	// Validate is the full validation of a connection (hosts, credentials, protocol, limits); nil error: valid.
	Validate func(*messages.Connection) error
	// SnapshotThreshold: a domain event takes a snapshot with it when that many events came since the last one (default 10).
	SnapshotThreshold int64
	// HistoricalHeaders are the header names that an event keeps under __hh.
	HistoricalHeaders []string
	// NoHistory refuses queries about past states.
	NoHistory bool
}

// decider is the rule of one command type. Commands whose entity must exist are in rules, the others are asked first.
type decider func(r Rules, s State, c messages.Command, now time.Time) []Effect

// deciders is piggyback.md 2.4 as far as the entity goes. exists: answer 404 unless there is a connection.
var deciders = map[string]struct {
	exists bool
	decide decider
}{
	messages.CreateConnection:               {false, Rules.create},
	messages.TestConnection:                 {false, Rules.test},
	messages.CleanupPersistence:             {false, Rules.cleanup},
	messages.ModifyConnection:               {true, Rules.modify},
	messages.OpenConnection:                 {true, Rules.open},
	messages.CloseConnection:                {true, Rules.close},
	messages.DeleteConnection:               {true, Rules.delete},
	messages.RetrieveConnection:             {true, Rules.retrieve},
	messages.RetrieveResolvedHonoConnection: {true, Rules.retrieve},
	messages.SudoRetrieveConnectionTags:     {true, Rules.retrieve},
	messages.RetrieveConnectionStatus:       {true, Rules.inspect},
	messages.RetrieveConnectionMetrics:      {true, Rules.inspect},
	messages.RetrieveConnectionLogs:         {true, Rules.inspect},
	messages.ResetConnectionMetrics:         {true, Rules.resetMetrics},
	messages.ResetConnectionLogs:            {true, Rules.resetLogs},
	messages.EnableConnectionLogs:           {true, Rules.enableLogs},
}

// Takes reports whether the entity takes a command type at all (decision D6).
func Takes(commandType string) bool { _, ok := deciders[commandType]; return ok }

// Decide is what a command leads to in state s at now. It ends in exactly one answer, however the steps turn out.
func (r Rules) Decide(s State, c messages.Command, now time.Time) []Effect {
	d, ok := deciders[c.Type]
	switch {
	case !ok:
		return refuse(messages.NewNotParsable(c.Type))
	case d.exists && s.Phase != Active:
		return refuse(messages.NewConnectionNotFound(s.ID))
	}
	if r.NoHistory && messages.Spec(c.Type).Category == messages.CategoryQuery {
		for _, name := range []string{messages.HeaderAtRevision, messages.HeaderAtTimestamp} {
			if c.Headers.Has(name) {
				return refuse(messages.NewHistoryUnsupported(name))
			}
		}
	}
	if err := precondition(s, c); err != nil {
		return refuse(err)
	}
	return d.decide(r, s, c, now)
}

func refuse(err *messages.Error) []Effect { return []Effect{Reply{messages.ErrorReply(err)}} }

// create: piggyback.md 4.1. The answer leaves after the journal write, before connecting.
func (r Rules) create(s State, c messages.Command, now time.Time) []Effect {
	if s.Phase == Active {
		return refuse(messages.NewConnectionConflict(s.ID))
	}
	if err := r.invalid(c.Connection); err != nil {
		return refuse(err)
	}
	conn := stored(c.Connection, s.Seq+1, now, now)
	persist := r.persist(s, c, messages.EventConnectionCreated, conn, now)
	reply := Reply{messages.CreatedReply(conn)}
	if conn.Status != messages.StatusOpen {
		return []Effect{persist, reply}
	}
	return []Effect{EnableLogs{}, persist, reply, OpenClients{Detached: true}}
}

// modify: piggyback.md 4.2, a full replacement.
func (r Rules) modify(s State, c messages.Command, now time.Time) []Effect {
	if c.Connection.Type != s.Connection.Type && c.Headers.Get(messages.HeaderSudo) != "true" {
		return refuse(messages.NewTypeUnchangeable(s.ID, c.Connection.Type))
	}
	if err := r.invalid(c.Connection); err != nil {
		return refuse(err)
	}
	conn := stored(c.Connection, s.Seq+1, s.Connection.Created, now)
	if c.Headers.Get(messages.HeaderIfEqual) == "skip" && same(s.Connection, conn) {
		return refuse(messages.NewPreconditionFailed(messages.HeaderIfEqual, "skip", s.EntityTag()))
	}
	persist := r.persist(s, c, messages.EventConnectionModified, conn, now)
	reply := Reply{messages.AcceptedReply(c.Type, s.ID)}
	switch {
	case conn.Status == messages.StatusOpen:
		return []Effect{persist, CloseClients{}, StopClients{}, OpenClients{}, reply}
	case s.Open():
		return []Effect{persist, CloseClients{}, StopClients{}, reply}
	default:
		return []Effect{persist, reply}
	}
}

// open: piggyback.md 4.5. The event is written before connecting, the answer leaves after.
func (r Rules) open(s State, c messages.Command, now time.Time) []Effect {
	if err := r.invalid(s.Connection); err != nil {
		return refuse(err)
	}
	return []Effect{
		EnableLogs{}, r.persist(s, c, messages.EventConnectionOpened, nil, now), OpenClients{}, Reply{messages.AcceptedReply(c.Type, s.ID)},
	}
}

// close: piggyback.md 4.6.
func (r Rules) close(s State, c messages.Command, now time.Time) []Effect {
	return []Effect{
		r.persist(s, c, messages.EventConnectionClosed, nil, now), CloseClients{}, StopClients{}, Reply{messages.AcceptedReply(c.Type, s.ID)},
	}
}

// delete: piggyback.md 4.7.
func (r Rules) delete(s State, c messages.Command, now time.Time) []Effect {
	return []Effect{
		r.persist(s, c, messages.EventConnectionDeleted, nil, now), CloseClients{}, StopClients{}, Forget{}, Reply{messages.AcceptedReply(c.Type, s.ID)},
	}
}

// afterTest is how long an entity that exists for a test only stays (piggyback.md 4.8).
const afterTest = 200 * time.Millisecond

// test: piggyback.md 4.8. Nothing is persisted.
func (r Rules) test(s State, c messages.Command, _ time.Time) []Effect {
	switch {
	case s.Phase != Absent:
		return []Effect{Reply{messages.TestConflictReply(s.ID)}}
	case s.Testing:
		return refuse(messages.NewConnectionNotFound(s.ID))
	}
	if err := r.invalid(c.Connection); err != nil {
		return append(refuse(err), Passivate{afterTest})
	}
	conn := c.Connection.Clone()
	conn.Status = messages.StatusClosed
	return []Effect{TestClient{conn}, Reply{messages.TestedReply(s.ID)}, Passivate{afterTest}}
}

func (r Rules) cleanup(State, messages.Command, time.Time) []Effect { return []Effect{Cleanup{}} }

// retrieve answers from memory, or from the journal if a historical header asks for it (operations.md 4).
func (r Rules) retrieve(s State, c messages.Command, now time.Time) []Effect {
	if text := c.Headers.Get(messages.HeaderAtRevision); text != "" {
		revision, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return refuse(messages.NewHeaderInvalid(messages.HeaderAtRevision, text))
		case revision < 1 || revision > s.Seq:
			return refuse(messages.NewHistoryNotFoundAtRevision(s.ID, revision))
		case revision < s.Seq:
			return []Effect{ReadHistory{Command: c, Revision: revision}}
		}
	} else if text := c.Headers.Get(messages.HeaderAtTimestamp); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		switch {
		case err != nil:
			return refuse(messages.NewHeaderInvalid(messages.HeaderAtTimestamp, text))
		case at.After(now):
			return refuse(messages.NewHistoryNotFoundAtTimestamp(s.ID, text))
		}
		return []Effect{ReadHistory{Command: c, At: at}}
	}
	return answer(s, c)
}

// answer answers a retrieve from a state, the present or a past one.
func answer(s State, c messages.Command) []Effect {
	switch c.Type {
	case messages.SudoRetrieveConnectionTags:
		return []Effect{Reply{messages.TagsReply(s.Connection.Tags)}}
	case messages.RetrieveResolvedHonoConnection:
		if s.Connection.Type != messages.TypeHono {
			return refuse(messages.NewConnectionNotFound(s.ID))
		}
		return []Effect{Resolve{c}}
	default:
		reply := messages.RetrievedReply(s.Connection, c.SelectedFields)
		reply.Headers = s.headers()
		return []Effect{Reply{reply}}
	}
}

// answerPast answers a retrieve from a past state and says which headers the command brought that led to it, as far as they
// were kept.
func answerPast(s State, kept messages.Headers, c messages.Command) []Effect {
	effects := answer(s, c)
	for i, effect := range effects {
		if reply, ok := effect.(Reply); ok && reply.Reply.Headers != nil {
			reply.Reply.Headers = reply.Reply.Headers.With(messages.HeaderHistorical, kept.JSON())
			effects[i] = reply
		}
	}
	return effects
}

func (r Rules) inspect(_ State, c messages.Command, _ time.Time) []Effect {
	return []Effect{Inspect{c}}
}

func (r Rules) resetMetrics(s State, c messages.Command, _ time.Time) []Effect {
	return []Effect{ResetMetrics{}, Reply{messages.AcceptedReply(c.Type, s.ID)}}
}

func (r Rules) resetLogs(s State, c messages.Command, _ time.Time) []Effect {
	return []Effect{ResetLogs{c.Headers.Get(messages.HeaderCorrelationID)}, Reply{messages.AcceptedReply(c.Type, s.ID)}}
}

func (r Rules) enableLogs(s State, c messages.Command, _ time.Time) []Effect {
	return []Effect{EnableLogs{}, Reply{messages.AcceptedReply(c.Type, s.ID)}}
}

// Repeat is the answer to a request that this entity executed before it was recovered: event is what the request left in
// the journal (decision D7). An open that was cut off waits for the connect again, and what ends clients for those that another
// entity may not have reached.
func Repeat(s State, event messages.Event) []Effect {
	switch event.Type {
	case messages.EventConnectionCreated:
		return []Effect{Reply{messages.CreatedReply(event.Connection)}}
	case messages.EventConnectionModified:
		return append([]Effect{SettleFurther{}}, reopen(s, event, messages.ModifyConnection)...)
	case messages.EventConnectionOpened:
		return reopen(s, event, messages.OpenConnection)
	case messages.EventConnectionClosed:
		reply := Reply{messages.AcceptedReply(messages.CloseConnection, s.ID)}
		if s.Connection != nil && s.Connection.ClientCount <= 1 {
			return []Effect{reply}
		}
		return []Effect{SettleFurther{}, reply}
	default:
		return []Effect{SettleFurther{}, Reply{messages.AcceptedReply(messages.DeleteConnection, s.ID)}}
	}
}

func reopen(s State, event messages.Event, command string) []Effect {
	reply := Reply{messages.AcceptedReply(command, s.ID)}
	if s.Open() && s.Seq == event.Revision {
		return []Effect{OpenClients{}, reply}
	}
	return []Effect{reply}
}

// Recovered is what follows from a state that was just read from the journal: what was open is opened again, without an
// event and without logs (piggyback.md 5.2).
func Recovered(s State) []Effect {
	if s.Open() {
		return []Effect{OpenClients{Detached: true}}
	}
	return nil
}

// CheckActivity is what the activity check leads to; accessed says that a command came since the last one (piggyback.md 5.5).
func CheckActivity(s State, accessed bool) []Effect {
	switch {
	case s.Open(), s.Phase == Active && accessed, s.Testing:
		return nil
	case s.Phase == Deleted && s.SnapshotSeq < s.Seq:
		return []Effect{TakeSnapshot{}}
	default:
		return []Effect{Passivate{}}
	}
}

// CheckSnapshot is what the snapshot timer leads to (operations.md 1.5).
func CheckSnapshot(s State) []Effect {
	if s.Phase == Active && s.SnapshotSeq < s.Seq {
		return []Effect{TakeSnapshot{}}
	}
	return nil
}

// UpdatePriority is what the priority timer leads to when n messages passed within a day (piggyback.md 5.7).
func UpdatePriority(s State, n int) []Effect {
	if s.Phase != Active || n == s.Priority {
		return nil
	}
	event := messages.Event{Type: messages.EventEmpty, Effect: messages.EffectPriorityUpdate, Revision: s.Seq + 1, ConnectionID: s.ID}
	return []Effect{Persist{Event: event, Priority: n}}
}

func (r Rules) persist(s State, c messages.Command, eventType string, conn *messages.Connection, now time.Time) Persist {
	hh := messages.Headers{}
	for _, name := range r.HistoricalHeaders {
		if c.Headers.Has(name) {
			hh[strings.ToLower(name)] = c.Headers.Get(name)
		}
	}
	threshold := r.SnapshotThreshold
	if threshold <= 0 {
		threshold = 10
	}
	return Persist{
		Event: messages.Event{
			Type: eventType, Timestamp: now, Revision: s.Seq + 1, ConnectionID: s.ID, Connection: conn, HistoricalHeaders: hh,
		},
		Priority: s.Priority,
		Snapshot: s.Seq+1-s.SnapshotSeq >= threshold,
	}
}

func (r Rules) invalid(c *messages.Connection) *messages.Error {
	if r.Validate == nil {
		return nil
	}
	return asError(c.ID, r.Validate(c))
}

// stored is the connection as it will be kept: hidden members are the server's (connection-model.md 2).
func stored(c *messages.Connection, revision int64, created, modified time.Time) *messages.Connection {
	conn := *c // what it points to is never changed in place
	conn.Lifecycle, conn.Revision, conn.Created, conn.Modified = messages.LifecycleActive, revision, created, modified
	return &conn
}

// same reports whether two connections differ in hidden members at most.
func same(a, b *messages.Connection) bool {
	x, y := *a, *b
	for _, c := range []*messages.Connection{&x, &y} {
		c.Lifecycle, c.Revision, c.Created, c.Modified = "", 0, time.Time{}, time.Time{}
	}
	return reflect.DeepEqual(x, y)
}

// precondition evaluates if-match and if-none-match (http-api.md 4). Whoever is told 404 or a conflict is told that first.
func precondition(s State, c messages.Command) *messages.Error {
	if c.Type == messages.CreateConnection && s.Phase == Active || c.Type == messages.TestConnection || c.Type == messages.CleanupPersistence {
		return nil
	}
	tag := s.EntityTag()
	if want := c.Headers.Get(messages.HeaderIfMatch); want != "" && !matches(want, tag) {
		return messages.NewPreconditionFailed(messages.HeaderIfMatch, want, tag)
	}
	if want := c.Headers.Get(messages.HeaderIfNoneMatch); want != "" && matches(want, tag) {
		if messages.Spec(c.Type).Category == messages.CategoryQuery {
			return messages.NewPreconditionNotModified(want, tag)
		}
		return messages.NewPreconditionFailed(messages.HeaderIfNoneMatch, want, tag)
	}
	return nil
}

// matches reports whether the list of entity tags holds tag; "*" holds every tag but none.
func matches(list, tag string) bool {
	if tag == "" {
		return false
	}
	if strings.TrimSpace(list) == "*" {
		return true
	}
	return slices.ContainsFunc(strings.Split(list, ","), func(t string) bool { return strings.TrimSpace(t) == tag })
}
