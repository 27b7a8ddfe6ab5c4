package devops

import (
	"encoding/json"
	"net/http"

	"hawser/gateway"
	"hawser/messages"
)

// outcome is what is sent back. With a reply it is HTTP 200 and the reply, whatever the reply's own status; otherwise the
// HTTP status is status and the body as it is (contract piggyback.md 1.7).
type outcome struct {
	reply  json.RawMessage
	status int
	body   json.RawMessage
}

// replied is an outcome that was collected.
func replied(reply json.RawMessage) outcome { return outcome{reply: reply} }

// refused is an error of the gateway itself: its HTTP status and a bare E1.
func refused(e *messages.Error) outcome {
	return outcome{status: e.Status, body: messages.ErrorReply(e).Body}
}

// silence is the answer when nobody replied in time.
var silence = outcome{status: http.StatusRequestTimeout, body: json.RawMessage("null")}

// around is an error before or around the target: shape E2, collected like a reply (piggyback.md 1.8).
func (h *Handler) around(e *messages.Error) outcome {
	payload := messages.ErrorReply(e).Body
	reply, err := json.Marshal(struct {
		Type     string          `json:"type"`
		Status   int             `json:"status"`
		Service  string          `json:"serviceName"`
		Instance string          `json:"instance"`
		Payload  json.RawMessage `json:"payload"`
	}{"devops.responses:errorResponse", e.Status, service, h.opts.Instance, payload})
	if err != nil { // payload is JSON made by ourselves
		return refused(messages.NewInternalError())
	}
	return replied(reply)
}

// send writes the outcome in the form that the headers ask for.
func (h *Handler) send(w http.ResponseWriter, headers messages.Headers, o outcome) {
	echo(headers, w)
	switch {
	case o.reply == nil:
		gateway.WriteJSON(w, o.status, o.body)
	case headers[messages.HeaderResponseRequired] == "false":
		w.WriteHeader(http.StatusAccepted)
	case aggregates(headers):
		body := make([]byte, 0, len(h.prefix)+len(o.reply)+2)
		body = append(append(append(body, h.prefix...), o.reply...), "}}"...)
		gateway.WriteJSON(w, http.StatusOK, body)
	default:
		gateway.WriteJSON(w, http.StatusOK, o.reply)
	}
}
