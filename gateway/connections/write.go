package connections

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"hawser/gateway"
	"hawser/messages"
)

// read reads the request body; false: that was answered, or nobody is there any more to answer to.
func (x *exchange) read() ([]byte, bool) {
	text, err := gateway.ReadBody(x.r)
	if err == nil {
		return text, true
	}
	var tooLarge *messages.Error
	if errors.As(err, &tooLarge) {
		x.echo()
		x.w.Header().Set("Connection", "close") // the rest of the body is not read
		x.w.WriteHeader(tooLarge.Status)        // without a body (8.3)
	}
	return nil, false
}

// document reads the request body as the members of a connection. The body null is an object without members.
func (x *exchange) document() (members map[string]json.RawMessage, ok bool) {
	text, ok := x.read()
	switch {
	case !ok:
		return nil, false
	case len(text) == 0:
		e := messages.NewJSONFormatInvalid()
		e.Message, e.Description = "The body of the request is empty.", "Send the connection as a JSON object."
		x.fail(e)
		return nil, false
	}
	err := json.Unmarshal(text, &members)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) || !utf8.Valid(text):
		x.fail(messages.NewJSONInvalid("The body of the request is not JSON."))
		return nil, false
	case err != nil:
		x.fail(messages.NewJSONInvalid("The body of the request is not a JSON object."))
		return nil, false
	}
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	return members, true
}

// absent reports whether a member is not there or null.
func absent(members map[string]json.RawMessage, name string) bool {
	v, ok := members[name]
	return !ok || string(v) == "null"
}

func quoted(s string) json.RawMessage {
	text, _ := json.Marshal(s) // a string always marshals
	return text
}

// carry makes a command of the type that brings the connection.
func (x *exchange) carry(commandType string, members map[string]json.RawMessage) (messages.Command, error) {
	text, err := json.Marshal(members)
	if err != nil {
		return messages.Command{}, err
	}
	return x.newCommand(carrying{commandType, text}, x.headers)
}

// create is POST /api/2/connections: the id is ours (http-api.md 5.2).
func (h *Handler) create(x *exchange) {
	if x.query.Get(messages.HeaderDryRun) == "true" {
		h.test(x)
		return
	}
	members, ok := x.document()
	if !ok {
		return
	}
	if _, brought := members["id"]; brought {
		x.fail(messages.NewIDNotSettable(""))
		return
	}
	id := uuid.NewString()
	members["id"] = quoted(id)
	if absent(members, "connectionStatus") {
		members["connectionStatus"] = quoted(string(messages.StatusUnknown))
	}
	c, err := x.carry(messages.CreateConnection, members)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, c, h.asking(c), func(reply messages.Reply) { x.created(reply, x.location()+"/"+id) })
}

// test is POST /api/2/connections?dry-run=true: whether the connection would connect; nothing is stored (5.3).
func (h *Handler) test(x *exchange) {
	members, ok := x.document()
	if !ok {
		return
	}
	members["id"] = quoted(uuid.NewString() + "-dry-run")
	c, err := x.carry(messages.TestConnection, members)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, c, h.asking(c), func(reply messages.Reply) { x.empty(reply, http.StatusOK) })
}

// put is PUT /api/2/connections/{id}: a full replacement, or a creation where there is none (5.5, decision D1).
func (h *Handler) put(x *exchange) {
	members, ok := x.document()
	if !ok {
		return
	}
	if id, brought := members["id"]; brought {
		var text *string
		if err := json.Unmarshal(id, &text); err != nil || text == nil || *text != x.id {
			x.fail(messages.NewIDNotSettable(x.id))
			return
		}
	}
	members["id"] = quoted(x.id)
	modify, err := x.carry(messages.ModifyConnection, members)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, modify, func(ctx context.Context) (messages.Reply, error) {
		reply, err := h.ask(ctx, messages.TargetConnection, modify)
		if err != nil || reply.Status != http.StatusNotFound {
			return reply, err
		}
		create, err := x.carry(messages.CreateConnection, members)
		if err != nil {
			return messages.Reply{}, err
		}
		return h.ask(ctx, messages.TargetConnection, create)
	}, func(reply messages.Reply) {
		if reply.Status == http.StatusCreated {
			x.created(reply, x.location())
			return
		}
		x.empty(reply, http.StatusNoContent)
	})
}

// remove is DELETE /api/2/connections/{id} (5.6).
func (h *Handler) remove(x *exchange) {
	c, err := x.newCommand(about{Type: messages.DeleteConnection, ID: x.id}, x.headers)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, c, h.asking(c), func(reply messages.Reply) { x.empty(reply, http.StatusNoContent) })
}

// command is POST /api/2/connections/{id}/command: the body is the name of the command, byte for byte (5.7).
func (h *Handler) command(x *exchange) {
	text, ok := x.read()
	if !ok {
		return
	}
	if !slices.Contains(commands, string(text)) {
		x.fail(messages.NewCommandInvalid(string(text), commands))
		return
	}
	c, err := x.newCommand(about{Type: string(text), ID: x.id}, x.headers)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, c, h.asking(c), func(reply messages.Reply) { x.empty(reply, http.StatusOK) })
}
