package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// FileVariable names the YAML file when no flag does.
const FileVariable = "HAWSER_CONFIG"

// ours begins the variables that only this program reads: one that no key knows is a mistake. Those of the tests may stay set.
const (
	ours      = "HAWSER_"
	ofTheTest = "HAWSER_TEST_"
)

// Sources is where values come from, besides the defaults.
type Sources struct {
	File     string            // YAML file; "": HAWSER_CONFIG, and none if that is empty too
	Environ  []string          // NAME=value, as os.Environ
	Flags    map[string]string // key to value
	Hostname func() (string, error)
}

// Problem is one thing that is wrong. Its text shows no secret.
type Problem struct {
	Key  string // the key, or the unknown name itself
	From string // where it was set: a variable, the file, -D; "" when it is about several
	Text string
}

func (p Problem) String() string {
	if p.From == "" || p.From == p.Key {
		return p.Key + ": " + p.Text
	}
	return p.Key + " (" + p.From + "): " + p.Text
}

// Problems is an error of one line, however many there are.
type Problems []Problem

// Error names the first problem and says how many more there are.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].String()
	}
	return fmt.Sprintf("%s (and %d more: hawser config check)", p[0], len(p)-1)
}

// Loaded is a configuration and where each of its values was set.
type Loaded struct {
	Config
	File    string            // the file that was read, "" for none
	Origins map[string]string // key to "default", "file", the variable, or "-D"
}

// Load reads all sources. The error, if any, is Problems; Loaded is then what could be read.
func Load(s Sources) (*Loaded, error) {
	l := loader{sources: s, merged: koanf.New("."), out: &Loaded{Origins: map[string]string{}}, environ: map[string]string{}}
	for _, pair := range s.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			l.environ[name] = value
		}
	}
	l.defaults()
	l.file()
	l.environment()
	l.flags()
	l.decode()
	l.passwordFiles()
	l.check()
	if len(l.problems) > 0 {
		return l.out, l.problems
	}
	return l.out, nil
}

type loader struct {
	sources  Sources
	environ  map[string]string
	merged   *koanf.Koanf
	out      *Loaded
	problems Problems
}

func (l *loader) problem(key, from, text string) {
	l.problems = append(l.problems, Problem{Key: key, From: from, Text: text})
}

// merge lays values over what is there.
func (l *loader) merge(p koanf.Provider, parser koanf.Parser) error { return l.merged.Load(p, parser) }

func (l *loader) defaults() {
	values := map[string]any{}
	for _, k := range keys {
		values[k.Name] = k.Default
		l.out.Origins[k.Name] = "default"
	}
	if err := l.merge(confmap.Provider(values, "."), nil); err != nil {
		panic("config: the defaults do not load: " + err.Error())
	}
}

// line finds the place in an error of the YAML parser; the rest of its text may repeat a value.
var line = regexp.MustCompile(`line \d+`)

func (l *loader) file() {
	path, from := l.sources.File, "--config"
	if path == "" {
		path, from = l.environ[FileVariable], FileVariable
	}
	if path == "" {
		return
	}
	layer := koanf.New(".")
	switch err := layer.Load(file.Provider(path), yaml.Parser()); {
	case errors.Is(err, fs.ErrNotExist):
		l.problem(path, from, "no such file")
		return
	case err != nil:
		var pathError *fs.PathError
		reason := "is no YAML"
		if errors.As(err, &pathError) {
			reason = "cannot be read: " + pathError.Err.Error()
		} else if at := line.FindString(err.Error()); at != "" {
			reason += ", " + at
		}
		l.problem(path, from, reason)
		return
	}
	l.out.File = path
	values := map[string]any{}
	for name, value := range layer.All() {
		switch {
		case slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }):
			values[name] = value
			l.out.Origins[name] = "file"
		case value == nil && slices.ContainsFunc(keys, func(k Key) bool { return strings.HasPrefix(k.Name, name+".") }):
			// A section without entries.
		default:
			l.problem(name, path, "no such key"+suggestion(name))
		}
	}
	if err := l.merge(confmap.Provider(values, "."), nil); err != nil {
		l.problem(path, from, "cannot be merged")
	}
}

// environment lays the variables over the file. Of a key's variables the strongest that is set counts; the parts of an
// address change what weaker sources say, unless a variable gives the whole (decision O9).
func (l *loader) environment() {
	known := map[string]bool{FileVariable: true}
	winners := map[string]string{} // variable to key
	parts := map[string]any{}
	for _, k := range keys {
		for _, name := range slices.Concat(k.Env, k.Host, k.Port) {
			known[name] = true
		}
		if name := l.strongest(k.Env); name != "" {
			winners[name] = k.Name
			l.out.Origins[k.Name] = name
			continue
		}
		host, port := l.strongest(k.Host), l.strongest(k.Port)
		if host == "" && port == "" {
			continue
		}
		parts[k.Name] = string(Address(l.merged.String(k.Name)).replace(l.value(host), l.value(port)))
		l.out.Origins[k.Name] = strings.Trim(host+", "+port, ", ")
	}
	for name := range l.environ {
		if strings.HasPrefix(name, ours) && !strings.HasPrefix(name, ofTheTest) && !known[name] {
			l.problem(name, "", "no such variable"+suggestion(name))
		}
	}
	slices.SortFunc(l.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	whole := env.Provider(".", env.Opt{
		EnvironFunc:   func() []string { return l.sources.Environ },
		TransformFunc: func(name, value string) (string, any) { return winners[name], value },
	})
	for _, p := range []koanf.Provider{whole, confmap.Provider(parts, ".")} {
		if err := l.merge(p, nil); err != nil {
			l.problem("environment", "", "cannot be merged")
		}
	}
}

// strongest returns the last of names that is set; set to the empty text is set (operations.md 8).
func (l *loader) strongest(names []string) string {
	for _, name := range slices.Backward(names) {
		if _, ok := l.environ[name]; ok {
			return name
		}
	}
	return ""
}

func (l *loader) value(name string) *string {
	v, ok := l.environ[name]
	if !ok {
		return nil
	}
	return &v
}

func (l *loader) flags() {
	values := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(l.sources.Flags)) {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
			l.problem(name, "-D", "no such key"+suggestion(name))
			continue
		}
		values[name] = l.sources.Flags[name]
		l.out.Origins[name] = "-D"
	}
	if err := l.merge(confmap.Provider(values, "."), nil); err != nil {
		l.problem("-D", "", "cannot be merged")
	}
}

// decode parses the merged values into Config.
func (l *loader) decode() {
	config := reflect.ValueOf(&l.out.Config).Elem()
	for _, k := range keys {
		value := l.merged.Get(k.Name)
		if err := k.assign(config.FieldByIndex(k.index), value); err != nil {
			l.problem(k.Name, l.out.Origins[k.Name], quote(k, value)+err.Error())
		}
	}
	if l.out.Instance == "" && l.out.Origins["instance"] == "default" {
		hostname := l.sources.Hostname
		if hostname == nil {
			hostname = os.Hostname
		}
		name, err := hostname()
		if err != nil {
			l.problem("instance", "", "this machine has no host name, set INSTANCE_INDEX")
		}
		l.out.Instance = name
	}
}

// quote repeats a bad value, unless it may be a secret or is long.
func quote(k Key, value any) string {
	if raw, err := text(value); err == nil && !k.Secret && len(raw) <= 60 {
		return fmt.Sprintf("%q ", raw)
	}
	return ""
}

// suggestion names the known key or variable that a mistyped one may mean.
func suggestion(name string) string {
	best, distance := "", 4
	for _, k := range keys {
		for _, candidate := range slices.Concat([]string{k.Name}, k.Env) {
			if d := editDistance(name, candidate); d < distance {
				best, distance = candidate, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
