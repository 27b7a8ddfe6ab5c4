package signals

import (
	"slices"
	"strings"

	"hawser/messages/protocol"
)

// Authorizer says who may send and who may receive a live signal (contract runtime.md 14.2 B). Implementations are pure
// and safe for concurrent use.
type Authorizer interface {
	// MayWrite reports whether one of the subjects that brought the signal in may send it.
	MayWrite(s *Signal) bool
	// Readers returns the subjects that may receive it; everyone: no target is asked for its subjects.
	Readers(s *Signal) (subjects []string, everyone bool)
}

// SharedSubject is the default: who has a subject in common with the sender may receive.
type SharedSubject struct{}

// MayWrite implements Authorizer.
func (SharedSubject) MayWrite(*Signal) bool { return true }

// Readers implements Authorizer.
func (SharedSubject) Readers(s *Signal) ([]string, bool) { return s.Subjects, false }

// Open lets everyone receive everything. Only by explicit switch: it mixes tenants.
type Open struct{}

// MayWrite implements Authorizer.
func (Open) MayWrite(*Signal) bool { return true }

// Readers implements Authorizer.
func (Open) Readers(*Signal) ([]string, bool) { return nil, true }

// Grant lets subjects read and write the things of some namespaces: exact names, or patterns where * stands for any text.
type Grant struct {
	Namespaces []string `json:"namespaces"`
	Read       []string `json:"read"`
	Write      []string `json:"write"`
}

// Grants is the static table standalone.grants. All rows whose namespaces match count; a namespace without one is denied.
type Grants []Grant

// MayWrite implements Authorizer. Everyone may claim a thing.
func (g Grants) MayWrite(s *Signal) bool {
	if s.claim() {
		return true
	}
	for _, row := range g {
		if row.covers(s.Envelope.Topic.Namespace) && intersects(row.Write, s.Subjects) {
			return true
		}
	}
	return false
}

// Readers implements Authorizer.
func (g Grants) Readers(s *Signal) ([]string, bool) {
	var subjects []string
	for _, row := range g {
		if row.covers(s.Envelope.Topic.Namespace) {
			subjects = append(subjects, row.Read...)
		}
	}
	return subjects, false
}

func (g Grant) covers(namespace string) bool {
	return slices.ContainsFunc(g.Namespaces, func(pattern string) bool { return matchesPattern(pattern, namespace) })
}

// matchesPattern is a match where * stands for any text, also none.
func matchesPattern(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, parts[0])
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(text, part)
		if !ok || i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return ok && strings.HasSuffix(text, parts[len(parts)-1])
}

func intersects(a, b []string) bool {
	for _, x := range a {
		if slices.Contains(b, x) {
			return true
		}
	}
	return false
}

// claim reports whether s claims a thing: a message with the subject claim.
func (s *Signal) claim() bool {
	return s.Kind == protocol.LiveMessage && s.Envelope.Topic.Subject == "claim"
}
