// Package oidc checks the Bearer tokens of operators (contract http-api.md 2, method oauth2): JSON Web Tokens, signed by one of
// a few configured issuers with a key that is found by OpenID discovery.
//
// It imports nothing of Hawser. Read first: Verifier.Subject (verifier.go: what makes a token good), then keys (keys.go: where
// an issuer's keys come from, how long they are believed, how often they are asked for).
package oidc
