package messages

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Reply is what a command was answered: Body is the whole JSON object that leaves over HTTP (a command response, or a
// bare error E1, contract piggyback.md 1.7), Status the command's own status, not the HTTP status. Headers are what is
// said beside the body: HeaderEntityRevision and HeaderETag of the connection after the command (http-api.md 3.2); nil for
// what is no connection's. The REST API shows them, piggyback does not.
type Reply struct {
	Status  int
	Body    json.RawMessage
	Headers Headers
}

// ErrorReply renders e as a bare E1.
func ErrorReply(e *Error) Reply {
	b, err := e.render()
	if err != nil { // only if Members holds something that is no JSON; that is a programming error with no data in it
		b = []byte(`{"status":500,"error":"connectivity:internalerror","message":"There was a rare case of an unexpected internal error."}`)
	}
	return Reply{Status: e.Status, Body: b}
}

// ResponseType is the type of the answer to a command: "connectivity.commands:x" is answered "connectivity.responses:x".
func ResponseType(commandType string) string {
	return strings.Replace(commandType, "commands:", "responses:", 1)
}

// reply renders {"type":…,"status":…, members}.
func reply(responseType string, status int, members func(*objectWriter)) Reply {
	w := objectWriter{dst: make([]byte, 0, 256)}
	w.open()
	w.string("type", responseType)
	w.integer("status", int64(status))
	members(&w)
	return Reply{Status: status, Body: w.close()}
}

// CreatedReply answers createConnection: 201 with the connection (piggyback.md 4.1).
func CreatedReply(c *Connection) Reply {
	return reply(ResponseType(CreateConnection), 201, func(w *objectWriter) {
		w.key("connection")
		w.dst = c.AppendJSON(w.dst)
	})
}

// AcceptedReply answers a command that changed something and returns nothing: 204 for modify and delete, else 200
// (piggyback.md 3).
func AcceptedReply(commandType, id string) Reply {
	status := 200
	if commandType == ModifyConnection || commandType == DeleteConnection {
		status = 204
	}
	return reply(ResponseType(commandType), status, func(w *objectWriter) { w.string("connectionId", id) })
}

// TestedReply answers a successful testConnection.
func TestedReply(id string) Reply {
	return testReply(200, id, "successfully connected + initialized mapper")
}

// TestConflictReply answers testConnection of an id that exists: a response, not an error.
func TestConflictReply(id string) Reply {
	return testReply(409, id, "Connection was already created - no test possible")
}

func testReply(status int, id, result string) Reply {
	return reply(ResponseType(TestConnection), status, func(w *objectWriter) {
		w.string("connectionId", id)
		w.string("testResult", result)
	})
}

// TagsReply answers sudoRetrieveConnectionTags.
func TagsReply(tags []string) Reply {
	return reply(ResponseType(SudoRetrieveConnectionTags), 200, func(w *objectWriter) { w.strings("connectionTags", tags, true) })
}

// RetrievedReply answers retrieveConnection: the whole connection, or the fields selected, hidden ones among them.
func RetrievedReply(c *Connection, fields *FieldSelector) Reply {
	return reply(ResponseType(RetrieveConnection), 200, func(w *objectWriter) {
		w.key("connection")
		w.dst = c.appendSelected(w.dst, fields)
	})
}

// Select renders what RetrievedReply shows of the connection.
func (c *Connection) Select(fields *FieldSelector) json.RawMessage {
	return c.appendSelected(nil, fields)
}

func (c *Connection) appendSelected(dst []byte, fields *FieldSelector) []byte {
	if fields == nil {
		return c.AppendJSON(dst)
	}
	document, err := parseJSON(c.appendJSON(nil, true))
	if err != nil { // cannot happen: we rendered it
		return append(dst, "{}"...)
	}
	return fields.appendSelected(dst, document)
}

// connectionMember is where the connection begins in the answer to a create or a retrieve; it is the last member.
var connectionMember = []byte(`,"connection":`)

// Connection is the connection inside the answer to a create or a retrieve, without reading it; false: there is none.
func (r Reply) Connection() (json.RawMessage, bool) {
	_, rest, found := bytes.Cut(r.Body, connectionMember)
	if !found || len(rest) == 0 || rest[0] != '{' || rest[len(rest)-1] != '}' {
		return nil, false
	}
	return rest[: len(rest)-1 : len(rest)-1], true
}

// CleanupReply answers cleanupPersistence: 200, or 500 when it failed or one is running (piggyback.md 4.18).
func CleanupReply(entityType, id string, status int) Reply {
	return reply(ResponseType(CleanupPersistence), status, func(w *objectWriter) {
		w.string("entityType", entityType)
		w.string("entityId", id)
	})
}

// InspectedReply answers a query about running clients: members is a JSON object whose members go beside type, status and
// connectionId.
func InspectedReply(commandType, id string, members json.RawMessage) Reply {
	return reply(ResponseType(commandType), 200, func(w *objectWriter) {
		w.string("connectionId", id)
		members = bytes.TrimSpace(members)
		if len(members) < 2 || members[0] != '{' {
			return
		}
		if inner := bytes.TrimSpace(members[1 : len(members)-1]); len(inner) > 0 {
			w.dst = append(append(w.dst, ','), inner...)
		}
	})
}

// IDsReply answers retrieveAllConnectionIds.
func IDsReply(ids []string) Reply {
	return reply(ResponseType(RetrieveAllConnectionIDs), 200, func(w *objectWriter) { w.strings("connectionIds", ids, true) })
}

// IDsByTagReply answers sudoRetrieveConnectionIdsByTag.
func IDsByTagReply(ids []string) Reply {
	return reply(ResponseType(SudoRetrieveConnectionIDsByTag), 200, func(w *objectWriter) { w.strings("connectionIds", ids, true) })
}

// IDsFailedReply answers either of them when the index cannot be read: shape E3 (piggyback.md 1.8).
func IDsFailedReply() Reply {
	return reply("connectivity.responses:errorResponse", 500, func(w *objectWriter) {
		w.key("payload")
		w.dst = append(w.dst, ErrorReply(NewInternalError()).Body...)
	})
}
