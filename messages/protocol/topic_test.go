package protocol

import (
	"strings"
	"testing"
)

func TestParseTopic(t *testing.T) {
	tests := []struct {
		text  string
		want  Topic
		wrong string // the word that the description must hold; "" when the topic is fine
	}{
		{text: "a/b/things/live/messages/x/y/z", want: Topic{"a", "b", "things", "live", "messages", "", "x/y/z"}}, // R3
		{text: "a.b/c/things/twin/commands/modify", want: Topic{"a.b", "c", "things", "twin", "commands", "modify", ""}},
		{text: "_/_/things/twin/commands/retrieve", want: Topic{"_", "_", "things", "twin", "commands", "retrieve", ""}},
		{text: "/b/things/live/events/created", want: Topic{"", "b", "things", "live", "events", "created", ""}},
		{text: "a/b/things/none/commands/modify", want: Topic{"a", "b", "things", "none", "commands", "modify", ""}},
		{text: "a/b/things/twin/search/subscribe", want: Topic{"a", "b", "things", "twin", "search", "subscribe", ""}},
		{text: "a/b/things/twin/streaming/subscribeForPersistedEvents", want: Topic{"a", "b", "things", "twin", "streaming", "subscribeForPersistedEvents", ""}},
		{text: "a/b/things/twin/acks/x:y", want: Topic{"a", "b", "things", "twin", "acks", "", "x:y"}},
		{text: "a/b/things/twin/acks", want: Topic{"a", "b", "things", "twin", "acks", "", ""}},
		{text: "a/b/things/live/messages", want: Topic{"a", "b", "things", "live", "messages", "", ""}},
		{text: "a/b/things/twin/errors", want: Topic{"a", "b", "things", "twin", "errors", "", ""}},
		{text: "a/b/policies/commands/delete", want: Topic{"a", "b", "policies", "", "commands", "delete", ""}},
		{text: "a/b/policies/errors", want: Topic{"a", "b", "policies", "", "errors", "", ""}},
		{text: "a/b/policies/announcements/subjectDeletion", want: Topic{"a", "b", "policies", "", "announcements", "", "subjectDeletion"}},
		{text: "_/c/connections/announcements/opened", want: Topic{"_", "c", "connections", "", "announcements", "", "opened"}},

		{text: "", wrong: "namespace"}, {text: "a", wrong: "entity name"}, {text: "a/", wrong: "entity name"}, {text: "a/b", wrong: "group"},
		{text: "a/b/cars/twin/commands/modify", wrong: "group"}, {text: "a/b/Things/twin/commands/modify", wrong: "group"},
		{text: "a/b/things", wrong: "channel"}, {text: "a/b/things/commands/modify", wrong: "channel"},
		{text: "a/b/things/twin", wrong: "criterion"}, {text: "a/b/things/twin/announcements/x", wrong: "criterion"}, // R2
		{text: "a/b/policies/twin/commands/modify", wrong: "criterion"}, {text: "_/c/connections/events/created", wrong: "criterion"},
		{text: "a/b/things/twin/commands", wrong: "action"}, {text: "a/b/things/twin/commands/destroy", wrong: "action"},
		{text: "a/b/things/twin/commands/Modify", wrong: "action"}, {text: "a/b/things/twin/search/modify", wrong: "search action"},
		{text: "a/b/things/twin/streaming/subscribe", wrong: "streaming action"}, {text: "a/b/things/twin/commands/modify/x", wrong: "follow"},
		{text: "a/b/things/twin/errors/x", wrong: "follow"}, {text: "a/b/policies/announcements", wrong: "subject"},
		{text: "a/c/connections/announcements/opened", wrong: "namespace"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ParseTopic(tt.text)
			if tt.wrong != "" {
				if code(err) != CodeUnknownTopicPath || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("error %v, want one about the %s", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "topic", got, tt.want)
			equal(t, "text", got.String(), tt.text)
		})
	}
}

func TestKind(t *testing.T) {
	const any = ""
	tests := []struct {
		topic, path string
		status      int
		value       string
		kind        Kind
		code        string
	}{
		{"a/b/things/twin/commands/create", "/", 0, "{}", TwinCreate, ""},
		{"a/b/things/twin/commands/create", "/attributes", 0, "{}", Invalid, CodeUnknownTopicPath},
		{"a/b/things/twin/commands/created", "/", 0, "{}", Invalid, CodeUnknownTopicPath},
		{"a/b/things/twin/commands/modify", "/features/f/properties/a/b", 0, "1", TwinModify, ""},
		{"a/b/things/twin/commands/modify", "/features/f/desiredProperties", 0, "{}", TwinModify, ""},
		{"a/b/things/twin/commands/modify", "/features/f/definition", 0, "[]", TwinModify, ""},
		{"a/b/things/twin/commands/modify", "/features/f/color", 0, "1", Invalid, CodeUnknownPath},
		{"a/b/things/twin/commands/modify", "/colors", 0, "1", Invalid, CodeUnknownPath},
		{"a/b/things/twin/commands/modify", "/policyId", 0, `"a:p"`, TwinModify, ""},
		{"a/b/things/twin/commands/modify", "/_policy", 0, "{}", TwinModify, ""},
		{"a/b/things/twin/commands/merge", "/_policy", 0, "{}", Invalid, CodeUnknownPath},
		{"a/b/things/twin/commands/merge", "/attributes/x", 0, "null", TwinModify, ""},
		{"a/b/things/twin/commands/modify", "/", 0, any, Invalid, CodeFieldMissing},
		{"a/b/things/twin/commands/modify", "/", 0, "1", Invalid, CodeJSONInvalid},
		{"a/b/things/twin/commands/modify", "/features", 0, `{"f":1}`, Invalid, CodeJSONInvalid},
		{"a/b/things/twin/commands/delete", "/", 0, any, TwinModify, ""},
		{"a/b/things/twin/commands/delete", "/", 204, any, TwinResponse, ""},
		{"a/b/things/twin/commands/migrate", "/", 0, "{}", TwinModify, ""},
		{"a/b/things/twin/commands/retrieve", "/features/f", 0, any, TwinRetrieve, ""},
		{"_/_/things/twin/commands/retrieve", "/", 0, "{}", TwinRetrieveMany, ""},
		{"_/_/things/twin/commands/modify", "/", 0, "{}", Invalid, CodeUnknownTopicPath},
		{"_/_/things/twin/commands/checkPermissions", "/", 0, "{}", CheckPermissions, ""},
		{"a/b/things/none/commands/modify", "/", 0, "{}", Invalid, CodeUnknownTopicPath},
		{"a/b/things/live/commands/retrieve", "/", 0, any, LiveCommand, ""},
		{"a/b/things/live/commands/retrieve", "/", 200, "{}", LiveResponse, ""},
		{"a/b/things/live/commands/modify", "/attributes/x", 0, "1", LiveCommand, ""},
		{"a/b/things/live/events/modified", "/attributes/x", 0, "1", LiveEvent, ""},
		{"a/b/things/twin/events/deleted", "/", 0, any, TwinEvent, ""},
		{"a/b/things/twin/events/delete", "/", 0, any, Invalid, CodeUnknownTopicPath},
		{"a/b/things/twin/events/created", "/", 200, any, Invalid, CodeUnknownTopicPath},
		{"a/b/things/live/messages/claim", "/inbox/messages/claim", 0, any, LiveMessage, ""},
		{"a/b/things/live/messages/x", "/features/f/outbox/messages/x", 0, any, LiveMessage, ""},
		{"a/b/things/live/messages/x", "/features/f/outbox/messages/x", 404, any, LiveMessageResponse, ""},
		{"a/b/things/live/messages/x", "/mailbox/messages/x", 0, any, Invalid, CodeUnknownPath},
		{"a/b/things/live/messages/x", "/", 0, any, Invalid, CodeUnknownPath},
		{"a/b/things/live/messages", "/inbox/messages/x", 0, any, Invalid, CodeUnknownTopicPath},
		{"a/b/things/twin/messages/x", "/inbox/messages/x", 0, any, Invalid, CodeUnknownTopicPath},
		{"a/b/things/twin/acks/my:label", "/", 200, any, Acknowledgement, ""},
		{"a/b/things/live/acks/my:label", "/", 500, any, Acknowledgement, ""},
		{"a/b/things/live/acks/live-response", "/", 200, any, Invalid, CodeLabelForbidden}, // R27
		{"a/b/things/twin/acks/twin-persisted", "/", 200, any, Invalid, CodeLabelForbidden},
		{"a/b/things/twin/acks/search-persisted", "/", 200, any, Invalid, CodeLabelForbidden},
		{"a/b/things/twin/acks/ab", "/", 200, any, Invalid, CodeLabelInvalid},
		{"a/b/things/twin/acks/a/b/c", "/", 200, any, Invalid, CodeLabelInvalid},
		{"a/b/things/twin/acks/my:label", "/", 0, any, Invalid, CodeUnknownTopicPath},
		{"a/b/things/twin/acks", "/", 424, "{}", Acknowledgements, ""},
		{"a/b/things/live/errors", "/", 404, "{}", ErrorResponse, ""},
		{"a/b/policies/errors", "/", 404, "{}", ErrorResponse, ""},
		{"a/b/things/twin/search/subscribe", "/", 0, "{}", Search, ""},
		{"_/_/things/twin/search/request", "/", 0, "{}", Search, ""},
		{"a/b/things/twin/streaming/subscribeForPersistedEvents", "/", 0, "{}", Streaming, ""},
		{"a/b/policies/streaming/cancel", "/", 0, "{}", Streaming, ""},
		{"a/b/policies/commands/modify", "/entries/x/subjects/y", 0, "{}", PolicyCommand, ""},
		{"a/b/policies/commands/modify", "/imports", 0, "{}", PolicyCommand, ""},
		{"a/b/policies/commands/modify", "/attributes", 0, "{}", Invalid, CodeUnknownPath},
		{"a/b/policies/commands/modify", "/", 204, any, PolicySignal, ""},
		{"a/b/policies/events/created", "/", 0, "{}", PolicySignal, ""},
		{"a/b/policies/events/create", "/", 0, "{}", Invalid, CodeUnknownTopicPath},
		{"a/b/policies/announcements/subjectDeletion", "/", 0, "{}", PolicySignal, ""},
		{"_/c/connections/announcements/opened", "/", 0, "{}", ConnectionSignal, ""},
	}
	for _, tt := range tests {
		t.Run(tt.topic+" "+tt.path+" "+tt.value, func(t *testing.T) {
			topic, err := ParseTopic(tt.topic)
			if err != nil {
				t.Fatal(err)
			}
			e := &Envelope{Topic: topic, Path: tt.path, Status: tt.status}
			if tt.value != any {
				e.Value = []byte(tt.value)
			}
			kind, err := e.Kind()
			if kind != tt.kind || code(err) != tt.code {
				t.Errorf("got %v, %v", kind, err)
			}
			if (e.SignalType() == "") != (err != nil) {
				t.Errorf("signal type %q", e.SignalType())
			}
		})
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"a/b/things/live/messages/x/y/z", "_/c/connections/announcements/opened", "/b/policies/events/created",
		"a/b/things/twin/acks/", "a//things/twin/errors"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		topic, err := ParseTopic(text)
		if err != nil {
			if code(err) != CodeUnknownTopicPath {
				t.Fatal(err)
			}
			return
		}
		written := topic.String()
		if again, err := ParseTopic(written); err != nil || again != topic {
			t.Fatalf("%q: written %q, read again %+v, %v", text, written, again, err)
		}
		if written != text && written != strings.TrimSuffix(text, "/") { // only an empty subject gets lost
			t.Fatalf("%q: written %q", text, written)
		}
	})
}
