package mapping

import (
	"bytes"
	"encoding/json"
	"strings"
)

// object is a JSON object whose numbers keep their text.
type object = map[string]any

// decode reads one JSON text; numbers become json.Number.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// marshal writes v without escaping what only HTML needs escaped.
func marshal(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// keys splits a JSON pointer.
func keys(pointer string) []string {
	pointer = strings.Trim(pointer, "/")
	if pointer == "" {
		return nil
	}
	all := strings.Split(pointer, "/")
	for i, k := range all {
		all[i] = strings.ReplaceAll(strings.ReplaceAll(k, "~1", "/"), "~0", "~")
	}
	return all
}

// put sets the value at path, making the objects between.
func put(o object, path []string, value any) {
	for _, k := range path[:len(path)-1] {
		inner, ok := o[k].(object)
		if !ok {
			inner = object{}
			o[k] = inner
		}
		o = inner
	}
	o[path[len(path)-1]] = value
}

// merge adds to o what it does not have yet; where both have objects, to these.
func merge(o, more object) {
	for k, v := range more {
		has, ok := o[k]
		if !ok {
			o[k] = v
			continue
		}
		a, aOK := has.(object)
		b, bOK := v.(object)
		if aOK && bOK {
			merge(a, b)
		}
	}
}

// prune returns o without nulls and without objects that are empty or become so.
func prune(o object) object {
	kept := object{}
	for k, v := range o {
		switch v := v.(type) {
		case nil:
		case object:
			if inner := prune(v); len(inner) > 0 {
				kept[k] = inner
			}
		default:
			kept[k] = v
		}
	}
	return kept
}
