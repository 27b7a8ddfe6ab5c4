package signals

import (
	"maps"
	"slices"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/protocol"
)

// trace is what log entries say about the message they are about.
type trace struct {
	correlation string
	entityType  string
	entityID    string
	headers     messages.Headers // their names are listed where the contract wants it
}

// note counts, and keeps an entry while logging is active. Text "" takes the default of the metric.
func (t *trace) note(s *monitor.Scope, m monitor.Metric, success bool, text string) {
	if !s.Active() {
		s.Record(m, success)
		return
	}
	e := monitor.Entry{CorrelationID: t.correlation, EntityType: t.entityType, EntityID: t.entityID, Message: text}
	switch m {
	case monitor.Consumed, monitor.Enforced, monitor.Acknowledged, monitor.Dispatched, monitor.Published:
		e.HeaderKeys = headerKeys(t.headers)
	}
	if success {
		s.Success(m, e)
	} else {
		s.Failure(m, e)
	}
}

// headerKeys are the names of h without those of credentials (decision O6).
func headerKeys(h messages.Headers) []string {
	keys := make([]string, 0, len(h))
	for _, k := range slices.Sorted(maps.Keys(h)) {
		if k != "authorization" && k != "proxy-authorization" && k != "cookie" {
			keys = append(keys, k)
		}
	}
	return keys
}

// entityTypes are the entity types of log entries by topic group.
var entityTypes = map[string]string{
	protocol.GroupThings: "thing", protocol.GroupPolicies: "policy", protocol.GroupConnections: "connection",
}

func traceOf(e *protocol.Envelope) trace {
	return trace{
		correlation: e.Headers[messages.HeaderCorrelationID], entityType: entityTypes[e.Topic.Group],
		entityID: e.Topic.EntityID(), headers: e.Headers,
	}
}
