package config

import (
	"fmt"
	"log/slog"
)

// mask is what a secret shows (decision O6).
const mask = "*****"

// Secret is a text that shows as ***** however it is printed, logged or marshalled; Reveal is the only way to it.
type Secret struct{ text string }

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, for the one place that needs it.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.text == "" }

// String implements fmt.Stringer: ***** or nothing.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return mask
}

// Format implements fmt.Formatter, so that no verb (%v, %+v, %#v, %q, %x) shows the text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
