package blackbox

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// seed are the requests of the seed's piggyback-commands.md, as they stand there in testdata/seed, in an order in which one
// connection can take them. Each is sent with ids and connections filled in and answered with this status, type and members.
var seed = []struct {
	file     string
	status   int
	response string
	members  []string // beside type and status
}{
	{"01-createConnection", 201, "connectivity.responses:createConnection", []string{"connection"}},
	{"02-modifyConnection", 204, "connectivity.responses:modifyConnection", []string{"connectionId"}},
	{"03-retrieveConnection", 200, "connectivity.responses:retrieveConnection", []string{"connection"}},
	{"04-sudoRetrieveConnectionTags", 200, "connectivity.sudo.responses:sudoRetrieveConnectionTags", []string{"connectionTags"}},
	{"05-openConnection", 200, "connectivity.responses:openConnection", []string{"connectionId"}},
	{"09-retrieveAllConnectionIds", 200, "connectivity.responses:retrieveAllConnectionIds", []string{"connectionIds"}},
	{"10-sudoRetrieveConnectionIdsByTag", 200, "connectivity.sudo.responses:sudoRetrieveConnectionIdsByTag", []string{"connectionIds"}},
	{"11-retrieveConnectionStatus", 200, "connectivity.responses:retrieveConnectionStatus",
		[]string{"clientStatus", "connectedSince", "connectionId", "connectionStatus", "liveStatus", "recoveryStatus", "sourceStatus", "targetStatus"}},
	{"12-retrieveConnectionMetrics", 200, "connectivity.responses:retrieveConnectionMetrics",
		[]string{"connectionId", "connectionMetrics", "containsFailures", "sourceMetrics", "targetMetrics"}},
	{"13-resetConnectionMetrics", 200, "connectivity.responses:resetConnectionMetrics", []string{"connectionId"}},
	{"14-enableConnectionLogs", 200, "connectivity.responses:enableConnectionLogs", []string{"connectionId"}},
	{"15-retrieveConnectionLogs", 200, "connectivity.responses:retrieveConnectionLogs", []string{"connectionId", "connectionLogs", "enabledSince", "enabledUntil"}},
	{"16-resetConnectionLogs", 200, "connectivity.responses:resetConnectionLogs", []string{"connectionId"}},
	{"06-closeConnection", 200, "connectivity.responses:closeConnection", []string{"connectionId"}},
	{"07-deleteConnection", 204, "connectivity.responses:deleteConnection", []string{"connectionId"}},
	{"08-testConnection", 200, "connectivity.responses:testConnection", []string{"connectionId", "testResult"}},
	{"20-migrateEncryptionStatus", 200, "connectivity.responses:migrateEncryptionStatus",
		[]string{"dryRun", "journalEvents", "migrationActive", "phase", "progress", "snapshots", "timing"}},
}

// fill puts an id and a connection where the seed leaves room for them.
func fill(text, id, connection string) string {
	text = strings.NewReplacer(
		`"<connectionID>"`, `"`+id+`"`, `"connectionId": ""`, `"connectionId": "`+id+`"`,
		`"connection": {}`, `"connection": `+connection, "\"connection\": {\n...\n//Define connection configuration\n}", `"connection": `+connection,
	).Replace(text)
	return text
}

// TestSeed sends each example of the seed. With -v it shows request and answer.
func TestSeed(t *testing.T) {
	broker := mosquitto(t)
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		sent := map[string]bool{}
		for _, row := range seed {
			text, err := os.ReadFile(filepath.Join("testdata/seed", row.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			sent[row.file+".json"] = true
			id := "plant-7"
			if strings.HasSuffix(row.file, "testConnection") { // what was just deleted is still in memory: that is a conflict
				id = "plant-8"
			}
			body := fill(string(text), id, show(mqttConnection(id, broker, "closed", func(c object) { c["tags"] = []any{"someTagValue"} })))
			if !json.Valid([]byte(body)) {
				t.Fatalf("%s: no JSON after filling in: %s", row.file, body)
			}
			a := n.request(http.MethodPost, piggyback, body)
			t.Logf("%s\n> %s\n< %d %s", row.file, strings.ReplaceAll(body, "\n", ""), a.status, a.body)
			reply := a.object(t)
			want := append([]string{"status", "type"}, row.members...)
			slices.Sort(want)
			var got []string
			for name := range reply {
				got = append(got, name)
			}
			slices.Sort(got)
			if a.status != 200 || number(reply["status"]) != row.status || reply["type"] != row.response || !slices.Equal(got, want) {
				t.Errorf("%s: %d %s", row.file, a.status, a.body)
			}
		}
		files, err := os.ReadDir("testdata/seed")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !sent[f.Name()] && !strings.Contains(f.Name(), "-migrateEncryption") { // TestSeedMigration

				t.Errorf("%s was not sent", f.Name())
			}
		}
	})
}

// TestSeedMigration sends the seed's examples of an encryption migration to a node that got its first key: what was stored
// in clear is counted, then encrypted, with an abort and a resumption in between.
func TestSeedMigration(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		for k := range 20 {
			wantStatus(t, n.command(with("createConnection", mqttConnection(fmt.Sprint("s-", k), "tcp://u:in-clear@127.0.0.1:1", "closed"))), 201)
		}
		n.stop()
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		n.env = append(n.env, "CONNECTIVITY_CONNECTION_ENCRYPTION_ENABLED=true", "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY="+base64.URLEncoding.EncodeToString(key),
			"CONNECTIVITY_ENCRYPTION_MIGRATION_BATCH_SIZE=1", "CONNECTIVITY_ENCRYPTION_MIGRATION_MAX_DOCS_PER_MINUTE=600")
		n.start()
		send := func(file string, status int, members ...string) object {
			t.Helper()
			text, err := os.ReadFile(filepath.Join("testdata/seed", file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			a := n.request(http.MethodPost, piggyback, string(text))
			t.Logf("%s\n< %d %s", file, a.status, a.body)
			reply := a.object(t)
			wantStatus(t, reply, status)
			for _, name := range members {
				if _, there := reply[name]; !there {
					t.Fatalf("%s: no %s in %s", file, name, a.body)
				}
			}
			return reply
		}
		ended := func() object {
			t.Helper()
			var status object
			eventually(t, 60*time.Second, "the migration has ended", func() error {
				status = send("20-migrateEncryptionStatus", 200, "snapshots", "journalEvents", "progress", "timing")
				if status["migrationActive"] != false {
					return fmt.Errorf("%s", show(status))
				}
				return nil
			})
			return status
		}
		send("18-migrateEncryption-dry-run", 202, "phase", "dryRun", "resumed", "startedAt")
		ended()
		first := send("17-migrateEncryption-start", 202, "phase", "dryRun", "resumed", "startedAt")
		aborted := send("21-migrateEncryptionAbort", 200, "phase", "snapshots", "journalEvents", "abortedAt")
		if !strings.HasPrefix(fmt.Sprint(aborted["phase"]), "aborted:") {
			t.Fatal(show(aborted))
		}
		resumed := send("19-migrateEncryption-resume", 202, "phase", "dryRun", "resumed", "startedAt")
		if resumed["resumed"] != true || resumed["startedAt"] != first["startedAt"] { // decision D20
			t.Fatalf("%s after %s", show(resumed), show(first))
		}
		if status := ended(); status["phase"] != "completed" || number(status["journalEvents"].(object)["processed"]) != 20 {
			t.Fatal(show(status))
		}
		if again := send("19-migrateEncryption-resume", 200); again["phase"] != "already_completed" {
			t.Fatal(show(again))
		}
		if rows := queryStore(t, env, `select pid from journal where cast(payload as text) like '%in-clear%'`); len(rows) != 0 {
			t.Fatalf("still in clear: %v", rows)
		}
		if c := n.command(on("retrieveConnection", "s-7"))["connection"].(object); c["uri"] != "tcp://u:in-clear@127.0.0.1:1" {
			t.Fatal(show(c))
		}
	})
}
