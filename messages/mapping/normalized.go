package mapping

import (
	"fmt"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/messages/protocol"
)

// normalized turns events of things into sparse JSON of the thing (contract runtime.md 8.3); all else is dropped.
type normalized struct {
	fields         *messages.FieldSelector // nil: everything
	includeDeleted bool
}

func newNormalized(o options, _ resources) (Mapper, error) {
	n := &normalized{includeDeleted: o.flag("includeDeletedFields", false)}
	if text, ok := o.text("fields"); ok {
		var err error
		if n.fields, err = messages.ParseFieldSelector(text); err != nil {
			return nil, fmt.Errorf("its option fields is not valid: %w", err)
		}
	}
	return n, nil
}

func (*normalized) Inbound(Context, *External) ([]*protocol.Envelope, error) { return nil, nil }

func (n *normalized) Outbound(_ Context, e *protocol.Envelope) ([]*External, error) {
	if e.Topic.Group != protocol.GroupThings || e.Topic.Criterion != protocol.CriterionEvents {
		return nil, nil
	}
	path := keys(e.Path)
	deleted := e.Topic.Action == protocol.ActionDeleted
	switch e.Topic.Action {
	case protocol.ActionCreated, protocol.ActionModified, protocol.ActionMerged:
	case protocol.ActionDeleted:
		if len(path) > 0 && !n.includeDeleted {
			return nil, nil
		}
	default:
		return nil, nil
	}

	result := object{"thingId": e.Topic.EntityID()}
	var value any
	if e.Value != nil {
		var err error
		if value, err = decode(e.Value); err != nil {
			return nil, err
		}
		if err := place(result, path, value); err != nil {
			return nil, err
		}
	}
	if e.Timestamp != "" {
		result["_modified"] = e.Timestamp
		if deleted && len(path) == 0 {
			result["_deleted"] = e.Timestamp
		}
	}
	if e.HasRevision {
		result["_revision"] = e.Revision
	}
	if n.includeDeleted && e.Timestamp != "" {
		gone := object{}
		switch {
		case deleted && len(path) > 0:
			put(gone, path, e.Timestamp)
		case e.Topic.Action == protocol.ActionMerged && e.Value != nil:
			nulls(gone, path, value, e.Timestamp)
		}
		if len(gone) > 0 {
			result["_deletedFields"] = gone
		}
	}
	// The context gets a value of its own: merging extra must not reach into it.
	context, err := contextOf(e)
	if err != nil {
		return nil, err
	}
	result["_context"] = context
	if e.Extra != nil {
		extra, err := decode(e.Extra)
		if err != nil {
			return nil, err
		}
		if more, ok := extra.(object); ok {
			merge(result, more)
		}
	}
	return n.write(e, result)
}

func (n *normalized) write(e *protocol.Envelope, result object) ([]*External, error) {
	if n.fields != nil {
		text, err := marshal(result)
		if err != nil {
			return nil, err
		}
		selected, err := n.fields.Select([]byte(text))
		if err != nil {
			return nil, err
		}
		v, err := decode(selected)
		if err != nil {
			return nil, err
		}
		result = v.(object)
	}
	if e.Topic.Action == protocol.ActionMerged {
		result = prune(result)
	}
	text, err := marshal(result)
	if err != nil {
		return nil, err
	}
	return []*External{{Headers: messages.Headers{messages.HeaderContentType: messages.ContentTypeJSON}, Text: text, HasText: true}}, nil
}

// place sets the changed value at its path.
func place(result object, path []string, value any) error {
	if len(path) > 0 {
		put(result, path, value)
		return nil
	}
	thing, ok := value.(object)
	if !ok {
		return fmt.Errorf("the value of an event of a whole thing is no object")
	}
	for k, v := range thing {
		result[k] = v
	}
	return nil
}

// nulls notes the time at every place where a merge patch holds null. Keys of the form {{ ~…~ }} delete by pattern and
// name no field.
func nulls(gone object, path []string, value any, at string) {
	switch v := value.(type) {
	case nil:
		if len(path) > 0 {
			put(gone, path, at)
		}
	case object:
		for k, inner := range v {
			if strings.HasPrefix(k, "{{") && strings.HasSuffix(k, "}}") && strings.ContainsAny(k, "~/") {
				continue
			}
			nulls(gone, append(path[:len(path):len(path)], k), inner, at)
		}
	}
}

// contextOf is the member _context: the envelope without revision, timestamp and extra, header values as texts.
func contextOf(e *protocol.Envelope) (object, error) {
	headers := object{}
	for name, value := range e.Headers {
		if protocol.MayLeave(name) {
			headers[name] = value
		}
	}
	if _, ok := headers["entity-revision"]; !ok && e.HasRevision {
		headers["entity-revision"] = strconv.FormatInt(e.Revision, 10)
	}
	context := object{"topic": e.Topic.String(), "path": e.Path, "value": nil, "headers": headers}
	if e.Value != nil {
		value, err := decode(e.Value)
		if err != nil {
			return nil, err
		}
		context["value"] = value
	}
	if e.Fields != "" {
		context["fields"] = e.Fields
	}
	return context, nil
}
