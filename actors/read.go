package actors

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"

	"hawser/actors/connection"
	"hawser/messages"
)

// The pages of a list of connections: two at a time are in memory, one that is handed on and one that is read. They grow
// while what they hold is small and shrink when it is not, so that a list costs little memory however large its connections
// are, and few queries however many.
const (
	firstPage = 16
	mostPage  = 512
	pageBytes = 2 << 20 // rendered; a page of less lets the next be larger
)

// page is some connections of a list, in its order.
type page struct {
	connections []json.RawMessage
	err         error
}

// Connections implements gateway.Reader: from the store, whatever node the entities are at, and without waking them.
func (n *Node) Connections(ctx context.Context, ids []string, fields *messages.FieldSelector) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pages := make(chan page)
		var reader sync.WaitGroup
		reader.Go(func() {
			defer close(pages)
			for size := firstPage; len(ids) > 0; {
				some := ids[:min(size, len(ids))]
				ids = ids[len(some):]
				read := n.readPage(ctx, some, fields)
				select {
				case pages <- read:
				case <-ctx.Done():
				}
				if read.err != nil {
					return
				}
				size = nextPage(size, read)
			}
		})
		defer reader.Wait()
		defer cancel()
		for p := range pages {
			for _, c := range p.connections {
				if !yield(c, nil) {
					return
				}
			}
			if p.err != nil {
				yield(nil, p.err)
				return
			}
		}
		if ctx.Err() != nil {
			yield(nil, ctx.Err())
		}
	}
}

// nextPage is the size of the page after read.
func nextPage(size int, read page) int {
	bytes := 0
	for _, c := range read.connections {
		bytes += len(c)
	}
	if bytes > pageBytes {
		return max(size/2, 1)
	}
	return min(2*size, mostPage)
}

// readPage reads connections in one query. Those that are gone are left out; with one that cannot be read the page ends
// (decision O5: never absent).
func (n *Node) readPage(ctx context.Context, ids []string, fields *messages.FieldSelector) page {
	if !n.membership.Table().Valid() || n.Isolated() {
		return page{err: messages.ErrNoLease}
	}
	rendered := make(map[string]json.RawMessage, len(ids))
	for state, err := range n.codec().Read(ctx, n.opts.Store, ids) {
		var unreadable *connection.DecodeError
		switch {
		case errors.As(err, &unreadable):
			n.log.Error("a stored connection cannot be read, so that the connections cannot be listed", "connection_id", state.ID, "seq_nr", unreadable.SeqNr, "error", unreadable.Cause)
			return page{err: messages.NewConnectionUnavailable(state.ID)}
		case ctx.Err() != nil:
			return page{err: ctx.Err()}
		case err != nil:
			n.log.Error("connections could not be read for a list", "error", err)
			return page{err: messages.NewServiceUnavailable()}
		case state.Phase == connection.Active:
			rendered[state.ID] = state.Connection.Select(fields)
		}
	}
	out := page{connections: make([]json.RawMessage, 0, len(rendered))}
	for _, id := range ids {
		if c, ok := rendered[id]; ok {
			out.connections = append(out.connections, c)
		}
	}
	return out
}
