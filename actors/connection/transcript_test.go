package connection

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
)

var rewrite = flag.Bool("rewrite", false, "write what comes out into testdata/*.txt; read the difference before you keep it")

var commandNames = map[string]string{
	"create": messages.CreateConnection, "modify": messages.ModifyConnection, "open": messages.OpenConnection, "close": messages.CloseConnection,
	"delete": messages.DeleteConnection, "test": messages.TestConnection, "retrieve": messages.RetrieveConnection,
	"hono": messages.RetrieveResolvedHonoConnection, "tags": messages.SudoRetrieveConnectionTags, "status": messages.RetrieveConnectionStatus,
	"metrics": messages.RetrieveConnectionMetrics, "logs": messages.RetrieveConnectionLogs, "resetMetrics": messages.ResetConnectionMetrics,
	"resetLogs": messages.ResetConnectionLogs, "enableLogs": messages.EnableConnectionLogs, "cleanup": messages.CleanupPersistence,
	"nonsense": "no.such:thing",
}

// TestTranscripts plays testdata/*.txt: a line "> command key=value …" is a command (or timer) in, the lines below it are
// the effects that come out, and "= …" is the state after the events among them. Lines of # are comments.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newPlayer(t).play(string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(text), got); d != "" {
				t.Errorf("-in the file +came out:\n%s", d)
			}
		})
	}
}

// player is one entity without a shell: it applies every event that comes out and takes every other effect as done.
type player struct {
	t      *testing.T
	rules  Rules
	state  State
	now    time.Time
	events []messages.Event
}

func newPlayer(t *testing.T) *player {
	return &player{
		t: t, state: State{ID: "plant-7"}, now: time.Date(2026, 8, 18, 9, 0, 0, 0, time.UTC),
		rules: Rules{
			SnapshotThreshold: 3,
			HistoricalHeaders: []string{"ditto-originator"},
			Validate: func(c *messages.Connection) error {
				if c.Name != nil && *c.Name == "invalid" {
					return &messages.Error{Status: 400, Code: "connectivity:connection.configuration.invalid", Message: "The name is invalid."}
				}
				return nil
			},
		},
	}
}

func (p *player) play(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
			out.WriteString(line)
		case strings.HasPrefix(line, ">"):
			out.WriteString(line)
			p.now = p.now.Add(time.Second)
			effects := p.input(strings.Fields(strings.TrimPrefix(line, ">")))
			for _, e := range effects {
				out.WriteString(describe(e, p.state))
				if persist, ok := e.(Persist); ok {
					p.events = append(p.events, persist.Event)
					p.state = Evolve(p.state, persist.Event)
					p.state.Priority = persist.Priority
					if persist.Snapshot {
						p.state.SnapshotSeq = p.state.Seq
					}
				}
				if _, ok := e.(TakeSnapshot); ok {
					p.state.SnapshotSeq = p.state.Seq
				}
			}
			fmt.Fprintf(&out, "= %s\n", describeState(p.state))
		}
	}
	return out.String()
}

func (p *player) input(words []string) []Effect {
	name, args := words[0], words[1:]
	switch name {
	case "activity":
		return CheckActivity(p.state, slices.Contains(args, "accessed"))
	case "snapshotTimer":
		return CheckSnapshot(p.state)
	case "priority":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			p.t.Fatal(err)
		}
		return UpdatePriority(p.state, n)
	case "recovered":
		return Recovered(p.state)
	case "passivated": // and revived out of a snapshot
		if p.state.Phase == Deleted {
			p.state.Phase = Absent
		}
		return nil
	case "repeat":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			p.t.Fatal(err)
		}
		return Repeat(p.state, p.events[n-1])
	case "testing":
		p.state.Testing = args[0] == "begins"
		return nil
	}
	return p.rules.Decide(p.state, p.command(name, args), p.now)
}

func (p *player) command(name string, args []string) messages.Command {
	typ, ok := commandNames[name]
	if !ok {
		p.t.Fatalf("unknown command %q", name)
	}
	c := messages.Command{Type: typ, ConnectionID: p.state.ID, Headers: messages.Headers{}}
	conn := sample(p.state.ID)
	for _, arg := range args {
		k, v, _ := strings.Cut(arg, "=")
		switch k {
		case "status":
			conn.Status = messages.ConnectivityStatus(v)
		case "type":
			conn.Type = messages.ConnectionType(v)
		case "name":
			conn.Name = &v
		case "tags":
			conn.Tags = strings.Split(v, ",")
		case "sudo":
			c.Headers[messages.HeaderSudo] = "true"
		default:
			c.Headers[k] = v
		}
	}
	switch typ {
	case messages.CreateConnection, messages.ModifyConnection, messages.TestConnection:
		c.Connection = conn
	}
	return c
}

func sample(id string) *messages.Connection {
	zero := 0
	return &messages.Connection{
		ID: id, Type: messages.TypeMQTT, Status: messages.StatusClosed,
		URI: messages.URI{Raw: "tcp://broker.example:1883", Scheme: "tcp", Host: "broker.example", Port: 1883},
		Sources: []messages.Source{{
			Addresses: []string{"telemetry/#"}, ConsumerCount: 1, QoS: &zero, AuthorizationContext: []string{"nginx:ditto"},
		}},
		Targets: []messages.Target{{
			Address: "events/out", QoS: &zero, AuthorizationContext: []string{"nginx:ditto"}, Topics: []messages.FilteredTopic{{Name: messages.TopicTwinEvents}},
		}},
		ClientCount: 1, FailoverEnabled: true, ValidateCertificates: true, ProcessorPoolSize: 1, Tags: []string{},
	}
}

func describeState(s State) string {
	text := fmt.Sprintf("%s seq=%d snapshot=%d", s.Phase, s.Seq, s.SnapshotSeq)
	if c := s.Connection; c != nil {
		text += fmt.Sprintf(" %s rev=%d created=%s modified=%s", c.Status, c.Revision, c.Created.Format("05s"), c.Modified.Format("05s"))
	}
	return text
}

func describe(e Effect, before State) string {
	switch x := e.(type) {
	case Persist:
		after := Evolve(before, x.Event)
		after.Priority = x.Priority
		text := fmt.Sprintf("persist %s %s seq=%d tags=%v", x.Event.Type, x.Event.Effect, x.Event.Revision, after.Tags())
		text = strings.Replace(text, "  ", " ", 1)
		if len(x.Event.HistoricalHeaders) > 0 {
			text += fmt.Sprintf(" headers=%v", map[string]string(x.Event.HistoricalHeaders))
		}
		if x.Snapshot {
			text += " with snapshot"
		}
		return text + "\n"
	case Reply:
		var body struct {
			Type, Error, TestResult string
			ConnectionTags          []string
		}
		if err := json.Unmarshal(x.Reply.Body, &body); err != nil {
			return err.Error()
		}
		text := fmt.Sprintf("reply %d %s", x.Reply.Status, body.Type+body.Error)
		if body.TestResult != "" {
			text += fmt.Sprintf(" %q", body.TestResult)
		}
		if body.ConnectionTags != nil {
			text += fmt.Sprintf(" %v", body.ConnectionTags)
		}
		return text + "\n"
	case OpenClients:
		if x.Detached {
			return "openClients, nobody waits\n"
		}
		return "openClients\n"
	case TestClient:
		return fmt.Sprintf("testClient %s %s\n", x.Connection.ID, x.Connection.Status)
	case ReadHistory:
		if x.Revision > 0 {
			return fmt.Sprintf("readHistory revision=%d\n", x.Revision)
		}
		return fmt.Sprintf("readHistory at=%s\n", x.At.Format(time.RFC3339))
	case Passivate:
		return fmt.Sprintf("passivate after=%s\n", x.After)
	case Inspect, Resolve, ResetLogs, EnableLogs, ResetMetrics, CloseClients, StopClients, SettleFurther, Forget, TakeSnapshot, Cleanup:
		name := strings.TrimPrefix(fmt.Sprintf("%T", e), "connection.")
		return strings.ToLower(name[:1]) + name[1:] + "\n"
	default:
		return fmt.Sprintf("unknown effect %T\n", e)
	}
}

func TestErrorsBecomeOneE1(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{&messages.Error{Status: 401, Code: "connectivity:connection.unauthorized"}, 401, "connectivity:connection.unauthorized"},
		{fmt.Errorf("opening: %w", &messages.Error{Status: 400, Code: "x:y"}), 400, "x:y"},
		{errors.New("broker says no"), 504, "connectivity:connection.failed"},
		{fmt.Errorf("opening: %w", os.ErrDeadlineExceeded), 504, "connectivity:connection.failed"},
	} {
		if got := asError("a", tt.err); got.Status != tt.status || got.Code != tt.code {
			t.Errorf("%v: got %d %s", tt.err, got.Status, got.Code)
		}
	}
	if asError("a", nil) != nil {
		t.Error("nil must stay nil")
	}
}
