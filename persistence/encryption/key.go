package encryption

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Prefix marks a ciphertext: "encrypted_" and the base64url text of IV, ciphertext and tag (encryption.md 2).
const Prefix = "encrypted_"

const (
	keySize = 32 // AES-256
	ivSize  = 12
	tagSize = 16
)

// Key is one AES-256-GCM key. It shows as its fingerprint. Safe for concurrent use.
type Key struct {
	aead   cipher.AEAD
	digest string // of the whole key, in hexadecimal
}

// errKeyText says what a key must look like, without repeating it.
var errKeyText = errors.New("is no key: want 32 bytes as base64 in the URL-safe alphabet (- and _ instead of + and /), such as `openssl rand -base64 32 | tr '+/' '-_'` prints")

// ParseKey reads the text form of encryption.md 1.2: 43 base64url characters, with or without the one "=" of padding. The
// error does not repeat the text.
func ParseKey(s Secret) (*Key, error) {
	raw, ok := decode(s.reveal())
	if !ok {
		return nil, errKeyText
	}
	if len(raw) != keySize {
		return nil, fmt.Errorf("is a key of %d bits, want 256", 8*len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, errors.New("is no AES key")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errors.New("is no AES key")
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("hawser: fingerprint of an encryption key"))
	return &Key{aead: aead, digest: hex.EncodeToString(mac.Sum(nil))}, nil
}

// Fingerprint is 16 hexadecimal digits that tell keys apart and say nothing about them. A nil Key has "".
func (k *Key) Fingerprint() string {
	if k == nil {
		return ""
	}
	return k.digest[:16]
}

// String implements fmt.Stringer.
func (k *Key) String() string { return "key " + k.Fingerprint() }

// Format implements fmt.Formatter, so that no verb shows the key schedule.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// MarshalText implements encoding.TextMarshaler.
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue implements slog.LogValuer.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// appendSealed appends the ciphertext of a text, prefix included, under a fresh random IV.
func (k *Key) appendSealed(dst []byte, plaintext string) []byte {
	var iv [ivSize]byte
	_, _ = rand.Read(iv[:]) // never fails (crypto/rand)
	return k.appendSealedWith(dst, iv, plaintext)
}

// appendSealedWith is appendSealed with the IV given. An IV must never be used twice with one key.
func (k *Key) appendSealedWith(dst []byte, iv [ivSize]byte, plaintext string) []byte {
	var space [256]byte
	raw := append(space[:0], iv[:]...)
	raw = k.aead.Seal(raw, iv[:], []byte(plaintext), nil)
	return base64.URLEncoding.AppendEncode(append(dst, Prefix...), raw)
}

// open decrypts a ciphertext, prefix included. False: it is none, or not of this key.
func (k *Key) open(ciphertext string) (string, bool) {
	text, ok := strings.CutPrefix(ciphertext, Prefix)
	if !ok {
		return "", false
	}
	raw, ok := decode(text)
	if !ok || len(raw) < ivSize+tagSize {
		return "", false
	}
	plaintext, err := k.aead.Open(raw[ivSize:ivSize], raw[:ivSize], raw[ivSize:], nil)
	return string(plaintext), err == nil
}

// decode reads base64url with all its padding or none. Trailing bits may be set; line breaks, which the library would pass
// over, may not be there.
func decode(text string) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	if len(text)%4 == 0 {
		text = strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	return raw, err == nil
}
