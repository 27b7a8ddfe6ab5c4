package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hawser/messages"
	"hawser/messages/placeholder"
)

// engine is one kind of mapper.
type engine struct {
	// new makes a mapper. An errUnloadable makes the definition one that cannot be used; any other error makes the
	// connection invalid, also when nobody uses the definition.
	new func(options, resources) (Mapper, error)
	// alias: the engine's name works in payloadMapping without a definition.
	alias bool
	// blocks: the default content-type-blocklist applies.
	blocks bool
}

// engines are those of contract runtime.md 8.1, by alias.
var engines = map[string]engine{
	engineDitto:                  {new: newDitto, alias: true, blocks: true},
	"RawMessage":                 {new: newRawMessage, alias: true, blocks: true},
	"UpdateTwinWithLiveResponse": {new: newUpdateTwin, alias: true, blocks: true},
	"Normalized":                 {new: newNormalized, alias: true},
	"CloudEvents":                {new: newCloudEvents, alias: true},
	"ConnectionStatus":           {new: newConnectionStatus},
	"ImplicitThingCreation":      {new: newImplicitThingCreation},
	engineJavaScript:             {new: newJavaScript},
}

const (
	engineDitto      = "Ditto"
	engineJavaScript = "JavaScript"
)

// defaultBlocklist are the content-types of Hono's notifications, which hold no payload for Ditto.
var defaultBlocklist = []string{
	"application/vnd.eclipse-hono-empty-notification",
	"application/vnd.eclipse-hono-device-provisioning-notification",
	"application/vnd.eclipse-hono-dc-notification+json",
	"application/vnd.eclipse-hono-delivery-failure-notification+json",
}

// errUnloadable says why a definition cannot be used.
type errUnloadable string

func (e errUnloadable) Error() string { return string(e) }

func unloadable(format string, args ...any) error { return errUnloadable(fmt.Sprintf(format, args...)) }

// resources are what a mapper may use.
type resources struct {
	limits Limits
	// members is how many messages the mapper may map at a time, where that needs state of its own for each.
	members int
}

// options are the options of a definition, each as its JSON text.
type options map[string]json.RawMessage

func parseOptions(raw json.RawMessage) (options, error) {
	var o options
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, unloadable("its options are no JSON object")
		}
	}
	return o, nil
}

// text returns an option as text: a string's content, the JSON text of another value; false when absent or null.
func (o options) text(name string) (string, bool) {
	raw, ok := o[name]
	if !ok || string(raw) == "null" {
		return "", false
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	return string(raw), true
}

// flag returns a boolean option, given as boolean or text.
func (o options) flag(name string, absent bool) bool {
	s, ok := o.text(name)
	if !ok {
		return absent
	}
	return strings.EqualFold(s, "true")
}

// template returns an option as a compiled template; false when absent.
func (o options) template(name string) (*placeholder.Template, bool, error) {
	s, ok := o.text(name)
	if !ok {
		return nil, false, nil
	}
	t, err := compileOption(name, s)
	return t, true, err
}

// templates returns an option that is an object of templates, names in lower case; nil when it is absent or empty.
func (o options) templates(name string) (map[string]*placeholder.Template, error) {
	raw, ok := o[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	var object options
	if json.Unmarshal(raw, &object) != nil {
		return nil, unloadable("its option %s is no JSON object", name)
	}
	var all map[string]*placeholder.Template
	for key := range object {
		s, ok := object.text(key)
		if !ok {
			continue
		}
		t, err := compileOption(name+"/"+key, s)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = map[string]*placeholder.Template{}
		}
		all[strings.ToLower(key)] = t
	}
	return all, nil
}

func compileOption(name, text string) (*placeholder.Template, error) {
	t, err := placeholder.Compile(text)
	if err != nil {
		return nil, unloadable("its option %s is not valid: %v", name, err)
	}
	return t, nil
}

// definition is one mapper ready for use, or the reason why it is not.
type definition struct {
	mapper    Mapper
	blocklist []string
	incoming  []condition
	outgoing  []condition
	// unusable says why a source or target must not use it; "" when it may.
	unusable string
}

// condition is one entry of incomingConditions or outgoingConditions. They are not validated before: a bad one fails each
// message with its error.
type condition struct {
	pipeline *placeholder.Pipeline
	err      error
}

func compileConditions(all map[string]string) []condition {
	var compiled []condition
	for _, text := range all {
		p, err := placeholder.CompilePipeline(text)
		compiled = append(compiled, condition{pipeline: p, err: err})
	}
	return compiled
}

var conditionInput = []string{"true"}

// holds reports whether every condition resolves to something, given "true" as input.
func holds(conditions []condition, v *Values) (bool, error) {
	for _, c := range conditions {
		if c.err != nil {
			return false, c.err
		}
		if _, outcome := c.pipeline.Resolve(v, conditionInput, true); outcome != placeholder.Resolved {
			return false, nil
		}
	}
	return true, nil
}

// load makes the definition of an id. The error makes the whole connection invalid.
func load(d messages.MappingDefinition, r resources) (*definition, error) {
	loaded := &definition{}
	e, ok := engines[d.Engine]
	if !ok {
		loaded.unusable = "the mapping engine " + d.Engine + " does not exist"
		return loaded, nil
	}
	o, err := parseOptions(d.Options)
	if err == nil {
		loaded.mapper, err = e.new(o, r)
	}
	var reason errUnloadable
	if errors.As(err, &reason) {
		loaded.unusable = string(reason)
		return loaded, nil
	}
	if err != nil {
		return nil, err
	}
	if e.blocks {
		loaded.blocklist = defaultBlocklist
	}
	if list, ok := o.text("content-type-blocklist"); ok {
		loaded.blocklist = splitList(list)
	}
	loaded.incoming = compileConditions(d.IncomingConditions)
	loaded.outgoing = compileConditions(d.OutgoingConditions)
	return loaded, nil
}

func splitList(list string) []string {
	var words []string
	for w := range strings.SplitSeq(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}
