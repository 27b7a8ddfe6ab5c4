package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// commandTimeout bounds one random command; opening waits for the broker within it.
const commandTimeout = 10 * time.Second

// mix is how often each command is drawn.
var mix = []struct {
	kind   kind
	weight int
}{{retrieveIt, 35}, {modify, 25}, {openIt, 12}, {closeIt, 12}, {create, 10}, {deleteIt, 6}}

func draw(r *rand.Rand) kind {
	total := 0
	for _, m := range mix {
		total += m.weight
	}
	n := r.IntN(total)
	for _, m := range mix {
		if n -= m.weight; n < 0 {
			return m.kind
		}
	}
	return retrieveIt
}

// commands are clients that send random commands for a set of ids to random nodes and keep what happened.
type commands struct {
	ctx    context.Context // of the program: it alone cuts a command short
	api    *api
	nodes  func() []*node // those that a load balancer would use
	others func() []*node // those that it would not but that still run: they may refuse, but must not lie; nil in planned moves
	began  time.Time      // of the program: operations are timed from here
	uri    string         // of the broker, for the connections
	shapes shapes         // of the connections
	prefix string         // of ids, names and correlation ids; unique per round

	mu         sync.Mutex
	operations []operation
}

// ids are the connections that the clients work on. They do not exist before the round.
func (c *commands) ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%02d", c.prefix, i)
	}
	return out
}

// run lets clients work on n ids until ctx ends; commands under way are waited for. Half of the commands go to the first
// quarter of the ids, so that several clients meet there.
func (c *commands) run(ctx context.Context, clients, n int, seed uint64) {
	ids := c.ids(n)
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := 0; pause(ctx, time.Duration(5+r.IntN(35))*time.Millisecond); i++ {
				nodes := c.nodes()
				if c.others != nil && r.IntN(10) == 0 {
					nodes = c.others()
				}
				if len(nodes) == 0 {
					continue
				}
				id := ids[r.IntN(len(ids))]
				if r.IntN(2) == 0 {
					id = ids[r.IntN((len(ids)+3)/4)]
				}
				o := operation{Client: client, ID: id, Kind: draw(r), Correlation: fmt.Sprintf("%s-op-%d-%d", c.prefix, client, i)}
				if o.Kind == create || o.Kind == modify {
					o.Name, o.Open = fmt.Sprintf("%s-name-%d-%d", c.prefix, client, i), r.IntN(2) == 0
				}
				c.do(o, nodes[r.IntN(len(nodes))])
			}
		})
	}
	all.Wait()
}

// do executes one operation at a node and keeps it. It is not cut short by the end of a round: a command that is under way
// has an outcome, and that is wanted.
func (c *commands) do(o operation, n *node) operation {
	condition, _ := n.state()
	o.Node, o.Live, o.Command = n.index, condition == well, o.Kind.String()
	o.Call = time.Since(c.began)
	r := c.api.command(c.ctx, n, o.Correlation, c.body(o), commandTimeout)
	o.Return, o.Outcome, o.Result, o.Detail = time.Since(c.began), r.outcome, r.outcome.String(), r.detail
	if o.Kind == retrieveIt && o.Outcome == done {
		if r.connection {
			o.Name, o.Open = r.name, r.open
		} else {
			o.Outcome, o.Detail = refused, "an answer without connection"
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.operations = append(c.operations, o)
	return o
}

func (c *commands) body(o operation) object {
	switch o.Kind {
	case create:
		return with("createConnection", c.connection(o))
	case modify:
		return with("modifyConnection", c.connection(o))
	case openIt:
		return on("openConnection", o.ID)
	case closeIt:
		return on("closeConnection", o.ID)
	case deleteIt:
		return on("deleteConnection", o.ID)
	default:
		return retrieve(o.ID)
	}
}

func (c *commands) connection(o operation) object {
	status := "closed"
	if o.Open {
		status = "open"
	}
	subject := []string{"chaos:" + o.ID}
	return object{
		"id": o.ID, "name": o.Name, "connectionType": c.shapes.kind(o.ID), "clientCount": c.shapes.count(o.ID), "connectionStatus": status, "uri": c.uri,
		"sources": []object{{"addresses": []string{c.shapes.filter(o.ID, o.ID+"/in/#")}, "qos": 1, "authorizationContext": subject}},
		"targets": []object{{"address": o.ID + "/out", "qos": 1, "topics": []string{"_/_/things/live/events"}, "authorizationContext": subject}},
	}
}

// finish reads every id once through each node and then deletes it: the history's last word, and the proof that the
// connections still work. It returns what went wrong.
func (c *commands) finish(n int) (problems []string) {
	nodes := c.nodes()
	if len(nodes) == 0 {
		return []string{"no node is ready for the last commands"}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, 8)
	for i, id := range c.ids(n) {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			last := func(k kind, at *node, what string) {
				o := c.do(operation{Client: 1000 + i, ID: id, Kind: k, Correlation: fmt.Sprintf("%s-last-%d-%s", c.prefix, i, what)}, at)
				if o.Outcome != done && o.Outcome != absent {
					mu.Lock()
					defer mu.Unlock()
					problems = append(problems, "after the round: "+id+": "+o.String())
				}
			}
			for _, at := range nodes {
				last(retrieveIt, at, at.name)
			}
			last(deleteIt, nodes[i%len(nodes)], "delete")
		})
	}
	all.Wait()
	return problems
}

func (c *commands) history() []operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.operations
}
