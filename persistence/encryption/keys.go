package encryption

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Settings are the configuration values of encryption.md 1. Of each key either the text or the file is given, or neither.
type Settings struct {
	Enabled             bool
	Key, OldKey         Secret
	KeyFile, OldKeyFile string   // names of files that hold a key, with or without a line break at the end; an empty file is no key
	Pointers            []string // nil: DefaultPointers
	Log                 *slog.Logger
}

// Keys hold the ring of the moment and exchange it when a key file changes (decision D29). Every document is sealed or
// unsealed with one ring. Safe for concurrent use.
type Keys struct {
	settings Settings
	ring     atomic.Pointer[Keyring]

	mu   sync.Mutex        // one reload at a time
	seen [sha256.Size]byte // digest of what the files held when they were last looked at
	said sync.Once         // that ciphertext was met without a key
}

// OpenKeys reads the keys and checks them as NewKeyring does. The error names variable and file, never a key.
func OpenKeys(s Settings) (*Keys, error) {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	switch {
	case !s.Key.Empty() && s.KeyFile != "":
		return nil, fmt.Errorf("%s and %s exclude each other", KeyVariable, KeyFileVariable)
	case !s.OldKey.Empty() && s.OldKeyFile != "":
		return nil, fmt.Errorf("%s and %s exclude each other", OldKeyVariable, OldKeyFileVariable)
	}
	k := &Keys{settings: s}
	files, err := k.files()
	if err != nil {
		return nil, err
	}
	ring, err := k.parse(files)
	if err != nil {
		return nil, err
	}
	k.ring.Store(ring)
	k.seen = digest(files)
	return k, nil
}

// Format implements fmt.Formatter: Keys show as their ring does.
func (k *Keys) Format(f fmt.State, verb rune) { k.Ring().Format(f, verb) }

// LogValue implements slog.LogValuer.
func (k *Keys) LogValue() slog.Value { return k.Ring().LogValue() }

// Ring is the ring of the moment.
func (k *Keys) Ring() *Keyring { return k.ring.Load() }

// Seal is Keyring.Seal with the ring of the moment.
func (k *Keys) Seal(doc json.RawMessage) (json.RawMessage, error) { return k.Ring().Seal(doc) }

// Unseal is Keyring.Unseal with the ring of the moment. Without any key, ciphertext passes as the text it is; the log says so once.
func (k *Keys) Unseal(doc json.RawMessage) (json.RawMessage, error) {
	ring := k.Ring()
	if !ring.Readable() && ring.HoldsCiphertext(doc) {
		k.said.Do(func() {
			k.settings.Log.Warn("stored secrets are encrypted, but no key is configured: connections run with the ciphertext as their secret",
				"variables", KeyVariable+", "+OldKeyVariable)
		})
	}
	return ring.Unseal(doc)
}

// Reload reads the key files at once. A set of keys that is not valid is refused, and the ring stays.
func (k *Keys) Reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	files, err := k.files()
	if err != nil {
		return false, err
	}
	return k.take(files)
}

// take makes a ring of what the files hold.
func (k *Keys) take(files [2]Secret) (changed bool, err error) {
	k.seen = digest(files)
	ring, err := k.parse(files)
	if err != nil || ring.Fingerprint() == k.Ring().Fingerprint() {
		return false, err
	}
	k.ring.Store(ring)
	return true, nil
}

// look takes what the files hold if that has changed and was the same at the look before: whoever writes a file in place
// leaves it empty for a moment, and an empty file says "no key".
func (k *Keys) look(before *[sha256.Size]byte) (changed, again bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	files, err := k.files()
	if err != nil {
		return false, false, err
	}
	switch now := digest(files); now {
	case k.seen:
		*before = now
		return false, false, nil
	case *before:
		changed, err = k.take(files)
		return changed, false, err
	default:
		*before = now
		return false, true, nil
	}
}

const (
	watchEvery = time.Second            // how often key files are looked at
	settle     = 100 * time.Millisecond // how long a changed file must stay the same
	longTime   = time.Minute            // after how long the same trouble with them is reported again
)

// Watch reloads when a key file has changed, looking once a second, and at once on each signal of reload (SIGHUP; nil:
// none), until ctx ends. The caller owns the goroutine it runs in.
func (k *Keys) Watch(ctx context.Context, reload <-chan os.Signal) {
	timer := time.NewTimer(watchEvery)
	defer timer.Stop()
	if k.settings.KeyFile == "" && k.settings.OldKeyFile == "" {
		timer.Stop()
	}
	var before [sha256.Size]byte
	var trouble string
	var reported time.Time
	for {
		var changed, asked, again bool
		var err error
		select {
		case <-ctx.Done():
			return
		case <-reload:
			asked = true
			changed, err = k.Reload()
		case <-timer.C:
			if changed, again, err = k.look(&before); again {
				timer.Reset(settle)
			} else {
				timer.Reset(watchEvery)
			}
		}
		switch {
		case err != nil && (asked || err.Error() != trouble || time.Since(reported) > longTime):
			trouble, reported = err.Error(), time.Now()
			k.settings.Log.Error("the encryption keys were not reloaded, those before stay in use", "error", err)
		case changed:
			trouble = ""
			k.settings.Log.Info("the encryption keys were reloaded", "keys", k.Ring())
		case asked && err == nil:
			k.settings.Log.Info("the encryption keys are unchanged", "keys", k.Ring())
		}
	}
}

// files reads what the key files hold; nothing where there is no file.
func (k *Keys) files() (held [2]Secret, err error) {
	for i, file := range [...]struct{ variable, name string }{{KeyFileVariable, k.settings.KeyFile}, {OldKeyFileVariable, k.settings.OldKeyFile}} {
		if file.name == "" {
			continue
		}
		if held[i], err = keyFile(file.name); err != nil {
			return held, fmt.Errorf("%s: %w", file.variable, err)
		}
	}
	return held, nil
}

func digest(files [2]Secret) [sha256.Size]byte {
	return sha256.Sum256([]byte(files[0].reveal() + "\x00" + files[1].reveal()))
}

func (k *Keys) parse(files [2]Secret) (*Keyring, error) {
	key, old := k.settings.Key, k.settings.OldKey
	if k.settings.KeyFile != "" {
		key = files[0]
	}
	if k.settings.OldKeyFile != "" {
		old = files[1]
	}
	return NewKeyring(k.settings.Enabled, key, old, k.settings.Pointers)
}

// maxKeyFile is more than any key needs.
const maxKeyFile = 4 << 10

func keyFile(name string) (Secret, error) {
	f, err := os.Open(name)
	if err != nil {
		return Secret{}, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return Secret{}, err
	case len(content) > maxKeyFile:
		return Secret{}, fmt.Errorf("%s is too large for a key", name)
	}
	return NewSecret(strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")), nil
}
