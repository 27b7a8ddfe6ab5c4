package protocol

import (
	"encoding/json"
	"strconv"
	"strings"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Placeholder resolves the placeholders that e itself knows: header, entity, thing, feature, topic, resource and
// thing-json (contract runtime.md 9.1). Its signature is that of placeholder.SourceFunc. Others (policy included: upstream
// does not resolve it here) are unresolved.
func (e *Envelope) Placeholder(prefix, name string) ([]string, bool) {
	switch prefix {
	case "header":
		return e.headerPlaceholder(name)
	case "topic":
		return e.topicPlaceholder(name)
	case "resource":
		return e.resourcePlaceholder(name)
	case "entity":
		return e.entityPlaceholder(name)
	case "thing":
		if e.Topic.Group == GroupThings {
			return e.entityPlaceholder(name)
		}
	case "feature":
		if name == "id" {
			return some(e.featureIDs())
		}
	case "thing-json":
		return e.thingPlaceholder(name)
	}
	return nil, false
}

// EnforcementPlaceholder resolves what enforcement filters may use: entity, thing, policy, feature.
func (e *Envelope) EnforcementPlaceholder(prefix, name string) ([]string, bool) {
	switch prefix {
	case "entity", "thing", "feature":
		return e.Placeholder(prefix, name)
	case "policy":
		if e.Topic.Group == GroupPolicies {
			return e.entityPlaceholder(name)
		}
	}
	return nil, false
}

func one(s string) ([]string, bool) {
	if s == "" {
		return nil, false
	}
	return []string{s}, true
}

func some(s []string) ([]string, bool) { return s, len(s) > 0 }

func (e *Envelope) headerPlaceholder(name string) ([]string, bool) {
	name = strings.ToLower(name)
	if v, ok := e.Headers[name]; ok {
		return []string{v}, true
	}
	if name == "ditto-entity-id" { // an internal header that follows from the topic: not stored
		return []string{e.Topic.entityType() + ":" + e.Topic.EntityID()}, true
	}
	return nil, false
}

func (e *Envelope) topicPlaceholder(name string) ([]string, bool) {
	t := &e.Topic
	switch name {
	case "full":
		return []string{t.String()}, true
	case "namespace":
		return []string{t.Namespace}, true
	case "entityName":
		return []string{t.Name}, true
	case "group":
		return one(t.Group)
	case "channel":
		if t.Channel == "" {
			return []string{ChannelNone}, true
		}
		return []string{t.Channel}, true
	case "criterion":
		return one(t.Criterion)
	case "action":
		return one(t.Action)
	case "subject":
		return one(t.Subject)
	case "action-subject":
		return one(t.Action + t.Subject) // at most one of them is there
	}
	return nil, false
}

func (e *Envelope) resourcePlaceholder(name string) ([]string, bool) {
	switch name {
	case "path":
		return one(e.Path)
	case "type":
		if e.Topic.Criterion == CriterionMessages {
			return []string{"message"}, true
		}
		return []string{e.Topic.entityType()}, true
	}
	return nil, false
}

func (e *Envelope) entityPlaceholder(name string) ([]string, bool) {
	switch name {
	case "id":
		return []string{e.Topic.EntityID()}, true
	case "namespace":
		return []string{e.Topic.Namespace}, true
	case "name":
		return []string{e.Topic.Name}, true
	}
	return nil, false
}

// thingPlaceholder resolves thing-json: arrays give one value for each element, objects their JSON text.
func (e *Envelope) thingPlaceholder(pointer string) ([]string, bool) {
	var values []string
	for _, raw := range e.thingAt(pointerKeys(strings.TrimPrefix(pointer, "thing-json:"))) {
		if raw[0] == '[' {
			for el := elements(raw, 0, maxDepth); el.next(); {
				values = append(values, plain(raw[el.from:el.to]))
			}
			continue
		}
		values = append(values, plain(raw))
	}
	return some(values)
}

func plain(raw json.RawMessage) string {
	if s, ok := text(raw); ok {
		return s
	}
	return compact(raw)
}

// Field returns what an RQL filter sees at field (contract runtime.md 6.5): a JSON pointer into the partial thing that an
// event implies plus extra, or a placeholder of topic, resource, entity, thing, feature. Commands and messages imply an
// empty thing. No value: absent. The values are those of rql.Filter.Evaluate; time: is not known here.
func (e *Envelope) Field(field string) []any {
	if prefix, name, ok := strings.Cut(field, ":"); ok {
		switch prefix {
		case "topic", "resource", "entity", "thing", "feature":
			values, _ := e.Placeholder(prefix, name)
			found := make([]any, len(values))
			for i, v := range values {
				found[i] = v
			}
			return found
		}
	}
	var found []any
	for _, raw := range e.thingAt(pointerKeys(field)) {
		found = append(found, decode(raw))
	}
	return found
}
