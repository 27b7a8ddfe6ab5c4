package status

import (
	"context"
	"strings"
	"sync"
	"time"
)

// The values of StatusInfo.Status.
const (
	up      = "UP"
	down    = "DOWN"
	unknown = "UNKNOWN"
)

// The levels of a detail.
const (
	levelInfo  = "INFO"
	levelWarn  = "WARN"
	levelError = "ERROR"
)

// StatusInfo is the health of something and of its parts (contract http-api.md 10.1). A detail is an object with one key,
// its level.
type StatusInfo struct {
	Label    string           `json:"label,omitempty"`
	Status   string           `json:"status"`
	Details  []map[string]any `json:"details,omitempty"`
	Children []StatusInfo     `json:"children,omitempty"`
}

// Healthy reports whether it is answered 200.
func (s StatusInfo) Healthy() bool { return s.Status != down }

// worst is the most serious level of the details, "" below WARN.
func (s StatusInfo) worst() string {
	worst := ""
	for _, d := range s.Details {
		if _, there := d[levelError]; there {
			return levelError
		}
		if _, there := d[levelWarn]; there {
			worst = levelWarn
		}
	}
	return worst
}

// composite merges children: any DOWN is DOWN, UNKNOWN beside UP is UP. It names the children that have something to say.
func composite(label string, children ...StatusInfo) StatusInfo {
	s := StatusInfo{Label: label, Children: children}
	seen := map[string]bool{}
	named := map[string][]string{}
	for _, c := range children {
		seen[c.Status] = true
		if level := c.worst(); level != "" {
			named[level] = append(named[level], c.Label)
		}
	}
	switch {
	case seen[down]:
		s.Status = down
	case seen[unknown] && !seen[up]:
		s.Status = unknown
	default:
		s.Status = up
	}
	for _, level := range []string{levelError, levelWarn} {
		if labels := named[level]; len(labels) > 0 {
			s.Details = append(s.Details, map[string]any{level: "See detailed messages for: " + strings.Join(labels, ", ") + "."})
		}
	}
	return s
}

// kept is an answer that is asked for anew when it is older than its time: whoever may ask without a password must not
// make the database work.
type kept struct {
	mu    sync.Mutex
	until time.Time
	value StatusInfo
}

func (k *kept) get(now time.Time, within time.Duration, ask func() StatusInfo) StatusInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.until) {
		return k.value
	}
	k.value = ask()
	k.until = now.Add(within)
	return k.value
}

// persistence is the health of the store. Why it fails is in the log: the reader need not be an operator.
func persistence(ctx context.Context, check func(context.Context) error, timeout time.Duration) StatusInfo {
	s := StatusInfo{Label: "persistence", Status: up}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := check(ctx); err != nil {
		s.Status = down
		s.Details = []map[string]any{{levelError: "The database cannot be read."}}
	}
	return s
}
