package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Error is a Ditto error, shape E1 of contract piggyback.md 1.8:
// {"status":404,"error":"connectivity:connection.notfound","message":…,"description":…}.
// Status is the command's own HTTP-like status, Code the exact error code. Members appends further members
// (invalidHeaderKey). It never carries a secret (decision O6).
type Error struct {
	Status      int
	Code        string
	Message     string
	Description string
	Href        string
	Members     map[string]any
}

// Error implements error.
func (e *Error) Error() string {
	if e.Description == "" {
		return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message)
	}
	return fmt.Sprintf("%s (%d): %s %s", e.Code, e.Status, e.Message, e.Description)
}

// Is reports whether target is an *Error of the same code, so that errors.Is compares codes, not texts.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// About returns the error with the place it is about in its description: a JSON pointer, or the key of a query parameter.
// Of an error that has a place already, that lies below the new one.
func (e *Error) About(place string) *Error {
	const about = "It is about <"
	c := *e
	if head, tail, found := strings.Cut(c.Description, about); found {
		c.Description = head + about + place + tail
		return &c
	}
	if c.Description != "" {
		c.Description += " "
	}
	c.Description += about + place + ">."
	return &c
}

// MarshalJSON renders shape E1; null members are omitted.
func (e *Error) MarshalJSON() ([]byte, error) { return e.render() }

// render is MarshalJSON; angle brackets stay as they are, for people to read, unless encoding/json escapes them on its way.
func (e *Error) render() ([]byte, error) {
	m := make(map[string]any, 5+len(e.Members))
	maps.Copy(m, e.Members)
	m["status"], m["error"], m["message"] = e.Status, e.Code, e.Message
	if e.Description != "" {
		m["description"] = e.Description
	}
	if e.Href != "" {
		m["href"] = e.Href
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(m)
	return bytes.TrimRight(text.Bytes(), "\n"), err
}

// Error codes that are compared or used in more than one place. The texts beside them are ours, the values named in them
// are contract (piggyback.md 1.3, 1.8, 7; connection-model.md 14).
const (
	CodeConfigurationInvalid = "connectivity:connection.configuration.invalid"
	CodeURIInvalid           = "connectivity:connection.uri.invalid"
	CodeConnectionFailed     = "connectivity:connection.failed"
	CodeJSONInvalid          = "json.invalid"
	CodeFieldMissing         = "json.field.missing"
)

// NewNotParsable: unknown or absent command type (""), or one that the target does not take (decision D6).
func NewNotParsable(commandType string) *Error {
	if commandType == "" {
		commandType = "null"
	}
	return &Error{
		Status: 400, Code: "json.type.notparsable",
		Message:     fmt.Sprintf("The piggyback command of type <%s> is not executed here: no command of that type is known to the target.", commandType),
		Description: "Check the type of the command and the target actor selection.",
	}
}

// NewConnectionNotFound: never created, or deleted.
func NewConnectionNotFound(id string) *Error {
	return &Error{
		Status: 404, Code: "connectivity:connection.notfound",
		Message:     fmt.Sprintf("There is no connection with ID '%s'.", id),
		Description: "Check the ID of the connection.",
	}
}

// NewConnectionConflict: create of an id that exists.
func NewConnectionConflict(id string) *Error {
	return &Error{
		Status: 409, Code: "connectivity:connection.conflict",
		Message:     fmt.Sprintf("A connection with ID '%s' exists already.", id),
		Description: "Modify it, or delete it first.",
	}
}

// NewConnectionUnavailable: the entity cannot answer now, or its journal write failed (decision D17).
func NewConnectionUnavailable(id string) *Error {
	return &Error{
		Status: 503, Code: "connectivity:connection.unavailable",
		Message:     fmt.Sprintf("The connection with ID '%s' is not available now.", id),
		Description: "Try again later.",
	}
}

// NewConnectionTimeout: the clients of a connection did not answer a command in time.
func NewConnectionTimeout(id, commandType string) *Error {
	return &Error{
		Status: 503, Code: "connectivity:connection.timeout",
		Message:     fmt.Sprintf("The command '%s' on connection '%s' timed out.", commandType, id),
		Description: "No client of the connection answered in time.",
	}
}

// NewConnectionFailed: the endpoint could not be reached or refused; description names the cause, "" for none.
func NewConnectionFailed(id, description string) *Error {
	if description == "" {
		description = "The driver reported an internal failure."
	}
	return &Error{
		Status: 504, Code: CodeConnectionFailed,
		Message:     fmt.Sprintf("The connection with ID '%s' failed to connect.", id),
		Description: description,
	}
}

// NewConnectionUnauthorized: the endpoint refused the credentials; reason is the driver's and holds no secret.
func NewConnectionUnauthorized(id, reason string) *Error {
	return &Error{
		Status: 401, Code: "connectivity:connection.unauthorized",
		Message:     fmt.Sprintf("The connection with ID <%s> could not authenticate. The driver reported: %s", id, reason),
		Description: "Check the credentials of the connection.",
	}
}

// NewTypeUnchangeable: modify to another type without sudo (V34).
func NewTypeUnchangeable(id string, wanted ConnectionType) *Error {
	return NewConfigurationInvalid(
		fmt.Sprintf("The type of the existing connection <%s> cannot be changed to <%s>.", id, wanted),
		"Send the command with the header 'ditto-sudo', or delete the connection and create it anew.")
}

// NewConfigurationInvalid: the connection breaks a rule of connection-model.md 14; description "" takes the general one.
func NewConfigurationInvalid(message, description string) *Error {
	if description == "" {
		description = "Check that all required properties of the connection are set and valid."
	}
	return &Error{Status: 400, Code: CodeConfigurationInvalid, Message: shortenTo(message, 4096), Description: description}
}

// NewURIInvalid: the connection URI does not parse; the text carries it with the password masked.
func NewURIInvalid(text string) *Error {
	return &Error{
		Status: 400, Code: CodeURIInvalid,
		Message:     fmt.Sprintf("The connection URI '%s' is not valid.", MaskURI(text)),
		Description: "The form is {protocol}://{username}:{password}@{hostname}:{port}/{path}; the port is required, a query is not allowed.",
	}
}

// NewSchemeInvalid: the scheme of the URI is not one of accepted (V16, V17).
func NewSchemeInvalid(message string, accepted []string) *Error {
	return &Error{
		Status: 400, Code: CodeURIInvalid, Message: message,
		Description: "Accepted URI schemes are: " + strings.Join(accepted, ", ") + ".",
	}
}

// idPattern is what NewIDInvalid tells; ValidID is the check.
const idPattern = "[a-zA-Z0-9-_:]{1,100}"

// NewIDInvalid: a connection id that does not match the pattern.
func NewIDInvalid(id string) *Error {
	return &Error{
		Status: 400, Code: "connectivity:connection.id.invalid",
		Message:     fmt.Sprintf("The connection ID '%s' is not valid.", shorten(id)),
		Description: "It has to match the regular expression <" + idPattern + ">.",
	}
}

// NewIDNotSettable: a connection of the REST API carries an id of its own, or another one than its path; pathID "" where
// there is none.
func NewIDNotSettable(pathID string) *Error {
	e := &Error{
		Status: 400, Code: "connectivity:id.notsettable",
		Message:     "The connection must not bring an ID of its own in the member </id>.",
		Description: "Leave the member out, the ID is generated.",
	}
	if pathID != "" {
		e.Message = fmt.Sprintf("The member </id> of the connection is not the ID '%s' of its path.", pathID)
		e.Description = "Leave the member out, or repeat the ID of the path."
	}
	return e
}

// commandName is what NewCommandInvalid may repeat: anything else may be a connection with its secrets.
var commandName = regexp.MustCompile(`^[\s"a-zA-Z0-9.:_-]{0,100}$`)

// NewCommandInvalid: POST /api/2/connections/{id}/command with another body than one of known.
func NewCommandInvalid(body string, known []string) *Error {
	if !commandName.MatchString(body) {
		body = masked
	}
	return &Error{
		Status: 400, Code: "connectivity:command.invalid",
		Message:     fmt.Sprintf("The body <%s> is not a command.", body),
		Description: "The body has to be exactly one of: " + strings.Join(known, ", ") + ".",
	}
}

// NewAmountIllegal: more connections than may be listed in full.
func NewAmountIllegal(limit int) *Error {
	return &Error{
		Status: 400, Code: "connectivity:connections.amount.illegal",
		Message:     fmt.Sprintf("There are more connections than the limit of '%d' that can be retrieved at once.", limit),
		Description: "Retrieve their IDs with the query parameter 'ids-only=true' and then those that are wanted.",
	}
}

// NewMediaTypeUnsupported: a request body of a kind that the route does not read; sent "" for no Content-Type.
func NewMediaTypeUnsupported(sent string, accepted []string) *Error {
	if sent == "" {
		sent = "none"
	}
	return &Error{
		Status: 415, Code: "mediatype.unsupported",
		Message:     fmt.Sprintf("The media type '%s' of the header 'content-type' is not supported here.", shorten(sent)),
		Description: "Allowed are: " + strings.Join(accepted, ", ") + ".",
	}
}

// NewVersionNotSupported: a version of the API other than 2.
func NewVersionNotSupported(version string) *Error {
	return &Error{
		Status: 404, Code: "api.version.notsupported",
		Message:     fmt.Sprintf("The API version '%s' is not supported.", shorten(version)),
		Description: "The version is 2.",
	}
}

// NewDuplicateHeader: a header that is there twice, or once as a header and once, different, as a query parameter.
func NewDuplicateHeader(name string) *Error {
	return &Error{
		Status: 400, Code: "gateway:duplicate.header.field",
		Message:     fmt.Sprintf("The header '%s' was given more than once.", shorten(name)),
		Description: "Give it once, as a request header or as a query parameter.",
	}
}

// NewSignalIllegal: the command does not fit the state of the clients.
func NewSignalIllegal(id, commandType, state string) *Error {
	e := &Error{
		Status: 409, Code: "connectivity:signal.illegal",
		Message:     fmt.Sprintf("The command '%s' is illegal for the %s connection with ID '%s'.", commandType, state, id),
		Description: "Try again later.",
	}
	if state == "connecting" {
		e.Message = fmt.Sprintf("The connection with ID '%s' is connecting.", id)
	}
	return e
}

// NewHistoryNotFoundAtRevision: at-historical-revision names a revision that is not there.
func NewHistoryNotFoundAtRevision(id string, revision int64) *Error {
	return newHistoryNotFound(id, "revision", strconv.FormatInt(revision, 10))
}

// NewHistoryNotFoundAtTimestamp: at-historical-timestamp names an instant of which nothing is known.
func NewHistoryNotFoundAtTimestamp(id, timestamp string) *Error {
	return newHistoryNotFound(id, "timestamp", timestamp)
}

// NewHistoryUnsupported: past states are switched off.
func NewHistoryUnsupported(header string) *Error {
	return &Error{
		Status: 400, Code: "signal.unsupported",
		Message:     fmt.Sprintf("Commands with the header '%s' are not supported here.", header),
		Description: "The access to past states is switched off (devops.feature.historical-apis-enabled).",
	}
}

func newHistoryNotFound(id, what, value string) *Error {
	return &Error{
		Status: 404, Code: "connectivity:connection.history.notfound",
		Message:     fmt.Sprintf("There is no connection with ID '%s' at %s '%s'.", id, what, shorten(value)),
		Description: "Check the ID, and that the " + what + " is neither in the future nor older than the kept history.",
	}
}

// NewPreconditionFailed: if-match, if-none-match or if-equal refused the command; tag is the entity's, "" when there is none.
func NewPreconditionFailed(header, value, tag string) *Error {
	return &Error{
		Status: 412, Code: "connectivity:precondition.failed",
		Message: fmt.Sprintf("The precondition header '%s' with value '%s' does not hold for the connection, whose entity tag is '%s'.",
			header, shorten(value), tag),
		Description: "Retrieve the connection for its present entity tag.",
	}
}

// NewPreconditionNotModified: if-none-match holds the present tag of what is read.
func NewPreconditionNotModified(value, tag string) *Error {
	return &Error{
		Status: 304, Code: "connectivity:precondition.notmodified",
		Message: fmt.Sprintf("The precondition header 'if-none-match' with value '%s' holds the present entity tag '%s' of the connection.",
			shorten(value), tag),
		Description: "The connection has not changed since.",
	}
}

// NewInternalError: something that is our fault.
func NewInternalError() *Error {
	return &Error{
		Status: 500, Code: "connectivity:internalerror",
		Message:     "There was an unexpected internal error.",
		Description: "The log of the service tells more.",
	}
}

// NewEnforcementTimeout: a command that came in line was not done within the local ask timeout (piggyback.md 2.2).
func NewEnforcementTimeout(after time.Duration) *Error {
	return &Error{
		Status: 503, Code: "enforcement.timeout",
		Message:     fmt.Sprintf("The command was not done within %s.", millis(after)),
		Description: "It goes on; retrieve the status of the connection, or try again.",
	}
}

// NewTargetNotFound: no such selection; existing lists those that are (decision D4).
func NewTargetNotFound(target string, existing []string) *Error {
	existing = slices.Sorted(slices.Values(existing))
	return &Error{
		Status: 404, Code: "devops:target.notfound",
		Message:     fmt.Sprintf("There is no target actor selection '%s'.", shorten(target)),
		Description: "The selections are: " + strings.Join(existing, ", ") + ".",
	}
}

// NewServiceNotFound: the path or the envelope names another service than ours (decision D5).
func NewServiceNotFound(service string) *Error {
	return &Error{
		Status: 404, Code: "devops:service.notfound",
		Message:     fmt.Sprintf("There is no service '%s'.", shorten(service)),
		Description: "The service is 'connectivity'.",
	}
}

// NewInstanceNotFound: no live member has that instance id (decision D5).
func NewInstanceNotFound(instance string) *Error {
	return &Error{
		Status: 404, Code: "devops:instance.notfound",
		Message:     fmt.Sprintf("There is no instance '%s'.", shorten(instance)),
		Description: "Leave the instance out to reach whichever is there.",
	}
}

// NewAuthenticationFailed: a request without a good token, where tokens are asked for (http-api.md 2).
func NewAuthenticationFailed(why string) *Error {
	return &Error{
		Status: 401, Code: "gateway:authentication.failed",
		Message:     "The request could not be authenticated.",
		Description: why,
	}
}

// NewServiceUnavailable: the node holds no lease (decision D18).
func NewServiceUnavailable() *Error {
	return &Error{
		Status: 503, Code: "gateway:service.unavailable",
		Message:     "The service cannot execute commands now.",
		Description: "Try again later.",
	}
}

// NewCommandTimeout: no answer before the gateway gave up.
func NewCommandTimeout(after time.Duration) *Error {
	return &Error{
		Status: 408, Code: "command.timeout",
		Message:     fmt.Sprintf("The command reached the timeout of %s.", millis(after)),
		Description: "Try again, or send the command with a larger timeout.",
	}
}

// NewAskError: the target did not answer within the ask timeout.
func NewAskError(target string, after time.Duration) *Error {
	return &Error{
		Status: 503, Code: "ask.error",
		Message:     fmt.Sprintf("Asking [%s] timed out after [%d ms].", target, after.Milliseconds()),
		Description: "Try again, or send the command with a larger timeout.",
	}
}

// NewAskFailed: the target failed in a way that only the log tells.
func NewAskFailed(target string) *Error {
	return &Error{Status: 503, Code: "ask.error", Message: fmt.Sprintf("Asking [%s] failed.", target), Description: "Try again."}
}

// NewTimeoutInvalid: a timeout that is no duration (piggyback.md 1.3).
func NewTimeoutInvalid(text string) *Error {
	return &Error{
		Status: 400, Code: "timeout.invalid",
		Message:     fmt.Sprintf("The timeout '%s' is not valid.", shorten(text)),
		Description: "It is a number with one of the units ms, s, m, h, d, w, mo, y; without a unit it is seconds.",
	}
}

// NewTimeoutOutOfBounds: a timeout above the maximum of the gateway.
func NewTimeoutOutOfBounds(timeout, maximum time.Duration) *Error {
	return &Error{
		Status: 400, Code: "gateway:timeout.invalid",
		Message:     fmt.Sprintf("The timeout <%s> is not within <0ms - %s>.", millis(timeout), millis(maximum)),
		Description: "Choose a timeout within these bounds.",
	}
}

// NewTimeoutZero: timeout 0 on a command that is to be answered.
func NewTimeoutZero() *Error {
	return &Error{
		Status: 400, Code: "header.invalid",
		Message:     "The header 'timeout' must not be zero while a response is required.",
		Description: "Choose a larger timeout.",
		Members:     map[string]any{"invalidHeaderKey": HeaderTimeout},
	}
}

// NewHeaderInvalid: a known header has a value that it cannot have.
func NewHeaderInvalid(header, value string) *Error {
	return &Error{
		Status: 400, Code: "header.invalid",
		Message:     fmt.Sprintf("The value '%s' of the header '%s' is not valid.", shorten(value), header),
		Description: "Check the value of the header.",
		Members:     map[string]any{"invalidHeaderKey": header},
	}
}

// NewCommandHeadersInvalid: a query that wants no answer.
func NewCommandHeadersInvalid() *Error {
	return &Error{
		Status: 400, Code: "command.headers.invalid",
		Message:     "Query commands must not have the header 'response-required' set to 'false'.",
		Description: "Leave the header out.",
	}
}

// NewFieldMissing: a required member is absent; pointer is relative to its own object and starts with a slash.
func NewFieldMissing(pointer string) *Error {
	return &Error{
		Status: 400, Code: CodeFieldMissing,
		Message:     fmt.Sprintf("The required member <%s> is missing.", pointer),
		Description: "Check that all required members are set.",
	}
}

// NewJSONInvalid: JSON that does not parse or holds what it must not; message names the place and repeats no secret.
func NewJSONInvalid(message string) *Error {
	return &Error{
		Status: 400, Code: CodeJSONInvalid, Message: message,
		Description: "Check that the JSON is well-formed and has the required form.",
	}
}

// NewWrongType: a member has the wrong JSON type; value is its text, masked where it may be a secret.
func NewWrongType(pointer, value, wanted string) *Error {
	return NewJSONInvalid(fmt.Sprintf("The value <%s> of <%s> is not of type <%s>.", value, pointer, wanted))
}

// NewJSONFormatInvalid: JSON where an object was expected.
func NewJSONFormatInvalid() *Error {
	return &Error{Status: 400, Code: "json.format.invalid", Message: "The JSON value is not an object."}
}

// NewFieldSelectorInvalid: a field selector that does not parse.
func NewFieldSelectorInvalid(text string) *Error {
	return &Error{
		Status: 400, Code: "json.fieldselector.invalid",
		Message:     fmt.Sprintf("The field selector '%s' is not valid.", shorten(text)),
		Description: "It is a comma-separated list of pointers; parentheses group members of an object and have to be balanced.",
	}
}

// NewTopicInvalid: a target topic of an unknown name (B7).
func NewTopicInvalid(topic string) *Error {
	return &Error{
		Status: 400, Code: "connectivity:topic.invalid",
		Message:     fmt.Sprintf("The topic '%s' could not be parsed.", shortenTo(topic, 4096)),
		Description: "The topics are: " + strings.Join(topicNames(), ", ") + ".",
	}
}

// NewFieldSelectionInvalid: extraFields with a member that things do not have (B8).
func NewFieldSelectionInvalid(selection string) *Error {
	return &Error{
		Status: 400, Code: "things:field.selection.invalid",
		Message:     fmt.Sprintf("The field selection '%s' is not valid.", shorten(selection)),
		Description: "Fields are: thingId, policyId, definition, _namespace, _revision, _created, _modified, _policy, _context, _metadata, attributes, features.",
	}
}

// NewLabelInvalid: an acknowledgement label of wrong syntax (B5) or without the connection's prefix (V07).
func NewLabelInvalid(label, description string) *Error {
	if description == "" {
		description = "It has to match the regular expression <" + labelPattern + ">."
	}
	return &Error{
		Status: 400, Code: "acknowledgement:label.invalid",
		Message:     fmt.Sprintf("The acknowledgement label '%s' is not valid.", shorten(label)),
		Description: description,
	}
}

// NewLabelNotUnique: two targets issue the same acknowledgement (V08).
func NewLabelNotUnique(label string) *Error {
	return &Error{
		Status: 409, Code: "acknowledgement:label.not.unique",
		Message:     fmt.Sprintf("The acknowledgement label '%s' is issued by more than one target.", shorten(label)),
		Description: "Give each target a label of its own.",
	}
}

// NewAcknowledgementRequestInvalid: a label in acknowledgementRequests.includes of wrong syntax (B6).
func NewAcknowledgementRequestInvalid(label string) *Error {
	return &Error{
		Status: 422, Code: "acknowledgement:request.parsing.failed",
		Message:     fmt.Sprintf("The acknowledgement request '%s' could not be parsed.", shorten(label)),
		Description: "A label has to match the regular expression <" + labelPattern + ">.",
	}
}

// millis renders d as "61,000ms".
func millis(d time.Duration) string {
	s := strconv.FormatInt(d.Milliseconds(), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s + "ms"
}

// shorten keeps what a client sent from filling an error text.
func shorten(s string) string { return shortenTo(s, 256) }

func shortenTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
