package blackbox

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hawser/actors/client/clienttest"
	"hawser/persistence/encryption"
)

// TestNoSecretIsShown runs a node at its most talkative through what goes wrong in a life: bad input, connections that fail
// and that are refused, wrong credentials of operators, keys that are no keys, rows that no key opens, a migration that meets
// them, kill -9 and SIGTERM. No secret is in what it has logged, counted, answered as an error, shown of its configuration,
// kept as connection logs or stored (issue 5, 6; decision O6).
func TestNoSecretIsShown(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		s := newSecrecy(t, env)
		s.start()
		s.connections()
		s.refusedByBrokers()
		s.badInput()
		s.badOperators()
		s.badKeys()
		s.unreadable()
		s.rotate()
		s.search()
	})
}

// secrecy is one node and all that it has shown.
type secrecy struct {
	*node
	t            testing.TB
	kinds        *secretKinds
	seen         haystack
	current, old string // names of the key files
	words        []string
}

func newSecrecy(t testing.TB, env []string) *secrecy {
	t.Helper()
	s := &secrecy{t: t, kinds: newSecretKinds(t), seen: haystack{}}
	dir := t.TempDir()
	s.current, s.old = filepath.Join(dir, "current"), filepath.Join(dir, "old")
	s.keys(keyOne, "")
	for i, variable := range env {
		if address, ok := strings.CutPrefix(variable, "HAWSER_POSTGRES_URL="); ok {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			if _, set := u.User.Password(); u.User != nil && !set { // the server of the tests trusts everybody
				u.User = url.UserPassword(u.User.Username(), secretMark+"database")
				env[i] = "HAWSER_POSTGRES_URL=" + u.String()
			}
		}
	}
	s.node = newNode(t, append(env, "LOG_LEVEL=all", "CONNECTION_SNAPSHOT_THRESHOLD=1", "STATUS_PASSWORD="+secretMark+"status", "SOME_API_TOKEN="+secretMark+"token",
		"CONNECTIVITY_CONNECTION_ENCRYPTION_ENABLED=true", "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY_FILE="+s.current, "CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY_FILE="+s.old))
	s.words = s.kinds.words(keyOne, keyTwo, keyThree, password, brokerPassword)
	return s
}

func (s *secrecy) keys(current, old string) {
	s.t.Helper()
	for name, key := range map[string]string{s.current: current, s.old: old} {
		if err := os.WriteFile(name, []byte(key+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// answered sends a command and keeps what is answered; the answers to reading a connection are not for it.
func (s *secrecy) answered(command object) object {
	s.t.Helper()
	a := s.request(http.MethodPost, piggyback, envelope(shardRegion, object{"ditto-sudo": true, "timeout": "5s"}, command))
	s.seen.add(s.t, "answers", `"status"`, string(a.body))
	return a.object(s.t)
}

// runThrough opens a connection with logs on and asks for everything about it but itself.
func (s *secrecy) runThrough(c object) {
	s.t.Helper()
	id := c["id"].(string)
	created := s.command(with("createConnection", c))
	wantStatus(s.t, created, 201)
	s.answered(on("enableConnectionLogs", id))
	s.answered(on("openConnection", id))
	for _, name := range []string{"retrieveConnectionStatus", "retrieveConnectionMetrics"} {
		s.answered(on(name, id))
	}
	s.seen.add(s.t, "connection logs", `"connectionLogs"`, show(s.command(on("retrieveConnectionLogs", id))))
	s.answered(with("testConnection", with("", c)["connection"].(object)))
	s.answered(on("closeConnection", id))
}

func shownID(i int) string { return fmt.Sprintf("shown-%d", i) }

// connections makes one of every kind; none of them reaches anybody. That the API answers with the secrets shows that they
// are there.
func (s *secrecy) connections() {
	s.t.Helper()
	for i := range s.kinds.of {
		s.runThrough(s.kinds.connection(shownID(i), i))
		if got := show(s.command(on("retrieveConnection", shownID(i)))); !strings.Contains(got, secretMark) && !strings.Contains(got, pemLine(s.kinds.key)) {
			s.t.Errorf("%s has no secret: %s", shownID(i), got)
		}
	}
}

// refusedByBrokers connects with a wrong password, with a right one, and with a client certificate, right and wrong.
func (s *secrecy) refusedByBrokers() {
	s.t.Helper()
	plain := strings.TrimPrefix(clienttest.Mosquitto(s.t, clienttest.MosquittoOptions{User: "box", Password: brokerPassword}).URI(), "tcp://")
	s.runThrough(mqttConnection("refused", "tcp://box:"+secretMark+"wrong@"+plain, "closed"))
	s.runThrough(mqttConnection("taken", "tcp://box:"+brokerPassword+"@"+plain, "closed"))
	s.runThrough(mqttConnection("not-tls", "ssl://box:"+brokerPassword+"@"+plain, "closed"))
	secure := clienttest.Mosquitto(s.t, clienttest.MosquittoOptions{TLS: true, ClientCert: true})
	cert, key := secure.ClientCertificate()
	s.words = append(s.words, pemLine(key))
	for id, credentials := range map[string]object{
		"certified":   {"type": "client-cert", "cert": cert, "key": key},
		"another-key": {"type": "client-cert", "cert": cert, "key": s.kinds.key},
		"another-ca":  {"type": "client-cert", "cert": s.kinds.cert, "key": s.kinds.key},
	} {
		c := mqttConnection(id, secure.URI(), "closed", func(c object) { c["ca"], c["credentials"] = secure.CA(), credentials })
		if id == "another-key" { // does not even pass the validation
			s.answered(with("createConnection", c))
			continue
		}
		s.runThrough(c)
	}
}

// badInput sends secrets where they do not belong, and right ones with something wrong beside them.
func (s *secrecy) badInput() {
	s.t.Helper()
	secret := secretMark + "bad"
	bodies := []string{`{"targetActorSelection":"` + secret, `"` + secret + `"`, `{"targetActorSelection":"` + shardRegion + `","headers":{},"piggybackCommand":"` + secret + `"}`}
	for i := range s.kinds.of {
		for _, spoil := range []func(c object){
			func(c object) { c["connectionType"] = "carrier-pigeon" },
			func(c object) { c["uri"] = 5 },
			func(c object) { c["uri"] = "tcp://user:" + secret + "@host" },
			func(c object) { c["uri"] = "tcp://user:" + secret + " x@host:1" },
			func(c object) { c["uri"] = "tcp://user:" + secret + "/x@host:1" },
			func(c object) { c["uri"] = "gopher://user:" + secret + "@host:1" },
			func(c object) { c["uri"] = "user:" + secret + "@host:1" },
			func(c object) { c["uri"] = "//user:" + secret + "@host:1" },
			func(c object) { c["uri"] = []any{"tcp://user:" + secret + "@host:1"} },
			func(c object) { c["credentials"] = secret },
			func(c object) { c["credentials"] = object{"type": "plain", "password": secret} },
			func(c object) { c["credentials"] = object{"type": "carved-in-stone", "password": secret} },
			func(c object) {
				c["credentials"] = object{"type": "plain", "username": "u", "password": object{"x": secret}}
			},
			func(c object) {
				c["credentials"] = object{"type": "client-cert", "cert": "no cert", "key": "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----"}
			},
			func(c object) { c["credentials"] = object{"type": "hmac", "algorithm": "a", "parameters": secret} },
			func(c object) { c["sshTunnel"] = secret },
			func(c object) {
				c["sshTunnel"] = object{"enabled": true, "uri": "ssh://user:" + secret + "@h", "validateHost": true, "credentials": object{"type": "plain", "username": "u", "password": secret}}
			},
			func(c object) {
				c["sshTunnel"] = object{"enabled": true, "uri": "ssh://h:1", "validateHost": true, "credentials": object{"type": "public-key", "username": "u", "publicKey": "p", "privateKey": secret}}
			},
			func(c object) { c["clientCount"] = 0 },
			func(c object) { c["sources"], c["targets"] = []any{}, []any{} },
		} {
			c := s.kinds.connection("bad", i)
			spoil(c)
			for _, name := range []string{"createConnection", "modifyConnection", "testConnection"} {
				bodies = append(bodies, envelope(shardRegion, nil, with(name, c)))
			}
		}
		whole := envelope(shardRegion, nil, with("createConnection", s.kinds.connection("bad", i)))
		bodies = append(bodies, whole[:len(whole)-20], strings.Replace(whole, "createConnection", "explodeConnection", 1), strings.Replace(whole, shardRegion, "/user/nobody", 1))
	}
	refused := 0
	for _, body := range bodies {
		a := s.request(http.MethodPost, piggyback, body)
		if strings.Contains(string(a.body), `"status":2`) { // one that is not wrong for this kind; it is answered as it is
			s.answered(on("deleteConnection", "bad"))
			continue
		}
		refused++
		s.seen.add(s.t, "answers", `"status"`, string(a.body))
	}
	if refused < len(bodies)/2 {
		s.t.Errorf("only %d of %d bodies were refused", refused, len(bodies))
	}
	for method, path := range map[string]string{http.MethodPost: "/api/2/connections", http.MethodPut: "/api/2/connections/bad", http.MethodPatch: "/api/2/connections/bad"} {
		a := s.request(method, path, `{"connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://user:`+secret+`@host","credentials":{"type":"plain","password":"`+secret+`"}}`)
		if a.status < 400 {
			s.t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
		}
		s.seen.add(s.t, "answers", "", string(a.body))
	}
}

// badOperators comes with wrong credentials.
func (s *secrecy) badOperators() {
	s.t.Helper()
	for _, authenticate := range []func(*http.Request){
		func(r *http.Request) { r.SetBasicAuth("devops", secretMark+"operator") },
		func(r *http.Request) { r.SetBasicAuth(secretMark+"operator", password) },
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretMark+"operator") },
		func(r *http.Request) { r.Header.Set("Authorization", secretMark+"operator") },
	} {
		for _, path := range []string{"/devops/config", "/api/2/connections", "/overall/status"} {
			a := s.request(http.MethodGet, path, "", authenticate)
			if a.status != http.StatusUnauthorized {
				s.t.Errorf("%s with wrong credentials: %d", path, a.status)
			}
			s.seen.add(s.t, "answers", "", string(a.body))
		}
	}
}

// reload sends SIGHUP and waits for what the log says of it.
func (s *secrecy) reload(says string) {
	s.t.Helper()
	before := strings.Count(s.log.String(), says)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, 10*time.Second, "the log says that "+says, func() error {
		if strings.Count(s.log.String(), says) == before {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// badKeys puts texts that are no keys into the key files: each is refused and the ring stays (decision D29).
func (s *secrecy) badKeys() {
	s.t.Helper()
	for _, pair := range [][2]string{{secretMark + "key", ""}, {keyOne[:20], keyTwo}, {keyOne + keyTwo, ""}, {keyOne, keyOne}, {"", ""}, {keyOne, secretMark + "old"}} {
		s.keys(pair[0], pair[1])
		s.reload("the encryption keys were not reloaded")
	}
	s.keys(keyOne, "")
	s.reload("the encryption keys are unchanged")
}

// unreadable starts the node, after a kill -9, with keys that open nothing: every connection is unavailable, a migration counts
// each row as failed and changes none (decision O5).
func (s *secrecy) unreadable() {
	s.t.Helper()
	before := queryStore(s.t, s.env, "select cast(payload as text) from journal order by id")
	s.kill()
	s.keys(keyThree, keyTwo)
	s.start()
	for i := range s.kinds.of {
		for _, command := range []object{on("retrieveConnection", shownID(i)), on("openConnection", shownID(i)), with("createConnection", s.kinds.connection(shownID(i), i))} {
			wantError503(s.t, s.answered(command))
		}
	}
	status := s.migrated()
	if number(at(status, "journalEvents", "failed")) < len(s.kinds.of) || number(at(status, "journalEvents", "processed")) != 0 {
		s.t.Errorf("%s", show(status))
	}
	if after := queryStore(s.t, s.env, "select cast(payload as text) from journal order by id"); show(after) != show(before) {
		s.t.Error("a migration with the wrong old key has changed rows")
	}
	s.stop()
	s.keys(keyOne, "")
	s.start()
	for i := range s.kinds.of {
		wantStatus(s.t, s.command(on("retrieveConnection", shownID(i))), 200)
	}
}

func wantError503(t testing.TB, reply object) {
	t.Helper()
	if number(reply["status"]) != 503 || reply["error"] != "connectivity:connection.unavailable" {
		t.Errorf("%s", show(reply))
	}
}

// migrated runs a migration to its end.
func (s *secrecy) migrated() (status object) {
	s.t.Helper()
	wantStatus(s.t, s.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryption"}), 202)
	status = s.migrationEnded()
	s.seen.add(s.t, "answers", "journalEvents", show(status))
	return status
}

// rotate changes the key for good.
func (s *secrecy) rotate() {
	s.t.Helper()
	s.keys(keyTwo, keyOne)
	s.reload("the encryption keys were reloaded")
	status := s.migrated()
	if number(at(status, "journalEvents", "failed")) != 0 || number(at(status, "journalEvents", "processed")) < len(s.kinds.of) {
		s.t.Errorf("%s", show(status))
	}
	storedUnder(s.t, s.env, keyTwo)
}

// search collects the rest and looks for every secret in all of it. What must be there, in each place, is something that is
// no secret.
func (s *secrecy) search() {
	s.t.Helper()
	shown := s.request(http.MethodGet, "/devops/config", "")
	var config object
	for _, one := range shown.object(s.t)["connectivity"].(object) {
		config, _ = at(one, "config", "ditto", "connectivity", "connection", "encryption").(object)
	}
	if config["symmetrical-key"] != fingerprint(s.t, keyTwo) || config["old-symmetrical-key"] != fingerprint(s.t, keyOne) || config["encryption-enabled"] != true {
		s.t.Errorf("/devops/config shows no fingerprints of the keys: %s", show(config))
	}
	if number(at(config, "migration", "batch-size")) != 100 || number(at(config, "migration", "max-documents-per-minute")) != 0 { // decision D27
		s.t.Errorf("pace of a migration by default: %s", show(config))
	}
	s.seen.add(s.t, "configuration", "SOME_API_TOKEN", string(shown.body))
	for _, path := range []string{"/devops/logging", "/status", "/overall/status", "/health"} {
		s.seen.add(s.t, "views", "", string(s.request(http.MethodGet, path, "").body))
	}
	_, metrics := get(s.t, "http://"+s.metrics+"/metrics")
	s.seen.add(s.t, "metrics", "encryption_migration_documents_total", metrics)
	s.seen.addRows(s.t, s.env, shownID(0))
	s.stop()
	s.seen.add(s.t, "logs", shownID(0), s.log.String())
	for _, trouble := range []string{"panic", "goroutine "} {
		if i := strings.Index(s.log.String(), trouble); i >= 0 {
			s.t.Errorf("%s in the log: %.400s", trouble, s.log.String()[i:])
		}
	}
	for _, must := range []string{"the encryption keys were not reloaded", "cannot be decrypted", "cannot be migrated"} {
		if !strings.Contains(s.log.String(), must) {
			s.t.Errorf("the run has not seen: %s", must)
		}
	}
	if !bytes.Contains([]byte(s.seen["rows of journal"].String()), []byte(encryption.Prefix)) {
		s.t.Error("nothing is sealed in the journal")
	}
	s.seen.demandNone(s.t, s.words)
}
