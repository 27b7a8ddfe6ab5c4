package blackbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// get reads one URL without credentials.
func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	resp, err := httpClient.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestManagement is operations.md 7.1 on one node.
func TestManagement(t *testing.T) {
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		for path, want := range map[string]int{"/alive": 200, "/ready": 200, "/cluster/members": 200, "/nothing": 404} {
			if status, body := get(t, "http://"+n.mgmt+path); status != want {
				t.Errorf("%s: %d %s, want %d", path, status, body, want)
			}
		}
		_, body := get(t, "http://"+n.mgmt+"/cluster/members")
		var cluster struct {
			SelfNode, Leader, Oldest string
			OldestPerRole            map[string]string
			Members                  []struct {
				Node, NodeUID, Status string
				Roles                 []string
			}
			Unreachable []any
		}
		if err := json.Unmarshal([]byte(body), &cluster); err != nil {
			t.Fatal(err)
		}
		if len(cluster.Members) != 1 || cluster.Unreachable == nil || len(cluster.Unreachable) != 0 {
			t.Fatalf("not one member: %s", body)
		}
		m := cluster.Members[0]
		if m.Node == "" || m.Node != cluster.SelfNode || m.Node != cluster.Leader || m.Node != cluster.Oldest || m.Node != cluster.OldestPerRole["connectivity"] ||
			m.NodeUID == "" || m.Status != "Up" || strings.Join(m.Roles, ",") != "connectivity" {
			t.Fatal(body)
		}
		resp, err := http.Post("http://"+n.mgmt+"/ready", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
			t.Errorf("POST /ready: %d", resp.StatusCode)
		}
	})
}

// TestMetrics: the names of operations.md 9 that this service feeds, after a message went through.
func TestMetrics(t *testing.T) {
	broker := mosquitto(t)
	n := startNode(t, sqliteStore(t))
	bridge(n, broker)
	arrived := subscribe(t, broker, "b")
	if err := publish(dial(t, broker, "publisher"), 10, make(chan struct{})); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "messages arrived", func() error {
		if m := arrived.missing(10); m > 0 {
			return fmt.Errorf("%d missing", m)
		}
		return nil
	})
	want := []string{
		`connection_messages_total{category="consumed",direction="inbound",id="from",success="true",type="mqtt"} 10`,
		`connection_messages_total{category="published",direction="outbound",id="to",success="true",type="mqtt"} 10`,
		`connection_client{id="from",type="mqtt"} 1`, `connecting_client{id="to",type="mqtt"} 0`,
		`connectivity_ack_handling_seconds_count{ditto_ack_redeliver="false",ditto_ack_success="true",ditto_connection_id="from",ditto_connection_type="mqtt",segment="overall"} 10`,
		`connectivity_ack_handling_counter{ditto_connection_id="from",ditto_connection_type="mqtt"} 0`,
		`message_mapping_seconds_count{direction="inbound",ditto_connection_id="from",ditto_connection_type="mqtt",ditto_mapping_success="true",mapper="",segment="overall"} 10`,
		`message_mapping_seconds_count{direction="inbound",ditto_connection_id="from",ditto_connection_type="mqtt",ditto_mapping_success="true",mapper="Ditto",segment="payload"} 10`,
		`message_mapping_seconds_count{direction="inbound",ditto_connection_id="from",ditto_connection_type="mqtt",ditto_mapping_success="true",mapper="",segment="protocol"} 10`,
		`message_mapping_seconds_count{direction="outbound",ditto_connection_id="to",ditto_connection_type="mqtt",ditto_mapping_success="true",mapper="",segment="overall"} 10`,
		`message_mapping_seconds_count{direction="outbound",ditto_connection_id="to",ditto_connection_type="mqtt",ditto_mapping_success="true",mapper="Ditto",segment="payload"} 10`,
		`message_mapping_seconds_count{direction="outbound",ditto_connection_id="to",ditto_connection_type="mqtt",ditto_mapping_success="true",mapper="",segment="protocol"} 10`,
		`connection_live_status_reported_total{connectionId="from",connectionType="mqtt",status="open"} 1`, // 10 s after it started (D16)
		`sudo_commands_total{type="connectivity.commands:createConnection"} 2`, "cleanup_delete_events_total 0", "cleanup_delete_snapshots_total 0",
		"pa_recovery_seconds_bucket{", `connection_persistence_seconds_bucket{operation="append"`, "store_operation_seconds_bucket{", "go_goroutines ", "process_open_fds ",
	}
	eventually(t, 20*time.Second, "the series show", func() error {
		for _, path := range []string{"/", "/metrics"} {
			status, body := get(t, "http://"+n.metrics+path)
			if status != 200 {
				return fmt.Errorf("%s: %d", path, status)
			}
			for _, w := range want {
				if !strings.Contains("\n"+body, "\n"+w) {
					return fmt.Errorf("%s is not there", w)
				}
			}
		}
		return nil
	})
	wantStatus(t, n.command(on("closeConnection", "from")), 200)
	eventually(t, 10*time.Second, "the series of a closed connection are gone", func() error {
		if _, body := get(t, "http://"+n.metrics+"/"); strings.Contains(body, `id="from"`) {
			return fmt.Errorf("still there")
		}
		return nil
	})
}
