package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Address is host:port to listen on; port 0 takes a free one.
type Address string

// Host returns the host part, "" for all interfaces.
func (a Address) Host() string { host, _, _ := net.SplitHostPort(string(a)); return host }

// Loopback reports whether only this machine can reach the address.
func (a Address) Loopback() bool {
	host := a.Host()
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// Everywhere reports whether the host stands for all addresses of this machine: nobody can dial it from elsewhere.
func (a Address) Everywhere() bool {
	ip, err := netip.ParseAddr(a.Host())
	return a.Host() == "" || err == nil && ip.IsUnspecified()
}

// replace returns the address with host or port exchanged; "" leaves what is there.
func (a Address) replace(host, port *string) Address {
	h, p, _ := net.SplitHostPort(string(a))
	if host != nil {
		h = strings.Trim(*host, "[]")
	}
	if port != nil {
		p = *port
	}
	return Address(net.JoinHostPort(h, p))
}

// Size is a number of bytes.
type Size int64

// units of durations and sizes, as Ditto's configuration writes them (operations.md 8).
var (
	durationUnits = map[string]time.Duration{
		"": time.Millisecond, "ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
		"s": time.Second, "second": time.Second, "seconds": time.Second, "m": time.Minute, "minute": time.Minute, "minutes": time.Minute,
		"h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	}
	sizeUnits = map[string]int64{
		"": 1, "B": 1, "b": 1, "k": 1 << 10, "K": 1 << 10, "Ki": 1 << 10, "KiB": 1 << 10, "kB": 1000,
		"m": 1 << 20, "M": 1 << 20, "Mi": 1 << 20, "MiB": 1 << 20, "MB": 1000_000, "g": 1 << 30, "G": 1 << 30, "GiB": 1 << 30,
	}
)

// split divides "250 KiB" into its number and its unit.
func split(text string) (number float64, unit string, err error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRightFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, err = strconv.ParseFloat(digits, 64)
	if err != nil || strings.ContainsAny(digits, "eExXpPnN_") {
		return 0, "", errors.New("is no number")
	}
	return number, strings.TrimSpace(text[len(digits):]), nil
}

// ParseDuration reads 10s, 5m, 250ms, 1d; a bare number is milliseconds.
func ParseDuration(text string) (time.Duration, error) {
	number, unit, err := split(text)
	factor, ok := durationUnits[unit]
	if err != nil || !ok || math.Abs(number)*float64(factor) > math.MaxInt64/2 {
		return 0, errors.New("is no duration such as 10s, 5m, 250ms or 1d (a bare number is milliseconds)")
	}
	return time.Duration(number * float64(factor)), nil
}

// ParseSize reads 250000, 250k, 256 KiB, 1m.
func ParseSize(text string) (Size, error) {
	number, unit, err := split(text)
	factor, ok := sizeUnits[unit]
	if err != nil || !ok || number < 0 || number*float64(factor) > math.MaxInt64/2 {
		return 0, errors.New("is no size such as 250000, 250k or 1m")
	}
	return Size(number * float64(factor)), nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, errors.New("is neither true nor false")
}

func parseAddress(text string) (Address, error) {
	text = strings.TrimSpace(text)
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", errors.New("is no address such as 127.0.0.1:8080")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", errors.New("has no port between 0 and 65535")
	}
	return Address(text), nil
}

// text renders one scalar of a YAML file or of the environment.
func text(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64:
		return fmt.Sprint(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case nil:
		return "", errors.New("has no value")
	}
	return "", errors.New("is no single value")
}

// list reads a YAML list or a comma separated text.
func list(value any) ([]string, error) {
	items, isList := value.([]any)
	if !isList {
		all, err := text(value)
		if err != nil {
			return nil, err
		}
		for item := range strings.SplitSeq(all, ",") {
			items = append(items, item)
		}
	}
	out := []string{}
	for _, item := range items {
		one, err := text(item)
		if err != nil {
			return nil, err
		}
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out, nil
}

// grants reads a YAML list of objects or its JSON text.
func grants(value any) ([]Grant, error) {
	raw, isText := value.(string)
	if !isText {
		b, err := json.Marshal(value)
		if err != nil {
			return nil, errors.New("is no list of {namespaces, read, write}")
		}
		raw = string(b)
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
	dec.DisallowUnknownFields()
	var out []Grant
	if err := dec.Decode(&out); err != nil || dec.More() {
		return nil, errors.New("is no list of {namespaces, read, write}")
	}
	return out, nil
}

// assign parses value into field after the rules of k.
func (k Key) assign(field reflect.Value, value any) error {
	switch target := field.Addr().Interface().(type) {
	case *[]string:
		items, err := list(value)
		*target = items
		return err
	case *[]Grant:
		all, err := grants(value)
		*target = all
		return err
	}
	raw, err := text(value)
	if err != nil {
		return err
	}
	switch target := field.Addr().Interface().(type) {
	case *string:
		*target, err = k.choose(raw)
	case *Secret:
		*target = NewSecret(raw)
	case *bool:
		*target, err = parseBool(raw)
	case *Address:
		*target, err = parseAddress(raw)
	case *int:
		if *target, err = strconv.Atoi(strings.TrimSpace(raw)); err != nil {
			return errors.New("is no whole number")
		}
		err = within(k, *target, strconv.Atoi)
	case *Size:
		if *target, err = ParseSize(raw); err == nil {
			err = within(k, *target, ParseSize)
		}
	case *time.Duration:
		if *target, err = ParseDuration(raw); err == nil {
			err = within(k, *target, ParseDuration)
		}
	default:
		panic("config: key " + k.Name + " has a type without a parser")
	}
	return err
}

// choose checks oneof, in any case of letters.
func (k Key) choose(raw string) (string, error) {
	if len(k.OneOf) == 0 {
		return raw, nil
	}
	for _, one := range k.OneOf {
		if strings.EqualFold(one, strings.TrimSpace(raw)) {
			return one, nil
		}
	}
	return "", errors.New("must be one of " + strings.Join(k.OneOf, ", "))
}

// within checks the bounds of k.
func within[N int | Size | time.Duration](k Key, n N, parse func(string) (N, error)) error {
	if low, err := parse(k.Min); k.Min != "" && (err != nil || n < low) {
		return errors.New("must be at least " + k.Min)
	}
	if high, err := parse(k.Max); k.Max != "" && (err != nil || n > high) {
		return errors.New("must be at most " + k.Max)
	}
	return nil
}
