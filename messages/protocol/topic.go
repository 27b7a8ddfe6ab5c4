package protocol

import "strings"

// Topic addresses a signal (contract runtime.md 1.2). Members that a topic does not have are "": policies and connections
// have no Channel, messages, acks, announcements and errors no Action, commands and events no Subject. Subject holds the
// message subject, the acknowledgement label or the announcement name and may contain "/".
type Topic struct {
	Namespace, Name, Group, Channel, Criterion, Action, Subject string
}

// The segments of topics.
const (
	GroupThings      = "things"
	GroupPolicies    = "policies"
	GroupConnections = "connections"

	ChannelTwin = "twin"
	ChannelLive = "live"
	ChannelNone = "none"

	CriterionCommands      = "commands"
	CriterionEvents        = "events"
	CriterionSearch        = "search"
	CriterionStreaming     = "streaming"
	CriterionMessages      = "messages"
	CriterionAcks          = "acks"
	CriterionErrors        = "errors"
	CriterionAnnouncements = "announcements"

	ActionCreate           = "create"
	ActionRetrieve         = "retrieve"
	ActionModify           = "modify"
	ActionMerge            = "merge"
	ActionDelete           = "delete"
	ActionMigrate          = "migrate"
	ActionCheckPermissions = "checkPermissions"
	ActionCreated          = "created"
	ActionModified         = "modified"
	ActionMerged           = "merged"
	ActionDeleted          = "deleted"
	ActionMigrated         = "migrated"

	// Wildcard stands for any namespace or any name.
	Wildcard = "_"
)

// What may follow a criterion.
type tail uint8

const (
	tailNothing         tail = iota
	tailSubject              // the rest of the topic, may be absent
	tailAction               // one of actions
	tailSearch               // one of searchActions
	tailStream               // one of streamingActions
	tailSubjectRequired      // the rest of the topic, required
)

// grammar says which criteria a group has and what follows each (contract runtime.md 1.2).
var grammar = map[string]map[string]tail{
	GroupThings: {
		CriterionCommands: tailAction, CriterionEvents: tailAction, CriterionSearch: tailSearch, CriterionStreaming: tailStream,
		CriterionMessages: tailSubject, CriterionAcks: tailSubject, CriterionErrors: tailNothing,
	},
	GroupPolicies: {
		CriterionCommands: tailAction, CriterionEvents: tailAction, CriterionErrors: tailNothing,
		CriterionAnnouncements: tailSubjectRequired, CriterionStreaming: tailStream,
	},
	GroupConnections: {CriterionAnnouncements: tailSubjectRequired},
}

var (
	actions = set(ActionCreate, ActionRetrieve, ActionModify, ActionMerge, ActionDelete, ActionMigrate, ActionCheckPermissions,
		ActionCreated, ActionModified, ActionMerged, ActionDeleted, ActionMigrated)
	searchActions    = set("subscribe", "request", "cancel", "created", "next", "complete", "failed", "error")
	streamingActions = set("subscribeForPersistedEvents", "request", "cancel", "created", "next", "complete", "failed", "error")
)

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// ParseTopic reads a topic; the error is *messages.Error protocoladapter:unknown.topicpath, 400, whose description names
// the offending part. The parts share memory with text.
func ParseTopic(text string) (Topic, error) {
	var t Topic
	rest, more := text, text != ""
	next := func() (segment string, ok bool) {
		if !more {
			return "", false
		}
		segment, rest, more = strings.Cut(rest, "/")
		return segment, true
	}
	fail := func(why string) (Topic, error) { return Topic{}, unknownTopic(text, why) }

	var ok bool
	if t.Namespace, ok = next(); !ok {
		return fail("The topic has no namespace.")
	}
	if t.Name, ok = next(); !ok || t.Name == "" {
		return fail("The topic has no entity name.")
	}
	if t.Group, ok = next(); !ok {
		return fail("The topic has no group.")
	}
	criteria, ok := grammar[t.Group]
	if !ok {
		return fail("The group <" + t.Group + "> is not known.")
	}
	if t.Group == GroupThings {
		if t.Channel, ok = next(); !ok {
			return fail("The topic has no channel.")
		}
		if t.Channel != ChannelTwin && t.Channel != ChannelLive && t.Channel != ChannelNone {
			return fail("The channel <" + t.Channel + "> is not known.")
		}
	}
	if t.Group == GroupConnections && t.Namespace != Wildcard {
		return fail("The namespace <" + t.Namespace + "> is not <_>.")
	}
	if t.Criterion, ok = next(); !ok {
		return fail("The topic has no criterion.")
	}
	follows, ok := criteria[t.Criterion]
	if !ok {
		return fail("The criterion <" + t.Criterion + "> is not known.")
	}
	switch follows {
	case tailSubject, tailSubjectRequired:
		t.Subject = rest
		if !more {
			t.Subject = ""
		}
		if t.Subject == "" && follows == tailSubjectRequired {
			return fail("The topic has no subject.")
		}
		return t, nil
	case tailAction, tailSearch, tailStream:
		known, what := actions, "action"
		switch follows {
		case tailSearch:
			known, what = searchActions, "search action"
		case tailStream:
			known, what = streamingActions, "streaming action"
		}
		if t.Action, ok = next(); !ok {
			return fail("The topic has no " + what + ".")
		}
		if !known[t.Action] {
			return fail("The " + what + " <" + t.Action + "> is not known.")
		}
	}
	if more {
		return fail("Nothing may follow the " + t.Criterion + " part, but there is <" + rest + ">.")
	}
	return t, nil
}

// String renders the topic.
func (t Topic) String() string {
	return string(t.append(make([]byte, 0, len(t.Namespace)+len(t.Name)+len(t.Group)+len(t.Channel)+len(t.Criterion)+
		len(t.Action)+len(t.Subject)+6)))
}

func (t Topic) append(dst []byte) []byte {
	dst = append(append(append(dst, t.Namespace...), '/'), t.Name...)
	for _, part := range [...]string{t.Group, t.Channel, t.Criterion, t.Action, t.Subject} {
		if part != "" {
			dst = append(append(dst, '/'), part...)
		}
	}
	return dst
}

// EntityID returns "ns:name"; for a connection its id.
func (t Topic) EntityID() string {
	if t.Group == GroupConnections {
		return t.Name
	}
	return t.Namespace + ":" + t.Name
}

// entityType is the type of the topic's entity as internal headers and resource:type name it.
func (t Topic) entityType() string {
	switch t.Group {
	case GroupPolicies:
		return "policy"
	case GroupConnections:
		return "connection"
	}
	return "thing"
}

// AnyEntity reports whether the topic names no single entity: a wildcard is among namespace and name.
func (t Topic) AnyEntity() bool {
	return t.Group != GroupConnections && (t.Name == Wildcard || t.Namespace == Wildcard)
}
