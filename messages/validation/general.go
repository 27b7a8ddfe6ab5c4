package validation

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/messages/rql"
)

// invalid is the error CFG of the contract; place is the JSON pointer to what it is about.
func invalid(place, format string, args ...any) error {
	return messages.NewConfigurationInvalid(fmt.Sprintf(format, args...), "").About(place)
}

// about adds the place to an error that another package made.
func about(place string, err error) error {
	var e *messages.Error
	if !errors.As(err, &e) {
		return err
	}
	return e.About(place)
}

func sourceAt(i int) string { return "/sources/" + strconv.Itoa(i) }
func targetAt(i int) string { return "/targets/" + strconv.Itoa(i) }

func limits(r *Rules, c *messages.Connection) error {
	if n := len(c.Sources); n > r.MaxSources {
		return invalid("/sources", "The connection '%s' has %d sources, the limit is %d.", c.ID, n, r.MaxSources)
	}
	if n := len(c.Targets); n > r.MaxTargets {
		return invalid("/targets", "The connection '%s' has %d targets, the limit is %d.", c.ID, n, r.MaxTargets)
	}
	return nil
}

func sourceAddresses(_ *Rules, c *messages.Connection) error {
	for i, s := range c.Sources {
		if len(s.Addresses) == 0 {
			return invalid(sourceAt(i)+"/addresses", "Source %d of connection '%s' has no address.", i, c.ID)
		}
		if slices.Contains(s.Addresses, "") {
			return invalid(sourceAt(i)+"/addresses", "Source %d of connection '%s' has an empty address.", i, c.ID)
		}
	}
	return nil
}

func targetAddresses(_ *Rules, c *messages.Connection) error {
	for i, t := range c.Targets {
		if t.Address == "" {
			return invalid(targetAt(i)+"/address", "Target %d of connection '%s' has an empty address.", i, c.ID)
		}
	}
	return nil
}

func filters(_ *Rules, c *messages.Connection) error {
	for i, t := range c.Targets {
		for _, topic := range t.Topics {
			if topic.Filter == "" {
				continue
			}
			if _, err := rql.Parse(topic.Filter); err != nil {
				return about(targetAt(i)+"/topics", err)
			}
		}
	}
	return nil
}

func mapperLimits(r *Rules, c *messages.Connection) error {
	for i, s := range c.Sources {
		if n := len(s.PayloadMapping); n > r.MaxSourceMappers {
			return invalid(sourceAt(i)+"/payloadMapping", "The source with the addresses %s has %d payload mappers, the limit is %d.", strings.Join(s.Addresses, ", "), n, r.MaxSourceMappers)
		}
	}
	for i, t := range c.Targets {
		if n := len(t.PayloadMapping); n > r.MaxTargetMappers {
			return invalid(targetAt(i)+"/payloadMapping", "The target with the address %s has %d payload mappers, the limit is %d.", t.Address, n, r.MaxTargetMappers)
		}
	}
	return nil
}

// connectionIDPlaceholder is the one placeholder that a label may hold.
var connectionIDPlaceholder = regexp.MustCompile(`^\{\{\s*connection:id\s*\}\}`)

// ResolveLabel puts the connection id in the place of the placeholder connection:id of an acknowledgement label.
func ResolveLabel(label, connectionID string) string {
	if at := connectionIDPlaceholder.FindStringIndex(label); at != nil {
		return connectionID + label[at[1]:]
	}
	return label
}

// liveResponse is the issued label of a target whose endpoint answers live messages; it needs no prefix and may repeat.
const liveResponse = "live-response"

func labels(_ *Rules, c *messages.Connection) error {
	prefix := c.ID + ":"
	check := func(place, label string) error {
		if strings.HasPrefix(ResolveLabel(label, c.ID), prefix) {
			return nil
		}
		return messages.NewLabelInvalid(label, fmt.Sprintf("It has to start with '%s', the id of the connection.", prefix)).About(place)
	}
	for i, s := range c.Sources {
		for _, label := range s.DeclaredAcks {
			if err := check(sourceAt(i)+"/declaredAcks", label); err != nil {
				return err
			}
		}
	}
	issued := make([]string, len(c.Targets)) // "": none that has to be unique
	for i, t := range c.Targets {
		label := t.IssuedAcknowledgementLabel
		if label == "" || label == liveResponse {
			continue
		}
		if err := check(targetAt(i)+"/issuedAcknowledgementLabel", label); err != nil {
			return err
		}
		issued[i] = ResolveLabel(label, c.ID)
	}
	for i, label := range issued {
		if label != "" && slices.Contains(issued[:i], label) {
			return messages.NewLabelNotUnique(label).About(targetAt(i) + "/issuedAcknowledgementLabel")
		}
	}
	return nil
}

// The keys of response diversion in specificConfig and in source header mappings.
const (
	diversionSource  = "is-diversion-source"
	diversionTarget  = "is-diversion-target"
	authorizedIDs    = "authorized-connections-as-sources"
	divertTo         = "divert-response-to-connection"
	divertTypes      = "divert-expected-response-types"
	diversionEnabled = "true"
)

var diversionTypes = []string{"response", "error", "nack"}

// diversion is V15; V15d comes first.
func diversion(_ *Rules, c *messages.Connection) error {
	for i, s := range c.Sources {
		if c.SpecificConfig[diversionSource] == diversionEnabled {
			for _, typ := range fields(s.HeaderMapping[divertTypes]) {
				if !slices.Contains(diversionTypes, typ) {
					return invalid(sourceAt(i)+"/headerMapping/"+divertTypes, "The header mapping '%s' holds the response type '%s', it may hold %s.", divertTypes, typ, strings.Join(diversionTypes, ", "))
				}
			}
		}
		id, ok := s.HeaderMapping[divertTo]
		switch {
		case !ok:
		case strings.TrimSpace(id) == "":
			return invalid(sourceAt(i)+"/headerMapping/"+divertTo, "The header mapping '%s' is empty, it has to be a connection id.", divertTo)
		case id == c.ID:
			return invalid(sourceAt(i)+"/headerMapping/"+divertTo, "The header mapping '%s' names the connection '%s' itself.", divertTo, c.ID)
		case !messages.ValidID(id):
			return invalid(sourceAt(i)+"/headerMapping/"+divertTo, "The header mapping '%s' holds '%s', which is no connection id.", divertTo, id)
		}
	}
	if c.SpecificConfig[diversionTarget] != diversionEnabled {
		return nil
	}
	for _, id := range fields(c.SpecificConfig[authorizedIDs]) {
		if !messages.ValidID(id) {
			return messages.NewIDInvalid(id).About("/specificConfig/" + authorizedIDs)
		}
	}
	for i, t := range c.Targets {
		if len(t.Topics) > 0 {
			return invalid(targetAt(i)+"/topics", "The connection '%s' is a target of diverted responses: its targets must not have topics.", c.ID)
		}
	}
	return nil
}

// fields splits comma-separated values and trims them; a blank text has none.
func fields(csv string) []string {
	if strings.TrimSpace(csv) == "" {
		return nil
	}
	out := strings.Split(csv, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}
