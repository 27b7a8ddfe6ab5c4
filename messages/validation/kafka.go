package validation

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hawser/messages"
	"hawser/messages/placeholder"
)

// maxKafkaTopic bounds the name of a topic.
const maxKafkaTopic = 249

var kafkaTopic = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// validKafkaTopic is V27a.
func validKafkaTopic(s string) bool {
	return s != "." && s != ".." && len(s) <= maxKafkaTopic && kafkaTopic.MatchString(s)
}

func kafkaSource(_ *Rules, c *messages.Connection, i int) error {
	s := &c.Sources[i]
	for _, address := range s.Addresses {
		if !validKafkaTopic(address) {
			return invalid(sourceAt(i)+"/addresses", "The address '%s' of source %d is not the name of a topic.", address, i)
		}
	}
	if s.QoS != nil && !qosValid(s.QoS, 1) {
		return invalid(sourceAt(i)+"/qos", "Source %d of connection '%s' has the qos %d, it has to be 0 or 1.", i, c.ID, *s.QoS)
	}
	return nil
}

// expression is a placeholder expression inside an address. A digit stands for what it resolves to: that is legal in a
// topic, in a key and as a partition.
var expression = regexp.MustCompile(`\{\{.*?\}\}|\$\{.*?\}`)

// kafkaTarget is V27a and V27b: topic, topic/key or topic#partition; "/" wins over "#".
func kafkaTarget(_ *Rules, c *messages.Connection, i int) error {
	t, place := &c.Targets[i], targetAt(i)+"/address"
	address := expression.ReplaceAllString(t.Address, "0")
	if topic, key, found := strings.Cut(address, "/"); found {
		switch {
		case !validKafkaTopic(topic):
			return invalid(place, "The topic of the target address '%s' is not valid.", t.Address)
		case key == "":
			return invalid(place, "The key of the target address '%s' is empty.", t.Address)
		}
		return nil
	}
	topic, partition, found := strings.Cut(address, "#")
	if !validKafkaTopic(topic) {
		return invalid(place, "The topic of the target address '%s' is not valid.", t.Address)
	}
	if !found {
		return nil
	}
	if _, err := strconv.ParseInt(partition, 10, 32); err != nil {
		return invalid(place, "The partition '%s' of the target address '%s' is not an integer.", partition, t.Address)
	}
	return nil
}

var (
	saslMechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}
	offsetResets   = []string{"earliest", "latest"}
	kafkaGroup     = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	kafkaHost      = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
)

// kafkaSpecificConfig is V27d.
func kafkaSpecificConfig(_ *Rules, c *messages.Connection) error {
	s := c.SpecificConfig
	servers := s["bootstrapServers"]
	if strings.TrimSpace(servers) == "" {
		return invalid("/specificConfig/bootstrapServers", "The connection '%s' lacks 'bootstrapServers' in its specific config.", c.ID)
	}
	for server := range strings.SplitSeq(servers, ",") {
		if server = strings.TrimSpace(server); !validServer(server) {
			return invalid("/specificConfig/bootstrapServers", "The value '%s' in 'bootstrapServers' is not <host>:<port>.", messages.MaskURI(server))
		}
	}
	if mechanism, ok := s["saslMechanism"]; ok && c.URI.HasUserInfo && !slices.Contains(saslMechanisms, strings.ToLower(mechanism)) {
		return invalid("/specificConfig/saslMechanism", "The value '%s' of 'saslMechanism' is not supported, the mechanisms are %s.", mechanism, strings.Join(saslMechanisms, ", "))
	}
	if len(c.Sources) == 0 {
		return nil
	}
	if group, ok := s["groupId"]; ok {
		if err := (&placeholders{prefixes: []string{"connection"}}).check(group, "/specificConfig/groupId"); err != nil {
			return err
		}
		template, err := placeholder.Compile(group)
		if err != nil {
			return err // cannot happen: it was compiled above
		}
		resolved, _ := template.Resolve(placeholder.SourceFunc(func(prefix, name string) ([]string, bool) {
			return []string{c.ID}, prefix == "connection" && name == "id"
		}))
		// A connection id may hold colons, which a group must not: that is told here, not by the broker.
		if !kafkaGroup.MatchString(resolved) {
			return invalid("/specificConfig/groupId", "The value '%s' of 'groupId' may hold letters, digits, '.', '_' and '-' only.", group)
		}
	}
	if reset, ok := s["consumerOffsetReset"]; ok && !slices.Contains(offsetResets, strings.ToLower(reset)) {
		return invalid("/specificConfig/consumerOffsetReset", "The value '%s' of 'consumerOffsetReset' is not supported, it has to be one of %s.", reset, strings.Join(offsetResets, ", "))
	}
	return nil
}

// validServer reports whether s is host:port.
func validServer(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return false
	}
	host, port := s[:i], s[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return false
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		_, err := netip.ParseAddr(inner)
		return ok && err == nil
	}
	return kafkaHost.MatchString(host)
}
