package devops

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"

	"hawser/gateway"
	"hawser/messages"
)

// outcome is what is sent back. With replies it is HTTP 200 and the replies, whatever their own status; otherwise the HTTP
// status is status and the body as it is (contract piggyback.md 1.7).
type outcome struct {
	replies []entry
	status  int
	body    json.RawMessage
}

// entry is one reply that was collected, and who gave it.
type entry struct {
	service, instance string
	reply             json.RawMessage
}

// replied is an outcome that was collected from one instance.
func replied(instance string, reply json.RawMessage) outcome {
	return outcome{replies: []entry{{service, instance, reply}}}
}

// refused is an error of the gateway itself: its HTTP status and a bare E1.
func refused(e *messages.Error) outcome {
	return outcome{status: e.Status, body: messages.ErrorReply(e).Body}
}

// silence is the answer when nobody replied in time.
var silence = outcome{status: http.StatusRequestTimeout, body: json.RawMessage("null")}

// around is an error before or around the target at an instance ("": this node): shape E2, collected like a reply
// (piggyback.md 1.8).
func (h *Handler) around(instance string, e *messages.Error) outcome {
	instance = cmp.Or(instance, h.opts.Nodes.Instance())
	reply := fmt.Appendf(nil, `{"type":"devops.responses:errorResponse","status":%d,"serviceName":"%s","instance":`, e.Status, service)
	reply = append(appendText(reply, instance), `,"payload":`...)
	return replied(instance, append(append(reply, messages.ErrorReply(e).Body...), '}'))
}

// form is how several replies become one body.
type form uint8

const (
	formBare     form = iota // the first reply alone
	formMap                  // {"<service>":{"<instance>":reply}}
	formInstance             // {"<instance>":reply}
)

// send writes the outcome.
func (h *Handler) send(w http.ResponseWriter, headers messages.Headers, o outcome, f form) {
	echo(headers, w)
	switch {
	case len(o.replies) == 0:
		gateway.WriteJSON(w, o.status, o.body)
	case headers[messages.HeaderResponseRequired] == "false":
		w.WriteHeader(http.StatusAccepted)
	case f == formBare:
		gateway.WriteJSON(w, http.StatusOK, o.replies[0].reply)
	case f == formInstance:
		gateway.WriteJSON(w, http.StatusOK, appendInstances(nil, o.replies))
	default: // all replies come from one service
		body := append(appendText([]byte("{"), o.replies[0].service), ':')
		gateway.WriteJSON(w, http.StatusOK, append(appendInstances(body, o.replies), '}'))
	}
}

// appendInstances appends {"<instance>":reply,…}.
func appendInstances(dst []byte, replies []entry) []byte {
	dst = append(dst, '{')
	for i, r := range replies {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(appendText(dst, r.instance), ':'), r.reply...)
	}
	return append(dst, '}')
}

func appendText(dst []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // a string always marshals
	return append(dst, quoted...)
}
