package validation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/placeholder"
)

// protocol is what validation knows about one connection type.
type protocol struct {
	schemes []string // accepted (V16); none: the URI is not looked at
	secure  string   // the scheme that a ca needs (V17)

	// Where which placeholders may stand (connection-model.md 13.3). Nil: not checked.
	sourceHeaders      *placeholders
	enforcementInput   *placeholders
	enforcementFilters *placeholders
	targetAddress      *placeholders
	targetHeaders      *placeholders
	replyHeaders       *placeholders

	// Further rules, each before the placeholders of its place. Nil: none.
	first    rule                                                                        // right after the scheme
	source   func(r *Rules, c *messages.Connection, i int) error                         // for each source
	target   func(r *Rules, c *messages.Connection, i int) error                         // for each target
	headers  func(c *messages.Connection, place string, headers map[string]string) error // of targets and reply targets
	specific []rule                                                                      // specificConfig and credentials, last
}

// set are the placeholders that addresses and header mappings may use, except where the table says otherwise.
var set = &placeholders{prefixes: []string{"header", "entity", "thing", "thing-json", "feature", "topic", "resource", "time", "request", "connection"}}

// Other sets of connection-model.md 13.3.
var (
	headerOnly      = &placeholders{prefixes: []string{"header"}}
	sourceAddress   = &placeholders{prefixes: []string{"source"}}
	sourceOrHeader  = &placeholders{prefixes: []string{"source", "header"}}
	entityIDs       = &placeholders{prefixes: []string{"thing", "policy", "entity"}}
	entityOrFeature = &placeholders{prefixes: []string{"thing", "policy", "entity", "feature"}}
	noPlaceholder   = &placeholders{}
	mqttHeaders     = &placeholders{prefixes: []string{"header"}, names: []string{"header:mqtt.topic", "header:mqtt.qos", "header:mqtt.retain"}}
)

var protocols = map[messages.ConnectionType]protocol{
	messages.TypeAMQP091: {
		schemes: []string{"amqp", "amqps"}, secure: "amqps",
		sourceHeaders: set, enforcementInput: headerOnly, enforcementFilters: entityOrFeature, targetAddress: set, targetHeaders: set,
	},
	messages.TypeAMQP10: {
		schemes: []string{"amqp", "amqps"}, secure: "amqps",
		sourceHeaders: set, enforcementInput: headerOnly, enforcementFilters: entityOrFeature, targetAddress: set, targetHeaders: set,
		specific: []rule{amqp10HMAC, amqp10SpecificConfig},
	},
	messages.TypeMQTT: {
		schemes: []string{"tcp", "ssl"}, secure: "ssl",
		sourceHeaders: mqttHeaders, enforcementInput: sourceAddress, enforcementFilters: entityIDs, targetAddress: set,
		targetHeaders: headerOnly, replyHeaders: headerOnly,
		first: mqttAddressesOneClient, source: mqtt3Source, target: mqttTarget, headers: mqttHeaderKeys, specific: []rule{mqttSpecificConfig},
	},
	messages.TypeMQTT5: {
		schemes: []string{"tcp", "ssl"}, secure: "ssl",
		enforcementInput: sourceOrHeader, enforcementFilters: entityIDs, targetAddress: set,
		first: mqttAddresses, source: mqttSource, target: mqttTarget, specific: []rule{mqttSpecificConfig},
	},
	messages.TypeKafka: {
		schemes: []string{"tcp", "ssl"}, secure: "ssl",
		sourceHeaders: set, enforcementInput: headerOnly, enforcementFilters: entityOrFeature, targetAddress: set, targetHeaders: set,
		source: kafkaSource, target: kafkaTarget, specific: []rule{kafkaSpecificConfig},
	},
	messages.TypeHTTPPush: {
		schemes: []string{"http", "https"}, secure: "https",
		targetAddress: set, targetHeaders: set,
		first: httpNoSources, target: httpTarget, specific: []rule{httpTokenEndpoint, httpSpecificConfig},
	},
	messages.TypeHono: {
		enforcementInput: headerOnly, enforcementFilters: entityOrFeature, targetAddress: noPlaceholder,
		source: honoSource, target: honoTarget,
	},
}

// validate runs V16 to V35 in the order scheme, what comes first, sources, targets, payload mappings, specific config.
func (p protocol) validate(r *Rules, c *messages.Connection) error {
	if err := p.scheme(c); err != nil {
		return err
	}
	if p.first != nil {
		if err := p.first(r, c); err != nil {
			return err
		}
	}
	for i := range c.Sources {
		if err := p.validateSource(r, c, i); err != nil {
			return err
		}
	}
	for i := range c.Targets {
		if err := p.validateTarget(r, c, i); err != nil {
			return err
		}
	}
	if err := mapping.Check(c, r.Mapping); err != nil { // V30
		return err
	}
	for _, check := range p.specific {
		if err := check(r, c); err != nil {
			return err
		}
	}
	return nil
}

func (p protocol) scheme(c *messages.Connection) error {
	if len(p.schemes) == 0 {
		return nil
	}
	if !slices.Contains(p.schemes, c.URI.Scheme) {
		return messages.NewSchemeInvalid(fmt.Sprintf("The URI scheme '%s' is not valid for %s.", c.URI.Scheme, c.Type), p.schemes).About("/uri")
	}
	if c.CA != "" && c.URI.Scheme != p.secure {
		return messages.NewSchemeInvalid(
			fmt.Sprintf("The URI scheme '%s' does not allow trusted certificates (ca), a connection with them needs '%s'.", c.URI.Scheme, p.secure), []string{p.secure}).About("/uri")
	}
	return nil
}

func (p protocol) validateSource(r *Rules, c *messages.Connection, i int) error {
	s := &c.Sources[i]
	if p.source != nil {
		if err := p.source(r, c, i); err != nil {
			return err
		}
	}
	if e := s.Enforcement; e != nil {
		if err := p.enforcementInput.check(e.Input, sourceAt(i)+"/enforcement/input"); err != nil {
			return err
		}
		for _, filter := range e.Filters {
			if err := p.enforcementFilters.check(filter, sourceAt(i)+"/enforcement/filters"); err != nil {
				return err
			}
		}
	}
	if err := p.sourceHeaders.checkAll(s.HeaderMapping, sourceAt(i)+"/headerMapping"); err != nil {
		return err
	}
	if s.ReplyTarget.Address == nil {
		return nil
	}
	place := sourceAt(i) + "/replyTarget/headerMapping"
	if p.headers != nil {
		if err := p.headers(c, place, s.ReplyTarget.HeaderMapping); err != nil {
			return err
		}
	}
	return p.replyHeaders.checkAll(s.ReplyTarget.HeaderMapping, place)
}

func (p protocol) validateTarget(r *Rules, c *messages.Connection, i int) error {
	t := &c.Targets[i]
	if p.target != nil {
		if err := p.target(r, c, i); err != nil {
			return err
		}
	}
	if err := p.targetAddress.check(t.Address, targetAt(i)+"/address"); err != nil {
		return err
	}
	if p.headers != nil {
		if err := p.headers(c, targetAt(i)+"/headerMapping", t.HeaderMapping); err != nil {
			return err
		}
	}
	if err := p.targetHeaders.checkAll(t.HeaderMapping, targetAt(i)+"/headerMapping"); err != nil {
		return err
	}
	for _, topic := range t.Topics { // V26: the error is the placeholder's own
		template, err := placeholder.Compile(topic.ExtraFields)
		if err == nil {
			err = template.Check(set.prefixes...)
		}
		if err != nil {
			return about(targetAt(i)+"/topics", err)
		}
	}
	return nil
}

// placeholders is a set of placeholders that a place may use. A nil set allows everything, unread.
type placeholders struct {
	prefixes []string
	names    []string // if any, only these, written prefix:name
}

// check compiles text, which stands at place, and looks at the placeholders in it. The error is CFG with the text of the
// placeholder's error.
func (p *placeholders) check(text, place string) error {
	if p == nil {
		return nil
	}
	template, err := placeholder.Compile(text)
	if err == nil {
		err = template.Check(p.prefixes...)
	}
	if err == nil && len(p.names) > 0 {
		for _, n := range template.Placeholders() {
			if !slices.Contains(p.names, n.String()) {
				return messages.NewConfigurationInvalid(
					fmt.Sprintf("The placeholder '%s' is not allowed in '%s'.", n, text), "Allowed are "+strings.Join(p.names, ", ")+".").About(place)
			}
		}
	}
	if err == nil {
		return nil
	}
	var e *messages.Error
	if !errors.As(err, &e) {
		return messages.NewConfigurationInvalid(err.Error(), "").About(place)
	}
	return messages.NewConfigurationInvalid(fmt.Sprintf("%s It stands in '%s'.", e.Message, text), e.Description).About(place)
}

// checkAll checks the values of a header mapping, by name so that the first failure is always the same.
func (p *placeholders) checkAll(headers map[string]string, place string) error {
	if p == nil {
		return nil
	}
	for _, name := range sortedKeys(headers) {
		if err := p.check(headers[name], place+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// unexpected is V35: a value that stops the validation itself.
func unexpected(c *messages.Connection, place, format string, args ...any) error {
	return messages.NewConnectionFailed(c.ID, fmt.Sprintf(format, args...)).About(place)
}

// qosBetween checks that a QoS is in 0..most.
func qosValid(qos *int, most int) bool { return qos != nil && *qos >= 0 && *qos <= most }

func qosText(qos *int) string {
	if qos == nil {
		return "none"
	}
	return strconv.Itoa(*qos)
}
