package validation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"hawser/messages"
)

// bases are a valid connection of each type; rows of the tables below change them.
var bases = map[messages.ConnectionType]string{
	messages.TypeMQTT: `{"id":"plant-7","connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://broker.example:1883",
		"sources":[{"addresses":["in/#"],"qos":1,"authorizationContext":["s"]}],"targets":[{"address":"out","qos":0,"authorizationContext":["s"]}]}`,
	messages.TypeMQTT5: `{"id":"plant-7","connectionType":"mqtt-5","connectionStatus":"closed","uri":"tcp://broker.example:1883",
		"sources":[{"addresses":["in/#"],"qos":1,"authorizationContext":["s"]}],"targets":[{"address":"out","qos":0,"authorizationContext":["s"]}]}`,
	messages.TypeAMQP091: `{"id":"plant-7","connectionType":"amqp-091","connectionStatus":"closed","uri":"amqp://broker.example:5672",
		"sources":[{"addresses":["in"],"authorizationContext":["s"]}],"targets":[{"address":"ex/rk","authorizationContext":["s"]}]}`,
	messages.TypeAMQP10: `{"id":"plant-7","connectionType":"amqp-10","connectionStatus":"closed","uri":"amqps://broker.example:5671",
		"sources":[{"addresses":["in"],"authorizationContext":["s"]}],"targets":[{"address":"out","authorizationContext":["s"]}]}`,
	messages.TypeKafka: `{"id":"plant-7","connectionType":"kafka","connectionStatus":"closed","uri":"tcp://u:s3cret@broker.example:9092","specificConfig":{"bootstrapServers":"a:1"},
		"sources":[{"addresses":["in"],"authorizationContext":["s"]}],"targets":[{"address":"out","authorizationContext":["s"]}]}`,
	messages.TypeHTTPPush: `{"id":"plant-7","connectionType":"http-push","connectionStatus":"closed","uri":"https://host.example:443",
		"targets":[{"address":"POST:/in","authorizationContext":["s"]}]}`,
	messages.TypeHono: `{"id":"plant-7","connectionType":"hono","connectionStatus":"closed",
		"sources":[{"addresses":["telemetry"],"authorizationContext":["s"]}],"targets":[{"address":"command","authorizationContext":["s"]}]}`,
}

type object = map[string]any

// merge puts the members of over (JSON) over those of base; "source" and "target" are put over each source and target,
// specificConfig over what is there.
func merge(t testing.TB, base, over string) string {
	t.Helper()
	var b, o object
	if err := json.Unmarshal([]byte(base), &b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(over), &o); err != nil {
		t.Fatalf("%s: %v", over, err)
	}
	put := func(into object, from any) {
		for k, v := range from.(object) {
			into[k] = v
		}
	}
	for k, v := range o {
		switch k {
		case "source", "target":
			for _, e := range b[k+"s"].([]any) {
				put(e.(object), v)
			}
		case "specificConfig":
			if b[k] == nil {
				b[k] = object{}
			}
			put(b[k].(object), v)
		default:
			b[k] = v
		}
	}
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func connection(t testing.TB, typ messages.ConnectionType, over string) *messages.Connection {
	t.Helper()
	c, err := messages.ParseConnection([]byte(merge(t, bases[typ], over)))
	if err != nil {
		t.Fatalf("%s: %v", over, err)
	}
	return c
}

func TestBasesAreValid(t *testing.T) {
	for typ := range bases {
		if err := (Rules{}).Validate(connection(t, typ, `{}`)); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	if len(bases) != len(protocols) {
		t.Error("a type without a base")
	}
}

const (
	cfg = messages.CodeConfigurationInvalid
	uri = messages.CodeURIInvalid
	ok  = ""
)

// row is one change and what comes of it.
type row struct {
	name, over, code string
	status           int
	mention          []string
}

func runRows(t *testing.T, rules Rules, typ messages.ConnectionType, rows []row) {
	t.Helper()
	for _, tt := range rows {
		t.Run(string(typ)+" "+tt.name, func(t *testing.T) {
			err := rules.Validate(connection(t, typ, tt.over))
			if tt.code == ok {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var e *messages.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v, want %s", err, tt.code)
			}
			status := tt.status
			if status == 0 {
				status = 400
			}
			if e.Code != tt.code || e.Status != status {
				t.Errorf("%v, want %s %d", e, tt.code, status)
			}
			for _, m := range tt.mention {
				if !strings.Contains(e.Message+" "+e.Description, m) {
					t.Errorf("%q %q does not mention %q", e.Message, e.Description, m)
				}
			}
			if strings.Contains(e.Error(), "s3cret") {
				t.Errorf("a secret shows: %v", e)
			}
		})
	}
}

const id = "plant-7"

func TestGeneralRules(t *testing.T) {
	s, d := `{"addresses":["a"],"qos":1,"authorizationContext":["s"]}`, `{"address":"a","qos":1,"authorizationContext":["s"]}`
	eleven := strings.Repeat(`"Ditto",`, 10) + `"Ditto"`
	two := func(a, b string) string {
		return `{"targets":[{"address":"a","qos":1,"authorizationContext":["s"],"issuedAcknowledgementLabel":"` + a + `"},{"address":"b","qos":1,"authorizationContext":["s"],"issuedAcknowledgementLabel":"` + b + `"}]}`
	}
	runRows(t, Rules{}, messages.TypeMQTT, []row{
		{"V01 five sources", `{"sources":[` + strings.Repeat(s+",", 4) + s + `]}`, cfg, 0, []string{id, "4"}},
		{"V01 four sources", `{"sources":[` + strings.Repeat(s+",", 3) + s + `]}`, ok, 0, nil},
		{"V02 five targets", `{"targets":[` + strings.Repeat(d+",", 4) + d + `]}`, cfg, 0, []string{id, "4"}},
		{"V03 no address", `{"source":{"addresses":[]}}`, cfg, 0, []string{"0", id}},
		{"V03 empty address", `{"sources":[` + s + `,{"addresses":["a",""],"qos":1,"authorizationContext":["s"]}]}`, cfg, 0, []string{"1", id}},
		{"V03 source null", `{"sources":[null]}`, cfg, 0, []string{"0", id}},
		{"V04", `{"target":{"address":""}}`, cfg, 0, []string{id}},
		{"V05", `{"target":{"topics":["_/_/things/twin/events?filter=eq("]}}`, "rql.expression.invalid", 0, nil},
		{"V05 valid", `{"target":{"topics":["_/_/things/twin/events?filter=eq(attributes/a,1)"]}}`, ok, 0, nil},
		{"V06 source", `{"source":{"payloadMapping":[` + eleven + `]}}`, cfg, 0, []string{"in/#", "10"}},
		{"V06 target", `{"target":{"payloadMapping":[` + eleven + `]}}`, cfg, 0, []string{"out", "10"}},
		{"V07 declared", `{"source":{"declaredAcks":["other:ack"]}}`, "acknowledgement:label.invalid", 0, []string{"other:ack", "plant-7:"}},
		{"V07 placeholder", `{"source":{"declaredAcks":["{{connection:id}}:ack","{{ connection:id }}:ack2","plant-7:ack3"]}}`, ok, 0, nil},
		{"V07 other placeholder", `{"source":{"declaredAcks":["{{header:id}}:ack"]}}`, "acknowledgement:label.invalid", 0, nil},
		{"V07 issued", `{"target":{"issuedAcknowledgementLabel":"plant-77:ack"}}`, "acknowledgement:label.invalid", 0, []string{"plant-77:ack"}},
		{"V07 live-response", `{"target":{"issuedAcknowledgementLabel":"live-response"}}`, ok, 0, nil},
		{"V07 live-response is not declared", `{"source":{"declaredAcks":["live-response"]}}`, "acknowledgement:label.invalid", 0, nil},
		{"V08", two("plant-7:ack", "{{connection:id}}:ack"), "acknowledgement:label.not.unique", 409, nil},
		{"V08 different", two("plant-7:ack1", "plant-7:ack2"), ok, 0, nil},
		{"V08 live-response", two("live-response", "live-response"), ok, 0, nil},
		{"V15a", `{"source":{"headerMapping":{"divert-response-to-connection":"other"}}}`, ok, 0, nil},
		{"V15a blank", `{"source":{"headerMapping":{"divert-response-to-connection":" "}}}`, cfg, 0, []string{"divert-response-to-connection"}},
		{"V15a own", `{"source":{"headerMapping":{"divert-response-to-connection":"plant-7"}}}`, cfg, 0, []string{"divert-response-to-connection"}},
		{"V15a placeholder", `{"source":{"headerMapping":{"divert-response-to-connection":"{{ header:mqtt.topic }}"}}}`, cfg, 0, []string{"divert-response-to-connection"}},
		{"V15b", `{"specificConfig":{"is-diversion-target":"true","authorized-connections-as-sources":"a, b c"}}`, "connectivity:connection.id.invalid", 0, []string{"b c"}},
		{"V15b not a diversion target", `{"specificConfig":{"authorized-connections-as-sources":"b c"}}`, ok, 0, nil},
		{"V15b anything but true", `{"specificConfig":{"is-diversion-target":"TRUE","authorized-connections-as-sources":"b c"}}`, ok, 0, nil},
		{"V15b none", `{"specificConfig":{"is-diversion-target":"true","authorized-connections-as-sources":" "}}`, ok, 0, nil},
		{"V15c", `{"specificConfig":{"is-diversion-target":"true"},"target":{"topics":["_/_/things/live/events"]}}`, cfg, 0, []string{id}},
		{"V15d", `{"specificConfig":{"is-diversion-source":"true"},"source":{"headerMapping":{"divert-response-to-connection":"plant-7","divert-expected-response-types":"response, NACK"}}}`, cfg, 0, []string{"NACK"}},
		{"V15d not a diversion source", `{"source":{"headerMapping":{"divert-expected-response-types":"NACK"}}}`, ok, 0, nil},
		{"V16", `{"uri":"http://h:1"}`, uri, 0, []string{"http", "tcp", "ssl"}},
		{"V16 case", `{"uri":"TCP://h:1"}`, uri, 0, []string{"TCP"}},
		{"V16 empty", `{"uri":""}`, uri, 0, []string{"tcp"}},
		{"V26", `{"target":{"topics":["_/_/things/twin/events?extraFields=features/{{ policy:id }}"]}}`, "placeholder:unresolved", 0, []string{"policy:id"}},
		{"V26 allowed", `{"target":{"topics":["_/_/things/twin/events?extraFields=features/{{ feature:id }}/properties"]}}`, ok, 0, nil},
		{"extra members without rules", `{"name":"same","tags":["` + strings.Repeat("x", 5000) + `"],"clientCount":1}`, ok, 0, nil},
		{"enforcement without filters", `{"source":{"enforcement":{"input":"{{ source:address }}","filters":[]}}}`, ok, 0, nil},
		{"acknowledgement filter is not read", `{"source":{"acknowledgementRequests":{"includes":[],"filter":"nonsense("}}}`, ok, 0, nil},
	})
	runRows(t, Rules{MaxSources: 1, MaxTargets: 1, MaxSourceMappers: 1, MaxTargetMappers: 2}, messages.TypeMQTT, []row{
		{"V01 configured", `{"sources":[` + s + "," + s + `]}`, cfg, 0, []string{"1"}},
		{"V02 configured", `{"targets":[` + d + "," + d + `]}`, cfg, 0, []string{"1"}},
		{"V06 configured", `{"source":{"payloadMapping":["Ditto","Ditto"]}}`, cfg, 0, []string{"1"}},
		{"V06 target configured", `{"target":{"payloadMapping":["Ditto","Ditto","Ditto"]}}`, cfg, 0, []string{"2"}},
	})
}

func TestPayloadMappings(t *testing.T) {
	runRows(t, Rules{}, messages.TypeMQTT, []row{
		{"V30a", `{"source":{"payloadMapping":["Ditto","nope"]}}`, cfg, 0, []string{"nope"}},
		{"V30a target", `{"target":{"payloadMapping":["nope"]}}`, cfg, 0, []string{"nope"}},
		{"V30a unused definition of an unknown engine", `{"mappingDefinitions":{"x":{"mappingEngine":"nope","options":{}}}}`, ok, 0, nil},
		{"V30a used definition of an unknown engine", `{"mappingDefinitions":{"x":{"mappingEngine":"nope","options":{}}},"target":{"payloadMapping":["x"]}}`, cfg, 0, []string{"x"}},
	})
}

func TestHosts(t *testing.T) {
	var asked []string
	rules := Rules{Host: func(host string) error {
		asked = append(asked, host)
		if strings.Contains(host, "blocked") {
			return errors.New("resolves to the blocked address 10.0.0.1")
		}
		return nil
	}}
	runRows(t, rules, messages.TypeHTTPPush, []row{
		{"V10", `{"uri":"https://blocked.example:443"}`, cfg, 0, []string{"blocked.example", "10.0.0.1"}},
		{"V09 before V10", `{"uri":"https://blocked.example:443","ca":"x"}`, cfg, 0, []string{"/ca"}},
		{"V10 before V16", `{"uri":"tcp://blocked.example:443"}`, cfg, 0, []string{"blocked.example"}},
		{"V12a host", `{"sshTunnel":{"enabled":false,"uri":"ssh://blocked.example:22","credentials":{"type":"plain","username":"u","password":"p"},"validateHost":false}}`, cfg, 0, []string{"blocked.example"}},
		{"V14b host", `{"credentials":{"type":"oauth-password","tokenEndpoint":"https://blocked.example/t","clientId":"c","requestedScopes":"s","username":"u","password":"p"}}`, cfg, 0, []string{"blocked.example"}},
		{"allowed", `{}`, ok, 0, nil},
	})
	runRows(t, rules, messages.TypeHono, []row{{"V10 not for hono", `{"uri":"tcp://blocked.example:443"}`, ok, 0, nil}})
	if len(asked) == 0 || asked[0] != "blocked.example" {
		t.Errorf("asked for %q", asked)
	}
	asked = nil
	runRows(t, rules, messages.TypeMQTT, []row{{"IPv6", `{"uri":"tcp://[fe80::1%25eth0]:1883"}`, ok, 0, nil}})
	if len(asked) != 1 || asked[0] != "fe80::1%eth0" {
		t.Errorf("asked for %q", asked)
	}
}

func TestMQTT(t *testing.T) {
	shared := []row{
		{"V17", `{"ca":` + quoted(newPair(t, rsaKey).cert) + `}`, uri, 0, []string{"ssl"}},
		{"V17 secure", `{"uri":"ssl://h:1","ca":` + quoted(newPair(t, rsaKey).cert) + `}`, ok, 0, nil},
		{"V19 source", `{"source":{"addresses":["a","a/b#"]}}`, cfg, 0, []string{"a/b#"}},
		{"V19 shared subscription", `{"source":{"addresses":["$share/g/a/+","$share/g/#","+/+/#","/","a//b"]}}`, ok, 0, nil},
		{"V19 shared subscription without filter", `{"source":{"addresses":["$share/g"]}}`, cfg, 0, []string{"$share/g"}},
		{"V19 target", `{"target":{"address":"a/+/b"}}`, cfg, 0, []string{"a/+/b"}},
		{"V20 no qos", `{"source":{"qos":null}}`, cfg, 0, []string{"0", id}},
		{"V20 qos 3", `{"source":{"qos":3}}`, cfg, 0, []string{"3"}},
		{"V20 qos 2", `{"source":{"qos":2},"target":{"qos":2}}`, ok, 0, nil},
		{"V20 qos -1", `{"target":{"qos":-1}}`, cfg, 0, []string{"out", id}},
		{"V20 target without qos", `{"target":{"qos":null}}`, cfg, 0, []string{"out", id}},
		{"V21 input", `{"source":{"enforcement":{"input":"{{ thing:id }}","filters":[]}}}`, cfg, 0, []string{"{{ thing:id }}", "input", "0"}},
		{"V21 filters", `{"source":{"enforcement":{"input":"{{ source:address }}","filters":["{{ thing:id }}","{{ feature:id }}"]}}}`, cfg, 0, []string{"{{ feature:id }}", "filters", "0"}},
		{"V21 filters allowed", `{"source":{"enforcement":{"input":"{{ source:address }}","filters":["{{ thing:id }}/{{ policy:name }}/{{ entity:namespace }}"]}}}`, ok, 0, nil},
		{"V21 function", `{"source":{"enforcement":{"input":"{{ source:address | fn:nope() }}","filters":[]}}}`, cfg, 0, []string{"fn:nope"}},
		{"V25", `{"target":{"address":"a/{{ policy:id }}"}}`, cfg, 0, []string{"policy:id"}},
		{"V25 allowed", `{"target":{"address":"a/{{ thing:id }}/{{ header:x | fn:lower() }}/{{ connection:id }}/{{ topic:action-subject }}/{{ resource:path }}"}}`, ok, 0, nil},
		{"keepAlive", `{"specificConfig":{"keepAlive":"65535s"}}`, ok, 0, nil},
		{"keepAlive in milliseconds", `{"specificConfig":{"keepAlive":"60"}}`, ok, 0, nil},
		{"keepAlive too long", `{"specificConfig":{"keepAlive":"65536s"}}`, cfg, 0, []string{"keepAlive"}},
		{"keepAlive negative", `{"specificConfig":{"keepAlive":"-1s"}}`, cfg, 0, []string{"keepAlive"}},
		{"V35 keepAlive unreadable", `{"specificConfig":{"keepAlive":"soon"}}`, messages.CodeConnectionFailed, 504, []string{id, "soon"}},
		{"will topic", `{"specificConfig":{"lastWillTopic":"a/+"}}`, cfg, 0, []string{"a/+"}},
		{"will qos", `{"specificConfig":{"lastWillTopic":"a","lastWillQos":"3"}}`, cfg, 0, []string{"3", "lastWillQos"}},
		{"will qos without a topic", `{"specificConfig":{"lastWillQos":"3"}}`, ok, 0, nil},
		{"will qos that is no number", `{"specificConfig":{"lastWillTopic":"a","lastWillQos":"x"}}`, ok, 0, nil},
		{"unknown keys", `{"specificConfig":{"x":"y","reconnectForRedeliveryDelay":"late"}}`, ok, 0, nil},
	}
	runRows(t, Rules{}, messages.TypeMQTT, shared)
	runRows(t, Rules{}, messages.TypeMQTT5, shared)
	runRows(t, Rules{}, messages.TypeMQTT, []row{
		{"V18", `{"clientCount":2}`, cfg, 0, nil},
		{"V18 before V19", `{"clientCount":2,"source":{"addresses":["a/b#"]}}`, cfg, 0, []string{"client count"}},
		{"V19 target before V20 source", `{"source":{"qos":null},"target":{"address":"#"}}`, cfg, 0, []string{"'#'"}},
		{"V21 header input", `{"source":{"enforcement":{"input":"{{ header:x }}","filters":[]}}}`, cfg, 0, []string{"input"}},
		{"V22", `{"target":{"headerMapping":{"mqtt.qos":"1","foo":"bar"}}}`, cfg, 0, []string{"foo", "mqtt.topic, mqtt.qos, mqtt.retain"}},
		{"V22 reply target", `{"source":{"replyTarget":{"address":"r","headerMapping":{"foo":"bar"}}}}`, cfg, 0, []string{"foo"}},
		{"V24 reply target", `{"source":{"replyTarget":{"address":"r","headerMapping":{"mqtt.qos":"{{ thing:id }}"}}}}`, cfg, 0, []string{"thing:id"}},
		{"V22 reply target disabled", `{"source":{"replyTarget":{"enabled":false,"headerMapping":{"foo":"bar"}}}}`, ok, 0, nil},
		{"V22 allowed", `{"target":{"headerMapping":{"mqtt.topic":"{{ header:x }}","mqtt.qos":"1","mqtt.retain":"true"}},"source":{"replyTarget":{"address":"r","headerMapping":{"mqtt.qos":"{{ header:q }}"}}}}`, ok, 0, nil},
		{"V22b", `{"source":{"headerMapping":{"x":"{{ header:x }}"}}}`, cfg, 0, []string{"header:x"}},
		{"V22b thing", `{"source":{"headerMapping":{"x":"{{ thing:id }}"}}}`, cfg, 0, []string{"thing:id"}},
		{"V22b in a function", `{"source":{"headerMapping":{"x":"{{ header:mqtt.qos | fn:default(header:x) }}"}}}`, cfg, 0, []string{"header:x"}},
		{"V22b constants", `{"source":{"headerMapping":{"x":"y","t":"{{ header:mqtt.topic }}","q":"{{ header:mqtt.qos }}","r":"{{ header:mqtt.retain }}"}}}`, ok, 0, nil},
		{"V23", `{"source":{"consumerCount":2}}`, cfg, 0, nil},
		{"V23 negative", `{"source":{"consumerCount":-1}}`, ok, 0, nil},
		{"V24 target headers", `{"target":{"headerMapping":{"mqtt.topic":"{{ thing:id }}"}}}`, cfg, 0, []string{"thing:id"}},
		{"reply target address is not read", `{"source":{"replyTarget":{"address":"{{ nope:nope }}"}}}`, ok, 0, nil},
	})
	runRows(t, Rules{}, messages.TypeMQTT5, []row{
		{"no V18", `{"clientCount":2}`, ok, 0, nil},
		{"no V22, V22b, V24", `{"source":{"headerMapping":{"x":"{{ header:x }}"}},"target":{"headerMapping":{"foo":"{{ nope:nope }}"}}}`, ok, 0, nil},
		{"no V23", `{"source":{"consumerCount":7}}`, ok, 0, nil},
		{"V21 header input", `{"source":{"enforcement":{"input":"{{ header:x }}","filters":[]}}}`, ok, 0, nil},
	})
}

func TestAMQP(t *testing.T) {
	for _, typ := range []messages.ConnectionType{messages.TypeAMQP091, messages.TypeAMQP10} {
		runRows(t, Rules{}, typ, []row{
			{"V16", `{"uri":"tcp://h:1"}`, uri, 0, []string{"tcp", "amqp, amqps"}},
			{"V24 source", `{"source":{"headerMapping":{"x":"{{ policy:id }}"}}}`, cfg, 0, []string{"policy:id"}},
			{"V24 target", `{"target":{"headerMapping":{"x":"{{ source:address }}"}}}`, cfg, 0, []string{"source:address"}},
			{"V24 allowed", `{"source":{"headerMapping":{"x":"{{ header:x }}{{ time:now }}{{ request:subjectId }}"}},"target":{"headerMapping":{"x":"{{ thing-json:attributes/a }}"}}}`, ok, 0, nil},
			{"V24 input", `{"source":{"enforcement":{"input":"{{ source:address }}","filters":[]}}}`, cfg, 0, []string{"source:address"}},
			{"V24 filters", `{"source":{"enforcement":{"input":"{{ header:x }}","filters":["{{ feature:id }}","{{ policy:id }}"]}}}`, ok, 0, nil},
			{"V25", `{"target":{"address":"{{ source:address }}"}}`, cfg, 0, []string{"source:address"}},
			{"no qos", `{"source":{"qos":9},"target":{"qos":-4},"clientCount":99}`, ok, 0, nil},
			{"addresses are not read", `{"target":{"address":"a/b/c"}}`, ok, 0, nil},
		})
	}
	runRows(t, Rules{}, messages.TypeAMQP10, []row{
		{"V32 hmac", `{"credentials":{"type":"hmac","algorithm":"az-sasl","parameters":{"sharedKeyName":"n","sharedKey":"s3cret","endpoint":"e"}}}`, ok, 0, nil},
		{"V32 hmac without a parameter", `{"credentials":{"type":"hmac","algorithm":"az-sasl","parameters":{"sharedKeyName":"n","sharedKey":"s3cret"}}}`, cfg, 0, []string{"endpoint"}},
	})
}

func TestKafka(t *testing.T) {
	long := strings.Repeat("x", 249)
	runRows(t, Rules{}, messages.TypeKafka, []row{
		{"V11", `{"sshTunnel":{"enabled":false,"uri":"ssh://h:1","credentials":{"type":"plain","username":"u","password":"p"},"validateHost":false}}`, cfg, 0, []string{"kafka"}},
		{"V27a source", `{"source":{"addresses":["a b"]}}`, cfg, 0, []string{"a b"}},
		{"V27a dots", `{"source":{"addresses":[".."]}}`, cfg, 0, nil},
		{"V27a length", `{"source":{"addresses":["` + long + `"]}}`, ok, 0, nil},
		{"V27a too long", `{"source":{"addresses":["` + long + `x"]}}`, cfg, 0, nil},
		{"V27a target", `{"target":{"address":"a b"}}`, cfg, 0, []string{"a b"}},
		{"V27a target with key", `{"target":{"address":"/key"}}`, cfg, 0, nil},
		{"V27b key wins", `{"target":{"address":"t/k#x"}}`, ok, 0, nil},
		{"V27b partition", `{"target":{"address":"t#x"}}`, cfg, 0, []string{"x"}},
		{"V27b partition that is a number", `{"target":{"address":"t#3"}}`, ok, 0, nil},
		{"V27b empty key", `{"target":{"address":"t/"}}`, cfg, 0, []string{"t/"}},
		{"V27b placeholders", `{"target":{"address":"{{ thing:namespace }}.x#{{ header:p }}"}}`, ok, 0, nil},
		{"V27b text beside a placeholder", `{"target":{"address":"t#x{{ header:p }}"}}`, cfg, 0, nil},
		{"V27c", `{"source":{"qos":2}}`, cfg, 0, []string{"2"}},
		{"V27c none", `{"source":{"qos":null}}`, ok, 0, nil},
		{"V27d missing", `{"specificConfig":{"bootstrapServers":" "}}`, cfg, 0, []string{"bootstrapServers"}},
		{"V27d port 0", `{"specificConfig":{"bootstrapServers":"a:0"}}`, cfg, 0, nil},
		{"V27d port", `{"specificConfig":{"bootstrapServers":"a:65536"}}`, cfg, 0, nil},
		{"V27d IPv6", `{"specificConfig":{"bootstrapServers":"[::1]:9092"}}`, ok, 0, nil},
		{"V27d secret in a server", `{"specificConfig":{"bootstrapServers":"tcp://u:s3cret@h:1"}}`, cfg, 0, nil},
		{"V27d sasl", `{"specificConfig":{"saslMechanism":"gssapi"}}`, cfg, 0, []string{"gssapi"}},
		{"V27d sasl case", `{"specificConfig":{"saslMechanism":"Scram-SHA-256"}}`, ok, 0, nil},
		{"V27d group", `{"specificConfig":{"groupId":"{{ connection:id }}.x"}}`, ok, 0, nil},
		{"V27d group placeholder", `{"specificConfig":{"groupId":"{{ header:x }}"}}`, cfg, 0, []string{"header:x"}},
		{"V27d offset case", `{"specificConfig":{"consumerOffsetReset":"EARLIEST"}}`, ok, 0, nil},
	})
}

func TestHTTPPush(t *testing.T) {
	oauth := func(endpoint, scopes string) string {
		return `{"credentials":{"type":"oauth-password","tokenEndpoint":"` + endpoint + `","clientId":"c","requestedScopes":"` + scopes + `","username":"u","password":"s3cret"}}`
	}
	runRows(t, Rules{}, messages.TypeHTTPPush, []row{
		{"V14b", oauth("nowhere", "s"), cfg, 0, []string{"nowhere"}},
		{"V14b ftp", oauth("ftp://h/x", "s"), cfg, 0, nil},
		{"V14b secret", oauth("foo://u:s3cret@h/x", "s"), cfg, 0, nil},
		{"V14c", oauth("https://h/t", "a  b"), cfg, 0, []string{"a  b"}},
		{"V14c empty", oauth("https://h/t", ""), cfg, 0, nil},
		{"V14c several", oauth("https://h/t", "a b:c !#[]~"), ok, 0, nil},
		{"V28a", `{"sources":[{"addresses":["a"],"authorizationContext":["s"]}]}`, cfg, 0, []string{"http-push"}},
		{"V28b", `{"target":{"address":"/x"}}`, cfg, 0, []string{"/x"}},
		{"V28c", `{"target":{"address":"post:/x"}}`, cfg, 0, []string{"post", "PUT, PATCH, POST, GET, DELETE"}},
		{"V28d client", `{"credentials":{"type":"oauth-client-credentials","tokenEndpoint":"http://h/t","clientId":"c","clientSecret":"s3cret","requestedScopes":"s"}}`, cfg, 0, nil},
		{"V28d password", oauth("http://h/t", "s"), cfg, 0, nil},
		{"V28d https", oauth("HTTPS://h/t", "s"), ok, 0, nil},
		{"V28e parallelism", `{"specificConfig":{"parallelism":"0"}}`, cfg, 0, []string{"parallelism", "0"}},
		{"V35 parallelism", `{"specificConfig":{"parallelism":"abc"}}`, messages.CodeConnectionFailed, 504, []string{id, "abc"}},
		{"V28e idleTimeout", `{"specificConfig":{"idleTimeout":"61s"}}`, cfg, 0, []string{"61s"}},
		{"V28e idleTimeout at the limit", `{"specificConfig":{"idleTimeout":"1m"}}`, ok, 0, nil},
		{"V35 idleTimeout", `{"specificConfig":{"idleTimeout":"x"}}`, messages.CodeConnectionFailed, 504, []string{id}},
		{"V28e omitRequestBody", `{"specificConfig":{"omitRequestBody":["GET"]}}`, cfg, 0, []string{"omitRequestBody"}},
		{"V28e omitRequestBody lower case", `{"specificConfig":{"omitRequestBody":"get"}}`, cfg, 0, nil},
	})
	runRows(t, Rules{InsecureTokenEndpoints: true, RequestTimeout: 2 * time.Minute}, messages.TypeHTTPPush, []row{
		{"V28d off", oauth("http://h/t", "s"), ok, 0, nil},
		{"V28e configured", `{"specificConfig":{"idleTimeout":"90s"}}`, ok, 0, nil},
	})
}

func TestHono(t *testing.T) {
	runRows(t, Rules{}, messages.TypeHono, []row{
		{"V29a", `{"source":{"addresses":["telemetry","foo"]}}`, cfg, 0, []string{"foo", "telemetry, event, command_response"}},
		{"V29b", `{"target":{"address":"x"}}`, cfg, 0, []string{"x"}},
		{"V29c", `{"source":{"qos":2}}`, cfg, 0, []string{"2"}},
		{"header mappings are not read", `{"source":{"headerMapping":{"x":"{{ nope:x }}"}},"target":{"headerMapping":{"x":"{{ nope:x }}"}}}`, ok, 0, nil},
		{"enforcement", `{"source":{"enforcement":{"input":"{{ thing:id }}","filters":[]}}}`, cfg, 0, []string{"thing:id"}},
		{"any uri", `{"uri":"http://h:1","ca":` + quoted(newPair(t, rsaKey).cert) + `}`, ok, 0, nil},
	})
}

func TestHMAC(t *testing.T) {
	hmac := func(algorithm string) string {
		return `{"credentials":{"type":"hmac","algorithm":"` + algorithm + `","parameters":{}}}`
	}
	runRows(t, Rules{}, messages.TypeKafka, []row{{"V13a", hmac("az-sasl"), cfg, 0, []string{"amqp-10", "http-push"}}})
	runRows(t, Rules{}, messages.TypeHTTPPush, []row{
		{"V13b", `{"uri":"https://u:s3cret@h:443","credentials":{"type":"hmac","algorithm":"az-sasl","parameters":{}}}`, cfg, 0, nil},
		{"V13b user without a password is none", `{"uri":"https://u@h:443","credentials":{"type":"hmac","algorithm":"az-sasl","parameters":{}}}`, ok, 0, nil},
		{"V13c", hmac("md5"), cfg, 0, []string{"md5", "aws4-hmac-sha256, az-monitor-2016-04-01, az-sasl"}},
		{"parameters are not checked", hmac("aws4-hmac-sha256"), ok, 0, nil},
	})
	runRows(t, Rules{HMACAlgorithms: []string{"md5"}}, messages.TypeHTTPPush, []row{
		{"V13c configured", hmac("md5"), ok, 0, nil},
		{"V13c configured away", hmac("az-sasl"), cfg, 0, []string{"md5"}},
	})
	runRows(t, Rules{}, messages.TypeMQTT, []row{
		{"V14a", `{"credentials":{"type":"oauth-client-credentials","tokenEndpoint":"https://h/t","clientId":"c","clientSecret":"s3cret","requestedScopes":"s"}}`, cfg, 0, []string{"http-push"}},
		{"plain is ignored", `{"credentials":{"type":"plain","username":"","password":""}}`, ok, 0, nil},
		{"public-key is ignored", `{"credentials":{"type":"public-key","username":"","publicKey":"x","privateKey":"y"}}`, ok, 0, nil},
	})
}

// pair is a certificate with its key, as PEM.
type pair struct{ cert, key, public string }

func rsaKey(t testing.TB) crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecKey(t testing.TB) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) crypto.Signer {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newPair(t testing.TB, generate func(testing.TB) crypto.Signer) pair {
	t.Helper()
	key := generate(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pair{armour(pemCertificate, cert), armour(pemPrivateKey, private), armour(pemPublicKey, public)}
}

func armour(label string, body []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: body}))
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestCertificates(t *testing.T) {
	a, b, ec, ed := newPair(t, rsaKey), newPair(t, rsaKey), newPair(t, ecKey), newPair(t, edKey)
	block, _ := pem.Decode([]byte(a.key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := armour("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey)))
	client := func(cert, key string) string {
		return `{"credentials":{"type":"client-cert","cert":` + quoted(cert) + `,"key":` + quoted(key) + `}}`
	}
	ca := func(text, more string) string { return `{"uri":"ssl://h:1","ca":` + quoted(text) + more + `}` }
	const broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
	runRows(t, Rules{}, messages.TypeMQTT, []row{
		{"ca", ca(a.cert, ""), ok, 0, nil},
		{"ca bundle", ca(a.cert+"\n"+b.cert, ""), ok, 0, nil},
		{"V09 ca that is no PEM", ca("s3cret", ""), cfg, 0, []string{"/ca", "CERTIFICATE"}},
		{"V09 ca that is no certificate", ca(broken, ""), cfg, 0, []string{"/ca"}},
		{"V09 bundle with a broken one", ca(a.cert+broken, ""), cfg, 0, []string{"/ca"}},
		{"V09 ca that is a key", ca(a.key, ""), cfg, 0, []string{"/ca"}},
		{"V09 ca not used", ca("s3cret", `,"validateCertificates":false`), ok, 0, nil},
		{"V09 before V17", `{"ca":"x"}`, cfg, 0, []string{"/ca"}},
		{"RSA pair", client(a.cert, a.key), ok, 0, nil},
		{"EC pair", client(ec.cert, ec.key), ok, 0, nil},
		{"Ed25519 pair", client(ed.cert, ed.key), ok, 0, nil},
		{"V09 key PKCS #1", client(a.cert, pkcs1), cfg, 0, []string{"/credentials/key", "PRIVATE KEY"}},
		{"V09 key that is none", client(a.cert, "s3cret"), cfg, 0, []string{"/credentials/key"}},
		{"V09 cert that is none", client("s3cret", a.key), cfg, 0, []string{"/credentials/cert", "CERTIFICATE"}},
		{"V09 key first", client("x", "y"), cfg, 0, []string{"/credentials/key"}},
		{"V09b", client(a.cert, b.key), "connectivity:connection.unavailable", 503, nil},
		{"V09b other kind", client(a.cert, ec.key), "connectivity:connection.unavailable", 503, nil},
		{"key without a cert", `{"credentials":{"type":"client-cert","key":"x"}}`, ok, 0, nil},
		{"cert without a key", `{"credentials":{"type":"client-cert","cert":"x"}}`, ok, 0, nil},
	})
}

func TestTunnel(t *testing.T) {
	a, ec := newPair(t, rsaKey), newPair(t, ecKey)
	tunnel := func(uri, credentials, more string) string {
		return `{"sshTunnel":{"enabled":false,"uri":"` + uri + `","credentials":` + credentials + `,"validateHost":false` + more + `}}`
	}
	plain := `{"type":"plain","username":"u","password":"s3cret"}`
	keys := func(public, private string) string {
		return `{"type":"public-key","username":"u","publicKey":` + quoted(public) + `,"privateKey":` + quoted(private) + `}`
	}
	runRows(t, Rules{}, messages.TypeMQTT, []row{
		{"plain", tunnel("ssh://h:22", plain, ""), ok, 0, nil},
		{"public-key", tunnel("ssh://h:22", keys(a.public, a.key), ""), ok, 0, nil},
		{"V12a empty", tunnel("", plain, ""), cfg, 0, nil},
		{"V12a unparsable", tunnel("ssh://u:s3cret@h", plain, ""), cfg, 0, []string{"ssh://u:*****@h"}},
		{"V12a scheme", tunnel("http://h:22", plain, ""), cfg, 0, []string{"http://h:22", "ssh"}},
		{"V12b", tunnel("ssh://h:22", `{"type":"client-cert"}`, ""), cfg, 0, []string{"client-cert"}},
		{"V12b hmac", tunnel("ssh://h:22", `{"type":"hmac","algorithm":"a","parameters":{}}`, ""), cfg, 0, []string{"hmac"}},
		{"V12c user", tunnel("ssh://h:22", `{"type":"plain","username":"","password":"s3cret"}`, ""), cfg, 0, []string{"username"}},
		{"V12c password", tunnel("ssh://h:22", `{"type":"plain","username":"u","password":""}`, ""), cfg, 0, []string{"password"}},
		{"V12d private", tunnel("ssh://h:22", keys(a.public, "s3cret"), ""), cfg, 0, []string{"/credentials/privateKey"}},
		{"V12d private EC", tunnel("ssh://h:22", keys(a.public, ec.key), ""), cfg, 0, []string{"/credentials/privateKey"}},
		{"V12d public", tunnel("ssh://h:22", keys("x", a.key), ""), cfg, 0, []string{"/credentials/publicKey"}},
		{"V12d public EC", tunnel("ssh://h:22", keys(ec.public, a.key), ""), cfg, 0, []string{"/credentials/publicKey"}},
		{"V12e", tunnel("ssh://h:22", plain, `,"validateHost":true`), cfg, 0, []string{"knownHosts"}},
		{"V12e known", tunnel("ssh://h:22", plain, `,"validateHost":true,"knownHosts":["MD5:11"]`), ok, 0, nil},
	})
}

// The first broken rule is the one that is told.
func TestOrderOfRules(t *testing.T) {
	five := strings.Repeat(`{"addresses":[],"qos":9,"authorizationContext":["s"]},`, 4) + `{"addresses":[],"qos":9,"authorizationContext":["s"]}`
	everything := merge(t, bases[messages.TypeMQTT], `{"sources":[`+five+`],"uri":"http://h:1","clientCount":2,"credentials":{"type":"hmac","algorithm":"x","parameters":{}},
		"target":{"address":"","issuedAcknowledgementLabel":"other:x","topics":["_/_/things/twin/events?filter=eq("]}}`)
	steps := []struct{ mention, repair string }{
		{"limit is 4", `{"sources":[{"addresses":[],"qos":9,"authorizationContext":["s"]}]}`},
		{"has no address", `{"source":{"addresses":["a#"]}}`},
		{"empty address", `{"target":{"address":"#"}}`},
		{"rql.expression.invalid", `{"target":{"topics":["_/_/things/twin/events?extraFields=features/{{ policy:id }}"]}}`},
		{"label.invalid", `{"target":{"issuedAcknowledgementLabel":"plant-7:x"}}`},
		{"HMAC", `{"credentials":null}`},
		{"scheme", `{"uri":"tcp://h:1"}`},
		{"client count", `{"clientCount":1}`},
		{"a#", `{"source":{"addresses":["a"]}}`},
		{"'#'", `{"target":{"address":"out","qos":null}}`},
		{"Source 0", `{"source":{"qos":1}}`},
		{"'out'", `{"target":{"qos":1}}`},
		{"policy:id", `{"target":{"topics":[]},"specificConfig":{"keepAlive":"x"}}`},
		{"keepAlive", `{"specificConfig":{"keepAlive":"1s"}}`},
	}
	for _, step := range steps {
		c, err := messages.ParseConnection([]byte(everything))
		if err != nil {
			t.Fatal(err)
		}
		if err := (Rules{}).Validate(c); err == nil || !strings.Contains(err.Error(), step.mention) {
			t.Errorf("%v, want something about %q", err, step.mention)
		}
		everything = merge(t, everything, step.repair)
	}
	c, err := messages.ParseConnection([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	if err := (Rules{}).Validate(c); err != nil {
		t.Error(err)
	}
}

func BenchmarkValidate(b *testing.B) {
	c := connection(b, messages.TypeMQTT, `{"source":{"enforcement":{"input":"{{ source:address }}","filters":["a/{{ thing:id }}"]}},
		"target":{"address":"a/{{ thing:id }}","topics":["_/_/things/twin/events?filter=gt(attributes/a,1)"]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := (Rules{}).Validate(c); err != nil {
			b.Fatal(err)
		}
	}
}
