package rql

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

func fold(s string) string { return strings.ToLower(s) }

// compare orders a field's value against a literal. False: the two cannot be compared. Null equals null and compares with
// nothing else; objects compare with nothing. A text that is a number compares with numbers as one; other pairs of
// different types compare as texts.
func compare(value, with any) (int, bool) {
	if value == nil || with == nil {
		return 0, value == nil && with == nil
	}
	switch value.(type) {
	case map[string]any, []any:
		return 0, false
	}
	if a, ok := value.(string); ok {
		if b, ok := with.(string); ok {
			return strings.Compare(a, b), true
		}
	}
	if c, ok := compareNumbers(value, with); ok {
		return c, true
	}
	if a, ok := value.(bool); ok {
		if b, ok := with.(bool); ok {
			return rank(a) - rank(b), true
		}
	}
	return strings.Compare(text(value), text(with)), true
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareNumbers compares two numbers, or a number and a text that is one, exactly.
func compareNumbers(value, with any) (int, bool) {
	if a, ok := integer(value); ok {
		if b, ok := integer(with); ok {
			switch {
			case a < b:
				return -1, true
			case a > b:
				return 1, true
			}
			return 0, true
		}
	}
	if !isNumber(value) && !isNumber(with) {
		return 0, false
	}
	a, ok := rational(value)
	if !ok {
		return 0, false
	}
	b, ok := rational(with)
	if !ok {
		return 0, false
	}
	return a.Cmp(b), true
}

func isNumber(v any) bool {
	switch v.(type) {
	case int, int64, float64, json.Number:
		return true
	}
	return false
}

// integer returns v when it is a whole number that needs no further look.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// maxDigits bounds the text of a number that is compared exactly: 1e999999999 would otherwise be written out.
const maxDigits = 400

func rational(v any) (*big.Rat, bool) {
	s := text(v)
	if s == "" || len(s) > maxDigits {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if exponent, err := strconv.Atoi(s[i+1:]); err != nil || exponent > maxDigits || exponent < -maxDigits {
			return nil, false
		}
	}
	if strings.Trim(s, "+-0123456789.eE") != "" { // big.Rat also reads fractions and other bases
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// text is how a scalar is written.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case json.Number:
		return v.String()
	}
	return ""
}
