package signals

import (
	"encoding/json"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// interest is what the targets of a connection take, as the index keeps it (design.md 6.1). It is enough to tell whether a
// signal concerns a connection whose client is not here yet; filters and mappers are only applied by the client.
type interest struct {
	Targets []targetInterest `json:"targets,omitempty"`
	// Labels are the acknowledgement labels that the connection declares or issues.
	Labels []string `json:"labels,omitempty"`
	// Clients is the clientCount of the connection; absent: 1.
	Clients int `json:"clients,omitempty"`
}

// clients is the number of receivers that the connection has.
func (i interest) clients() int {
	if len(i.Targets) == 0 {
		return 0
	}
	return min(max(i.Clients, 1), client.MaxClients)
}

type targetInterest struct {
	Topics     []messages.TopicName `json:"topics"`
	Subjects   []string             `json:"subjects"`
	Namespaces []string             `json:"namespaces,omitempty"` // absent: all
}

// Interest renders what the targets of c take and which acknowledgements come from it, for persistence.IndexRow.Interest;
// nil when no signal concerns it and it has one client.
func Interest(c *messages.Connection) json.RawMessage {
	i := interestOf(c)
	if len(i.Targets) == 0 && len(i.Labels) == 0 && i.Clients <= 1 { // the nodes of the others look for more clients in the index
		return nil
	}
	b, err := json.Marshal(i)
	if err != nil { // strings and slices of them always marshal
		return nil
	}
	return b
}

func interestOf(c *messages.Connection) interest {
	i := interest{Labels: declaredLabels(c)}
	if c.ClientCount > 1 {
		i.Clients = c.ClientCount
	}
	for _, t := range c.Targets {
		target := targetInterest{Subjects: t.AuthorizationContext}
		all := false
		for _, topic := range t.Topics {
			if !relayed(topic.Name) {
				continue
			}
			target.Topics = append(target.Topics, topic.Name)
			target.Namespaces = append(target.Namespaces, topic.Namespaces...)
			all = all || len(topic.Namespaces) == 0
		}
		if len(target.Topics) == 0 {
			continue
		}
		if all {
			target.Namespaces = nil
		}
		i.Targets = append(i.Targets, target)
	}
	return i
}

// relayed reports whether signals of a topic come over the router; twin events and policy announcements have no source here.
func relayed(name messages.TopicName) bool {
	return name == messages.TopicLiveEvents || name == messages.TopicLiveCommands || name == messages.TopicLiveMessages
}

// parseInterest reads what Interest has written; JSON null and nothing at all are no interest.
func parseInterest(raw json.RawMessage) (interest, error) {
	var i interest
	if len(raw) == 0 {
		return i, nil
	}
	err := json.Unmarshal(raw, &i)
	return i, err
}

// takes reports whether a signal may concern the connection.
func (i interest) takes(topic messages.TopicName, namespace string, readers []string, everyone bool) bool {
	for _, t := range i.Targets {
		if (everyone || intersects(t.Subjects, readers)) && (len(t.Namespaces) == 0 || contains(t.Namespaces, namespace)) {
			for _, name := range t.Topics {
				if name == topic {
					return true
				}
			}
		}
	}
	return false
}

// subscription is a key of the routing table; subject "" stands for everyone.
type subscription struct {
	topic   messages.TopicName
	subject string
}

func (i interest) subscriptions() map[subscription]struct{} {
	subs := map[subscription]struct{}{}
	for _, t := range i.Targets {
		for _, name := range t.Topics {
			subs[subscription{name, ""}] = struct{}{}
			for _, subject := range t.Subjects {
				subs[subscription{name, subject}] = struct{}{}
			}
		}
	}
	return subs
}

// declaredLabels are the labels of acknowledgements that come from a connection (contract runtime.md 4.4).
func declaredLabels(c *messages.Connection) []string {
	var labels []string
	for _, s := range c.Sources {
		for _, l := range s.DeclaredAcks {
			labels = appendLabel(labels, l, c.ID)
		}
	}
	for _, t := range c.Targets {
		labels = appendLabel(labels, t.IssuedAcknowledgementLabel, c.ID)
	}
	return labels
}

// appendLabel resolves {{connection:id}} in a label and appends it, unless it is there or is live-response.
func appendLabel(labels []string, label, connectionID string) []string {
	resolved, ok := resolveLabel(label, connectionID)
	if !ok || resolved == protocol.LabelLiveResponse || contains(labels, resolved) {
		return labels
	}
	return append(labels, resolved)
}

func resolveLabel(label, connectionID string) (string, bool) {
	if label == "" {
		return "", false
	}
	t, err := placeholder.Compile(label)
	if err != nil {
		return "", false
	}
	return t.Resolve(placeholder.SourceFunc(func(prefix, name string) ([]string, bool) {
		return []string{connectionID}, prefix == "connection" && name == "id"
	}))
}
