package messages

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal is a connection with nothing but what is required.
const minimal = `{"id":"plant-7","connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://h:1",
	"targets":[{"address":"a","authorizationContext":["s"]}]}`

// object is a JSON object.
type object = map[string]any

// decode reads JSON with numbers as sent.
func decode(t testing.TB, text []byte) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// with returns minimal with the members of patch (JSON) put over it; a member of the value "absent" is removed.
func with(t testing.TB, patch string) string {
	t.Helper()
	base, over := decode(t, []byte(minimal)).(object), decode(t, []byte(patch)).(object)
	for k, v := range over {
		if v == "absent" {
			delete(base, k)
		} else {
			base[k] = v
		}
	}
	out, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func parsed(t testing.TB, text string) *Connection {
	t.Helper()
	c, err := ParseConnection([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// member renders one member of what a connection comes back as; "absent" if it is not there.
func member(t testing.TB, c *Connection, path string) string {
	t.Helper()
	v := decode(t, c.AppendJSON(nil))
	for name := range strings.SplitSeq(path, "/") {
		switch x := v.(type) {
		case object:
			inner, ok := x[name]
			if !ok {
				return "absent"
			}
			v = inner
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(x) {
				return "absent"
			}
			v = x[i]
		default:
			return "absent"
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// source and target put members into the one source or target of a connection of a type.
func source(typ, members string) string {
	return `{"connectionType":"` + typ + `","targets":"absent","sources":[{"addresses":["a"],"authorizationContext":["s"]` + comma(members) + `}]}`
}

func target(members string) string {
	return `{"targets":[{"address":"a","authorizationContext":["s"]` + comma(members) + `}]}`
}

func comma(members string) string {
	if members == "" {
		return ""
	}
	return "," + members
}

func TestWhatComesBack(t *testing.T) {
	for _, tt := range []struct {
		name, patch, path, want string
	}{
		// section 11: always there
		{"name unset", `{}`, "name", `null`},
		{"tags unset", `{}`, "tags", `[]`},
		{"sources unset", `{}`, "sources", `[]`},
		{"clientCount unset", `{}`, "clientCount", `1`},
		{"failoverEnabled unset", `{}`, "failoverEnabled", `true`},
		{"validateCertificates unset", `{}`, "validateCertificates", `true`},
		{"processorPoolSize unset", `{}`, "processorPoolSize", `1`},
		{"no specificConfig", `{}`, "specificConfig", `absent`},
		{"no mappingDefinitions", `{}`, "mappingDefinitions", `absent`},
		{"no credentials", `{}`, "credentials", `absent`},
		{"no ca", `{}`, "ca", `absent`},
		{"no sshTunnel", `{}`, "sshTunnel", `absent`},
		{"no lifecycle", `{"__lifecycle":"ACTIVE"}`, "__lifecycle", `absent`},
		{"no revision", `{"_revision":3}`, "_revision", `absent`},
		{"no created", `{"_created":"2026-08-18T09:00:00Z"}`, "_created", `absent`},
		{"empty specificConfig", `{"specificConfig":{}}`, "specificConfig", `absent`},
		{"empty mappingDefinitions", `{"mappingDefinitions":{}}`, "mappingDefinitions", `absent`},
		// G1 to G4
		{"unknown member", `{"consumer":{"a":1}}`, "consumer", `absent`},
		{"unknown member of a target", target(`"addresses":["x"]`), "targets/0/addresses", `absent`},
		{"connection-level authorizationContext", `{"authorizationContext":["x"]}`, "authorizationContext", `absent`},
		{"null scalars", `{"name":null,"clientCount":null,"failoverEnabled":null,"validateCertificates":null,"processorPoolSize":null,"ca":null}`, "clientCount", `1`},
		{"null objects", `{"specificConfig":null,"mappingDefinitions":null,"credentials":null,"sshTunnel":null,"tags":null,"sources":null}`, "sources", `[]`},
		{"options null", `{"mappingDefinitions":{"m":{"mappingEngine":"Ditto","options":null}}}`, "mappingDefinitions/m/options", `null`},
		// G7
		{"integral float", `{"clientCount":1.0}`, "clientCount", `1`},
		{"integral exponent", `{"processorPoolSize":2e1}`, "processorPoolSize", `20`},
		// G10, G13
		{"tags", `{"tags":["b",1,"a","b",null]}`, "tags", `["b","a"]`},
		{"authorizationContext", target(`"x":1,"authorizationContext":["s",1,"s"]`), "targets/0/authorizationContext", `["s","s"]`},
		{"payloadMapping", target(`"payloadMapping":["Ditto",1,"Ditto"]`), "targets/0/payloadMapping", `["Ditto","Ditto"]`},
		{"includes", source("mqtt", `"acknowledgementRequests":{"includes":["abc",1,"abc"]}`), "sources/0/acknowledgementRequests", `{"includes":["abc"]}`},
		{"headerMapping", target(`"headerMapping":{"a":"1","b":2,"c":null}`), "targets/0/headerMapping", `{"a":"1"}`},
		{"addresses", source("mqtt", `"x":1,"addresses":["b","a","b"]`), "sources/0/addresses", `["b","a"]`},
		// G11
		{"declaredAcks", source("mqtt", `"declaredAcks":[12345,"abc",12345,true]`), "sources/0/declaredAcks", `["12345","abc","true"]`},
		// G12
		{"specificConfig", `{"specificConfig":{"a":1,"b":true,"c":null,"d":1.50,"e":[1, 2],"f":{"x" : 1.0},"g":"t"}}`, "specificConfig",
			`{"a":"1","b":"true","c":"null","d":"1.5","e":"[1,2]","f":"{\"x\":1.0}","g":"t"}`},
		{"conditions", `{"mappingDefinitions":{"m":{"mappingEngine":"Ditto","options":{},"incomingConditions":{"a":1},"outgoingConditions":{}}}}`,
			"mappingDefinitions/m", `{"incomingConditions":{"a":"1"},"mappingEngine":"Ditto","options":{}}`},
		// G14
		{"target that is no object", `{"targets":[1,"x",[],{"address":"a","authorizationContext":["s"]}]}`, "targets/1", `absent`},
		{"source null is an empty one", `{"sources":[null]}`, "sources/0/addresses", `[]`}, // for V03 to refuse
		// section 2
		{"blank ca", `{"ca":"  "}`, "ca", `absent`},
		{"unknown lifecycle", `{"__lifecycle":"x"}`, "id", `"plant-7"`},
		{"status stored as sent", `{"connectionStatus":"misconfigured"}`, "connectionStatus", `"misconfigured"`},
		{"hono without uri", `{"connectionType":"hono","uri":"absent"}`, "uri", `""`},
		{"hono with uri", `{"connectionType":"hono"}`, "uri", `"tcp://h:1"`},
		{"blank uri", `{"uri":"  "}`, "uri", `""`},
		{"password comes back", `{"uri":"tcp://u:p%40@h:1"}`, "uri", `"tcp://u:p%40@h:1"`},
		{"uri in ASCII", `{"uri":"tcp://ü:p@h:1"}`, "uri", `"tcp://%C3%BC:p@h:1"`},
		// section 3
		{"source defaults", source("mqtt", ``), "sources/0/consumerCount", `1`},
		{"consumerCount is not checked", source("mqtt", `"consumerCount":-3`), "sources/0/consumerCount", `-3`},
		{"source without qos", source("mqtt", ``), "sources/0/qos", `absent`},
		{"source with qos", source("mqtt", `"qos":0`), "sources/0/qos", `0`},
		{"source without enforcement", source("mqtt", ``), "sources/0/enforcement", `absent`},
		{"enforcement without filters", source("mqtt", `"enforcement":{"input":"i"}`), "sources/0/enforcement", `{"filters":[],"input":"i"}`},
		{"acknowledgement filter", source("mqtt", `"acknowledgementRequests":{"filter":"fn:delete()"}`), "sources/0/acknowledgementRequests", `{"filter":"fn:delete()","includes":[]}`},
		{"empty payload mapping", source("mqtt", `"payloadMapping":[],"declaredAcks":[]`), "sources/0/payloadMapping", `absent`},
		// reply target
		{"reply target absent", source("mqtt", ``), "sources/0/replyTarget", `{"address":"{{header:reply-to}}","enabled":true,"expectedResponseTypes":["response","error"],"headerMapping":{}}`},
		{"reply target null", source("mqtt", `"replyTarget":null`), "sources/0/replyTarget/address", `"{{header:reply-to}}"`},
		{"reply target empty", source("mqtt", `"replyTarget":{}`), "sources/0/replyTarget/address", `"{{header:reply-to}}"`},
		{"reply target enabled", source("mqtt", `"replyTarget":{"enabled":true,"headerMapping":{"x":"y"}}`), "sources/0/replyTarget",
			`{"address":"{{header:reply-to}}","enabled":true,"expectedResponseTypes":["response","error"],"headerMapping":{}}`},
		{"header mapping for the reply target of amqp-10", source("amqp-10", `"headerMapping":{"reply-to":"mine","x":"y"}`), "sources/0/headerMapping",
			`{"content-type":"{{header:content-type}}","correlation-id":"{{header:correlation-id}}","reply-to":"mine","x":"y"}`},
		{"reply target of amqp-10", source("amqp-10", ``), "sources/0/replyTarget/headerMapping", `{"content-type":"{{header:content-type}}","correlation-id":"{{header:correlation-id}}"}`},
		{"header mapping of mqtt", source("mqtt", ``), "sources/0/headerMapping", `{}`},
		{"header mapping of mqtt-5", source("mqtt-5", ``), "sources/0/headerMapping/reply-to", `"{{header:reply-to}}"`},
		{"reply target disabled", source("amqp-10", `"replyTarget":{"enabled":false,"headerMapping":{"a":"b"}}`), "sources/0/replyTarget", `{"enabled":false}`},
		{"header mapping with the reply target disabled", source("amqp-10", `"replyTarget":{"enabled":false}`), "sources/0/headerMapping", `{}`},
		{"reply target with address, disabled", source("amqp-10", `"replyTarget":{"address":"r","enabled":false}`), "sources/0/replyTarget",
			`{"address":"r","enabled":false,"expectedResponseTypes":["response","error"],"headerMapping":{}}`},
		{"reply target with address", source("amqp-10", `"replyTarget":{"address":"r"}`), "sources/0/replyTarget",
			`{"address":"r","enabled":true,"expectedResponseTypes":["response","error"],"headerMapping":{}}`},
		{"reply target with address leaves the headers", source("amqp-10", `"replyTarget":{"address":"r"}`), "sources/0/headerMapping", `{}`},
		{"reply target with empty address", source("amqp-10", `"replyTarget":{"address":""}`), "sources/0/replyTarget/address", `""`},
		{"expectedResponseTypes", source("amqp-10", `"replyTarget":{"address":"r","expectedResponseTypes":["NACK","x","response","Response"]}`), "sources/0/replyTarget/expectedResponseTypes", `["nack","response"]`},
		{"no expectedResponseTypes", source("amqp-10", `"replyTarget":{"address":"r","expectedResponseTypes":[]}`), "sources/0/replyTarget/expectedResponseTypes", `[]`},
		// section 4
		{"target", target(``), "targets/0", `{"address":"a","authorizationContext":["s"],"headerMapping":{},"topics":[]}`},
		{"target of all types gets no default headers", `{"connectionType":"amqp-10"}`, "targets/0/headerMapping", `{}`},
		{"issued label", target(`"issuedAcknowledgementLabel":"live-response"`), "targets/0/issuedAcknowledgementLabel", `"live-response"`},
		{"topics collapse", target(`"topics":["_/_/things/twin/events?filter=a%2Fb","_/_/things/live/events","_/_/things/twin/events?filter=a/b"]`), "targets/0/topics",
			`["_/_/things/twin/events?filter=a/b","_/_/things/live/events"]`},
		{"topic arguments", target(`"topics":["_/_/policies/announcements?filter=a&namespaces=n"]`), "targets/0/topics", `["_/_/policies/announcements?namespaces=n"]`},
		// section 5
		{"definition that is no object", `{"mappingDefinitions":{"a":1,"b":{"mappingEngine":"Ditto","options":{"x":[1, 2.50]}}}}`, "mappingDefinitions", `{"b":{"mappingEngine":"Ditto","options":{"x":[1,2.50]}}}`},
		// section 6
		{"client-cert", `{"credentials":{"type":"client-cert"}}`, "credentials", `{"cert":null,"key":null,"type":"client-cert"}`},
		{"plain", `{"credentials":{"type":"plain","username":"u","password":"p","x":1}}`, "credentials", `{"password":"p","type":"plain","username":"u"}`},
		{"public-key", `{"credentials":{"type":"public-key","username":"u","publicKey":"a","privateKey":"b"}}`, "credentials", `{"privateKey":"b","publicKey":"a","type":"public-key","username":"u"}`},
		{"hmac", `{"credentials":{"type":"hmac","algorithm":"x","parameters":{"a":[1.50,null]}}}`, "credentials", `{"algorithm":"x","parameters":{"a":[1.50,null]},"type":"hmac"}`},
		{"oauth client", `{"credentials":{"type":"oauth-client-credentials","tokenEndpoint":"t","clientId":"c","clientSecret":"s","requestedScopes":"r"}}`, "credentials",
			`{"audience":null,"clientId":"c","clientSecret":"s","requestedScopes":"r","tokenEndpoint":"t","type":"oauth-client-credentials"}`},
		{"oauth password", `{"credentials":{"type":"oauth-password","tokenEndpoint":"t","clientId":"c","requestedScopes":"r","username":"u","password":"p"}}`, "credentials",
			`{"audience":null,"clientId":"c","clientSecret":null,"password":"p","requestedScopes":"r","tokenEndpoint":"t","type":"oauth-password","username":"u"}`},
		// section 7
		{"tunnel", `{"sshTunnel":{"enabled":false,"uri":"ssh://h:1","credentials":{"type":"plain","username":"u","password":"p"},"validateHost":false}}`, "sshTunnel",
			`{"credentials":{"password":"p","type":"plain","username":"u"},"enabled":false,"knownHosts":[],"uri":"ssh://h:1","validateHost":false}`},
		// 10.1
		{"legacy mapper", `{"mappingContext":{"mappingEngine":"E","options":{"a":1}}}`, "mappingDefinitions", `{"javascript":{"mappingEngine":"E","options":{"a":1}}}`},
		{"legacy mapper replaces", `{"mappingDefinitions":{"javascript":{"mappingEngine":"X","options":{}}},"mappingContext":{"mappingEngine":"E","options":{}}}`, "mappingDefinitions/javascript/mappingEngine", `"E"`},
		{"legacy mapper of a target", `{"targets":[{"address":"a","authorizationContext":["s"],"payloadMapping":["Ditto"]}],"mappingContext":{"mappingEngine":"E","options":{}}}`, "targets/0/payloadMapping", `["Ditto","javascript"]`},
		{"legacy mapper of a source", strings.Replace(source("mqtt", ``), "{", `{"mappingContext":{"mappingEngine":"E","options":{}},`, 1), "sources/0/payloadMapping", `["javascript"]`},
		{"legacy mapper is not returned", `{"mappingContext":{"mappingEngine":"E","options":{}}}`, "mappingContext", `absent`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parsed(t, with(t, tt.patch))
			if got := member(t, c, tt.path); got != tt.want {
				t.Errorf("%s is %s, want %s", tt.path, got, tt.want)
			}
			// Sent back it gives the same connection (section 11).
			again := parsed(t, string(c.AppendJSON(nil)))
			again.Lifecycle, again.Revision, again.Created, again.Modified = c.Lifecycle, c.Revision, c.Created, c.Modified
			if d := cmp.Diff(c, again); d != "" {
				t.Errorf("read again:\n%s", d)
			}
		})
	}
}

// The answer of connection-model.md 11 to the request there, byte for byte but for the generated id and blanks.
func TestTheExampleOfTheContract(t *testing.T) {
	c := parsed(t, `{ "id": "x", "connectionType": "mqtt-5", "connectionStatus": "closed", "uri": "tcp://dev:s3cret@broker.lan:1883",
  "sources": [ { "addresses": ["plant/+/up"], "qos": 1, "authorizationContext": ["plant:ingest"] } ],
  "specificConfig": { "cleanSession": true } }`)
	want := `{ "id": "x", "name": null, "connectionType": "mqtt-5", "connectionStatus": "closed",
  "uri": "tcp://dev:s3cret@broker.lan:1883",
  "sources": [ { "addresses": ["plant/+/up"], "consumerCount": 1, "qos": 1, "authorizationContext": ["plant:ingest"],
    "headerMapping": { "content-type": "{{header:content-type}}", "correlation-id": "{{header:correlation-id}}",
                       "reply-to": "{{header:reply-to}}" },
    "replyTarget": { "address": "{{header:reply-to}}",
      "headerMapping": { "content-type": "{{header:content-type}}", "correlation-id": "{{header:correlation-id}}" },
      "expectedResponseTypes": ["response", "error"], "enabled": true } } ],
  "targets": [], "clientCount": 1, "failoverEnabled": true, "validateCertificates": true, "processorPoolSize": 1,
  "specificConfig": { "cleanSession": "true" }, "tags": [] }`
	if got := string(c.AppendJSON(nil)); got != string(compact([]byte(want))) {
		t.Errorf("got  %s\nwant %s", got, compact([]byte(want)))
	}
}

func TestConnectionsThatAreRefused(t *testing.T) {
	const missing, invalid, config = CodeFieldMissing, CodeJSONInvalid, CodeConfigurationInvalid
	for _, tt := range []struct {
		name, patch, code string
		status            int
		mention           string
	}{
		// G4
		{"mappingContext null", `{"mappingContext":null}`, missing, 400, "</mappingEngine>"},
		{"definition null", `{"mappingDefinitions":{"m":null}}`, missing, 400, "</mappingEngine>"},
		// G5
		{"clientCount text", `{"clientCount":"2"}`, invalid, 400, "</clientCount>"},
		{"clientCount text, value", `{"clientCount":"2"}`, invalid, 400, "<2>"},
		{"clientCount object", `{"clientCount":{"a":1}}`, invalid, 400, `{"a":1}`},
		{"name", `{"name":5}`, invalid, 400, "</name>"},
		{"failoverEnabled", `{"failoverEnabled":"true"}`, invalid, 400, "</failoverEnabled>"},
		{"validateCertificates", `{"validateCertificates":1}`, invalid, 400, "</validateCertificates>"},
		{"ca", `{"ca":[]}`, invalid, 400, "</ca>"},
		{"sources", `{"sources":{}}`, invalid, 400, "</sources>"},
		{"targets", `{"targets":"x"}`, invalid, 400, "</targets>"},
		{"tags", `{"tags":"x"}`, invalid, 400, "</tags>"},
		{"specificConfig", `{"specificConfig":[]}`, invalid, 400, "</specificConfig>"},
		{"mappingDefinitions", `{"mappingDefinitions":[]}`, invalid, 400, "</mappingDefinitions>"},
		{"mappingContext", `{"mappingContext":"x"}`, invalid, 400, "</mappingContext>"},
		{"credentials", `{"credentials":"x"}`, invalid, 400, "</credentials>"},
		{"sshTunnel", `{"sshTunnel":1}`, invalid, 400, "</sshTunnel>"},
		{"id", `{"id":5}`, invalid, 400, "</id>"},
		{"uri", `{"uri":5}`, invalid, 400, "</uri>"},
		{"connectionType", `{"connectionType":5}`, invalid, 400, "</connectionType>"},
		{"qos", target(`"qos":"1"`), invalid, 400, "</qos>"},
		{"headerMapping", target(`"headerMapping":[]`), invalid, 400, "</headerMapping>"},
		{"topics", target(`"topics":"x"`), invalid, 400, "</topics>"},
		{"enabled", source("mqtt", `"replyTarget":{"enabled":1}`), invalid, 400, "</enabled>"},
		{"where", source("mqtt", `"replyTarget":{"enabled":1}`), invalid, 400, "/sources/0/replyTarget"},
		{"lifecycle", `{"__lifecycle":5}`, invalid, 400, "</__lifecycle>"},
		{"revision", `{"_revision":"5"}`, invalid, 400, "</_revision>"},
		{"created", `{"_created":"yesterday"}`, invalid, 400, "</_created>"},
		{"modified", `{"_modified":5}`, invalid, 400, "</_modified>"},
		// G6
		{"no connectionType", `{"connectionType":"absent"}`, missing, 400, "</connectionType>"},
		{"null connectionType", `{"connectionType":null}`, missing, 400, "</connectionType>"},
		{"no connectionStatus", `{"connectionStatus":"absent"}`, missing, 400, "</connectionStatus>"},
		{"no uri", `{"uri":"absent"}`, missing, 400, "</uri>"},
		{"no address", `{"targets":[{"authorizationContext":["s"]}]}`, missing, 400, "</address>"},
		{"target null", `{"targets":[null]}`, missing, 400, "</address>"},
		{"no input", source("mqtt", `"enforcement":{}`), missing, 400, "</input>"},
		{"no options", `{"mappingDefinitions":{"m":{"mappingEngine":"x"}}}`, missing, 400, "</options>"},
		{"no engine", `{"mappingDefinitions":{"m":{"options":{}}}}`, missing, 400, "</mappingEngine>"},
		{"no credential type", `{"credentials":{}}`, missing, 400, "</type>"},
		{"plain without password", `{"credentials":{"type":"plain","username":"u"}}`, missing, 400, "</password>"},
		{"public-key without privateKey", `{"credentials":{"type":"public-key","username":"u","publicKey":"p"}}`, missing, 400, "</privateKey>"},
		{"hmac without parameters", `{"credentials":{"type":"hmac","algorithm":"a"}}`, missing, 400, "</parameters>"},
		{"tunnel without enabled", `{"sshTunnel":{}}`, missing, 400, "</enabled>"},
		{"tunnel without credentials", `{"sshTunnel":{"enabled":true}}`, missing, 400, "</credentials>"},
		{"tunnel without validateHost", `{"sshTunnel":{"enabled":true,"uri":"ssh://h:1","credentials":{"type":"plain","username":"u","password":"p"}}}`, missing, 400, "</validateHost>"},
		{"tunnel without uri", `{"sshTunnel":{"enabled":true,"credentials":{"type":"plain","username":"u","password":"p"},"validateHost":true}}`, missing, 400, "</uri>"},
		// G8, Q1
		{"fraction", `{"clientCount":1.5}`, invalid, 400, "</clientCount>"},
		{"beyond int32", `{"clientCount":99999999999}`, invalid, 400, "</clientCount>"},
		{"far beyond", `{"clientCount":1e999}`, invalid, 400, "</clientCount>"},
		{"qos fraction", target(`"qos":0.5`), invalid, 400, "</qos>"},
		{"clientCount 0", `{"clientCount":0}`, invalid, 400, "</clientCount>"},
		{"processorPoolSize -1", `{"processorPoolSize":-1}`, invalid, 400, "</processorPoolSize>"},
		{"empty subject", target(`"x":1,"authorizationContext":["s",""]`), invalid, 400, "</authorizationContext>"},
		{"address that is no text", source("mqtt", `"x":1,"addresses":["a",1]`), invalid, 400, "</addresses>"},
		{"topic that is no text", target(`"topics":[1]`), invalid, 400, "</topics>"},
		{"filter that is no text", source("mqtt", `"enforcement":{"input":"i","filters":[null]}`), invalid, 400, "</filters>"},
		{"response type that is no text", source("mqtt", `"replyTarget":{"expectedResponseTypes":[1]}`), invalid, 400, "</expectedResponseTypes>"},
		{"known host that is no text", `{"sshTunnel":{"enabled":true,"uri":"ssh://h:1","credentials":{"type":"plain","username":"u","password":"p"},"validateHost":true,"knownHosts":[1]}}`, invalid, 400, "</knownHosts>"},
		{"oauth without scopes", `{"credentials":{"type":"oauth-client-credentials","tokenEndpoint":"t","clientId":"c","clientSecret":"s"}}`, invalid, 400, "</requestedScopes>"},
		{"oauth without secret", `{"credentials":{"type":"oauth-client-credentials","tokenEndpoint":"t","clientId":"c","requestedScopes":"s"}}`, invalid, 400, "</clientSecret>"},
		{"oauth without password", `{"credentials":{"type":"oauth-password","tokenEndpoint":"t","clientId":"c","requestedScopes":"s","username":"u"}}`, invalid, 400, "</password>"},
		{"broken escape", target(`"topics":["_/_/things/twin/events?filter=%"]`), invalid, 400, "</topics>"},
		{"repeated argument", target(`"topics":["_/_/things/twin/events?filter=a&filter=b"]`), invalid, 400, "</topics>"},
		// values
		{"type in capitals", `{"connectionType":"MQTT"}`, invalid, 400, "<MQTT>"},
		{"status in capitals", `{"connectionStatus":"OPEN"}`, invalid, 400, "<OPEN>"},
		{"credential type", `{"credentials":{"type":"password"}}`, invalid, 400, "<password>"},
		// 14.1
		{"B1", `{"targets":[],"sources":[]}`, config, 400, "sources"},
		{"B1 again", `{"targets":"absent"}`, config, 400, "target"},
		{"B2 target", `{"targets":[{"address":"here","authorizationContext":[]}]}`, config, 400, "here"},
		{"B2 source", `{"sources":[{"addresses":["one","two"]}]}`, config, 400, "one, two"},
		{"B2 connection level", `{"authorizationContext":["x"],"targets":[{"address":"here"}]}`, config, 400, "here"},
		{"B2 subjects that are none", `{"targets":[{"address":"here","authorizationContext":[1]}]}`, config, 400, "here"},
		{"B3", `{"clientCount":2,"targets":[{"address":"a","authorizationContext":["s"],"topics":["_/_/connections/announcements"]}]}`, config, 400, "_/_/connections/announcements"},
		{"B4", `{"id":"a b"}`, "connectivity:connection.id.invalid", 400, "'a b'"},
		{"B4 pattern", `{"id":""}`, "connectivity:connection.id.invalid", 400, "[a-zA-Z0-9-_:]{1,100}"},
		{"B4 length", `{"id":"` + strings.Repeat("x", 101) + `"}`, "connectivity:connection.id.invalid", 400, ""},
		{"B5 declared", source("mqtt", `"declaredAcks":["{{connection:id}}:x"]`), "acknowledgement:label.invalid", 400, "{{connection:id}}:x"},
		{"B5 issued", target(`"issuedAcknowledgementLabel":""`), "acknowledgement:label.invalid", 400, "''"},
		{"B6", source("mqtt", `"acknowledgementRequests":{"includes":["a b"]}`), "acknowledgement:request.parsing.failed", 422, "a b"},
		{"B7", target(`"topics":["foo"]`), "connectivity:topic.invalid", 400, "'foo'"},
		{"B8", target(`"topics":["_/_/things/twin/events?extraFields=bogus"]`), "things:field.selection.invalid", 400, "bogus"},
		{"B9", `{"uri":"tcp://u:s3cret@h"}`, CodeURIInvalid, 400, "tcp://u:*****@h"},
		// order of checks
		{"connectionType before mappingContext", `{"connectionType":"absent","mappingContext":null}`, missing, 400, "</connectionType>"},
		{"mappingContext before mappingDefinitions", `{"mappingContext":"x","mappingDefinitions":"x"}`, invalid, 400, "</mappingContext>"},
		{"mappingDefinitions before id", `{"mappingDefinitions":"x","id":5}`, invalid, 400, "</mappingDefinitions>"},
		{"id before connectionStatus", `{"id":5,"connectionStatus":"absent"}`, invalid, 400, "</id>"},
		{"connectionStatus before uri", `{"connectionStatus":"absent","uri":"absent"}`, missing, 400, "</connectionStatus>"},
		{"uri before sources", `{"uri":"absent","sources":5}`, missing, 400, "</uri>"},
		{"sources before targets", `{"sources":5,"targets":5}`, invalid, 400, "</sources>"},
		{"first source first", `{"sources":[{"qos":"x"},{"addresses":5}]}`, invalid, 400, "</qos>"},
		{"targets before name", `{"targets":5,"name":5}`, invalid, 400, "</targets>"},
		{"name before specificConfig", `{"name":5,"specificConfig":5}`, invalid, 400, "</name>"},
		{"tags before hidden", `{"tags":5,"_revision":"x"}`, invalid, 400, "</tags>"},
		{"hidden before credentials", `{"_revision":"x","credentials":5}`, invalid, 400, "</_revision>"},
		{"credentials before clientCount", `{"credentials":5,"clientCount":"x"}`, invalid, 400, "</credentials>"},
		{"clientCount before sshTunnel", `{"clientCount":"x","sshTunnel":5}`, invalid, 400, "</clientCount>"},
		{"sshTunnel before B1", `{"sshTunnel":5,"targets":[]}`, invalid, 400, "</sshTunnel>"},
		{"B1 before uri syntax", `{"targets":[],"uri":"x"}`, config, 400, "sources"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseConnection([]byte(with(t, tt.patch)))
			e := wantError(t, err, tt.code, tt.status)
			if c != nil {
				t.Error("a connection beside an error")
			}
			if !strings.Contains(e.Message+" "+e.Description, tt.mention) {
				t.Errorf("%q %q does not mention %q", e.Message, e.Description, tt.mention)
			}
		})
	}
}

func TestTextsThatAreNoConnection(t *testing.T) {
	deep := strings.Repeat("[", 20_000)
	for name, text := range map[string]string{
		"empty": ``, "no JSON": `{`, "array": `[]`, "null": `null`, "text": `"x"`, "trailing": minimal + `x`,
		"deep": deep, "deep and closed": deep + strings.Repeat("]", 20_000), "no UTF-8": `{"id":"` + "\xff" + `"}`,
		"deep inside": `{"x":` + deep + strings.Repeat("]", 20_000) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConnection([]byte(text))
			if e := wantError(t, err, CodeJSONInvalid, 400); len(e.Error()) > 1000 {
				t.Error("the text repeats the input")
			}
		})
	}
	nested := strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000)
	parsed(t, with(t, `{"specificConfig":{"deep":`+nested+`},"mappingDefinitions":{"m":{"mappingEngine":"x","options":`+nested+`}}}`))
}

func TestTheLastOfTwoMembersCounts(t *testing.T) {
	for _, tt := range []struct{ text, path, want string }{
		{strings.Replace(minimal, "{", `{"id":"first","id":5,`, 1), "id", `"plant-7"`},
		{strings.Replace(minimal, "{", `{"n\u0061me":"first","name":"second",`, 1), "name", `"second"`},
		{strings.Replace(minimal, "{", `{"name":"first","n\u0061me":"second",`, 1), "name", `"second"`},
		{strings.Replace(minimal, "{", `{"clientCount":"x","clientCount":2,`, 1), "clientCount", `2`},
		{strings.Replace(minimal, "{", `{"clientCount":2,"clientCount":null,`, 1), "clientCount", `1`},
		{strings.Replace(minimal, "{", `{"specificConfig":{"a":"1","a":"2"},`, 1), "specificConfig/a", `"2"`},
		{strings.Replace(minimal, "{", `{"specificConfig":{"a":{"x":1,"x":2}},`, 1), "specificConfig/a", `"{\"x\":2}"`},
		{strings.Replace(minimal, `"address"`, `"headerMapping":{"a":"1","a":2},"address"`, 1), "targets/0/headerMapping", `{}`},
		{strings.Replace(minimal, "{", `{"mappingDefinitions":{"m":{},"m":1},`, 1), "mappingDefinitions", `absent`},
	} {
		if got := member(t, parsed(t, tt.text), tt.path); got != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.text, tt.path, got, tt.want)
		}
	}
}

func TestNoSecretInErrors(t *testing.T) {
	for _, patch := range []string{
		`{"uri":["tcp://u:s3cret@h:1"]}`, `{"uri":"tcp://u:s3cret@h"}`, `{"uri":"tcp://u:s3c@ret@h:1"}`, `{"uri":"tcp://u:s3cret"}`,
		`{"credentials":"s3cret"}`, `{"credentials":["s3cret"]}`, `{"credentials":{"type":"plain","username":"u","password":["s3cret"]}}`,
		`{"credentials":{"type":"plain","username":["s3cret"],"password":"s3cret"}}`,
		`{"credentials":{"type":"client-cert","key":{"x":"s3cret"}}}`, `{"credentials":{"type":"hmac","algorithm":"a","parameters":"s3cret"}}`,
		`{"credentials":{"type":"oauth-password","tokenEndpoint":"t","clientId":"c","requestedScopes":"s","username":"u","password":{"a":"s3cret"}}}`,
		`{"sshTunnel":"s3cret"}`, `{"sshTunnel":{"enabled":true,"uri":"ssh://h:1","credentials":{"type":"plain","username":"u","password":["s3cret"]},"validateHost":true}}`,
		`{"sshTunnel":{"enabled":true,"uri":{"x":"s3cret"},"credentials":{"type":"plain","username":"u","password":"s3cret"},"validateHost":true}}`,
		`{"clientCount":{"password":"s3cret"}}`,
	} {
		_, err := ParseConnection([]byte(with(t, patch)))
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "s3c") {
			t.Errorf("%s: %v", patch, err)
		}
	}
}

func TestConnectionsDoNotPrintSecrets(t *testing.T) {
	c := parsed(t, with(t, `{"uri":"tcp://u:s3cret@h:1","credentials":{"type":"plain","username":"u","password":"s3cret"},
		"sshTunnel":{"enabled":true,"uri":"ssh://h:1","credentials":{"type":"plain","username":"u","password":"s3cret"},"validateHost":false}}`))
	for _, v := range []any{c, *c.Credentials, c.URI, struct{ C *Connection }{c}} {
		if got := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(got, "s3cret") {
			t.Errorf("%T prints %s", v, got)
		}
	}
}

func TestLabels(t *testing.T) {
	for label, want := range map[string]bool{
		"abc": true, "ab": false, "{{connection:id}}:ack": true, "{{ connection:id }}:ack": true, "{{connection:id}}:x": false,
		"{{connection:id}}": false, "{{Connection:id}}:ack": false, "a b c": false, strings.Repeat("x", 165): true, strings.Repeat("x", 166): false,
		"live-response": true, "": false, "abc\n": false,
	} {
		if got := ValidLabel(label); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
}

// A body of the greatest size that the gateway lets in costs time in proportion to its size, whatever it holds.
func TestHostileSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("a few megabytes of JSON")
	}
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"addresses":        with(t, source("mqtt", `"x":0,"addresses":[`+many(100_000, `"a%d"`)+`]`)),
		"tags":             with(t, `{"tags":[`+many(100_000, `"t%d"`)+`]}`),
		"members":          strings.Replace(minimal, "{", "{"+many(50_000, `"m%d":1`)+",", 1),
		"definitions":      with(t, `{"mappingDefinitions":{`+many(20_000, `"m%d":{"mappingEngine":"x","options":{}}`)+`}}`),
		"nested objects":   with(t, `{"specificConfig":{"a":[`+many(1000, `{`+many(99, `"%d":1`)+`,"%d":1}`)+`]}}`),
		"one large object": with(t, `{"specificConfig":{"a":{`+many(50_000, `"m%d":1`)+`}}}`),
		"quotes":           with(t, `{"name":"`+strings.Repeat(`\"\\`, 200_000)+`"}`),
		"targets":          with(t, `{"targets":[`+many(10_000, `{"address":"a%d","authorizationContext":["s"]}`)+`]}`),
	} {
		began := time.Now()
		parsed(t, text)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %d bytes took %v", name, len(text), took)
		}
	}
}
