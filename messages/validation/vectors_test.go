package validation

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"hawser/messages"
)

// notCovered are vectors whose rule is not there yet, with the reason. A vector that passes although it is listed fails
// the test, so that the list cannot grow stale.
var notCovered = map[string]string{}

type vector struct {
	ID, About  string
	Connection json.RawMessage
	Config     struct{ BlockedHostnames string }
	Expect     struct {
		Accept bool
		Error  string
		Status int
	}
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/validation.json")
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ Vectors []vector }
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	return content.Vectors
}

// TestVectors runs every vector of the contract through the whole create path: parse, then validate. Texts are ours
// (contract README), so codes and statuses are compared.
func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	if len(vectors) < 200 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for id := range notCovered {
		if !slices.ContainsFunc(vectors, func(v vector) bool { return v.ID == id }) {
			t.Errorf("%s is no vector", id)
		}
	}
	for _, v := range vectors {
		t.Run(v.ID, func(t *testing.T) {
			rules := Rules{}
			if v.Config.BlockedHostnames != "" {
				rules.Host = blocking(t, v.Config.BlockedHostnames)
			}
			c, err := messages.ParseConnection(v.Connection)
			if err == nil {
				err = rules.Validate(c)
			}
			problem := ""
			var e *messages.Error
			switch {
			case v.Expect.Accept && err != nil:
				problem = fmt.Sprintf("refused: %v", err)
			case v.Expect.Accept:
			case err == nil:
				problem = "accepted"
			case !errors.As(err, &e) || e.Code != v.Expect.Error || e.Status != v.Expect.Status:
				problem = fmt.Sprintf("refused with %v, want %s %d", err, v.Expect.Error, v.Expect.Status)
			}
			reason, listed := notCovered[v.ID]
			switch {
			case problem == "" && listed:
				t.Errorf("%s: passes, take it off the list", v.About)
			case problem != "" && listed:
				t.Logf("%s: %s; known: %s", v.About, problem, reason)
			case problem != "":
				t.Errorf("%s: %s", v.About, problem)
			}
		})
	}
}

// blocking is the host check of a service with blocked-hostnames set, for literal addresses (14.3). The real one belongs to
// the node and resolves names.
func blocking(t *testing.T, hostnames string) func(string) error {
	var blocked []netip.Addr
	for name := range strings.SplitSeq(hostnames, ",") {
		a, err := netip.ParseAddr(name)
		if err != nil {
			t.Fatal(err)
		}
		blocked = append(blocked, a)
	}
	return func(host string) error {
		a, err := netip.ParseAddr(host)
		if err != nil {
			return errors.New("unknown")
		}
		if a.IsLoopback() || a.IsPrivate() || a.IsMulticast() || a.IsUnspecified() || slices.Contains(blocked, a) {
			return fmt.Errorf("the address %s is blocked", a)
		}
		return nil
	}
}
