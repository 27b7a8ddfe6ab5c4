package mqttbinding

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// filter is a topic filter, without a leading "$share/<group>/".
type filter string

func newFilter(address string) filter {
	if rest, ok := strings.CutPrefix(address, "$share/"); ok {
		if _, rest, ok = strings.Cut(rest, "/"); ok {
			return filter(rest)
		}
	}
	return filter(address)
}

// matches reports whether a message with this topic is for the filter (MQTT 3.1.1, 4.7). It allocates nothing.
func (f filter) matches(topic string) bool {
	rest := string(f)
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "#")) {
		return false
	}
	for {
		level, filters, more := strings.Cut(rest, "/")
		if level == "#" {
			return true
		}
		name, topics, moreTopics := strings.Cut(topic, "/")
		if level != "+" && level != name {
			return false
		}
		if !moreTopics {
			return !more || filters == "#" // "a/#" includes its parent "a"
		}
		if !more {
			return false
		}
		rest, topic = filters, topics
	}
}

var errTopic = errors.New("the topic is empty, too long, not UTF-8, or holds a wildcard or NUL")

// CheckTopic says whether a message can be published to topic: a broker may well disconnect who tries otherwise.
func CheckTopic(topic string) error {
	if topic == "" || len(topic) > 65535 || strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic) {
		return errTopic
	}
	return nil
}
