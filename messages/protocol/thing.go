package protocol

import (
	"bytes"
	"encoding/json"
	"strings"

	"hawser/messages"
)

// at returns the values below raw at the given keys, appended to found. An array on the way stands for each of its
// elements; raw was scanned before.
func at(raw json.RawMessage, keys []string, found []json.RawMessage) []json.RawMessage {
	if len(raw) == 0 {
		return found
	}
	if len(keys) == 0 {
		return append(found, raw)
	}
	switch raw[0] {
	case '[':
		for e := elements(raw, 0, maxDepth); e.next(); {
			found = at(raw[e.from:e.to], keys, found)
		}
	case '{':
		var last json.RawMessage // of equal keys the last wins
		for m := members(raw, 0, maxDepth); m.next(); {
			if !m.keyEscaped && string(m.key) == keys[0] || m.keyEscaped && m.name() == keys[0] {
				last = raw[m.from:m.to]
			}
		}
		return at(last, keys[1:], found)
	}
	return found
}

// pointerKeys splits a JSON pointer into its keys; the leading slash may be missing.
func pointerKeys(pointer string) []string {
	pointer = strings.Trim(pointer, "/")
	if pointer == "" {
		return nil
	}
	keys := strings.Split(pointer, "/")
	if strings.Contains(pointer, "~") {
		for i, k := range keys {
			keys[i] = strings.ReplaceAll(strings.ReplaceAll(k, "~1", "/"), "~0", "~")
		}
	}
	return keys
}

// thingAt returns what the partial thing of an event, and extra behind it, holds at keys (contract runtime.md 6.5).
// Commands and messages imply an empty thing: only extra answers.
func (e *Envelope) thingAt(keys []string) []json.RawMessage {
	if e.Topic.Criterion == CriterionEvents && e.Topic.Group == GroupThings {
		if found := e.eventAt(keys); len(found) > 0 {
			return found
		}
	}
	return at(e.Extra, keys, nil)
}

func (e *Envelope) eventAt(keys []string) []json.RawMessage {
	if len(keys) == 1 {
		switch keys[0] {
		case "thingId":
			return []json.RawMessage{messages.AppendJSONString(nil, e.Topic.EntityID())}
		case "_namespace":
			return []json.RawMessage{messages.AppendJSONString(nil, e.Topic.Namespace)}
		case "_revision":
			if e.HasRevision {
				return []json.RawMessage{json.RawMessage(itoa(e.Revision))}
			}
		case "_modified":
			if e.Timestamp != "" {
				return []json.RawMessage{messages.AppendJSONString(nil, e.Timestamp)}
			}
		}
	}
	if e.Value == nil {
		return nil
	}
	path := pointerKeys(e.Path)
	for i, key := range path {
		if i == len(keys) { // the field lies above the changed resource: build the object between
			return []json.RawMessage{wrap(path[i:], e.Value)}
		}
		if keys[i] != key {
			return nil
		}
	}
	return at(e.Value, keys[len(path):], nil)
}

// wrap nests value into objects, one for each key.
func wrap(keys []string, value json.RawMessage) json.RawMessage {
	var b []byte
	for _, k := range keys {
		b = append(messages.AppendJSONString(append(b, '{'), k), ':')
	}
	b = append(b, value...)
	return append(b, bytes.Repeat([]byte{'}'}, len(keys))...)
}

// decode turns a scanned JSON text into what RQL compares: string, bool, nil, json.Number, []any, map[string]any.
func decode(raw json.RawMessage) any {
	switch raw[0] {
	case '"':
		s, _ := text(raw)
		return s
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	case '{', '[':
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			return nil
		}
		return v
	}
	return json.Number(raw)
}

// featureIDs are the ids of the features that the signal affects (placeholder feature:id).
func (e *Envelope) featureIDs() []string {
	if e.Topic.Group != GroupThings {
		return nil
	}
	keys := pointerKeys(e.Path)
	if len(keys) >= 2 && keys[0] == "features" {
		return keys[1:2]
	}
	if e.Value == nil || e.Topic.Criterion == CriterionMessages {
		return nil
	}
	var features []json.RawMessage
	switch {
	case len(keys) == 0:
		features = at(e.Value, []string{"features"}, nil)
	case len(keys) == 1 && keys[0] == "features":
		features = []json.RawMessage{e.Value}
	}
	var ids []string
	for _, f := range features {
		if f[0] != '{' {
			continue
		}
		for m := members(f, 0, maxDepth); m.next(); {
			if v := f[m.from]; v != '{' && v != 'n' {
				return nil // no features at all
			}
			ids = append(ids, m.name())
		}
	}
	return ids
}
