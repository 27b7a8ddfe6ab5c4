package messages

import "encoding/json"

// Reply is what a command was answered: Body is the whole JSON object that leaves over HTTP (a command response, or a
// bare error E1, contract piggyback.md 1.7), Status the command's own status, not the HTTP status.
type Reply struct {
	Status int
	Body   json.RawMessage
}

// ErrorReply renders e as a bare E1.
func ErrorReply(e *Error) Reply {
	b, err := json.Marshal(e)
	if err != nil { // only if Members holds something that is no JSON; that is a programming error with no data in it
		b = []byte(`{"status":500,"error":"connectivity:internalerror","message":"There was a rare case of an unexpected internal error."}`)
	}
	return Reply{Status: e.Status, Body: b}
}
