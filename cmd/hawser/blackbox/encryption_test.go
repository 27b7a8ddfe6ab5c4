package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hawser/persistence/encryption"
)

// The checklist of encryption.md 9 at the binary. The rows about single runs of a migration are tested where it lives,
// actors/migration, on both stores; rows 15 to 20 are in checklist_nodes_test.go and seed_test.go, 23, 30, 33 and 36 in
// migration_test.go and secrecy_test.go.

// encryptionKeys are the variables of one row of the matrix in encryption.md 4.
func encryptionKeys(enabled, current, old string) []string {
	return []string{
		"CONNECTIVITY_CONNECTION_ENCRYPTION_ENABLED=" + enabled, "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY=" + current, "CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY=" + old,
	}
}

// TestEncryptionStartRefused is E1 to E4: what is wrong with the keys stops the start with a line that names the variable.
func TestEncryptionStartRefused(t *testing.T) {
	for name, row := range map[string]struct {
		env   []string
		names string
	}{
		"E1 enabled without a key": {encryptionKeys("true", "", ""), "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY"},
		"E1 only the old key":      {encryptionKeys("true", "", keyOne), "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY"},
		"E2 both keys equal":       {encryptionKeys("true", keyOne, strings.TrimSuffix(keyOne, "=")), "must be different"},
		"E2 equal, disabled":       {encryptionKeys("false", keyOne, keyOne), "must be different"},
		"E3 16 bytes":              {encryptionKeys("true", "c2l4dGVlbi1ieXRlcy0xNg==", ""), "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY"},
		"E3 standard alphabet":     {encryptionKeys("true", strings.Repeat("+", 42)+"8=", ""), "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY"},
		"E3 bad old key":           {encryptionKeys("true", keyOne, "short"), "CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY"},
		"E4 batch size 0":          {[]string{"CONNECTIVITY_ENCRYPTION_MIGRATION_BATCH_SIZE=0"}, "CONNECTIVITY_ENCRYPTION_MIGRATION_BATCH_SIZE"},
		"E4 throttle -1":           {[]string{"CONNECTIVITY_ENCRYPTION_MIGRATION_MAX_DOCS_PER_MINUTE=-1"}, "CONNECTIVITY_ENCRYPTION_MIGRATION_MAX_DOCS_PER_MINUTE"},
		"pointer without a slash":  {[]string{"CONNECTIVITY_CONNECTION_ENCRYPTION_POINTERS=uri"}, "json-pointers"},
		"no such file":             {[]string{"CONNECTIVITY_CONNECTION_ENCRYPTION_KEY_FILE=/no/such/file"}, "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			free := []string{"HAWSER_MANAGEMENT_ADDRESS=127.0.0.1:0", "HAWSER_METRICS_ADDRESS=127.0.0.1:0", "HAWSER_HTTP_ADDRESS=127.0.0.1:0", "HAWSER_DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error"}
			code, stdout, stderr := run(t, append(free, row.env...), "serve")
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, row.names) {
				t.Fatalf("exit code %d, want 1 and one line with %q\n%s%s", code, row.names, stdout, stderr)
			}
			if strings.Contains(stderr, keyOne[:20]) || strings.Contains(stderr, "c2l4dGVlbi") {
				t.Errorf("a key shows: %s", stderr)
			}
		})
	}
}

// TestEncryptionMatrix goes through the rows of the matrix with one store: E6 to E13, E26, E34, E35, E38.
func TestEncryptionMatrix(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := newNode(t, append(env, append(encryptionKeys("true", keyOne, ""), "CONNECTION_SNAPSHOT_THRESHOLD=1")...)) // each event with its snapshot
		n.start()
		secretly := func(id string, uri any) object {
			return mqttConnection(id, "tcp://127.0.0.1:1", "closed", func(c object) {
				c["uri"] = uri
				c["credentials"] = object{"type": "plain", "username": "user", "password": "pässword \"in\" full"}
			})
		}
		const uri = "tcp://user:p%40w@127.0.0.1:1"
		stored := func(table, id string) string {
			t.Helper()
			rows := queryStore(t, env, "select cast(payload as text) from "+table+" where pid = 'connection:"+id+"' order by seq_nr desc limit 1")
			if len(rows) != 1 {
				t.Fatalf("%s of %s: %v", table, id, rows)
			}
			return rows[0][0]
		}
		readable := func(id string, headers ...object) {
			t.Helper()
			c, _ := n.command(on("retrieveConnection", id), headers...)["connection"].(object)
			if c["uri"] != uri || at(c, "credentials", "password") != "pässword \"in\" full" {
				t.Errorf("%s reads as %s", id, show(c))
			}
		}
		under := func(key, id string) {
			t.Helper()
			for _, table := range []string{"journal", "snapshots"} {
				text := stored(table, id)
				if key == "" {
					if strings.Contains(text, encryption.Prefix) || !strings.Contains(text, uri) {
						t.Errorf("%s of %s is not in clear: %s", table, id, text)
					}
					continue
				}
				clear, err := onlyKey(t, key).Unseal([]byte(text))
				if err != nil || strings.Contains(text, "p%40w") || strings.Contains(text, "in full") || strings.Count(text, encryption.Prefix) != 2 || !strings.Contains(string(clear), uri) {
					t.Errorf("%s of %s: %s %v", table, id, text, err)
				}
			}
		}
		again := func(id string) {
			t.Helper()
			wantStatus(t, n.command(with("modifyConnection", secretly(id, uri))), 204)
		}
		restart := func(enabled, current, old string) {
			t.Helper()
			n.stop()
			n.env = append(n.env, encryptionKeys(enabled, current, old)...)
			n.start()
		}

		for _, id := range []string{"a", "b"} { // E6
			wantStatus(t, n.command(with("createConnection", secretly(id, uri))), 201)
			under(keyOne, id)
			readable(id)
		}
		if a, b := stored("snapshots", "a"), stored("snapshots", "b"); encryptedValue(a) == encryptedValue(b) { // E7
			t.Errorf("the same ciphertext twice: %s %s", a, b)
		}
		wantStatus(t, n.command(with("createConnection", mqttConnection("plain", "tcp://127.0.0.1:1", "closed"))), 201) // E8, E10
		if text := stored("snapshots", "plain"); strings.Contains(text, encryption.Prefix) || !strings.Contains(text, "tcp://127.0.0.1:1") {
			t.Errorf("without a secret: %s", text)
		}
		wantStatus(t, n.command(with("modifyConnection", secretly("a", "tcp://127.0.0.1:2"))), 204)
		readable("a", object{"at-historical-revision": 1}) // E38
		again("a")
		wantE2(t, n.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryption", "dryRun": "yes"}), 400, "json.invalid") // E35

		restart("true", keyTwo, keyOne) // E11
		readable("a")
		readable("a", object{"at-historical-revision": 1})
		again("a")
		under(keyTwo, "a")
		under(keyOne, "b")
		for _, aggregate := range []bool{true, false} { // E34 with one node, and E21: a dry run changes nothing
			before := stored("journal", "b") + stored("snapshots", "b")
			reply := n.request(http.MethodPost, piggyback, envelope(migrationActor, object{"aggregate": aggregate}, object{"type": "connectivity.commands:migrateEncryption", "dryRun": true})).object(t)
			if aggregate {
				reply, _ = at(reply, "connectivity", n.instance).(object)
			}
			wantStatus(t, reply, 202)
			if s := n.migrationEnded(); s["dryRun"] != true || number(at(s, "journalEvents", "processed")) == 0 || stored("journal", "b")+stored("snapshots", "b") != before {
				t.Errorf("%s", show(s))
			}
		}
		wantStatus(t, n.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryption"}), 202)
		if s := n.migrationEnded(); number(at(s, "journalEvents", "failed"))+number(at(s, "snapshots", "failed")) != 0 {
			t.Errorf("%s", show(s))
		}
		under(keyTwo, "b")
		readable("a", object{"at-historical-revision": 1})

		restart("false", keyTwo, "") // E12
		readable("a")
		again("a")
		under("", "a")
		under(keyTwo, "b")

		restart("false", "", keyTwo) // E13: b has its state from a snapshot
		readable("a")
		readable("b")
		wantStatus(t, n.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryption"}), 202) // E26
		if s := n.migrationEnded(); number(at(s, "journalEvents", "failed"))+number(at(s, "snapshots", "failed")) != 0 {
			t.Errorf("%s", show(s))
		}
		storedUnder(t, env, "")
		restart("false", "", "")
		readable("a")
		readable("b")
	})
}

// migrationEnded waits for the end of a migration and returns the status.
func (n *node) migrationEnded() (status object) {
	n.t.Helper()
	eventually(n.t, 30*time.Second, "the migration ends", func() error {
		status = n.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryptionStatus"})
		if status["migrationActive"] != false || status["phase"] != "completed" {
			return fmt.Errorf("%s", show(status))
		}
		return nil
	})
	return status
}

// encryptedValue is the first ciphertext in a text.
func encryptedValue(text string) string {
	_, rest, _ := strings.Cut(text, encryption.Prefix)
	value, _, _ := strings.Cut(rest, "@")
	return value
}
