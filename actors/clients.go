package actors

import (
	"context"
	"sync/atomic"

	"hawser/actors/client"
	"hawser/actors/connection"
	"hawser/actors/signals"
	"hawser/messages"
	"hawser/persistence"
)

// clients makes the broker clients of entities: a transport by connection type, the state machine above it, and the
// endpoint through which its messages reach the hub. It implements connection.Clients.
type clients struct {
	node       *Node
	transports map[messages.ConnectionType]client.Factory
}

// Start implements connection.Clients.
func (c *clients) Start(conn *messages.Connection, index int) connection.Client {
	record := c.node.monitor.Connection(conn.ID, string(conn.Type))
	endpoint, err := c.node.hub.Attach(conn, index, record)
	cfg := c.config(conn)
	cfg.Record, cfg.Env.Index = record, index
	if err != nil { // what a version of Hawser with other rules has stored: it shows as misconfigured and is never opened
		c.node.hub.Forget(conn.ID)
		cfg.Factory = func(*messages.Connection, client.Environment, client.Handler) (client.Transport, error) {
			return nil, &client.Failure{Text: err.Error(), UserIndicated: true}
		}
		return useless{client.NewRunner(cfg)}
	}
	cfg.Sink = endpoint
	r := &running{Runner: client.NewRunner(cfg), endpoint: endpoint}
	if index > 0 {
		return r
	}
	return &first{running: r, id: conn.ID, interests: c.node.interests, stays: c.node.lease}
}

// Test implements connection.Clients.
func (c *clients) Test(ctx context.Context, conn *messages.Connection) error {
	cfg := c.config(conn)
	cfg.Env.Test = true
	return client.Test(ctx, cfg)
}

func (c *clients) config(conn *messages.Connection) client.RunnerConfig {
	factory := c.transports[conn.Type]
	if factory == nil {
		factory = unsupported
	}
	return client.RunnerConfig{
		Connection: conn, Factory: factory, Env: client.Environment{Dial: c.node.dialer.Dial}, Instance: c.node.Instance(),
		Settings: c.node.opts.Client, Log: logOf(c.node.log, "client"),
	}
}

// unsupported is the factory of connection types that have no transport.
func unsupported(conn *messages.Connection, _ client.Environment, _ client.Handler) (client.Transport, error) {
	return nil, &client.Failure{Text: "Connections of type " + string(conn.Type) + " cannot be opened by this version of Hawser.", UserIndicated: true}
}

// running is a client with its endpoint.
type running struct {
	*client.Runner
	endpoint *signals.Endpoint
	moving   atomic.Bool
}

// Moving implements connection.Client.
func (r *running) Moving() {
	r.moving.Store(true)
	r.endpoint.Moving()
}

// Stop implements connection.Client. What waits for a client that an operator has closed is refused.
func (r *running) Stop() {
	r.Runner.Stop()
	r.endpoint.Detach(!r.moving.Load())
}

// first is client 0: with it the whole cluster learns what the connection takes.
type first struct {
	*running
	id        string
	interests *interests
	stays     func(id string) (persistence.Lease, bool)
	ended     atomic.Bool
}

// Open implements connection.Client. While the client connects, the other nodes learn what the connection takes: once open
// is answered, a message that comes in anywhere finds it (decision O12).
func (f *first) Open(ctx context.Context) error {
	told := make(chan struct{})
	go func() {
		defer close(told)
		f.interests.publish(ctx, f.id)
	}()
	err := f.running.Open(ctx)
	<-told
	return err
}

// Stop implements connection.Client.
func (f *first) Stop() {
	f.running.Stop()
	if f.ended.Swap(true) {
		return
	}
	if !f.moving.Load() {
		f.interests.withdraw(f.id)
	} else if _, here := f.stays(f.id); here {
		f.interests.expectBack(f.id)
	}
}

// useless is the client of a connection that can never be opened by this version.
type useless struct{ *client.Runner }

// Moving implements connection.Client: nothing waits for it.
func (useless) Moving() {}
