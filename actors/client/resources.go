package client

import (
	"maps"
	"strings"
	"sync"

	"hawser/messages"
)

// resources are the status entries of one client (piggyback.md 4.11): the client itself, and the sources, targets and
// tunnel that it has while it is open.
type resources struct {
	instance string
	children []messages.ResourceStatus // as they are while the client is open, without since

	mu       sync.Mutex
	client   clientStatus
	reported map[resourceKey]messages.ResourceStatus // what the transport said
}

type resourceKey struct {
	kind    messages.ResourceType
	address string
}

func newResources(c *messages.Connection, instance string) *resources {
	r := &resources{instance: instance}
	add := func(kind messages.ResourceType, address string, status messages.ConnectivityStatus, details string) {
		r.children = append(r.children, messages.ResourceStatus{Type: kind, Client: instance, Address: address, Status: status, Details: details})
	}
	for _, address := range sourceEntries(c) {
		add(messages.ResourceSource, address, messages.StatusOpen, "Consumer started.")
	}
	for _, t := range c.Targets {
		if hasPlaceholder(t.Address) {
			add(messages.ResourceTarget, t.Address, messages.StatusUnknown, "Producers for targets with placeholders are started on-demand.")
		} else {
			add(messages.ResourceTarget, t.Address, messages.StatusOpen, "Producer started.")
		}
	}
	if c.SSHTunnel != nil && c.SSHTunnel.Enabled {
		add(messages.ResourceSSH, "", messages.StatusOpen, "ssh tunnel established.")
	}
	return r
}

// sourceEntries are the addresses of the source entries that one client reports: per source for mqtt and mqtt-5, with its
// addresses joined by ";", else one per consumer and address.
func sourceEntries(c *messages.Connection) []string {
	var out []string
	for _, s := range c.Sources {
		if isMQTT(c.Type) {
			out = append(out, strings.Join(s.Addresses, ";"))
			continue
		}
		for range max(s.ConsumerCount, 1) {
			out = append(out, s.Addresses...)
		}
	}
	return out
}

func isMQTT(t messages.ConnectionType) bool {
	return t == messages.TypeMQTT || t == messages.TypeMQTT5
}

func hasPlaceholder(address string) bool {
	return strings.Contains(address, "{{") || strings.Contains(address, "${")
}

// publish replaces the status of the client.
func (r *resources) publish(s clientStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client = s
}

// set takes what the transport says of a source or target.
func (r *resources) set(s messages.ResourceStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Client, s.Recovery = r.instance, ""
	next := maps.Clone(r.reported)
	if next == nil {
		next = map[resourceKey]messages.ResourceStatus{}
	}
	next[resourceKey{s.Type, s.Address}] = s
	r.reported = next
}

// forget drops what the transport said: it is over.
func (r *resources) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported = nil
}

// closedBecause are the details of children that do not exist, by the status of the client (piggyback.md 4.12 rule 8).
var closedBecause = map[messages.ConnectivityStatus]string{
	messages.StatusUnknown:       "Closed because of unknown status in client.",
	messages.StatusFailed:        "Closed because of failure status in client.",
	messages.StatusMisconfigured: "Closed because of misconfiguration status in client.",
	messages.StatusClosed:        "Closed because of closed status in client.",
}

// list is a snapshot of all entries.
func (r *resources) list() []messages.ResourceStatus {
	r.mu.Lock()
	client, reported := r.client, r.reported
	r.mu.Unlock()
	out := make([]messages.ResourceStatus, 0, 1+len(r.children))
	out = append(out, messages.ResourceStatus{
		Type: messages.ResourceClient, Client: r.instance, Status: client.status, Recovery: client.recovery, Details: client.details, Since: client.since,
	})
	for _, child := range r.children {
		if client.status != messages.StatusOpen {
			child.Status, child.Details = messages.StatusClosed, closedBecause[client.status]
			out = append(out, child)
			continue
		}
		child.Since = client.since
		if s, ok := reported[resourceKey{child.Type, child.Address}]; ok {
			child = s
		}
		out = append(out, child)
	}
	return out
}
