package encryption

import (
	"fmt"
	"log/slog"
)

// mask is what a secret shows (decision O6).
const mask = "*****"

// Secret is a text that shows as ***** however it is printed, logged or marshalled. It hides behind a pointer: fmt does not
// ask the methods of unexported fields, but prints their pointers as addresses.
type Secret struct{ text *string }

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{&text} }

// reveal returns the text, for the one place that needs it.
func (s Secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.reveal() == "" }

// String implements fmt.Stringer: ***** or nothing.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return mask
}

// Format implements fmt.Formatter, so that no verb shows the text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
