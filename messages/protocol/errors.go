package protocol

import "hawser/messages"

// The codes that this package itself makes or that its callers ask for; all 400 but CodeHeadersTooLarge, 431.
const (
	CodeJSONInvalid      = "json.invalid"
	CodeFieldMissing     = "json.field.missing"
	CodeUnknownTopicPath = "protocoladapter:unknown.topicpath"
	CodeUnknownPath      = "protocoladapter:unknown.path"
	CodeLabelInvalid     = "acknowledgement:label.invalid"
	CodeLabelForbidden   = "acknowledgement:ditto.acklabel.forbidden"
	CodeHeaderInvalid    = "header.invalid"
	CodeHeadersTooLarge  = "headers.too.large"
)

func invalidJSON(what string) *messages.Error {
	return messages.NewJSONInvalid("The Ditto protocol message could not be read: " + what + ".")
}

func wrongType(member, want string) *messages.Error {
	return invalidJSON("member </" + member + "> is not " + want)
}

func unknownTopic(topic, why string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeUnknownTopicPath,
		Message: "The topic <" + topic + "> is not known.", Description: why}
}

func unknownPath(path, why string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeUnknownPath,
		Message: "The path <" + path + "> is not known.", Description: why}
}
