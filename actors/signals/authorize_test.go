package signals

import (
	"testing"

	"hawser/messages/protocol"
)

// TestGrants is contract runtime.md 14.2 B3.
func TestGrants(t *testing.T) {
	grants := Grants{
		{Namespaces: []string{"acme.*"}, Read: []string{"r1"}, Write: []string{"w1"}},
		{Namespaces: []string{"acme.floor", "other"}, Read: []string{"r2"}, Write: []string{"w2"}},
	}
	for _, row := range []struct {
		namespace, subject, messageSubject string
		write                              bool
		readers                            int
	}{
		{"acme.floor", "w1", "x", true, 2},
		{"acme.floor", "w2", "x", true, 2},
		{"acme.roof", "w2", "x", false, 1},
		{"acme", "w1", "x", false, 0},
		{"other", "w2", "x", true, 1},
		{"nowhere", "w1", "x", false, 0},
		{"nowhere", "w1", "claim", true, 0},
		{"acme.floor", "r1", "x", false, 2},
	} {
		s := &Signal{Kind: protocol.LiveMessage, Subjects: []string{row.subject}, Envelope: &protocol.Envelope{
			Topic: protocol.Topic{Namespace: row.namespace, Subject: row.messageSubject},
		}}
		readers, everyone := grants.Readers(s)
		if grants.MayWrite(s) != row.write || len(readers) != row.readers || everyone {
			t.Errorf("%+v: write %v, readers %v, everyone %v", row, grants.MayWrite(s), readers, everyone)
		}
	}
	for _, row := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*", "", true}, {"a*c", "abc", true}, {"a*c", "abcd", false},
		{"a*b*c", "axbyc", true}, {"a*b*c", "axyc", false}, {"*b", "ab", true}, {"aa*a", "aa", false},
	} {
		if got := matchesPattern(row.pattern, row.text); got != row.want {
			t.Errorf("%q matches %q: %v", row.pattern, row.text, got)
		}
	}
}
