package signals

import (
	"fmt"
	"strings"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/rql"
)

// target is a compiled messages.Target.
type target struct {
	address     string // as configured
	template    *placeholder.Template
	scope       *monitor.Scope
	qos         int
	subjects    []string
	topics      []filteredTopic
	issuedLabel string
	headers     headerMapping
	payload     []string
	// mapping is equal for targets that share one run of the payload mapping: same mappers, no issued label (runtime.md O-6).
	mapping string
}

type filteredTopic struct {
	name        messages.TopicName
	namespaces  []string
	filter      *rql.Filter // nil: everything
	extraFields string
}

func compileTarget(index int, t messages.Target, connectionID string, scope *monitor.Scope) (*target, error) {
	template, err := placeholder.Compile(t.Address)
	if err != nil {
		return nil, fmt.Errorf("address of target %d: %w", index, err)
	}
	c := &target{
		address: t.Address, template: template, scope: scope, subjects: t.AuthorizationContext,
		headers: compileHeaders(t.HeaderMapping), payload: t.PayloadMapping, mapping: strings.Join(t.PayloadMapping, "\x00"),
	}
	if t.QoS != nil {
		c.qos = *t.QoS
	}
	if label, ok := resolveLabel(t.IssuedAcknowledgementLabel, connectionID); ok {
		c.issuedLabel = label
		c.mapping = fmt.Sprintf("%d", index)
	}
	for _, topic := range t.Topics {
		f := filteredTopic{name: topic.Name, namespaces: topic.Namespaces, extraFields: topic.ExtraFields}
		if topic.Filter != "" {
			if f.filter, err = rql.Parse(topic.Filter); err != nil {
				return nil, fmt.Errorf("filter of target %d: %w", index, err)
			}
		}
		if f.extraFields != "" { // those with extraFields first (O-5)
			c.topics = append([]filteredTopic{f}, c.topics...)
		} else {
			c.topics = append(c.topics, f)
		}
	}
	return c, nil
}

// subscribes reports whether a topic of the target has the name.
func (t *target) subscribes(name messages.TopicName) bool {
	for i := range t.topics {
		if t.topics[i].name == name {
			return true
		}
	}
	return false
}
