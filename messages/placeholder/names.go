package placeholder

import (
	"slices"
	"time"
)

// Name is one placeholder as it is written: prefix:name.
type Name struct{ Prefix, Name string }

// String returns prefix:name.
func (n Name) String() string { return n.Prefix + ":" + n.Name }

// known are the names of each prefix (contract connection-model.md 13.2); nil: any name.
var known = map[string][]string{
	"header":     nil,
	"thing-json": nil,
	"thing":      {"id", "namespace", "name"},
	"policy":     {"id", "namespace", "name"},
	"entity":     {"id", "namespace", "name"},
	"feature":    {"id"},
	"topic":      {"full", "namespace", "entityName", "group", "channel", "criterion", "action", "subject", "action-subject"},
	"resource":   {"type", "path"},
	"connection": {"id"},
	"request":    {"subjectId"},
	"source":     {"address"},
}

// Known reports whether the prefix exists and knows the name.
func (n Name) Known() bool {
	if n.Prefix == "time" {
		_, ok := Time(time.Time{}, n.Name)
		return ok
	}
	names, ok := known[n.Prefix]
	return ok && n.Name != "" && (names == nil || slices.Contains(names, n.Name))
}

func check(names []Name, prefixes []string) error {
	for _, n := range names {
		if !slices.Contains(prefixes, n.Prefix) || !n.Known() {
			return NewUnresolved(n.String())
		}
	}
	return nil
}
