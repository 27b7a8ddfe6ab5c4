package mapping

import (
	"encoding/json"
	"maps"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// implicitThingCreation creates the thing of a device from a template (contract runtime.md 8.6).
type implicitThingCreation struct {
	thing        any // the template: JSON whose strings with expressions are *placeholder.Template
	headers      map[string]*placeholder.Template
	allowLockout string
}

func newImplicitThingCreation(o options, _ resources) (Mapper, error) {
	text, ok := o.text("thing") // an object, or its text
	if !ok {
		return nil, unloadable("its option thing is missing")
	}
	thing, err := decode([]byte(text))
	template, isObject := thing.(object)
	if err != nil || !isObject {
		return nil, unloadable("its option thing is no JSON object")
	}
	id, ok := template["thingId"].(string)
	if !ok {
		return nil, unloadable("its option thing has no thingId")
	}
	idTemplate, err := compileOption("thing/thingId", id)
	if err != nil {
		return nil, err
	}
	if id, constant := idTemplate.Constant(); constant && protocol.TopicOfEntity(id) == nil {
		return nil, unloadable("the thingId of its option thing is no thing id")
	}
	i := &implicitThingCreation{headers: map[string]*placeholder.Template{}, allowLockout: "false"}
	if o.flag("allowPolicyLockout", true) {
		i.allowLockout = "true"
	}
	if i.thing, err = compileTree(template); err != nil {
		return nil, err
	}
	if i.headers[messages.HeaderIfNoneMatch], err = compileOption("commandHeaders", "*"); err != nil {
		return nil, err
	}
	configured, err := o.templates("commandHeaders")
	maps.Copy(i.headers, configured)
	return i, err
}

// compileTree compiles the strings of a JSON value, so that resolved values cannot break out of their strings.
func compileTree(v any) (any, error) {
	switch v := v.(type) {
	case string:
		t, err := compileOption("thing", v)
		if err != nil {
			return nil, err
		}
		if _, constant := t.Constant(); constant {
			return v, nil
		}
		return t, nil
	case []any:
		for i, el := range v {
			compiled, err := compileTree(el)
			if err != nil {
				return nil, err
			}
			v[i] = compiled
		}
	case object:
		for k, el := range v {
			compiled, err := compileTree(el)
			if err != nil {
				return nil, err
			}
			v[k] = compiled
		}
	}
	return v, nil
}

// resolveTree returns a copy with every template resolved; the error is placeholder:unresolved.
func resolveTree(v any, s placeholder.Source) (any, error) {
	switch v := v.(type) {
	case *placeholder.Template:
		text, ok := v.Resolve(s)
		if !ok {
			return nil, placeholder.NewUnresolved(v.String())
		}
		return text, nil
	case []any:
		resolved := make([]any, len(v))
		for i, el := range v {
			var err error
			if resolved[i], err = resolveTree(el, s); err != nil {
				return nil, err
			}
		}
		return resolved, nil
	case object:
		resolved := make(object, len(v))
		for k, el := range v {
			var err error
			if resolved[k], err = resolveTree(el, s); err != nil {
				return nil, err
			}
		}
		return resolved, nil
	}
	return v, nil
}

func (i *implicitThingCreation) Inbound(ctx Context, m *External) ([]*protocol.Envelope, error) {
	v := &Values{Headers: m.Headers, Subjects: ctx.Subjects, Now: ctx.Now}
	resolved, err := resolveTree(i.thing, v)
	if err != nil {
		return nil, err
	}
	id, _ := resolved.(object)["thingId"].(string)
	topic := protocol.TopicOfEntity(id)
	if topic == nil {
		return nil, m.failed("The thingId of the template resolves to no thing id.")
	}
	topic.Criterion, topic.Action = protocol.CriterionCommands, protocol.ActionCreate
	text, err := marshal(resolved)
	if err != nil {
		return nil, err
	}
	h := messages.Headers{messages.HeaderContentType: messages.ContentTypeJSON}
	for name, t := range i.headers {
		if value, ok := t.Resolve(v); ok {
			h[name] = value
		}
	}
	h["allow-policy-lockout"] = i.allowLockout
	return []*protocol.Envelope{{Topic: *topic, Headers: h, Path: "/", Value: json.RawMessage(text)}}, nil
}

// Outbound raises error responses, so that a creation that failed becomes visible; all else is dropped.
func (i *implicitThingCreation) Outbound(_ Context, e *protocol.Envelope) ([]*External, error) {
	if e.Topic.Criterion != protocol.CriterionErrors {
		return nil, nil
	}
	if err, ok := e.ParseError(); ok {
		return nil, err
	}
	return nil, nil
}
