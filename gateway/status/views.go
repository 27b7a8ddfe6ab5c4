package status

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"hawser/gateway"
	"hawser/messages"
)

// Info is what is known of a process (contract http-api.md 10.2). Of another node only service, address and instance
// are known.
type Info struct {
	Service      string `json:"service"`
	Version      string `json:"service-version,omitempty"`
	Built        string `json:"build-timestamp,omitempty"`
	Hostname     string `json:"hostname,omitempty"`
	LocalAddress string `json:"local-address"`
	Instance     string `json:"instance"`
	Processors   int    `json:"processor-count,omitempty"`
	Memory       string `json:"total-memory,omitempty"` // "512 MB"
}

// expected are the roles without which a cluster is not healthy: ours is the only one.
var expected = []string{"connectivity"}

// probeEvery is how long the health of the store is believed.
const probeEvery = time.Second

// Options of the views.
type Options struct {
	Info Info
	// Instance, if set, is the instance id in place of Info.Instance: it can change while the process runs (decision O8).
	Instance func() string
	Probe    Probe
	// Persistence says why the store cannot be read now; nil: it can. It is asked at most once a second. A nil Persistence is
	// not asked: the health does not depend on the store.
	Persistence func(context.Context) error
	AnyRoles    bool          // the health of the cluster does not depend on the expected roles
	Timeout     time.Duration // of Persistence, 10s
	CacheHealth time.Duration // how long /health keeps an answer, 20s
}

// Views are the operator's views on the API's address (contract http-api.md 10): /health and /status… for everybody,
// /overall/status… for those of the status realm.
type Views struct {
	Options
	store, overall kept
}

// NewViews makes the views.
func NewViews(o Options) *Views {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.CacheHealth <= 0 {
		o.CacheHealth = 20 * time.Second
	}
	return &Views{Options: o}
}

// info is the information of this process with its instance id of now.
func (v *Views) info() Info {
	info := v.Info
	if v.Instance != nil {
		info.Instance = v.Instance()
	}
	return info
}

// Health serves /health.
func (v *Views) Health() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.TrimSuffix(r.URL.Path, "/") != "/health":
			gateway.WriteNotFound(w)
		case r.Method != http.MethodGet:
			gateway.WriteMethodNotAllowed(w, http.MethodGet)
		default:
			s := v.overall.get(time.Now(), v.CacheHealth, v.roles)
			writeHealth(w, StatusInfo{Status: s.Status})
		}
	})
}

// Status serves /status, /status/health and /status/cluster. What is not there is answered 405, as upstream does.
func (v *Views) Status() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve := map[string]func(){
			"/status":         func() { write(w, http.StatusOK, v.info()) },
			"/status/health":  func() { writeHealth(w, v.process()) },
			"/status/cluster": func() { write(w, http.StatusOK, v.cluster()) },
		}[strings.TrimSuffix(r.URL.Path, "/")]
		if serve == nil || r.Method != http.MethodGet {
			gateway.WriteMethodNotAllowed(w, http.MethodGet)
			return
		}
		serve()
	})
}

// Overall serves /overall/status, /overall/status/health and /overall/status/cluster.
func (v *Views) Overall() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve := map[string]func(){
			"/overall/status":         func() { write(w, http.StatusOK, v.everything()) },
			"/overall/status/health":  func() { writeHealth(w, v.roles()) },
			"/overall/status/cluster": func() { write(w, http.StatusOK, v.cluster()) },
		}[strings.TrimSuffix(r.URL.Path, "/")]
		switch {
		case serve == nil:
			gateway.WriteNotFound(w)
		case r.Method != http.MethodGet:
			gateway.WriteMethodNotAllowed(w, http.MethodGet)
		default:
			serve()
		}
	})
}

// process is the health of this process. The question about the store is not the client's: it is not ended with the request.
func (v *Views) process() StatusInfo {
	if v.Persistence == nil {
		return composite("")
	}
	store := v.store.get(time.Now(), probeEvery, func() StatusInfo { return persistence(context.Background(), v.Persistence, v.Timeout) })
	return composite("", store)
}

// Reply is the health of this process as healthCheckingActor answers it: a bare status object (contract piggyback.md 2.1).
func (v *Views) Reply() messages.Reply {
	health := v.process()
	reply := messages.Reply{Status: http.StatusOK}
	if !health.Healthy() {
		reply.Status = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(health)
	if err != nil { // texts only
		return messages.ErrorReply(messages.NewInternalError())
	}
	reply.Body = body
	return reply
}

// roles is the health of the cluster: the roles that must be there, and each member of each. Another member is as healthy
// as the list of members says: it is on it only as long as it reaches the database.
func (v *Views) roles() StatusInfo {
	c := v.Probe.Cluster()
	byRole := map[string][]StatusInfo{}
	for _, m := range c.Members {
		member := StatusInfo{Label: m.Node, Status: up}
		if v.Persistence != nil {
			member.Children = []StatusInfo{{Label: "persistence", Status: up}}
		}
		if m.Node == c.SelfNode {
			member = v.process()
			member.Label = m.Node
		}
		for _, role := range m.Roles {
			byRole[role] = append(byRole[role], member)
		}
	}
	for _, m := range c.Unreachable {
		for _, role := range m.Roles {
			byRole[role] = append(byRole[role], StatusInfo{Label: m.Node, Status: down, Details: []map[string]any{{levelError: "The member does not answer."}}})
		}
	}
	var children []StatusInfo
	if !v.AnyRoles {
		children = append(children, expectedRoles(byRole))
	}
	for _, role := range sortedKeys(byRole) {
		children = append(children, composite(role, byRole[role]...))
	}
	return composite("roles", children...)
}

func expectedRoles(there map[string][]StatusInfo) StatusInfo {
	missing, extra := []string{}, []string{}
	for _, role := range expected {
		if len(there[role]) == 0 {
			missing = append(missing, role)
		}
	}
	for _, role := range sortedKeys(there) {
		if !slices.Contains(expected, role) {
			extra = append(extra, role)
		}
	}
	s := StatusInfo{Label: "expected-roles", Status: up}
	level := levelInfo
	if len(missing) > 0 {
		s.Status, level = down, levelError
	}
	s.Details = []map[string]any{{level: map[string]any{"missing-roles": missing, "extra-roles": extra}}}
	return s
}

// everything is the static information of this process and that of the members by role and instance.
func (v *Views) everything() any {
	c, self := v.Probe.Cluster(), v.info()
	roles := map[string]map[string]Info{}
	for _, m := range c.Members {
		info := Info{Service: self.Service, LocalAddress: m.Node, Instance: m.Instance}
		if m.Node == c.SelfNode {
			info = self
		}
		for _, role := range m.Roles {
			if roles[role] == nil {
				roles[role] = map[string]Info{}
			}
			roles[role][info.Instance] = info
		}
	}
	return struct {
		Info
		Roles map[string]map[string]Info `json:"roles"`
	}{self, roles}
}

// members is one view of who is there (contract http-api.md 10.3). Nodes are host:port.
type members struct {
	Reachable   []string `json:"reachable"`
	Unreachable []string `json:"unreachable"`
	Leader      string   `json:"leader,omitempty"`
}

func (v *Views) cluster() any {
	c := v.Probe.Cluster()
	all := members{Reachable: []string{}, Unreachable: []string{}, Leader: c.Leader}
	roles := map[string]members{}
	note := func(of []Member, put func(*members, string)) {
		for _, m := range of {
			put(&all, m.Node)
			for _, role := range m.Roles {
				one, ok := roles[role]
				if !ok {
					one = members{Reachable: []string{}, Unreachable: []string{}, Leader: c.OldestPerRole[role]}
				}
				put(&one, m.Node)
				roles[role] = one
			}
		}
	}
	note(c.Members, func(m *members, node string) { m.Reachable = append(m.Reachable, node) })
	note(c.Unreachable, func(m *members, node string) { m.Unreachable = append(m.Unreachable, node) })
	return struct {
		members
		SeenBy   []string           `json:"seen-by"`
		OwnRoles []string           `json:"own-roles"`
		Roles    map[string]members `json:"roles"`
	}{all, all.Reachable, expected, roles}
}

func writeHealth(w http.ResponseWriter, s StatusInfo) {
	code := http.StatusOK
	if !s.Healthy() {
		code = http.StatusServiceUnavailable
	}
	write(w, code, s)
}

func write(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // texts and numbers only
		gateway.WriteText(w, http.StatusInternalServerError, "The answer cannot be shown.")
		return
	}
	gateway.WriteJSON(w, code, text)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
