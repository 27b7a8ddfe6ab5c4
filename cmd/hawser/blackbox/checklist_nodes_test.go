package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const (
	migrationActor = "/user/connectivityRoot/encryptionMigration"
	cleanupActor   = "/user/connectivityRoot/persistenceCleanup"
	healthActor    = "/user/connectivityRoot/healthCheckingActor"
	devopsActor    = "/user/devOpsCommandsActor"
)

var health = object{"type": "status.commands:retrieveHealth"}

// nodeRows are rows 28, 29, 78–83 and what belongs to them: how often a command runs, and what nodes say of themselves.
func nodeRows(broker string) []checkRow {
	return []checkRow{
		{name: "28 create on three nodes", nodes: 3, check: func(t *testing.T, n *node, id string) {
			for _, receiver := range n.peers {
				own := id + receiver.instance
				a := receiver.as(t).request(http.MethodPost, piggyback, envelope(shardRegion, object{"aggregate": true, "is-group-topic": false},
					with("createConnection", mqttConnection(own, broker, "closed"))))
				reply := a.object(t)
				entry, _ := at(reply, "connectivity", receiver.instance).(object)
				if a.status != 200 || len(reply) != 1 || len(reply["connectivity"].(object)) != 1 || number(entry["status"]) != 201 {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
		}},
		{name: "29 exactly one execution on three nodes", nodes: 3, check: func(t *testing.T, n *node, id string) {
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			revision := 1
			for _, group := range []bool{false, true} {
				for _, path := range []string{"/devops/piggyback", piggyback, piggyback + "/" + n.peers[2].instance} {
					for _, receiver := range n.peers {
						a := receiver.as(t).request(http.MethodPost, path, envelope(shardRegion, object{"is-group-topic": group},
							with("modifyConnection", mqttConnection(id, broker, "closed"))))
						wantStatus(t, a.object(t), 204)
						revision++
					}
				}
			}
			get := on("retrieveConnection", id)
			get["selectedFields"] = "_revision"
			if got := number(at(n.command(get), "connection", "_revision")); got != revision {
				t.Fatalf("revision %d after %d commands, want %d", got, revision-1, revision)
			}
		}},
		{name: "78 migrateEncryption without keys", check: func(t *testing.T, n *node, _ string) {
			wantError(t, n.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryption"}), 400, "connectivity:encryption.notconfigured")
		}},
		{name: "79 migrateEncryptionAbort, idle", check: func(t *testing.T, n *node, _ string) {
			wantError(t, n.commandAt(migrationActor, object{"type": "connectivity.commands:migrateEncryptionAbort"}), 409, "connectivity:encryption.migration.notrunning")
		}},
		{name: "80 health of the cleanup", check: func(t *testing.T, n *node, _ string) {
			reply := n.commandAt(cleanupActor, health)
			details, _ := at(reply, "statusInfo", "details").([]any)
			if reply["type"] != "status.responses:retrieveHealth" || number(reply["status"]) != 200 || at(reply, "statusInfo", "status") != "UP" || len(details) != 1 {
				t.Fatal(show(reply))
			}
			info, _ := details[0].(object)["INFO"].(object)
			if state := info["state"]; state != "IN_QUIET_PERIOD" && state != "RUNNING" || info["pid"] == nil {
				t.Fatal(show(reply))
			}
		}},
		{name: "80a every instance answers for itself", check: func(t *testing.T, n *node, _ string) {
			for _, target := range []string{cleanupActor, healthActor} {
				for _, path := range []string{"/devops/piggyback", piggyback} {
					a := n.request(http.MethodPost, path, envelope(target, object{"aggregate": nil}, health))
					instances, _ := a.object(t)["connectivity"].(object)
					for _, one := range n.all() {
						reply, _ := instances[one.instance].(object)
						if reply["status"] != "UP" && at(reply, "statusInfo", "status") != "UP" {
							t.Errorf("%s of %s: %s", target, one.instance, a.body)
						}
					}
					if len(instances) != len(n.all()) {
						t.Errorf("%d instances: %s", len(instances), a.body)
					}
				}
				for _, one := range n.all() {
					reply := n.request(http.MethodPost, piggyback+"/"+one.instance, envelope(target, object{"aggregate": true}, health)).object(t)
					if len(reply["connectivity"].(object)) != 1 || at(reply, "connectivity", one.instance) == nil {
						t.Errorf("%s at %s: %s", target, one.instance, show(reply))
					}
				}
			}
		}},
		{name: "80b configuration of the cleanup", check: func(t *testing.T, n *node, _ string) {
			last := n.all()[len(n.all())-1]
			path := piggyback + "/" + last.instance
			ask := func(command object) object {
				t.Helper()
				return n.request(http.MethodPost, path, envelope(cleanupActor, nil, command)).object(t)
			}
			whole := ask(object{"type": "common.commands:retrieveConfig"})
			config, _ := whole["config"].(object)
			if len(config) != 9 || number(config["history-retention-duration"]) != 2_592_000_000 || number(config["quiet-period"]) != 300_000 || config["enabled"] != true {
				t.Fatal(show(whole))
			}
			if one := ask(object{"type": "common.commands:retrieveConfig", "path": "quiet-period"}); number(one["config"]) != 300_000 || number(one["status"]) != 200 {
				t.Error(show(one))
			}
			if bad := ask(object{"type": "common.commands:retrieveConfig", "path": "no.such"}); at(bad, "config", "error") == nil || number(bad["status"]) != 200 {
				t.Error(show(bad))
			}
			changed := ask(object{"type": "common.commands:modifyConfig", "config": object{"interval": "30s", "reads-per-query": 7, "last-pid": "connection:m"}})
			if number(at(changed, "config", "interval")) != 30_000 || number(at(changed, "config", "reads-per-query")) != 7 || at(changed, "config", "last-pid") != nil {
				t.Error(show(changed))
			}
			wantError(t, ask(object{"type": "common.commands:modifyConfig", "config": object{"interval": "-1s", "reads-per-query": 8}}), 400, "json.invalid")
			if kept := ask(object{"type": "common.commands:retrieveConfig"}); number(at(kept, "config", "interval")) != 30_000 || number(at(kept, "config", "reads-per-query")) != 7 {
				t.Errorf("after a refused change: %s", show(kept))
			}
			wantE2(t, ask(object{"type": "common.commands:shutdown"}), 400, "json.type.notparsable")
			wantE2(t, ask(on("retrieveConnection", "x")), 400, "json.type.notparsable")
			for _, one := range n.all()[:len(n.all())-1] {
				reply := n.request(http.MethodPost, piggyback+"/"+one.instance, envelope(cleanupActor, nil, object{"type": "common.commands:retrieveConfig", "path": "interval"})).object(t)
				if number(reply["config"]) != 10_000 {
					t.Errorf("%s was changed, too: %s", one.instance, show(reply))
				}
			}
		}},
		{name: "81 cleanupPersistence", check: func(t *testing.T, n *node, id string) {
			mention(t, wantE2(t, n.command(object{"type": "cleanup.sudo.commands:cleanupPersistence", "entityId": id}), 400, "json.field.missing"), "</entityType>")
			wantStatus(t, n.command(with("createConnection", mqttConnection(id, broker, "closed"))), 201)
			for range 12 {
				wantStatus(t, n.command(with("modifyConnection", mqttConnection(id, broker, "closed"))), 204)
			}
			reply := n.command(object{"type": "cleanup.sudo.commands:cleanupPersistence", "entityType": "connection", "entityId": id})
			if show(reply) != `{"entityId":"`+id+`","entityType":"connection","status":200,"type":"cleanup.sudo.responses:cleanupPersistence"}` {
				t.Fatal(show(reply))
			}
			if reply := n.command(object{"type": "cleanup.sudo.commands:cleanupPersistence", "entityType": "thing", "entityId": id}); reply["entityType"] != "thing" || reply["status"] != 200.0 {
				t.Errorf("the answer names another entity type than the command: %s", show(reply))
			}
			wantError(t, n.command(on("retrieveConnection", id), object{"at-historical-revision": 2}), 404, "connectivity:connection.history.notfound")
			wantStatus(t, n.command(on("retrieveConnection", id)), 200)
		}},
		{name: "82 log levels", check: func(t *testing.T, n *node, id string) {
			const logger = "org.eclipse.ditto.connectivity.service.messaging.mqtt"
			levels := func(path string) map[string]string {
				t.Helper()
				found := map[string]string{}
				for instance, reply := range n.request(http.MethodGet, path, "").object(t) {
					reply, _ := reply.(object)
					configs, _ := reply["loggerConfigs"].([]any)
					if reply["type"] != "devops.responses:retrieveLoggerConfig" || reply["instance"] != instance || reply["serviceName"] != "connectivity" || len(configs) == 0 {
						t.Fatal(show(reply))
					}
					for _, c := range configs {
						found[instance+" "+fmt.Sprint(c.(object)["logger"])] = fmt.Sprint(c.(object)["level"])
					}
				}
				return found
			}
			for _, path := range []string{"/devops/logging/connectivity", "/devops/logging/gateway", "/devops/logging/connectivity/"} {
				found := levels(path)
				for _, one := range n.all() {
					if found[one.instance+" ROOT"] != "info" {
						t.Errorf("%s: %v", path, found)
					}
				}
			}
			first := n.all()[0].instance
			changed := n.request(http.MethodPut, "/devops/logging/connectivity/"+first, `{"level":"DEBUG","logger":"`+logger+`"}`)
			if got := changed.object(t); changed.status != 200 || got["successful"] != true || got["type"] != "devops.responses:changeLogLevel" || got["instance"] != first {
				t.Fatalf("%d %s", changed.status, changed.body)
			}
			found := levels("/devops/logging/connectivity")
			for _, one := range n.all() {
				if level, set := found[one.instance+" "+logger]; set != (one.instance == first) || set && level != "debug" {
					t.Errorf("%s after a change of %s: %v", one.instance, first, found)
				}
			}
			all := n.request(http.MethodPut, "/devops/logging", `{"level":"warn","logger":"hawser.gateway.devops"}`).object(t)
			if instances, _ := all["connectivity"].(object); len(all) != 1 || len(instances) != len(n.all()) {
				t.Error(show(all))
			}
			e1(400, "json.invalid", "Invalid LogLevel!")(t, n, n.request(http.MethodPut, "/devops/logging", `{"level":"loud"}`))
			e1(400, "json.field.missing", "</level>")(t, n, n.request(http.MethodPut, "/devops/logging", `{"logger":"ROOT"}`))
			e1(404, "devops:service.notfound", "things")(t, n, n.request(http.MethodGet, "/devops/logging/things", ""))
			e1(404, "devops:instance.notfound", "nobody")(t, n, n.request(http.MethodGet, "/devops/logging/connectivity/nobody", ""))
			if a := n.request(http.MethodPost, "/devops/logging", ""); a.status != 405 || a.header.Get("Allow") != "GET, PUT" {
				t.Errorf("POST: %d %q", a.status, a.header.Get("Allow"))
			}
		}},
		{name: "83 configuration", check: func(t *testing.T, n *node, _ string) {
			for _, one := range n.all() {
				a := n.request(http.MethodGet, "/devops/config/connectivity/"+one.instance+"?path=ditto.service-name", "")
				if got := show(a.object(t)); got != `{"config":"connectivity","status":200,"type":"common.responses:retrieveConfig"}` {
					t.Error(got)
				}
			}
			for _, path := range []string{"/devops/config?path=ditto.info", "/devops/config/connectivity?path=ditto.info", "/devops/config/gateway?path=ditto.info"} {
				a := n.request(http.MethodGet, path, "")
				instances, _ := a.object(t)["connectivity"].(object)
				for _, one := range n.all() {
					info, _ := at(instances[one.instance], "config").(object)
					if at(info, "service", "instance-id") != one.instance || at(info, "service", "name") != "connectivity" || at(info, "env", "DEVOPS_PASSWORD") != "*****" || info["vm-args"] == nil {
						t.Errorf("%s: %s", path, a.body)
					}
				}
				if len(instances) != len(n.all()) {
					t.Errorf("%s: %s", path, a.body)
				}
			}
			if a := n.request(http.MethodGet, "/devops/config", ""); strings.Contains(string(a.body), password) || strings.Contains(string(a.body), "postgres://") && !strings.Contains(string(a.body), "*****") {
				t.Errorf("a secret is shown: %s", a.body)
			}
			reply := n.commandAt(devopsActor, object{"type": "common.commands:retrieveConfig", "path": "ditto.service-name"})
			if reply["config"] != "connectivity" {
				t.Error(show(reply))
			}
			unknown := n.request(http.MethodGet, "/devops/config/connectivity/"+n.instance+"?path=no.such.path", "").object(t)
			if number(unknown["status"]) != 200 || at(unknown, "config", "error") == nil {
				t.Error(show(unknown))
			}
		}},
		{name: "58a purgeEntities", check: func(t *testing.T, n *node, id string) {
			ids := []string{id + "-a", id + "-b"}
			for _, one := range ids {
				opened(t, n, mqttConnection(one, broker, ""))
			}
			purge := object{"type": "common.commands:purgeEntities", "entityType": "connection", "entityIds": ids}
			const mediator = "/system/distributedPubSubMediator"
			wantE2(t, n.commandAt(mediator, purge), 404, "devops:target.notfound")
			reply := n.commandAt(mediator, purge, object{"topic": "common.commands:purgeEntities:connection", "is-group-topic": true, "timeout": "30s"})
			if show(reply) != `{"entityType":"connection","status":200,"successful":true,"type":"common.responses:purgeEntities"}` {
				t.Fatal(show(reply))
			}
			for _, one := range ids {
				wantError(t, n.command(on("retrieveConnection", one)), 404, "connectivity:connection.notfound")
			}
			var work sync.WaitGroup
			for _, one := range ids {
				work.Go(func() {
					if reply := n.command(with("createConnection", mqttConnection(one, broker, "open"))); number(reply["status"]) != 201 {
						t.Errorf("%s", show(reply))
					}
				})
			}
			work.Wait()
			for _, one := range ids {
				get := on("retrieveConnection", one)
				get["selectedFields"] = "_revision"
				if got := number(at(n.command(get), "connection", "_revision")); got != 1 {
					t.Errorf("%s begins at revision %d", one, got)
				}
				n.awaitLive(one, "open")
			}
		}},
	}
}

// all are the nodes of the cluster, or the one that there is.
func (n *node) all() []*node {
	if len(n.peers) > 0 {
		return n.peers
	}
	return []*node{n}
}
