package messages

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStoredForms: what connection-model.md 10.3 says of data that an old Ditto wrote, in events and in snapshots; a client that
// sends the same gets none of it.
func TestStoredForms(t *testing.T) {
	const frame = `{"id":"plant-7","connectionType":"TYPE","connectionStatus":"closed","uri":"amqp://h:1",MEMBERS}`
	for name, row := range map[string]struct {
		typ, members string
		want         map[string]string // of the parsed connection, by place
		sentFails    bool              // by itself the document is refused
	}{
		"subjects of the connection": {"amqp-10", `"authorizationContext":["old"],"sources":[{"addresses":["a"]},{"addresses":["b"],"authorizationContext":["new"]}],"targets":[{"address":"t","authorizationContext":[],"headerMapping":{}}]`,
			map[string]string{"sources.0.authorizationContext": `["old"]`, "sources.1.authorizationContext": `["new"]`, "targets.0.authorizationContext": `["old"]`}, true},
		"filters of a source": {"amqp-10", `"sources":[{"addresses":["a"],"authorizationContext":["s"],"filters":["{{ thing:id }}","x","x"]}]`,
			map[string]string{"sources.0.enforcement": `{"input":"{{ source:address }}","filters":["{{ thing:id }}","x"]}`}, false},
		"filters beside an enforcement": {"amqp-10", `"sources":[{"addresses":["a"],"authorizationContext":["s"],"filters":["x"],"enforcement":{"input":"i","filters":["y"]}}]`,
			map[string]string{"sources.0.enforcement": `{"input":"i","filters":["y"]}`}, false},
		"a placeholder of old": {"amqp-10", `"sources":[{"addresses":["a/{{topic:action|subject}}"],"authorizationContext":["s"],"headerMapping":{"x":"{{topic:action|subject}}"},"replyTarget":{"address":"r","headerMapping":{"y":"{{topic:action|subject}}"}}}],"targets":[{"address":"t/{{topic:action|subject}}","authorizationContext":["s"],"headerMapping":{"z":"{{topic:action|subject}}"}}]`,
			map[string]string{"sources.0.addresses": `["a/{{topic:action-subject}}"]`, "sources.0.headerMapping": `{"x":"{{topic:action-subject}}"}`, "targets.0.address": `"t/{{topic:action-subject}}"`, "targets.0.headerMapping": `{"z":"{{topic:action-subject}}"}`}, false},
		"a target without headers": {"amqp-10", `"targets":[{"address":"t","authorizationContext":["s"]}]`,
			map[string]string{"targets.0.headerMapping": `{"correlation-id":"{{header:correlation-id}}","reply-to":"{{header:reply-to}}"}`}, false},
		"a target without headers, mqtt": {"mqtt", `"targets":[{"address":"t","authorizationContext":["s"]}]`, map[string]string{"targets.0.headerMapping": `{}`}, false},
		"a target with no headers":       {"amqp-10", `"targets":[{"address":"t","authorizationContext":["s"],"headerMapping":{}}]`, map[string]string{"targets.0.headerMapping": `{}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			document := strings.NewReplacer("TYPE", row.typ, "MEMBERS", row.members).Replace(frame)
			event, err := ParseEvent([]byte(`{"type":"` + EventConnectionCreated + `","connectionId":"plant-7","connection":` + document + `}`))
			if err != nil {
				t.Fatal(err)
			}
			snapshot, err := ParseSnapshot([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			if snapshot.Lifecycle != LifecycleActive {
				t.Errorf("lifecycle %q", snapshot.Lifecycle)
			}
			for what, c := range map[string]*Connection{"event": event.Connection, "snapshot": snapshot} {
				for place, want := range row.want {
					if got := memberAt(t, c, place); got != want {
						t.Errorf("%s: %s is %s, want %s", what, place, got, want)
					}
				}
				// What was migrated is stored in the new form and stays as it is.
				again, err := ParseSnapshot(c.appendJSON(nil, true))
				if err != nil || string(again.AppendJSON(nil)) != string(c.AppendJSON(nil)) {
					t.Errorf("%s: stored again it is another: %v", what, err)
				}
			}
			sent, err := ParseConnection([]byte(document))
			if (err != nil) != row.sentFails {
				t.Fatalf("sent by a client: %v", err)
			}
			if err == nil && strings.Contains(name, "old") && !strings.Contains(string(sent.AppendJSON(nil)), "action|subject") {
				t.Error("what a client sent was migrated")
			}
		})
	}
}

// memberAt is a part of a connection as JSON.
func memberAt(t *testing.T, c *Connection, place string) string {
	t.Helper()
	part := json.RawMessage(c.AppendJSON(nil))
	for name := range strings.SplitSeq(place, ".") {
		var elements []json.RawMessage
		if json.Unmarshal(part, &elements) == nil {
			part = elements[name[0]-'0']
			continue
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(part, &members); err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		part = members[name]
	}
	return string(part)
}
