package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is what a terminal would show; wait returns when text is on it.
type output struct {
	mu   sync.Mutex
	cond *sync.Cond
	b    bytes.Buffer
}

func newOutput() *output { o := &output{}; o.cond = sync.NewCond(&o.mu); return o }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cond.Broadcast()
	return o.b.Write(p)
}

func (o *output) String() string { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

func (o *output) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	wake := time.AfterFunc(10*time.Second, func() { o.cond.Broadcast() })
	defer wake.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.b.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not show:\n%s", text, o.b.String())
		}
		o.cond.Wait()
	}
}

// start runs a broker and an API that answers with answer; got are the envelopes it received.
func start(t *testing.T, answer string) (Options, *[]string) {
	t.Helper()
	broker, err := StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	got := &[]string{}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		*got = append(*got, r.Method+" "+r.URL.Path+" "+user+":"+password+" "+string(b))
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(api.Close)
	return Options{URL: api.URL, User: "devops", Password: "pw", Broker: broker, DataDir: "/data", Out: newOutput()}, got
}

// TestRun: four requests, each printed as the curl with the same content; then what the broker gets is shown until the end.
func TestRun(t *testing.T) {
	o, got := start(t, `{"type":"x","status":201}`)
	out := o.Out.(*output)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	out.wait(t, "published plant/pump-1/up")
	if err := o.Broker.Publish("erp/pump-1", "it works"); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "arrived   erp/pump-1       it works")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(*got) != 4 {
		t.Fatalf("%d requests", len(*got))
	}
	for _, r := range *got {
		body, ok := strings.CutPrefix(r, "POST /devops/piggyback/connectivity devops:pw ")
		if !ok || !json.Valid([]byte(body)) || strings.Contains(body, "'") {
			t.Errorf("not what a curl can send: %s", r)
		}
		if !strings.Contains(out.String(), "curl -sS -u devops:pw "+o.URL+"/devops/piggyback/connectivity -d '"+body+"'") {
			t.Errorf("not shown as curl: %s", body)
		}
	}
}

// TestRefused: a step that fails ends the demo with what was answered.
func TestRefused(t *testing.T) {
	for _, answer := range []string{`{"status":503,"error":"some:error"}`, `no JSON`} {
		o, got := start(t, answer)
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), answer) {
			t.Errorf("%v", err)
		}
		if len(*got) != 1 {
			t.Errorf("%d requests", len(*got))
		}
	}
}
