package config

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// MethodOAuth2 is the authentication method that wants Bearer tokens.
const MethodOAuth2 = "oauth2"

// DevOps is how operators show who they are (contract http-api.md 2).
type DevOps struct {
	Secured            bool     `key:"devops.secured" env:"DEVOPS_SECURED" default:"true" doc:"whether /devops and /overall ask for a password at all"`
	Password           Secret   `key:"devops.password" env:"DEVOPS_PASSWORD" default:"foobar" doc:"password of user devops"`
	PasswordFile       string   `key:"devops.password-file" env:"DEVOPS_PASSWORD_FILE" default:"" doc:"file that holds that password instead, read at the start"`
	Method             string   `key:"devops.devops-authentication-method" env:"DEVOPS_AUTHENTICATION_METHOD" default:"basic" oneof:"basic,oauth2" doc:"how /devops and /api/2/connections authenticate: by password, or by a Bearer token of one of devops.oauth.openid-connect-issuers"`
	Subjects           []string `key:"devops.devops-oauth2-subjects" env:"DEVOPS_OAUTH2_SUBJECTS" default:"" doc:"with oauth2: whose tokens may, as <issuer name>:<sub>; empty: every valid token"`
	StatusSecured      bool     `key:"devops.status-secured" env:"DEVOPS_STATUS_SECURED" default:"true" doc:"whether /overall asks for a password"`
	StatusPassword     Secret   `key:"devops.statusPassword" env:"STATUS_PASSWORD" default:"status" doc:"second password of user devops, for /overall only"`
	StatusPasswordFile string   `key:"devops.status-password-file" env:"STATUS_PASSWORD_FILE" default:"" doc:"file that holds that password instead, read at the start"`
	StatusMethod       string   `key:"devops.status-authentication-method" env:"STATUS_AUTHENTICATION_METHOD" default:"basic" oneof:"basic,oauth2" doc:"how /overall authenticates"`
	StatusSubjects     []string `key:"devops.status-oauth2-subjects" env:"STATUS_OAUTH2_SUBJECTS" default:"" doc:"with oauth2: whose tokens may see /overall, as <issuer name>:<sub>; empty: every valid token"`

	OAuth struct {
		Issuers    []string      `key:"devops.oauth.openid-connect-issuers" env:"HAWSER_DEVOPS_OAUTH2_ISSUERS" default:"" doc:"who may sign operators' tokens, as name=host/path without protocol (ops=id.example.com/realms/ops); keys are found below /.well-known/openid-configuration there"`
		Protocol   string        `key:"devops.oauth.protocol" env:"DEVOPS_OAUTH2_PROTOCOL" default:"https" oneof:"https,http" doc:"protocol of the issuers; over http whoever is between can sign tokens"`
		Skew       time.Duration `key:"devops.oauth.allowed-clock-skew" env:"DEVOPS_OAUTH2_ALLOWED_CLOCK_SKEW" default:"10s" min:"0s" max:"10m" doc:"how much the clocks of issuers may differ from this one's"`
		KeysFor    time.Duration `key:"devops.oauth.publickeys.expiry" env:"" default:"60m" min:"1s" max:"7d" doc:"how long an issuer's keys are believed; the last ones of an issuer that does not answer count 24 times as long"`
		RetryAfter time.Duration `key:"devops.oauth.publickeys.min-interval" env:"" default:"10s" min:"10ms" max:"10m" doc:"an issuer is asked for its keys at most this often, whatever keys tokens name"`
		Timeout    time.Duration `key:"devops.oauth.publickeys.timeout" env:"" default:"5s" min:"10ms" max:"60s" doc:"how long an issuer may take for one answer"`
	}
}

// Issuers are the addresses of the token issuers by name.
func (d *DevOps) Issuers() map[string]string {
	issuers := make(map[string]string, len(d.OAuth.Issuers))
	for _, pair := range d.OAuth.Issuers {
		name, address, _ := strings.Cut(pair, "=")
		issuers[name] = address
	}
	return issuers
}

// passwordFiles puts what is in the files in the place of the passwords. A line end after it is not part of a password.
func (l *loader) passwordFiles() {
	d := &l.out.Config.DevOps
	for _, p := range []struct {
		key, fileKey, file string
		into               *Secret
	}{
		{"devops.password", "devops.password-file", d.PasswordFile, &d.Password},
		{"devops.statusPassword", "devops.status-password-file", d.StatusPasswordFile, &d.StatusPassword},
	} {
		if p.file == "" {
			continue
		}
		text, err := os.ReadFile(p.file)
		if err != nil {
			var cause *fs.PathError
			reason := "cannot be read"
			if errors.As(err, &cause) {
				reason += ": " + cause.Err.Error()
			}
			l.problem(p.fileKey, l.out.Origins[p.fileKey], reason)
			continue
		}
		*p.into = NewSecret(strings.TrimRight(string(text), "\r\n"))
		l.out.Origins[p.key] = p.fileKey
	}
}

// usesPassword reports whether any route asks for a password.
func (d *DevOps) usesPassword() bool {
	return d.Secured && (d.Method != MethodOAuth2 || d.StatusSecured && d.StatusMethod != MethodOAuth2)
}
