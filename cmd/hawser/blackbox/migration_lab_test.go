package blackbox

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"hawser/actors/client/clienttest"
	"hawser/persistence/persistencetest"
)

const brokerPassword = "br0ker-w0rd"

// migrationLab is a cluster of three nodes under load whose keys are in files.
type migrationLab struct {
	t     testing.TB
	url   string
	env   []string // to look into the database
	nodes []*labNode
	kinds *secretKinds
	count int
	seen  haystack

	broker    string
	arrived   []*subscriber
	published atomic.Int64

	looks   *time.Ticker // between two looks at the status: they are no load
	ending  chan struct{}
	ended   sync.Once
	load    sync.WaitGroup
	mu      sync.Mutex
	samples []sample
}

// labNode is a node that the load uses while it is up.
type labNode struct {
	*node
	dir string // of the key files
	up  atomic.Bool
}

// sample is a command that was answered.
type sample struct {
	began time.Time
	took  time.Duration
}

func newMigrationLab(t testing.TB, count int) *migrationLab {
	t.Helper()
	l := &migrationLab{t: t, count: count, url: persistencetest.Schema(t), kinds: newSecretKinds(t), seen: haystack{}, looks: time.NewTicker(200 * time.Millisecond), ending: make(chan struct{})}
	t.Cleanup(l.looks.Stop)
	l.env = []string{"HAWSER_POSTGRES_URL=" + l.url}
	for i := range 3 {
		n := &labNode{dir: t.TempDir()}
		n.node = newMember(t, l.url, fmt.Sprintf("lab-%d", i+1), "CONNECTION_SNAPSHOT_THRESHOLD=5",
			"CONNECTIVITY_ENCRYPTION_MIGRATION_MAX_DOCS_PER_MINUTE=60000", // above what it reaches under load; without any it would be over before the kill
			"CONNECTIVITY_CONNECTION_ENCRYPTION_ENABLED=false", "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY_FILE="+filepath.Join(n.dir, "current"),
			"CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY_FILE="+filepath.Join(n.dir, "old"))
		l.nodes = append(l.nodes, n)
	}
	l.keys(keyOne, "")
	for _, n := range l.nodes {
		n.launch()
	}
	for _, n := range l.nodes {
		n.awaitMember()
		n.up.Store(true)
	}
	awaitShared(t, l.url, len(l.nodes))
	t.Cleanup(l.end)
	return l
}

// end ends the load; it may be called again.
func (l *migrationLab) end() {
	l.ended.Do(func() { close(l.ending) })
	l.load.Wait()
}

// keys writes both key files, on every node unless some are given.
func (l *migrationLab) keys(current, old string, nodes ...*labNode) {
	l.t.Helper()
	if len(nodes) == 0 {
		nodes = l.nodes
	}
	for _, n := range nodes {
		for name, key := range map[string]string{"current": current, "old": old} {
			if err := os.WriteFile(filepath.Join(n.dir, name), []byte(key+"\n"), 0o600); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// refuseWhileKeysDiffer gives the keys to one node only: a migration does not start (decision D29).
func (l *migrationLab) refuseWhileKeysDiffer(current, old string) {
	l.t.Helper()
	l.exchange(current, old, l.nodes[0])
	for _, n := range l.nodes {
		reply := n.as(l.t).commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryption"})
		if number(reply["status"]) != 409 || reply["error"] != "connectivity:encryption.keys.differ" || !strings.Contains(show(reply), "lab-") {
			l.t.Errorf("a start while the keys differ, through %s: %s", n.instance, show(reply))
		}
	}
}

// exchange writes the key files, on every node unless some are given, sends SIGHUP and waits until each says that it has
// these keys, by their fingerprints.
func (l *migrationLab) exchange(current, old string, nodes ...*labNode) {
	l.t.Helper()
	l.keys(current, old, nodes...)
	if len(nodes) == 0 {
		nodes = l.nodes
	}
	for _, n := range nodes {
		if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			l.t.Fatal(err)
		}
		eventually(l.t, 10*time.Second, n.instance+" has the keys", func() error {
			a, err := n.try(http.MethodGet, "/devops/config/connectivity/"+n.instance+"?path=ditto.connectivity.connection.encryption", "")
			if err != nil {
				return err
			}
			shown := a.object(l.t)["config"].(object)
			if shown["symmetrical-key"] != fingerprint(l.t, current) || shown["old-symmetrical-key"] != fingerprint(l.t, old) {
				return fmt.Errorf("%s", show(shown))
			}
			return nil
		})
	}
}

// live is a node that is up.
func (l *migrationLab) live() *labNode {
	for _, i := range rand.Perm(len(l.nodes)) {
		if l.nodes[i].up.Load() {
			return l.nodes[i]
		}
	}
	return l.nodes[0]
}

func labID(i int) string { return fmt.Sprintf("c-%04d", i) }

// together does n things with 16 goroutines; the first error ends it.
func (l *migrationLab) together(n int, do func(i int) error) {
	l.t.Helper()
	var next atomic.Int64
	var first atomic.Pointer[error]
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && first.Load() == nil; i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		l.t.Fatal(*err)
	}
}

// ask sends a command to a node and demands one of the statuses.
func (l *migrationLab) ask(n *labNode, command object, statuses ...int) (object, error) {
	a, err := n.try(http.MethodPost, piggyback, envelope(shardRegion, object{"ditto-sudo": true, "timeout": "50s"}, command))
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("%v at %s: HTTP %d %s", command["type"], n.instance, a.status, a.body)
	}
	var reply object
	if err := json.Unmarshal(a.body, &reply); err != nil {
		return nil, fmt.Errorf("%v at %s: %w", command["type"], n.instance, err)
	}
	if !slices.Contains(statuses, number(reply["status"])) {
		return nil, fmt.Errorf("%v at %s: %s", command["type"], n.instance, show(reply))
	}
	return reply, nil
}

// fill makes the connections, of all kinds, with 8 events each.
func (l *migrationLab) fill() {
	l.t.Helper()
	began := time.Now()
	l.together(l.count, func(i int) error {
		c := l.kinds.connection(labID(i), i)
		if _, err := l.ask(l.live(), with("createConnection", c), 201); err != nil {
			return err
		}
		for v := range 7 {
			c["name"] = fmt.Sprintf("version %d", v)
			if _, err := l.ask(l.live(), with("modifyConnection", c), 204); err != nil {
				return err
			}
		}
		return nil
	})
	l.t.Logf("%d connections with %s rows in clear after %v", l.count, queryStore(l.t, l.env, "select count(*) from journal")[0][0], time.Since(began).Round(time.Millisecond))
}

// relay opens three sources and three targets at a broker that wants a password, so that a secret that is read wrong is
// noticed, and publishes live events to them until the load ends.
func (l *migrationLab) relay() {
	l.t.Helper()
	const ends = 3
	l.broker = strings.Replace(clienttest.Mosquitto(l.t, clienttest.MosquittoOptions{User: "box", Password: brokerPassword}).URI(), "://", "://box:"+brokerPassword+"@", 1)
	mesh(l.nodes[0].node, l.broker, ends, ends)
	for k := range ends {
		l.arrived = append(l.arrived, subscribe(l.t, l.broker, fmt.Sprintf("out/%d", k)))
	}
	publisher := dial(l.t, l.broker, "publisher")
	l.load.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var tokens []mqtt.Token
		for k := 0; ; k++ {
			select {
			case <-tick.C:
				tokens = append(tokens, publisher.Publish(fmt.Sprintf("in/%d/x", k%ends), 1, false, liveEvent(k)))
				continue
			case <-l.ending:
			}
			for _, token := range tokens {
				if !token.WaitTimeout(30*time.Second) || token.Error() != nil {
					l.t.Errorf("a message was not taken by the broker: %v", token.Error())
					break
				}
			}
			l.published.Store(int64(k))
			return
		}
	})
}

// drive sends commands to random nodes, about 100 a second, until the load ends. One that a live node does not answer well
// fails the test.
func (l *migrationLab) drive() {
	for c := range 5 {
		l.load.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for k := 0; ; k++ {
				select {
				case <-l.ending:
					return
				case <-tick.C:
				}
				i := rand.IntN(l.count)
				command, status := on("retrieveConnection", labID(i)), 200
				switch own := fmt.Sprintf("live-%d-%d", c, k/10); k % 10 {
				case 1, 4, 7:
					command, status = with("modifyConnection", l.kinds.connection(labID(i), i)), 204
				case 5:
					command = on("retrieveConnectionStatus", labID(i))
				case 8:
					command, status = with("createConnection", l.kinds.connection(own, k/10)), 201
				case 9:
					command, status = on("deleteConnection", own), 204
				}
				n := l.live()
				began := time.Now()
				_, err := l.ask(n, command, status)
				switch {
				case err == nil:
					l.mu.Lock()
					l.samples = append(l.samples, sample{began, time.Since(began)})
					l.mu.Unlock()
				case n.up.Load():
					l.t.Errorf("a command failed on a live node: %v", err)
				case k%10 == 8: // it is not known whether it was created
					k++
				}
			}
		})
	}
}

// settle waits until n more commands were answered.
func (l *migrationLab) settle(n int) {
	l.t.Helper()
	l.mu.Lock()
	from := len(l.samples)
	l.mu.Unlock()
	eventually(l.t, 5*time.Minute, "commands are answered", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.samples) < from+n {
			return fmt.Errorf("%d", len(l.samples)-from)
		}
		return nil
	})
}

// timed logs how long the commands took that began while do ran.
func (l *migrationLab) timed(what string, do func()) {
	l.t.Helper()
	from := time.Now()
	do()
	to := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, s := range l.samples {
		if !s.began.Before(from) && s.began.Before(to) {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		l.t.Errorf("%s: no command in %v", what, to.Sub(from))
		return
	}
	slices.Sort(took)
	l.t.Logf("%-45s %7v: %5d commands, p50 %v, p99 %v, longest %v", what, to.Sub(from).Round(time.Millisecond), len(took),
		took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond), took[len(took)-1].Round(time.Millisecond))
}

// roll restarts the nodes one after the other with another value of a variable.
func (l *migrationLab) roll(variable string) {
	l.t.Helper()
	l.timed("restart of one node after the other", func() {
		for _, n := range l.nodes {
			n.up.Store(false)
			n.stop()
			n.env = append(n.env, variable) // the last one counts
			l.again(n)
		}
	})
}

// again starts a node that has ended.
func (l *migrationLab) again(n *labNode) {
	l.t.Helper()
	n.launch()
	n.awaitMember()
	awaitShared(l.t, l.url, len(l.nodes))
	n.up.Store(true)
}

// migrate starts a migration, kills the node that executes it in the middle, waits until another one has ended it and starts
// the killed one again.
func (l *migrationLab) migrate(what string) {
	l.t.Helper()
	began := time.Now()
	asked := l.live() // one entry, however many nodes there are (E34, decisions D2, D3)
	start := asked.as(l.t).request(http.MethodPost, piggyback, envelope(migrationActor, object{"aggregate": true}, object{"type": "connectivity.commands:migrateEncryption"})).object(l.t)
	entries, _ := start["connectivity"].(object)
	if entry, _ := entries[asked.instance].(object); len(entries) != 1 || number(entry["status"]) != 202 {
		l.t.Fatalf("%s at %s: %s", what, asked.instance, show(start))
	}
	rows, err := strconv.Atoi(queryStore(l.t, l.env, `select (select count(*) from journal where payload ? 'connection') + (select count(*) from snapshots where payload ? 'uri')`)[0][0])
	if err != nil {
		l.t.Fatal(err)
	}
	done := func(s object) int {
		return number(at(s, "snapshots", "processed")) + number(at(s, "snapshots", "skipped")) + number(at(s, "journalEvents", "processed")) + number(at(s, "journalEvents", "skipped"))
	}
	var victim *labNode
	before := 0
	l.timed(what+", until the kill", func() {
		eventually(l.t, 5*time.Minute, "a third of the rows is done", func() error {
			s := l.status()
			if s["migrationActive"] != true {
				l.t.Fatalf("%s ended before its node could be killed: %s", what, show(s))
			}
			if before = done(s); before < rows/3 {
				return fmt.Errorf("%s", show(s))
			}
			return nil
		})
		owner := queryStore(l.t, l.env, "select m.instance from shards s join members m on m.id = s.owner where s.kind = 'singleton' and s.shard = 0")
		i := slices.IndexFunc(l.nodes, func(n *labNode) bool { return len(owner) == 1 && n.instance == owner[0][0] })
		if i < 0 {
			l.t.Fatalf("nobody owns the migration: %v", owner)
		}
		victim = l.nodes[i]
		l.scrape(victim)
		victim.up.Store(false)
		victim.kill()
	})
	var s object
	l.timed(what+", after the kill", func() {
		eventually(l.t, 10*time.Minute, what+" ends", func() error {
			if s = l.status(); s["phase"] != "completed" {
				return fmt.Errorf("%s", show(s))
			}
			return nil
		})
	})
	l.t.Logf("%s: %d of %d rows when %s was killed; ended after %v: %s", what, before, rows, victim.instance, time.Since(began).Round(time.Millisecond), show(s))
	if number(at(s, "snapshots", "failed")) != 0 || number(at(s, "journalEvents", "failed")) != 0 || s["migrationActive"] != false {
		l.t.Fatalf("%s: %s", what, show(s))
	}
	if done(s) < rows {
		l.t.Errorf("%s: %d rows of %d were looked at", what, done(s), rows)
	}
	if !slices.ContainsFunc(l.nodes, func(n *labNode) bool {
		return n != victim && strings.Contains(n.log.String(), "an encryption migration was left running and goes on")
	}) {
		l.t.Errorf("%s: no other node went on with it", what)
	}
	l.again(victim)
}

func (l *migrationLab) status() object {
	l.t.Helper()
	<-l.looks.C
	return l.live().as(l.t).commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryptionStatus"})
}

// demandStored looks at every row, and reads every connection from a random node.
func (l *migrationLab) demandStored(key string) {
	l.t.Helper()
	storedUnder(l.t, l.env, key)
	began := time.Now()
	l.together(l.count, func(i int) error {
		reply, err := l.ask(l.live(), on("retrieveConnection", labID(i)), 200)
		if err != nil {
			return err
		}
		want := l.kinds.connection(labID(i), i)
		for _, path := range [][]string{{"uri"}, {"credentials"}, {"sshTunnel", "credentials"}} {
			held := at(want, path...)
			got := at(reply, append([]string{"connection"}, path...)...)
			if !holds(got, held) {
				return fmt.Errorf("%s of %s is %s, want %s", strings.Join(path, "/"), labID(i), show(got), show(held))
			}
		}
		return nil
	})
	l.t.Logf("%d connections were read with their secrets in %v", l.count, time.Since(began).Round(time.Millisecond))
}

// stop ends the load and demands that every message has arrived.
func (l *migrationLab) stop() {
	l.t.Helper()
	l.end()
	n := int(l.published.Load())
	eventually(l.t, time.Minute, "all messages arrived at all targets", func() error {
		for k, s := range l.arrived {
			if missing := s.missing(n); missing > 0 {
				return fmt.Errorf("target %d: %d of %d missing", k, missing, n)
			}
		}
		return nil
	})
	l.t.Logf("%d messages at %d targets, none missing", n, len(l.arrived))
}

// scrape takes the metrics of a node.
func (l *migrationLab) scrape(n *labNode) {
	l.t.Helper()
	_, body := get(l.t, "http://"+n.metrics+"/metrics")
	l.seen.add(l.t, "metrics", "encryption_migration_active 1", body)
	for _, series := range []string{"encryption_migration_documents_total{", "encryption_migration_progress_ratio ", "encryption_migration_documents_per_second "} {
		if !strings.Contains(body, series) {
			l.t.Errorf("no series %s in the metrics of the node that migrates", series)
		}
	}
}

// collectShown takes what the nodes have said.
func (l *migrationLab) collectShown() {
	l.t.Helper()
	tenths := 0
	for _, n := range l.nodes {
		l.seen.add(l.t, "logs", "msg=started", n.log.String())
		tenths += strings.Count(n.log.String(), "encryption migration goes on")
		l.seen.add(l.t, "configuration", n.instance, string(n.as(l.t).request(http.MethodGet, "/devops/config", "").body))
	}
	if tenths < 3*5 { // two of three nodes tell of each tenth
		l.t.Errorf("%d log lines tell how far a migration is", tenths)
	}
}

// holds reports whether got is want, with more members perhaps.
func holds(got, want any) bool {
	members, isObject := want.(object)
	if !isObject {
		return want == nil || show(got) == show(want)
	}
	for name, value := range members {
		if !holds(at(got, name), value) {
			return false
		}
	}
	return true
}

// fingerprint is how a key shows, "" for none.
func fingerprint(t testing.TB, key string) string {
	t.Helper()
	return onlyKey(t, key).Fingerprints().Key
}
