package devops

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"

	"hawser/messages"
)

func tree(level string) (*Levels, *bytes.Buffer, *slog.Logger) {
	var out bytes.Buffer
	l := NewLevels(level)
	return l, &out, slog.New(l.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.Level(math.MinInt)})))
}

// TestLevels: a logger has the level of the longest prefix that has one, at once, however it was named.
func TestLevels(t *testing.T) {
	l, out, root := tree("info")
	loggers := map[string]*slog.Logger{"": root}
	for _, name := range []string{"hawser", "hawser/actors", "hawser/actors/client", "hawser/actors/client/mqtt", "hawser/actors/clients", "hawser/gateway/devops"} {
		loggers[name] = root.With("instance", "i1").With(LoggerKey, name).With("more", 1)
	}
	for _, step := range []struct {
		logger, level string
		debug         string // loggers that log at debug afterwards
	}{
		{"ROOT", "info", ""},
		{"hawser/actors/client", "DEBUG", "hawser/actors/client hawser/actors/client/mqtt"},
		{"hawser.actors.client.mqtt", "warn", "hawser/actors/client"},
		{"org.eclipse.ditto.connectivity.service.messaging.mqtt.hivemq.Some", "trace", "hawser/actors/client hawser/actors/client/mqtt"},
		{"org.eclipse.ditto.connectivity", "all", "hawser/actors hawser/actors/client hawser/actors/client/mqtt hawser/actors/clients"},
		{"org.eclipse.ditto", "debug", "hawser hawser/actors hawser/actors/client hawser/actors/client/mqtt hawser/actors/clients hawser/gateway/devops"},
		{"hawser/actors/client", "off", "hawser hawser/actors hawser/actors/client/mqtt hawser/actors/clients hawser/gateway/devops"},
		{"root", "debug", " hawser hawser/actors hawser/actors/client/mqtt hawser/actors/clients hawser/gateway/devops"},
		{"com.example", "error", " hawser hawser/actors hawser/actors/client/mqtt hawser/actors/clients hawser/gateway/devops"},
	} {
		if !l.Set(step.logger, step.level) {
			t.Fatalf("%s %s is refused", step.logger, step.level)
		}
		want := map[string]bool{}
		for name := range strings.SplitSeq(step.debug, " ") {
			want[name] = step.debug != ""
		}
		for name, log := range loggers {
			out.Reset()
			log.Debug("line")
			if got := out.Len() > 0; got != want[name] {
				t.Errorf("after %s %s: %q logs at debug: %v", step.logger, step.level, name, got)
			}
		}
	}
	if got := fmt.Sprint(l.List(false)[:3]); got != "[{debug ROOT} {error com.example} {debug hawser}]" {
		t.Errorf("list begins %s", got)
	}
	for _, bad := range [][2]string{{"ROOT", "loud"}, {"ROOT", ""}, {strings.Repeat("x", 201), "info"}} {
		if l.Set(bad[0], bad[1]) {
			t.Errorf("%q is taken", bad)
		}
	}
	for k := range 2 * maxLoggers {
		l.Set(fmt.Sprint("logger", k), "info")
	}
	if n := len(l.List(true)); n > maxLoggers+len(loggers)+10 {
		t.Errorf("%d loggers", n)
	}
}

// TestLoggerName: a line shows the name of its logger once, the newest one.
func TestLoggerName(t *testing.T) {
	_, out, root := tree("info")
	root.With(LoggerKey, "a").With("x", 1).With(LoggerKey, "a/b", "y", 2).WithGroup("g").Info("line", "z", 3)
	if got := out.String(); strings.Count(got, LoggerKey+"=") != 1 || !strings.Contains(got, "logger=a/b") || !strings.Contains(got, "x=1") || !strings.Contains(got, "g.z=3") {
		t.Error(got)
	}
}

// TestLevelsWhileLogging: for the race detector.
func TestLevelsWhileLogging(t *testing.T) {
	l := NewLevels("info")
	root := slog.New(l.Handler(slog.DiscardHandler))
	var work sync.WaitGroup
	for k := range 4 {
		work.Go(func() {
			for range 500 {
				root.With(LoggerKey, fmt.Sprint("l", k)).Info("line")
				l.Set(fmt.Sprint("l", k), "debug")
				l.List(true)
			}
		})
	}
	work.Wait()
}

// TestLevelsAnswer are the replies of piggyback.md 1.9.
func TestLevelsAnswer(t *testing.T) {
	l := NewLevels("info")
	answer := l.Answer("i1")
	for _, row := range []struct{ command, members, want string }{
		{messages.RetrieveLoggerConfig, `{}`,
			`{"type":"devops.responses:retrieveLoggerConfig","status":200,"serviceName":"connectivity","instance":"i1","loggerConfigs":[{"level":"info","logger":"ROOT"}]}`},
		{messages.ChangeLogLevel, `{"level":"debug","logger":"ROOT"}`,
			`{"type":"devops.responses:changeLogLevel","status":200,"serviceName":"connectivity","instance":"i1","successful":true}`},
		{messages.ChangeLogLevel, `{"level":"loud","logger":"ROOT"}`,
			`{"type":"devops.responses:changeLogLevel","status":500,"serviceName":"connectivity","instance":"i1","successful":false}`},
		{messages.RetrieveLoggerConfig, `{}`,
			`{"type":"devops.responses:retrieveLoggerConfig","status":200,"serviceName":"connectivity","instance":"i1","loggerConfigs":[{"level":"debug","logger":"ROOT"}]}`},
	} {
		reply, err := answer(t.Context(), messages.NodeCommand(row.command, []byte(row.members), nil))
		if err != nil || string(reply.Body) != row.want {
			t.Errorf("%s: %s %v", row.command, reply.Body, err)
		}
	}
	if _, err := answer(t.Context(), messages.NodeCommand(messages.RetrieveHealth, []byte(`{}`), nil)); err == nil {
		t.Error("another command is taken")
	}
}
