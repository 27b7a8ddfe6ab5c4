package signals

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hawser/messages"
	"hawser/messages/placeholder"
)

// TestAckDefaults is contract runtime.md 4.1: the rules, then its table.
func TestAckDefaults(t *testing.T) {
	h := func(pairs ...string) messages.Headers {
		m := messages.Headers{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	const rr, ra, to = "response-required", "requested-acks", "timeout"
	for _, row := range []struct {
		name    string
		class   ackClass
		headers messages.Headers
		labels  []string
		respond bool
		refused bool // I-9
	}{
		{"live: nothing said", ackLive, h(), []string{"live-response"}, true, false},
		{"twin: nothing said", ackTwin, h(), []string{"twin-persisted"}, true, false},
		{"live: no response wanted", ackLive, h(rr, "false"), nil, false, false},
		{"live: no time", ackLive, h(to, "0"), nil, false, false},
		{"live: nothing requested", ackLive, h(ra, "[]"), nil, false, false},
		{"live: nothing requested but a response", ackLive, h(ra, "[]", rr, "true"), nil, true, false},
		{"live: own label", ackLive, h(ra, `["c:x"]`), []string{"c:x", "live-response"}, true, false},
		{"live: own label, no response", ackLive, h(ra, `["c:x"]`, rr, "false"), []string{"c:x"}, false, false},
		{"live: response taken away", ackLive, h(ra, `["live-response","c:x"]`, rr, "false"), []string{"c:x"}, false, false},
		{"live: labels of the twin", ackLive, h(ra, `["twin-persisted","search-persisted","c:x"]`), []string{"c:x", "live-response"}, true, false},
		{"live: only labels of the twin", ackLive, h(ra, `["twin-persisted"]`), []string{"live-response"}, true, false},
		{"twin: label of live", ackTwin, h(ra, `["live-response","c:x"]`), []string{"c:x"}, true, false},
		{"twin: own label stays alone", ackTwin, h(ra, `["c:x"]`, rr, "true"), []string{"c:x"}, true, false},
		{"live: repeated label", ackLive, h(ra, `["c:x","c:x"]`, rr, "false"), []string{"c:x"}, false, false},
		{"others request none", ackNone, h(ra, `["c:x"]`), nil, true, false},
		{"others are answered", ackNone, h(), nil, true, false},
		// The table: response-required, requested-acks, timeout.
		{"false, empty, any", ackLive, h(rr, "false", ra, "[]", to, "10s"), nil, false, false},
		{"false, non-empty, 0", ackLive, h(rr, "false", ra, `["c:x"]`, to, "0"), []string{"c:x"}, false, true},
		{"false, non-empty, >0", ackLive, h(rr, "false", ra, `["c:x"]`, to, "10s"), []string{"c:x"}, false, false},
		{"true, absent, 0", ackLive, h(rr, "true", to, "0s"), nil, true, true},
		{"true, empty, 0", ackLive, h(rr, "true", ra, "[]", to, "0ms"), nil, true, true},
		{"true, empty, >0", ackLive, h(rr, "true", ra, "[]", to, "10s"), nil, true, false},
		{"true, non-empty, >0", ackLive, h(rr, "true", ra, `["c:x"]`, to, "10s"), []string{"c:x", "live-response"}, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, err := ackRequestOf(row.class, row.headers)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Labels) == 0 {
				a.Labels = nil
			}
			if diff := cmp.Diff(row.labels, a.Labels); diff != "" {
				t.Errorf("labels: %s", diff)
			}
			if a.Respond != row.respond || a.zeroTimeout() != row.refused {
				t.Errorf("respond %v, refused %v", a.Respond, a.zeroTimeout())
			}
		})
	}
	for text, want := range map[string]time.Duration{"10": 10 * time.Second, "1500ms": 1500 * time.Millisecond, "2m": 2 * time.Minute} {
		if a, err := ackRequestOf(ackLive, h(to, text)); err != nil || a.Timeout != want || !a.HasTimeout {
			t.Errorf("timeout %s: %v %v", text, a.Timeout, err)
		}
	}
	for name, row := range map[string]struct {
		headers messages.Headers
		code    string
	}{
		"timeout":        {h(to, "soon"), "timeout.invalid"},
		"requested-acks": {h(ra, "c:x"), "header.invalid"},
	} {
		if _, err := ackRequestOf(ackLive, row.headers); err == nil || err.Code != row.code {
			t.Errorf("%s: %v, want %s", name, err, row.code)
		}
	}
}

// TestSourceRequestsAcks is contract runtime.md I-6.5.
func TestSourceRequestsAcks(t *testing.T) {
	values := placeholder.SourceFunc(func(prefix, name string) ([]string, bool) {
		return []string{"1"}, prefix == "header" && name == "qos"
	})
	const absent = "absent"
	for _, row := range []struct {
		name, signal string
		includes     []string
		filter, want string
	}{
		{"included", absent, []string{"c:x"}, "", `["c:x"]`},
		{"united", `["c:y"]`, []string{"c:x"}, "", `["c:y","c:x"]`},
		{"there already", `["c:x"]`, []string{"c:x"}, "", `["c:x"]`},
		{"the signal wants none", `[]`, []string{"c:x"}, "", `[]`},
		{"nothing included", absent, nil, "", absent},
		{"filter lets pass", absent, []string{"c:x"}, "fn:filter(header:qos,'ne','0')", `["c:x"]`},
		{"filter takes all", absent, []string{"c:x"}, "fn:filter(header:qos,'eq','0')", `[]`},
		{"filter takes what the signal asks", `["c:y"]`, nil, "fn:filter(header:qos,'eq','0')", `[]`},
		{"filter passes, nothing was there", absent, nil, "fn:filter(header:qos,'ne','0')", absent},
		{"filter provides", absent, nil, `fn:default('["c:z"]')`, `["c:z"]`},
		{"deleted", `["c:y"]`, nil, "fn:delete()", `[]`},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := messages.Headers{}
			if row.signal != absent {
				h["requested-acks"] = row.signal
			}
			var filter *placeholder.Pipeline
			if row.filter != "" {
				var err error
				if filter, err = placeholder.CompilePipeline(row.filter); err != nil {
					t.Fatal(err)
				}
			}
			if err := requestAcks(h, row.includes, filter, values); err != nil {
				t.Fatal(err)
			}
			got, present := h["requested-acks"]
			if !present {
				got = absent
			}
			if got != row.want {
				t.Errorf("requested-acks %s, want %s", got, row.want)
			}
		})
	}
}
