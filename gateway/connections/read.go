package connections

import (
	"encoding/json"
	"strings"

	"hawser/messages"
)

// fields is the query parameter of that name, repeated ones joined, and what it selects; nil when it is absent.
func (x *exchange) fields() (*string, *messages.FieldSelector, error) {
	values, ok := x.query["fields"]
	if !ok {
		return nil, nil, nil
	}
	text := strings.Join(values, ",")
	selector, err := messages.ParseFieldSelector(text)
	if err != nil {
		return nil, nil, messages.NewFieldSelectorInvalid(text).About("fields")
	}
	return &text, selector, nil
}

// get is GET /api/2/connections/{id} (http-api.md 5.4).
func (h *Handler) get(x *exchange) {
	fields, _, err := x.fields()
	if err != nil {
		x.failWith(err)
		return
	}
	c, err := x.newCommand(about{Type: messages.RetrieveConnection, ID: x.id, Fields: fields}, x.headers)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, c, h.asking(c), func(reply messages.Reply) {
		body, ok := reply.Connection()
		if !ok {
			x.fail(messages.NewInternalError())
			return
		}
		x.json(reply, body, true)
	})
}

// inspect is GET …/status and …/metrics: the reply as it is, type and status included (6.2, 6.3).
func inspect(commandType string) func(*Handler, *exchange) {
	return func(h *Handler, x *exchange) {
		h.inspect(x, commandType, func(reply messages.Reply) { x.json(reply, reply.Body, false) })
	}
}

func (h *Handler) inspect(x *exchange, commandType string, answer func(messages.Reply)) {
	c, err := x.newCommand(about{Type: commandType, ID: x.id}, x.headers)
	if err != nil {
		x.failWith(err)
		return
	}
	h.execute(x, c, h.asking(c), answer)
}

// logs is GET …/logs: the reply without type and status (6.4).
func (h *Handler) logs(x *exchange) {
	h.inspect(x, messages.RetrieveConnectionLogs, func(reply messages.Reply) {
		var body struct {
			ID      json.RawMessage `json:"connectionId"`
			Since   json.RawMessage `json:"enabledSince"`
			Until   json.RawMessage `json:"enabledUntil"`
			Entries json.RawMessage `json:"connectionLogs"`
		}
		text := []byte(nil)
		err := json.Unmarshal(reply.Body, &body)
		if err == nil {
			text, err = json.Marshal(body)
		}
		if err != nil {
			x.failWith(err)
			return
		}
		x.json(reply, text, false)
	})
}
