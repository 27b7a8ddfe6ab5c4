package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hawser/gateway"
	"hawser/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// TestRealms: the devops realm has one password, the status realm two, and an absent realm lets everybody in.
func TestRealms(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	api := gateway.NewAPI(1000, quiet,
		gateway.Route{Segment: "devops", Realm: gateway.NewRealm(gateway.RealmDevOps, "foobar"), Handler: echo},
		gateway.Route{Segment: "overall", Realm: gateway.NewRealm(gateway.RealmStatus, "foobar", "status"), Handler: echo},
		gateway.Route{Segment: "open", Handler: echo},
	)
	for _, row := range []struct {
		path, user, password string
		status               int
		realm                string
	}{
		{"/devops/a", "devops", "foobar", 204, ""},
		{"/devops/a", "devops", "status", 401, "DITTO-DEVOPS"},
		{"/devops/a", "devops", "fooba", 401, "DITTO-DEVOPS"},
		{"/devops/a", "devops", "foobarx", 401, "DITTO-DEVOPS"},
		{"/devops/a", "Devops", "foobar", 401, "DITTO-DEVOPS"},
		{"/devops/a", "", "", 401, "DITTO-DEVOPS"},
		{"/overall/a", "devops", "foobar", 204, ""},
		{"/overall/a", "devops", "status", 204, ""},
		{"/overall/a", "status", "status", 401, "DITTO-STATUS"},
		{"/overall/a", "devops", "", 401, "DITTO-STATUS"},
		{"/open", "", "", 204, ""},
		{"/open", "any", "thing", 204, ""},
	} {
		t.Run(row.path+" "+row.user+":"+row.password, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodGet, row.path, nil)
			if row.user != "" {
				req.SetBasicAuth(row.user, row.password)
			}
			w := httptest.NewRecorder()
			api.ServeHTTP(w, req)
			challenge := ""
			if row.realm != "" {
				challenge = `Basic realm="` + row.realm + `",charset=UTF-8`
			}
			if w.Code != row.status || w.Header().Get("WWW-Authenticate") != challenge {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
		})
	}
}

// TestPanic: whatever a handler panics with, the client gets a 500 in shape E1 and nobody sees what may be a secret.
func TestPanic(t *testing.T) {
	const secret = "s3cret"
	for name, cause := range map[string]any{"text": secret, "error": errors.New(secret), "value": struct{ p string }{secret}, "runtime": nil} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			api := gateway.NewAPI(1000, slog.New(slog.NewTextHandler(&log, nil)), gateway.Route{Segment: "x", Handler: http.HandlerFunc(
				func(http.ResponseWriter, *http.Request) {
					if cause == nil {
						_ = []int{}[len(secret)]
					}
					panic(cause)
				})})
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/x", nil))
			var e map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 500 || e["status"] != 500. || e["error"] != "connectivity:internalerror" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String()+log.String(), secret) {
				t.Fatalf("the secret shows: %s %s", w.Body, log.String())
			}
			if !strings.Contains(log.String(), "level=ERROR") || cause == nil && !strings.Contains(log.String(), "index out of range") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// serve runs h on a free port until the test ends.
func serve(t *testing.T, h http.Handler, limits gateway.Limits) (*gateway.Server, string) {
	t.Helper()
	l, err := gateway.Listen("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := gateway.Serve(l, h, limits, quiet)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return s, "http://" + s.Addr().String()
}

// client is a client that keeps nothing open afterwards.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// TestBodyLimit: bodies up to the limit are read whole, larger ones are answered 413 in shape E1 over a real socket,
// whether their length is announced or not; the service goes on.
func TestBodyLimit(t *testing.T) {
	const limit = 100_000
	api := gateway.NewAPI(limit, quiet, gateway.Route{Segment: "x", Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := gateway.ReadBody(req)
		var e *messages.Error
		if errors.As(err, &e) {
			gateway.WriteError(w, e)
			return
		}
		gateway.WriteText(w, http.StatusOK, fmt.Sprint(len(body)))
	})})
	_, url := serve(t, api, gateway.Limits{})
	c := client(t)
	for _, row := range []struct {
		size      int
		announced bool
		status    int
	}{{0, true, 200}, {limit, true, 200}, {limit, false, 200}, {limit + 1, true, 413}, {limit + 1, false, 413}, {10 << 20, true, 413}, {10 << 20, false, 413}, {5, true, 200}} {
		t.Run(fmt.Sprintf("%d announced %v", row.size, row.announced), func(t *testing.T) {
			var body io.Reader = strings.NewReader(strings.Repeat("x", row.size))
			if !row.announced {
				body = io.MultiReader(body)
			}
			resp, err := c.Post(url+"/x", "", body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != row.status {
				t.Fatalf("%d %s %v", resp.StatusCode, answer, err)
			}
			if row.status == 200 && string(answer) != fmt.Sprint(row.size) {
				t.Fatalf("read %s of %d", answer, row.size)
			}
			if row.status == 413 && !strings.Contains(string(answer), `"error":"gateway:payload.toolarge"`) {
				t.Fatalf("%s", answer)
			}
		})
	}
}

// TestShutdown: a running request ends in peace, new ones are refused at once, and what takes too long is cut off.
func TestShutdown(t *testing.T) {
	for _, row := range []struct {
		name    string
		release bool
	}{{"ends in time", true}, {"is cut off", false}} {
		t.Run(row.name, func(t *testing.T) {
			running, release := make(chan struct{}), make(chan struct{})
			s, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				close(running)
				select {
				case <-release:
				case <-req.Context().Done():
				}
				gateway.WriteText(w, http.StatusOK, "done")
			}), gateway.Limits{})
			var answer string
			var failure error
			var asking sync.WaitGroup
			c := client(t)
			asking.Go(func() {
				resp, err := c.Get(url)
				if failure = err; err != nil {
					return
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				answer = string(b)
			})
			<-running
			within := 200 * time.Millisecond
			if row.release {
				within = 10 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(ctx) }()
			<-s.Done()
			if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
				_ = conn.Close()
				t.Error("still accepts")
			}
			if row.release {
				close(release)
			}
			err := <-ended
			asking.Wait()
			switch {
			case row.release && (err != nil || failure != nil || answer != "done"):
				t.Fatalf("%v, %v, %q", err, failure, answer)
			case !row.release && (err == nil || failure == nil):
				t.Fatalf("%v, %v, %q", err, failure, answer)
			}
			if s.Err() != nil {
				t.Error(s.Err())
			}
		})
	}
}

// TestSlowClient: who does not finish its headers is cut off.
func TestSlowClient(t *testing.T) {
	_, url := serve(t, http.NotFoundHandler(), gateway.Limits{Header: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /devops/piggyback HTTP/1.1\r\nHost: x\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatalf("the connection was not closed: %v", err)
	}
}

// TestListen: an address that cannot be had is one clear line.
func TestListen(t *testing.T) {
	l, err := gateway.Listen("API", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): "API: " + l.Addr().String() + " is in use by another process",
		"192.0.2.1:80":    "API: cannot listen on 192.0.2.1:80: ",
	} {
		if _, err := gateway.Listen("API", address); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
