package messages

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Error is a Ditto error, shape E1 of contract piggyback.md 1.8:
// {"status":404,"error":"connectivity:connection.notfound","message":…,"description":…}.
// Status is the command's own HTTP-like status, Code the exact error code. Members appends further members
// (invalidHeaderKey). It never carries a secret (decision O6).
type Error struct {
	Status      int
	Code        string
	Message     string
	Description string
	Href        string
	Members     map[string]any
}

// Error implements error.
func (e *Error) Error() string {
	if e.Description == "" {
		return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message)
	}
	return fmt.Sprintf("%s (%d): %s %s", e.Code, e.Status, e.Message, e.Description)
}

// Is reports whether target is an *Error of the same code, so that errors.Is compares codes, not texts.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// MarshalJSON renders shape E1; null members are omitted.
func (e *Error) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, 5+len(e.Members))
	maps.Copy(m, e.Members)
	m["status"], m["error"], m["message"] = e.Status, e.Code, e.Message
	if e.Description != "" {
		m["description"] = e.Description
	}
	if e.Href != "" {
		m["href"] = e.Href
	}
	return json.Marshal(m)
}
