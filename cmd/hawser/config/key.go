package config

import (
	"reflect"
	"strings"
	"time"
)

// Key is one row of the configuration: a field of Config and what its tags say.
type Key struct {
	Name       string
	Env        []string // weakest first
	Host, Port []string // variables of an address' parts, weakest first
	Type       string   // as the documentation names it
	Default    string
	Min, Max   string
	OneOf      []string
	Doc        string
	Secret     bool

	index []int
}

var keys = walk(reflect.TypeFor[Config](), nil)

// Keys lists all keys in the order of Config.
func Keys() []Key { return keys }

var typeNames = map[reflect.Type]string{
	reflect.TypeFor[string](): "text", reflect.TypeFor[Secret](): "secret", reflect.TypeFor[bool](): "true/false",
	reflect.TypeFor[int](): "number", reflect.TypeFor[Size](): "bytes", reflect.TypeFor[time.Duration](): "duration",
	reflect.TypeFor[Address](): "host:port", reflect.TypeFor[[]string](): "list", reflect.TypeFor[[]Grant](): "list of grants",
}

func walk(t reflect.Type, at []int) []Key {
	var out []Key
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int{}, at...), i)
		name, ok := f.Tag.Lookup("key")
		if !ok {
			out = append(out, walk(f.Type, index)...)
			continue
		}
		out = append(out, Key{
			Name: name, Env: names(f.Tag.Get("env")), Host: names(f.Tag.Get("host")), Port: names(f.Tag.Get("port")),
			Type: typeNames[f.Type], Default: f.Tag.Get("default"), Min: f.Tag.Get("min"), Max: f.Tag.Get("max"),
			OneOf: names(f.Tag.Get("oneof")), Doc: f.Tag.Get("doc"), Secret: f.Type == reflect.TypeFor[Secret](), index: index,
		})
	}
	return out
}

func names(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}
