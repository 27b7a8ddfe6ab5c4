package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
)

// TestClusterMemberCutFromItsPeers cuts one of three nodes from its peers and not from the database: it hands its connections
// over, refuses commands (D18) and keeps its lease; when the way is good again it takes part again.
func TestClusterMemberCutFromItsPeers(t *testing.T) {
	t.Parallel()
	const connections = 15
	broker := startMosquitto(t)
	url := persistencetest.Schema(t)
	address := freePorts(t, 1)[0]
	gate := newProxy(t, address)
	nodes := startCluster(t, url, 2)
	cut := newMember(t, url, "cut-off", "HAWSER_CLUSTER_ADDRESS="+address, "HAWSER_CLUSTER_ADVERTISED="+gate.addr)
	cut.start()
	awaitShared(t, url, 3)
	homes := map[string]int{}
	for k := range connections {
		id := fmt.Sprintf("c-%02d", k)
		wantStatus(t, nodes[0].command(with("createConnection", mqttConnection(id, broker.URI(), "open"))), 201)
		nodes[1].awaitLive(id, "open")
		homes[nodes[0].home(id)]++
	}
	if homes["cut-off"] == 0 {
		t.Fatalf("nothing runs at the node that will be cut off: %v", homes)
	}
	lease := func() string {
		return show(queryStore(t, nodes[0].env, `select id from members where instance = 'cut-off'`))
	}
	before := lease()
	gate.cut()
	eventually(t, 10*time.Second, "the cut node refuses commands", func() error {
		a, err := cut.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"timeout": "1s"}, on("retrieveConnection", "c-00")))
		if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "gateway:service.unavailable") {
			return fmt.Errorf("HTTP %d %v %s", a.status, err, a.body)
		}
		return nil
	})
	for path, want := range map[string]int{"/ready": 500, "/alive": 200, "/cluster/members": 200} {
		if status, body := get(t, "http://"+cut.mgmt+path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	for n, want := range map[*node]int{nodes[0]: 1, nodes[1]: 1, cut: 2} {
		eventually(t, 10*time.Second, n.instance+" lists whom it does not reach", func() error {
			var view struct{ Members, Unreachable []object }
			_, body := get(t, "http://"+n.mgmt+"/cluster/members")
			if err := json.Unmarshal([]byte(body), &view); err != nil || len(view.Unreachable) != want || len(view.Members) != 3-want {
				return fmt.Errorf("%v %s, want %d unreachable", err, body, want)
			}
			return nil
		})
	}
	for k := range connections {
		id := fmt.Sprintf("c-%02d", k)
		nodes[k%2].awaitLive(id, "open")
		if home := nodes[k%2].home(id); home == "cut-off" {
			t.Errorf("%s is still at the node that was cut off", id)
		}
	}
	if after := lease(); after != before {
		t.Errorf("the cut node was %s and is %s", before, after)
	}

	gate.restore()
	cut.awaitMember()
	awaitShared(t, url, 3)
	for k := range connections {
		id := fmt.Sprintf("c-%02d", k)
		wantStatus(t, cut.command(on("retrieveConnection", id)), 200)
		nodes[k%2].awaitLive(id, "open")
	}
	if _, twice := opens(broker.Log()); len(twice) > 0 {
		t.Errorf("connected twice at one time: %v", twice)
	}
}
