package blackbox

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
)

// TestDataFolderProvesDeath is design.md 3.2 rule 4b: a node that is started again in the data folder of one that was killed
// buries it before it joins, although nothing else proves that death: nobody has watched it for a TTL.
func TestDataFolderProvesDeath(t *testing.T) {
	t.Parallel()
	url := persistencetest.Schema(t)
	n := newMember(t, url, "box-1", "HAWSER_LEASE_TTL=15s")
	n.start()
	wantStatus(t, n.command(with("createConnection", mqttConnection("a", "tcp://127.0.0.1:1", "closed"))), 201)
	// As seen from another kernel: its process says nothing.
	if rows := queryStore(t, n.env, `update members set proc = '' returning id`); len(rows) != 1 {
		t.Fatalf("members %v", rows)
	}
	before := len(n.log.String())
	n.kill()
	killed := time.Now()
	n.start()
	if took := time.Since(killed); took > 15*time.Second {
		t.Errorf("ready only after %v, when the lease was over anyway", took)
	}
	wantStatus(t, n.command(on("retrieveConnection", "a")), 200)
	if log := n.log.String()[before:]; !strings.Contains(log, `msg="buried a member"`) || !strings.Contains(log, "proof=true") {
		t.Errorf("nobody was buried:\n%s", tail(log, 20))
	}
}

// TestDataFolderIsOneNodes: a second node on the same database and in the same data folder does not start, and says why in one
// line; the first goes on.
func TestDataFolderIsOneNodes(t *testing.T) {
	t.Parallel()
	env := postgresStore(t)
	first := startNode(t, env)
	second := newNode(t, env)
	cmd := exec.Command(binary, "serve")
	cmd.Env = second.env
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the second node ran: %s", out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := fmt.Sprintf("is in use by another hawser (process %d): each node needs a data folder of its own (data-dir, HAWSER_DATA_DIR)", first.cmd.Process.Pid)
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "hawser: ") || !strings.HasSuffix(last, want) {
		t.Errorf("%s\nwant %s", out, want)
	}
	wantStatus(t, first.command(with("createConnection", mqttConnection("after", "tcp://127.0.0.1:1", "closed"))), 201)
}
