package blackbox

import (
	"encoding/json"
	"fmt"
	"testing"

	"hawser/messages/validation/corpus"
)

// TestCorpusOnBothSurfaces sends every document of the validation corpus by the REST API and by piggyback, on both stores:
// the surfaces accept and refuse the same, with the same codes (http-api.md 9).
func TestCorpusOnBothSurfaces(t *testing.T) {
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	onBothStores(t, func(t *testing.T, env []string) {
		n := startNode(t, env)
		var rest []string
		for _, c := range cases {
			t.Run(c.Group+"/"+c.Name, func(t *testing.T) {
				n := n.as(t)
				if c.Only == "" {
					status, body := n.putCase(c)
					checkCase(t, c, "REST", status, body)
					rest = append(rest, c.Name)
				}
				status, body := n.piggybackCase(c)
				checkCase(t, c, "piggyback", status, body)
			})
		}
		if len(rest) < len(cases)-5 {
			t.Errorf("only %d of %d documents went by the REST API", len(rest), len(cases))
		}
	})
}

// putCase creates a document by PUT and returns the status and the connection, or the error; nothing is left behind.
func (n *node) putCase(c corpus.Case) (int, json.RawMessage) {
	n.t.Helper()
	a := n.rest("PUT", api+"/"+corpus.ID, string(c.Document))
	if a.status == 201 {
		back := n.rest("GET", api+"/"+corpus.ID, nil).want(n.t, 200)
		n.rest("DELETE", api+"/"+corpus.ID, nil).want(n.t, 204)
		return a.status, back.body
	}
	return a.status, a.body
}

// piggybackCase is putCase by createConnection. An error before the entity comes inside an E2.
func (n *node) piggybackCase(c corpus.Case) (int, json.RawMessage) {
	n.t.Helper()
	text := fmt.Sprintf(`{"targetActorSelection":%q,"headers":{"aggregate":false,"ditto-sudo":true,"timeout":"60s"},"piggybackCommand":{"type":"connectivity.commands:createConnection","connection":%s}}`, shardRegion, c.Document)
	a := n.request("POST", "/devops/piggyback/connectivity", text)
	if a.status != 200 {
		n.t.Fatalf("HTTP %d %s", a.status, a.body)
	}
	var reply struct {
		Status              int
		Connection, Payload json.RawMessage
	}
	if err := json.Unmarshal(a.body, &reply); err != nil {
		n.t.Fatal(err)
	}
	switch {
	case reply.Status == 201:
		wantStatus(n.t, n.command(on("deleteConnection", corpus.ID)), 204)
		return reply.Status, reply.Connection
	case reply.Payload != nil:
		return reply.Status, reply.Payload
	}
	return reply.Status, a.body
}

func checkCase(t *testing.T, c corpus.Case, surface string, status int, body json.RawMessage) {
	t.Helper()
	var problems []string
	if c.Refused == "" {
		if status != 201 {
			problems = []string{fmt.Sprintf("%d %s", status, body)}
		} else {
			problems = c.CheckAccepted(body)
		}
	} else {
		var e struct {
			Status                      int
			Error, Message, Description string
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Status != status {
			problems = []string{fmt.Sprintf("%d %s", status, body)}
		} else {
			problems = c.CheckRefused(status, e.Error, e.Message, e.Description)
		}
	}
	for _, p := range problems {
		t.Errorf("%s: %s", surface, p)
	}
}
