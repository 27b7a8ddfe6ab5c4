package mapping

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

var now = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// TestVectors runs the contract's vectors/mappers.json: those of Normalized, CloudEvents and enforcement, there are no others.
func TestVectors(t *testing.T) {
	var file struct {
		Vectors []struct {
			ID, Kind, InputTemplate, EntityKind, EntityID string
			Options, Event, Payload                       json.RawMessage
			Headers                                       messages.Headers
			Filters                                       []string
			Expect                                        struct {
				Payload, Adaptable json.RawMessage
				ContentType, Error string
				Dropped, Match     bool
			}
		}
	}
	readVectors(t, "testdata/mappers.json", &file)
	ran := map[string]int{}
	for _, v := range file.Vectors {
		ran[v.Kind]++
		t.Run(v.ID, func(t *testing.T) {
			switch v.Kind {
			case "Normalized outbound":
				e := envelope(t, string(v.Event))
				out := outbound(t, set(t, "Normalized", string(v.Options)), e)
				if out.Dropped != v.Expect.Dropped || out.Err != nil {
					t.Fatalf("dropped %v, error %v", out.Dropped, out.Err)
				}
				if v.Expect.Dropped {
					return
				}
				sameJSON(t, out.Messages[0].Text, string(v.Expect.Payload))
				if got := out.Messages[0].Headers["content-type"]; got != "application/json" {
					t.Errorf("content-type %q", got)
				}
			case "CloudEvents inbound":
				m := &External{Headers: v.Headers, Text: string(v.Payload), HasText: true}
				in := inbound(set(t, "CloudEvents", "{}"), m)
				if got := errorCode(in.Err); in.Dropped != v.Expect.Dropped || got != v.Expect.Error {
					t.Fatalf("dropped %v, error %v", in.Dropped, in.Err)
				}
				if v.Expect.Adaptable != nil {
					sameJSON(t, string(in.Envelopes[0].AppendOutbound(nil)), string(v.Expect.Adaptable))
				}
			case "enforcement":
				if got := enforce(t, v.InputTemplate, v.Headers, v.Filters, v.EntityKind, v.EntityID); got != v.Expect.Error {
					t.Errorf("got %q, want %q", got, v.Expect.Error)
				}
			default:
				t.Errorf("nobody runs kind %q", v.Kind)
			}
		})
	}
	if want := (map[string]int{"Normalized outbound": 10, "CloudEvents inbound": 5, "enforcement": 11}); !cmp.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

// enforce does what I-2 and I-6.6 of contract runtime.md say with the parts that these packages give; it returns the code
// of the error.
func enforce(t *testing.T, input string, headers messages.Headers, filters []string, kind, id string) string {
	t.Helper()
	in, err := placeholder.Compile(input)
	if err != nil {
		return errorCode(err)
	}
	want, ok := in.Resolve(&Values{Headers: headers})
	if !ok {
		return errorCode(placeholder.NewUnresolved(input))
	}
	topic := protocol.TopicOfEntity(id)
	if kind == "policy" {
		topic.Group, topic.Channel = protocol.GroupPolicies, ""
	}
	e := &protocol.Envelope{Topic: *topic, Path: "/"}
	for _, filter := range filters {
		f, err := placeholder.Compile(filter)
		if err == nil {
			err = f.Check("thing", "policy", "entity", "feature")
		}
		if err != nil {
			return errorCode(err)
		}
		if got, ok := f.Resolve(placeholder.SourceFunc(e.EnforcementPlaceholder)); ok && got == want {
			return ""
		}
	}
	return "connectivity:connection.id.enforcement.failed"
}

// The vectors of connection:id; the other placeholder vectors run in packages placeholder and protocol.
func TestPlaceholderVectors(t *testing.T) {
	var file struct {
		Vectors []struct {
			ID, Kind, Prefix, Name string
			Source                 json.RawMessage
			Expect                 struct {
				Values     []string
				Unresolved bool
			}
		}
	}
	readVectors(t, "testdata/placeholders.json", &file)
	ran := 0
	for _, v := range file.Vectors {
		if v.Kind != "placeholder" || v.Prefix != "connection" {
			continue
		}
		ran++
		var id string
		if err := json.Unmarshal(v.Source, &id); err != nil {
			t.Fatal(err)
		}
		got, ok := (&Values{ConnectionID: id}).Values(v.Prefix, v.Name)
		if ok == v.Expect.Unresolved || ok && !cmp.Equal(got, v.Expect.Values) {
			t.Errorf("%s: %q, %v", v.ID, got, ok)
		}
	}
	if ran != 2 {
		t.Errorf("ran %d vectors", ran)
	}
}

func readVectors(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	g, err := decode([]byte(got))
	if err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	w, err := decode([]byte(want))
	if err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("got %s\n%s", got, diff)
	}
}

// set is the Set of a connection with one definition "m" of that engine.
func set(t testing.TB, engine, options string) *Set {
	t.Helper()
	return setOf(t, map[string]messages.MappingDefinition{"m": {Engine: engine, Options: json.RawMessage(options)}}, "m")
}

func setOf(t testing.TB, definitions map[string]messages.MappingDefinition, used ...string) *Set {
	t.Helper()
	s, err := NewSet(&messages.Connection{ID: "c", MappingDefinitions: definitions, Sources: []messages.Source{{PayloadMapping: used}}}, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inbound(s *Set, m *External) Inbound {
	return s.Inbound([]string{"m"}, Context{ConnectionID: "c", Subjects: []string{"sub:1"}, Now: now}, m)[0]
}

func outbound(t *testing.T, s *Set, e *protocol.Envelope) Outbound {
	t.Helper()
	before := string(e.AppendJSON(nil))
	out := s.Outbound([]string{"m"}, Context{ConnectionID: "c", Subjects: []string{"sub:1"}, Now: now}, e)[0]
	if after := string(e.AppendJSON(nil)); after != before {
		t.Errorf("the mapper changed the signal from %s to %s", before, after)
	}
	return out
}

func envelope(t testing.TB, text string) *protocol.Envelope {
	t.Helper()
	e, err := protocol.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func errorCode(err error) string {
	switch e, ok := err.(*messages.Error); {
	case ok && e == nil, err == nil:
		return ""
	case ok:
		return e.Code
	}
	return "no *messages.Error: " + err.Error()
}
