package signals

import (
	"encoding/json"
	"slices"
	"time"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// ackClass tells the signals that can request acknowledgements from the others (contract runtime.md 4.1).
type ackClass uint8

const (
	ackNone ackClass = iota // cannot request any
	ackTwin                 // twin create, modify, merge, delete
	ackLive                 // live command, live message
)

func ackClassOf(k protocol.Kind) ackClass {
	switch k {
	case protocol.TwinCreate, protocol.TwinModify:
		return ackTwin
	case protocol.LiveCommand, protocol.LiveMessage:
		return ackLive
	default:
		return ackNone
	}
}

// answered are the signals that are answered, or can be.
var answered = map[protocol.Kind]bool{
	protocol.LiveMessage: true, protocol.LiveCommand: true, protocol.TwinCreate: true, protocol.TwinModify: true,
	protocol.TwinRetrieve: true, protocol.TwinRetrieveMany: true, protocol.PolicyCommand: true, protocol.Search: true,
	protocol.Streaming: true, protocol.CheckPermissions: true,
}

// ackRequest is what the headers response-required, requested-acks and timeout of a signal come to.
type ackRequest struct {
	Labels     []string
	Respond    bool // the sender wants a response
	Timeout    time.Duration
	HasTimeout bool
}

// zeroTimeout is the combination that contract runtime.md I-9 refuses: something is wanted, and no time is given for it.
func (a ackRequest) zeroTimeout() bool {
	return a.HasTimeout && a.Timeout == 0 && (a.Respond || len(a.Labels) > 0)
}

// ackRequestOf applies the defaults of contract runtime.md 4.1. Errors: timeout.invalid, header.invalid.
func ackRequestOf(class ackClass, h messages.Headers) (ackRequest, *messages.Error) {
	var a ackRequest
	if text, ok := h[messages.HeaderTimeout]; ok {
		d, err := messages.ParseDuration(text)
		if err != nil {
			return a, messages.NewTimeoutInvalid(text)
		}
		a.Timeout, a.HasTimeout = d, true
	}
	noTime := a.HasTimeout && a.Timeout == 0
	required, said := h[messages.HeaderResponseRequired]
	requested, present := h[messages.HeaderRequestedAcks]
	if present {
		labels, err := parseLabels(requested)
		if err != nil {
			return a, err
		}
		a.Labels = labels
	}
	if said {
		a.Respond = required != "false"
	} else {
		a.Respond = !noTime && (!present || len(a.Labels) > 0)
	}
	switch class {
	case ackNone:
		a.Labels = nil
	case ackTwin:
		a.Labels = a.implied(protocol.LabelTwinPersisted, present, noTime, protocol.LabelLiveResponse)
	case ackLive:
		asked := len(a.Labels) > 0
		a.Labels = a.implied(protocol.LabelLiveResponse, present, noTime, protocol.LabelTwinPersisted, protocol.LabelSearchPersisted)
		if asked && a.Respond && !slices.Contains(a.Labels, protocol.LabelLiveResponse) {
			a.Labels = append(a.Labels, protocol.LabelLiveResponse)
		}
		if asked && !a.Respond {
			a.Labels = slices.DeleteFunc(a.Labels, func(l string) bool { return l == protocol.LabelLiveResponse })
		}
	}
	return a, nil
}

// implied adds the implicit label where none were named and removes those that make no sense for the class.
func (a ackRequest) implied(implicit string, present, noTime bool, senseless ...string) []string {
	if !present {
		if noTime || !a.Respond {
			return nil
		}
		return []string{implicit}
	}
	return slices.DeleteFunc(a.Labels, func(l string) bool { return slices.Contains(senseless, l) })
}

// requestAcks unites the signal's requested-acks with those that the source includes, then filters them (contract
// runtime.md I-6.5). It changes h.
func requestAcks(h messages.Headers, includes []string, filter *placeholder.Pipeline, values placeholder.Source) *messages.Error {
	text, present := h[messages.HeaderRequestedAcks]
	var labels []string
	if present {
		var err *messages.Error
		if labels, err = parseLabels(text); err != nil {
			return err
		}
	}
	if len(includes) > 0 && (!present || len(labels) > 0) {
		for _, l := range includes {
			if !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
		}
		present = true
		h[messages.HeaderRequestedAcks] = renderLabels(labels)
	}
	if filter == nil {
		return nil
	}
	result, outcome := filter.Resolve(values, []string{renderLabels(labels)}, true)
	switch {
	case outcome != placeholder.Resolved || len(result) == 0 || result[0] == "":
		h[messages.HeaderRequestedAcks] = "[]"
		return nil
	case !present:
		if result, outcome = filter.Resolve(values, nil, false); outcome != placeholder.Resolved || len(result) == 0 {
			return nil
		}
	}
	filtered, err := parseLabels(result[0])
	if err != nil {
		return err
	}
	h[messages.HeaderRequestedAcks] = renderLabels(filtered)
	return nil
}

// parseLabels reads a JSON array of labels; without repetitions.
func parseLabels(text string) ([]string, *messages.Error) {
	var labels []string
	if err := json.Unmarshal([]byte(text), &labels); err != nil {
		return nil, messages.NewHeaderInvalid(messages.HeaderRequestedAcks, text)
	}
	var unique []string
	for _, l := range labels {
		if !slices.Contains(unique, l) {
			unique = append(unique, l)
		}
	}
	return unique, nil
}

func renderLabels(labels []string) string {
	if len(labels) == 0 {
		return "[]"
	}
	b, err := json.Marshal(labels)
	if err != nil { // strings always marshal
		return "[]"
	}
	return string(b)
}
