package messages

import (
	"fmt"
	"slices"
	"strings"
)

// readSource is connection-model.md 3, with the defaults of 10.2.
func readSource(r *jsonReader, typ ConnectionType) Source {
	s := Source{ConsumerCount: 1}
	s.Addresses = r.strictSet("addresses")
	if n, ok := r.integer("consumerCount"); ok {
		s.ConsumerCount = n
	}
	s.QoS = readQoS(r)
	s.AuthorizationContext = readSubjects(r)
	r.object("enforcement", func(r *jsonReader) {
		s.Enforcement = &Enforcement{Input: r.required("input"), Filters: r.strictSet("filters")}
	})
	r.object("acknowledgementRequests", func(r *jsonReader) {
		s.AcknowledgementRequest = &AcknowledgementRequests{Includes: r.lenientSet("includes"), Filter: r.optional("filter")}
		for _, label := range s.AcknowledgementRequest.Includes {
			if !ValidLabel(label) {
				r.fail(NewAcknowledgementRequestInvalid(label).About("/includes"))
			}
		}
	})
	s.DeclaredAcks = readDeclaredAcks(r)
	s.HeaderMapping = r.lenientMap("headerMapping")
	s.PayloadMapping = r.lenient("payloadMapping")
	s.ReplyTarget = ReplyTarget{Enabled: true}
	r.object("replyTarget", func(r *jsonReader) { s.ReplyTarget = readReplyTarget(r) })
	if s.ReplyTarget.Enabled && s.ReplyTarget.Address == nil {
		s.ReplyTarget, s.HeaderMapping = defaultReplyTarget(typ, s.HeaderMapping)
	}
	return s
}

func readQoS(r *jsonReader) *int {
	if n, ok := r.integer("qos"); ok {
		return &n
	}
	return nil
}

// readSubjects reads an authorization context; an empty subject is no subject (Q1).
func readSubjects(r *jsonReader) []string {
	subjects := r.lenient("authorizationContext")
	if slices.Contains(subjects, "") {
		r.fail(NewJSONInvalid("An element of </authorizationContext> is empty."))
	}
	return subjects
}

// readDeclaredAcks: an element that is no string counts as its JSON text (G11).
func readDeclaredAcks(r *jsonReader) []string {
	var set textSet
	for _, e := range r.array("declaredAcks") {
		label := e.value.asText()
		if !ValidLabel(label) {
			r.fail(NewLabelInvalid(label, "").About("/declaredAcks"))
		}
		set.add(label)
	}
	return set.items
}

// responseTypes are what expectedResponseTypes may hold.
var responseTypes = []string{"response", "error", "nack"}

// readReplyTarget: without an address only enabled is kept.
func readReplyTarget(r *jsonReader) ReplyTarget {
	t := ReplyTarget{Address: r.optional("address"), Enabled: r.boolean("enabled", true)}
	headers := r.lenientMap("headerMapping")
	expected := []string{"response", "error"}
	if _, ok := r.lookup("expectedResponseTypes"); ok {
		var set textSet
		for _, text := range r.strictSet("expectedResponseTypes") {
			if lower := strings.ToLower(text); slices.Contains(responseTypes, lower) {
				set.add(lower)
			}
		}
		expected = nonNil(set.items)
	}
	if t.Address != nil {
		t.HeaderMapping, t.ExpectedResponseTypes = headers, expected
	}
	return t
}

// replyToHeader is where a source without a reply target of its own answers to.
const replyToHeader = "{{header:reply-to}}"

// defaultReplyTarget is connection-model.md 10.2; it returns the header mapping of the source as well, which all types but
// mqtt extend by the headers that the reply target needs.
func defaultReplyTarget(typ ConnectionType, headers map[string]string) (ReplyTarget, map[string]string) {
	address := replyToHeader
	t := ReplyTarget{Enabled: true, Address: &address, ExpectedResponseTypes: []string{"response", "error"}}
	if typ == TypeMQTT {
		return t, headers
	}
	t.HeaderMapping = make(map[string]string, 2)
	for _, name := range []string{HeaderContentType, HeaderCorrelationID} {
		t.HeaderMapping[name] = fmt.Sprintf("{{header:%s}}", name)
	}
	extended := make(map[string]string, len(headers)+3)
	for _, name := range []string{HeaderContentType, HeaderCorrelationID, HeaderReplyTo} {
		extended[name] = fmt.Sprintf("{{header:%s}}", name)
	}
	for name, value := range headers {
		extended[name] = value
	}
	return t, extended
}

// readTarget is connection-model.md 4.
func readTarget(r *jsonReader) Target {
	t := Target{Address: r.required("address")}
	var seen map[string]struct{}
	for _, text := range r.strict("topics") {
		topic, err := ParseTopic(text)
		if err != nil {
			r.fail(within("/topics", err))
			return t
		}
		canonical := topic.String()
		if _, there := seen[canonical]; there {
			continue // equal after parsing
		}
		if seen == nil {
			seen = make(map[string]struct{}, 4)
		}
		seen[canonical] = struct{}{}
		t.Topics = append(t.Topics, topic)
	}
	t.QoS = readQoS(r)
	t.AuthorizationContext = readSubjects(r)
	if label, ok := r.string("issuedAcknowledgementLabel"); ok {
		if t.IssuedAcknowledgementLabel = label; !ValidLabel(label) {
			r.fail(NewLabelInvalid(label, "").About("/issuedAcknowledgementLabel"))
		}
	}
	t.HeaderMapping = r.lenientMap("headerMapping")
	t.PayloadMapping = r.lenient("payloadMapping")
	return t
}
