package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// event is a journal row as far as it is checked.
type event struct {
	pid         string
	seq         int64
	epoch       int64
	kind        string
	requestID   string
	correlation string // of the command that made it
	name        string // of the connection in it
	at          time.Time
}

// The query works on created and modified events alone for names: the others have no connection.
const journalQuery = `select pid, seq_nr, epoch, type, coalesce(request_id, ''), coalesce(payload->'__hh'->>'correlation-id', ''),
  coalesce(payload->'connection'->>'name', ''), created_at from journal where pid like $1 order by pid, seq_nr`

// readJournal reads the events of the entities whose id matches a LIKE pattern, in order.
func readJournal(ctx context.Context, p *postgres, place, pattern string) ([]event, error) {
	var out []event
	err := p.query(ctx, place, journalQuery, func(rows pgx.Rows) error {
		var e event
		err := rows.Scan(&e.pid, &e.seq, &e.epoch, &e.kind, &e.requestID, &e.correlation, &e.name, &e.at)
		out = append(out, e)
		return err
	}, "connection:"+pattern)
	return out, err
}

// checkOrder looks for gaps in the sequence numbers of each entity and for epochs that go back. events are ordered by pid
// and seq; nothing has been cleaned up.
func checkOrder(events []event) (gaps, back []string) {
	var last event
	for _, e := range events {
		if e.pid != last.pid {
			last = event{pid: e.pid}
		}
		if e.seq != last.seq+1 {
			gaps = append(gaps, fmt.Sprintf("%s: %d follows %d", e.pid, e.seq, last.seq))
		}
		if e.epoch < last.epoch {
			back = append(back, fmt.Sprintf("%s: event %d has epoch %d after epoch %d", e.pid, e.seq, e.epoch, last.epoch))
		}
		last = e
	}
	return gaps, back
}

// checkExecutions compares commands with the events that they made: one for each success, none for what was refused, none
// or one where the outcome is not known.
func checkExecutions(operations []operation, events []event) (missing, twice []string) {
	byCorrelation, byRequest, byName := map[string][]event{}, map[string][]event{}, map[string][]event{}
	for _, e := range events {
		if e.correlation != "" {
			byCorrelation[e.correlation] = append(byCorrelation[e.correlation], e)
		}
		if e.requestID != "" {
			byRequest[e.requestID] = append(byRequest[e.requestID], e)
		}
		if e.name != "" {
			byName[e.pid+" "+e.name] = append(byName[e.pid+" "+e.name], e)
		}
	}
	for _, o := range operations {
		if !o.Kind.changes() {
			continue
		}
		n := len(byCorrelation[o.Correlation])
		switch {
		case o.Outcome == done && n == 0:
			missing = append(missing, fmt.Sprintf("%s: %s", o.ID, o))
		case n > 0 && (o.Outcome == refused || o.Outcome == absent || o.Outcome == exists):
			twice = append(twice, fmt.Sprintf("%s: executed although it was answered with %s: %s", o.ID, o.Outcome, o))
		case n > 1:
			twice = append(twice, fmt.Sprintf("%s: events %d and %d are of %s", o.ID, byCorrelation[o.Correlation][0].seq, byCorrelation[o.Correlation][1].seq, o))
		}
	}
	// The same again without trust in the header: a request id, or a unique name, in two events.
	for what, groups := range map[string]map[string][]event{"request id": byRequest, "name": byName} {
		for value, group := range groups {
			if len(group) > 1 && len(byCorrelation[group[0].correlation]) <= 1 {
				twice = append(twice, fmt.Sprintf("%s: events %d and %d have the %s %s", group[0].pid, group[0].seq, group[1].seq, what, value))
			}
		}
	}
	slices.Sort(twice)
	return missing, twice
}
