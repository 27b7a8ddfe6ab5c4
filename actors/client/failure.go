package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"hawser/messages"
)

// NewFailure wraps an error of a transport with the class that its cause has. text says what was attempted or what
// happened and holds no secret; of cause only its kind is used.
func NewFailure(text string, cause error) *Failure {
	return &Failure{Text: text, UserIndicated: UserIndicated(cause), Cause: cause}
}

// UserIndicated reports whether err is of a kind that the operator of the connection can do something about: name
// resolution, connection refused, TLS and certificates, blocked hosts (runtime.md 11). Refusals in a protocol's own words
// are for its transport to class.
func UserIndicated(err error) bool {
	var (
		failure   *Failure
		host      *HostError
		dns       *net.DNSError
		alert     *net.OpError
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	if errors.As(err, &failure) {
		return failure.UserIndicated
	}
	return errors.As(err, &host) || errors.As(err, &dns) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error") || // so crypto/tls reports alerts
		errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid)
}

// failureOf is err as a Failure.
func failureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return NewFailure(err.Error(), err)
}

// unreachable is the failure of the TCP probe (piggyback.md 4.5): always the user's to fix.
func unreachable(address string, cause error) *Failure {
	text := fmt.Sprintf("Could not establish a connection on '%s'. Make sure the endpoint is reachable and that no firewall prevents the connection.", address)
	var host *HostError
	if errors.As(cause, &host) {
		text = fmt.Sprintf("Could not establish a connection on '%s': %s.", address, host)
	}
	return &Failure{Text: text, UserIndicated: true, Description: text, Cause: cause}
}

// description is what an operator is told who waits for the connect.
func (f *Failure) description() string {
	if f.Description != "" {
		return f.Description
	}
	return "Cause: " + f.Text
}

// asError is the answer to the command that waited for the connect.
func (f *Failure) asError(id string) *messages.Error {
	if f.Unauthorized {
		return messages.NewConnectionUnauthorized(id, f.Text)
	}
	return messages.NewConnectionFailed(id, f.description())
}

// redactor takes the secrets of one connection out of texts that drivers and brokers wrote: a second line of defence, no
// transport puts one in (decision O6). Secrets of fewer than 4 characters are left: they would make any text unreadable.
type redactor struct{ replacer *strings.Replacer }

func newRedactor(c *messages.Connection) redactor {
	var pairs []string
	add := func(secrets ...string) {
		for _, s := range secrets {
			if len(s) >= 4 {
				pairs = append(pairs, s, "*****")
			}
		}
	}
	if c.URI.HasUserInfo {
		add(c.URI.Password)
		if _, rest, ok := strings.Cut(c.URI.Raw, "://"); ok {
			if info, _, ok := strings.Cut(rest, "@"); ok {
				if _, raw, ok := strings.Cut(info, ":"); ok {
					add(raw)
				}
			}
		}
	}
	if k := c.Credentials; k != nil {
		add(k.Password, k.PrivateKey)
		for _, p := range []*string{k.Key, k.ClientSecret} {
			if p != nil {
				add(*p)
			}
		}
	}
	if len(pairs) == 0 {
		return redactor{}
	}
	return redactor{strings.NewReplacer(pairs...)}
}

func (r redactor) text(s string) string {
	if r.replacer == nil {
		return s
	}
	return r.replacer.Replace(s)
}

// failure is f without secrets.
func (r redactor) failure(f *Failure) *Failure {
	if r.replacer == nil {
		return f
	}
	clean := *f
	clean.Text, clean.Description = r.text(f.Text), r.text(f.Description)
	return &clean
}
