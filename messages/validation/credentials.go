package validation

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"hawser/messages"
)

// The labels of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemPrivateKey  = "PRIVATE KEY"
	pemPublicKey   = "PUBLIC KEY"
)

// pemInvalid says which member is not the PEM that it should be.
func pemInvalid(pointer, label string) error {
	return messages.NewConfigurationInvalid(
		fmt.Sprintf("The value of %s is not valid PEM of a %s.", pointer, strings.ToLower(label)),
		fmt.Sprintf("It has to be enclosed in '-----BEGIN %s-----' and '-----END %[1]s-----'.", label)).About(pointer)
}

// certificates is V09: what can be checked of certificates and keys without a connection. A client certificate without
// its key, or the other way round, is not used and not looked at (connection-model.md 7).
func certificates(_ *Rules, c *messages.Connection) error {
	if c.CA != "" && c.ValidateCertificates {
		if len(parseCertificates(c.CA)) == 0 {
			return pemInvalid("/ca", pemCertificate)
		}
	}
	k := c.Credentials
	if k == nil || k.Type != messages.CredentialsClientCert || k.Cert == nil || k.Key == nil {
		return nil
	}
	key := parsePrivateKey(*k.Key)
	if key == nil {
		return pemInvalid("/credentials/key", pemPrivateKey)
	}
	certificates := parseCertificates(*k.Cert)
	if len(certificates) == 0 {
		return pemInvalid("/credentials/cert", pemCertificate)
	}
	public, ok := certificates[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return messages.NewConnectionUnavailable(c.ID).About("/credentials")
	}
	return nil
}

// parseCertificates reads a bundle of certificates; nil: it is none, or holds something else.
func parseCertificates(bundle string) []*x509.Certificate {
	var out []*x509.Certificate
	rest := []byte(bundle)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != pemCertificate || err != nil {
			return nil
		}
		out = append(out, certificate)
	}
}

// parsePrivateKey reads an unencrypted PKCS #8 key; nil: it is none.
func parsePrivateKey(text string) crypto.Signer {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemPrivateKey {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil
	}
	return signer
}

// hosts is V10 for the host of the URI; the tunnel's and the token endpoint's come with them.
func hosts(r *Rules, c *messages.Connection) error {
	if c.Type == messages.TypeHono || c.URI.Host == "" {
		return nil
	}
	return host(r, "/uri", c.URI.Host)
}

func host(r *Rules, place, name string) error {
	if r.Host == nil {
		return nil
	}
	if err := r.Host(name); err != nil {
		return invalid(place, "The configured host '%s' is blocked or invalid: %v.", name, err)
	}
	return nil
}

// tunnel is V11 and V12; a disabled tunnel is validated as well.
func tunnel(r *Rules, c *messages.Connection) error {
	t := c.SSHTunnel
	if t == nil {
		return nil
	}
	if c.Type == messages.TypeKafka {
		return invalid("/sshTunnel", "An SSH tunnel is not available for connections of type %s.", c.Type)
	}
	uri, err := messages.ParseURI(t.URI)
	switch {
	case err != nil || uri.Host == "":
		return invalid("/sshTunnel/uri", "The URI '%s' of the SSH tunnel is not valid.", messages.MaskURI(t.URI))
	case uri.Scheme != "ssh":
		return invalid("/sshTunnel/uri", "The URI '%s' of the SSH tunnel has the scheme '%s', it has to be 'ssh'.", uri, uri.Scheme)
	}
	if err := host(r, "/sshTunnel/uri", uri.Host); err != nil {
		return err
	}
	switch k := t.Credentials; {
	case k.Type == messages.CredentialsPlain && k.Username == "":
		return invalid("/sshTunnel/credentials/username", "The SSH tunnel has an empty username.")
	case k.Type == messages.CredentialsPlain && k.Password == "":
		return invalid("/sshTunnel/credentials/password", "The SSH tunnel has an empty password.")
	case k.Type == messages.CredentialsPlain:
	case k.Type != messages.CredentialsPublicKey:
		return invalid("/sshTunnel/credentials/type", "The SSH tunnel has credentials of the type '%s', it has to be '%s' or '%s'.", k.Type, messages.CredentialsPlain, messages.CredentialsPublicKey)
	case !isRSA(parsePrivateKey(k.PrivateKey)):
		return pemInvalid("/sshTunnel/credentials/privateKey", pemPrivateKey)
	case !isRSAPublic(k.PublicKey):
		return pemInvalid("/sshTunnel/credentials/publicKey", pemPublicKey)
	}
	if t.ValidateHost && len(t.KnownHosts) == 0 {
		return invalid("/sshTunnel/knownHosts", "The SSH tunnel validates its host and knows none: knownHosts is empty.")
	}
	return nil
}

func isRSA(key crypto.Signer) bool { _, ok := key.(*rsa.PrivateKey); return ok }

func isRSAPublic(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemPublicKey {
		return false
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	_, ok := key.(*rsa.PublicKey)
	return err == nil && ok
}

// hmacTypes are the types that sign with HMAC.
var hmacTypes = []messages.ConnectionType{messages.TypeAMQP10, messages.TypeHTTPPush}

// hmacCredentials is V13.
func hmacCredentials(r *Rules, c *messages.Connection) error {
	k := c.Credentials
	switch {
	case k == nil || k.Type != messages.CredentialsHMAC:
		return nil
	case !slices.Contains(hmacTypes, c.Type):
		return invalid("/credentials/type", "HMAC credentials are for connections of the types %v, not for %s.", hmacTypes, c.Type)
	case c.URI.HasUserInfo:
		return invalid("/uri", "The connection has both HMAC credentials and a user in its URI, only one of them can be used.")
	case !slices.Contains(r.HMACAlgorithms, k.Algorithm):
		return invalid("/credentials/algorithm", "The HMAC algorithm '%s' is not supported, the algorithms are %s.", k.Algorithm, strings.Join(r.HMACAlgorithms, ", "))
	}
	return nil
}

// scopes is what requestedScopes has to look like (RFC 6749, 3.3).
var scopes = regexp.MustCompile(`^[!#-\[\]-~]+( [!#-\[\]-~]+)*$`)

// oauthCredentials is V14.
func oauthCredentials(r *Rules, c *messages.Connection) error {
	k := c.Credentials
	if k == nil || k.Type != messages.CredentialsOAuthClient && k.Type != messages.CredentialsOAuthPassword {
		return nil
	}
	if c.Type != messages.TypeHTTPPush {
		return invalid("/credentials/type", "Credentials of the type %s are for connections of the type %s, not for %s.", k.Type, messages.TypeHTTPPush, c.Type)
	}
	endpoint, err := url.Parse(k.TokenEndpoint)
	if err != nil || endpoint.Hostname() == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return invalid("/credentials/tokenEndpoint", "The token endpoint '%s' is not a URL.", messages.MaskURI(k.TokenEndpoint))
	}
	if err := host(r, "/credentials/tokenEndpoint", endpoint.Hostname()); err != nil {
		return err
	}
	if !scopes.MatchString(k.RequestedScopes) {
		return invalid("/credentials/requestedScopes", "The requested scopes '%s' are not a list of scopes separated by single blanks.", k.RequestedScopes)
	}
	return nil
}
