package signals

import (
	"fmt"
	"time"

	"hawser/messages"
)

// The errors of the data plane; codes and statuses are contract (runtime.md), texts are ours.

func newUnresolved(expression string) *messages.Error {
	return &messages.Error{
		Status: 400, Code: "placeholder:unresolved",
		Message:     fmt.Sprintf("The expression '%s' has no value for this message.", expression),
		Description: "Check that the message carries what the expression reads.",
	}
}

func newNoSubject() *messages.Error {
	return &messages.Error{
		Status: 400, Code: "placeholder:unresolved",
		Message:     "The source has no authorization subject for this message.",
		Description: "Check the authorization context of the source.",
	}
}

func newEnforcementFailed(connectionID, value string) *messages.Error {
	return &messages.Error{
		Status: 400, Code: "connectivity:connection.id.enforcement.failed",
		Message:     fmt.Sprintf("The connection '%s' does not allow this signal: its entity does not match the value '%s' of the message.", connectionID, value),
		Description: "Check the enforcement of the source and the ID in the signal.",
	}
}

func newThingNotFound(id string) *messages.Error {
	return &messages.Error{
		Status: 404, Code: "things:thing.notfound",
		Message:     fmt.Sprintf("The thing '%s' was not found or may not be accessed.", id),
		Description: "This service relays live signals; it stores no things and evaluates no conditions on them.",
	}
}

func newThingNotCreatable(id string) *messages.Error {
	return &messages.Error{
		Status: 400, Code: "things:thing.notcreatable",
		Message:     fmt.Sprintf("The thing '%s' cannot be created.", id),
		Description: "This service relays live signals; it stores no things.",
	}
}

func newPolicyNotFound(id string) *messages.Error {
	return &messages.Error{
		Status: 404, Code: "policies:policy.notfound",
		Message:     fmt.Sprintf("The policy '%s' was not found or may not be accessed.", id),
		Description: "This service stores no policies.",
	}
}

func newUnsupported(topic string) *messages.Error {
	return &messages.Error{
		Status: 400, Code: "signal.unsupported",
		Message:     fmt.Sprintf("Signals with the topic '%s' are not supported.", topic),
		Description: "This service relays live signals.",
	}
}

func newMessageNotAllowed(id string) *messages.Error {
	return &messages.Error{
		Status: 403, Code: "messages:send.notallowed",
		Message:     fmt.Sprintf("The sender may not send messages to or from the thing '%s'.", id),
		Description: "Check the grants of the namespace.",
	}
}

func newEventNotAllowed(id string) *messages.Error {
	return &messages.Error{
		Status: 403, Code: "things:event.notallowed",
		Message:     fmt.Sprintf("The sender may not send events of the thing '%s'.", id),
		Description: "Check the grants of the namespace.",
	}
}

func newCommandTimeout(after time.Duration, unsuitable bool) *messages.Error {
	e := &messages.Error{
		Status: 408, Code: "command.timeout",
		Message:     fmt.Sprintf("Nobody answered within %d ms.", after.Milliseconds()),
		Description: "Check that a receiver is connected and authorized, or allow more time with the header 'timeout'.",
	}
	if unsuitable {
		e.Description = "A response came that does not suit the command: check type, entity, feature and path of the response."
	}
	return e
}

func newAckTimeout(label string, after time.Duration) *messages.Error {
	return &messages.Error{
		Status: 408, Code: "acknowledgement:request.timeout",
		Message:     fmt.Sprintf("The acknowledgement '%s' did not come within %d ms.", label, after.Milliseconds()),
		Description: "Check that somebody issues it, or allow more time with the header 'timeout'.",
	}
}

func newLabelNotDeclared(label string) *messages.Error {
	return &messages.Error{
		Status: 400, Code: "acknowledgement:label.not.declared",
		Message:     fmt.Sprintf("The source does not declare the acknowledgement label '%s'.", label),
		Description: "Add the label to 'declaredAcks' of the source.",
	}
}
