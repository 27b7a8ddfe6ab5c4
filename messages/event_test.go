package messages

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var at = time.Date(2026, 8, 18, 10, 12, 1, 4_000_000, time.UTC)

// The rows that piggyback.md 6.1 and operations.md 1.2 show.
func TestEventsAreWrittenAsTheContractShows(t *testing.T) {
	conn := parsed(t, minimal)
	conn.Lifecycle, conn.Revision, conn.Created, conn.Modified = LifecycleActive, 1, at, at
	for _, tt := range []struct {
		name string
		e    Event
		want string
	}{
		{"closed", Event{Type: EventConnectionClosed, Timestamp: at, Revision: 7, ConnectionID: "plant-7",
			HistoricalHeaders: Headers{"ditto-originator": "pre:devops", "correlation-id": "op-4711"}},
			`{"type":"connectivity.events:connectionClosed","_timestamp":"2026-08-18T10:12:01.004Z","_metadata":null,"revision":7,"connectionId":"plant-7","__hh":{"correlation-id":"op-4711","ditto-originator":"pre:devops"}}`},
		{"created", Event{Type: EventConnectionCreated, Timestamp: at, Revision: 1, ConnectionID: "plant-7", Connection: conn},
			`{"type":"connectivity.events:connectionCreated","_timestamp":"2026-08-18T10:12:01.004Z","_metadata":null,"revision":1,"connectionId":"plant-7","connection":{"__lifecycle":"ACTIVE","id":"plant-7","name":null,"_revision":1,"_modified":"2026-08-18T10:12:01.004Z","_created":"2026-08-18T10:12:01.004Z","connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://h:1","sources":[],"targets":[{"address":"a","topics":[],"authorizationContext":["s"],"headerMapping":{}}],"clientCount":1,"failoverEnabled":true,"validateCertificates":true,"processorPoolSize":1,"tags":[]},"__hh":{}}`},
		{"empty", Event{Type: EventEmpty, Effect: EffectPriorityUpdate, Revision: 9, ConnectionID: "plant-7"},
			`{"type":"persistence-actor-internal:empty-event","effect":"priorityUpdate","__hh":{}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := json.Marshal(tt.e); err != nil || string(got) != tt.want {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, tt.want)
			}
		})
	}
}

func TestEventRoundTrip(t *testing.T) {
	conn := parsed(t, minimal)
	conn.Lifecycle, conn.Revision, conn.Created, conn.Modified = LifecycleActive, 3, at, at.Add(time.Nanosecond)
	for _, e := range []Event{
		{Type: EventConnectionCreated, Timestamp: at, Revision: 3, ConnectionID: "plant-7", Connection: conn, HistoricalHeaders: Headers{}},
		{Type: EventConnectionModified, Timestamp: at, Revision: 3, ConnectionID: "plant-7", Connection: conn, HistoricalHeaders: Headers{"a": "b"}},
		{Type: EventConnectionOpened, Timestamp: at, Revision: 4, ConnectionID: "plant-7", HistoricalHeaders: Headers{}},
		{Type: EventConnectionClosed, Timestamp: at, Revision: 5, ConnectionID: "plant-7", HistoricalHeaders: Headers{}},
		{Type: EventConnectionDeleted, Timestamp: at, Revision: 6, ConnectionID: "plant-7", HistoricalHeaders: Headers{}},
		{Type: EventEmpty, Effect: EffectPriorityUpdate, HistoricalHeaders: Headers{}},
	} {
		again, err := ParseEvent(e.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, again); d != "" {
			t.Errorf("%s:\n%s", e.Type, d)
		}
	}
}

func TestStoredDataThatCannotBeUnderstoodIsAnError(t *testing.T) {
	conn := strings.ReplaceAll(minimal, "\n", "")
	for _, text := range []string{
		``, `[]`, `null`, `{}`, `{"type":5}`, `{"type":"connectivity.events:connectionExploded"}`, `{"type":"persistence-actor-internal:empty-event"}`,
		`{"type":"connectivity.events:connectionOpened"}`, `{"type":"connectivity.events:connectionCreated","connectionId":"x"}`,
		`{"type":"connectivity.events:connectionCreated","connectionId":"x","connection":null}`,
		`{"type":"connectivity.events:connectionCreated","connectionId":"x","connection":[]}`,
		`{"type":"connectivity.events:connectionCreated","connectionId":"x","connection":` + strings.Replace(conn, `"id":"plant-7",`, "", 1) + `}`,
		`{"type":"connectivity.events:connectionCreated","connectionId":"x","_timestamp":"never","connection":` + conn + `}`,
		`{"type":"connectivity.events:connectionCreated","connectionId":"x","revision":"1","connection":` + conn + `}`,
		`{"type":"connectivity.events:connectionCreated","connectionId":"x","__hh":[],"connection":` + conn + `}`,
	} {
		if e, err := ParseEvent([]byte(text)); err == nil {
			t.Errorf("event %s: %+v", text, e)
		}
	}
	for _, text := range []string{``, `[]`, `null`, `{}`, `{"__lifecycle":"ACTIVE"}`, `{"__lifecycle":5}`, strings.Replace(conn, `"id":"plant-7",`, "", 1)} {
		if c, err := ParseSnapshot([]byte(text)); err == nil {
			t.Errorf("snapshot %s: %+v", text, c)
		}
	}
}

func TestSnapshots(t *testing.T) {
	deleted, err := MarshalSnapshot(nil)
	if err != nil || string(deleted) != `{"__lifecycle":"DELETED"}` {
		t.Errorf("%s %v", deleted, err)
	}
	if c, err := ParseSnapshot(deleted); c != nil || err != nil {
		t.Errorf("%v %v", c, err)
	}
	c, err := ParseSnapshot([]byte(minimal))
	if err != nil || c.Lifecycle != LifecycleActive {
		t.Errorf("without a lifecycle: %v %v", c, err)
	}
	c.Revision, c.Created, c.Modified = 12, at, at
	body, err := MarshalSnapshot(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSnapshot(body)
	if d := cmp.Diff(c, again); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

// Whatever a connection holds, the journal gives it back.
func TestConnectionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := connections().Draw(t, "connection")
		body, err := MarshalSnapshot(c)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(body) {
			t.Fatalf("no JSON: %s", body)
		}
		again, err := ParseSnapshot(body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Fatalf("%s\n%s", body, d)
		}
		if d := cmp.Diff(c, c.Clone()); d != "" {
			t.Fatalf("the clone differs:\n%s", d)
		}
		shown, err := ParseConnection(c.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		shown.Lifecycle, shown.Revision, shown.Created, shown.Modified = c.Lifecycle, c.Revision, c.Created, c.Modified
		if d := cmp.Diff(c, shown); d != "" {
			t.Fatalf("the answer, sent back, differs:\n%s", d)
		}
	})
}

// connections generates connections as parsing leaves them.
func connections() *rapid.Generator[*Connection] {
	return rapid.Custom(func(t *rapid.T) *Connection {
		word := rapid.StringOf(rapid.RuneFrom([]rune("ab {}:/%+&\"\\\n\u0001ü\u2028<")))
		name := rapid.StringMatching(`[a-zA-Z0-9_:-]{3,20}`)
		texts := func(label string) map[string]string {
			m := rapid.MapOfN(word, word, 0, 3).Draw(t, label)
			if len(m) == 0 {
				return nil
			}
			return m
		}
		words := func(label string, least int) []string {
			s := rapid.SliceOfNDistinct(word, least, 4, rapid.ID).Draw(t, label)
			if len(s) == 0 {
				return nil
			}
			return s
		}
		subjects := func(label string) []string {
			return rapid.SliceOfN(rapid.StringMatching(`[a-z:]{1,9}`), 1, 3).Draw(t, label)
		}
		labels := func(label string) []string {
			s := rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, label)
			if len(s) == 0 {
				return nil
			}
			return s
		}
		number := func(label string, least int) int { return rapid.IntRange(least, 1<<31-1).Draw(t, label) }
		maybe := func(label string) *string { return rapid.Ptr(word, true).Draw(t, label) }
		qos := func(label string) *int { return rapid.Ptr(rapid.IntRange(-1, 3), true).Draw(t, label) }
		c := &Connection{
			ID: name.Draw(t, "id"), Name: maybe("name"),
			Type:        rapid.SampledFrom(connectionTypes).Draw(t, "type"),
			Status:      rapid.SampledFrom(statuses).Draw(t, "status"),
			ClientCount: 1, FailoverEnabled: rapid.Bool().Draw(t, "failover"), ValidateCertificates: rapid.Bool().Draw(t, "validate"),
			ProcessorPoolSize: number("pool", 1), SpecificConfig: texts("specific"), Tags: nonNil(words("tags", 0)),
			Lifecycle: LifecycleActive, Revision: int64(number("revision", 1)),
			Created: at.Add(time.Duration(number("created", 0))), Modified: at.Add(time.Duration(number("modified", 0)) * time.Millisecond),
		}
		var err error
		if c.URI, err = ParseURI("tcp://" + rapid.StringMatching(`(ü?(%25)?u?:p?@)?[a-z]{1,5}:[1-9][0-9]{0,3}(/[a-z]*)?`).Draw(t, "uri")); err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "definitions") {
			c.MappingDefinitions = map[string]MappingDefinition{word.Draw(t, "mapper"): {
				Engine: word.Draw(t, "engine"), Options: json.RawMessage(rapid.SampledFrom([]string{`null`, `{}`, `{"a":[1.50,{"b":null}]}`}).Draw(t, "options")),
				IncomingConditions: texts("incoming"), OutgoingConditions: texts("outgoing"),
			}}
		}
		credentials := func(label string) Credentials {
			k := Credentials{Type: rapid.SampledFrom([]string{CredentialsClientCert, CredentialsPlain, CredentialsPublicKey, CredentialsHMAC, CredentialsOAuthClient, CredentialsOAuthPassword}).Draw(t, label)}
			draw := func() string { return word.Draw(t, label) }
			switch k.Type {
			case CredentialsClientCert:
				k.Cert, k.Key = maybe(label), maybe(label)
			case CredentialsPlain:
				k.Username, k.Password = draw(), draw()
			case CredentialsPublicKey:
				k.Username, k.PublicKey, k.PrivateKey = draw(), draw(), draw()
			case CredentialsHMAC:
				k.Algorithm, k.Parameters = draw(), json.RawMessage(`{"x":1}`)
			case CredentialsOAuthClient:
				secret := draw()
				k.TokenEndpoint, k.ClientID, k.ClientSecret, k.RequestedScopes, k.Audience = draw(), draw(), &secret, draw(), maybe(label)
			case CredentialsOAuthPassword:
				k.TokenEndpoint, k.ClientID, k.ClientSecret, k.RequestedScopes, k.Audience = draw(), draw(), maybe(label), draw(), maybe(label)
				k.Username, k.Password = draw(), draw()
			}
			return k
		}
		if rapid.Bool().Draw(t, "withCredentials") {
			k := credentials("credentials")
			c.Credentials = &k
		}
		if ca := word.Draw(t, "ca"); strings.TrimSpace(ca) != "" {
			c.CA = ca
		}
		if rapid.Bool().Draw(t, "tunnel") {
			c.SSHTunnel = &SSHTunnel{Enabled: rapid.Bool().Draw(t, "enabled"), URI: word.Draw(t, "tunnelURI"), Credentials: credentials("tunnelCredentials"),
				ValidateHost: rapid.Bool().Draw(t, "validateHost"), KnownHosts: words("knownHosts", 0)}
		}
		for range rapid.IntRange(0, 2).Draw(t, "sources") {
			s := Source{Addresses: words("addresses", 0), ConsumerCount: number("consumers", -5), QoS: qos("qos"), AuthorizationContext: subjects("subjects"),
				DeclaredAcks: labels("declared"), HeaderMapping: texts("headers"), PayloadMapping: words("mappers", 0)}
			if rapid.Bool().Draw(t, "enforcement") {
				s.Enforcement = &Enforcement{Input: word.Draw(t, "input"), Filters: words("filters", 0)}
			}
			if rapid.Bool().Draw(t, "acks") {
				s.AcknowledgementRequest = &AcknowledgementRequests{Includes: labels("includes"), Filter: maybe("filter")}
			}
			if s.ReplyTarget.Address = maybe("reply"); s.ReplyTarget.Address != nil {
				s.ReplyTarget.Enabled = rapid.Bool().Draw(t, "replies")
				s.ReplyTarget.HeaderMapping = texts("replyHeaders")
				s.ReplyTarget.ExpectedResponseTypes = rapid.SliceOfNDistinct(rapid.SampledFrom(responseTypes), 0, 3, rapid.ID).Draw(t, "expected")
			}
			c.Sources = append(c.Sources, s)
		}
		for range rapid.IntRange(0, 2).Draw(t, "targets") {
			target := Target{Address: word.Draw(t, "address"), QoS: qos("qos"), AuthorizationContext: subjects("subjects"), HeaderMapping: texts("headers"), PayloadMapping: words("mappers", 0)}
			target.Topics = rapid.SliceOfNDistinct(topics(), 0, 3, FilteredTopic.String).Draw(t, "topics")
			if len(target.Topics) == 0 {
				target.Topics = nil
			}
			for i := range target.Topics {
				if len(target.Topics[i].Namespaces) == 0 {
					target.Topics[i].Namespaces = nil
				}
			}
			if rapid.Bool().Draw(t, "issues") {
				target.IssuedAcknowledgementLabel = name.Draw(t, "label")
			}
			c.Targets = append(c.Targets, target)
		}
		if len(c.Sources)+len(c.Targets) == 0 {
			c.Targets = []Target{{Address: "a", AuthorizationContext: []string{"s"}}}
		}
		return c
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"type":"persistence-actor-internal:empty-event","effect":"priorityUpdate","__hh":{"a":1}}`))
	f.Add([]byte(`{"type":"connectivity.events:connectionCreated","_timestamp":"2026-08-18T10:12:01.004Z","revision":1,"connectionId":"x","connection":` + minimal + `}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ParseEvent(text)
		if err != nil {
			return
		}
		if _, err := ParseEvent(e.AppendJSON(nil)); err != nil {
			t.Fatalf("%s does not read again: %v", e.AppendJSON(nil), err)
		}
	})
}
