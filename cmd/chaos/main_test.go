package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// dialVariable makes the test binary a client in another network namespace: it dials "host:port within", says how that went
// and exits.
const dialVariable = "CHAOS_TEST_DIAL"

func TestMain(m *testing.M) {
	if order := os.Getenv(dialVariable); order != "" {
		address, limit, _ := strings.Cut(order, " ")
		within, err := time.ParseDuration(limit)
		if err != nil {
			panic(err)
		}
		c, err := net.DialTimeout("tcp", address, within)
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(0)
		}
		_ = c.Close()
		fmt.Println("connected from", c.LocalAddr())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestOptions(t *testing.T) {
	for name, row := range map[string]struct {
		args  string
		check func(o options) bool
	}{
		"defaults of the issue": {"", func(o options) bool {
			return o.rounds == 3 && o.nodes == 3 && o.connections == 300 && o.clients == 8 && o.times == "judge" && o.freeze == 25*time.Second
		}},
		"short":                     {"-short", func(o options) bool { return o.rounds == 1 && o.times == "report" && o.connections < 300 }},
		"short keeps what is given": {"-short -rounds 2 -times judge -connections 20", func(o options) bool { return o.rounds == 2 && o.times == "judge" && o.connections == 20 }},
		"environment of the nodes":  {"-ttl 10s -env A=1 -env B=2", func(o options) bool { return strings.Join(o.nodeEnv(), " ") == "HAWSER_LEASE_TTL=10s A=1 B=2" }},
		"a seed is drawn":           {"", func(o options) bool { return o.seed != 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseOptions(strings.Fields(row.args), new(bytes.Buffer))
			if err != nil || !row.check(o) {
				t.Fatalf("%+v, %v", o, err)
			}
		})
	}
	for _, bad := range []string{"-nodes 0", "-connections 1", "-rate 100000", "-times maybe", "-env NOVALUE", "surplus", "-rounds 0"} {
		if _, err := parseOptions(strings.Fields(bad), new(bytes.Buffer)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if code := run(t.Context(), []string{"-scenario", "nonsense"}, new(bytes.Buffer), new(bytes.Buffer)); code != 2 {
		t.Errorf("an unknown scenario: exit code %d, want 2", code)
	}
}

func TestScenarios(t *testing.T) {
	short, err := selected("all", true)
	if err != nil || len(short) != 5 {
		t.Fatalf("%d scenarios in -short, %v; want kill, stop, drain, kill with drain, and one cut", len(short), err)
	}
	all, err := selected("all", false)
	if err != nil || len(all) != len(scenarios) {
		t.Fatalf("%d, %v", len(all), err)
	}
	if two, err := selected("steal, kill", false); err != nil || len(two) != 2 || two[0].name != "kill" {
		t.Fatalf("%v, %v", two, err)
	}
	st := stages(all, "namespaces")
	if len(st) != 2 || st[0].network != "loopback" || len(st[0].scenarios) != 2 || st[1].network != "namespaces" {
		t.Fatalf("%+v", st)
	}
	for _, s := range all {
		if why := s.missing(3, &namespaces{}, false); why != "" {
			t.Errorf("%s cannot run on three nodes in namespaces: %s", s.name, why)
		}
		if (s.cuts != 0) != (s.missing(3, loopback{}, false) != "") {
			t.Errorf("%s on the loopback: %q", s.name, s.missing(3, loopback{}, false))
		}
		if s.database != (s.missing(3, &namespaces{}, true) != "") {
			t.Errorf("%s on a given PostgreSQL: %q", s.name, s.missing(3, &namespaces{}, true))
		}
	}
}
