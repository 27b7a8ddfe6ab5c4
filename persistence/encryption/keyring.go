package encryption

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// The environment variables of the keys (encryption.md 1, decision D29); errors name them.
const (
	KeyVariable        = "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY"
	OldKeyVariable     = "CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY"
	KeyFileVariable    = KeyVariable + "_FILE"
	OldKeyFileVariable = OldKeyVariable + "_FILE"
)

// FieldError says that the value at a pointer is a ciphertext that no configured key opens. It holds no part of the value.
type FieldError struct {
	Pointer string
	Keys    int // how many were tried
}

func (e *FieldError) Error() string {
	if e.Keys == 1 {
		return fmt.Sprintf("encryption: the value at %s cannot be decrypted: it does not fit the key", e.Pointer)
	}
	return fmt.Sprintf("encryption: the value at %s cannot be decrypted: it fits neither the current nor the old key", e.Pointer)
}

// Keyring seals and unseals documents with the keys of one configuration (the matrix of encryption.md 4). It does not
// change; Keys exchanges it. Safe for concurrent use.
type Keyring struct {
	enabled  bool
	key, old *Key // nil: not configured
	tree     *node
	pointers string // fingerprint of the pointers
}

// NewKeyring checks the configuration of encryption.md 1.1 as soon as it is known: keys decode and have 32 bytes, they are
// different, enabled means that there is a current one, and pointers are JSON pointers. Blank texts are no keys; pointers
// nil are the default ones. Errors name the variable, never its value.
func NewKeyring(enabled bool, key, old Secret, pointers []string) (*Keyring, error) {
	if pointers == nil {
		pointers = DefaultPointers()
	}
	k := &Keyring{enabled: enabled}
	var err error
	if k.tree, err = newTree(pointers); err != nil {
		return nil, fmt.Errorf("json-pointers: %w", err)
	}
	sorted := slices.Sorted(slices.Values(pointers))
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(sorted), "\n")))
	k.pointers = hex.EncodeToString(sum[:4])
	if k.key, err = optional(KeyVariable, key); err != nil {
		return nil, err
	}
	if k.old, err = optional(OldKeyVariable, old); err != nil {
		return nil, err
	}
	switch {
	case enabled && k.key == nil:
		return nil, fmt.Errorf("%s: Missing 'symmetrical-key': encryption is enabled", KeyVariable)
	case k.key != nil && k.old != nil && k.key.digest == k.old.digest:
		return nil, fmt.Errorf("%s and %s must be different", KeyVariable, OldKeyVariable)
	}
	return k, nil
}

func optional(variable string, s Secret) (*Key, error) {
	if strings.TrimSpace(s.reveal()) == "" {
		return nil, nil
	}
	k, err := ParseKey(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return k, nil
}

// Enabled reports whether documents are written sealed.
func (k *Keyring) Enabled() bool { return k.enabled }

// Readable reports whether there is a key to read with.
func (k *Keyring) Readable() bool { return k.key != nil || k.old != nil }

// Fingerprints is what may be shown of a ring, in /devops/config for instance: never a key. Keys that are not there are "".
type Fingerprints struct {
	Enabled bool   `json:"encryption-enabled"`
	Key     string `json:"symmetrical-key"`
	Old     string `json:"old-symmetrical-key"`
}

// Fingerprints says which keys the ring holds.
func (k *Keyring) Fingerprints() Fingerprints {
	return Fingerprints{Enabled: k.enabled, Key: k.key.Fingerprint(), Old: k.old.Fingerprint()}
}

// Fingerprint is one text that is the same on two nodes if they write and read alike: enabled or not, both keys, and the
// pointers (decision D29).
func (k *Keyring) Fingerprint() string {
	f := k.Fingerprints()
	return fmt.Sprintf("enabled=%t key=%s old=%s pointers=%s", f.Enabled, f.Key, f.Old, k.pointers)
}

// String implements fmt.Stringer.
func (k *Keyring) String() string { return k.Fingerprint() }

// Format implements fmt.Formatter, so that no verb shows more.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.Fingerprint())) }

// LogValue implements slog.LogValuer.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.Fingerprint()) }

// Seal encrypts the secrets of an event or a snapshot with the current key, each under a fresh IV. Without encryption the
// document comes back as it is. Values that look like ciphertext are clear text here: they are sealed like others.
func (k *Keyring) Seal(doc json.RawMessage) (json.RawMessage, error) {
	if !k.enabled {
		return doc, nil
	}
	sealed, _, err := rewriteDocument(doc, k.tree, func(_, text string) (string, bool, error) {
		changed, differs := k.key.seal(text)
		return changed, differs, nil
	})
	return sealed, err
}

// Unseal decrypts the secrets of an event or a snapshot, each with the current key or else the old one. A ciphertext that
// neither opens is a *FieldError. Without any key the document comes back as it is (encryption.md 4, first row).
func (k *Keyring) Unseal(doc json.RawMessage) (json.RawMessage, error) {
	if !k.Readable() || !mayHoldCiphertext(doc) {
		return doc, nil
	}
	unsealed, _, err := rewriteDocument(doc, k.tree, func(pointer, text string) (string, bool, error) {
		part, sealed := sealedPart(text)
		if !sealed {
			return "", false, nil
		}
		for _, key := range [...]*Key{k.key, k.old} {
			if key == nil {
				continue
			}
			if clear, ok := key.open(text[part.start:part.end]); ok {
				return text[:part.start] + clear + text[part.end:], true, nil
			}
		}
		return "", false, k.unreadable(pointer)
	})
	return unsealed, err
}

func (k *Keyring) unreadable(pointer string) error {
	e := &FieldError{Pointer: pointer}
	for _, key := range [...]*Key{k.key, k.old} {
		if key != nil {
			e.Keys++
		}
	}
	return e
}

// HoldsCiphertext reports whether the value at some pointer looks encrypted.
func (k *Keyring) HoldsCiphertext(doc json.RawMessage) bool {
	if !mayHoldCiphertext(doc) {
		return false
	}
	holds := false
	_, _, err := rewriteDocument(doc, k.tree, func(_, text string) (string, bool, error) {
		_, sealed := sealedPart(text)
		holds = holds || sealed
		return "", false, nil
	})
	return err == nil && holds
}

// mayHoldCiphertext saves the walk over most documents that hold none. An escape may hide the prefix.
func mayHoldCiphertext(doc []byte) bool {
	return bytes.Contains(doc, []byte(Prefix)) || bytes.Contains(doc, []byte(`\u`))
}

// seal encrypts the secret part of a clear value; false when it has none.
func (k *Key) seal(text string) (string, bool) {
	part, ok := secretPart(text)
	if !ok {
		return "", false
	}
	var space [512]byte
	sealed := append(space[:0], text[:part.start]...)
	sealed = k.appendSealed(sealed, text[part.start:part.end])
	return string(append(sealed, text[part.end:]...)), true
}

// Why a ring has no Mode.
var (
	// ErrNotConfigured: encryption is disabled and there is no old key, so nothing is to be migrated (decision D22).
	ErrNotConfigured = errors.New("encryption: nothing to migrate: encryption is disabled and there is no old key")
	// ErrMisconfigured: disabled with both keys, which says neither "to the current key" nor "to clear text" (decision D23).
	ErrMisconfigured = errors.New("encryption: disabled, but both keys are set")
)

// Mode is what a migration does with this ring (encryption.md 6.8).
type Mode string

// The modes.
const (
	ModeInitial  Mode = "initial"  // clear text to the current key
	ModeRotation Mode = "rotation" // old key, and clear text, to the current key
	ModeDisable  Mode = "disable"  // old key to clear text
)

// Mode says what a migration with this ring does: ErrNotConfigured or ErrMisconfigured when it can do nothing.
func (k *Keyring) Mode() (Mode, error) {
	switch {
	case k.enabled && k.old == nil:
		return ModeInitial, nil
	case k.enabled:
		return ModeRotation, nil
	case k.old == nil:
		return "", ErrNotConfigured
	case k.key != nil:
		return "", ErrMisconfigured
	default:
		return ModeDisable, nil
	}
}

// Outcome is what a migration does with one document.
type Outcome uint8

// The outcomes.
const (
	Absent  Outcome = iota // no pointer leads anywhere in it: it is not looked at, nor counted
	Skipped                // it has the form that the migration makes already
	Changed                // it is to be written anew
)

// errSealed ends the walk over a document that initial encryption leaves alone.
var errSealed = errors.New("encryption: holds ciphertext")

// Rewrite brings a stored document into the form that the ring's Mode makes (encryption.md 6.8):
//
//   - initial: a document with any ciphertext is left alone, the values of others are encrypted;
//   - rotation: values under the old key and clear ones are encrypted with the current key, those under it stay;
//   - disable: values under the old key are decrypted.
//
// A ciphertext that no key opens is a *FieldError, and the document stays as it is.
func (k *Keyring) Rewrite(doc json.RawMessage) (json.RawMessage, Outcome, error) {
	mode, err := k.Mode()
	if err != nil {
		return nil, Absent, err
	}
	rewritten, found, err := rewriteDocument(doc, k.tree, func(pointer, text string) (string, bool, error) {
		part, sealed := sealedPart(text)
		switch {
		case !sealed && mode == ModeDisable:
			return "", false, nil
		case !sealed:
			changed, differs := k.key.seal(text)
			return changed, differs, nil
		case mode == ModeInitial:
			return "", false, errSealed
		}
		ciphertext := text[part.start:part.end]
		if mode == ModeRotation {
			if _, ok := k.key.open(ciphertext); ok {
				return "", false, nil
			}
		}
		clear, ok := k.old.open(ciphertext)
		if !ok {
			return "", false, k.unreadable(pointer)
		}
		if mode == ModeRotation {
			clear = string(k.key.appendSealed(nil, clear))
		}
		return text[:part.start] + clear + text[part.end:], true, nil
	})
	switch {
	case errors.Is(err, errSealed):
		return nil, Skipped, nil
	case err != nil:
		return nil, Skipped, err
	case !found:
		return nil, Absent, nil
	case bytes.Equal(rewritten, doc) && len(doc) > 0 && &rewritten[0] == &doc[0]:
		return nil, Skipped, nil
	default:
		return rewritten, Changed, nil
	}
}
