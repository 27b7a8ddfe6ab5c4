package protocol

import (
	"encoding/json"
	"strings"

	"hawser/messages"
)

// Kind says what signal an envelope is (contract runtime.md 1.6).
type Kind uint8

// The kinds. Invalid is only returned together with an error.
const (
	Invalid             Kind = iota
	LiveMessage              // things live message; also claim
	LiveMessageResponse      // the same with a status
	LiveCommand              // things live command of any action
	LiveResponse             // the same with a status
	LiveEvent                // things live event
	TwinCreate               // create a thing
	TwinModify               // modify, merge, delete, migrate
	TwinRetrieve             // retrieve one thing or a part of it
	TwinRetrieveMany         // retrieve with the wildcard topic _/_
	TwinEvent                // things twin event
	TwinResponse             // a twin command with a status
	Acknowledgement          // acks/<label>
	Acknowledgements         // aggregated acks
	ErrorResponse            // errors of things or policies
	PolicyCommand            // policies command without status
	PolicySignal             // policies event, announcement or response
	ConnectionSignal         // connections announcement
	Search                   // things search protocol
	Streaming                // history streaming of things or policies
	CheckPermissions         // checkPermissions, with or without status
)

var kindNames = [...]string{"invalid", "live message", "live message response", "live command", "live response", "live event",
	"twin create", "twin modify", "twin retrieve", "twin retrieve many", "twin event", "twin response", "acknowledgement",
	"acknowledgements", "error response", "policy command", "policy signal", "connection signal", "search", "streaming",
	"check permissions"}

// String returns the kind's name for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Invalid]
}

// IsResponse reports whether envelopes of this kind answer another signal.
func (k Kind) IsResponse() bool {
	switch k {
	case LiveMessageResponse, LiveResponse, TwinResponse, Acknowledgement, Acknowledgements, ErrorResponse:
		return true
	}
	return false
}

// Kind classifies e by topic, path and status. The error is *messages.Error, 400: protocoladapter:unknown.topicpath when
// there is no such signal, protocoladapter:unknown.path when there is no such resource, json.field.missing and
// json.invalid for a value that the resource cannot have, acknowledgement:label.invalid and
// acknowledgement:ditto.acklabel.forbidden for the label of an acknowledgement.
func (e *Envelope) Kind() (Kind, error) {
	switch e.Topic.Group {
	case GroupThings:
		return e.thingKind()
	case GroupPolicies:
		return e.policyKind()
	case GroupConnections:
		return ConnectionSignal, nil
	}
	return e.noSignal("The topic has no group.")
}

func (e *Envelope) noSignal(why string) (Kind, error) {
	return Invalid, unknownTopic(e.Topic.String(), why)
}

func (e *Envelope) thingKind() (Kind, error) {
	t := &e.Topic
	if t.Channel == ChannelNone && t.Criterion != CriterionErrors {
		return e.noSignal("There are no " + t.Criterion + " without a channel.")
	}
	switch t.Criterion {
	case CriterionErrors:
		return ErrorResponse, nil
	case CriterionSearch:
		return Search, nil
	case CriterionStreaming:
		return Streaming, nil
	case CriterionCommands:
		return e.thingCommandKind()
	}
	if t.AnyEntity() {
		return e.noSignal("The topic must name one thing.")
	}
	switch t.Criterion {
	case CriterionEvents:
		return e.thingEventKind()
	case CriterionMessages:
		return e.messageKind()
	case CriterionAcks:
		return e.acknowledgementKind()
	}
	return e.noSignal("The criterion <" + t.Criterion + "> is not known.")
}

func (e *Envelope) thingCommandKind() (Kind, error) {
	t := &e.Topic
	live := t.Channel == ChannelLive
	switch t.Action {
	case ActionCheckPermissions:
		if live {
			return e.noSignal("checkPermissions exists in the twin channel only.")
		}
		return CheckPermissions, nil
	case ActionCreate, ActionRetrieve, ActionModify, ActionMerge, ActionDelete, ActionMigrate:
	default:
		return e.noSignal("The action <" + t.Action + "> is not that of a command.")
	}
	if t.AnyEntity() && (t.Action != ActionRetrieve || live) {
		return e.noSignal("The topic must name one thing.")
	}
	resource := thingResource(e.Path)
	if resource == "" || resource == resourcePolicy && t.Action == ActionMerge {
		return Invalid, unknownPath(e.Path, "A thing has no such resource for <"+t.Action+">.")
	}
	if resource != resourceThing && (t.Action == ActionCreate || t.Action == ActionMigrate) {
		return e.noSignal("The action <" + t.Action + "> exists for whole things only.")
	}
	if e.Status != 0 {
		if live {
			return LiveResponse, nil
		}
		return TwinResponse, nil
	}
	if t.Action == ActionCreate || t.Action == ActionModify || t.Action == ActionMerge {
		if err := e.checkThingValue(resource); err != nil {
			return Invalid, err
		}
	}
	switch {
	case live:
		return LiveCommand, nil
	case t.Action == ActionCreate:
		return TwinCreate, nil
	case t.Action == ActionRetrieve && t.AnyEntity():
		return TwinRetrieveMany, nil
	case t.Action == ActionRetrieve:
		return TwinRetrieve, nil
	}
	return TwinModify, nil
}

func (e *Envelope) thingEventKind() (Kind, error) {
	t := &e.Topic
	switch t.Action {
	case ActionCreated, ActionModified, ActionMerged, ActionDeleted, ActionMigrated:
	default:
		return e.noSignal("The action <" + t.Action + "> is not that of an event.")
	}
	if e.Status != 0 {
		return e.noSignal("An event has no status.")
	}
	if thingResource(e.Path) == "" {
		return Invalid, unknownPath(e.Path, "A thing has no such resource.")
	}
	if t.Channel == ChannelLive {
		return LiveEvent, nil
	}
	return TwinEvent, nil
}

func (e *Envelope) messageKind() (Kind, error) {
	t := &e.Topic
	if t.Channel != ChannelLive {
		return e.noSignal("Messages exist in the live channel only.")
	}
	if t.Subject == "" {
		return e.noSignal("The topic has no message subject.")
	}
	if _, _, ok := e.Mailbox(); !ok {
		return Invalid, unknownPath(e.Path, "The path of a message is /inbox/messages/<subject> or /outbox/messages/<subject>, "+
			"with /features/<id> before it where it is about a feature.")
	}
	if e.Status != 0 {
		return LiveMessageResponse, nil
	}
	return LiveMessage, nil
}

// Mailbox reads the path of a message: the feature id ("" when it is about the whole thing) and whether it is the inbox
// (TO the thing) or the outbox (FROM it). False: no path of a message.
func (e *Envelope) Mailbox() (featureID string, inbox, ok bool) {
	rest := e.Path
	if after, found := strings.CutPrefix(rest, "/features/"); found {
		featureID, rest, found = strings.Cut(after, "/")
		if !found || featureID == "" {
			return "", false, false
		}
		rest = "/" + rest
	}
	box, rest, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	if second, _, _ := strings.Cut(rest, "/"); second != "messages" || box != "inbox" && box != "outbox" {
		return "", false, false
	}
	return featureID, box == "inbox", true
}

func (e *Envelope) acknowledgementKind() (Kind, error) {
	if e.Status == 0 {
		return e.noSignal("An acknowledgement needs a status.")
	}
	if e.Path != "/" {
		return Invalid, unknownPath(e.Path, "The path of an acknowledgement is /.")
	}
	if e.Topic.Subject == "" {
		return Acknowledgements, nil
	}
	if err := CheckLabel(e.Topic.Subject); err != nil {
		return Invalid, err
	}
	return Acknowledgement, nil
}

func (e *Envelope) policyKind() (Kind, error) {
	switch e.Topic.Criterion {
	case CriterionErrors:
		return ErrorResponse, nil
	case CriterionStreaming:
		return Streaming, nil
	case CriterionAnnouncements:
		return PolicySignal, nil
	}
	if e.Topic.AnyEntity() {
		return e.noSignal("The topic must name one policy.")
	}
	if !isPolicyPath(e.Path) {
		return Invalid, unknownPath(e.Path, "A policy has no such resource.")
	}
	isEvent := strings.HasSuffix(e.Topic.Action, "d") // the past tense: created, modified, merged, deleted, migrated
	switch {
	case isEvent != (e.Topic.Criterion == CriterionEvents) || e.Topic.Action == ActionCheckPermissions:
		return e.noSignal("The action <" + e.Topic.Action + "> is not that of " + e.Topic.Criterion + ".")
	case isEvent && e.Status != 0:
		return e.noSignal("An event has no status.")
	case isEvent || e.Status != 0:
		return PolicySignal, nil
	}
	return PolicyCommand, nil
}

func isPolicyPath(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "" || first == "entries" || first == "imports"
}

// The resources of a thing that rules name.
const (
	resourceThing    = "Thing"
	resourceFeatures = "Features"
	resourcePolicy   = "Policy"
)

// thingResource returns the resource at a path of a thing as internal type names spell it ("Attribute",
// "FeatureProperties"), "" when there is none (contract runtime.md 1.3).
func thingResource(path string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "":
		if rest == "" {
			return resourceThing
		}
	case "policyId":
		if rest == "" {
			return "PolicyId"
		}
	case "definition":
		if rest == "" {
			return "Definition"
		}
	case "attributes":
		if rest == "" {
			return "Attributes"
		}
		return "Attribute"
	case "features":
		return featureResource(rest)
	case "_policy":
		return resourcePolicy
	}
	return ""
}

func featureResource(rest string) string {
	if rest == "" {
		return resourceFeatures
	}
	id, rest, _ := strings.Cut(rest, "/")
	part, pointer, _ := strings.Cut(rest, "/")
	switch {
	case id == "":
		return ""
	case part == "" && pointer == "":
		return "Feature"
	case part == "definition" && pointer == "":
		return "FeatureDefinition"
	case part == "properties" && pointer == "":
		return "FeatureProperties"
	case part == "properties":
		return "FeatureProperty"
	case part == "desiredProperties" && pointer == "":
		return "FeatureDesiredProperties"
	case part == "desiredProperties":
		return "FeatureDesiredProperty"
	}
	return ""
}

// checkThingValue checks the value of a create, modify or merge command as far as its structure is fixed: whole things,
// attributes, features and a feature are objects, and so is every feature among features. Null is a value of merge only.
func (e *Envelope) checkThingValue(resource string) error {
	if e.Value == nil {
		return messages.NewFieldMissing("/value")
	}
	merge := e.Topic.Action == ActionMerge
	if isNull(e.Value) {
		if merge && resource != resourceThing {
			return nil
		}
		if resource == "Attribute" || resource == "FeatureProperty" || resource == "FeatureDesiredProperty" {
			return nil
		}
	}
	switch resource {
	case resourceThing:
		if err := wantObject(e.Value, "value"); err != nil {
			return err
		}
		for _, features := range at(e.Value, []string{"features"}, nil) {
			if err := checkFeatures(features); err != nil {
				return err
			}
		}
	case resourceFeatures:
		return checkFeatures(e.Value)
	case "Attributes", "Feature", "FeatureProperties", "FeatureDesiredProperties":
		return wantObject(e.Value, "value")
	}
	return nil
}

func checkFeatures(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	if err := wantObject(raw, "features"); err != nil {
		return err
	}
	for m := members(raw, 0, maxDepth); m.next(); {
		feature := raw[m.from:m.to]
		if !isNull(feature) && feature[0] != '{' {
			return wrongType("features/"+m.name(), "an object")
		}
	}
	return nil
}

func wantObject(raw json.RawMessage, what string) error {
	if raw[0] != '{' {
		return wrongType(what, "an object")
	}
	return nil
}

// SignalType is the internal type name of the signal (contract runtime.md 1.2), "things.commands:modifyAttribute" for
// instance; for logs. "" when Kind fails.
func (e *Envelope) SignalType() string {
	kind, err := e.Kind()
	if err != nil {
		return ""
	}
	t := &e.Topic
	suffix := "commands"
	switch {
	case t.Criterion == CriterionEvents:
		suffix = "events"
	case e.Status != 0:
		suffix = "responses"
	}
	switch kind {
	case LiveMessage, LiveMessageResponse:
		what := "thingMessage"
		if feature, _, _ := e.Mailbox(); feature != "" {
			what = "featureMessage"
		}
		if t.Subject == "claim" {
			what = "claimMessage"
		}
		if kind == LiveMessageResponse {
			what += "Response"
		}
		return "messages." + suffix + ":" + strings.Replace(what, "MessageResponse", "ResponseMessage", 1)
	case Acknowledgement:
		return "acknowledgement:" + t.Subject
	case Acknowledgements:
		return "acknowledgements"
	case ErrorResponse:
		return t.Group + ".responses:errorResponse"
	case ConnectionSignal:
		return "connectivity.announcements:" + t.Subject
	case Search:
		return "thing-search." + suffix + ":" + t.Action
	case Streaming:
		return "streaming." + suffix + ":" + t.Action
	case CheckPermissions:
		return "things." + suffix + ":checkPermissions"
	case TwinRetrieveMany:
		return "things." + suffix + ":retrieveThings"
	case PolicyCommand, PolicySignal:
		if t.Criterion == CriterionAnnouncements {
			return "policies.announcements:" + t.Subject
		}
		return "policies." + suffix + ":" + t.Action
	}
	resource := thingResource(e.Path)
	if suffix == "events" {
		return "things.events:" + strings.ToLower(resource[:1]) + resource[1:] + strings.ToUpper(t.Action[:1]) + t.Action[1:]
	}
	return "things." + suffix + ":" + t.Action + resource
}
