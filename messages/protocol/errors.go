package protocol

import "hawser/messages"

// The codes of this package; all 400.
const (
	CodeJSONInvalid      = "json.invalid"
	CodeFieldMissing     = "json.field.missing"
	CodeUnknownTopicPath = "protocoladapter:unknown.topicpath"
	CodeUnknownPath      = "protocoladapter:unknown.path"
	CodeLabelInvalid     = "acknowledgement:label.invalid"
	CodeLabelForbidden   = "acknowledgement:ditto.acklabel.forbidden"
	CodeHeaderInvalid    = "header.invalid"
)

func invalidJSON(what string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeJSONInvalid,
		Message: "The envelope could not be read: " + what + ".", Description: "Send the envelope as a valid JSON object in UTF-8."}
}

func wrongType(member, want string) *messages.Error {
	return invalidJSON("member </" + member + "> is not " + want)
}

func missing(pointer string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeFieldMissing,
		Message: "JSON did not include required <" + pointer + "> field!", Description: "Check if all required JSON fields were set."}
}

func unknownTopic(topic, why string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeUnknownTopicPath,
		Message: "The topic <" + topic + "> is not known.", Description: why}
}

func unknownPath(path, why string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeUnknownPath,
		Message: "The path <" + path + "> is not known.", Description: why}
}
