package messages

import (
	"fmt"
	"strings"
)

// origin says where the text of a connection comes from.
type origin uint8

const (
	sent   origin = iota // by a client
	stored               // a journal, perhaps one that an old Ditto wrote: its forms of old are migrated (connection-model.md 10.3)
)

// actionSubject is how old data writes a placeholder.
var actionSubject = strings.NewReplacer("topic:action|subject", "topic:action-subject")

// migrateSource brings a stored source up to date. Subjects are those that the whole connection had once.
func migrateSource(r *jsonReader, s *Source, subjects []string) {
	if len(s.AuthorizationContext) == 0 {
		s.AuthorizationContext = subjects
	}
	if _, ok := r.lookup("filters"); ok && s.Enforcement == nil {
		s.Enforcement = &Enforcement{Input: "{{ source:address }}", Filters: r.strictSet("filters")}
	}
	for i := range s.Addresses {
		s.Addresses[i] = actionSubject.Replace(s.Addresses[i])
	}
	migrateHeaders(s.HeaderMapping)
	migrateHeaders(s.ReplyTarget.HeaderMapping)
}

// migrateTarget brings a stored target up to date.
func migrateTarget(r *jsonReader, t *Target, typ ConnectionType, subjects []string) {
	if len(t.AuthorizationContext) == 0 {
		t.AuthorizationContext = subjects
	}
	t.Address = actionSubject.Replace(t.Address)
	migrateHeaders(t.HeaderMapping)
	if _, ok := r.lookup("headerMapping"); !ok && typ != TypeMQTT {
		t.HeaderMapping = make(map[string]string, 2)
		for _, name := range []string{HeaderCorrelationID, HeaderReplyTo} {
			t.HeaderMapping[name] = fmt.Sprintf("{{header:%s}}", name)
		}
	}
}

func migrateHeaders(headers map[string]string) {
	for name, value := range headers {
		headers[name] = actionSubject.Replace(value)
	}
}
