package devops

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"hawser/messages"
)

// Root is the name of the logger above all others.
const Root = "ROOT"

// LoggerKey is the attribute that names a logger: log.With(LoggerKey, "hawser/actors/connection"). A logger has the level
// that was set for the longest prefix of its name, in whole segments.
const LoggerKey = "logger"

// levelNames are the levels of contract piggyback.md 1.9.
var levelNames = map[string]slog.Level{
	"off": math.MaxInt, "error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	"trace": slog.LevelDebug - 4, "all": math.MinInt,
}

// ParseLevel reads the name of a level, in any case of letters.
func ParseLevel(name string) (slog.Level, bool) {
	level, ok := levelNames[strings.ToLower(name)]
	return level, ok
}

// dittoLoggers says which of our loggers stands for a part of Ditto's hierarchy; a name below a listed one is the longest
// listed one's (contract operations.md 7.4).
var dittoLoggers = map[string]string{
	"org.eclipse.ditto":                                                              "hawser",
	"org.eclipse.ditto.gateway":                                                      "hawser/gateway",
	"org.eclipse.ditto.connectivity":                                                 "hawser/actors",
	"org.eclipse.ditto.connectivity.service.messaging":                               "hawser/actors/client",
	"org.eclipse.ditto.connectivity.service.messaging.persistence":                   "hawser/actors/connection",
	"org.eclipse.ditto.connectivity.service.messaging.mqtt":                          "hawser/actors/client/mqtt",
	"org.eclipse.ditto.connectivity.service.messaging.mappingoutbound":               "hawser/actors/signals",
	"org.eclipse.ditto.connectivity.service.messaging.InboundMappingSink":            "hawser/actors/signals",
	"org.eclipse.ditto.connectivity.service.messaging.OutboundMappingProcessorActor": "hawser/actors/signals",
	"org.eclipse.ditto.internal.utils.persistence":                                   "hawser/persistence",
	"org.eclipse.ditto.internal.utils.persistentactors":                              "hawser/actors/connection",
	"org.eclipse.ditto.internal.utils.persistentactors.cleanup":                      "hawser/actors/cleanup",
	"org.eclipse.ditto.internal.utils.cluster":                                       "hawser/actors/shard",
}

// ours is the logger that a name stands for: a Ditto name as the table says, one of ours with dots or slashes as it is.
func ours(name string) string {
	if name == "" || strings.EqualFold(name, Root) {
		return Root
	}
	for prefix := name; ; {
		if logger, ok := dittoLoggers[prefix]; ok {
			return logger
		}
		dot := strings.LastIndexByte(prefix, '.')
		if dot < 0 {
			break
		}
		prefix = prefix[:dot]
	}
	if rest, ok := strings.CutPrefix(name, "hawser."); ok {
		return "hawser/" + strings.ReplaceAll(rest, ".", "/")
	}
	return name
}

const (
	maxLoggerName = 200
	maxLoggers    = 1000 // that can be named from outside
)

// Levels are the levels of named loggers, which can be changed while they log. The zero value is not usable.
type Levels struct {
	mu      sync.Mutex
	set     map[string]string       // logger → level that was set
	names   map[string]string       // name that was used from outside → logger
	loggers map[string]*loggerLevel // those in use
}

// loggerLevel is the level in effect for one logger.
type loggerLevel struct{ least atomic.Int64 }

// NewLevels begins with one level for all; its name is one of piggyback.md 1.9.
func NewLevels(level string) *Levels {
	return &Levels{set: map[string]string{Root: strings.ToLower(level)}, names: map[string]string{}, loggers: map[string]*loggerLevel{}}
}

// Set changes the level of a logger; false: no such level, or too many loggers.
func (l *Levels) Set(name, level string) bool {
	level = strings.ToLower(level)
	if _, known := levelNames[level]; !known || len(name) > maxLoggerName {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	logger := ours(name)
	if _, there := l.set[logger]; !there && len(l.set) >= maxLoggers {
		return false
	}
	if logger != Root && name != logger {
		if _, there := l.names[name]; !there && len(l.names) >= maxLoggers {
			return false
		}
		l.names[name] = logger
	}
	l.set[logger] = level
	for logger, use := range l.loggers {
		use.least.Store(int64(levelNames[l.effective(logger)]))
	}
	return true
}

// effective is the level that a logger has; l.mu is held.
func (l *Levels) effective(logger string) string {
	for logger != Root {
		if level, ok := l.set[logger]; ok {
			return level
		}
		slash := strings.LastIndexByte(logger, '/')
		if slash < 0 {
			break
		}
		logger = logger[:slash]
	}
	return l.set[Root]
}

// List lists the loggers that have a level of their own, root first; all: those in use, too.
func (l *Levels) List(all bool) []messages.LoggerConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := map[string]string{}
	for logger, level := range l.set {
		shown[logger] = level
	}
	for name, logger := range l.names {
		shown[name] = l.set[logger]
	}
	if all {
		for logger := range l.loggers {
			shown[logger] = l.effective(logger)
		}
	}
	list := make([]messages.LoggerConfig, 0, len(shown))
	for logger, level := range shown {
		list = append(list, messages.LoggerConfig{Level: level, Logger: logger})
	}
	slices.SortFunc(list, func(a, b messages.LoggerConfig) int {
		switch {
		case a.Logger == Root:
			return -1
		case b.Logger == Root:
			return 1
		}
		return strings.Compare(a.Logger, b.Logger)
	})
	return list
}

// Answer answers the commands of /devops/logging for an instance.
func (l *Levels) Answer(instance string) func(context.Context, messages.Command) (messages.Reply, error) {
	return func(_ context.Context, c messages.Command) (messages.Reply, error) {
		var fields struct {
			All    bool   `json:"includeDisabledLoggers"`
			Level  string `json:"level"`
			Logger string `json:"logger"`
		}
		if err := json.Unmarshal(c.Members, &fields); err != nil {
			return messages.Reply{}, messages.NewJSONInvalid("The command is no JSON.")
		}
		switch c.Type {
		case messages.RetrieveLoggerConfig:
			return messages.LoggersReply(service, instance, l.List(fields.All)), nil
		case messages.ChangeLogLevel:
			return messages.LevelReply(service, instance, l.Set(fields.Logger, fields.Level)), nil
		}
		return messages.Reply{}, messages.ErrNotTaken
	}
}

// use is the level of a logger that is in use from now on.
func (l *Levels) use(logger string) *loggerLevel {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.loggers[logger]
	if u == nil {
		u = &loggerLevel{}
		u.least.Store(int64(levelNames[l.effective(logger)]))
		l.loggers[logger] = u
	}
	return u
}

// Handler is a log handler whose loggers have these levels; next takes every level.
func (l *Levels) Handler(next slog.Handler) slog.Handler {
	return &levelled{levels: l, bare: next, out: next, level: l.use(Root)}
}

// levelled is the handler of one logger. bare is out without the attribute that names the logger, so that a logger that is
// made of a named one shows one name.
type levelled struct {
	levels    *Levels
	bare, out slog.Handler
	name      string
	level     *loggerLevel
}

// Enabled implements slog.Handler.
func (h *levelled) Enabled(_ context.Context, l slog.Level) bool {
	return int64(l) >= h.level.least.Load()
}

// Handle implements slog.Handler.
func (h *levelled) Handle(ctx context.Context, r slog.Record) error { return h.out.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h *levelled) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	rest := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a.Key == LoggerKey && a.Value.Kind() == slog.KindString {
			n.name = a.Value.String()
			continue
		}
		rest = append(rest, a)
	}
	if n.name != h.name {
		n.level = h.levels.use(n.name)
	}
	if len(rest) > 0 {
		n.bare = h.bare.WithAttrs(rest)
	}
	n.out = n.bare
	if n.name != "" {
		n.out = n.bare.WithAttrs([]slog.Attr{slog.String(LoggerKey, n.name)})
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *levelled) WithGroup(name string) slog.Handler {
	n := *h
	n.bare, n.out = h.bare.WithGroup(name), h.out.WithGroup(name)
	return &n
}
