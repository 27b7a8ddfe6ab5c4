package devops

import (
	"encoding/json"

	"hawser/messages"
)

// envelope is the body of a piggyback request, cut into its members (contract piggyback.md 1.4).
type envelope struct {
	target            string
	headers           json.RawMessage // an object, nil when absent (decision D11)
	command           json.RawMessage // an object
	service, instance string          // "" when absent
}

// parseEnvelope checks a body in the order of piggyback.md 1.4. No error repeats what may be a secret (decision O6).
func parseEnvelope(text []byte) (envelope, *messages.Error) {
	switch {
	case len(text) == 0:
		return envelope{}, messages.NewJSONInvalid("The body of the request is empty.")
	case !messages.ValidJSON(text):
		return envelope{}, messages.NewJSONInvalid("The body of the request is no JSON.")
	}
	w := walk{text: text}
	if w.space(); text[w.at] != '{' {
		return envelope{}, messages.NewJSONFormatInvalid()
	}
	var target, service, instance json.RawMessage
	var e envelope
	members(text, func(name string, value json.RawMessage) {
		switch name {
		case "targetActorSelection":
			target = value
		case "headers":
			e.headers = value
		case "piggybackCommand":
			e.command = value
		case "serviceName":
			service = value
		case "instance":
			instance = value
		}
	})
	if absent(target) {
		return envelope{}, messages.NewFieldMissing("/targetActorSelection")
	}
	var err *messages.Error
	if e.target, err = textOf("/targetActorSelection", target); err != nil {
		return envelope{}, err
	}
	if absent(e.headers) {
		e.headers = nil
	} else if e.headers[0] != '{' {
		return envelope{}, messages.NewWrongType("/headers", shown(e.headers), "JsonObject")
	}
	if absent(e.command) {
		return envelope{}, messages.NewFieldMissing("/piggybackCommand")
	} else if e.command[0] != '{' {
		return envelope{}, messages.NewWrongType("/piggybackCommand", shown(e.command), "JsonObject")
	}
	if e.service, err = textOf("/serviceName", service); err != nil {
		return envelope{}, err
	}
	if e.instance, err = textOf("/instance", instance); err != nil {
		return envelope{}, err
	}
	return e, nil
}

func absent(value json.RawMessage) bool { return value == nil || value[0] == 'n' }

// textOf reads a text member, "" when it is absent.
func textOf(pointer string, value json.RawMessage) (string, *messages.Error) {
	switch {
	case absent(value):
		return "", nil
	case value[0] != '"':
		return "", messages.NewWrongType(pointer, shown(value), "String")
	}
	return unquote(value), nil
}

// shown is what an error may repeat of a value: short numbers and literals, nothing that can carry a secret.
func shown(value json.RawMessage) string {
	switch value[0] {
	case '"', '{', '[':
		return "*****"
	}
	return string(value[:min(len(value), 40)])
}
