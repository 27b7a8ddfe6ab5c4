package validation

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hawser/messages"
)

// maxTopicBytes bounds topics and filters (MQTT 3.1.1, 1.5.3).
const maxTopicBytes = 65535

// validTopic reports whether s can be published to: not empty, no wildcard, no NUL.
func validTopic(s string) bool {
	return s != "" && len(s) <= maxTopicBytes && utf8.ValidString(s) && !strings.ContainsAny(s, "+#\x00")
}

// validFilter reports whether s can be subscribed to: "+" and "#" stand alone in their level, "#" in the last one; a
// shared subscription is $share/<group>/<filter>.
func validFilter(s string) bool {
	if rest, ok := strings.CutPrefix(s, "$share/"); ok {
		group, filter, found := strings.Cut(rest, "/")
		return found && group != "" && !strings.ContainsAny(group, "+#\x00") && validFilter(filter)
	}
	if s == "" || len(s) > maxTopicBytes || !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		return false
	}
	levels := strings.Split(s, "/")
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && level != "+" && (level != "#" || i < len(levels)-1) {
			return false
		}
	}
	return true
}

// mqttAddressesOneClient is V18 and V19.
func mqttAddressesOneClient(r *Rules, c *messages.Connection) error {
	if c.ClientCount > 1 {
		return invalid("/clientCount", "The client count %d of connection '%s' is not possible, connections of type %s have one client.", c.ClientCount, c.ID, c.Type)
	}
	return mqttAddresses(r, c)
}

// mqttAddresses is V19. Target addresses are checked as they stand, with placeholders.
func mqttAddresses(_ *Rules, c *messages.Connection) error {
	for i, s := range c.Sources {
		for _, address := range s.Addresses {
			if !validFilter(address) {
				return invalid(sourceAt(i)+"/addresses", "The address '%s' of source %d is not a topic filter.", address, i)
			}
		}
	}
	for i, t := range c.Targets {
		if !validTopic(t.Address) {
			return invalid(targetAt(i)+"/address", "The target address '%s' is not a topic.", t.Address)
		}
	}
	return nil
}

// mqttSource is V20 for a source.
func mqttSource(_ *Rules, c *messages.Connection, i int) error {
	if qos := c.Sources[i].QoS; !qosValid(qos, 2) {
		return invalid(sourceAt(i)+"/qos", "Source %d of connection '%s' has the qos %s, it has to be 0, 1 or 2.", i, c.ID, qosText(qos))
	}
	return nil
}

// mqtt3Source adds V23.
func mqtt3Source(r *Rules, c *messages.Connection, i int) error {
	if err := mqttSource(r, c, i); err != nil {
		return err
	}
	if n := c.Sources[i].ConsumerCount; n > 1 {
		return invalid(sourceAt(i)+"/consumerCount", "Source %d of connection '%s' has the consumer count %d, sources of type %s have one consumer.", i, c.ID, n, c.Type)
	}
	return nil
}

// mqttTarget is V20 for a target.
func mqttTarget(_ *Rules, c *messages.Connection, i int) error {
	t := &c.Targets[i]
	if !qosValid(t.QoS, 2) {
		return invalid(targetAt(i)+"/qos", "The target with the address '%s' of connection '%s' has the qos %s, it has to be 0, 1 or 2.", t.Address, c.ID, qosText(t.QoS))
	}
	return nil
}

// mqttKeys are the headers that MQTT 3.1.1 can take out of a header mapping.
var mqttKeys = []string{"mqtt.topic", "mqtt.qos", "mqtt.retain"}

// mqttHeaderKeys is V22.
func mqttHeaderKeys(c *messages.Connection, place string, headers map[string]string) error {
	for _, key := range sortedKeys(headers) {
		if !slices.Contains(mqttKeys, key) {
			return invalid(place+"/"+key, "The key '%s' is not possible in a header mapping of type %s, the keys are %s.", key, c.Type, strings.Join(mqttKeys, ", "))
		}
	}
	return nil
}

// mqttSpecificConfig is what connection-model.md 9 says for mqtt and mqtt-5.
func mqttSpecificConfig(_ *Rules, c *messages.Connection) error {
	if topic, ok := c.SpecificConfig["lastWillTopic"]; ok {
		if !validTopic(topic) {
			return invalid("/specificConfig/lastWillTopic", "The value '%s' of 'lastWillTopic' is not a topic.", topic)
		}
		if qos, err := strconv.Atoi(c.SpecificConfig["lastWillQos"]); err == nil && !qosValid(&qos, 2) {
			return invalid("/specificConfig/lastWillQos", "The value '%d' of 'lastWillQos' is not a qos, it has to be 0, 1 or 2.", qos)
		}
	}
	if text, ok := c.SpecificConfig["keepAlive"]; ok {
		keepAlive, err := messages.ParseConfigDuration(text)
		if err != nil {
			return unexpected(c, "/specificConfig/keepAlive", "The value '%s' of 'keepAlive' is not a duration.", text)
		}
		const most = 65535 * time.Second
		if keepAlive < 0 || keepAlive.Truncate(time.Second) > most {
			return invalid("/specificConfig/keepAlive", "The value '%s' of 'keepAlive' is not within 0 to %d seconds.", text, most/time.Second)
		}
	}
	return nil
}
