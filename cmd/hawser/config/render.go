package config

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Print writes the values in effect as a YAML file with dotted keys, each with where it was set; secrets are masked, so
// that the output may be shown to others (and needs its secrets filled in to be used as a file).
func (l *Loaded) Print(w io.Writer) error {
	config := reflect.ValueOf(&l.Config).Elem()
	for _, k := range keys {
		setting := k.Name + ": " + render(config.FieldByIndex(k.index).Interface())
		if _, err := fmt.Fprintf(w, "%-80s # %s\n", setting, l.Origins[k.Name]); err != nil {
			return err
		}
	}
	return nil
}

// render writes a value as YAML.
func render(value any) string {
	switch v := value.(type) {
	case bool, int:
		return fmt.Sprint(v)
	case Size:
		return strconv.FormatInt(int64(v), 10)
	case time.Duration:
		return renderDuration(v)
	case Secret:
		return strconv.Quote(v.String())
	case Address:
		return strconv.Quote(string(v))
	case []string:
		return strconv.Quote(strings.Join(v, ","))
	case []Grant:
		if v == nil {
			v = []Grant{}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return "[]"
		}
		return string(b)
	}
	return strconv.Quote(fmt.Sprint(value))
}

// renderDuration takes the largest unit that leaves a whole number.
func renderDuration(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}} {
		if d != 0 && d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}

// WriteDoc writes all keys as a Markdown table.
func WriteDoc(w io.Writer) error {
	rows := []string{
		"Precedence: flag (`-D key=value`) > environment variable > YAML file (`--config` or `" + FileVariable + "`) > default.",
		"Of several variables the last that is set counts. Durations: 10s, 5m, 250ms, 1d; a bare number is milliseconds. Sizes: bytes, or 250k, 1m.",
		"Unknown keys, unknown `" + ours + "` variables and bad values stop the start.",
		"",
		"| key | environment | type | default | meaning |",
		"|---|---|---|---|---|",
	}
	for _, k := range keys {
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", k.Name, k.variables(), k.kind(), strings.ReplaceAll(code(k.Default), "|", `\|`), k.Doc))
	}
	_, err := io.WriteString(w, strings.Join(rows, "\n")+"\n")
	return err
}

func (k Key) variables() string {
	var all []string
	for _, name := range k.Env {
		all = append(all, code(name))
	}
	for _, name := range k.Host {
		all = append(all, code(name)+" (host)")
	}
	for _, name := range k.Port {
		all = append(all, code(name)+" (port)")
	}
	return strings.Join(all, ", ")
}

func (k Key) kind() string {
	kind := k.Type
	if len(k.OneOf) > 0 {
		kind = strings.Join(k.OneOf, ", ")
	}
	switch {
	case k.Min != "" && k.Max != "":
		kind += ", " + k.Min + " to " + k.Max
	case k.Min != "":
		kind += ", at least " + k.Min
	case k.Max != "":
		kind += ", at most " + k.Max
	}
	return kind
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
