package status

import (
	"encoding/json"
	"net/http"

	"hawser/gateway"
)

// Probe is what the management endpoints ask.
type Probe interface {
	// Ready says why the node cannot execute commands now; nil: it can.
	Ready() error
	// Cluster is the view of the members that this node has.
	Cluster() Cluster
}

// Cluster is the body of /cluster/members. Nodes are host:port.
type Cluster struct {
	SelfNode      string            `json:"selfNode"`
	Leader        string            `json:"leader"`
	Oldest        string            `json:"oldest"`
	OldestPerRole map[string]string `json:"oldestPerRole"`
	Members       []Member          `json:"members"`
	Unreachable   []Member          `json:"unreachable"`
}

// Member is one node of Cluster.
type Member struct {
	Node    string   `json:"node"`
	NodeUID string   `json:"nodeUid"`
	Status  string   `json:"status"` // Up, Leaving
	Roles   []string `json:"roles"`

	Instance string `json:"-"` // instance id, for the views by instance
}

// Management serves /alive, /ready and /cluster/members. /alive is 200 as long as it is answered at all: it never depends
// on the database or a broker (decision D19).
func Management(p Probe) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var answer func()
		switch req.URL.Path {
		case "/alive":
			answer = func() { gateway.WriteText(w, http.StatusOK, "OK") }
		case "/ready":
			answer = func() {
				if err := p.Ready(); err != nil {
					gateway.WriteText(w, http.StatusInternalServerError, "Not Healthy: "+err.Error())
					return
				}
				gateway.WriteText(w, http.StatusOK, "OK")
			}
		case "/cluster/members":
			answer = func() { writeCluster(w, p.Cluster()) }
		default:
			gateway.WriteNotFound(w)
			return
		}
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			gateway.WriteMethodNotAllowed(w, http.MethodGet)
			return
		}
		answer()
	})
}

func writeCluster(w http.ResponseWriter, c Cluster) {
	if c.Members == nil {
		c.Members = []Member{}
	}
	if c.Unreachable == nil {
		c.Unreachable = []Member{}
	}
	if c.OldestPerRole == nil {
		c.OldestPerRole = map[string]string{}
	}
	body, err := json.Marshal(c)
	if err != nil { // texts only
		gateway.WriteText(w, http.StatusInternalServerError, "Not Healthy: the members cannot be shown")
		return
	}
	gateway.WriteJSON(w, http.StatusOK, body)
}
