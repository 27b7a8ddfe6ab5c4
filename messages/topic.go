package messages

import (
	"fmt"
	"slices"
	"strings"
)

// topicArguments says which arguments each topic takes (connection-model.md 12); others are dropped.
var topicArguments = []topicSpec{
	{TopicTwinEvents, true, true, true},
	{TopicLiveMessages, true, true, true},
	{TopicLiveEvents, true, true, true},
	{TopicLiveCommands, true, true, true},
	{TopicPolicyAnnouncements, true, false, false},
	{TopicConnectionAnnouncements, false, false, false},
}

type topicSpec struct {
	name                            TopicName
	namespaces, filter, extraFields bool
}

func topicNames() []string {
	var names []string
	for _, t := range topicArguments {
		names = append(names, string(t.name))
	}
	return names
}

// ParseTopic reads "<topic>[?<arg>=<value>[&…]]" (connection-model.md 12): values are form-decoded, unknown arguments and
// those the topic does not take are dropped. Errors: connectivity:topic.invalid, things:field.selection.invalid,
// json.invalid for a broken escape or a repeated argument (Q1). The filter is not checked here (V05).
func ParseTopic(text string) (FilteredTopic, error) {
	name, query, _ := strings.Cut(text, "?")
	i := slices.IndexFunc(topicArguments, func(t topicSpec) bool { return string(t.name) == name })
	if i < 0 {
		return FilteredTopic{}, NewTopicInvalid(text)
	}
	takes := topicArguments[i]
	t := FilteredTopic{Name: takes.name}
	var seen []string
	for argument := range strings.SplitSeq(query, "&") {
		key, encoded, found := strings.Cut(argument, "=")
		if !found {
			continue
		}
		value, ok := formDecode(encoded)
		if !ok || strings.ContainsRune(value, 0) { // U+0000 cannot be stored
			return FilteredTopic{}, NewJSONInvalid(fmt.Sprintf("A value in </topics> holds a broken percent escape: the argument '%s' of the topic '%s'.", shorten(key), name))
		}
		if slices.Contains(seen, key) {
			return FilteredTopic{}, NewJSONInvalid(fmt.Sprintf("A value in </topics> repeats the argument '%s' of the topic '%s'.", shorten(key), name))
		}
		seen = append(seen, key)
		switch {
		case key == "namespaces" && takes.namespaces && value != "":
			t.Namespaces = strings.Split(value, ",")
		case key == "filter" && takes.filter:
			t.Filter = value
		case key == "extraFields" && takes.extraFields && value != "":
			if !validExtraFields(value) {
				return FilteredTopic{}, NewFieldSelectionInvalid(value)
			}
			t.ExtraFields = value
		}
	}
	return t, nil
}

// String is the canonical form: arguments in the order namespaces, filter, extraFields, values decoded but for "%", "+"
// and "&", so that parsing it again gives the same topic (Q3).
func (t FilteredTopic) String() string {
	if len(t.Namespaces) == 0 && t.Filter == "" && t.ExtraFields == "" {
		return string(t.Name)
	}
	out := []byte(t.Name)
	separator := byte('?')
	for _, argument := range []struct{ key, value string }{
		{"namespaces", strings.Join(t.Namespaces, ",")}, {"filter", t.Filter}, {"extraFields", t.ExtraFields},
	} {
		if argument.value == "" {
			continue
		}
		out = append(out, separator)
		separator = '&'
		out = append(out, argument.key...)
		out = append(out, '=')
		for _, c := range []byte(argument.value) {
			switch c {
			case '%':
				out = append(out, "%25"...)
			case '+':
				out = append(out, "%2B"...)
			case '&':
				out = append(out, "%26"...)
			default:
				out = append(out, c)
			}
		}
	}
	return string(out)
}

// Equal reports whether two topics are the same after parsing.
func (t FilteredTopic) Equal(o FilteredTopic) bool {
	return t.Name == o.Name && t.Filter == o.Filter && t.ExtraFields == o.ExtraFields && slices.Equal(t.Namespaces, o.Namespaces)
}

// formDecode decodes %XX and "+"; false: a broken escape. Octets that are no UTF-8 become U+FFFD.
func formDecode(s string) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			out = append(out, ' ')
		case '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", false
			}
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return strings.ToValidUTF8(string(out), "\uFFFD"), true
}

// The fields of a thing that extraFields may name: alone, or with a path below them.
var (
	plainExtraFields = []string{"thingId", "policyId", "definition", "_namespace", "_revision", "_created", "_modified", "_policy"}
	deepExtraFields  = []string{"_context", "_metadata", "features", "attributes"}
)

func validExtraFields(selection string) bool {
	for field := range strings.SplitSeq(selection, ",") {
		root, _, deep := strings.Cut(strings.TrimPrefix(field, "/"), "/")
		if !slices.Contains(deepExtraFields, root) && (deep || !slices.Contains(plainExtraFields, root)) {
			return false
		}
	}
	return true
}
