package connections

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"hawser/gateway"
	"hawser/messages"
)

// held is how much of a list is held back before the answer begins: as long as it has not, an error can still be told.
const held = 1 << 20

// list is GET /api/2/connections: ids, or whole connections, or projections of them (http-api.md 5.1).
func (h *Handler) list(x *exchange) {
	ids, err := x.newCommand(about{Type: messages.RetrieveAllConnectionIDs}, x.listHeaders())
	if err != nil {
		x.failWith(err)
		return
	}
	_, selector, err := x.fields()
	if err != nil {
		x.failWith(err)
		return
	}
	onlyIDs := justID(selector)
	if values, ok := x.query["ids-only"]; ok {
		onlyIDs = strings.EqualFold(values[0], "true")
	}
	h.execute(x, ids, func(ctx context.Context) (messages.Reply, error) {
		return h.ask(ctx, messages.TargetConnectionIDs, ids)
	}, func(reply messages.Reply) {
		var body struct {
			IDs json.RawMessage `json:"connectionIds"`
		}
		var all []string
		err := json.Unmarshal(reply.Body, &body)
		if err == nil {
			err = json.Unmarshal(body.IDs, &all)
		}
		switch {
		case err != nil:
			x.failWith(err)
		case onlyIDs:
			x.json(reply, body.IDs, false)
		case len(all) > h.RetrieveLimit:
			x.fail(messages.NewAmountIllegal(h.RetrieveLimit))
		default:
			h.listAll(x, ids, all, selector)
		}
	})
}

// justID reports whether a selector names the member id and nothing else.
func justID(s *messages.FieldSelector) bool {
	return s != nil && len(s.Pointers) > 0 && !slices.ContainsFunc(s.Pointers, func(p string) bool { return p != "/id" })
}

// listHeaders are the headers of the commands of a list: preconditions and history are about one connection.
func (x *exchange) listHeaders() messages.Headers {
	headers := maps.Clone(x.headers)
	for _, name := range []string{messages.HeaderIfMatch, messages.HeaderIfNoneMatch, messages.HeaderIfEqual, messages.HeaderAtRevision, messages.HeaderAtTimestamp} {
		delete(headers, name)
	}
	return headers
}

// listAll writes the connections in the order of ids. One that was deleted meanwhile is left out. An error ends the list: as
// the answer if none has begun, else by cutting the connection, so that nobody takes a part for the whole.
func (h *Handler) listAll(x *exchange, c messages.Command, all []string, selector *messages.FieldSelector) {
	ctx, cancel := context.WithDeadline(x.r.Context(), c.Received.Add(x.wait))
	defer cancel()
	out := list{x: x}
	for connection, err := range h.Reader.Connections(ctx, all, selector) {
		switch {
		case x.r.Context().Err() != nil:
			return
		case err != nil:
			out.abort(h.outcome(x, c, messages.Reply{}, err))
			return
		case !out.add(connection):
			return
		}
	}
	out.end()
}

// list is the answer to a list on its way out.
type list struct {
	x      *exchange
	buffer bytes.Buffer
	some   bool // an element is there
	begun  bool // the answer has begun
}

// add appends one element; false: the client has gone.
func (l *list) add(element []byte) bool {
	separator := byte(',')
	if !l.some {
		separator = '['
	}
	l.some = true
	l.buffer.WriteByte(separator)
	l.buffer.Write(element)
	if l.buffer.Len() < held {
		return true
	}
	if !l.begun {
		l.begun = true
		l.x.echo()
		l.x.w.Header().Set("Content-Type", mediaJSON)
		l.x.w.WriteHeader(http.StatusOK)
	}
	_, err := l.buffer.WriteTo(l.x.w)
	return err == nil
}

// end writes what is left.
func (l *list) end() {
	if !l.some {
		l.buffer.WriteByte('[')
	}
	l.buffer.WriteByte(']')
	if l.begun {
		_, _ = l.buffer.WriteTo(l.x.w)
		return
	}
	l.x.echo()
	gateway.WriteJSON(l.x.w, http.StatusOK, l.buffer.Bytes())
}

// abort ends a list that cannot be completed.
func (l *list) abort(reply messages.Reply) {
	if !l.begun {
		l.x.refuse(reply)
		return
	}
	panic(http.ErrAbortHandler)
}
