package monitor

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
	"unicode/utf8"
)

func messagesOf(l Logs) []string {
	var out []string
	for _, e := range l.Entries {
		out = append(out, e.Message)
	}
	return out
}

func TestLogsAreMutedUntilEnabled(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("plant-7", "mqtt")
	c.Source("in").Success(Consumed, Entry{})
	compareJSON(t, c.Logs(clk.now()), `{"enabledSince":null,"enabledUntil":null,"connectionLogs":[]}`)
	if !c.LogsMuted() || c.Source("in").Active() {
		t.Error("active without having been enabled")
	}
	c.EnableLogs(clk.now())
	if got := c.Logs(clk.now()).Entries; len(got) != 0 {
		t.Errorf("entries from before: %v", got)
	}
	if got := c.Metrics(clk.now()).Inbound["consumed"].Success.PT1M; got != 1 {
		t.Errorf("muting must not stop counting: %d", got)
	}
}

func TestLogEntryJSON(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("plant-7", "mqtt")
	c.EnableLogs(clk.now())
	clk.add(5 * time.Second)
	c.Source("telemetry/#").Success(Consumed, Entry{CorrelationID: "c-1", EntityType: "thing", EntityID: "org.acme:pump-1", HeaderKeys: []string{"content-type"}})
	c.Responses().Failure(Published, Entry{Message: "no way"})
	c.Self().Success(Other, Entry{Message: "Connection successful", EntityType: "connection"})
	compareJSON(t, c.Logs(clk.now()), `{"enabledSince":"2026-08-18T09:00:05Z","enabledUntil":"2026-08-19T09:00:05Z","connectionLogs":[
		{"correlationId":"c-1","timestamp":"2026-08-18T09:00:05Z","category":"source","type":"consumed","level":"success",
		 "message":"Received signal. - Message header keys: [content-type]","address":"telemetry/#","entityType":"thing","entityId":"org.acme:pump-1"},
		{"correlationId":"<not-provided>","timestamp":"2026-08-18T09:00:05Z","category":"response","type":"published","level":"failure","message":"no way","address":"_responses"},
		{"correlationId":"<not-provided>","timestamp":"2026-08-18T09:00:05Z","category":"connection","type":"other","level":"success","message":"Connection successful"}]}`)
}

func TestRingsKeepTheNewestTenPerTypeAddressAndLevel(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("x", "mqtt")
	c.EnableLogs(clk.now())
	for i := range 15 {
		c.Source("in").Success(Consumed, Entry{Message: fmt.Sprint("ok ", i)})
		clk.add(time.Millisecond)
	}
	c.Source("in").Failure(Consumed, Entry{Message: "bad"})
	c.Source("in").Success(Mapped, Entry{Message: "mapped"})
	c.Source("other").Success(Consumed, Entry{Message: "elsewhere"})
	got := messagesOf(c.Logs(clk.now()))
	var want []string
	for i := 5; i < 15; i++ {
		want = append(want, fmt.Sprint("ok ", i))
	}
	want = append(want, "bad", "mapped", "elsewhere")
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestLogSizeCapKeepsTheNewest(t *testing.T) {
	clk := newClock()
	entry := func(i int) Entry { return Entry{CorrelationID: "c", Message: fmt.Sprintf("größe %d", i)} }
	// The size of one entry is known by rendering it apart.
	one, err := json.Marshal(LogEntry{CorrelationID: "c", Timestamp: Instant(clk.now()), Category: "source", Type: "consumed", Level: "success", Message: "größe 0", Address: "in"})
	if err != nil {
		t.Fatal(err)
	}
	size := utf8.RuneCount(one)
	for _, tt := range []struct {
		limit int
		want  []string
	}{
		{3 * size, []string{"größe 2", "größe 3", "größe 4"}},
		{3*size - 1, []string{"größe 3", "größe 4"}},
		{1, nil},
	} {
		clk := newClock()
		c := NewRegistry(Options{Now: clk.now, MaxLogSizeBytes: tt.limit}).Connection("x", "mqtt")
		c.EnableLogs(clk.now())
		for i := range 5 {
			c.Source("in").Success(Consumed, entry(i))
			clk.add(time.Second)
		}
		if got := messagesOf(c.Logs(clk.now())); !slices.Equal(got, tt.want) {
			t.Errorf("limit %d: got %q, want %q", tt.limit, got, tt.want)
		}
	}
}

func TestLogPeriod(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("x", "mqtt")
	if until := c.EnableLogs(clk.now()); !until.Equal(clk.now().Add(24 * time.Hour)) {
		t.Errorf("enabled until %v, want 24 h (D9)", until)
	}
	c.Self().Success(Other, Entry{Message: "kept"})
	clk.add(23 * time.Hour)
	if c.ExpireLogs(clk.now()) {
		t.Fatal("expired early")
	}
	if l := c.Logs(clk.now()); l.EnabledUntil.String() != "2026-08-20T08:00:00Z" || l.EnabledSince.String() != "2026-08-19T08:00:00Z" || len(l.Entries) != 1 {
		t.Errorf("asking prolongs: %v … %v, %d entries", l.EnabledSince, l.EnabledUntil, len(l.Entries))
	}
	clk.add(24 * time.Hour)
	if !c.ExpireLogs(clk.now()) || !c.LogsMuted() {
		t.Fatal("not expired")
	}
	if c.ExpireLogs(clk.now()) {
		t.Error("expired twice")
	}
	c.EnableLogs(clk.now())
	if l := c.Logs(clk.now()); len(l.Entries) != 0 {
		t.Errorf("expiry did not clear: %v", l.Entries)
	}
}

func TestResetLogs(t *testing.T) {
	clk := newClock()
	c := NewRegistry(Options{Now: clk.now}).Connection("plant-7", "mqtt")
	c.ResetLogs("r")
	c.EnableLogs(clk.now())
	c.Source("in").Success(Consumed, Entry{})
	c.Target("out").Failure(Published, Entry{})
	c.ResetLogs("r-1")
	compareJSON(t, c.Logs(clk.now()).Entries, `[{"correlationId":"r-1","timestamp":"2026-08-18T09:00:00Z","category":"connection","type":"other",
		"level":"success","message":"Successfully reset the logs.","entityType":"connection","entityId":"plant-7"}]`)
	c.MuteLogs()
	if !c.LogsMuted() || len(c.Logs(clk.now()).Entries) != 0 {
		t.Error("mute")
	}
	if got := c.Metrics(clk.now()).Inbound["other"].Success.PT1M; got != 0 {
		t.Errorf("the connection's own entries are counted: %d", got)
	}
}

func TestDefaultTextsOfDroppedInEveryCategory(t *testing.T) {
	for c := range categoryNames {
		for _, success := range []bool{false, true} {
			if got := defaultText(category(c), Dropped, success); got != "Payload mapping returned null, message is dropped." {
				t.Errorf("%s: %q", categoryNames[c], got)
			}
		}
	}
}
