// Package encryption seals the secrets inside stored documents: the string values at configured JSON pointers of events and
// snapshots, in Ditto's ciphertext format, with one key to write and a second one to read (contract encryption.md 1 to 5,
// decisions D29 and O5). It knows no connection and imports the standard library only.
//
// Read first: Keyring, which seals, unseals and rewrites one document; part.go, which says what of a value is the secret;
// document.go, the one walk over the JSON text; Keys, which holds the ring of the moment and reloads it from files.
//
// Values that no key opens are errors, never returned as if they were clear. Errors, logs and fmt name pointers,
// variables and fingerprints, never a value or a key.
package encryption
