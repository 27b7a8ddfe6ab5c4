package blackbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// payloads collects what arrives on a topic.
type payloads struct {
	mu  sync.Mutex
	all []string
}

func collectPayloads(t testing.TB, broker, topic string) *payloads {
	t.Helper()
	p := &payloads{}
	token := dial(t, broker, "collector-"+topic).Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all = append(p.all, string(m.Payload()))
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("subscribe: %v", token.Error())
	}
	return p
}

// await waits until n payloads have arrived and returns all.
func (p *payloads) await(t testing.TB, n int) (all []string) {
	t.Helper()
	eventually(t, 15*time.Second, fmt.Sprint(n, " payloads"), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if all = slices.Clone(p.all); len(all) < n {
			return fmt.Errorf("%q", all)
		}
		return nil
	})
	return all
}

// TestJavaScriptMapping: what devices send as bytes becomes live events by a script of one connection, and leaves as text
// by a script of another (runtime.md 8.2). A message that the script throws at is answered with an error and logged, one
// that runs for ever is ended; what comes after is mapped as before, by the same runtime.
func TestJavaScriptMapping(t *testing.T) {
	const (
		incoming = `let mapped = 0; // messages of this runtime
const topicHeader = 'mqtt.topic';
function mapToDittoProtocolMsg(headers, textPayload, bytePayload, contentType) {
  mapped++;
  const view = new DataView(bytePayload), kind = view.getUint8(0);
  if (kind === 2) while (true);
  if (kind === 3) return null;
  if (kind !== 1) throw new RangeError('kind ' + kind + ' is unknown');
  return Ditto.buildDittoProtocolMsg('acme', headers[topicHeader].split('/')[1], 'things', 'live', 'events', 'modified', '/attributes/temperature',
    {'correlation-id': 'n-' + mapped}, {celsius: view.getInt16(1) / 10, mapped});
}`
		outgoing = `function mapFromDittoProtocolMsg(namespace, name, group, channel, criterion, action, path, dittoHeaders, value, status, extra) {
  return Ditto.buildExternalMsg({}, [namespace, name, group, channel, criterion, action, path, value.celsius, value.mapped, dittoHeaders['correlation-id']].join(' '), null, 'text/plain');
}`
	)
	definition := func(options object) object {
		return object{"script": object{"mappingEngine": "JavaScript", "options": options}}
	}
	onBothStores(t, func(t *testing.T, env []string) {
		broker := mosquitto(t)
		n := startNode(t, append(env, "CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_EXECUTION_TIME=700ms"))
		source := mqttConnection("script-from", broker, "open", func(c object) {
			c["mappingDefinitions"], c["targets"] = definition(object{"incomingScript": incoming}), []any{}
			c["sources"] = []any{object{"addresses": []any{"bytes/#"}, "qos": 1, "authorizationContext": []any{"box:shared"}, "payloadMapping": []any{"script"},
				"replyTarget": object{"enabled": true, "address": "errors", "expectedResponseTypes": []any{"error"}}}}
		})
		target := mqttConnection("script-to", broker, "open", func(c object) {
			c["mappingDefinitions"], c["sources"] = definition(object{"outgoingScript": outgoing, "loadLongJS": "true"}), []any{}
			c["targets"] = []any{object{"address": "texts", "qos": 1, "topics": []any{"_/_/things/live/events"}, "authorizationContext": []any{"box:shared"}, "payloadMapping": []any{"script"}}}
		})
		for _, c := range []object{target, source} {
			wantStatus(t, n.command(with("createConnection", c)), 201)
			n.awaitLive(c["id"].(string), "open")
		}
		texts, errors := collectPayloads(t, broker, "texts"), collectPayloads(t, broker, "errors")
		device := dial(t, broker, "device")
		send := func(payload string) {
			t.Helper()
			if token := device.Publish("bytes/pump-7", 1, false, payload); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
				t.Fatal(token.Error())
			}
		}
		const line = "acme pump-7 things live events modified /attributes/temperature %s n-%d"
		send("\x01\x00\xd7")
		if got := texts.await(t, 1); got[0] != fmt.Sprintf(line, "21.5 1", 1) {
			t.Fatalf("got %q", got)
		}

		send("\xffsecret-of-the-device")
		send("\x02")
		send("\x03")
		send("\x01\xff\xce")
		if got := texts.await(t, 2); got[1] != fmt.Sprintf(line, "-5 5", 5) { // the runtime has counted all of them
			t.Fatalf("got %q", got)
		}
		for i, mention := range []string{"RangeError: kind 255 is unknown - in line/column #8/", "longer than 700ms"} {
			var e struct {
				Topic  string
				Status int
				Value  struct{ Error, Description string }
			}
			got := errors.await(t, 2)
			if err := json.Unmarshal([]byte(got[i]), &e); err != nil {
				t.Fatalf("%q: %v", got[i], err)
			}
			if e.Status != 400 || e.Topic != "unknown/unknown/things/twin/errors" || e.Value.Error != "connectivity:message.mapping.failed" || !strings.Contains(e.Value.Description, mention) || strings.Contains(got[i], "secret") {
				t.Errorf("got %s, want %s", got[i], mention)
			}
		}
		eventually(t, 15*time.Second, "the log names the errors", func() error {
			reply := n.command(on("retrieveConnectionLogs", "script-from"))
			failed := show(logs(reply, map[string]string{"category": "source", "type": "mapped", "level": "failure"}))
			if !strings.Contains(failed, "kind 255 is unknown") || !strings.Contains(failed, "longer than 700ms") {
				return fmt.Errorf("%s", show(reply))
			}
			return nil
		})
		n.awaitLive("script-from", "open")
		if dropped := logs(n.command(on("retrieveConnectionLogs", "script-from")), map[string]string{"category": "source", "type": "dropped", "level": "success"}); len(dropped) != 1 {
			t.Errorf("dropped: %s", show(dropped)) // R15
		}

		// A script that is none is refused, and the connection stays as it is.
		source["mappingDefinitions"] = definition(object{"incomingScript": "function mapToDittoProtocolMsg( {"})
		refusal := n.command(with("modifyConnection", source))
		wantError(t, refusal, 400, "connectivity:connection.configuration.invalid")
		if !strings.Contains(show(refusal), "/mappingDefinitions/script") {
			t.Errorf("got %s", show(refusal))
		}
		send("\x01\x00\x0a")
		if got := texts.await(t, 3); got[2] != fmt.Sprintf(line, "1 6", 6) {
			t.Fatalf("got %q", got)
		}
	})
}
