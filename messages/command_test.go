package messages

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	connection := strings.ReplaceAll(minimal, "\n", "")
	for _, tt := range []struct {
		text  string
		check func(c Command) bool
	}{
		{`{"type":"connectivity.commands:createConnection","connection":` + connection + `}`, func(c Command) bool { return c.ConnectionID == "plant-7" && c.Connection.ID == "plant-7" }},
		{`{"type":"connectivity.commands:createConnection","connection":` + strings.Replace(connection, `"id":"plant-7",`, "", 1) + `}`, func(c Command) bool { return c.ConnectionID == "" && c.Connection.ID == "" }},
		{`{"type":"connectivity.commands:createConnection","connection":` + strings.Replace(connection, `"plant-7"`, "null", 1) + `}`, func(c Command) bool { return c.ConnectionID == "" }},
		{`{"type":"connectivity.commands:modifyConnection","connection":` + connection + `}`, func(c Command) bool { return c.ConnectionID == "plant-7" }},
		{`{"type":"connectivity.commands:testConnection","connection":` + connection + `}`, func(c Command) bool { return c.ConnectionID == "plant-7" }},
		{`{"type":"connectivity.commands:retrieveConnection","connectionId":"a","selectedFields":"id,sources(qos)"}`, func(c Command) bool { return c.ConnectionID == "a" && len(c.SelectedFields.Pointers) == 2 }},
		{`{"type":"connectivity.commands:retrieveConnection","connectionId":"a","selectedFields":null}`, func(c Command) bool { return c.SelectedFields == nil }},
		{`{"type":"connectivity.commands:retrieveConnection","connectionId":"a","selectedFields":""}`, func(c Command) bool { return c.SelectedFields != nil && len(c.SelectedFields.Pointers) == 0 }},
		{`{"type":"connectivity.commands:retrieveResolvedHonoConnection","connectionId":"a","selectedFields":"id"}`, func(c Command) bool { return c.SelectedFields != nil }},
		{`{"type":"connectivity.sudo.commands:sudoRetrieveConnectionTags","connectionId":"a"}`, func(c Command) bool { return c.ConnectionID == "a" && c.Sudo() }},
		{`{"type":"connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag","tag":"t"}`, func(c Command) bool { return c.Tag == "t" }},
		{`{"type":"connectivity.commands:retrieveAllConnectionIds"}`, func(c Command) bool { return c.ConnectionID == "" }},
		{`{"type":"cleanup.sudo.commands:cleanupPersistence","entityType":"connection","entityId":"a"}`, func(c Command) bool { return c.ConnectionID == "a" && c.EntityType == "connection" && c.Sudo() }},
		{`{"type":"connectivity.commands:migrateEncryption","dryRun":true}`, func(c Command) bool { return strings.Contains(string(c.Members), `"dryRun":true`) }},
		{`{"type":"connectivity.commands:migrateEncryptionStatus"}`, nil},
		{`{"type":"connectivity.commands:migrateEncryptionAbort"}`, nil},
		{`{"type":"status.commands:retrieveHealth"}`, nil},
		{`{"type":"common.commands:retrieveConfig","path":"a.b"}`, nil},
		{`{"type":"common.commands:modifyConfig","config":{}}`, nil},
		{`{"type":"common.commands:purgeEntities","entityType":"connection","entityIds":["a"]}`, func(c Command) bool { return c.EntityType == "connection" }},
	} {
		c, err := ParseCommand(json.RawMessage(tt.text), Headers{"correlation-id": "c"})
		if err != nil || Spec(c.Type).Type != c.Type || c.Headers["correlation-id"] != "c" || string(c.Members) != tt.text || tt.check != nil && !tt.check(c) {
			t.Errorf("%s: %v %+v", tt.text, err, c)
		}
	}
	for _, name := range []string{"openConnection", "closeConnection", "deleteConnection", "retrieveConnectionStatus", "retrieveConnectionMetrics",
		"resetConnectionMetrics", "enableConnectionLogs", "retrieveConnectionLogs", "resetConnectionLogs"} {
		typ := "connectivity.commands:" + name
		if c, err := ParseCommand(json.RawMessage(`{"type":"`+typ+`","connectionId":"a"}`), nil); err != nil || c.ConnectionID != "a" || c.Type != typ || c.Sudo() {
			t.Errorf("%s: %v", typ, err)
		}
		_, err := ParseCommand(json.RawMessage(`{"type":"`+typ+`"}`), nil)
		if e := wantError(t, err, CodeFieldMissing, 400); !strings.Contains(e.Message, "</connectionId>") {
			t.Errorf("%s: %s", typ, e)
		}
	}
	// Every accepted type is in the table of 2.4 and the other way round.
	for typ := range commandReaders {
		if Spec(typ).Target == "" {
			t.Errorf("%s has no target", typ)
		}
	}
	for typ := range commandSpecs {
		if commandReaders[typ] == nil {
			t.Errorf("%s cannot be read", typ)
		}
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	const notParsable = "json.type.notparsable"
	connection := strings.ReplaceAll(minimal, "\n", "")
	for _, tt := range []struct {
		text, code, mention string
	}{
		{`{`, CodeJSONInvalid, ""},
		{`[]`, "json.format.invalid", ""},
		{`{}`, notParsable, "<null>"},
		{`{"type":null}`, notParsable, "<null>"},
		{`{"type":5}`, CodeJSONInvalid, "</type>"},
		{`{"type":"no.such:thing"}`, notParsable, "<no.such:thing>"},
		// D12
		{`{"type":"connectivity.commands:loggingExpired","connectionId":"a"}`, notParsable, "loggingExpired"},
		{`{"type":"connectivity.commands:checkConnectionLogsActive","connectionId":"a","timestamp":"x"}`, notParsable, ""},
		{`{"type":"connectivity.sudo.commands:sudoAddConnectionLogEntry","connectionId":"a","logEntry":{}}`, notParsable, ""},
		{`{"type":"connectivity.commands:retrieveConnections","idsOnly":true}`, notParsable, ""},
		{`{"type":"common.commands:shutdown"}`, notParsable, ""},
		{`{"type":"poison-pill"}`, notParsable, ""},
		// members
		{`{"type":"connectivity.commands:createConnection"}`, CodeFieldMissing, "</connection>"},
		{`{"type":"connectivity.commands:createConnection","connection":null}`, CodeFieldMissing, "</connection>"},
		{`{"type":"connectivity.commands:createConnection","connection":[]}`, CodeJSONInvalid, "</connection>"},
		{`{"type":"connectivity.commands:createConnection","connection":{}}`, CodeFieldMissing, "</connectionType>"},
		{`{"type":"connectivity.commands:createConnection","connection":{"connectionType":"mqtt"}}`, CodeFieldMissing, "</connectionStatus>"},
		{`{"type":"connectivity.commands:createConnection","connection":{"connectionType":"mqtt","connectionStatus":"open"}}`, CodeFieldMissing, "</uri>"},
		{`{"type":"connectivity.commands:modifyConnection","connection":{"connectionType":"mqtt"}}`, CodeFieldMissing, "</id>"},
		{`{"type":"connectivity.commands:testConnection","connection":{"connectionType":"mqtt"}}`, CodeFieldMissing, "</id>"},
		{`{"type":"connectivity.commands:modifyConnection","connection":` + strings.Replace(connection, `"id":"plant-7",`, "", 1) + `}`, CodeFieldMissing, "</id>"},
		{`{"type":"connectivity.commands:createConnection","connection":` + strings.Replace(connection, `plant-7`, "a b", 1) + `}`, "connectivity:connection.id.invalid", "a b"},
		{`{"type":"connectivity.commands:openConnection","connectionId":5}`, CodeJSONInvalid, "</connectionId>"},
		{`{"type":"connectivity.commands:openConnection","connectionId":""}`, "connectivity:connection.id.invalid", ""},
		{`{"type":"connectivity.commands:openConnection","connectionId":"a/b"}`, "connectivity:connection.id.invalid", "a/b"},
		{`{"type":"connectivity.commands:retrieveConnection","connectionId":"a","selectedFields":"a("}`, "json.fieldselector.invalid", "a("},
		{`{"type":"connectivity.commands:retrieveConnection","connectionId":"a","selectedFields":[]}`, CodeJSONInvalid, "</selectedFields>"},
		{`{"type":"connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag"}`, CodeFieldMissing, "</tag>"},
		{`{"type":"cleanup.sudo.commands:cleanupPersistence","entityId":"a"}`, CodeFieldMissing, "</entityType>"},
		{`{"type":"cleanup.sudo.commands:cleanupPersistence","entityType":"connection"}`, CodeFieldMissing, "</entityId>"},
		{`{"type":"cleanup.sudo.commands:cleanupPersistence","entityType":"connection","entityId":"a b"}`, "connectivity:connection.id.invalid", ""},
		{`{"type":"connectivity.commands:migrateEncryption","dryRun":"yes"}`, CodeJSONInvalid, "</dryRun>"},
		{`{"type":"common.commands:modifyConfig"}`, CodeFieldMissing, "</config>"},
		{`{"type":"common.commands:retrieveConfig","path":5}`, CodeJSONInvalid, "</path>"},
		{`{"type":"common.commands:purgeEntities","entityType":"connection"}`, CodeFieldMissing, "</entityIds>"},
		{`{"type":"connectivity.commands:createConnection","connection":"{\"uri\":\"tcp://u:s3cret@h:1\"}"}`, CodeJSONInvalid, "</connection>"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			_, err := ParseCommand(json.RawMessage(tt.text), nil)
			if e := wantError(t, err, tt.code, 400); !strings.Contains(e.Message, tt.mention) || strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%s should mention %q", e, tt.mention)
			}
		})
	}
}

func TestQueriesWithoutResponse(t *testing.T) {
	connection := strings.ReplaceAll(minimal, "\n", "")
	for text, refused := range map[string]bool{
		`{"type":"connectivity.commands:retrieveConnection","connectionId":"a"}`:                       true,
		`{"type":"connectivity.commands:retrieveConnectionStatus"}`:                                    true,
		`{"type":"connectivity.commands:testConnection","connection":` + connection + `}`:              true,
		`{"type":"connectivity.commands:retrieveAllConnectionIds"}`:                                    true,
		`{"type":"status.commands:retrieveHealth"}`:                                                    true,
		`{"type":"connectivity.commands:openConnection","connectionId":"a"}`:                           false,
		`{"type":"connectivity.commands:createConnection","connection":` + connection + `}`:            false,
		`{"type":"connectivity.commands:deleteConnection","connectionId":"a"}`:                         false,
		`{"type":"cleanup.sudo.commands:cleanupPersistence","entityType":"connection","entityId":"a"}`: false,
	} {
		_, err := ParseCommand(json.RawMessage(text), Headers{HeaderResponseRequired: "false"})
		if !refused {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		wantError(t, err, "command.headers.invalid", 400)
	}
}

func TestWhoTakesWhat(t *testing.T) {
	for _, tt := range []struct {
		target, typ string
		want        bool
	}{
		{TargetConnection, CreateConnection, true},
		{TargetConnection, CleanupPersistence, true},
		{TargetConnection, RetrieveAllConnectionIDs, false},
		{TargetConnectionIDs, RetrieveAllConnectionIDs, true},
		{TargetConnectionIDs, SudoRetrieveConnectionIDsByTag, true},
		{TargetConnectionIDs, RetrieveConnection, false},
		{TargetEncryption, MigrateEncryptionAbort, true},
		{TargetPersistenceCleanup, RetrieveHealth, true},
		{TargetPersistenceCleanup, RetrieveConfig, true},
		{TargetPersistenceCleanup, ModifyConfig, true},
		{TargetHealth, RetrieveHealth, true},
		{TargetHealth, RetrieveConfig, false},
		{TargetDevOps, RetrieveConfig, true},
		{TargetDevOps, ModifyConfig, false},
		{TargetPubSub, PurgeEntities, true},
		{"", "no.such:thing", false},
	} {
		if got := Spec(tt.typ).TakenBy(tt.target); got != tt.want {
			t.Errorf("%s takes %s: %v", tt.target, tt.typ, got)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"type":"connectivity.commands:createConnection","connection":` + minimal + `}`))
	f.Add([]byte(`{"type":"connectivity.commands:retrieveConnection","connectionId":"a","selectedFields":"id"}`))
	f.Add([]byte(`{"type":"common.commands:purgeEntities","entityType":"connection","entityIds":["a"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCommand(text, Headers{})
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if Spec(c.Type).Target == TargetConnection && c.ConnectionID == "" && c.Type != CreateConnection || c.ConnectionID != "" && !ValidID(c.ConnectionID) {
			t.Fatalf("%s: connection id %q", c.Type, c.ConnectionID)
		}
	})
}

func FuzzParseConnection(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(rich))
	f.Add([]byte(`{"connectionType":"hono","connectionStatus":"open","sources":[null],"mappingContext":{"mappingEngine":"x","options":null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConnection(text)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		first := c.AppendJSON(nil)
		if !json.Valid(first) {
			t.Fatalf("no JSON: %s", first)
		}
		if c.ID == "" { // "" is no id that could be sent back
			c.ID = "x"
			first = c.AppendJSON(nil)
		}
		again, err := ParseConnection(first)
		if err != nil {
			t.Fatalf("%s does not read again: %v", first, err)
		}
		if second := again.AppendJSON(nil); string(second) != string(first) {
			t.Fatalf("%s\nbecame\n%s", first, second)
		}
	})
}

// rich is a connection as an operator writes it.
const rich = `{ "id": "plant-7", "name": "Plant 7", "connectionType": "mqtt", "connectionStatus": "open", "failoverEnabled": true,
  "uri": "ssl://dev:s3cret@broker.lan:8883", "clientCount": 1, "validateCertificates": true, "processorPoolSize": 2,
  "sources": [
    { "addresses": ["plant/+/up", "plant/+/alarm"], "consumerCount": 1, "qos": 1, "authorizationContext": ["plant:ingest"],
      "enforcement": { "input": "{{ source:address }}", "filters": ["plant/{{ thing:name }}/up"] },
      "headerMapping": { "topic": "{{ header:mqtt.topic }}", "qos": "{{ header:mqtt.qos }}" },
      "payloadMapping": ["Ditto", "status"],
      "replyTarget": { "enabled": true, "address": "plant/{{ thing:name }}/down", "headerMapping": { "mqtt.qos": "1" }, "expectedResponseTypes": ["response", "error", "nack"] } } ],
  "targets": [
    { "address": "plant/{{ thing:name }}/events", "qos": 1, "authorizationContext": ["plant:ingest"],
      "topics": ["_/_/things/twin/events?namespaces=org.acme&filter=gt(attributes/temperature,42)&extraFields=attributes,features/location", "_/_/things/live/messages"],
      "headerMapping": { "mqtt.retain": "true" } },
    { "address": "plant/announcements", "qos": 0, "authorizationContext": ["plant:ingest"], "topics": ["_/_/connections/announcements"] } ],
  "mappingDefinitions": { "status": { "mappingEngine": "ConnectionStatus", "options": { "thingId": "{{ header:device_id }}" } } },
  "specificConfig": { "cleanSession": "false", "clientId": "plant-7", "keepAlive": "60s" },
  "tags": ["eu", "prod"] }`

func BenchmarkParseConnection(b *testing.B) {
	text := []byte(rich)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseConnection(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderConnection(b *testing.B) {
	c := parsed(b, rich)
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = c.AppendJSON(dst[:0])
	}
	b.SetBytes(int64(len(dst)))
}
