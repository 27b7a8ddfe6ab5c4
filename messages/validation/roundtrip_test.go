package validation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"hawser/messages"
)

// TestRoundTrip: any accepted document comes back with the contract's defaults (connection-model.md 2 to 7, 10.2, 11) and
// nothing lost; what comes back, sent again, comes back the same. The generator makes each document together with what the
// contract says of it, member by member.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent, want := generateConnection(t)
		text, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		c, err := messages.ParseConnection(text)
		if err == nil {
			err = Rules{}.Validate(c)
		}
		if err != nil {
			t.Fatalf("refused: %v\n%s", err, text)
		}
		back, _ := c.MarshalJSON()
		var got, expected any
		if err := json.Unmarshal(back, &got); err != nil {
			t.Fatal(err)
		}
		wanted, _ := json.Marshal(want)
		_ = json.Unmarshal(wanted, &expected)
		if !reflect.DeepEqual(got, expected) {
			t.Fatalf("sent %s\n got %s\nwant %s", text, back, wanted)
		}
		again, err := messages.ParseConnection(back)
		if err != nil {
			t.Fatalf("what came back is refused: %v\n%s", err, back)
		}
		if second, _ := again.MarshalJSON(); string(second) != string(back) {
			t.Fatalf("first %s\nthen  %s", back, second)
		}
	})
}

// twofold is an object that is sent and what it comes back as.
type twofold struct{ sent, want object }

// always is a member that is sent and comes back as it is.
func (p twofold) always(name string, value any) { p.sent[name], p.want[name] = value, value }

// optional is a member that may be sent, may be null, may be absent; unset is what it comes back as then, nil: not at all.
func (p twofold) optional(t *rapid.T, name string, unset any, value func() any) {
	switch rapid.IntRange(0, 2).Draw(t, name) {
	case 0:
		p.sent[name] = nil
	case 1:
		p.always(name, value())
		return
	}
	if unset != nil {
		p.want[name] = unset
	}
}

// nullable is a member that comes back as null when it was not sent.
func (p twofold) nullable(t *rapid.T, name string, value func() any) {
	p.optional(t, name, nil, value)
	if _, there := p.want[name]; !there {
		p.want[name] = nil
	}
}

// noise are members that no object has.
func (p twofold) noise(t *rapid.T) {
	for i := range rapid.IntRange(0, 2).Draw(t, "noise") {
		p.sent[fmt.Sprintf("x-%d", i)] = rapid.SampledFrom([]any{nil, 1, "a", []any{object{}}, object{"id": true}}).Draw(t, "of noise")
	}
}

func text(t *rapid.T) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("aB1 .:/{}\"\\<>&ä漢🌊\n\t%+")), 0, 12, -1).Draw(t, "text")
}

// words are distinct plain texts.
func words(t *rapid.T, least, most int) []any {
	var out []any
	for _, w := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{3,8}`), least, most, rapid.ID[string]).Draw(t, "words") {
		out = append(out, w)
	}
	return out
}

func constants(t *rapid.T) object {
	out := object{}
	for _, w := range words(t, 0, 3) {
		out[w.(string)] = "constant " + w.(string)
	}
	return out
}

// shape is what the generator knows of a type beyond connection-model.md 2.
type shape struct {
	uris, sources, targets []string
	qos                    bool // required
	headers                bool // header mappings may be anything
	defaults               bool // the default reply target extends header mappings (10.2)
}

var shapes = map[messages.ConnectionType]shape{
	messages.TypeMQTT:     {[]string{"tcp://h:1883", "ssl://u:p%40@h.example:8883/x"}, []string{"a/+", "#", "b/c"}, []string{"out", "out/{{ thing:id }}"}, true, false, false},
	messages.TypeMQTT5:    {[]string{"tcp://[::1]:1883"}, []string{"a/+", "$share/g/b"}, []string{"out"}, true, true, true},
	messages.TypeAMQP091:  {[]string{"amqp://u:p:q@h:5672/vhost"}, []string{"queue", "other"}, []string{"ex/rk", "/rk"}, false, true, true},
	messages.TypeAMQP10:   {[]string{"amqps://h:5671"}, []string{"queue"}, []string{"topic://x", "n"}, false, true, true},
	messages.TypeKafka:    {[]string{"tcp://h:9092"}, []string{"t.a", "t_b"}, []string{"t", "t/{{ thing:id }}", "t#3"}, false, true, true},
	messages.TypeHTTPPush: {[]string{"https://h:443", "http://u:p@h:80/path"}, nil, []string{"POST:/x?y=z", "DELETE:"}, false, true, true},
	messages.TypeHono:     {[]string{"", "tcp://h:1"}, []string{"telemetry", "event"}, []string{"command"}, false, true, true},
}

func generateConnection(t *rapid.T) (sent, want object) {
	typ := rapid.SampledFrom([]messages.ConnectionType{
		messages.TypeMQTT, messages.TypeMQTT5, messages.TypeAMQP091, messages.TypeAMQP10, messages.TypeKafka, messages.TypeHTTPPush, messages.TypeHono,
	}).Draw(t, "type")
	s := shapes[typ]
	p := twofold{object{}, object{}}
	p.always("id", rapid.StringMatching(`[a-zA-Z0-9_:-]{1,100}`).Draw(t, "id"))
	p.always("connectionType", string(typ))
	p.always("connectionStatus", rapid.SampledFrom([]any{"open", "closed", "failed", "misconfigured", "unknown"}).Draw(t, "status"))
	p.always("uri", rapid.SampledFrom(s.uris).Draw(t, "uri"))
	p.nullable(t, "name", func() any { return text(t) })
	sources := 0
	if s.sources != nil {
		sources = rapid.IntRange(0, 4).Draw(t, "sources")
	}
	targets := rapid.IntRange(0, 4).Draw(t, "targets")
	if sources == 0 {
		targets = max(targets, 1)
	}
	var sentSources, wantSources, sentTargets, wantTargets = []any{}, []any{}, []any{}, []any{}
	for range sources {
		one := generateSource(t, s)
		sentSources, wantSources = append(sentSources, one.sent), append(wantSources, one.want)
	}
	for range targets {
		one := generateTarget(t, s)
		sentTargets, wantTargets = append(sentTargets, one.sent), append(wantTargets, one.want)
	}
	p.sent["sources"], p.want["sources"], p.sent["targets"], p.want["targets"] = sentSources, wantSources, sentTargets, wantTargets
	count := 1
	if typ != messages.TypeMQTT {
		count = rapid.IntRange(1, 1000).Draw(t, "clients")
	}
	p.optional(t, "clientCount", 1, func() any { return count })
	p.optional(t, "failoverEnabled", true, func() any { return rapid.Bool().Draw(t, "failover") })
	p.optional(t, "validateCertificates", true, func() any { return rapid.Bool().Draw(t, "validate") })
	p.optional(t, "processorPoolSize", 1, func() any { return rapid.IntRange(1, 1<<31-1).Draw(t, "pool") })
	p.optional(t, "tags", []any{}, func() any { return words(t, 1, 3) })
	p.specificConfig(t, typ)
	p.optional(t, "mappingDefinitions", nil, func() any {
		return object{"mine": object{"mappingEngine": "Ditto", "options": object{"b": []any{1.5, nil, "x"}, "a": object{}}, "incomingConditions": object{"c": "fn:delete()"}}}
	})
	p.optional(t, "credentials", nil, func() any {
		return rapid.SampledFrom([]any{
			object{"type": "client-cert", "cert": nil, "key": nil}, object{"type": "client-cert", "cert": "half", "key": nil},
			object{"type": "plain", "username": "", "password": text(t)}, object{"type": "public-key", "username": "u", "publicKey": "p", "privateKey": "q"},
		}).Draw(t, "of credentials")
	})
	for _, hidden := range []struct {
		name  string
		value any
	}{{"__lifecycle", "ACTIVE"}, {"_revision", 7}, {"_created", "2026-08-18T10:00:00Z"}, {"_modified", "2026-08-18T10:00:00.5Z"}} {
		if rapid.Bool().Draw(t, hidden.name) {
			p.sent[hidden.name] = hidden.value
		}
	}
	p.optional(t, "sshTunnel", nil, func() any { return nil })
	delete(p.want, "sshTunnel")
	if typ != messages.TypeKafka && rapid.Bool().Draw(t, "tunnel") {
		p.always("sshTunnel", object{
			"enabled": rapid.Bool().Draw(t, "enabled"), "uri": "ssh://h:22", "validateHost": true, "knownHosts": words(t, 1, 2),
			"credentials": object{"type": "plain", "username": "u", "password": "p"},
		})
	}
	p.noise(t)
	return p.sent, p.want
}

// specificConfig: values become text.
func (p twofold) specificConfig(t *rapid.T, typ messages.ConnectionType) {
	sent, want := object{}, object{}
	if typ == messages.TypeKafka {
		sent["bootstrapServers"], want["bootstrapServers"] = "a:1,b:2", "a:1,b:2"
	}
	for _, w := range words(t, 0, 3) {
		one := rapid.SampledFrom([]struct {
			sent any
			want string
		}{{1, "1"}, {true, "true"}, {nil, "null"}, {"x y", "x y"}, {[]any{1, "a"}, `[1,"a"]`}, {object{"a": 1}, `{"a":1}`}, {"", ""}}).Draw(t, "value")
		sent[w.(string)], want[w.(string)] = one.sent, one.want
	}
	if len(sent) > 0 || rapid.Bool().Draw(t, "empty config") {
		p.sent["specificConfig"] = sent
	}
	if len(want) > 0 {
		p.want["specificConfig"] = want
	}
}

// qos: required where the protocol has one of its own.
func (p twofold) qos(t *rapid.T, required bool) {
	if required {
		p.always("qos", rapid.IntRange(0, 2).Draw(t, "qos"))
		return
	}
	p.optional(t, "qos", nil, func() any { return rapid.IntRange(0, 1).Draw(t, "qos") })
}

func generateSource(t *rapid.T, s shape) twofold {
	p := twofold{object{}, object{}}
	addresses := []any{}
	for _, a := range rapid.SliceOfNDistinct(rapid.SampledFrom(s.sources), 1, len(s.sources), rapid.ID[string]).Draw(t, "addresses") {
		addresses = append(addresses, a)
	}
	p.always("addresses", addresses)
	p.always("authorizationContext", words(t, 1, 2))
	p.qos(t, s.qos)
	p.optional(t, "consumerCount", 1, func() any { return 1 })
	p.optional(t, "enforcement", nil, func() any { return object{"input": "constant", "filters": []any{"{{ thing:id }}"}} })
	p.optional(t, "acknowledgementRequests", nil, func() any { return object{"includes": words(t, 1, 1), "filter": "fn:delete()"} })
	p.optional(t, "declaredAcks", nil, func() any { return []any{"{{connection:id}}:ack"} })
	p.optional(t, "payloadMapping", nil, func() any { return []any{"Ditto", "Normalized", "Ditto"} })
	headers := object{}
	if s.headers {
		headers = constants(t)
	}
	p.optional(t, "headerMapping", object{}, func() any { return headers })
	address, mapping := "{{header:reply-to}}", object{}
	if s.defaults {
		mapping = object{"content-type": "{{header:content-type}}", "correlation-id": "{{header:correlation-id}}"}
	}
	switch rapid.IntRange(0, 4).Draw(t, "reply target") {
	case 0:
		p.always("replyTarget", object{"enabled": false})
		return p.withNoise(t)
	case 1:
		p.sent["replyTarget"] = object{"address": "r", "expectedResponseTypes": []any{"NACK", "none", "error"}}
		p.want["replyTarget"] = object{"address": "r", "enabled": true, "headerMapping": object{}, "expectedResponseTypes": []any{"nack", "error"}}
		return p.withNoise(t)
	case 2:
		p.sent["replyTarget"] = object{"enabled": true}
	case 3:
		p.sent["replyTarget"] = nil
	}
	p.want["replyTarget"] = object{"address": address, "headerMapping": mapping, "expectedResponseTypes": []any{"response", "error"}, "enabled": true}
	if s.defaults {
		extended := object{"content-type": "{{header:content-type}}", "correlation-id": "{{header:correlation-id}}", "reply-to": "{{header:reply-to}}"}
		for k, v := range p.want["headerMapping"].(object) {
			extended[k] = v
		}
		p.want["headerMapping"] = extended
	}
	return p.withNoise(t)
}

func generateTarget(t *rapid.T, s shape) twofold {
	p := twofold{object{}, object{}}
	p.always("address", rapid.SampledFrom(s.targets).Draw(t, "address"))
	p.always("authorizationContext", words(t, 1, 2))
	p.qos(t, s.qos)
	p.optional(t, "topics", []any{}, func() any {
		return rapid.SampledFrom([]any{
			[]any{}, []any{"_/_/things/twin/events?namespaces=a,b&filter=eq(attributes/a,\"1%2B1\")&extraFields=attributes", "_/_/things/live/commands"},
			[]any{"_/_/policies/announcements?namespaces=a"},
		}).Draw(t, "topic")
	})
	p.optional(t, "issuedAcknowledgementLabel", nil, func() any { return "live-response" })
	p.optional(t, "payloadMapping", nil, func() any { return []any{"RawMessage"} })
	headers := object{}
	if s.headers {
		headers = constants(t)
	}
	p.optional(t, "headerMapping", object{}, func() any { return headers })
	return p.withNoise(t)
}

func (p twofold) withNoise(t *rapid.T) twofold {
	p.noise(t)
	return p
}
