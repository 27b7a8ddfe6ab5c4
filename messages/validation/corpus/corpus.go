// Package corpus is a collection of connection documents with what has to become of them: accepted, with what comes back,
// or refused, with error code, status and the place that the error has to name. Every expectation is read out of contract
// connection-model.md, none out of our own output. The files in testdata, one per group, are made to be reviewed.
//
// It is for tests: of package validation, and of the two surfaces of the service. Read first: Load, Case.
package corpus

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

//go:embed testdata/*.json
var files embed.FS

// ID is the id of every connection of the corpus, where a case does not change it.
const ID = "plant-7"

// Secret is what stands for each secret of the corpus: it may come back in a connection and never in an error.
const Secret = "s3cret"

// Case is one document and what has to become of it.
type Case struct {
	Group, Rule, Name string
	// Only is the one surface that can take the document, "" for both.
	Only     string
	Document json.RawMessage
	// Refused is the error code, "" when the document is accepted; Names are texts that message or description have to hold,
	// among them the JSON pointer or the key of what is wrong.
	Refused string
	Status  int
	Names   []string
	// Returned are the values that an accepted document comes back with, by JSON pointer; Absent are members that are not
	// there then.
	Returned map[string]json.RawMessage
	Absent   []string
}

// file is one file of the corpus. Documents are changed bases, or raw text.
type file struct {
	Bases map[string]any
	Texts map[string]string
	Cases []struct {
		Rule, Name, Base, Raw, Only, Refused string
		Status                               int
		Names, Remove, Absent                []string
		Change, Returned                     map[string]any
	}
}

// codes are the short names that the contract uses, too.
var codes = map[string]string{"CFG": "connectivity:connection.configuration.invalid", "URI": "connectivity:connection.uri.invalid"}

// Load reads the corpus.
func Load() ([]Case, error) {
	entries, err := files.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	bases, err := read("bases.json")
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, entry := range entries {
		if entry.Name() == "bases.json" {
			continue
		}
		f, err := read(entry.Name())
		if err != nil {
			return nil, err
		}
		group := strings.TrimSuffix(entry.Name(), ".json")
		for _, c := range f.Cases {
			one := Case{Group: group, Rule: c.Rule, Name: c.Name, Only: c.Only, Status: c.Status, Names: c.Names, Absent: c.Absent, Returned: map[string]json.RawMessage{}}
			if one.Refused = c.Refused; codes[c.Refused] != "" {
				one.Refused = codes[c.Refused]
			}
			if one.Refused != "" && one.Status == 0 {
				one.Status = 400
			}
			if one.Refused != "" && !namesPlace(one.Names) {
				return nil, fmt.Errorf("%s, %s: the case names no member", group, c.Name)
			}
			if one.Document, err = bases.document(c.Base, c.Raw, c.Change, c.Remove); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", group, c.Name, err)
			}
			for pointer, value := range c.Returned {
				if one.Returned[pointer], err = json.Marshal(bases.resolve(value)); err != nil {
					return nil, err
				}
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func read(name string) (file, error) {
	text, err := files.ReadFile(path.Join("testdata", name))
	if err != nil {
		return file{}, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // 1.0 is not 1
	d.DisallowUnknownFields()
	var f struct {
		file
		About string
	}
	if err := d.Decode(&f); err != nil {
		return file{}, fmt.Errorf("%s: %w", name, err)
	}
	return f.file, nil
}

func (f file) document(base, raw string, change map[string]any, remove []string) (json.RawMessage, error) {
	if raw != "" {
		return json.RawMessage(raw), nil
	}
	if f.Bases[base] == nil {
		return nil, fmt.Errorf("no base %q", base)
	}
	text, err := json.Marshal(f.Bases[base])
	if err != nil {
		return nil, err
	}
	var doc any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	for _, pointer := range remove {
		if err := set(doc, pointer, nil, true); err != nil {
			return nil, err
		}
	}
	for _, pointer := range slices.Sorted(maps.Keys(change)) {
		if err := set(doc, pointer, f.resolve(change[pointer]), false); err != nil {
			return nil, err
		}
	}
	return json.Marshal(doc)
}

// keys are members that a case may name by their key alone, where the contract asks for no pointer.
var keys = []string{"sources", "targets", "authorizationContext", "topics", "keepAlive", "parallelism", "idleTimeout", "divert-expected-response-types"}

// namesPlace reports whether one of names is a pointer or the key of a member.
func namesPlace(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "/") || slices.Contains(keys, n) })
}

// resolve puts texts in the place of {"$text": name}.
func (f file) resolve(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if name, ok := v["$text"].(string); ok && len(v) == 1 {
			return f.Texts[name]
		}
		out := make(map[string]any, len(v))
		for k, inner := range v {
			out[k] = f.resolve(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = f.resolve(inner)
		}
		return out
	}
	return value
}

// set puts a value at a pointer, or removes what is there.
func set(doc any, pointer string, value any, remove bool) error {
	parts := strings.Split(pointer, "/")[1:]
	last := parts[len(parts)-1]
	parent, ok := at(doc, "/"+strings.Join(parts[:len(parts)-1], "/"))
	object, isObject := parent.(map[string]any)
	switch {
	case !ok || !isObject:
		return fmt.Errorf("no object at the parent of %s", pointer)
	case remove:
		if _, there := object[last]; !there {
			return fmt.Errorf("nothing to remove at %s", pointer)
		}
		delete(object, last)
	default:
		object[last] = value
	}
	return nil
}

// at returns what is at a pointer.
func at(doc any, pointer string) (any, bool) {
	for _, part := range strings.Split(pointer, "/")[1:] {
		if part == "" && pointer == "/" {
			break
		}
		switch v := doc.(type) {
		case map[string]any:
			inner, ok := v[part]
			if !ok {
				return nil, false
			}
			doc = inner
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			doc = v[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// CheckAccepted says what is wrong with a connection that came back for an accepted document.
func (c Case) CheckAccepted(connection []byte) (problems []string) {
	var got any
	if err := json.Unmarshal(connection, &got); err != nil {
		return []string{err.Error()}
	}
	for _, pointer := range slices.Sorted(maps.Keys(c.Returned)) {
		var want any
		if err := json.Unmarshal(c.Returned[pointer], &want); err != nil {
			return []string{err.Error()}
		}
		if value, ok := at(got, pointer); !ok || !reflect.DeepEqual(value, want) {
			shown, _ := json.Marshal(value)
			problems = append(problems, fmt.Sprintf("%s is %s, want %s", pointer, shown, c.Returned[pointer]))
		}
	}
	for _, pointer := range c.Absent {
		if value, there := at(got, pointer); there {
			problems = append(problems, fmt.Sprintf("%s is there: %v", pointer, value))
		}
	}
	return problems
}

// CheckRefused says what is wrong with an error for a refused document.
func (c Case) CheckRefused(status int, code, message, description string) (problems []string) {
	if status != c.Status || code != c.Refused {
		problems = append(problems, fmt.Sprintf("refused with %s %d, want %s %d", code, status, c.Refused, c.Status))
	}
	text := message + " " + description
	for _, name := range c.Names {
		if !strings.Contains(text, name) {
			problems = append(problems, fmt.Sprintf("%q is not named", name))
		}
	}
	if strings.Contains(text, Secret) {
		problems = append(problems, "a secret shows")
	}
	if len(problems) > 0 {
		problems = append(problems, text)
	}
	return problems
}
