package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"hawser/messages"
)

// Aggregated is the status of a connection over all its clients (piggyback.md 4.12).
type Aggregated struct {
	Stored, Live   messages.ConnectivityStatus
	Recovery       messages.RecoveryStatus
	ConnectedSince time.Time // zero: omitted
	Clients        []messages.ResourceStatus
	Sources        []messages.ResourceStatus
	Targets        []messages.ResourceStatus
	Tunnels        []messages.ResourceStatus
	Missing        int // entries that nobody reported
}

// Aggregate adds up the entries that the clients of c reported; those that are missing are added as failed, or as
// misconfigured when the cluster has fewer nodes than c wants clients.
func Aggregate(c *messages.Connection, parts []messages.ResourceStatus, nodes int) Aggregated {
	a := Aggregated{Stored: c.Status}
	lists := []struct {
		kind     messages.ResourceType
		entries  *[]messages.ResourceStatus
		expected int
		verdict  messages.ConnectivityStatus
	}{
		{kind: messages.ResourceClient, entries: &a.Clients, expected: c.ClientCount},
		{kind: messages.ResourceSource, entries: &a.Sources},
		{kind: messages.ResourceTarget, entries: &a.Targets},
		{kind: messages.ResourceSSH, entries: &a.Tunnels},
	}
	if c.Status == messages.StatusOpen {
		lists[1].expected = c.ClientCount * len(sourceEntries(c))
		lists[2].expected = c.ClientCount * len(c.Targets)
		if c.SSHTunnel != nil && c.SSHTunnel.Enabled {
			lists[3].expected = c.ClientCount
		}
	}
	for _, p := range parts {
		for i := range lists {
			if p.Type == lists[i].kind {
				*lists[i].entries = append(*lists[i].entries, p)
			}
		}
	}
	verdicts := make([]messages.ConnectivityStatus, 0, len(lists))
	for _, l := range lists {
		for len(*l.entries) < l.expected {
			*l.entries = append(*l.entries, missing(l.kind, c.ClientCount, nodes))
			a.Missing++
		}
		verdicts = append(verdicts, overall(l.kind, *l.entries))
	}
	a.Live = combine(verdicts)
	a.Recovery = recovery(a.Clients)
	for _, e := range a.Clients {
		if e.Status == messages.StatusOpen && (a.ConnectedSince.IsZero() || e.Since.Before(a.ConnectedSince)) {
			a.ConnectedSince = e.Since
		}
	}
	return a
}

// missing is the entry of a resource that nobody reported (rule 3).
func missing(kind messages.ResourceType, clientCount, nodes int) messages.ResourceStatus {
	e := messages.ResourceStatus{
		Type: kind, Client: "unknown-client", Status: messages.StatusFailed,
		Details: fmt.Sprintf("The <%s> failed to report its status within the timeout.", kind),
	}
	if nodes < clientCount {
		e.Status = messages.StatusMisconfigured
		e.Details = fmt.Sprintf("The configured client count of <%d> could not be delivered by the cluster, the <%s> is therefore not available.", clientCount, kind)
	}
	return e
}

// overall is the status of one list (rule 6).
func overall(kind messages.ResourceType, entries []messages.ResourceStatus) messages.ConnectivityStatus {
	statuses := make([]messages.ConnectivityStatus, len(entries))
	someUnknown := false
	for i, e := range entries {
		statuses[i] = e.Status
		someUnknown = someUnknown || e.Status == messages.StatusUnknown
	}
	verdict := combine(statuses)
	if verdict == messages.StatusUnknown && someUnknown && kind != messages.ResourceClient {
		return messages.StatusOpen // produced on demand: does not drag the connection down
	}
	return verdict
}

// combine is the order that rules 6 and 7 share: all open (or none there) → open; any failed, then any misconfigured; all
// closed; else unknown.
func combine(statuses []messages.ConnectivityStatus) messages.ConnectivityStatus {
	count := map[messages.ConnectivityStatus]int{}
	for _, s := range statuses {
		count[s]++
	}
	switch {
	case count[messages.StatusOpen] == len(statuses):
		return messages.StatusOpen
	case count[messages.StatusFailed] > 0:
		return messages.StatusFailed
	case count[messages.StatusMisconfigured] > 0:
		return messages.StatusMisconfigured
	case count[messages.StatusClosed] == len(statuses):
		return messages.StatusClosed
	default:
		return messages.StatusUnknown
	}
}

// recovery is rule 5; entries that carry no recovery status do not count.
func recovery(clients []messages.ResourceStatus) messages.RecoveryStatus {
	count := map[messages.RecoveryStatus]int{}
	carriers := 0
	for _, e := range clients {
		if e.Recovery != "" {
			count[e.Recovery]++
			carriers++
		}
	}
	switch {
	case count[messages.RecoverySucceeded] == carriers:
		return messages.RecoverySucceeded
	case count[messages.RecoveryBackOffLimitReached] > 0:
		return messages.RecoveryBackOffLimitReached
	case count[messages.RecoveryOngoing] > 0:
		return messages.RecoveryOngoing
	default:
		return messages.RecoveryUnknown
	}
}

// entry is a ResourceStatus as JSON.
type entry struct {
	Type     messages.ResourceType       `json:"type"`
	Client   string                      `json:"client"`
	Address  string                      `json:"address,omitempty"`
	Status   messages.ConnectivityStatus `json:"status"`
	Recovery messages.RecoveryStatus     `json:"recoveryStatus,omitempty"`
	Details  string                      `json:"statusDetails,omitempty"`
	Since    string                      `json:"inStateSince,omitempty"`
}

func entries(list []messages.ResourceStatus) []entry {
	var out []entry
	for _, s := range list {
		out = append(out, entry{s.Type, s.Client, s.Address, s.Status, s.Recovery, s.Details, instant(s.Since)})
	}
	return out
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return messages.FormatInstant(t)
}

// MarshalJSON renders the members of retrieveConnectionStatus after type, status and connectionId; empty lists and unset
// members are omitted.
func (a Aggregated) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // "<client>" is for people to read
	err := enc.Encode(struct {
		Stored         messages.ConnectivityStatus `json:"connectionStatus"`
		Live           messages.ConnectivityStatus `json:"liveStatus"`
		Recovery       messages.RecoveryStatus     `json:"recoveryStatus"`
		ConnectedSince string                      `json:"connectedSince,omitempty"`
		Clients        []entry                     `json:"clientStatus,omitempty"`
		Sources        []entry                     `json:"sourceStatus,omitempty"`
		Targets        []entry                     `json:"targetStatus,omitempty"`
		Tunnels        []entry                     `json:"sshTunnelStatus,omitempty"`
	}{a.Stored, a.Live, a.Recovery, instant(a.ConnectedSince), entries(a.Clients), entries(a.Sources), entries(a.Targets), entries(a.Tunnels)})
	return b.Bytes(), err
}
