package protocol

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"hawser/messages"
)

// TestPlaceholderVectors runs those of the contract's vectors/placeholders.json that an envelope resolves; the others run
// in packages placeholder (functions, templates, time) and mapping (connection).
func TestPlaceholderVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/placeholders.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			ID, Kind, Prefix, Name string
			Source                 json.RawMessage
			Expect                 struct {
				Values     []string
				Unresolved bool
				Error      string
			}
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for _, v := range file.Vectors {
		if v.Kind != "placeholder" || v.Prefix == "time" || v.Prefix == "connection" {
			continue
		}
		ran[v.Prefix]++
		t.Run(v.ID, func(t *testing.T) {
			e := vectorEnvelope(t, v.Prefix, v.Source)
			resolve := e.Placeholder
			if v.Prefix == "policy" {
				resolve = e.EnforcementPlaceholder
			}
			got, ok := resolve(v.Prefix, v.Name)
			if v.Expect.Error != "" {
				// Upstream fails when it builds the signal; so do we, in Kind.
				if _, err := e.Kind(); code(err) != CodeJSONInvalid {
					t.Errorf("kind: %v", err)
				}
				return
			}
			if ok == v.Expect.Unresolved || ok && !slices.Equal(got, v.Expect.Values) {
				t.Errorf("got %q, %v, want %+v", got, ok, v.Expect)
			}
		})
	}
	equal(t, "vectors run", ran, map[string]int{"topic": 14, "resource": 4, "thing": 4, "policy": 4, "entity": 4, "header": 2, "thing-json": 10, "feature": 14})
}

// vectorEnvelope builds the envelope that a vector's source describes.
func vectorEnvelope(t *testing.T, prefix string, source json.RawMessage) *Envelope {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e := &Envelope{Path: "/", Topic: Topic{Namespace: "namespace", Name: "name", Group: GroupThings, Channel: ChannelTwin, Criterion: CriterionCommands, Action: ActionModify}}
	var id string
	switch prefix {
	case "topic":
		must(json.Unmarshal(source, &id))
		topic, err := ParseTopic(id)
		must(err)
		e.Topic = topic
	case "thing", "policy", "entity":
		must(json.Unmarshal(source, &id))
		entity := TopicOfEntity(id)
		e.Topic.Namespace, e.Topic.Name = entity.Namespace, entity.Name
		if prefix == "policy" {
			e.Topic.Group, e.Topic.Channel = GroupPolicies, ""
		}
	case "header":
		must(json.Unmarshal(source, (*map[string]string)(&e.Headers)))
	case "thing-json":
		e.Topic.Criterion, e.Topic.Action, e.Value = CriterionEvents, ActionCreated, source
	case "resource":
		var r struct{ Type, Path string }
		must(json.Unmarshal(source, &r))
		if e.Path = r.Path; r.Type == "policy" {
			e.Topic.Group, e.Topic.Channel = GroupPolicies, ""
		}
	case "feature":
		var c struct {
			Command, FeatureID, Path string
			Thing, Value             json.RawMessage
		}
		must(json.Unmarshal(source, &c))
		e.Value = c.Value
		switch c.Command {
		case "modifyThing":
			e.Value = c.Thing
		case "modifyAttributes":
			e.Path = "/attributes"
		case "modifyFeatures":
			e.Path = "/features"
		case "deleteFeatures":
			e.Topic.Action, e.Path = ActionDelete, "/features"
		case "deleteFeature":
			e.Topic.Action, e.Path = ActionDelete, "/features/"+c.FeatureID
		case "mergeThing":
			e.Topic.Action, e.Path = ActionMerge, c.Path
		default:
			t.Fatalf("command %q", c.Command)
		}
	default:
		t.Fatalf("prefix %q", prefix)
	}
	if e.Headers == nil {
		e.Headers = messages.Headers{}
	}
	return e
}
