package client

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"hawser/messages"
)

// part is an entry in short.
func part(kind messages.ResourceType, status messages.ConnectivityStatus, rest ...any) messages.ResourceStatus {
	s := messages.ResourceStatus{Type: kind, Client: "box-1", Status: status}
	for _, r := range rest {
		switch r := r.(type) {
		case messages.RecoveryStatus:
			s.Recovery = r
		case time.Time:
			s.Since = r
		}
	}
	return s
}

const (
	aClient, aSource, aTarget, aTunnel                     = messages.ResourceClient, messages.ResourceSource, messages.ResourceTarget, messages.ResourceSSH
	isOpen, isClosed, isFailed, isMisconfigured, isUnknown = messages.StatusOpen, messages.StatusClosed, messages.StatusFailed, messages.StatusMisconfigured, messages.StatusUnknown
)

// TestLiveStatus is piggyback.md 4.12 rules 6 and 7. Nothing is missing here: the connection expects one client only.
func TestLiveStatus(t *testing.T) {
	for name, row := range map[string]struct {
		parts []messages.ResourceStatus
		want  messages.ConnectivityStatus
	}{
		"client alone":                      {[]messages.ResourceStatus{part(aClient, isOpen)}, isOpen},
		"all open":                          {[]messages.ResourceStatus{part(aClient, isOpen), part(aSource, isOpen), part(aTarget, isOpen), part(aTunnel, isOpen)}, isOpen},
		"placeholder target":                {[]messages.ResourceStatus{part(aClient, isOpen), part(aTarget, isUnknown)}, isOpen},
		"placeholder and plain target":      {[]messages.ResourceStatus{part(aClient, isOpen), part(aTarget, isUnknown), part(aTarget, isOpen)}, isOpen},
		"unknown client":                    {[]messages.ResourceStatus{part(aClient, isUnknown), part(aSource, isClosed)}, isUnknown},
		"failed client, closed children":    {[]messages.ResourceStatus{part(aClient, isFailed), part(aSource, isClosed), part(aTarget, isClosed)}, isFailed},
		"misconfigured client":              {[]messages.ResourceStatus{part(aClient, isMisconfigured), part(aSource, isClosed)}, isMisconfigured},
		"failed beats misconfigured":        {[]messages.ResourceStatus{part(aClient, isOpen), part(aSource, isMisconfigured), part(aSource, isFailed)}, isFailed},
		"failed source beats misconfigured": {[]messages.ResourceStatus{part(aClient, isMisconfigured), part(aSource, isFailed)}, isFailed},
		"one misconfigured source":          {[]messages.ResourceStatus{part(aClient, isOpen), part(aSource, isOpen), part(aSource, isMisconfigured)}, isMisconfigured},
		"all closed":                        {[]messages.ResourceStatus{part(aClient, isClosed)}, isUnknown}, // the empty lists are open
		"everything closed":                 {[]messages.ResourceStatus{part(aClient, isClosed), part(aSource, isClosed), part(aTarget, isClosed), part(aTunnel, isClosed)}, isClosed},
		"open and closed sources":           {[]messages.ResourceStatus{part(aClient, isOpen), part(aSource, isOpen), part(aSource, isClosed)}, isUnknown},
		"closed and unknown targets":        {[]messages.ResourceStatus{part(aClient, isOpen), part(aTarget, isClosed), part(aTarget, isUnknown)}, isOpen},
		"open and unknown clients":          {[]messages.ResourceStatus{part(aClient, isOpen), part(aClient, isUnknown)}, isUnknown},
		"failed tunnel":                     {[]messages.ResourceStatus{part(aClient, isOpen), part(aTunnel, isFailed)}, isFailed},
	} {
		t.Run(name, func(t *testing.T) {
			c := &messages.Connection{Type: messages.TypeAMQP10, Status: messages.StatusOpen, ClientCount: 1}
			if got := Aggregate(c, row.parts, 1).Live; got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

// TestRecoveryStatus is rule 5.
func TestRecoveryStatus(t *testing.T) {
	const succeeded, ongoing, limit, unknown = messages.RecoverySucceeded, messages.RecoveryOngoing, messages.RecoveryBackOffLimitReached, messages.RecoveryUnknown
	for name, row := range map[string]struct {
		clients []messages.RecoveryStatus
		want    messages.RecoveryStatus
	}{
		"none carries one":     {[]messages.RecoveryStatus{"", ""}, succeeded},
		"all succeeded":        {[]messages.RecoveryStatus{succeeded, succeeded}, succeeded},
		"missing one ignored":  {[]messages.RecoveryStatus{succeeded, ""}, succeeded},
		"limit before ongoing": {[]messages.RecoveryStatus{ongoing, limit, succeeded}, limit},
		"ongoing":              {[]messages.RecoveryStatus{ongoing, unknown}, ongoing},
		"unknown":              {[]messages.RecoveryStatus{unknown, succeeded}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			var parts []messages.ResourceStatus
			for _, r := range row.clients {
				parts = append(parts, part(aClient, isOpen, r))
			}
			c := &messages.Connection{Status: messages.StatusOpen, ClientCount: len(parts)}
			if got := Aggregate(c, parts, len(parts)).Recovery; got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

// TestExpectedEntries is rules 1 and 3: how many entries there must be, and what those that nobody reported look like.
func TestExpectedEntries(t *testing.T) {
	source := messages.Source{Addresses: []string{"a", "b"}, ConsumerCount: 3}
	target := messages.Target{Address: "t"}
	for name, row := range map[string]struct {
		c                                  messages.Connection
		clients, sources, targets, tunnels int
	}{
		"mqtt: one per source":       {messages.Connection{Type: messages.TypeMQTT, ClientCount: 1, Sources: []messages.Source{source, source}, Targets: []messages.Target{target}}, 1, 2, 1, 0},
		"mqtt-5 with two clients":    {messages.Connection{Type: messages.TypeMQTT5, ClientCount: 2, Sources: []messages.Source{source}, Targets: []messages.Target{target, target}}, 2, 2, 4, 0},
		"per consumer and address":   {messages.Connection{Type: messages.TypeAMQP091, ClientCount: 2, Sources: []messages.Source{source}}, 2, 12, 0, 0},
		"tunnel":                     {messages.Connection{Type: messages.TypeMQTT, ClientCount: 1, SSHTunnel: &messages.SSHTunnel{Enabled: true}}, 1, 0, 0, 1},
		"tunnel that is not enabled": {messages.Connection{Type: messages.TypeMQTT, ClientCount: 1, SSHTunnel: &messages.SSHTunnel{}}, 1, 0, 0, 0},
		"stored closed":              {messages.Connection{Type: messages.TypeMQTT, Status: messages.StatusClosed, ClientCount: 1, Sources: []messages.Source{source}, Targets: []messages.Target{target}}, 1, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if row.c.Status == "" {
				row.c.Status = messages.StatusOpen
			}
			a := Aggregate(&row.c, nil, row.c.ClientCount)
			if len(a.Clients) != row.clients || len(a.Sources) != row.sources || len(a.Targets) != row.targets || len(a.Tunnels) != row.tunnels {
				t.Errorf("%d clients, %d sources, %d targets, %d tunnels", len(a.Clients), len(a.Sources), len(a.Targets), len(a.Tunnels))
			}
			if e := a.Clients[0]; e.Client != "unknown-client" || e.Status != isFailed || e.Details != "The <client> failed to report its status within the timeout." || e.Recovery != "" || a.Live != isFailed {
				t.Errorf("%+v, live %s", e, a.Live)
			}
		})
	}
	two := &messages.Connection{Type: messages.TypeMQTT5, Status: messages.StatusOpen, ClientCount: 2, Targets: []messages.Target{target}}
	a := Aggregate(two, []messages.ResourceStatus{part(aClient, isOpen), part(aTarget, isOpen)}, 1)
	if e := a.Targets[1]; len(a.Clients) != 2 || e.Client != "unknown-client" || e.Status != isMisconfigured ||
		e.Details != "The configured client count of <2> could not be delivered by the cluster, the <target> is therefore not available." || a.Live != isMisconfigured {
		t.Errorf("%+v", a)
	}
}

// TestConnectedSince is rule 4, and nothing is missing on one node with one client.
func TestConnectedSince(t *testing.T) {
	late, early := began.Add(time.Minute), began
	c := &messages.Connection{Status: messages.StatusOpen, ClientCount: 3}
	a := Aggregate(c, []messages.ResourceStatus{part(aClient, isOpen, late), part(aClient, isOpen, early.Add(time.Second)), part(aClient, isFailed, early)}, 3)
	if !a.ConnectedSince.Equal(early.Add(time.Second)) {
		t.Errorf("%v", a.ConnectedSince)
	}
	c.ClientCount = 1
	if a := Aggregate(c, []messages.ResourceStatus{part(aClient, isFailed, early)}, 1); !a.ConnectedSince.IsZero() || len(a.Clients) != 1 {
		t.Errorf("%+v", a)
	}
}

// TestAggregatedJSON compares with the example of piggyback.md 4.12.
func TestAggregatedJSON(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 8, 18, 9, 0, s, 0, time.UTC) }
	entry := func(kind messages.ResourceType, address, details string, s int) messages.ResourceStatus {
		return messages.ResourceStatus{Type: kind, Client: "10.1.0.12", Address: address, Status: isOpen, Details: details, Since: at(s)}
	}
	client := entry(aClient, "", "CONNECTED", 5)
	client.Recovery = messages.RecoverySucceeded
	c := &messages.Connection{
		Type: messages.TypeMQTT, Status: isOpen, ClientCount: 1, Sources: []messages.Source{{Addresses: []string{"telemetry/#"}}}, Targets: []messages.Target{{Address: "events/out"}},
		SSHTunnel: &messages.SSHTunnel{Enabled: true},
	}
	sameJSON(t, Aggregate(c, []messages.ResourceStatus{
		client, entry(aSource, "telemetry/#", "Consumer started.", 5), entry(aTarget, "events/out", "Producer started.", 5), entry(aTunnel, "", "ssh tunnel established.", 4),
	}, 1), `{"connectionStatus": "open", "liveStatus": "open", "recoveryStatus": "succeeded", "connectedSince": "2026-08-18T09:00:05Z",
  "clientStatus": [ { "type": "client", "client": "10.1.0.12", "status": "open", "recoveryStatus": "succeeded", "statusDetails": "CONNECTED", "inStateSince": "2026-08-18T09:00:05Z" } ],
  "sourceStatus": [ { "type": "source", "client": "10.1.0.12", "address": "telemetry/#", "status": "open", "statusDetails": "Consumer started.", "inStateSince": "2026-08-18T09:00:05Z" } ],
  "targetStatus": [ { "type": "target", "client": "10.1.0.12", "address": "events/out", "status": "open", "statusDetails": "Producer started.", "inStateSince": "2026-08-18T09:00:05Z" } ],
  "sshTunnelStatus": [ { "type": "ssh", "client": "10.1.0.12", "status": "open", "statusDetails": "ssh tunnel established.", "inStateSince": "2026-08-18T09:00:04Z" } ] }`)
	sameJSON(t, Aggregated{
		Stored: isClosed, Live: isClosed, Recovery: messages.RecoveryUnknown,
		Clients: []messages.ResourceStatus{{Type: aClient, Client: "10.1.0.12", Status: isClosed, Recovery: messages.RecoveryUnknown, Details: "[DISCONNECTED] connection is closed", Since: at(0).Add(123456 * time.Microsecond)}},
	}, `{"connectionStatus": "closed", "liveStatus": "closed", "recoveryStatus": "unknown",
  "clientStatus": [ { "type": "client", "client": "10.1.0.12", "status": "closed", "recoveryStatus": "unknown", "statusDetails": "[DISCONNECTED] connection is closed", "inStateSince": "2026-08-18T09:00:00.123456Z" } ] }`)
}

func sameJSON(t *testing.T, v any, want string) {
	t.Helper()
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if json.Unmarshal(got, &g) != nil || json.Unmarshal([]byte(want), &w) != nil || !reflect.DeepEqual(g, w) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestResources is piggyback.md 4.11 and rule 8 of 4.12: what one client reports in each state.
func TestResources(t *testing.T) {
	c := &messages.Connection{
		Type: messages.TypeMQTT, ClientCount: 1, Sources: []messages.Source{{Addresses: []string{"a", "b/#"}, ConsumerCount: 1}},
		Targets: []messages.Target{{Address: "t"}, {Address: "t/{{ thing:id }}"}}, SSHTunnel: &messages.SSHTunnel{Enabled: true},
	}
	r := newResources(c, "box-1")
	r.publish(openSince(began))
	want := []messages.ResourceStatus{
		{Type: aClient, Client: "box-1", Status: isOpen, Recovery: messages.RecoverySucceeded, Details: "CONNECTED", Since: began},
		{Type: aSource, Client: "box-1", Address: "a;b/#", Status: isOpen, Details: "Consumer started.", Since: began},
		{Type: aTarget, Client: "box-1", Address: "t", Status: isOpen, Details: "Producer started.", Since: began},
		{Type: aTarget, Client: "box-1", Address: "t/{{ thing:id }}", Status: isUnknown, Details: "Producers for targets with placeholders are started on-demand.", Since: began},
		{Type: aTunnel, Client: "box-1", Status: isOpen, Details: "ssh tunnel established.", Since: began},
	}
	if got := r.list(); !reflect.DeepEqual(got, want) {
		t.Errorf("open:\n%+v\nwant\n%+v", got, want)
	}
	if a := Aggregate(&messages.Connection{Type: c.Type, Status: isOpen, ClientCount: 1, Sources: c.Sources, Targets: c.Targets, SSHTunnel: c.SSHTunnel}, r.list(), 1); a.Live != isOpen || len(a.Sources) != 1 || len(a.Targets) != 2 {
		t.Errorf("%+v", a)
	}

	broken := messages.ResourceStatus{Type: aSource, Address: "a;b/#", Status: isMisconfigured, Details: "queue is gone", Since: began.Add(1)}
	r.set(broken)
	if got := r.list()[1]; got.Status != isMisconfigured || got.Client != "box-1" || got.Details != "queue is gone" {
		t.Errorf("reported: %+v", got)
	}
	r.forget()
	if got := r.list()[1]; got.Status != isOpen {
		t.Errorf("forgotten: %+v", got)
	}

	for status, details := range map[messages.ConnectivityStatus]string{
		isUnknown: "Closed because of unknown status in client.", isFailed: "Closed because of failure status in client.", isMisconfigured: "Closed because of misconfiguration status in client.",
	} {
		r.publish(clientStatus{status: status, recovery: messages.RecoveryOngoing})
		for _, e := range r.list()[1:] {
			if e.Status != isClosed || e.Details != details || !e.Since.IsZero() {
				t.Errorf("%s: %+v", status, e)
			}
		}
	}
}
