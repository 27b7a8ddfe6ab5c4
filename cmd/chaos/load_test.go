package main

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestLedger(t *testing.T) {
	l := newLedger(7, 2)
	for range 3 {
		l.acknowledged(0, l.next(0))
	}
	promised, never := l.next(1), l.next(1) // the broker answers for the first only
	l.acknowledged(1, promised)
	_ = never
	for _, k := range []int{0, 2, 2, 2} {
		l.arrived(0, 7, k)
	}
	l.arrived(1, 6, 0) // of an earlier run
	l.arrived(5, 7, 0) // of no relay
	l.arrived(0, 7, 9) // never sent
	acked, arrived, again, alien, lost := l.balance()
	if acked != 4 || arrived != 2 || again != 2 || len(lost) != 2 || alien != 2 {
		t.Fatalf("acked %d arrived %d again %d lost %v alien %d", acked, arrived, again, lost, alien)
	}
	if a, b := lost[0], lost[1]; a.relay != 0 || a.number != 1 || b.relay != 1 || b.number != 0 {
		t.Fatalf("%v", lost)
	}
	l.arrived(0, 7, 1)
	l.arrived(1, 7, 0)
	if _, _, _, _, lost := l.balance(); len(lost) != 0 {
		t.Fatalf("%v lost after all came", lost)
	}
}

func TestRelayMessages(t *testing.T) {
	text := relayMessage(3, 12, 345)
	if !json.Valid([]byte(text)) {
		t.Fatalf("no JSON: %s", text)
	}
	// What comes out is the same envelope, rendered anew.
	run, k, err := parseRelayed([]byte(`{"path":"/attributes/k","value":"12 345","topic":"chaos/relay-0003/things/live/events/modified"}`))
	if err != nil || run != 12 || k != 345 {
		t.Fatalf("%d %d %v", run, k, err)
	}
	for _, bad := range []string{"", "{}", `{"value":"12"}`, `{"value":"x 1"}`, `{"value":"1 -1"}`, `{"value":5}`} {
		if _, _, err := parseRelayed([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	subject := func(c object) any {
		for _, list := range []string{"sources", "targets"} {
			if parts, ok := c[list].([]object); ok {
				return parts[0]["authorizationContext"].([]string)[0]
			}
		}
		return nil
	}
	if relayMessage(3, 12, 0)[:32] == relayMessage(3, 12, 1)[:32] {
		t.Fatal("the messages of a relay are all of one entity")
	}
	r := relays{n: 2}
	first, second := r.connections(0, "tcp://h:1"), r.connections(1, "tcp://h:1")
	if subject(first[0]) != subject(first[1]) || subject(first[0]) == subject(second[0]) {
		t.Fatal("a pair shares one subject, and with nobody else")
	}
}

func FuzzParseRelayed(f *testing.F) {
	f.Add([]byte(`{"value":"12 345"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, k, err := parseRelayed(b); err == nil && k < 0 {
			t.Fatal(k)
		}
	})
}

func TestClassify(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		want   outcome
	}{
		"created":            {200, `{"type":"connectivity.responses:createConnection","status":201,"connection":{"id":"x","name":null,"connectionStatus":"open"}}`, done},
		"modified":           {200, `{"type":"connectivity.responses:modifyConnection","status":204,"connectionId":"x"}`, done},
		"not found":          {200, `{"status":404,"error":"connectivity:connection.notfound","message":"…"}`, absent},
		"conflict":           {200, `{"status":409,"error":"connectivity:connection.conflict"}`, exists},
		"illegal state":      {200, `{"status":409,"error":"connectivity:signal.illegal"}`, unknown},
		"failed to connect":  {200, `{"status":504,"error":"connectivity:connection.failed"}`, unknown},
		"unavailable":        {200, `{"status":503,"error":"connectivity:connection.unavailable"}`, unknown},
		"no lease":           {503, `{"status":503,"error":"gateway:service.unavailable"}`, unknown},
		"ask timed out":      {200, `{"type":"devops.responses:errorResponse","status":503,"payload":{"status":503,"error":"ask.error"}}`, unknown},
		"not parsable":       {200, `{"type":"devops.responses:errorResponse","status":400,"payload":{"status":400,"error":"json.field.missing"}}`, refused},
		"invalid":            {200, `{"status":400,"error":"connectivity:connection.configuration.invalid"}`, refused},
		"nobody answered":    {408, `null`, unknown},
		"gateway gave up":    {408, `{"status":408,"error":"command.timeout"}`, unknown},
		"no credentials":     {401, `The supplied authentication is invalid`, refused},
		"cut off":            {200, `{"type":"connectivity.resp`, unknown},
		"error from between": {502, `Bad Gateway`, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if got := classify(row.status, []byte(row.body)); got.outcome != row.want {
				t.Fatalf("%s, want %s", got.outcome, row.want)
			}
		})
	}
	s := classify(200, []byte(`{"type":"connectivity.responses:retrieveConnectionStatus","status":200,"clientStatus":[{"status":"open"},{"status":"misconfigured"}]}`))
	if s.outcome != done || !slices.Equal(s.clients, []string{"open", "misconfigured"}) {
		t.Fatalf("%+v", s)
	}
	r := classify(200, []byte(`{"type":"connectivity.responses:retrieveConnection","status":200,"connection":{"id":"x","name":"n","connectionStatus":"closed"}}`))
	if !r.connection || r.name != "n" || r.open {
		t.Fatalf("%+v", r)
	}
}
