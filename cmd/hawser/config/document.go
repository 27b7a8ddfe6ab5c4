package config

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Process is what /devops/config tells of a process beside its configuration.
type Process struct {
	Service, Instance string
	Args, Environ     []string // as os.Args and os.Environ; secrets in them are masked
	// Fingerprints are shown for the keys of these names instead of their values.
	Fingerprints map[string]string
}

// Document is the configuration in effect as one JSON document with Ditto's paths (contract piggyback.md 1.9, operations.md
// 7.4): ditto.service-name, ditto.info, and every key below ditto or ditto.connectivity. Secrets are ***** (decision O6), or a
// fingerprint (D29).
func (c *Config) Document(p Process) json.RawMessage {
	ditto := map[string]any{"service-name": p.Service}
	config := reflect.ValueOf(c).Elem()
	for _, k := range keys {
		path := strings.Split(k.Name, ".")
		if ofConnectivity[path[0]] {
			path = append([]string{"connectivity"}, path...)
		}
		value := shown(config.FieldByIndex(k.index).Interface())
		if fingerprint, ok := p.Fingerprints[k.Name]; ok {
			value = fingerprint
		}
		set(ditto, path, value)
	}
	environ := map[string]string{}
	for _, pair := range p.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			environ[name] = maskVariable(name, value)
		}
	}
	args := make([]string, 0, len(p.Args))
	for _, arg := range p.Args {
		args = append(args, maskArgument(arg))
	}
	ditto["info"] = map[string]any{
		"service": map[string]any{"name": p.Service, "instance-id": p.Instance}, "vm-args": args, "env": environ,
	}
	b, err := json.Marshal(map[string]any{"ditto": ditto})
	if err != nil { // texts, numbers, lists of them
		return json.RawMessage("{}")
	}
	return b
}

// ofConnectivity are the groups of keys that Ditto has below ditto.connectivity.
var ofConnectivity = map[string]bool{"connection": true, "client": true, "monitoring": true, "mapping": true, "persistence-ping": true}

// set puts a value at a path of nested objects.
func set(in map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		inner, ok := in[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			in[name] = inner
		}
		in = inner
	}
	in[path[len(path)-1]] = value
}

// shown is a value as JSON shows it.
func shown(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return renderDuration(v)
	case Secret:
		return v.String()
	case []string:
		return append([]string{}, v...)
	}
	return value
}

// secretWords mark names whose values are not shown.
var secretWords = []string{"KEY", "PASSWORD", "SECRET", "TOKEN", "URI"}

func secretName(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// secretKey reports whether a name is that of a key, or a variable of a key, that holds a secret.
func secretKey(name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Secret && (k.Name == name || slices.Contains(k.Env, name)) })
}

func maskVariable(name, value string) string {
	if value != "" && (secretName(name) || secretKey(name)) {
		return mask
	}
	return maskInside(value)
}

// maskArgument hides the value of an argument name=value or -Dname=value.
func maskArgument(arg string) string {
	name, value, ok := strings.Cut(arg, "=")
	if !ok {
		return maskInside(arg)
	}
	key := strings.TrimPrefix(strings.TrimLeft(name, "-"), "D")
	if value != "" && (secretName(name) || secretKey(key)) {
		return name + "=" + mask
	}
	return name + "=" + maskInside(value)
}

var (
	userInfo   = regexp.MustCompile(`://[^/\s@]*(?:/[^/\s@]*)*@`) // greedy: a password may hold a slash
	assignment = regexp.MustCompile(`(?i)((?:password|passwd|secret|token|key)\w*=)[^&;\s]+`)
)

// maskInside hides what a text that is not known to be a secret carries of one.
func maskInside(text string) string {
	text = userInfo.ReplaceAllString(text, "://"+mask+"@")
	return assignment.ReplaceAllString(text, "${1}"+mask)
}
