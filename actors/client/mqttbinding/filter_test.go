package mqttbinding

import (
	"strings"
	"testing"
)

// TestFilter holds the examples of MQTT 3.1.1, 4.7, and shared subscriptions.
func TestFilter(t *testing.T) {
	for _, row := range []struct {
		address, topic string
		want           bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/tennis/player1/#", "sport/tennis/player2", false},
		{"sport/#", "sport", true},
		{"#", "a/b/c", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"+/tennis/#", "sport/tennis/x", true},
		{"sport/+/player1", "sport/tennis/player1", true},
		{"#", "$SYS/x", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/x", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"a", "a", true},
		{"a", "A", false},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"$share/group/a/+", "a/b", true},
		{"$share/group/a/+", "group/a/b", false},
		{"$share/group/#", "$SYS/x", false},
	} {
		if got := newFilter(row.address).matches(row.topic); got != row.want {
			t.Errorf("%q matches %q: %v, want %v", row.address, row.topic, got, row.want)
		}
	}
	f := newFilter("a/+/c/#")
	if n := testing.AllocsPerRun(100, func() { f.matches("a/b/c/d") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCheckTopic(t *testing.T) {
	for topic, ok := range map[string]bool{
		"a": true, "a/b": true, "/": true, "ä": true, strings.Repeat("x", 65535): true,
		"": false, "a/#": false, "+/b": false, "a\x00": false, "\xff": false, strings.Repeat("x", 65536): false,
	} {
		if (CheckTopic(topic) == nil) != ok {
			t.Errorf("topic %.20q: ok is %v", topic, !ok)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"a/b", "a/+/#", "$share/g/a", "$SYS/#", "//"} {
		f.Add(s, "a/b")
	}
	f.Fuzz(func(t *testing.T, address, topic string) {
		newFilter(address).matches(topic)
		if CheckTopic(topic) == nil && !filter(topic).matches(topic) {
			t.Fatalf("topic %q does not match itself", topic)
		}
		if CheckTopic(topic) == nil && filter("#").matches(topic) == strings.HasPrefix(topic, "$") {
			t.Fatalf("# and %q", topic)
		}
	})
}
